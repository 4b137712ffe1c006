"""The order of training and its batches."""

import threading

import numpy as np
import pytest
import torch

from cslab.ahead import prefetched
from cslab.store import CslabError
from cslab.training.batches import Plan, batches
from cslab.training.pairs import Pairs
from tests.tiny import WORDS, tiny_encoder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny")).tokenizer


def made_pairs(count: int) -> Pairs:
    ids = np.array([str(i) for i in range(count)])
    return Pairs(ids, ids, np.arange(count, dtype=np.float32) % 2, 1)


def texts(epoch: int, indices: list[int]) -> list[tuple[str, str]]:
    return [(WORDS[i % 20], " ".join(WORDS[: 1 + (i * 7 + epoch) % 20])) for i in indices]


def drawn(plan: Plan, tokenizer, steps: range, **changes):
    return list(batches(plan, made_pairs(plan.pairs), texts, tokenizer, 40, steps, **changes))


def test_an_epoch_shows_every_pair_once_in_a_new_order(tokenizer):
    plan = Plan(pairs=50, batch=5, window=4, seed=1)
    found = drawn(plan, tokenizer, range(20))
    first, second = (np.concatenate([b.rows for b in found[i : i + 10]]) for i in (0, 10))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first.tolist() != second.tolist()
    assert [b.step for b in found] == list(range(20))


def test_a_remainder_waits_for_the_next_epoch(tokenizer):
    plan = Plan(pairs=53, batch=5, window=4, seed=1)
    found = drawn(plan, tokenizer, range(10 * plan.steps))
    assert all(len(b.rows) == 5 for b in found)
    assert {row for b in found for row in b.rows} == set(range(53))


def test_any_step_can_be_the_first(tokenizer):
    plan = Plan(pairs=50, batch=5, window=4, seed=1)
    straight = drawn(plan, tokenizer, range(25))
    for start in (1, 7, 10, 13, 24):
        for later, expected in zip(drawn(plan, tokenizer, range(start, 25)), straight[start:], strict=True):
            assert later.rows.tolist() == expected.rows.tolist()
            assert torch.equal(later.inputs["input_ids"], expected.inputs["input_ids"])
            assert torch.equal(later.labels, expected.labels)


def test_batches_hold_texts_and_labels_of_their_rows(tokenizer):
    plan = Plan(pairs=50, batch=5, window=4, seed=1)
    for batch in drawn(plan, tokenizer, range(12)):
        expected = texts(batch.step // 10, batch.rows.tolist())
        encoded = tokenizer([q for q, _ in expected], [d for _, d in expected], padding=True, return_tensors="pt")
        assert torch.equal(batch.inputs["input_ids"], encoded["input_ids"])
        assert batch.labels.tolist() == [row % 2 for row in batch.rows]
        assert batch.tokens == int(encoded["attention_mask"].sum())


def test_windows_make_little_padding(tokenizer):
    def padding(window: int) -> float:
        found = drawn(Plan(pairs=400, batch=8, window=window, seed=0), tokenizer, range(50))
        return 1 - sum(b.tokens for b in found) / sum(b.inputs["input_ids"].numel() for b in found)

    assert padding(50) < 0.05 < 0.3 < padding(1)


def test_shards_part_each_batch(tokenizer):
    plan = Plan(pairs=40, batch=8, window=2, seed=3)
    whole = drawn(plan, tokenizer, range(7))
    parts = [drawn(plan, tokenizer, range(7), shard=(r, 2)) for r in range(2)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(batch.rows) == sorted(np.concatenate([s.rows for s in shares]))
        assert [len(s.rows) for s in shares] == [4, 4]


def test_groups_stay_together(tokenizer):
    plan = Plan(pairs=48, batch=12, window=2, seed=3, group=3)
    whole = drawn(plan, tokenizer, range(8))
    for batch in whole:
        groups = batch.rows.reshape(-1, 3)
        assert (groups == groups[:, :1] // 3 * 3 + [0, 1, 2]).all()
    for epoch in (whole[:4], whole[4:]):
        assert sorted(np.concatenate([b.rows for b in epoch])) == list(range(48))
    parts = [drawn(plan, tokenizer, range(8), shard=(r, 2)) for r in range(2)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert all((s.rows.reshape(-1, 3) % 3 == [0, 1, 2]).all() for s in shares)
        assert sorted(batch.rows) == sorted(np.concatenate([s.rows for s in shares]))
    for later, expected in zip(drawn(plan, tokenizer, range(5, 8)), whole[5:], strict=True):
        assert later.rows.tolist() == expected.rows.tolist()


def test_a_batch_that_would_part_a_group_is_refused():
    with pytest.raises(CslabError, match=r"batches of 64 pairs cannot hold whole groups of 5; use 65"):
        Plan(pairs=100, batch=64, window=4, seed=0, group=5)


def test_lengths_can_be_padded_to_a_multiple(tokenizer):
    plan = Plan(pairs=40, batch=8, window=2, seed=3)
    assert all(b.inputs["input_ids"].shape[1] % 8 == 0 for b in drawn(plan, tokenizer, range(5), multiple=8))


def test_a_mistake_in_the_texts_reaches_the_caller(tokenizer):
    def broken(epoch, indices):
        raise CslabError("no text")

    with pytest.raises(CslabError, match="no text"):
        list(batches(Plan(10, 2, 2, 0), made_pairs(10), broken, tokenizer, 40, range(3)))


def test_a_batch_larger_than_the_pairs_is_refused():
    with pytest.raises(CslabError, match="batches of 32 from 10 pairs"):
        Plan(pairs=10, batch=32, window=4, seed=0)


def test_prefetched_batches_are_the_same_and_fetched_ahead(tokenizer):
    plan, fetched = Plan(pairs=40, batch=8, window=2, seed=3), []
    with prefetched(fetched.append(batch.step) or batch for batch in drawn(plan, tokenizer, range(7))) as coming:
        assert next(coming).step == 0
        assert [batch.step for batch in coming] == list(range(1, 7)) == fetched[1:]

    def broken():
        yield 1
        raise CslabError("no text")

    with pytest.raises(CslabError, match="no text"), prefetched(broken()) as coming:
        list(coming)


def test_what_is_fetched_ahead_begins_here_and_ends_with_the_block():
    threads, closed = [], []

    def endless():
        try:
            while True:
                threads.append(threading.current_thread())
                yield len(threads)
        finally:
            closed.append(threading.current_thread())

    here = threading.current_thread()
    with prefetched(endless()) as coming:
        assert [next(coming), next(coming)] == [1, 2]
    assert threads[0] is here  # a fork beside running work could hang
    assert here not in threads[1:]
    assert closed == [here]  # at once, by nobody's garbage collector
