"""Token-id space: the ids are those of tokenising the switched texts, for every kind of tokenizer."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching import POLICIES, Key, Policy, Switcher, bilingual
from cslab.switching.bank import backend, unfit
from cslab.switching.layout import Frame, lay_out
from cslab.switching.tokens import TokenSwitcher
from tests.unit.small_tokenizers import CORPUS, FIT, small_tokenizer
from tests.unit.test_switch import ENGLISH, LEXICONS

MARKS = ["", *",.!'\"()-/#…。¨\n\t", "\u0301", "\u200b", "\u00a0"]
WORDS = [
    *ENGLISH,
    *["Fox", "DOG", "New", "York", "12,345.67", "café", "red-fox", "fox/dog", "😀", "红狐", "ثعلب"],
    "x" * 40,
]
CHUNK = st.builds(
    lambda before, word, after: before + word + after,
    *(st.sampled_from(MARKS), st.one_of(st.sampled_from(WORDS), st.text(max_size=5)), st.sampled_from(MARKS)),
)
GAP = st.sampled_from([" ", " ", " ", "  ", "\n", " \n ", "-", ""])
TEXT = st.lists(st.tuples(CHUNK, GAP), max_size=14).map(lambda rows: "".join(chunk + gap for chunk, gap in rows))
FANCY = Lexicon.from_pairs(
    *("en", "de"),
    [
        *(("fox", "Fuchs-Bau"), ("dog", "l'uomo, 红狐"), ("the", "¨x"), ("red", "ثعلب")),
        *(("lazy", "e\u0301!"), ("new york", "neu\u200bstadt")),
    ],
)
TITLES = {**LEXICONS, "de": FANCY}
TESTED = [
    Policy(languages=("de", "ar"), query=0.8, document=0.5),
    bilingual("en", "de", 1.0),
    POLICIES["per text"],
    POLICIES["RS-DA"],
    replace(POLICIES["CoSDA-ML"], sentence=0.5),
    replace(POLICIES["CAT"], query=0.7, document=0.7, sentence=0.8),
    Policy("score", choice="score", top_k=3, weights={"de": 3}, words="content"),
    replace(POLICIES["Wiki-CS"], words="all", query=0.8),
    Policy("titles by word", longest=3),
]


def check(tokenizer, policy, queries, documents, lexicons=TITLES, epoch=0, max_length=24):
    """Asserts that batches equal the tokenizer's on the switched texts; returns the switcher."""
    switcher = Switcher(lexicons, policy)
    asked, answered = dict(enumerate(queries)), dict(enumerate(documents))
    tokens = TokenSwitcher(tokenizer, switcher, asked, answered)
    keys = [Key(1, epoch, n) for n in asked]
    for room in (None, max_length):
        made = [
            tokens.draw("query", list(asked), 1, epoch, 0, room),
            tokens.draw("document", list(answered), 1, epoch, 0, room),
        ]
    sides = (("query", queries), ("document", documents))
    texts = [[switcher.text(text, key, side) for text, key in zip(ts, keys, strict=True)] for side, ts in sides]
    got = lay_out(tokens.frame, *(drawn.tokens for drawn in made), max_length)
    expected = tokenizer(*texts, truncation="longest_first", max_length=max_length, padding="longest")
    for name, array in got.items():
        assert array.tolist() == expected[name], (name, texts)
    return tokens


@pytest.mark.parametrize("name", FIT)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=4), st.sampled_from(TESTED), st.integers(0, 5))
def test_equal_to_tokenising_the_switched_texts(name, pairs, policy, epoch):
    check(small_tokenizer(name), policy, [q for q, _ in pairs], [d for _, d in pairs], epoch=epoch)


@pytest.mark.parametrize("name", FIT)
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=60), epoch=st.integers(0, 5))
def test_equal_on_arbitrary_unicode(name, text, epoch):
    check(small_tokenizer(name), Policy(query=0.9, document=0.9), [text], [text + " fox " + text], epoch=epoch)


@pytest.mark.parametrize("name", FIT)
@pytest.mark.parametrize("policy", TESTED[:-1], ids=lambda policy: policy.name)
def test_plain_texts_need_no_tokenizer(name, policy):
    queries = [" ".join(ENGLISH[n : n + 6]) for n in range(8)]
    documents = [f"The {a}, {b} ({a}-{b}) and the dog's {b}." for a, b in zip(ENGLISH, ENGLISH[3:], strict=False)][:8]
    tokens = check(small_tokenizer(name), policy, queries, documents, LEXICONS, max_length=40)
    assert tokens.why is None
    assert tokens.left == {"query": 0, "document": 0}


def test_what_a_tokenizer_does_not_allow_is_said_and_still_right():
    tokenizer = small_tokenizer("whole-text bpe")
    assert "normalizer Prepend" in unfit(backend(tokenizer))
    tokens = check(tokenizer, Policy(), CORPUS[:2], CORPUS[:2])
    assert tokens.left == {"query": 2, "document": 2}
    by_word = check(small_tokenizer("byte bpe"), Policy(longest=3), CORPUS[:2], CORPUS[:2])
    assert "n-grams" in by_word.why


@pytest.mark.parametrize("name", FIT)
def test_added_tokens_in_a_text_are_left_to_the_tokenizer(name):
    texts = ["a [SEP] fox", "a <mask> fox", "red fox</s>", "red fox"]
    tokens = check(small_tokenizer(name), Policy(query=1.0), texts, texts)
    assert 1 <= tokens.left["query"] <= 3


def test_an_added_token_made_by_switching_is_noticed():
    lexicons = {"de": Lexicon.from_pairs("en", "de", [("fox", "MASK"), ("a", "/"), ("b", "s")])}
    policy = Policy(query=0.6, document=0.6, languages=("de",), casing="as is")
    for name in ("wordpiece cased", "unigram"):
        for epoch in range(12):
            check(small_tokenizer(name), policy, ["[fox] <a-b>", "<fox>"], ["x [fox]-[fox]", "dog"], lexicons, epoch)


def test_unspaced_source_is_left_to_the_tokenizer():
    chinese = Lexicon.from_pairs("zh", "en", [(c, f"w{n}") for n, c in enumerate("红色的狐狸跳过懒狗我们在城市")])
    policy = Policy(languages=("en",), source="zh", segmenter="characters", casing="as is")
    texts = ["红色的狐狸跳过懒狗我们在城市里看见红色的狐狸", "狐狸 跳过", "红。狐"]
    tokens = check(small_tokenizer("wordpiece cased"), policy, texts, texts, {"en": chinese})
    assert tokens.left == {"query": 1, "document": 1}


def test_every_epoch_draws_anew_and_order_does_not_matter():
    tokens = TokenSwitcher(
        small_tokenizer("unigram"), Switcher(LEXICONS, POLICIES["ML-CS"]), {"q": CORPUS[0], "r": CORPUS[4]}, {}
    )
    one = [tokens.draw("query", ["q"], 1, epoch)[0].tolist() for epoch in range(8)]
    assert len(set(map(tuple, one))) == 8
    both = tokens.draw("query", ["r", "q"], 1, 3)
    assert both[1].tolist() == one[3]


@pytest.mark.parametrize("name", ["byte bpe", "whole-text bpe"])
def test_memory_of_what_is_made_on_the_way_is_bounded(name, monkeypatch):
    monkeypatch.setattr("cslab.switching.tokens._KEPT", 3)
    texts = {"d": "fox-dog-lazy red/jumps dog-the"}
    switcher = Switcher(LEXICONS, Policy(document=0.8))
    tokens = TokenSwitcher(small_tokenizer(name), switcher, {}, texts)
    for epoch in range(40):
        key = Key(0, epoch, "d")
        expected = small_tokenizer(name)(switcher.text(texts["d"], key, "document"), add_special_tokens=False)
        assert tokens.draw("document", ["d"], 0, epoch)[0].tolist() == expected["input_ids"]
        assert tokens.bank.size <= tokens._size + 3 + 60


def test_other_uses_of_the_tokenizer_do_not_disturb():
    tokenizer, policy = small_tokenizer("wordpiece cased"), Policy(query=0.9)
    switcher, texts = Switcher(LEXICONS, policy), {"q": "fox-dog lazy-red jumps-over", "r": "red"}
    tokens = TokenSwitcher(tokenizer, switcher, texts, {})
    for epoch in range(10):
        tokenizer(["a b c", "d"], padding="max_length", truncation=True, max_length=3)
        made = tokens.draw("query", ["q"], 0, epoch)[0].tolist()
        text = switcher.text(texts["q"], Key(0, epoch, "q"), "query")
        assert made == tokenizer(text, add_special_tokens=False, padding=False, truncation=False)["input_ids"]


def test_an_unknown_id_is_told():
    tokens = TokenSwitcher(small_tokenizer("unigram"), Switcher(LEXICONS, Policy()), {"q": "fox"}, {})
    with pytest.raises(CslabError, match="no query 'x' among the 1 prepared"):
        tokens.draw("query", ["x"], 0, 0)


@pytest.mark.parametrize(("side", "said"), [("padding_side", "left"), ("truncation_side", "left")])
def test_left_sides_are_refused(side, said):
    tokenizer = small_tokenizer("byte bpe prefixed")
    before = getattr(tokenizer, side)
    setattr(tokenizer, side, "left")
    try:
        with pytest.raises(CslabError, match=said):
            Frame.of(tokenizer, backend(tokenizer))
    finally:
        setattr(tokenizer, side, before)


@pytest.mark.parametrize("policy", [TESTED[0], POLICIES["per text"], replace(POLICIES["Wiki-CS"], query=0.8)])
@pytest.mark.parametrize("switched", [True, False])
def test_slots_are_what_parts_could_be(policy, switched):
    tokenizer, switcher = small_tokenizer("wordpiece uncased"), Switcher(TITLES, policy)
    texts = dict(enumerate(["the red fox jumps, lazy", "dog near new york", "xyz", "red-fox dog"]))
    tokens = TokenSwitcher(tokenizer, switcher, texts, {})
    slots = tokens.slots("query", [*texts, 0], 1, 0, switched)
    drawn = tokens.draw("query", [*texts, 0], 1, 0)
    plain = tokenizer([*texts.values(), texts[0]], add_special_tokens=False)["input_ids"]
    wanted = [drawn[n].tolist() for n in range(5)] if switched else plain
    assert [slots.drawn[n].tolist() for n in range(5)] == wanted
    assert len(slots.places) > 5
    translations = {t.text for code in policy.languages for ts in TITLES[code].entries.values() for t in ts}
    known = {shown(tokenizer, tokenizer(word)["input_ids"]) for word in translations}
    source = "".join(shown(tokenizer, ids) for ids in plain)
    for place, entry in zip(slots.places, slots.entries, strict=True):
        assert entry != slots.drawn.entries[place]
        said = shown(tokenizer, slots.drawn.bank[entry])
        assert said in known or said in source


def shown(tokenizer, ids) -> str:
    return tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "").strip(",.")
