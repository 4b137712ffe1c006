"""The notebooks headless, on the smoke profile: each runs, leaves a summary, and the report opens without a network."""

import re

import pandas as pd
import pytest

from cslab.store import read_json
from tests.smoke import NUMBERED, WIDGET, cslab

pytestmark = pytest.mark.slow


def test_all_notebooks_run_and_say_so(smoke):
    assert smoke.done.returncode == 0, smoke.done.stdout[-3000:] + smoke.done.stderr[-2000:]
    made = smoke.home / "notebooks"
    for name in (path.stem for path in NUMBERED):
        assert (made / f"{name}.ipynb").is_file()
        assert (made / f"{name}.html").is_file()
        assert read_json(made / f"{name[:2]}.summary.json")
        assert name in smoke.done.stdout
    assert str(smoke.home / "index.html") in smoke.done.stdout


def test_the_table_has_every_condition_and_setting(smoke):
    table = pd.DataFrame.from_dict(read_json(smoke.home / "scores" / "all" / "summary.json")["table"], "index")
    assert list(table) == ["MoIR", "CLIR", "MLIR"]
    assert {"BM25", "Zero-shot", "ML-CS", "Fine-tuning"} <= set(table.index)
    assert table.notna().all().all()


def test_the_report_asks_for_nothing_from_elsewhere(smoke):
    for page in smoke.home.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text), page.name


def test_every_figure_has_a_text_alternative_and_every_widget_a_twin(smoke):
    for path in (smoke.home / "notebooks").glob("*.ipynb"):
        for cell in read_json(path)["cells"]:
            found = [output for output in cell.get("outputs", ()) if "data" in output]
            pictures = [output for output in found if "image/png" in output["data"]]
            assert all(output["metadata"]["image/png"].get("alt") for output in pictures), path.name
            widgets = [output for output in found if WIDGET in output["data"]]
            twins = [output for output in found if "cslab" in "".join(output["data"].get("text/html", ""))]
            assert len(twins) >= len(widgets), path.name


def test_nothing_changed_means_nothing_done(smoke):
    again = cslab("notebooks", "--profile", "smoke", outputs=smoke.outputs)
    assert again.returncode == 0, again.stderr[-2000:]
    assert again.stdout.count("nothing changed") == len(NUMBERED)
    status = cslab("status", "--profile", "smoke", outputs=smoke.outputs).stdout
    assert not re.search(r"\b(to do|stale|partial)\b", status)
