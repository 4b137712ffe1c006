"""python -m pytest tests/unit/test_code_keys.py"""

import shutil
from pathlib import Path

import pytest

import cslab
from cslab.code_keys import Package, code_key, root_of
from cslab.image_text import open_image_lab
from cslab.model_stages import model_recipe
from cslab.stages import open_lab

MODEL = "makers.train_ranker"
ROOM = Path(cslab.__file__).parent


@pytest.fixture
def package(tmp_path):
    """A copy of the package's modules, to be edited."""
    return shutil.copytree(ROOM, tmp_path / "cslab", ignore=shutil.ignore_patterns("__pycache__"))


def changes(package, file, old, new, root=MODEL):
    """Edits one place of a module, and tells whether the key of a root changed."""
    before, path = Package(package).key(root), package / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    return Package(package).key(root) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("training/loop.py", "class Adversary(", "# What follows is new.\n\n\nclass Adversary("),
        ("training/loop.py", '"""The training loop,', '"""The loop,'),
        ("training/loop.py", '"""What may take the place of', '"""What takes the place of'),
        ("training/batches.py", "divmod(step, self.steps)", "divmod(\n            step, self.steps\n        )"),
    ],
)
def test_comments_docstrings_and_line_ends_leave_the_key_of_a_model(package, file, old, new):
    assert not changes(package, file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("makers.py", "seed=system.seed, dropout", "seed=1, dropout"),
        ("makers.py", 'SYNONYMS = "rs-da"', 'SYNONYMS = "rs"'),
        ("training/batches.py", "divmod(step, self.steps)", "divmod(step + 1, self.steps)"),
        ("training/losses.py", "GRADES = (0.0, 10.0)", "GRADES = (0.0, 9.0)"),
        ("stages.py", "switched = system.ranker.condition.policy is not None", "switched = True"),
        ("training/loop.py", "from hashlib import blake2b", "from hashlib import blake2s as blake2b"),
    ],
)  # fmt: skip
def test_what_a_training_runs_changes_the_key_of_its_model(package, file, old, new):
    assert changes(package, file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("workbench/charts.py", 'enable("cslab")', 'enable("other")'),
        ("training/loop.py", "from typing import Any, Protocol", "from typing import Any, Final, Protocol"),
        ("evaluation/claims.py", "def check_claims(", "MORE = 1\n\n\ndef check_claims("),
        ("evaluation/measures.py", 'RANKS = ("Max@R",)', "RANKS = ()"),
        ("systems.py", 'FIRST_STAGE = "BM25"', 'FIRST_STAGE = "bm25"'),
        ("stages.py", '"reachable": reach', '"reached": reach'),
    ],
)
def test_code_that_a_training_does_not_reach_leaves_the_key_of_its_model(package, file, old, new):
    assert not changes(package, file, old, new)


def test_a_model_reaches_neither_measures_nor_reports_nor_widgets():
    reached = {module.partition(".")[0] for module, _ in Package(ROOM).closure(MODEL)}
    assert "training" in reached
    assert not reached & {"evaluation", "findings", "workbench", "robustness", "image_text", "commands"}


def test_measures_count_for_a_model_that_is_evaluated_while_it_is_trained():
    plain, judged = (
        open_lab("smoke", [f"training.evaluate_every={steps}", "training.dev_queries=2"]) for steps in (0, 5)
    )
    roots = [model_recipe(lab, next(lab.systems())).roots for lab in (plain, judged)]
    assert roots == [(MODEL,), (MODEL, "makers.dev_evaluator")]
    assert ("evaluation.measures", "score_run") in Package(ROOM).closure(*roots[1])


def test_a_key_does_not_depend_on_what_was_asked_before():
    package = Package(ROOM)
    package.key("cslab")
    assert package.key(MODEL) == Package(ROOM).key(MODEL)


def test_every_stage_has_code():
    recipes = open_lab("demo").recipes() + open_image_lab("demo").recipes()
    assert all(code_key(*(recipe.roots or root_of(recipe.build))) for recipe in recipes)


# --- the rules, one by one -----------------------------------------------------------------------------------


def written(tmp_path, **modules):
    """A package of a few lines."""
    for name, text in {"__init__": "", **modules}.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return Package(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "from cslab.x import used\ndef root(): return used()",
        "def root():\n    from cslab.x import used as other\n    return other()",
        "import cslab.x as x\ndef root(): return x.used()",
        "import cslab.x\ndef root(): return cslab.x.used()",
        "from cslab import x\ndef root(): return x.used()",
        "from . import x\ndef root(): return x.used()",
        "from .x import used\ndef root(): return used()",
        "from cslab.x import Held\ndef root(held: Held): return held.used()",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from cslab.x import Held\n"
        'def root(held: "Held | None"): return held.used()',
        "from cslab.x import Held\nclass Of:\n    def a(self, one: Held): return one.used()\n"
        "    def b(self, one: str): return str(one)\ndef root(): return Of()",
        "from cslab.again import used\ndef root(): return used()",
        "TABLE = {}\nfrom cslab.x import used\ndef root(): return TABLE\nTABLE[1] = used",
    ],
)
def test_one_name_of_a_module_is_reached(tmp_path, text):
    functions = "def used(): return {0}\ndef other(): return {1}\n"
    x = functions + "class Held:\n    def used(self): return {0}\n    def other(self): return {1}\n"
    kept = {"a": text, "again": "from cslab.x import used\n"}
    first = written(tmp_path / "1", x=x.format(1, 1), **kept).key("a.root")
    assert written(tmp_path / "2", x=x.format(1, 2), **kept).key("a.root") == first
    assert written(tmp_path / "3", x=x.format(2, 1), **kept).key("a.root") != first


@pytest.mark.parametrize(
    "text",
    [
        "from cslab.x import *\ndef root(): return used()",
        "from cslab import x\ndef root(name): return getattr(x, name)()",
        "from cslab import x\ndef root(): return call(x)",
        "from importlib import import_module\ndef root(name): return getattr(import_module('cslab.x'), name)",
        "try:\n    from cslab.lost import f\nexcept ImportError:\n    from cslab.x import other as f\n"
        "def root(): return f",
        "from cslab.x import lost\ndef root(): return lost()",
        "from cslab.x import Held\ndef root(held: Held, name): return getattr(held, name)",
        "from cslab.x import Held\ndef root(held: Held): return held.set_as_it_goes",
        "try:\n    from cslab.x import other as found\nexcept ImportError:\n    found = None\ndef root(): return found",
    ],
)
def test_what_cannot_be_told_counts_as_a_whole(tmp_path, text):
    x = "def other(): return {0}\nclass Held:\n    def other(self): return {0}\n"
    first = written(tmp_path / "1", x=x.format(1), a=text).key("a.root")
    assert written(tmp_path / "2", x=x.format(2), a=text).key("a.root") != first


def test_another_stage_is_not_followed(tmp_path):
    text = "def other() -> 'Recipe': return {0}\ndef root(): return other().make(), {1}\n"
    keys = [written(tmp_path / str(n), a=text.format(n, 0)).key("a.root") for n in (1, 2)]
    whole = [Package(tmp_path / str(n)).key("cslab") for n in (1, 2)]
    assert (keys[0] == keys[1], whole[0] == whole[1]) == (True, False)


def test_a_root_is_a_module_a_function_or_a_method(tmp_path):
    package = written(tmp_path, a="class Held:\n    def used(self): return 1\n")
    assert len({package.key(root) for root in ("a", "a.Held", "a.Held.used")}) == 3
    for wrong in ("b", "a.lost", "a.Held.lost", "cslab.a"):
        with pytest.raises(ValueError, match="no such module, function or method"):
            package.key(wrong)


def test_functions_of_other_packages_have_no_root():
    assert (root_of(written), code_key()) == ((), "")
