"""CONTRIBUTING.md is true: the tables it names are tables, the files it names are there."""

import importlib
import re

import pytest

from tests.real import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
TABLES = re.findall(r"`([A-Z]+)` in\s+`(cslab/[\w/]+)\.py`", TEXT)


@pytest.mark.parametrize(("name", "module"), TABLES)
def test_the_tables_are_tables(name, module):
    table = getattr(importlib.import_module(module.replace("/", ".")), name)
    assert isinstance(table, dict)
    assert all(isinstance(key, str) for key in table)


def test_the_files_are_there():
    named = re.findall(r"`((?:cslab|tests|notebooks|benchmarks|workbench|evaluation)/(?!NN)[\w/.]*)`", TEXT)
    assert len(TABLES) >= 4
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / name).exists() and not (ROOT / "cslab" / name).exists()]
    assert missing == []


def test_a_policy_is_one_row(monkeypatch):
    from cslab.lexicon.lexicon import Lexicon
    from cslab.switching.policy import POLICIES, Policy
    from cslab.training.conditions import CONDITIONS, Condition, policy_for
    from cslab.workbench.widgets import SwitchExplorer

    monkeypatch.setitem(POLICIES, "half a sentence", Policy("half a sentence", 0.5, 0.5, sentence=0.5))
    monkeypatch.setitem(CONDITIONS, "Half", Condition("Half", policy=POLICIES["half a sentence"]))
    assert policy_for(CONDITIONS["Half"], languages=["de"], probability=0.3).query == 0.3
    explorer = SwitchExplorer({"de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs")])}, [("a fox", "the fox")])
    explorer.policy.value = "half a sentence"
    assert "half a sentence" in explorer.view.value
