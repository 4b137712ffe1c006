"""Translate-Test: each text in the lexicon of its own language, and the released code's slip."""

import pytest

from cslab.collections.trec import Run
from cslab.evaluation.settings import Task
from cslab.evaluation.translate import translate, translate_task
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError

GERMAN = Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("red", "rot"), ("eats", "frisst")]).inverted()
DUTCH = Lexicon.from_pairs("en", "nl", [("fox", "vos"), ("rotten", "rot"), ("ice cream", "ijs je")]).inverted()
LEXICONS = {"de": GERMAN, "nl": DUTCH}


def task(query_lang: str, doc_lang: str, queries, documents, asked_in=None) -> Task:
    found = {q: dict.fromkeys(documents, 1.0) for q in queries}
    qrels = {q: {next(iter(documents)): 1} for q in queries}
    run = Run("bm25", query_lang, doc_lang, "bm25(en)@5", found)
    return Task(query_lang, doc_lang, queries, {**documents, "other": "Fuchs"}, qrels, run, asked_in or {})


def test_query_and_document_are_read_in_their_own_language():
    made = translate_task(task("de", "nl", {"q": "Fuchs rot?"}, {"d": "De vos is rot."}), LEXICONS)
    assert (made.queries, made.documents) == ({"q": "Fox red?"}, {"d": "De fox is rotten."})


def test_the_released_code_reads_documents_in_the_language_of_the_query():
    crossing = task("de", "nl", {"q": "Fuchs rot?"}, {"d": "De vos is rot."})
    assert translate_task(crossing, LEXICONS, by="query").documents == {"d": "De vos is red."}
    english = task("en", "de", {"q": "fox?"}, {"d": "Der Fuchs"})
    assert translate_task(english, LEXICONS, by="query").documents == {"d": "Der Fuchs"}
    assert translate_task(english, LEXICONS).documents == {"d": "Der Fox"}


def test_english_stays_and_n_grams_are_looked_up_whole():
    assert translate("The vos Fuchs", "en", {}) == "The vos Fuchs"
    assert translate("Vos ijs je!", "nl", LEXICONS) == "Fox ice cream!"


def test_a_pool_is_read_text_by_text():
    pooled = task("xx", "xx", {"q": "vos", "r": "Fuchs"}, {"de:d": "Fuchs", "en:e": "fox"}, {"q": "nl", "r": "de"})
    pooled = Task("xx", "xx", pooled.queries, pooled.documents, pooled.qrels, pooled.candidates, pooled.asked_in)
    made = translate_task(pooled, LEXICONS)
    assert (made.queries, made.documents) == ({"q": "fox", "r": "Fox"}, {"de:d": "Fox", "en:e": "fox"})
    with pytest.raises(CslabError, match="pair xx-xx: its queries have many languages"):
        translate_task(pooled, LEXICONS, by="query")


def test_a_language_without_a_lexicon_is_named():
    with pytest.raises(CslabError, match="no lexicon from 'ru' into English; it has de, nl"):
        translate_task(task("ru", "en", {"q": "лиса"}, {"d": "fox"}), LEXICONS)
