"""Synonyms from bilingual lexicons."""

import pytest

from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.synonyms import synonyms
from cslab.store import CslabError

DE = Lexicon.from_pairs("en", "de", [("big", "groß"), ("large", "groß"), ("bigger", "groß"), ("car", "Auto")])
IT = Lexicon.from_pairs("en", "it", [("big", "grande"), ("large", "grande"), ("bigger", "grande"), ("auto", "auto")])


def test_languages_have_to_agree():
    assert not synonyms({"de": DE, "it": Lexicon.from_pairs("en", "it", [("big", "grande")])})
    assert [t.text for t in synonyms({"de": DE}, agree=1)["large"]] == ["big", "bigger"]


def test_scores_and_crowds():
    found = synonyms({"de": DE, "it": IT})
    assert (found.source, found.target) == ("en", "en")
    assert {t.text: t.score for t in found["big"]} == {"large": 1.0, "bigger": 1.0}
    assert "car" not in found
    assert not synonyms({"de": DE, "it": IT}, crowd=2)


def test_forms_of_one_stem_are_no_synonyms():
    rows = [("house", "x"), ("houses", "x"), ("home", "x")]
    found = synonyms({code: Lexicon.from_pairs("en", code, rows) for code in ("de", "it")})
    assert [t.text for t in found["houses"]] == ["home"]


def test_one_source_language():
    with pytest.raises(CslabError, match="found: de, en"):
        synonyms({"de": DE, "en": Lexicon.from_pairs("de", "en", [("a", "b")])})
