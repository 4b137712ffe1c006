"""Token ids on disk, and pairs put together from them as the tokenizer would."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cslab.collections.collection import Collection
from cslab.collections.texts import Texts, write_texts
from cslab.ranking import pair_tokens as module
from cslab.ranking.pair_tokens import JoinedTokens, PairTokens, backend, pair_tokens, tokenise, tokenizer_key
from cslab.ranking.token_store import StoredTexts, open_tokens, stored_collection, stored_texts, stored_tokens
from cslab.store import CslabError
from cslab.switching.layout import Frame
from tests.unit.small_tokenizers import CORPUS, small_tokenizer

KINDS = ["wordpiece uncased", "wordpiece cased", "unigram", "byte bpe", "byte bpe prefixed", "whole-text bpe"]
WORDS = st.sampled_from([*" ".join(CORPUS[:6]).split(), "", " ", "\n", "ﬁn", "é", "<s>", "🦊", "[SEP]"])
TEXTS = st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=20)
STORED = {f"d{n}": text for n, text in enumerate([*CORPUS[:6], "", "fox"])}


def names(folder) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def expected(tokenizer, pairs, truncation: str, length: int):
    left, right = zip(*pairs, strict=True)
    return tokenizer(
        list(left), list(right), truncation=truncation, max_length=length, padding=True, return_tensors="pt"
    )


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), length=st.integers(7, 60))
def test_pairs_are_laid_out_as_the_tokenizer_would(kind, pairs, length):
    tokenizer = small_tokenizer(kind)
    wanted = expected(tokenizer, pairs, "longest_first", length)
    tokens = pair_tokens(tokenizer, pairs, length)
    found = tokens.batch(range(len(pairs)))
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert tokens.lengths.tolist() == wanted["attention_mask"].sum(1).tolist()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(pairs=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6), length=st.integers(7, 60))
def test_only_the_second_is_cut(kind, pairs, length):
    tokenizer = small_tokenizer(kind)
    tokens = pair_tokens(tokenizer, pairs, length, "only_second")
    room = length - tokens.frame.extra
    lengths = [len(tokens.queries[row]) for row in tokens.query_rows]
    fitting = [n for n, size in enumerate(lengths) if size < room or size + len(pairs_document(tokens, n)) <= room]
    if len(fitting) < len(pairs):
        with pytest.raises(CslabError, match="leaves no room for its document"):
            _ = tokens.lengths
    if kept := [pairs[n] for n in fitting]:
        wanted = expected(tokenizer, kept, "only_second", length)
        found = pair_tokens(tokenizer, kept, length, "only_second").batch(range(len(kept)), 1)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def pairs_document(tokens: PairTokens, row: int) -> np.ndarray:
    return tokens.documents[tokens.document_rows[row]]


def test_unknown_truncation_and_no_room():
    tokenizer = small_tokenizer("unigram")
    with pytest.raises(CslabError, match="truncation 'only_secnd' is not known; did you mean 'only_second'"):
        pair_tokens(tokenizer, [("a", "b")], 16, "only_secnd")
    with pytest.raises(CslabError, match="leaves no room"):
        pair_tokens(tokenizer, [("a", "b")], 5)


def test_joined_tokens_read_as_one():
    tokenizer = small_tokenizer("unigram")
    texts = list(STORED.values())
    whole, parts = tokenise(tokenizer, texts), [tokenise(tokenizer, t) for t in (texts[:3], [], texts[3:])]
    joined, rows = JoinedTokens(tuple(parts)), np.array([7, 0, 6, 3, 2, 5, 5])
    assert joined.counts(rows).tolist() == whole.counts(rows).tolist()
    counts = np.maximum(whole.counts(rows) - 1, 0)
    assert joined.take(rows, counts).tolist() == whole.take(rows, counts).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_store_holds_the_tokenizers_ids(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 3)
    tokenizer = small_tokenizer(kind)
    tokens, key = stored_tokens(tokenizer, STORED.values(), tmp_path)
    plain = tokenizer(list(STORED.values()), add_special_tokens=False)["input_ids"]
    assert [tokens[row].tolist() for row in range(len(tokens))] == plain
    again, same = stored_tokens(tokenizer, list(STORED.values()), tmp_path)
    assert (same, names(tmp_path)) == (key, [key])
    assert np.array_equal(again.ids, tokens.ids)


def test_stores_of_other_texts_and_tokenizers_lie_apart(tmp_path):
    made = {
        stored_tokens(small_tokenizer(kind), texts, tmp_path)[1] for kind in KINDS[:2] for texts in (["a"], ["b"], [])
    }
    assert len(made) == 6
    assert len(stored_tokens(small_tokenizer("unigram"), [], tmp_path)[0]) == 0


def test_an_interrupted_store_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 2)
    tokenizer, asked = small_tokenizer("unigram"), []

    class Stops(list):
        def __iter__(self):
            for number, text in enumerate(super().__iter__()):
                if number == 5 and len(asked) == 1:
                    raise KeyboardInterrupt
                yield text

    real = module.token_blocks
    texts = Stops(STORED.values())
    monkeypatch.setattr("cslab.ranking.token_store.token_blocks", lambda t, texts: (asked.append(1), real(t, texts))[1])
    with pytest.raises(KeyboardInterrupt):
        stored_tokens(tokenizer, texts, tmp_path)
    (partial,) = tmp_path.glob(".*.partial")
    (partial / "ids.int32").open("ab").write(b"torn")
    asked.append(2)
    seen = []
    monkeypatch.setattr(
        "cslab.ranking.token_store.token_blocks", lambda t, texts: real(t, (seen.append(x) or x for x in texts))
    )
    tokens, key = stored_tokens(tokenizer, texts, tmp_path)
    assert seen == list(STORED.values())[4:], "two blocks of two are not made again"
    assert np.array_equal(tokens.ids, tokenise(tokenizer, STORED.values()).ids)
    assert names(tmp_path) == [key]
    assert not list(tmp_path.glob(".*.partial"))


def test_texts_with_ids_are_texts(tmp_path):
    tokenizer = small_tokenizer("unigram")
    write_texts(tmp_path / "de.arrow", STORED.items())
    for texts in (STORED, Texts(tmp_path / "de.arrow")):
        stored = stored_texts(tokenizer, texts, tmp_path / "tokens")
        assert (dict(stored), len(stored), "d3" in stored, "x" in stored) == (STORED, 8, True, False)
        assert list(stored.values()) == list(STORED.values())
        wanted = tokenizer(STORED["d3"], add_special_tokens=False)["input_ids"]
        assert stored.tokens[stored.row("d3")].tolist() == wanted
        with pytest.raises(KeyError):
            stored.row("x")
        assert stored.tokenizer == tokenizer_key(tokenizer)
    assert len(names(tmp_path / "tokens")) == 1
    made = stored_collection(
        tokenizer, Collection("toy", {"en": {"q": "fox"}}, {"de": STORED}, {}), tmp_path / "tokens"
    )
    assert isinstance(made.queries["en"], StoredTexts)
    assert made.documents["de"].row("d3") == 3


def test_a_damaged_store_is_named(tmp_path):
    _, key = stored_tokens(small_tokenizer("unigram"), STORED.values(), tmp_path)
    with open(tmp_path / key / "ids.int32", "ab") as handle:
        handle.write(bytes(4))
    with pytest.raises(CslabError, match=r"holds .*, tokens.json says .*; delete the folder"):
        open_tokens(tmp_path / key)
    (tmp_path / key / "starts.npy").write_bytes(b"no array")
    with pytest.raises(CslabError, match="token ids cannot be read"):
        open_tokens(tmp_path / key)


def test_the_key_does_not_follow_the_last_call():
    tokenizer = small_tokenizer("unigram")
    before = tokenizer_key(tokenizer)
    tokenizer(["a", "b c"], truncation=True, max_length=5, padding=True)
    assert tokenizer_key(tokenizer) == before
    frame = Frame.of(tokenizer, backend(tokenizer))
    assert frame.extra == 4
