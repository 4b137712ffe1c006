"""The notebook runner: parameters, order, what is kept, what a failure says, and the pages it writes."""

import io
import json
import re
import sys

import nbformat
import pytest

from cslab.config import make_profile
from cslab.store import CslabError
from cslab.workbench.notebooks import choose, find_notebooks, run_notebooks
from cslab.workbench.parallel import ready
from cslab.workbench.parameters import cell_parameters, check_parameters, declared
from cslab.workbench.progress import Progress
from tests.sample_notebooks import FINISH, write_notebook


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "notebooks"
    write_notebook(
        folder / "01_first_steps.ipynb",
        "# First steps\n\n**Question:** what is one\nand `one`?\n\n* Not asked.",
        "## Adding",
        "import os, sys\nprint('sum', 1 + 1, os.environ['OMP_WAIT_POLICY'])\nsys.executable",
        "print('\\n'.join(f'step {n}' for n in range(1, 21)))",
        FINISH.format(number=1, figures="f'{TIMES} times <b>', total=TIMES, share=0.123456, nothing={}"),
    )
    write_notebook(
        folder / "02_second_steps.ipynb",
        "# Second steps\nIs it a table?",
        "import pandas as pd\nframe = pd.DataFrame({'MoIR': [1.5]}, index=['ML-CS <b>'])",
        FINISH.format(number=2, figures="results=frame"),
        parameters='PROFILE: str = "demo"  # settings file',
    )
    return folder


def run(folder, tmp_path, **options):
    stream = io.StringIO()
    status = run_notebooks("demo", folder=folder, out=tmp_path / "outputs", stream=stream, **options)
    return status, stream.getvalue()


def test_parameters_are_read_from_the_tagged_cell_with_unions():
    found = declared("A: int = 1  # one\nB: str | None = None\nC = [1]\n")
    assert [(p.name, p.annotation, p.default) for p in found.values()] == [
        ("A", "int", 1), ("B", "str | None", None), ("C", "list", [1]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("A: int = len('x')", "no plain literal"),
        ("print(1)", "no other"),
        ("A: int =", "not Python"),
        ("A: int", "no other"),
        ("A, B = 1, 2", "no other"),
    ],
)
def test_a_parameters_cell_holds_plain_declarations_only(source, words):
    with pytest.raises(CslabError, match=words):
        declared(source, "nb.ipynb")


def test_two_parameters_cells_are_refused():
    cell = {"cell_type": "code", "source": "A: int = 1", "metadata": {"tags": ["parameters"]}}
    with pytest.raises(CslabError, match="keep one"):
        cell_parameters({"cells": [cell, cell]}, "nb.ipynb")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"STEP": 3}, "did you mean 'STEPS'"),
        ({"STEPS": "3"}, r"'3' \(str\), expected int"),
        ({"STEPS": True}, "expected int"),
        ({"NAMES": [1]}, r"expected list\[str\]"),
        ({"RATE": None}, "expected float"),
    ],
)
def test_wrong_parameters_are_refused(values, message):
    known = declared("STEPS: int = 1\nNAMES: list[str] = []\nRATE: float = 0.5\nLIMIT: int | None = None")
    with pytest.raises(CslabError, match=message):
        check_parameters(values, known, "nb.ipynb")


def test_right_parameters_pass():
    known = declared("STEPS: int = 1\nNAMES: list[str] = []\nRATE: float = 0.5\nLIMIT: int | None = None")
    check_parameters({"STEPS": 2, "NAMES": ["a"], "RATE": 1, "LIMIT": None}, known, "nb.ipynb")
    check_parameters({"LIMIT": 4}, known, "nb.ipynb")


def test_choosing_notebooks(folder):
    found = find_notebooks(folder, {}, {})
    assert [n.number for n in choose(found, "2", None)] == ["02"]
    assert [n.number for n in choose(found, None, "01_first_steps")] == ["01"]
    assert [n.title for n in found] == ["First steps", "Second steps"]
    with pytest.raises(CslabError, match="notebook '7' is not there"):
        choose(found, "7", None)


def test_bad_use_is_refused_before_anything_runs(folder, tmp_path):
    for options in ({"parameters": {"TIMS": 3}}, {"parameters": {"TIMES": "3"}}, {"settings": ["training.step=3"]}):
        with pytest.raises(CslabError):
            run(folder, tmp_path, **options)
    with pytest.raises(CslabError, match="no notebooks named"):
        run(tmp_path, tmp_path)
    with pytest.raises(CslabError, match="no executed notebooks"):
        run(folder, tmp_path, html_only=True)
    assert not list(tmp_path.glob("outputs/demo/**/*.ipynb"))


def test_progress_shows_whole_lines_and_signs_of_life():
    stream = io.StringIO()
    with Progress(stream, {2: "Training", 5: "Looking"}, silence=0.05) as progress:
        progress.cell(0)
        progress.cell(2)
        progress.write("step 1")
        progress.write(" of 2\nbar 10%\rbar 50%\rbar 100%\n\n")
        import time

        time.sleep(0.3)
    lines = stream.getvalue().splitlines()
    assert lines[:3] == ["  0:00:00  cell 1/2  Training", "         | step 1 of 2", "         | bar 100%"]
    assert lines[-1].endswith("cell 1/2  Training … still running")


def test_the_whole_run(folder, tmp_path):
    status, text = run(folder, tmp_path, parameters={"TIMES": 3})
    home = tmp_path / "outputs" / "demo"
    assert status == 0
    assert "cell 2/4  Adding" in text
    assert "| sum 2 PASSIVE" in text
    assert "ML-CS <b>" in text.split("02_second_steps: done")[1]
    assert text.splitlines()[-1] == f"report: {home / 'index.html'}"
    assert json.loads((home / "notebooks" / "01.summary.json").read_text()) == {
        "seen": "3 times <b>", "total": 3, "share": 0.123456
    }  # fmt: skip
    executed = nbformat.read(home / "notebooks" / "01_first_steps.ipynb", as_version=4)
    assert any(sys.executable in str(cell.get("outputs")) for cell in executed.cells)
    pages = [home / "index.html", *(home / "notebooks").glob("*.html")]
    assert len(pages) == 3
    for page in pages:
        assert not re.search(r'(src|href|url)\s*[=(]\s*["\']?(https?:)?//', page.read_text())
        assert "<script" not in page.read_text()
    index, first = pages[0].read_text(), (home / "notebooks" / "01_first_steps.html").read_text()
    assert "ML-CS &lt;b&gt;" in index
    assert "<p>what is one and one?</p>" in index
    assert index.count("3 times &lt;b&gt;") == 2, "in the list of findings and beside the notebook"
    assert "<summary>parameters</summary>" in first
    assert "# of this run" in first
    assert "injected" not in first
    assert "log, 20 lines: … step 20</summary>" in first
    shown = re.sub(r"<details.*?</details>", "", first, flags=re.DOTALL)
    assert "sum 2 PASSIVE" in shown
    assert "step 20" not in shown
    assert "import os" not in shown

    status, text = run(folder, tmp_path, parameters={"TIMES": 3})
    assert status == 0
    assert text.count("nothing changed, kept") == 2
    status, text = run(folder, tmp_path, parameters={"TIMES": 3}, start="02")
    assert "01_first_steps" not in text
    assert "02_second_steps: done" in text
    status, text = run(folder, tmp_path, parameters={"TIMES": 4})
    assert "01_first_steps: done" in text
    assert "02_second_steps: nothing changed, kept" in text
    (home / "index.html").unlink()
    assert run(folder, tmp_path, html_only=True)[0] == 0
    assert (home / "index.html").is_file()


def test_the_first_failure_stops_the_run(folder, tmp_path):
    cells = ["# First steps", "## Dividing", "x = 1\ny = 0\nz = 2\nprint(x)\nx / y\nprint(z)\nprint(y)"]
    write_notebook(folder / "01_first_steps.ipynb", *cells)
    status, text = run(folder, tmp_path)
    home = tmp_path / "outputs" / "demo"
    message = text.split("FAILED")[1].splitlines()
    assert status == 1
    assert "in cell 2/2" in message[0]
    assert "  >  5  x / y" in message
    assert any("ZeroDivisionError: division by zero" in line for line in message)
    assert any("cslab notebooks --profile demo" in line for line in message)
    assert len(message) <= 11
    assert not (home / "notebooks" / "02_second_steps.ipynb").exists()
    assert (home / "notebooks" / "01_first_steps.ipynb").is_file()
    assert "ZeroDivisionError" in (home / "index.html").read_text()


def test_the_same_command_goes_on_at_the_failure(folder, tmp_path):
    good = (folder / "02_second_steps.ipynb").read_text()
    write_notebook(folder / "02_second_steps.ipynb", "# Second steps", "## Dividing", "1 / 0")
    status, text = run(folder, tmp_path, settings=["training.steps=3"])
    assert status == 1
    assert "cslab notebooks --profile demo --set training.steps=3" in text
    (folder / "02_second_steps.ipynb").write_text(good)
    status, text = run(folder, tmp_path, settings=["training.steps=3"])
    assert status == 0
    assert "01_first_steps: nothing changed, kept" in text
    assert "02_second_steps: done" in text


def test_a_notebook_whose_section_the_profile_lacks_is_left_out(folder, tmp_path):
    path = folder / "01_first_steps.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"]["cslab"] = {"after": [], "needs": "image_text.source=scenes"}
    path.write_text(json.dumps(notebook))
    (tmp_path / "bare.yaml").write_text("about: nothing but defaults\n")
    stream = io.StringIO()
    options = {"folder": folder, "out": tmp_path / "outputs", "stream": stream, "only": "01"}
    assert run_notebooks(str(tmp_path / "bare.yaml"), **options) == 0
    assert "01_first_steps: left out, profile 'bare' has no section image_text" in stream.getvalue()
    assert "--set image_text.source=scenes" in stream.getvalue()
    assert not list((tmp_path / "outputs").rglob("01_*"))
    (found, _) = find_notebooks(folder, {}, {})
    assert found.lacks(make_profile({"name": "x", "image_text": {}})) is None
    notebook["metadata"]["cslab"]["needs"] = "image_txt.source=scenes"
    path.write_text(json.dumps(notebook))
    with pytest.raises(CslabError, match=r"cslab\.needs names 'image_txt'.*did you mean 'image_text'"):
        find_notebooks(folder, {}, {})[0].lacks(make_profile({"name": "x"}))


def after(path, *numbers):
    notebook = json.loads(path.read_text())
    notebook["metadata"]["cslab"] = {"after": list(numbers)}
    path.write_text(json.dumps(notebook))


def test_what_a_notebook_needs_is_done_before_it(folder):
    found = find_notebooks(folder, {}, {})
    assert ready(found, []) == found[:1]  # nothing said: all before it
    after(folder / "02_second_steps.ipynb")
    found = find_notebooks(folder, {}, {})
    assert ready(found, []) == found
    after(folder / "02_second_steps.ipynb", "01")
    found = find_notebooks(folder, {}, {})
    assert ready(found[1:], found[:1]) == []
    assert ready(found[1:], []) == found[1:]
    after(folder / "02_second_steps.ipynb", 1)
    with pytest.raises(CslabError, match="expected numbers such as"):
        ready(find_notebooks(folder, {}, {}), [])


def test_independent_notebooks_run_side_by_side_and_a_failure_starts_no_other(folder, tmp_path):
    met = tmp_path / "met"
    wait_for = f"""import os, pathlib, time
print(os.environ["OMP_NUM_THREADS"], "threads")
met = pathlib.Path({str(met)!r}); met.mkdir(exist_ok=True)
(met / "{{here}}").touch()
until = time.monotonic() + 120
while not (met / "{{other}}").exists():
    assert time.monotonic() < until, "the other was not started"
    time.sleep(0.1)"""
    write_notebook(folder / "01_first_steps.ipynb", "# First steps", wait_for.format(here="a", other="b"))
    write_notebook(folder / "02_second_steps.ipynb", "# Second steps", wait_for.format(here="b", other="a"), "1 / 0")
    write_notebook(folder / "03_third_steps.ipynb", "# Third steps", "print('third')")
    after(folder / "02_second_steps.ipynb")
    status, text = run(folder, tmp_path, jobs=2)
    assert status == 1
    assert re.search(r"^01 +\| \d+ threads$", text, re.MULTILINE)
    assert "01_first_steps: done" in text
    assert "02_second_steps: FAILED" in text
    assert "third" not in text
    assert "ZeroDivisionError" in (tmp_path / "outputs" / "demo" / "index.html").read_text()
