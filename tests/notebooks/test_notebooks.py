"""The notebooks headless, on the smoke profile: each runs, leaves a summary, and the report opens without a network."""

import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from cslab.store import read_json
from tests.real import ROOT

pytestmark = pytest.mark.slow


def cslab(*words: str, outputs) -> subprocess.CompletedProcess:
    environment = os.environ | {"CSLAB_OUTPUTS": str(outputs), "CSLAB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "cslab", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    outputs = tmp_path_factory.mktemp("outputs")
    return outputs, cslab("notebooks", "--profile", "smoke", outputs=outputs)


def test_all_notebooks_run_and_say_so(run):
    outputs, done = run
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    names = [path.stem for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
    made = outputs / "smoke" / "notebooks"
    for name in names:
        assert (made / f"{name}.ipynb").is_file()
        assert (made / f"{name}.html").is_file()
        assert read_json(made / f"{name[:2]}.summary.json")
        assert name in done.stdout
    assert str(outputs / "smoke" / "index.html") in done.stdout


def test_the_table_has_every_condition_and_setting(run):
    outputs, _ = run
    table = pd.DataFrame.from_dict(read_json(outputs / "smoke" / "scores" / "all" / "summary.json")["table"], "index")
    assert list(table) == ["MoIR", "CLIR", "MLIR"]
    assert {"BM25", "Zero-shot", "ML-CS", "Fine-tuning"} <= set(table.index)
    assert table.notna().all().all()


def test_the_report_asks_for_nothing_from_elsewhere(run):
    outputs, _ = run
    for page in (outputs / "smoke").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text), page.name


def test_every_figure_has_a_text_alternative_and_every_widget_a_twin(run):
    outputs, _ = run
    for path in (outputs / "smoke" / "notebooks").glob("*.ipynb"):
        for cell in read_json(path)["cells"]:
            found = [output for output in cell.get("outputs", ()) if "data" in output]
            pictures = [output for output in found if "image/png" in output["data"]]
            assert all(output["metadata"]["image/png"].get("alt") for output in pictures), path.name
            widgets = [output for output in found if "application/vnd.jupyter.widget-view+json" in output["data"]]
            twins = [output for output in found if "cslab" in "".join(output["data"].get("text/html", ""))]
            assert len(twins) >= len(widgets), path.name


def test_nothing_changed_means_nothing_done(run):
    outputs, _ = run
    again = cslab("notebooks", "--profile", "smoke", outputs=outputs)
    assert again.returncode == 0, again.stderr[-2000:]
    assert again.stdout.count("nothing changed") == len(list((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")))
    status = cslab("status", "--profile", "smoke", outputs=outputs).stdout
    assert not re.search(r"\b(to do|stale|partial)\b", status)
