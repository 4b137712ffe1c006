"""Bad input at the command line: one line that says what, where and what to do; exit status 2; nothing half-written."""

import errno
import os
import subprocess
import sys

import pytest

from cslab.__main__ import main
from tests.real import ROOT


def cslab(*words: str, outputs, **environment: str) -> subprocess.CompletedProcess:
    values = os.environ | {"CSLAB_OUTPUTS": str(outputs), "CSLAB_OFFLINE": "1"} | environment
    return subprocess.run(
        [sys.executable, "-m", "cslab", *words], cwd=ROOT, env=values, capture_output=True, text=True, timeout=120
    )


def refused(done: subprocess.CompletedProcess, *told: str) -> None:
    assert done.returncode == 2, (done.returncode, done.stderr[-800:])
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("cslab: ")
    for part in told:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("notebooks", "--profile", "dmo"), "did you mean 'demo'"),
        (("notebooks", "--set", "training.step=1"), "did you mean 'steps'"),
        (("evaluate", "--set", "conditions=[Zeroshot]"), "did you mean 'Zero-shot'"),
        (("train", "--profile", "smoke", "--condition", "ML-SC"), "did you mean 'ML-CS'"),
        (("switch", "a fox", "--profile", "smoke", "--policy", "MLCS"), "did you mean 'ML-CS'"),
        (("switch", "a fox", "--profile", "smoke", "--side", "left"), "query or document"),
        (("notebooks", "--profile", "smoke", "--from", "77"), "77"),
        (("train", "--profile", "smoke", "--set", "evaluation.measures=[MMR@10]"), "measure 'MMR@10' is not known"),
        (("tables", "--profile", "smoke", "--out", "t", "--measure", "MRR@5"), "did you mean 'MRR@10'"),
        (("image-text", "--set", "image_text.conditions=[ML-SC]"), "did you mean 'ML-CS'"),
        (("collection", "--profile", "xquad", "--set", "collection.languages=[en,fi]"), "fi"),
    ],
)
def test_a_wrong_word_is_one_line(words, told, tmp_path):
    refused(cslab(*words, outputs=tmp_path), told)


def write_beir(folder, query="who?", qrel="q1\td1\t1", line='{"_id": "d1", "title": "", "text": "The fox."}'):
    folder.mkdir()
    (folder / "corpus.jsonl").write_text(line + "\n")
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "' + query + '"}\n')
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + qrel + "\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"line": '{"_id": "d1", "text"'}, "corpus.jsonl:1"),
        ({"qrel": "q1\td9\t1"}, "d9"),
        ({"qrel": "q1 d1 1 x y"}, "qrels.tsv:2"),
        ({"query": " "}, "queries.jsonl:1"),
    ],
)
def test_a_bad_collection_is_one_line_and_leaves_nothing(change, told, tmp_path):
    write_beir(tmp_path / "en", **change)
    settings = [f"collection.folders={{en: {tmp_path / 'en'}}}", "collection.source=beir", "collection.languages=[en]"]
    words = [word for item in settings for word in ("--set", item)]
    refused(cslab("collection", "--profile", "smoke", *words, outputs=tmp_path / "out"), told)
    assert not list((tmp_path / "out").rglob("manifest.json"))


def test_a_missing_language_and_a_malformed_lexicon_are_named(tmp_path):
    write_beir(tmp_path / "en")
    beir = ["--set", f"collection.folders={{en: {tmp_path / 'en'}}}", "--set", "collection.source=beir"]
    done = cslab("rerank", "--profile", "smoke", *beir, "--set", "evaluation.pairs=[en-de]", outputs=tmp_path / "out")
    refused(done, "'de'")
    (tmp_path / "en-de.txt").write_text("fox Fuchs\nhen\n")
    lexicon = ["--set", "lexicon.source=muse", "--set", f"lexicon.folder={tmp_path}", "--set", "lexicon.languages=[de]"]
    refused(cslab("switch", "a fox", "--profile", "smoke", *lexicon, outputs=tmp_path / "out"), "en-de.txt:2")


def test_a_wrong_checksum_is_one_line(tmp_path):
    place = tmp_path / "mirror/raw.githubusercontent.com/google-research-datasets/lareqa/master/xquad-r"
    place.mkdir(parents=True)
    (place / "es.json").write_text("{}")  # English comes along
    words = ("collection", "--profile", "xquad", "--set", "collection.languages=[es]")
    refused(cslab(*words, outputs=tmp_path / "out", CSLAB_MIRROR=str(tmp_path / "mirror")), "es.json")


# --- what the system refuses, and interruptions ----------------------------------------------------------------


@pytest.fixture
def here(monkeypatch):
    """Calls `cslab` in this process; gives the exit status."""

    def run(*words) -> int:
        monkeypatch.setattr(sys, "argv", ["cslab", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0

    return run


@pytest.fixture
def merging(here, tmp_path):
    """Merges lexicons; the result goes where it is told."""
    (tmp_path / "words.tsv").write_text("fox\tFuchs\n")
    return lambda out: here(
        "lexicon", "merge", tmp_path / "words.tsv", "--source", "en", "--target", "ru", "--out", out
    )


def told(capsys) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def test_an_output_that_cannot_be_written_is_one_line(merging, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert merging(tmp_path / "file" / "en-de.tsv") == 2
    assert told(capsys).startswith(f"cslab: {tmp_path / 'file'}")


def test_a_full_disk_is_one_line_and_leaves_nothing(merging, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cslab.store.os.replace", full)
    assert merging(tmp_path / "out" / "en-de.tsv") == 2
    assert "No space left on device; make room" in told(capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interruption_says_how_to_go_on(merging, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cslab.lexicon.dictionaries.merge", interrupted)
    assert merging(tmp_path / "out.tsv") == 130
    assert "give the same command again to go on" in told(capsys)


def test_a_mistake_of_a_library_keeps_its_traceback(merging, tmp_path, monkeypatch):
    def lost(*_):
        raise OSError("no such model")

    monkeypatch.setattr("cslab.lexicon.dictionaries.merge", lost)
    with pytest.raises(OSError, match="no such model"):
        merging(tmp_path / "out.tsv")


def test_a_lexicon_says_its_own_languages(here, merging, tmp_path, capsys):
    assert merging(tmp_path / "lexicon.tsv") == 0
    assert here("lexicon", "show", tmp_path / "lexicon.tsv", "fox") == 0
    assert "lexicon.tsv: en-ru, 1 entries" in capsys.readouterr().out
    assert here("lexicon", "show", tmp_path / "words.tsv", "fox") == 2
    assert "its languages are not known; give --source and --target" in told(capsys)
