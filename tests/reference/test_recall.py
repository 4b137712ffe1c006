"""Ranks against hand-computed ones and a naive full matrix; hub penalties against their formulas."""

import numpy as np
import pandas as pd
import pytest
import torch

from cslab.evaluation.recall import hub_penalty, mean_recall, rank_scores, rank_variance, ranks, recall_table
from cslab.lexicon.search import csls_rows, softmax_rows, unit_rows
from cslab.store import CslabError

pytestmark = pytest.mark.numbers


def _unit(rows, width=16, seed=0):
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, width)))


def test_ranks_by_hand():
    # Scores of the first query: 4 for its own key, 5 and 3 for the others; the second finds its own first.
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    keys = torch.tensor([[4.0, 0.0], [5.0, 9.0], [3.0, 1.0]])
    assert ranks(queries, keys, [0, 1], [0, 1, 2]).tolist() == [2, 1]
    assert ranks(queries, keys, [2, 0], [0, 1, 2]).tolist() == [3, 3]
    # With several right keys the best one counts.
    assert ranks(queries, keys, [7, 7], [8, 7, 7]).tolist() == [1, 1]
    assert ranks(queries, keys, [7, 7], [7, 8, 7]).tolist() == [2, 2]


def test_a_tie_counts_against_the_query():
    assert ranks(torch.ones(3, 4), torch.ones(3, 4)).tolist() == [3, 3, 3]
    assert ranks(torch.ones(1, 2), torch.ones(3, 2), [0], [0, 0, 1]).tolist() == [2]


def test_a_penalty_moves_a_hub_back():
    queries, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.0], [0.6, 0.0]])
    assert ranks(queries, keys, [0]).tolist() == [2]
    assert ranks(queries, keys, [0], penalty=torch.tensor([0.0, 0.2])).tolist() == [1]


@pytest.mark.parametrize("budget", [1, 4 * 60 * 7, 1 << 20])
def test_blocks_of_any_size_give_the_ranks_of_the_naive_matrix(budget):
    queries, keys = _unit(31), _unit(60, seed=1)
    asked, held = np.random.default_rng(2).integers(0, 12, 31), np.arange(60) % 12
    penalty = hub_penalty(keys, queries, neighbours=3)
    scores = (queries @ keys.t() - penalty).numpy()
    naive = [1 + (scores[i][held != asked[i]] >= scores[i][held == asked[i]].max()).sum() for i in range(len(queries))]
    assert ranks(queries, keys, asked, held, penalty, budget).tolist() == naive


def test_corrections_rank_as_csls_and_the_inverted_softmax_do():
    queries, keys = _unit(20), _unit(30, seed=1)
    for method, searched in (("csls", csls_rows), ("softmax", softmax_rows)):
        penalty = hub_penalty(keys, queries, method)
        best = (queries @ keys.t() - penalty).topk(5).indices
        assert torch.equal(best, searched(queries, keys, 5).rows)


def test_penalties_by_their_formulas():
    keys, bank = _unit(9), _unit(25, seed=4)
    cosines = (keys @ bank.t()).numpy()
    np.testing.assert_allclose(hub_penalty(keys, bank, "csls", 4), np.sort(cosines)[:, -4:].mean(1) / 2, atol=1e-6)
    expected = np.log(np.exp(20 * cosines).sum(1)) / 20
    np.testing.assert_allclose(hub_penalty(keys, bank, "softmax", beta=20), expected, atol=1e-5)


def test_a_query_without_a_right_key_is_refused():
    with pytest.raises(CslabError, match="query 1 belongs to item 5, which no key shows"):
        ranks(torch.ones(2, 2), torch.ones(2, 2), [0, 5], [0, 1])
    with pytest.raises(CslabError, match="did you mean 'csls'"):
        hub_penalty(torch.ones(2, 2), torch.ones(2, 2), "clss")


def test_the_table_by_hand():
    found = np.array([1, 3, 7, 40])
    scores = rank_scores(found, ["a", "b", "c", "d"], "CLIP", "de", "image")
    back = rank_scores(np.array([1, 1, 1, 2]), ["w", "x", "y", "z"], "CLIP", "image", "de", kind="I2T")
    table = recall_table(pd.concat([scores, back]))
    row = table.iloc[0]
    assert [row[m] for m in ("R@1", "R@5", "R@10", "median rank", "queries")] == [25, 50, 75, 5, 4]
    assert row["mean recall"] == 50
    assert row["low"] <= 25 <= row["high"]
    assert mean_recall(table, ["de", "fr"]).loc["CLIP"].tolist() == pytest.approx([(50 + (75 + 100 + 100) / 3) / 2])


def test_rank_variance_by_hand():
    parts = [
        rank_scores(np.array(found), ["a", "b"], "CLIP", code, "image")
        for code, found in (("en", [1, 2]), ("de", [3, 2]))
    ]
    scores = pd.concat(parts)
    assert rank_variance(scores, ["en", "de"])["CLIP"] == pytest.approx((1 + 0) / 2)
    assert rank_variance(scores, ["en", "de"], limit=2)["CLIP"] == pytest.approx((0.25 + 0) / 2)
    with pytest.raises(CslabError, match="no query is asked in all of en, fr"):
        rank_variance(scores, ["en", "fr"])
