"""Tables as files, claims of a lab, the released code's errors, and what mMARCO costs: from made scores."""

from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest

from cslab.collections.atlas import atlas
from cslab.config import load_profile
from cslab.evaluation.measures import COLUMNS
from cslab.evaluation.settings import make_task
from cslab.findings import claims_of, cost_text, faithful_differences, pools_of, tables_of, write_tables
from cslab.languages import setting
from cslab.systems import System
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
