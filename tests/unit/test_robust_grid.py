"""The grid of robust training as tables, and a radius chosen on held-out questions."""

from types import SimpleNamespace

import pandas as pd
import pytest
from typer.testing import CliRunner

from cslab.__main__ import app
from cslab.domain_shift import shift_table
from cslab.evaluation.significance import holm
from cslab.findings import in_decimals, write_tables
from cslab.held_out import held_out_recipe, readings
from cslab.radius import best_radius, radii_on_held_out, with_radius
from cslab.robust_grid import cell_effects, cell_tests, grid_tables
from cslab.stages import open_lab
from cslab.store import CslabError
from tests.unit.test_domain_shift import score_table, tiny_lab

CELLS = ("ML-CS", "ML-CS+fgm")
TWINS = {"ML-CS+fgm": "ML-CS"}
VALUES = [(0.0, 0.5, 0.2, 0.1), (1.0, 0.5, 0.4, 0.6)]


def attacked(values, budget):
    table = score_table(values, CELLS)
    return table.assign(attacked=table["system"], method="words", budget=budget)


def test_cells_are_tested_with_one_correction():
    made = SimpleNamespace(own=pd.concat([attacked(VALUES, 0), attacked([(0.0,) * 4, (0.5, 0.0, 0.5, 0.4)], 2)]))
    scores = {"toy": score_table(VALUES, CELLS), "alone": score_table(VALUES[:1], CELLS[:1])}
    found = cell_tests(scores, made, TWINS)
    assert found["set"].tolist() == ["toy", "attack by words, 2 words"]
    assert found["system"].tolist() == ["ML-CS+fgm"] * 2
    assert found["difference"].tolist() == pytest.approx([42.5, 35])
    assert found["p_holm"].tolist() == pytest.approx(holm(found["p"]).tolist())
    assert (found["p_holm"] > found["p"]).any()


def test_effects_are_of_the_method_alone():
    pairs = ["en-en", "de-de", "en-de", "de-ru", "en-ru"]
    settings = {"en-en": "MoIR", "de-de": "MoIR"}
    parts = [
        score_table([(0.1,), (0.1 + n / 10,)], CELLS, (settings.get(p, "CLIR"), *p.split("-")))
        for n, p in enumerate(pairs)
    ]
    shift = shift_table({"toy": tiny_lab(pairs)})
    found = cell_effects({"toy": pd.concat(parts)}, shift, TWINS)
    assert found["system"].tolist() == ["ML-CS+fgm"] * 2
    assert found["distance"].tolist() == ["intercept", "language distance"]
    assert found["coefficient"][0] == pytest.approx(20)
    assert cell_effects({"toy": parts[0]}, shift, TWINS).empty


def test_numbers_as_text():
    table = pd.DataFrame({"name": ["a"], "p": [0.0421], "n": [3], "lost": [float("nan")]})
    assert in_decimals(table, 3).iloc[0].tolist() == ["a", "0.042", 3, None]
    assert in_decimals(table, 1, ["p"])["p"].tolist() == ["0.0"]


GRID = [
    "conditions=[ML-CS]", "robust=[none, fgm]", "training.steps=2", "training.dev_queries=8",
    "evaluation.pairs=[en-en, en-de]", "evaluation.depth=3", "attack.queries=3", "attack.words=1",
    "tests={voyages: {collection: {domain: voyages, languages: [en, de], passages: 60, queries: 5}, "
    "evaluation: {pairs: [en-en, en-de], depth: 3}}}",
]  # fmt: skip


def test_a_grid_and_a_radius(tmp_path, capsys, monkeypatch):
    lab = open_lab("smoke", GRID, outputs=tmp_path)
    tables = grid_tables(lab)
    assert list(tables) == ["settings", "attack", "model queries", "cells", "tests", "gains", "shift", "effects"]
    assert list(tables["settings"].index) == ["BM25", "ML-CS", "ML-CS+fgm"]
    assert len(tables["tests"]) == 5  # two pairs on each of two collections, and the attack
    assert list(tables["attack"].index) == ["ML-CS", "ML-CS+fgm"]
    assert tables["cells"][["set", "setting"]].to_numpy().tolist() == [
        [name, setting] for name in ("atlas-towns-test", "voyages") for setting in ("MoIR", "CLIR")
    ]
    assert len(write_tables(tables, tmp_path / "tables")) == 24
    capsys.readouterr()

    found = radii_on_held_out(lab, "fgm", (0.3,))
    assert list(found.index) == [0.0, 0.3]
    assert list(found) == ["as they are", "switched", "mean"]
    assert best_radius(found) in (0.0, 0.3)
    told = capsys.readouterr().out
    assert "made models/ml-cs+fgm(epsilon=0.3)-s1" in told
    assert "made models/ml-cs-s1" not in told
    task = readings(lab)["as they are"]
    assert len(task.queries) == 8
    assert not set(task.queries) & set(lab.pairs().qids)
    assert readings(lab)["switched"].queries != task.queries
    assert [held_out_recipe(lab, system).state() for system in lab.systems()] == ["done", "to do"]

    monkeypatch.setenv("CSLAB_OUTPUTS", str(tmp_path))
    done = CliRunner().invoke(app, ["held-out", "-p", "smoke", *(part for one in GRID for part in ("--set", one))])
    assert done.exit_code == 0, done.output
    assert "MRR@10 × 100 on 8 held-out questions" in done.output
    table = done.output[done.output.index("| ranker |") :].splitlines()
    assert table[0] == "| ranker | as they are | switched |"
    plain = [f"{found.loc[0.0, reading]:.1f}" for reading in ("as they are", "switched")]
    assert table[2] == f"| ml-cs-s1 | {plain[0]} | {plain[1]} |"
    assert table[3].startswith("| ml-cs+fgm-s1 | ")
    assert "made models/" not in done.output


def test_what_cannot_be_chosen_is_said(tmp_path):
    lab = open_lab("smoke", [*GRID, "training.dev_queries=0"], outputs=tmp_path)
    with pytest.raises(CslabError, match=r"no queries are held out; set training\.dev_queries"):
        radii_on_held_out(lab)
    with pytest.raises(CslabError, match="'ML-SC' is no condition with one ranker for all pairs; there is ML-CS"):
        radii_on_held_out(lab, condition="ML-SC")
    with pytest.raises(CslabError, match=r"no setting 'worst-of-k\.epsilon'"):
        radii_on_held_out(lab, "worst-of-k")
    with pytest.raises(CslabError, match="no robust method stands beside the same condition without"):
        grid_tables(open_lab("smoke", [*GRID, "robust=[fgm]"], outputs=tmp_path))
    assert with_radius("worst-of-k+fgm", 0.05) == "worst-of-k+fgm(epsilon=0.05)"
    assert best_radius(pd.DataFrame({"mean": [50.0, 60.0, 60.0]}, index=[0.0, 0.02, 0.1])) == 0.02
