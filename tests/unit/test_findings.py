"""Tables as files, claims of a lab, the released code's errors, and what mMARCO costs: from made scores."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from cslab.collections.atlas import atlas
from cslab.config import load_profile
from cslab.evaluation.measures import COLUMNS
from cslab.evaluation.settings import make_task
from cslab.findings import (
    claims_of,
    contrast_of,
    cost_text,
    faithful_differences,
    gold_lexicons,
    lexicon_sources,
    lexicon_table,
    pools_of,
    tables_of,
    write_tables,
)
from cslab.languages import setting
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.systems import TITLES, WORDS, System
from cslab.training.conditions import CONDITIONS

PAIRS = ("en-en", "en-de", "xx-xx")
SYSTEMS = {"Zero-shot": 0.3, "ML-CS": 0.5, "Zero-shot Translate-Test": 0.4, "Zero-shot Translate-Test faithful": 0.35}


@pytest.fixture(scope="module")
def lab():
    collection = atlas("test", passages=60, queries=20, languages=("en", "de"))
    tasks = {p: make_task(collection, *p.split("-"), depth=3) for p in PAIRS}
    rows = [
        (system, seed, setting(*p.split("-")), *p.split("-"), qid, "MRR@10", value + 0.01 * seed + 0.1 * (i % 2))
        for system, value in SYSTEMS.items()
        for p in PAIRS
        for seed in (1, 2)
        for i, qid in enumerate(tasks[p].queries)
    ]
    scores = pd.DataFrame(rows, columns=COLUMNS)
    profile = load_profile("smoke", ["conditions=[Zero-shot, ML-CS]", f"evaluation.pairs=[{', '.join(PAIRS)}]"])
    runs = {p: replace(task.candidates, name="ML-CS") for p, task in tasks.items()}
    systems = [System(CONDITIONS["ML-CS"], False, None, seed) for seed in (1, 2)]
    made = {
        "scores": lambda: scores,
        "task": tasks.__getitem__,
        "systems": lambda: systems,
        "rows": lambda: systems,
        "runs": lambda system: runs,
    }
    return SimpleNamespace(profile=profile, **made)


def test_tables_come_in_three_forms(lab, tmp_path):
    tables = tables_of(lab)
    assert set(tables) == {"scores", "settings", "tests", "pools", "faithful"}
    paths = write_tables(tables, tmp_path)
    assert {p.suffix for p in paths} == {".md", ".tex", ".csv"}
    assert len(paths) == 15
    assert "56.5*" in (tmp_path / "scores.md").read_text()
    assert "± 0.7" in (tmp_path / "settings.md").read_text()
    assert "0.0001" in (tmp_path / "tests.csv").read_text()


def test_pools_tell_how_languages_are_treated(lab):
    (row,) = pools_of(lab).to_dict("records")
    assert {"PEER@2", "Complete@2", "Preference@2(de)", "Preference@2(en)"} == set(row)
    assert row["Preference@2(de)"] == pytest.approx(-row["Preference@2(en)"])


def test_the_released_code_is_told_from_the_paper(lab):
    found = faithful_differences(lab.scores())
    assert list(found.index) == ["Zero-shot Translate-Test faithful"]
    assert found.loc["Zero-shot Translate-Test faithful"].tolist() == pytest.approx([-5.0] * 3)
    assert faithful_differences(lab.scores().query("system == 'ML-CS'")).empty


def test_claims_of_a_lab(lab):
    verdicts = claims_of(lab, rounds=100).set_index("id")
    assert verdicts.loc["C5", "verdict"] == "holds"
    assert "BL-CS" in verdicts.loc["C8", "why"]


def test_cost_is_said_for_mmarco_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("CSLAB_CACHE", str(tmp_path))
    monkeypatch.delenv("CSLAB_MIRROR", raising=False)
    assert cost_text(load_profile("smoke")) == ""
    told = cost_text(load_profile("mmarco"))
    assert "to fetch" in told
    # Four rankers for all pairs and nine for one, with three seeds; Translate-Test asks two of them again.
    systems = 3 * (6 * 35 + 9)
    assert f"{systems * 6980 * 1000:,} pairs" in told
    assert f"{3 * (4 + 9) * 200_000 * 64:,} pairs" in told


def _rankers(*names: str, extended: bool = False) -> list[System]:
    return [System(CONDITIONS[name], extended, "en-de" if name == "BL-CS" else None, 1) for name in names]


def test_what_is_looked_at_closely_is_trained_on_switched_text_and_has_a_baseline_of_its_vocabulary():
    plain, longer = (_rankers("Zero-shot", "ML-CS", "Fine-tuning", extended=e) for e in (False, True))
    values = {"Zero-shot": 10.0, "ML-CS": 20.0, "Fine-tuning": 40.0, "Zero-shot+vocab": 25.0, "ML-CS+vocab": 30.0}
    table = pd.DataFrame({"MoIR": values, "CLIR": values})
    both = SimpleNamespace(profile=load_profile("xquad"), systems=lambda: [*plain, *longer])
    assert contrast_of(both, table) == ("Zero-shot+vocab", "ML-CS+vocab")
    assert contrast_of(both, table, "ML-CS") == ("Zero-shot", "ML-CS")
    one = SimpleNamespace(profile=load_profile("smoke"), systems=lambda: [*plain, *_rankers("BL-CS")])
    assert contrast_of(one, table.head(3)) == ("Zero-shot", "ML-CS")
    none = SimpleNamespace(profile=load_profile("smoke"), systems=lambda: [plain[0], plain[2]])
    assert contrast_of(none, table.head(3)) == ("Zero-shot", "Fine-tuning")
    with pytest.raises(CslabError, match="no system but Zero-shot"):
        contrast_of(SimpleNamespace(profile=load_profile("smoke"), systems=lambda: plain[:1]), table)
    with pytest.raises(CslabError, match="system 'MLCS' was not scored"):
        contrast_of(one, table, "MLCS")


def test_lexicons_are_counted_and_measured():
    found = Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("fox", "Füchsin"), ("lives", "wohnt")])
    made = SimpleNamespace(path=Path("lexicons/de"), make=lambda: SimpleNamespace(summary={"identity share": 0.25}))
    held = SimpleNamespace(lexicons=lambda kind: {"de": found}, _lexicons=lambda kind: [made])
    gold = {"de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("lives", "lebt")])}
    (row,) = lexicon_table({"own": (held, WORDS)}, ["The fox lives", "the den"], gold).to_dict("records")
    assert row == {"lexicon": "own", "language": "de", "entries": 2, "translations": 1.5, "identities": 25.0,
                   "tokens": 40.0, "types": 50.0, "P@1": 50.0}  # fmt: skip
    assert "P@1" not in lexicon_table({"own": (held, WORDS)}, ["The fox"])


def test_lexicons_come_from_the_profile_its_alternatives_and_its_titles():
    varied = {"lexicon=own": "lab", "lexicon=names": "other"}
    lab = SimpleNamespace(profile=load_profile("atlas-full"), variations=lambda name: varied)
    found = lexicon_sources(lab)
    assert {name: kind for name, (_, kind) in found.items()} == {"own": WORDS, "names": WORDS, "titles": TITLES}
    assert found["titles"][0] is lab
    bare = SimpleNamespace(profile=load_profile("atlas"))
    assert lexicon_sources(bare) == {"own": (bare, WORDS)}


def test_gold_is_the_atlas_for_lexicons_made_from_it_or_what_is_asked_for(tmp_path):
    assert gold_lexicons(load_profile("atlas")) == {}
    made = load_profile("atlas", ["lexicon.source=induced", "lexicon.languages=[de]"])
    assert gold_lexicons(made)["de"]["fox"]
    (tmp_path / "en-de.txt").write_text("fox Fuchs\n")
    asked = gold_lexicons(load_profile("atlas", ["lexicon.languages=[de]"]), str(tmp_path / "en-{language}.txt"))
    assert [t.text for t in asked["de"]["fox"]] == ["Fuchs"]
