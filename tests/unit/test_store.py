"""python -m pytest tests/unit/test_store.py"""

import contextlib
import gzip
import json
import subprocess
import sys

import pytest

from cslab import store
from cslab.store import CslabError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.json"
    store.write_json(path, {"x": 1})
    with contextlib.suppress(RuntimeError), store.atomic_open(path) as handle:
        handle.write("half")
        raise RuntimeError
    assert store.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_same_text_packs_to_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        with store.atomic_open(tmp_path / f"{name}.txt.gz") as handle:
            handle.write("fox\n")
    assert (tmp_path / "a.txt.gz").read_bytes() == (tmp_path / "b.txt.gz").read_bytes()


@pytest.mark.parametrize(
    ("content", "read", "message"),
    [
        (b"a\tb\nc\n", lambda p: list(store.read_tsv(p, width=2)), r"x.tsv:2: 1 tab-separated cells, expected 2"),
        (b"a\tc\n", lambda p: list(store.read_tsv(p, columns=("a", "b"))), r"x.tsv:1: header is \['a', 'c'\]"),
        (b'{"a": 1}\n{"a":\n', lambda p: list(store.read_jsonl(p)), r"x.tsv:2: not JSON"),
        (b"[1]\n", lambda p: list(store.read_jsonl(p)), r"x.tsv:1: a JSON list, expected an object"),
        (b'{"a": 1}\n', lambda p: list(store.read_jsonl(p, ("a", "b"))), r"x.tsv:1: the object has no b"),
        (b"ok\n\xff\xfe\n", lambda p: list(store.read_lines(p)), r"x.tsv:2: not UTF-8"),
        (b'{"a":\n "\xff"}\n', store.read_json, r"x.tsv:2: not UTF-8"),
        (b'{"a":\n b}\n', store.read_json, r"x.tsv:2: not JSON"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, content, read, message):
    path = tmp_path / "x.tsv"
    path.write_bytes(content)
    with pytest.raises(CslabError, match=message):
        read(path)


def test_a_truncated_gzip_is_one_error_with_its_line(tmp_path):
    path = tmp_path / "x.tsv.gz"
    path.write_bytes(gzip.compress(b"a\n" * 50_000)[:-20])
    for read in (store.read_lines, store.read_json):
        with pytest.raises(CslabError, match=r"x.tsv.gz:\d+: cannot be read"):
            list(read(path))


def test_a_stage_is_made_once_and_again_when_something_changed(tmp_path):
    made = []

    def build(folder):
        made.append(folder)
        (folder / "data.txt").write_text("x")
        return {"n": len(made)}

    path = tmp_path / "stage" / "one"
    first = store.run_stage(path, {"a": 1}, build, {"up": "k"}, ("text",))
    again = store.run_stage(path, {"a": 1}, build, {"up": "k"}, ("text",))
    assert (first.reused, again.reused, len(made)) == (False, True, 1)
    assert store.stage_state(path, first.key) == "done"
    assert store.stage_state(path, "other") == "stale"
    assert not store.run_stage(path, {"a": 2}, build, {"up": "k"}, ("text",)).reused
    assert not store.run_stage(path, {"a": 2}, build, {"up": "new"}, ("text",)).reused
    assert json.loads((path / "manifest.json").read_text())["files"]["data.txt"] == 1


def test_an_interrupted_stage_keeps_its_work_for_the_same_key_only(tmp_path):
    path, seen = tmp_path / "s", []

    def interrupted(folder):
        seen.append((folder / "half").exists())
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    for config in ({"a": 1}, {"a": 1}, {"a": 2}):
        with pytest.raises(KeyboardInterrupt):
            store.run_stage(path, config, interrupted)
    assert seen == [False, True, False]
    assert not path.exists()


def test_a_tab_in_a_cell_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(CslabError, match="holds a tab"):
        store.write_tsv(tmp_path / "x.tsv", iter([("a\tb", "c")]))
    assert not list(tmp_path.iterdir())


def test_a_stage_that_another_process_makes_is_waited_for(tmp_path):
    code = f"""
import pathlib, time
from cslab.store import run_stage
here = pathlib.Path({str(tmp_path)!r})
def build(folder):
    print("building", flush=True)
    while not (here / "go").exists():
        time.sleep(0.05)
    return {{"number": 1}}
print(run_stage(here / "stage" / "one", {{}}, build).reused)
"""
    first, second = (_started(code) for _ in range(2))
    said = [process.stdout.readline() for process in (first, second)]
    (tmp_path / "go").touch()
    said = sorted(line + process.communicate()[0] for line, process in zip(said, (first, second), strict=True))
    assert said == ["  waiting for stage/one, which another process makes\nTrue\n", "building\nFalse\n"]


def _started(code: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
