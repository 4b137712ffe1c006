"""What each condition trains on."""

import numpy as np
import pytest

from cslab.collections.collection import Collection
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.draw import Key
from cslab.switching.policy import bilingual
from cslab.switching.switch import switch
from cslab.training.conditions import CONDITIONS, pair_texts, policy_for
from cslab.training.pairs import Pairs, sample_pairs

ENGLISH = "fox hen house red old river".split()  # noqa: SIM905
GERMAN = "Fuchs Henne Haus rot alt Fluss".split()  # noqa: SIM905
RUSSIAN = "лиса курица дом красный старый река".split()  # noqa: SIM905
LEXICONS = {
    "de": Lexicon.from_pairs("en", "de", zip(ENGLISH, GERMAN, strict=True)),
    "ru": Lexicon.from_pairs("en", "ru", zip(ENGLISH, RUSSIAN, strict=True)),
}
COLLECTION = Collection(
    "toy",
    queries={
        "en": {f"q{i}": f"{ENGLISH[i]} {ENGLISH[5 - i]}?" for i in range(6)},
        "de": {f"q{i}": f"{GERMAN[i]} {GERMAN[5 - i]}?" for i in range(6)},
    },
    documents={
        "en": {f"e{i}": " ".join(ENGLISH[i:] + ENGLISH[:i]) for i in range(6)},
        "de": {f"d{i}": " ".join(GERMAN[i:] + GERMAN[:i]) for i in range(6)},
    },
    qrels={
        "en": {f"q{i}": {f"e{i}": 1} for i in range(6)},
        "de": {f"q{i}": {f"d{i}": 1} for i in range(6)},
    },
    alignment={"de": {f"e{i}": (f"d{i}",) for i in range(6)}},
)
PAIRS = sample_pairs(COLLECTION, negatives=2)
EVERY = list(range(len(PAIRS)))


def words_of(texts, side: int) -> set[str]:
    return {word.strip("?") for pair in texts for word in pair[side].split()}


def test_zero_shot_reads_the_source():
    texts = pair_texts(CONDITIONS["Zero-shot"], PAIRS, COLLECTION, LEXICONS, seed=1)
    assert texts(0, [0, 1]) == texts(5, [0, 1])
    qid, did = PAIRS.qids[1], PAIRS.dids[1]
    assert texts(0, [1]) == [(COLLECTION.queries["en"][qid], COLLECTION.documents["en"][did])]


def test_ml_cs_switches_both_sides_into_all_languages():
    texts = pair_texts(CONDITIONS["ML-CS"], PAIRS, COLLECTION, LEXICONS, seed=1)
    for side in (0, 1):
        found = words_of(texts(0, EVERY) + texts(1, EVERY), side)
        assert found & set(ENGLISH)
        assert found & set(GERMAN)
        assert found & set(RUSSIAN)


def test_texts_follow_seed_epoch_id_and_side_alone():
    made = {seed: pair_texts(CONDITIONS["ML-CS"], PAIRS, COLLECTION, LEXICONS, seed=seed) for seed in (1, 2)}
    together = made[1](3, EVERY)
    assert [made[1](3, [i])[0] for i in EVERY] == together
    assert made[1](4, EVERY) != together != made[2](3, EVERY)
    qid, did = PAIRS.qids[7], PAIRS.dids[7]
    policy = policy_for(CONDITIONS["ML-CS"], languages=("de", "ru"))
    query = switch(COLLECTION.queries["en"][qid], LEXICONS, policy, Key(1, 3, qid), "query").text
    document = switch(COLLECTION.documents["en"][did], LEXICONS, policy, Key(1, 3, did), "document").text
    assert together[7] == (query, document)


def test_probability_can_be_set():
    whole = pair_texts(CONDITIONS["ML-CS"], PAIRS, COLLECTION, LEXICONS, seed=1, probability=1.0)(0, EVERY)
    assert not (words_of(whole, 0) | words_of(whole, 1)) & set(ENGLISH)
    none = pair_texts(CONDITIONS["ML-CS"], PAIRS, COLLECTION, LEXICONS, seed=1, probability=0.0)(0, EVERY)
    assert words_of(none, 0) | words_of(none, 1) <= set(ENGLISH)


def test_bl_cs_gives_each_side_its_language_and_leaves_english_alone():
    texts = pair_texts(CONDITIONS["BL-CS"], PAIRS, COLLECTION, LEXICONS, 1, pair=("de", "ru"), probability=1.0)
    assert words_of(texts(0, EVERY), 0) <= set(GERMAN)
    assert words_of(texts(0, EVERY), 1) <= set(RUSSIAN)
    half = pair_texts(CONDITIONS["BL-CS"], PAIRS, COLLECTION, LEXICONS, 1, pair=("en", "ru"), probability=1.0)
    assert words_of(half(0, EVERY), 0) <= set(ENGLISH)
    assert policy_for(CONDITIONS["BL-CS"], ("de", "ru")) == bilingual("de", "ru", 0.5, name="BL-CS")
    for pair in (None, ("en", "en")):
        with pytest.raises(CslabError, match="condition BL-CS: "):
            policy_for(CONDITIONS["BL-CS"], pair)
    with pytest.raises(CslabError):
        pair_texts(CONDITIONS["BL-CS"], PAIRS, COLLECTION, LEXICONS, 1, pair=("en", "ar"))


def test_fine_tuning_reads_translations():
    texts = pair_texts(CONDITIONS["Fine-tuning"], PAIRS, COLLECTION, {}, seed=1, pair=("de", "en"))
    query, document = texts(0, [4])[0]
    assert query == COLLECTION.queries["de"][PAIRS.qids[4]]
    assert document == COLLECTION.documents["en"][PAIRS.dids[4]]
    mixed = pair_texts(CONDITIONS["Fine-tuning"], PAIRS, COLLECTION, {}, seed=1)
    seen = [pair for epoch in range(6) for pair in mixed(epoch, EVERY)]
    kinds = {(q in COLLECTION.queries["de"].values(), d in COLLECTION.documents["de"].values()) for q, d in seen}
    assert len(kinds) == 4
    assert mixed(2, EVERY) == mixed(2, EVERY)


def test_fine_tuning_learns_the_pairs_that_are_evaluated():
    wanted = [("de", "en"), ("en", "xx"), ("de", "ru")]  # the collection has no Russian: left out
    texts = pair_texts(CONDITIONS["Fine-tuning"], PAIRS, COLLECTION, {}, seed=1, directions=wanted)
    seen = {(asked, told) for epoch in range(8) for (asked, _), (told, _) in texts.named(epoch, EVERY)}
    assert seen == {("de", "en"), ("en", "en"), ("en", "de")}
    for epoch in range(8):  # the documents of a query are asked for in one language
        named = texts.named(epoch, EVERY)
        assert len({(asked, qid) for (asked, qid), _ in named}) == len({qid for (_, qid), _ in named})
    assert set(texts.held("query")) == set(texts.held("document")) == {"en", "de"}


def test_missing_text_is_named():
    with pytest.raises(CslabError, match="Fine-tuning needs text in 'ru'"):
        pair_texts(CONDITIONS["Fine-tuning"], PAIRS, COLLECTION, {}, 1, pair=("de", "ru"))
    foreign = Pairs(np.array(["q1"]), np.array(["x"]), np.ones(1, np.float32), 1)
    with pytest.raises(CslabError, match="a pair names 'x'"):
        pair_texts(CONDITIONS["Zero-shot"], foreign, COLLECTION, {}, 1)
    alone = Collection("alone", COLLECTION.queries, COLLECTION.documents, COLLECTION.qrels, {"de": {}})
    texts = pair_texts(CONDITIONS["Fine-tuning"], PAIRS, alone, {}, 1, pair=("de", "de"))
    with pytest.raises(CslabError, match="document 'e0' has no translation"):
        texts(0, np.flatnonzero(PAIRS.dids == "e0").tolist())


def test_the_seven_conditions_of_the_paper_come_first():
    seven = [
        "Zero-shot",
        "Fine-tuning",
        "Zero-shot Translate-Test",
        "ML-CS Translate-Test",
        "BL-CS",
        "ML-CS",
        "Wiki-CS",
    ]
    assert list(CONDITIONS)[:7] == seven
    assert all(name == row.name for name, row in CONDITIONS.items())


def test_translate_test_trains_as_the_condition_whose_model_it_asks():
    for name in ("Zero-shot", "ML-CS"):
        row = CONDITIONS[f"{name} Translate-Test"]
        assert row.training is CONDITIONS[name]
        asked, trained = (pair_texts(c, PAIRS, COLLECTION, LEXICONS, seed=1) for c in (row, CONDITIONS[name]))
        assert asked(2, EVERY) == trained(2, EVERY)
    assert policy_for(CONDITIONS["ML-CS Translate-Test"]) == policy_for(CONDITIONS["ML-CS"])


def test_wiki_cs_gives_a_text_one_language_and_leaves_some_english():
    titles = {
        "de": Lexicon.from_pairs("en", "de", [("red house", "Rotes Haus"), ("fox", "Fuchs"), ("river", "Fluss")]),
        "ru": Lexicon.from_pairs("en", "ru", [("red house", "Красный дом"), ("fox", "лиса"), ("river", "река")]),
    }
    texts = pair_texts(CONDITIONS["Wiki-CS"], PAIRS, COLLECTION, titles, seed=1, probability=0.01)
    policy = policy_for(CONDITIONS["Wiki-CS"], languages=("de", "ru"), probability=0.01)
    assert (policy.languages, policy.query, policy.draw) == (("en", "de", "ru"), 1.0, "text")
    documents = {document for epoch in range(8) for _, document in texts(epoch, EVERY)}
    kinds = {("Fuchs" in d or "Fluss" in d, "лиса" in d or "река" in d) for d in documents}
    assert kinds == {(True, False), (False, True), (False, False)}
    german = next(d for d in documents if d.startswith("Fuchs hen house"))
    assert "Fluss" in german


def test_which_words_are_switched_can_be_set():
    assert policy_for(CONDITIONS["ML-CS"], words="content").words == "content"
    assert policy_for(CONDITIONS["BL-CS"], ("en", "de"), words="content").words == "content"
    assert policy_for(CONDITIONS["Wiki-CS"], words="all").words == "content"
