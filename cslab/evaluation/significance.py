"""Is the difference real: paired t-test and randomisation, Bonferroni and Holm, bootstrap intervals, win/tie/loss.

All work on per-query values averaged over seeds, paired by query id (the paper uses the paired t-test with
Bonferroni's correction; Holm's step-down is never weaker).

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist(), bonferroni([0.01, 0.04, 0.03]).round(3).tolist()
    ([0.03, 0.06, 0.06], [0.03, 0.12, 0.09])
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats


def bonferroni(p: Sequence[float]) -> np.ndarray:
    """p-values times their number, at most 1."""
    return np.minimum(1.0, np.asarray(p, float) * len(p))


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's step-down adjusted p-values (Holm 1979), in the order given."""
    values = np.asarray(p, float)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, stepped)
    return adjusted


def paired_t(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of the paired t-test; 1 where all differences are the same and zero."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    if len(difference) < 2 or np.ptp(difference) == 0:
        return 1.0 if len(difference) < 2 or difference[0] == 0 else 0.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def randomisation(first: np.ndarray, second: np.ndarray, rounds: int = 10_000, seed: int = 0) -> float:
    """Two-sided p of the paired randomisation test: the signs of the differences are drawn at random."""
    difference = np.asarray(first, float) - np.asarray(second, float)
    generator = np.random.default_rng(seed)
    observed, beyond = abs(difference.mean()) - 1e-12, 0
    for start in range(0, rounds, 1000):
        signs = generator.integers(0, 2, (min(1000, rounds - start), len(difference))) * 2 - 1
        beyond += int((np.abs(signs @ difference) / len(difference) >= observed).sum())
    return (beyond + 1) / (rounds + 1)


def bootstrap_interval(
    values: np.ndarray, level: float = 0.95, rounds: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean."""
    values = np.asarray(values, float)
    generator, means = np.random.default_rng(seed), []
    step = max(1, 1_000_000 // len(values))  # resamples at a time: large collections keep to a few megabytes
    for start in range(0, rounds, step):
        picks = generator.integers(0, len(values), (min(step, rounds - start), len(values)))
        means.append(values[picks].mean(axis=1))
    means = np.concatenate(means)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def per_query(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Values averaged over seeds: index (query_lang, doc_lang, qid), one column per system."""
    rows = scores[scores["measure"] == measure]
    keys = ["setting", "query_lang", "doc_lang", "qid"]
    return rows.pivot_table(index=keys, columns="system", values="value", aggfunc="mean", sort=False)


def compare(
    scores: pd.DataFrame, baseline: str, measure: str = "MRR@10", rounds: int = 2000, permutations: int = 0
) -> pd.DataFrame:
    """Every system against a baseline on every pair both were scored on.

    Args:
        scores: the tidy table.
        baseline: a system of it.
        measure: a measure of it.
        rounds: bootstrap resamples; 0 for no intervals, which takes far less time on large collections.
        permutations: of the randomisation test; 0 for none.

    Returns:
        Rows with `system, setting, pair, queries, difference` (×100), `low, high` (95 % bootstrap, ×100), `p`
        (paired t), `p_holm` and `p_bonferroni` (over all rows of the table), `p_random` if asked for, `wins, ties,
        losses`.
    """
    values = per_query(scores, measure)
    rows = []
    for system in (c for c in values if c != baseline):
        both = values[[system, baseline]].dropna()
        for (kind, query_lang, doc_lang), group in both.groupby(level=[0, 1, 2], sort=False):
            gain = (group[system] - group[baseline]).to_numpy()
            low, high = bootstrap_interval(gain, rounds=rounds) if rounds else (np.nan, np.nan)
            chance = {"p_random": randomisation(gain, np.zeros_like(gain), permutations)} if permutations else {}
            rows.append(
                {
                    "system": system, "setting": kind, "pair": f"{query_lang}-{doc_lang}", "queries": len(gain),
                    "difference": 100 * gain.mean(), "low": 100 * low, "high": 100 * high,
                    "p": paired_t(group[system].to_numpy(), group[baseline].to_numpy()),
                    "wins": int((gain > 0).sum()), "ties": int((gain == 0).sum()), "losses": int((gain < 0).sum()),
                    **chance,
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"], table["p_bonferroni"] = holm(table["p"]), bonferroni(table["p"])
    return table
