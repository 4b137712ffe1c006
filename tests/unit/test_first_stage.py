"""BM25 in one language and candidates of language pairs."""

import os
import subprocess
import sys

import pytest

from cslab.collections.collection import Collection
from cslab.languages import MIXED
from cslab.ranking.first_stage import bm25_run, build_index, candidates, terms
from cslab.store import CslabError

COLLECTION = Collection(
    "toy",
    queries={"en": {"q1": "red foxes", "q2": "old bridge"}, "de": {"q1": "rote Füchse", "q2": "alte Brücke"}},
    documents={
        "en": {"e1": "The red fox.", "e2": "A fox crosses the old bridge.", "e3": "Rain."},
        "de": {"d1": "Der rote Fuchs.", "d2a": "Ein Fuchs.", "d2b": "Er quert die alte Brücke.", "d3": "Regen."},
    },
    qrels={"en": {"q1": {"e1": 1}, "q2": {"e2": 1}}, "de": {"q1": {"d1": 1}, "q2": {"d2b": 1}}},
    alignment={"de": {"e1": ("d1",), "e2": ("d2a", "d2b"), "e3": ("d3",)}},
)


def test_words_are_folded_stemmed_and_split_by_language():
    index = build_index({"a": "running Foxes' dens"}, "en")
    assert index.search("the fox runs", 5).keys() == {"a"}
    assert terms("Dell'acqua e l’olio", "it") == ["dell", "acqua", "e", "l", "olio"]
    assert terms("ภาษาไทย 2024", "th")[-1] == "2024"
    assert terms("狐", "zh") == ["狐"]
    assert build_index({"a": "红色的狐狸", "b": "古老的桥"}, "zh").search("狐狸", 5).keys() == {"a"}


def test_documents_without_a_shared_word_are_no_candidates():
    run = bm25_run({"q": "fox", "none": "xylophone", "empty": "?!"}, COLLECTION.documents["en"], "en", 10)
    assert set(run.scores["q"]) == {"e1", "e2"}
    assert run.scores["none"] == run.scores["empty"] == {}
    assert (run.name, run.first_stage) == ("bm25", "bm25(en)@10")


def test_ties_at_the_cut_are_broken_as_in_trec_eval():
    documents = {f"d{i}": "fox" for i in range(9)}
    run = bm25_run({"q": "fox"}, documents, "en", 3)
    assert list(run.scores["q"]) == ["d8", "d7", "d6"] == run.ranking("q")


def test_english_candidates_are_carried_over():
    run = candidates(COLLECTION, "de", "de", "english", depth=2)
    assert (run.query_lang, run.doc_lang, run.first_stage) == ("de", "de", "bm25(en)@2")
    assert set(run.scores["q1"]) == {"d1", "d2a", "d2b"}  # two English documents, one of them in two parts
    assert run.scores["q1"]["d2a"] == run.scores["q1"]["d2b"]
    english = candidates(COLLECTION, "en", "en", "english", depth=2)
    assert english.scores["q1"]["e1"] == run.scores["q1"]["d1"]


def test_own_candidates_ask_the_parallel_query():
    run = candidates(COLLECTION, "en", "de", "own", depth=15)
    assert (run.query_lang, run.doc_lang, run.first_stage) == ("en", "de", "bm25(own)@15")
    assert run.ranking("q2")[0] == "d2b"
    assert candidates(COLLECTION, MIXED, "de", "own", 15).scores == run.scores


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("en", "de", "englsh", 5), "did you mean 'english'"),
        (("en", "it", "own", 5), "own candidates need documents in 'it'"),
        (("en", "de", "own", 0), "depth 0"),
    ],
)
def test_what_cannot_be_searched_is_named(arguments, message):
    with pytest.raises(CslabError, match=message):
        candidates(COLLECTION, *arguments)


def test_a_query_without_parallel_text_is_named():
    queries = {"en": {"q1": "fox"}, "de": {"q1": "Fuchs", "q2": "Brücke"}}
    holed = Collection("holed", queries, COLLECTION.documents, COLLECTION.qrels, COLLECTION.alignment)
    with pytest.raises(CslabError, match="query 'q2' has no text in 'en'"):
        candidates(holed, "de", "de", "english", 5)


def test_documents_without_words_are_refused():
    with pytest.raises(CslabError, match="none of 2 documents"):
        build_index({"a": "", "b": "?"}, "en")


def test_jax_is_left_alone(tmp_path):
    # It would take most of a GPU's memory.
    (tmp_path / "jax").mkdir()
    (tmp_path / "jax" / "__init__.py").write_text("print('JAX is here')\n")
    (tmp_path / "jax" / "lax.py").write_text("def top_k(scores, k): ...\n")
    code = (
        "from cslab.ranking.first_stage import build_index; from cslab.switching.choices import stopwords_of\n"
        "build_index({'d': 'a red fox'}, 'en'), stopwords_of('en')"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "")
