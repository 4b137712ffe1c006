"""Switching one text: the properties that hold for any text, policy and key."""

import concurrent.futures
import multiprocessing
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching import POLICIES, Key, Policy, Switcher, bilingual, draw, policy_named, switch
from cslab.switching.share import at_share, tally
from cslab.text import SEGMENTERS, fold, from_tokens, words

LINE = "a red fox jumps over the lazy dog near new york city and don't stop it's 12 naïve café"
ENGLISH = LINE.split()
TEXT = "The red fox jumps over a lazy dog. It stops near New York City! Then the fox runs; the dog sleeps."


def lexicon_of(language: str, keys=ENGLISH, copies: int = 1) -> Lexicon:
    rows = [(key, f"{language}{n}{key[::-1]}", 1 - n / 10) for key in keys for n in range(copies)]
    return Lexicon.from_pairs("en", language, rows)


PHRASES = [*ENGLISH, "new york", "new york city", "red fox", "lazy dog near"]
LEXICONS = {
    code: lexicon_of(code, PHRASES[n:], copies=3) for n, code in enumerate(("en", "de", "ru", "ar", "nl", "it"))
}
LEXICONS["en"] = Lexicon.from_pairs("en", "en", [("fox", "vulpine"), ("dog", "hound"), ("dog", "cur")])
ANY_TEXT = st.lists(
    st.one_of(
        st.sampled_from(ENGLISH),
        st.text(max_size=12),
        st.sampled_from(["\u0301", "\x00", "שלום", "🦊🏽", " ", "New York", "x" * 400]),
    ),
    max_size=25,
).map(" ".join)
KEYS = st.builds(Key, st.integers(0, 9), st.integers(0, 9), st.text(max_size=4), st.integers(0, 2))
PLAIN = [policy for policy in POLICIES.values() if not policy.faithful]
MORE = [bilingual("de", "ru"), Policy("titles", 0.5, 0.5, longest=3), Policy("top", choice="score", top_k=3)]
POLICY = st.sampled_from([*PLAIN, *MORE])


@settings(max_examples=150, deadline=None)
@given(ANY_TEXT, KEYS, POLICY, st.sampled_from(draw.SIDES))
def test_spans_and_undo(text, key, policy, side):
    result = switch(text, LEXICONS, policy, key, side)
    assert result.undo() == text
    assert Switcher(LEXICONS, policy).text(text, key, side) == result.text
    position, outside = 0, []
    for span in result.spans:
        assert position <= span.start <= span.end <= len(result.text)
        assert result.text[span.start : span.end] == span.target
        assert fold(span.target) != fold(span.source)
        outside.append(result.text[position : span.start])
        position = span.end
    rest = text
    for between, span in zip(outside, result.spans, strict=True):
        assert rest.startswith(between + span.source)
        rest = rest[len(between + span.source) :]
    assert rest == result.text[position:]
    assert result.switched <= result.eligible <= result.words == len(words(text))


@settings(deadline=None)
@given(ANY_TEXT, KEYS, POLICY)
def test_p_0_is_the_identity(text, key, policy):
    result = switch(text, LEXICONS, replace(policy, query=0.0), key, "query")
    assert (result.text, result.spans) == (text, ())


@settings(deadline=None)
@given(ANY_TEXT, KEYS)
def test_p_1_with_full_coverage_switches_every_eligible_word(text, key):
    lexicons = {
        code: Lexicon.from_pairs("en", code, [(w.text, f"{code}x{w.text}") for w in words(text)] or [("a", "b")])
        for code in ("de", "ar")
    }
    result = switch(text, lexicons, Policy(query=1.0, languages=("de", "ar")), key, "query")
    assert result.switched == result.eligible == result.words


@pytest.mark.parametrize("policy", PLAIN, ids=lambda policy: policy.name)
def test_p_1_switches_exactly_what_is_eligible(policy):
    policy = replace(policy, query=1.0, sentence=1.0, keep_source=False)
    for number in range(20):
        result = switch(TEXT, LEXICONS, policy, Key(0, 0, number), "query")
        assert result.switched == result.eligible


def _in_a_process(numbers):
    return [switch(TEXT, LEXICONS, POLICIES["ML-CS"], Key(3, 1, n), "document").text for n in numbers]


def test_same_key_same_text_in_any_order_and_process():
    numbers = list(range(40))
    forward, backward = _in_a_process(numbers), _in_a_process(numbers[::-1])[::-1]
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(_in_a_process, [numbers[:7], numbers[7:]]))
    assert forward == backward == parts[0] + parts[1]
    assert len(set(forward)) > 30


@pytest.mark.parametrize("policy", [POLICIES["ML-CS"], POLICIES["Wiki-CS faithful"]], ids=lambda policy: policy.name)
def test_a_switcher_travels_to_other_processes_as_its_lexicons_alone(policy):
    used = Switcher(LEXICONS, policy)
    before = len(pickle.dumps(used))
    made = used(TEXT, Key(1), "query")
    assert len(pickle.dumps(used)) == before
    assert pickle.loads(pickle.dumps(used))(TEXT, Key(1), "query") == made


def test_a_segmenter_of_ones_own_travels_along(monkeypatch):
    dill = pytest.importorskip("dill")
    monkeypatch.setitem(SEGMENTERS, "halves", lambda text: words(text)[: len(words(text)) // 2])
    switcher = Switcher(LEXICONS, Policy(query=1.0, segmenter="halves"))
    sent, made = dill.dumps(switcher), switcher.text(TEXT, Key(), "query")
    monkeypatch.delitem(SEGMENTERS, "halves")
    assert dill.loads(sent).text(TEXT, Key(), "query") == made != TEXT


def test_every_part_of_the_key_matters():
    keys = [Key(1, 2, "e", 3), Key(2, 2, "e", 3), Key(1, 1, "e", 3), Key(1, 2, "f", 3), Key(1, 2, "e", 4)]
    results = {switch(TEXT, LEXICONS, POLICIES["ML-CS"], key, side).text for key in keys for side in draw.SIDES}
    assert len(results) == 10
    assert Key(example=5).number("query") == Key(example="5").number("query")
    assert draw.key_numbers(1, 2, ["e", 7], 3, "query").tolist() == [Key(1, 2, e, 3).number("query") for e in ("e", 7)]


def test_draws_are_the_published_splitmix64():
    # First outputs of splitmix64 seeded with 1234567 (reference vector of the algorithm's authors).
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    got = draw.uniform(1234567, 0, np.arange(3))
    assert got.tolist() == [(value >> 11) * 2.0**-53 for value in expected]


def test_draws_are_uniform_and_streams_independent():
    index = np.arange(200_000)
    one, two = draw.uniform(7, draw.SWITCH, index), draw.uniform(7, draw.LANGUAGE, index)
    assert abs(one.mean() - 0.5) < 0.005
    assert np.abs(np.histogram(one, 20, (0, 1))[0] - 10_000).max() < 500
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.01
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.01


def test_language_drawn_per_text_and_subset_per_example():
    per_text, cat = POLICIES["per text"], replace(POLICIES["CAT"], query=1.0, document=1.0, sentence=1.0)
    seen, sets = set(), set()
    for number in range(200):
        one = {span.language for span in switch(TEXT, LEXICONS, per_text, Key(0, 0, number), "query").spans}
        assert len(one) <= 1
        seen |= one
        both = {s.language for side in draw.SIDES for s in switch(TEXT, LEXICONS, cat, Key(0, 0, number), side).spans}
        assert len(both) <= 2
        sets.add(frozenset(both))
    assert seen == {"de", "ru", "ar", "nl", "it"}
    assert len(sets) >= 10


def test_weights_shift_the_draw():
    policy = Policy(query=1.0, languages=("de", "ru", "it"), weights={"de": 8, "it": 0})
    counts = tally(policy, LEXICONS, queries={str(n): TEXT for n in range(300)}).rows()
    drawn = {row["language"]: row["drawn"] / row["words"] for row in counts if row["side"] == "query"}
    assert drawn["de"] == pytest.approx(8 / 9, abs=0.02)
    assert drawn["it"] == 0


def test_subset_is_a_weighted_draw():
    steps = draw.language_steps([1, 1, 2], 1, [Key(example=n).number() for n in range(4000)])
    first = (steps[:, 0] > 0).mean()
    third = (steps[:, 1] == 0).mean()
    assert first == pytest.approx(0.25, abs=0.03)
    assert third == pytest.approx(0.5, abs=0.03)


def test_titles_match_longest_first_on_word_boundaries():
    lexicon = Lexicon.from_pairs(
        "en", "de", [("card", "karte"), ("credit card", "kreditkarte"), ("car", "auto"), ("spider-man", "Spinnenmann")]
    )
    policy = Policy("titles", 1.0, languages=("de",), longest=3)
    run = lambda text: switch(text, {"de": lexicon}, policy, Key(), "query").text  # noqa: E731
    assert (
        run("Cardboard, a credit  card, card. Spider-Man credit, card")
        == "Cardboard, a kreditkarte, karte. Spinnenmann credit, karte"
    )


def test_a_title_counts_all_its_words():
    lexicon = Lexicon.from_pairs("en", "de", [("new york", "neustadt")])
    result = switch("in New York now", {"de": lexicon}, Policy(query=1.0, languages=("de",), longest=2), Key(), "query")
    assert (result.words, result.eligible, result.switched, len(result.spans)) == (4, 2, 2, 1)
    assert result.text == "in Neustadt now"


def test_priority_lists_take_the_first_lexicon_that_switches():
    first = Lexicon.from_pairs("en", "de", [("fox", "fox"), ("dog", "Hund")], method="first")
    second = Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("dog", "Köter")], method="second")
    result = switch("fox dog", {"de": [first, second]}, Policy(query=1.0, languages=("de",)), Key(), "query")
    assert [(s.target, s.method) for s in result.spans] == [("Fuchs", "second"), ("Hund", "first")]


def test_identities_are_no_switches():
    lexicon = Lexicon.from_pairs("en", "de", [("taxi", "Taxi"), ("house", "house"), ("house", "Haus")])
    result = switch("taxi house", {"de": lexicon}, Policy(query=1.0, languages=("de",)), Key(), "query")
    assert (result.text, result.eligible) == ("taxi Haus", 1)


def test_casing():
    lexicon = {"de": Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("red", "rot")])}
    made = {
        casing: switch("Red FOX fox", lexicon, Policy(query=1.0, languages=("de",), casing=casing), Key(), "query").text
        for casing in ("carry", "lower", "as is")
    }
    assert made == {"carry": "Rot FUCHS Fuchs", "lower": "rot fuchs fuchs", "as is": "rot Fuchs Fuchs"}


def test_content_words_only():
    lexicon = {"de": Lexicon.from_pairs("en", "de", [("the", "der"), ("fox", "Fuchs")])}
    result = switch("The fox", lexicon, Policy(query=1.0, languages=("de",), words="content"), Key(), "query")
    assert (result.text, result.eligible) == ("The Fuchs", 1)


def test_choice_among_translations():
    lexicon = {
        "de": Lexicon.from_pairs(
            "en", "de", [("fox", "a", 0.6), ("fox", "b", 0.3), ("fox", "c", 0.1), ("fox", "d", 0.0)]
        )
    }

    def shares(**settings_):
        policy = Policy(query=1.0, languages=("de",), **settings_)
        text = " ".join(["fox"] * 4000)
        made = switch(text, lexicon, policy, Key(), "query").text.split()
        return [made.count(x) / 4000 for x in ("a", "b", "c", "d", "fox")]

    assert shares() == [1, 0, 0, 0, 0]
    assert shares(choice="uniform", top_k=2) == pytest.approx([0.5, 0.5, 0, 0, 0], abs=0.03)
    assert shares(choice="score", top_k=0) == pytest.approx([0.6, 0.3, 0.1, 0, 0], abs=0.03)
    assert shares(choice="uniform", top_k=3, keep_source=True) == pytest.approx([0.25, 0.25, 0.25, 0, 0.25], abs=0.03)


def test_phrases_share_their_draw():
    lexicons = {code: lexicon_of(code) for code in ("de", "ru")}
    policy, text, seen = Policy(query=0.5, languages=("de", "ru"), phrase=4), "red fox jumps over, the lazy dog", set()
    for number in range(100):
        spans = switch(text, lexicons, policy, Key(0, 0, number), "query").spans
        first = [span.language for span in spans if span.source in text[:18]]
        second = [span.language for span in spans if span.source not in text[:18]]
        assert (len(first), len(second), len(set(first)), len(set(second))) in {
            (4 * one, 3 * two, one, two) for one in (0, 1) for two in (0, 1)
        }
        seen.add((*first[:1], "|", *second[:1]))
    assert len(seen) == 9


def test_sentences_are_drawn_first():
    policy = Policy(query=1.0, languages=("de",), sentence=0.5)
    touched = [0, 0]
    for number in range(400):
        result = switch("red fox. lazy dog", LEXICONS, policy, Key(0, 0, number), "query")
        for half, pair in enumerate((("red", "fox"), ("lazy", "dog"))):
            found = [span.source in pair for span in result.spans]
            assert sum(found) in (0, 2)
            touched[half] += any(found)
    assert np.array(touched) / 400 == pytest.approx([0.5, 0.5], abs=0.08)


def test_unspaced_source_through_a_chosen_segmenter(monkeypatch):
    chinese = Lexicon.from_pairs("zh", "en", [("狐狸", "fox"), ("红", "red"), ("跑", "runs")])
    policy = Policy(query=1.0, languages=("en",), source="zh", casing="as is")
    assert switch("红狐狸，跑！", {"en": chinese}, policy, Key(), "query").text == "redfox，runs！"
    assert (
        switch("红狐狸，跑！", {"en": chinese}, replace(policy, segmenter="characters"), Key(), "query").text
        == "red狐狸，runs！"
    )
    monkeypatch.setitem(SEGMENTERS, "mine", lambda text: [w for w in words(text) if w.text == "跑"])
    assert (
        switch("红狐狸，跑！", {"en": chinese}, replace(policy, segmenter="mine"), Key(), "query").text
        == "红狐狸，runs！"
    )
    assert (
        switch("红狐狸，跑！", {"en": chinese}, replace(policy, segmenter="words"), Key(), "query").text
        == "红狐狸，runs！"
    )
    with pytest.raises(CslabError, match=r"cslab\.text\.SEGMENTERS"):
        switch("红", {"en": chinese}, replace(policy, segmenter="jieba"), Key(), "query")


@pytest.mark.parametrize(
    ("source", "pairs", "text", "made"),
    [
        ("ja", [("狐", "fox"), ("東京", "Tokyo"), ("走る", "runs")], "狐が東京で走る。", "foxがTokyoでruns。"),
        ("th", [("สุนัข", "dog"), ("จิ้งจอก", "fox"), ("วิ่ง", "runs")], "สุนัขจิ้งจอกวิ่ง 3 กม.", "dogfoxruns 3 กม."),
    ],
)
def test_other_unspaced_sources(source, pairs, text, made, monkeypatch):
    lexicons = {"en": Lexicon.from_pairs(source, "en", pairs)}
    policy = Policy(query=1.0, languages=("en",), source=source, casing="as is")
    result = switch(text, lexicons, policy, Key(), "query")
    assert (result.text, result.undo()) == (made, text)
    keys = [key for key, _ in pairs]
    monkeypatch.setitem(SEGMENTERS, "tool", from_tokens(lambda _: keys[:1]))
    only = switch(text, lexicons, replace(policy, segmenter="tool"), Key(), "query")
    assert [span.source for span in only.spans] == keys[:1]


def test_german_texts_into_other_languages():
    rows = [("der", "{}der"), ("fuchs", "{}fox"), ("lebt", "{}lives"), ("wald", "{}wood")]
    lexicons = {c: Lexicon.from_pairs("de", c, [(w, t.format(c)) for w, t in rows]) for c in ("en", "ru", "ar")}
    policy = replace(policy_named("ML-CS", "de"), query=1.0, languages=("en", "ru", "ar"))
    result = switch("Der Fuchs lebt im Wald.", lexicons, policy, Key(), "query")
    assert (result.eligible, result.switched, result.words) == (4, 4, 5)
    content = replace(policy, words="content")
    assert switch("der Fuchs", lexicons, content, Key(), "query").switched == 1


def test_source_language_drawn_leaves_the_text():
    lexicons = {code: LEXICONS[code] for code in ("de", "ru", "ar", "nl", "it")}
    results = [switch(TEXT, lexicons, POLICIES["Wiki-CS"], Key(0, 0, n), "document") for n in range(120)]
    alone = sum(result.text == TEXT for result in results) / 120
    assert alone == pytest.approx(1 / 6, abs=0.11)


def test_mistakes_in_lexicons_are_told():
    with pytest.raises(CslabError, match="no lexicon for 'it' \\(have: de\\)"):
        switch("x", {"de": LEXICONS["de"]}, Policy(languages=("de", "it")), Key(), "query")
    with pytest.raises(CslabError, match="en→ru, expected en→de"):
        switch("x", {"de": LEXICONS["ru"]}, Policy(languages=("de",)), Key(), "query")
    with pytest.raises(CslabError, match="side 'doc'"):
        switch("x", LEXICONS, POLICIES["ML-CS"], Key(), "doc")
    with pytest.raises(CslabError, match="is NoneType"):
        switch(None, LEXICONS, POLICIES["ML-CS"], Key(), "query")


def test_at_share_solves_for_p():
    texts = {str(n): TEXT for n in range(200)}
    for policy in (Policy(), Policy(longest=3), POLICIES["per text"], Policy(sentence=0.7)):
        solved = at_share(policy, LEXICONS, 0.2, queries=texts, documents=texts)
        assert tally(solved, LEXICONS, texts, texts, seed=5).summary("query")["realised"] == pytest.approx(
            0.2, abs=0.02
        )
    with pytest.raises(CslabError, match=r"less than 0\.99"):
        at_share(Policy(), LEXICONS, 0.99, queries=texts)


def test_requested_counts_the_sentences_that_are_left_alone():
    rows = tally(POLICIES["CoSDA-ML"], LEXICONS, {str(n): TEXT for n in range(600)}).rows()
    assert {row["requested"] for row in rows if row["side"] == "query"} == {0.8 * 0.8}
    drawn, switched = (sum(row[name] for row in rows) for name in ("drawn", "switched"))
    expected = sum(row["requested"] * row["eligible"] for row in rows)
    assert switched / drawn == pytest.approx(expected / drawn, abs=0.03)


def test_memory_of_rows_is_bounded(monkeypatch):
    monkeypatch.setattr("cslab.switching.choices._KEPT", 50)
    switcher = Switcher(LEXICONS, POLICIES["ML-CS"])
    long = " ".join(f"w{n}" for n in range(500)) + " red fox"
    before = switch(long, LEXICONS, POLICIES["ML-CS"], Key(), "query").text
    assert switcher(long, Key(), "query").text == before
    assert len(switcher.choices) <= 50
