"""Bad input to the collections: one line that names file, line and remedy, and nothing half-written."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from cslab.collections.beir import merge_folders, read_beir, read_beir_folders
from cslab.collections.collection import load_collection, save_collection
from cslab.collections.texts import Texts
from cslab.collections.trec import Run, read_qrels, read_run, write_qrels, write_run
from cslab.collections.xquad import URL, read_paragraphs, xquad_r
from cslab.store import CslabError
from tests.unit.test_beir import CORPUS, HEADER, QUERIES, lay
from tests.unit.test_collection import TOY


def complaint(call, *args, **settings) -> str:
    """The one line that a call ends with."""
    with pytest.raises(CslabError) as caught:
        call(*args, **settings)
    text = str(caught.value)
    assert "\n" not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None, "no traceback of a library before it"
    return text


@pytest.fixture
def farm(tmp_path) -> Path:
    return lay(tmp_path / "farm", CORPUS, QUERIES, {"qrels.tsv": "q1\td1\t1\n"})


# --- BEIR ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        (
            "corpus",
            '{"_id": "d9", "text": ',
            "corpus.jsonl:4: not JSON (Expecting value at column 23); repair",
        ),
        ("corpus", '["d9", "text"]', "corpus.jsonl:4: a JSON list, expected an object; repair the line"),
        ("corpus", '{"_id": "d9"}', "corpus.jsonl:4: the object has no text; add what is missing"),
        ("corpus", '{"_id": 9, "text": "x"}', "corpus.jsonl:4: _id is 9, expected a text without blanks"),
        ("corpus", '{"_id": "a b", "text": "x"}', "corpus.jsonl:4: _id is 'a b', expected a text without blanks"),
        ("corpus", '{"_id": "d9", "text": null}', "corpus.jsonl:4: title or text of 'd9' is no text; repair the line"),
        ("corpus", '{"_id": "d2", "text": "x"}', "corpus.jsonl:4: id 'd2' stands in line 2 too; keep one of them"),
        ("queries", '{"_id": "q1", "text": "x"}', "queries.jsonl:4: id 'q1' stands in line 1 too; keep one of them"),
        ("queries", '{"_id": "q9", "text": " "}', "queries.jsonl:4: query 'q9' is empty; write its text or remove"),
    ],
)
def test_a_bad_line_of_texts(farm, name, line, message):
    with open(farm / f"{name}.jsonl", "a") as handle:
        handle.write(line + "\n")
    assert message in complaint(read_beir, farm)
    assert message in complaint(read_beir_folders, {"en": farm})
    assert message in complaint(merge_folders, [farm])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "q1\td7\t1\n", "qrels.tsv:2: document 'd7' is not in the collection; remove the line or add it"),
        (HEADER + "q1\td1\t1\n\nq7\td1\t1\n", "qrels.tsv:4: query 'q7' is not in the collection; remove the line or"),
        (HEADER + "q1\td1\n", "qrels.tsv:2: 2 cells, expected 'qid 0 did grade' or tab-separated query-id corpus-id"),
        (HEADER + "q1\td1\tyes\n", "qrels.tsv:2: grade 'yes' is not a whole number; repair it"),
        (
            "query\tdoc\tgrade\n",
            "qrels.tsv:1: grade 'grade' is not a whole number; repair it; a header must",
        ),
        (HEADER + "q1\td1\t1\nq1\td1\t2\n", "qrels.tsv:3: 'q1' 'd1' is judged twice, differently; keep one line"),
        (HEADER, "qrels.tsv: holds no judgement; add some or take another file"),
    ],
)
def test_bad_judgements(farm, text, message):
    (farm / "qrels.tsv").write_text(text)
    assert message in complaint(read_beir, farm)


def test_missing_files_folders_and_languages(farm):
    assert "farm: has no sentences.jsonl or sentences.jsonl.gz; add it" in complaint(
        read_beir, farm, corpus="sentences"
    )
    assert "farm: has no other.tsv; add it" in complaint(read_beir, farm, qrels="other.tsv")
    both = {"en": farm, "de": farm.parent / "hof"}
    assert "hof: no such folder for language 'de'; check the path or leave it out" in complaint(read_beir_folders, both)
    assert "language 'ger' is not known; " in complaint(read_beir_folders, {"ger": farm})
    assert complaint(read_beir_folders, {}) == "no BEIR folder given; give at least one language with its folder"
    (farm / "queries.jsonl").unlink()
    assert "farm: has no queries.jsonl or queries.jsonl.gz; add it" in complaint(read_beir, farm)


def test_damaged_bytes(farm):
    packed = gzip.compress((farm / "corpus.jsonl").read_bytes() * 50)
    (farm / "corpus.jsonl").unlink()
    (farm / "corpus.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    assert "corpus.jsonl.gz:1: cannot be read (Compressed file ended" in complaint(read_beir, farm)
    (farm / "corpus.jsonl.gz").unlink()
    (farm / "corpus.jsonl").write_bytes(b'{"_id": "d1", "text": "caf\xe9"}\n')
    assert "corpus.jsonl:1: not UTF-8 (invalid continuation byte)" in complaint(read_beir, farm)


# --- TREC ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 d 1 0.5\n", "run.trec:1: 5 cells, expected 'qid Q0 did rank score tag'; repair the line"),
        ("q Q0 d 1 0.5 s\nq Q0 e 2 high s\n", "run.trec:2: score 'high' is not a finite number; repair the line"),
        ("q Q0 d 1 nan s\n", "run.trec:1: score 'nan' is not a finite number; repair the line"),
        ("q Q0 d 1 1e39 s\n", "run.trec:1: score '1e39' is not a finite number; repair the line"),
        ("q Q0 d 1 2 s\nq Q0 d 2 1 s\n", "run.trec:2: document 'd' stands twice in query 'q'; keep one line"),
    ],
)
def test_a_bad_run(tmp_path, text, message):
    (tmp_path / "run.trec").write_text(text)
    assert message in complaint(read_run, tmp_path / "run.trec", "en", "de")


def test_a_run_without_languages_or_file(tmp_path):
    (tmp_path / "run.trec").write_text("q Q0 d 1 2 s\n")
    assert "run.trec: its languages are not known; give query_lang and doc_lang" in complaint(
        read_run, tmp_path / "run.trec"
    )
    (tmp_path / "run.trec.json").write_text("[]")
    assert "run.trec.json: a JSON list, expected an object" in complaint(read_run, tmp_path / "run.trec")
    assert "none.trec: no such file" in complaint(read_run, tmp_path / "none.trec", "en", "de")


def test_qrels_of_no_known_form(tmp_path):
    (tmp_path / "q.trec").write_text("q 0 d 1\nq d 1\n")
    assert "q.trec:2: 3 cells, expected 'qid 0 did grade'" in complaint(read_qrels, tmp_path / "q.trec")
    (tmp_path / "q.trec").write_text("q 0 d 1\nq 0 d 0\n")
    assert "q.trec:2: 'q' 'd' has grades 1 and 0; keep one line" in complaint(read_qrels, tmp_path / "q.trec")


def test_what_trec_files_cannot_hold_is_not_written(tmp_path):
    message = "document id 'd 2' is empty or holds a blank, which TREC files cannot; rename it"
    run = Run("s", "en", "de", "-", {"q": {"d1": 2.0, "d 2": 1.0}})
    assert message in complaint(write_run, run, tmp_path / "run.trec")
    assert message in complaint(write_qrels, {"q": {"d1": 1, "d 2": 1}}, tmp_path / "qrels.tsv")
    assert "system 'my run'" in complaint(write_run, Run("my run", "en", "de", "-", {}), tmp_path / "run.trec")
    assert list(tmp_path.iterdir()) == []


# --- saved collections ---------------------------------------------------------------------------------------


def test_a_folder_that_holds_no_whole_collection(tmp_path):
    assert "no collection.json, so no complete collection; save" in complaint(load_collection, tmp_path / "none")
    save_collection(TOY, tmp_path / "toy")
    (tmp_path / "toy/documents/de.arrow").write_bytes(b"ARROW1")
    assert "de.arrow: cannot be read" in complaint(load_collection, tmp_path / "toy")
    save_collection(TOY, tmp_path / "toy")
    (tmp_path / "toy/documents/de.index.npy").unlink()
    assert "de.index.npy: cannot be read" in complaint(Texts, tmp_path / "toy/documents/de.arrow")
    (tmp_path / "toy/collection.json").write_text("[]")
    assert "collection.json: a JSON list, expected an object; save" in complaint(load_collection, tmp_path / "toy")


def test_a_save_that_fails_leaves_no_collection(tmp_path):
    save_collection(TOY, tmp_path / "toy")
    broken = replace(TOY, documents={"en": TOY.documents["en"], "de": {"a1": None}})
    assert "de.arrow: id 'a1' has the text None; give both as text" in complaint(
        save_collection, broken, tmp_path / "toy"
    )
    assert not [path.name for path in (tmp_path / "toy").rglob(".*")], "no temporary file stays"
    assert "no complete collection" in complaint(load_collection, tmp_path / "toy")


# --- XQuAD-R -------------------------------------------------------------------------------------------------

PARAGRAPH = {
    "context": "A fox. A hen.",
    "sentences": ["A fox.", "A hen."],
    "sentence_breaks": [[0, 6], [7, 13]],
    "qas": [{"id": "q1", "question": "Who?", "answers": [{"answer_start": 9, "text": "hen"}]}],
}


def squad(**changes) -> str:
    return json.dumps({"data": [{"title": "Farm", "paragraphs": [PARAGRAPH, PARAGRAPH | changes]}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "en.json:1: not JSON (Expecting property name"),
        ("[]", "en.json: not a SQuAD file (no data, or no paragraphs in it); fetch it again"),
        ('{"data": []}', "en.json: holds no paragraph; fetch the file again"),
        (squad(qas=[{"id": "q"}]), "article 0, paragraph 1 (counted from 0): not as expected (KeyError('answers'))"),
        (squad(sentences=["A fox. A hen."]), "sentences and sentence_breaks differ in number"),
        (squad(sentence_breaks=[[0, 6], [12, 13]]), "the answer of q1 starts in no sentence"),
        (squad(context=None), "paragraph 1 (counted from 0): not as expected"),
    ],
)
def test_a_file_that_is_not_xquad(tmp_path, text, message):
    (tmp_path / "en.json").write_text(text)
    assert message in complaint(read_paragraphs, tmp_path / "en.json")


def test_languages_and_units_that_xquad_has_not(tmp_path, monkeypatch):
    monkeypatch.setenv("CSLAB_MIRROR", str(tmp_path))
    assert complaint(xquad_r, ["en", "nl"]).startswith("XQuAD-R: language 'nl' is not in it; ")
    assert "unit 'sentences' is not known; did you mean 'sentence'?" in complaint(xquad_r, ["en"], unit="sentences")
    assert "no language given" in complaint(xquad_r, [])
    assert "not in the mirror" in complaint(xquad_r, ["es"], cache=tmp_path / "cache")


def test_a_wrong_checksum_of_a_source(tmp_path, monkeypatch):
    monkeypatch.delenv("CSLAB_MIRROR", raising=False)
    monkeypatch.setenv("CSLAB_OFFLINE", "1")
    path = tmp_path.joinpath(*URL.format(lang="es").removeprefix("https://").split("/"))
    os.makedirs(path.parent)
    path.write_text(squad())
    message = complaint(xquad_r, ["es"], cache=tmp_path)
    assert "es.json: sha256 is " in message
    assert "the file was removed, fetch it again" in message
    assert not path.exists()
