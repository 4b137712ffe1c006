"""Tests of significance against scipy and against enumeration."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cslab.evaluation.significance import (
    bonferroni,
    bootstrap_interval,
    compare,
    holm,
    paired_t,
    randomisation,
)

GENERATOR = np.random.default_rng(5)


def test_paired_t_is_scipys():
    a, b = GENERATOR.random(60), GENERATOR.random(60)
    assert paired_t(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert paired_t(a, a) == 1.0


def test_randomisation_comes_near_the_exact_test():
    a, b = GENERATOR.random(10), GENERATOR.random(10) + 0.2
    difference = a - b
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    exact = (np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12).mean()
    assert randomisation(a, b, rounds=20_000) == pytest.approx(exact, abs=0.015)


def test_bootstrap_interval_is_near_scipys():
    values = GENERATOR.random(200)
    ours = bootstrap_interval(values, rounds=5000)
    peers = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=1).confidence_interval
    assert ours == pytest.approx((peers.low, peers.high), abs=0.01)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_raw_and_bonferroni_and_keeps_the_order(p):
    adjusted = holm(p)
    assert (adjusted >= np.minimum(p, 1) - 1e-12).all()
    assert (adjusted <= bonferroni(p) + 1e-12).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= -1e-12).all()


def test_compare_counts_wins_and_keeps_pairs_apart():
    rows = [
        (s, 1, "CLIR", "en", d, f"q{i}", "MRR@10", v)
        for d in ("de", "ru")
        for i in range(30)
        for s, v in (("base", 0.2), ("new", 0.2 + (0.3 if i % 3 == 0 else 0)))
    ]
    columns = ["system", "seed", "setting", "query_lang", "doc_lang", "qid", "measure", "value"]
    table = compare(pd.DataFrame(rows, columns=columns), "base")
    assert table.pair.tolist() == ["en-de", "en-ru"]
    assert table.wins.tolist() == [10, 10]
    assert table.ties.tolist() == [20, 20]
    assert table.difference.tolist() == pytest.approx([10, 10])
    assert (table.low < 10).all()
    assert (table.high > 10).all()
    assert (table.p_holm >= table.p).all()
    quick = compare(pd.DataFrame(rows, columns=columns), "base", rounds=0)
    assert quick.low.isna().all()
    assert quick.p_holm.tolist() == table.p_holm.tolist()


def test_one_call_gives_every_test():
    a, b = GENERATOR.random(40), GENERATOR.random(40)
    rows = [(s, 1, "CLIR", "en", "de", f"q{i}", "MRR@10", v) for s, x in (("b", b), ("a", a)) for i, v in enumerate(x)]
    columns = ["system", "seed", "setting", "query_lang", "doc_lang", "qid", "measure", "value"]
    (row,) = compare(pd.DataFrame(rows, columns=columns), "b", permutations=4000).to_dict("records")
    assert row["p"] == pytest.approx(stats.ttest_rel(a, b).pvalue)
    peer = stats.permutation_test(
        (a, b), lambda x, y, axis: np.mean(x - y, axis=axis), permutation_type="samples", n_resamples=4000, rng=1
    )
    assert row["p_random"] == pytest.approx(peer.pvalue, abs=0.03)
    assert {"low", "high", "p_holm", "p_bonferroni", "wins", "ties", "losses"} <= set(row)
