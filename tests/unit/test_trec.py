"""Runs and qrels in TREC and BEIR files."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cslab.collections.trec import Run, read_qrels, read_run, write_qrels, write_run
from cslab.store import CslabError, read_json
from tests.real import SHARED, needs_shared

RUN = Run("bm25", "en", "xx", "bm25(en)@100", {"q1": {"de:d1": 1 / 3, "en:d2": 7.25, "ru:d1": 1 / 3}, "q2": {}})


def test_equal_scores_are_ordered_by_id_descending():
    assert RUN.ranking("q1") == ["en:d2", "ru:d1", "de:d1"]
    assert RUN.ranking("q1", 2) == ["en:d2", "ru:d1"]
    assert RUN.ranking("q2") == []


def test_scores_that_fp32_cannot_tell_apart_are_equal():
    run = Run("s", "en", "en", "-", {"q": {"a": 1.0 + 1e-12, "b": 1.0}})
    assert run.ranking("q") == ["b", "a"]
    with pytest.raises(CslabError, match="score of query 'q', document 'a' is not a finite number"):
        Run("s", "en", "en", "-", {"q": {"a": float("nan")}})


def test_run_written_and_read_again(tmp_path):
    path = tmp_path / "run.trec.gz"
    write_run(RUN, path)
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    assert lines[0] == "q1 Q0 en:d2 1 7.25 bm25"
    assert lines[1].startswith("q1 Q0 ru:d1 2 0.3333333")
    assert read_json(f"{path}.json")["first_stage"] == "bm25(en)@100"
    again = read_run(path)
    assert again.scores == {"q1": RUN.scores["q1"]}, "TREC has no line for a query without documents"
    assert (again.name, again.query_lang, again.doc_lang, again.first_stage) == ("bm25", "en", "xx", "bm25(en)@100")


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_order_and_scores_survive_the_file(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("runs") / "r.trec"
    run = Run("s", "en", "de", "-", {"q": scores})
    write_run(run, path)
    assert read_run(path).scores == run.scores
    assert [line.split()[2] for line in path.read_text().splitlines()] == run.ranking("q")


def test_a_foreign_run_takes_name_and_provenance_from_its_tag(tmp_path):
    (tmp_path / "r.txt").write_text("q1\tQ0\td1\t2\t1.5\tsystem\n\nq1 Q0 d2 1 2.5 system\n")
    run = read_run(tmp_path / "r.txt", query_lang="en", doc_lang="de")
    assert (run.name, run.first_stage, run.ranking("q1")) == ("system", "system", ["d2", "d1"])
    named = read_run(tmp_path / "r.txt", "en", "de", name="mine", first_stage="bm25(own)@2")
    assert (named.name, named.first_stage) == ("mine", "bm25(own)@2")


@pytest.mark.parametrize("name", ["qrels.trec", "qrels.trec.gz", "qrels.tsv", "qrels.tsv.gz"])
def test_qrels_written_and_read_again(tmp_path, name):
    qrels = {"q1": {"d1": 3, "d2": 0}, "q2": {"lang:d": -1}}
    write_qrels(qrels, tmp_path / name)
    assert read_qrels(tmp_path / name) == qrels
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "rt") as handle:
        assert handle.readline() == ("query-id\tcorpus-id\tscore\n" if "tsv" in name else "q1 0 d1 3\n")


def test_repeated_judgements_are_kept_once(tmp_path):
    (tmp_path / "q.trec").write_text("q 0 d 1\nq 0 d 1\n")
    assert read_qrels(tmp_path / "q.trec") == {"q": {"d": 1}}


@needs_shared("data/moir_en/trec_dl19", "data/miracl_dev")
def test_real_files():
    run = read_run(SHARED / "data/moir_en/trec_dl19/run.bm25.trec.gz", "en", "en")
    qrels = read_qrels(SHARED / "data/moir_en/trec_dl19/qrels.trec.gz")
    assert set(run.scores) == set(qrels)
    assert len(run.ranking("264014")) == 100
    assert {grade for found in qrels.values() for grade in found.values()} == {0, 1, 2, 3}
    topics = read_qrels(SHARED / "data/miracl_dev/ru.qrels.trec.gz")
    assert topics["0"]["105156#0"] == 1
