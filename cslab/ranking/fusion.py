"""Scores of a ranker and of the first stage together: a weighted sum of standardised scores, or reciprocal ranks.

Both runs rank the same candidates. Scores of different systems do not compare, so each question's are standardised
first (mean 0, deviation 1); the weight is chosen on questions that nothing was trained or is tested on. Reciprocal
ranks (Cormack et al., SIGIR 2009) have no weight: a document gets 1 / (60 + rank) from each run.

    >>> first = Run("bm25", "en", "de", "bm25", {"q": {"a": 9.0, "b": 1.0, "c": 0.0}})
    >>> ranker = Run("r", "en", "de", "bm25", {"q": {"a": 0.1, "b": 0.3, "c": 0.2}})
    >>> weighted(ranker, first, 0.0).ranking("q"), weighted(ranker, first, 1.0).ranking("q")
    (['b', 'c', 'a'], ['a', 'b', 'c'])
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cslab.collections.trec import Run
from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task

RANK = 60  # added to ranks, as published
WEIGHTS = tuple(step / 20 for step in range(21))


def weighted(ranker: Run, first: Run, weight: float, name: str = "") -> Run:
    """Standardised scores of both, the first stage's with `weight` and the ranker's with what is left of 1."""

    def together(qid: str) -> dict[str, float]:
        one, other = _standardised(ranker.scores[qid]), _standardised(first.scores[qid])
        return {did: (1 - weight) * one[did] + weight * other[did] for did in one}

    return replace(ranker, name=name or ranker.name, scores={qid: together(qid) for qid in ranker.scores})


def reciprocal(ranker: Run, first: Run, name: str = "") -> Run:
    """The sum of the reciprocal ranks of both; equal scores share the best of their ranks."""

    def together(qid: str) -> dict[str, float]:
        ranks = [_ranks(run.scores[qid]) for run in (ranker, first)]
        return {did: sum(1 / (RANK + found[did]) for found in ranks) for did in ranker.scores[qid]}

    return replace(ranker, name=name or ranker.name, scores={qid: together(qid) for qid in ranker.scores})


def _standardised(scores: Mapping[str, float]) -> dict[str, float]:
    values = np.array(list(scores.values()), np.float64)
    values -= values.mean()
    deviation = values.std()
    return dict(zip(scores, (values / deviation if deviation > 0 else values).tolist(), strict=True))


def _ranks(scores: Mapping[str, float]) -> dict[str, int]:
    values = np.sort(np.array(list(scores.values())))[::-1]
    return {did: int(np.searchsorted(-values, -score)) + 1 for did, score in scores.items()}


def choose_weight(
    ranked: Sequence[tuple[Run, Task]], measure: str, weights: Sequence[float] = WEIGHTS
) -> tuple[float, dict[str, float]]:
    """The weight of the first stage that is best over some tasks: the mean of the tasks' means.

    Args:
        ranked: runs of a ranker, each with its task.
        measure: of which the mean should be highest.
        weights: what is tried; of equally good ones the smallest is taken.

    Returns:
        The weight; and the mean ×100 of each weight, by its text.
    """

    def mean(weight: float) -> float:
        fused = [(weighted(run, task.candidates, weight), task) for run, task in ranked]
        scores = [score_run(run, task.qrels, "", 0, [measure], task.queries) for run, task in fused]
        return round(100 * float(np.mean([found["value"].mean() for found in scores])), 4)

    found = {weight: mean(weight) for weight in weights}
    return max(found, key=lambda weight: (found[weight], -weight)), {f"{w:g}": v for w, v in found.items()}
