"""The published algorithms: what they write, count and leave."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching import POLICIES, Key, Policy, Switched, bilingual, switch
from cslab.switching.share import tally
from tests.unit.test_switch import ANY_TEXT, LEXICONS

ML, WIKI = POLICIES["ML-CS faithful"], POLICIES["Wiki-CS faithful"]
ODD = st.one_of(ANY_TEXT, st.text(alphabet="ab \"'`-.,()\n\t…–&$%5", max_size=40), st.text(max_size=60))


@settings(max_examples=300, deadline=None)
@given(ODD, st.integers(0, 99), st.sampled_from([ML, replace(ML, query=1.0), WIKI, replace(WIKI, query=0.5)]))
def test_undo_gives_any_text_back(text, number, policy):
    result = switch(text, LEXICONS, policy, Key(0, 0, number), "query")
    assert result.undo() == text
    assert Switched.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    position = 0
    for span in result.spans:
        assert position <= span.start <= span.end
        assert result.text[span.start : span.end] == span.target
        position = span.end
    assert result.switched <= result.eligible <= result.words


def test_published_tokens_case_and_spaces():
    lexicon = {
        "de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("the", "Der"), (".", "Punkt"), ("taxi", "Taxi")])
    }
    result = switch(
        'The  FOX said "taxi" .', lexicon, Policy(query=1.0, languages=("de",), faithful="ml-cs"), Key(), "query"
    )
    assert result.text == 'der fuchs said "taxi" punkt'
    assert [span.source for span in result.spans] == ["The", "FOX", "taxi", "."]
    # Tokens without stop-words: FOX, said, two quotes, taxi and the full stop.
    assert (result.words, result.eligible, result.switched) == (6, 3, 3)


def test_published_titles_take_most_characters_first():
    pairs = [("a b", "kurz"), ("b carpenter", "LANG"), ("car", "auto"), ("the", "der"), ("x y", "zwei")]
    lexicons = {"de": Lexicon.from_pairs("en", "de", pairs)}
    policy = replace(WIKI, languages=("de",))
    result = switch("A b Carpenter the CAR card x  y", lexicons, policy, Key(), "query")
    assert result.text == "a lang the auto card x  y"


def test_titles_leave_the_text_where_the_source_language_is_drawn():
    lexicons = {code: LEXICONS[code] for code in ("de", "ru", "ar", "nl", "it")}
    results = [switch("The Fox", lexicons, WIKI, Key(0, 0, n), "query").text for n in range(60)]
    assert 2 <= sum(text == "The Fox" for text in results) <= 22
    assert all(text == text.lower() for text in results if text != "The Fox")


def test_one_language_per_text_and_all_tokens_drawn():
    policy = replace(ML, query=1.0)
    counts = tally(policy, LEXICONS, queries={str(n): "red fox over dog" for n in range(200)})
    assert {row["language"] for row in counts.rows() if row["drawn"]} == {"de", "ru", "ar", "nl", "it"}
    for number in range(20):
        spans = switch("red fox stops new york", LEXICONS, replace(WIKI, words="all"), Key(0, 0, number), "query").spans
        assert len({span.language for span in spans}) <= 1


def test_settings_without_meaning_are_refused():
    with pytest.raises(CslabError, match="casing has no meaning"):
        Policy(faithful="ml-cs", casing="lower")
    with pytest.raises(CslabError, match="set draw to 'text'"):
        Policy(faithful="wiki-cs", longest=3)
    assert bilingual("en", "de", faithful="ml-cs").faithful == "ml-cs"
