"""NTREX, SQuAD and MKQA files that are cut off, malformed or of another kind: one line that says what to do."""

import gzip
import random

import pytest

from cslab.collections.mkqa import mkqa_queries
from cslab.collections.ntrex import ntrex, read_ntrex
from cslab.collections.squad import squad_paragraphs
from tests.faults.test_collections import complaint
from tests.unit.test_parallel_sources import ENGLISH, IDS, ITALIAN, TEXTS, squad


@pytest.mark.parametrize(
    ("ids", "text", "message"),
    [
        (IDS, TEXTS["nl"][:-20], "nl.txt: 4 lines, expected the 5 of "),
        (IDS, TEXTS["nl"].replace("Vos gezien", ""), "query 'q_bbc.1' in 'nl' is empty"),
        (IDS.replace("cnn.7\ncnn.7", "cnn.7\nbbc.2"), TEXTS["nl"], "document 'cnn.7' has no text after its headline"),
        (IDS.replace("cnn.7\ncnn.7", "cnn.7\nbbc.1"), TEXTS["nl"], "a document's lines are not in one piece"),
        (IDS.replace("cnn.7\ncnn.7", "\n"), TEXTS["nl"], "or a line is empty; fetch the file again"),
        ("", "", "ids.tsv: holds no line; fetch the file again"),
    ],
)
def test_bad_news(tmp_path, ids, text, message):
    (tmp_path / "ids.tsv").write_text(ids)
    (tmp_path / "nl.txt").write_text(text)
    assert message in complaint(read_ntrex, {"nl": tmp_path / "nl.txt"}, tmp_path / "ids.tsv")


def test_languages_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("CSLAB_MIRROR", str(tmp_path))
    assert complaint(ntrex, ["en", "dutch"]).startswith("NTREX: language 'dutch' is not in it; ")
    assert "no language given" in complaint(ntrex, [])
    assert "DOCUMENT_IDS.tsv: not in the mirror" in complaint(ntrex, ["nl"])
    assert "SQuAD: language 'de' is not in it; valid names: en, it" in complaint(squad_paragraphs, ["de"])
    assert "no language given" in complaint(squad_paragraphs, [])
    assert "MKQA: language 'zh_cn' is not in it; " in complaint(mkqa_queries, ["zh_cn"])


@pytest.mark.parametrize(
    ("italian", "message"),
    [
        ("{", "it:1: not JSON (Expecting property name"),
        ('{"data": [{"title": "x"}]}', "it: not in the layout of SQuAD v1.1 (KeyError('paragraphs'))"),
        ("[]", "it: not in the layout of SQuAD v1.1 (TypeError("),
        (ITALIAN.replace('"Cosa?"', "7"), "it: not in the layout of SQuAD v1.1 (AttributeError("),
        (squad(("A", {"q1": "a", "q3": "b"})), "it: one paragraph answers questions of d0000, d0001; fetch it again"),
        (squad(("A", {"q1": "a"}), ("B", {"q2": "b"})), "it: two paragraphs answer questions of 'd0000'"),
        (squad(("A", {"q1": "a"}), ("B", {"q1": "b"})), "it: question 'q1' stands twice; fetch the file again"),
        (squad(("A", {"x": "a"})), "it: shares no question with the English file"),
        (squad(("A", {"q1": " "})), "query 'q1' in 'it' is empty"),
    ],
)
def test_a_bad_file_of_paragraphs(tmp_path, italian, message):
    (tmp_path / "en").write_text(ENGLISH)
    (tmp_path / "it").write_text(italian)
    assert message in complaint(squad_paragraphs, files={"en": tmp_path / "en", "it": tmp_path / "it"})


def test_a_truncated_file_of_paragraphs(tmp_path):
    (tmp_path / "en").write_text(ENGLISH)
    packed = gzip.compress(f"{ITALIAN}\n{random.Random(0).randbytes(5000).hex()}".encode())
    (tmp_path / "it.json.gz").write_bytes(packed[: len(packed) // 2])
    message = complaint(squad_paragraphs, files={"en": tmp_path / "en", "it": tmp_path / "it.json.gz"})
    assert "it.json.gz:2: cannot be read (Compressed file ended" in message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.jsonl", '{"example_id": 1}\n', "q.jsonl:1: the object has no queries"),
        ("q.jsonl", '{"example_id": 1, "queries": ["a"]}\n', 'q.jsonl:1: queries ["a"] are not by language'),
        ("q.jsonl", '{"example_id": 1, "queries": {"en": ""}}\n', "q.jsonl:1: no question in 'en'; leave the language"),
        ("q.jsonl", '{"example_id": 1, "queries": {"en": "a"}}\n' * 2, "q.jsonl:2: id '1' stands in line 1 too"),
        ("q.jsonl", "", "q.jsonl: holds no question; fetch the file again"),
        ("q.tsv", "id\tde\n1\ta\n", "q.tsv:2: no question in 'en'"),
        ("q.tsv", "id\ten\n1\ta\tb\n", "q.tsv:2: 3 tab-separated cells, expected 2; repair it"),
        ("q.tsv", "1\twho sings\n", "q.tsv:1: the first column is not 'id'"),
    ],
)
def test_bad_questions(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    assert message in complaint(mkqa_queries, ["en"], tmp_path / name)
