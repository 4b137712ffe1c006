"""The training view: small charts from logs, of trainings under way too; live in a thread, a twin in headless runs."""

import json
import time
from types import SimpleNamespace

import pytest

from cslab.store import CslabError
from cslab.systems import System
from cslab.training.conditions import CONDITIONS
from cslab.workbench.execute import HEADLESS
from cslab.workbench.training import TrainingView, ranker_names, read_log, thinned, training_html
from tests.unit.test_html import well_formed

ROWS = [{"step": s, "loss": 1 / s, "pairs_per_s": 100.0 + s, "seconds": 2.0 * s} for s in range(10, 101, 10)]


def write(folder, rows, tail=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)


def small_lab(folder):
    profile = SimpleNamespace(name="small", training=SimpleNamespace(steps=100))
    systems = [System(CONDITIONS[name], False, None, 1) for name in ("Zero-shot", "ML-CS")]
    return SimpleNamespace(folder=folder, profile=profile, systems=lambda: iter(systems))


def test_the_view_says_where_each_ranker_is():
    view = training_html({"a <b>": ROWS, "b": ROWS[:5], "c": []}, 100, "Now")
    well_formed(view)
    assert "step 100 of 100 · 0:03:20 in all" in view
    assert "step 50 of 100 · about 0:01:40 left" in view
    assert "not begun" in view
    assert view.count("<polyline") == 4  # loss and speed of two rankers; no dev score was logged
    assert "loss: 0.100 to 0.010, scale 0.010 to 0.100" in view
    dev = training_html({"a": [row | {"dev": 0.3} for row in ROWS]}, 100)
    assert "dev score" in dev
    assert "scale -0.200 to 0.800" in dev  # a flat line lies in the middle


def test_rankers_are_called_as_in_tables():
    plain, translated = CONDITIONS["Zero-shot"], CONDITIONS["Zero-shot Translate-Test"]
    systems = [System(plain, False, None, 1), System(translated, False, None, 1), System(plain, True, "en-de", 1)]
    names = ranker_names(systems)
    assert names == {"zero-shot-s1": "Zero-shot", "zero-shot+vocab-en-de-s1": "Zero-shot+vocab en-de"}
    assert list(ranker_names([*systems, System(plain, False, None, 2)]).values())[-1] == "Zero-shot seed 2"


def test_long_logs_are_thinned():
    assert len(thinned([(s, 1.0) for s in range(1, 100_001)])) <= 120
    assert thinned([(1, 5.0)]) == [(1, 5.0)]


def test_logs_are_read_of_finished_models_and_of_those_under_way(tmp_path):
    folder = tmp_path / "models" / "ml-cs-s1"
    assert read_log(folder) == []
    write(folder, ROWS)
    assert len(read_log(folder)) == 10
    write(tmp_path / "models" / ".ml-cs-s1.partial", ROWS[:3], tail='{"step": 4, "lo')
    assert [row["step"] for row in read_log(folder)] == [10, 20, 30]
    (tmp_path / "models" / ".ml-cs-s1.partial" / "log.jsonl").unlink()
    write(folder, ROWS, tail="{")
    with pytest.raises(CslabError, match="not JSON"):
        read_log(folder)


def test_it_follows_a_training_while_the_block_runs(tmp_path, monkeypatch):
    monkeypatch.delenv(HEADLESS, raising=False)
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    folder = tmp_path / "models" / ".ml-cs-s1.partial"
    with TrainingView(small_lab(tmp_path), pause=0.01) as view:
        assert view.view.value.count("not begun") == 2
        write(folder, ROWS[:2])
        until = time.monotonic() + 20
        while "step 20 of 100" not in view.view.value and time.monotonic() < until:
            time.sleep(0.01)
        assert "step 20 of 100" in view.view.value
        write(folder, ROWS)
    assert "step 100 of 100" in view.view.value
    assert "small: 2 rankers" in view.static()


def test_a_headless_run_shows_the_twin_once(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *found, **_: shown.extend(found))
    monkeypatch.setenv(HEADLESS, "1")
    write(tmp_path / "models" / "ml-cs-s1", ROWS)
    with TrainingView(small_lab(tmp_path)) as view:
        pass
    assert shown[0] is view.box
    assert shown[1].data == view.static()
    assert "step 100 of 100" in shown[1].data
