"""The notebooks in the repository: stripped, parameterised, short cells, no algorithms, every figure with a caption."""

import ast
import inspect
import json
import re
from importlib import import_module
from pkgutil import iter_modules
from statistics import median

import altair as alt
import pytest

from cslab import workbench
from cslab.config import make_profile, override
from cslab.resources import packaged
from cslab.workbench.parameters import TAG, cell_parameters
from tests.real import ROOT

NUMBERED = sorted((ROOT / "notebooks").glob("*.ipynb"))
NOTEBOOKS = [*NUMBERED, *sorted(packaged("templates").glob("*.ipynb"))]
MODULES = [import_module(f"cslab.workbench.{found.name}") for found in iter_modules(workbench.__path__)]
CHARTS = {name for module in MODULES for name, made in inspect.getmembers(module, inspect.isfunction)
          if made.__annotations__.get("return") is alt.TopLevelMixin} | {"Chart"}  # fmt: skip
MEDIAN, LONGEST = 8, 30  # lines of a code cell

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_numbered = pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)


def cells(path, kind: str | None = None) -> list[dict]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in found if kind in (None, cell["cell_type"])]


@each_numbered
def test_name(path):
    assert re.fullmatch(r"\d\d_[a-z]+(_[a-z]+)*", path.stem)


@each
def test_kernel(path):
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata["kernelspec"]["name"] == "python3"
    assert "widgets" not in metadata


@each
def test_outputs_are_stripped(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@each
def test_one_parameters_cell_with_a_comment_for_each(path):
    (source,) = (cell["source"] for cell in cells(path) if TAG in cell["metadata"].get("tags", ()))
    assert cell_parameters({"cells": cells(path)}, str(path))
    assert all("#" in line for line in source.splitlines() if "=" in line), "a comment for each parameter"


@each_numbered
def test_it_takes_profile_and_settings(path):
    found = cell_parameters({"cells": cells(path)}, str(path))
    assert found["PROFILE"].annotation == "str"
    assert "SETTINGS" in found


@each_numbered
def test_it_says_which_notebooks_it_needs(path):
    needed = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("cslab", {}).get("after", [])
    assert set(needed) <= {other.name[:2] for other in NUMBERED if other.name < path.name}


@each_numbered
def test_what_it_needs_of_a_profile_can_be_set(path):
    setting = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("cslab", {}).get("needs")
    if setting:
        bare = {"name": "bare"}
        assert getattr(make_profile(bare), setting.partition(".")[0]) is None
        assert getattr(make_profile(override(bare, [setting])), setting.partition(".")[0]) is not None


@each
def test_cells_are_short(path):
    lines = [len(cell["source"].splitlines()) for cell in cells(path, "code")]
    assert median(lines) <= MEDIAN
    assert max(lines) <= LONGEST


@each
def test_algorithms_live_in_the_package(path):
    for cell in cells(path, "code"):
        nodes = list(ast.walk(ast.parse(cell["source"])))
        defined = {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While}
        assert not defined & {type(node) for node in nodes}, cell["source"]
        loops = [node for node in nodes if isinstance(node, ast.For)]
        assert not any(isinstance(inner, ast.For) for loop in loops for inner in ast.walk(loop) if inner is not loop)


@each_numbered
def test_it_begins_with_a_title_and_ends_with_its_summary(path):
    first = cells(path)[0]
    assert first["cell_type"] == "markdown"
    assert first["source"].startswith("# ")
    assert "\n**Question:** " in first["source"]
    assert f"finish(lab, {int(path.stem[:2])}, seen" in cells(path, "code")[-1]["source"]


@each
def test_charts_have_captions_and_nothing_comes_from_another_host(path):
    for cell in cells(path, "code"):
        calls = [node for node in ast.walk(ast.parse(cell["source"])) if isinstance(node, ast.Call)]
        figures = [call for call in calls if _name(call) == "figure"]
        assert all(len(call.args) > 1 for call in figures), "figure(chart, caption)"
        shown = {id(node) for call in figures for node in ast.walk(call.args[0])}
        drawn = [call for call in calls if _name(call) in CHARTS and id(call) not in shown]
        assert not drawn, f"{_name(drawn[0])} without figure(chart, caption)"
        assert "plt" not in cell["source"], "a picture without a text alternative"
    for cell in cells(path, "markdown"):
        assert not re.search(r"(!\[.*?\]\(|<img[^>]+src=.)https?:", cell["source"])


def test_the_charts_of_every_module_are_known():
    assert {"heat_map", "robust_curve", "recall_bars", "overlap_chart", "Chart"} <= CHARTS


def _name(call: ast.Call) -> str:
    return getattr(call.func, "id", getattr(call.func, "attr", ""))
