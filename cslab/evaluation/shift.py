"""Domain shift: how far a test set is from the training text, and whether gains go with that distance.

Reads texts, a task and the tidy score table; gives one row of distances per task, and a regression of gains on them.
Texts are compared in one language: for a cross-lingual task give the test texts in the training text's language, or the
vocabulary would measure translation.

    rows = [{"set": "stories", "pair": "en-de"} | text_shift(train, test, "en") | first_stage(task)]
    regress(gains.merge(pd.DataFrame(rows)), "gain", ["divergence", "language distance"], cluster="set")

>>> found = text_shift(["the fox ran", "the hen ran"], ["the fox sat"], "en")
>>> round(found["unseen words"], 2), found["length"]
(0.33, 3.0)
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np
import pandas as pd
from scipy.stats import t

from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.spelling import simplify
from cslab.ranking.first_stage import terms
from cslab.store import CslabError, nearest

# --- distances -----------------------------------------------------------------------------------------------


def text_shift(training: Iterable[str], test: Iterable[str], code: str) -> dict[str, float]:
    """How far test texts are from training texts of the same language, by their words.

    Args:
        training: texts trained on, queries or documents.
        test: texts of the same side.
        code: their language.

    Returns:
        `unseen words`: share of the test's running words that training never shows; `divergence`: Jensen–Shannon
        divergence of the two word distributions in bits (0 the same, 1 nothing in common); `length` and
        `training length`: mean words of a text; `length ratio`: |ln| of their ratio.

    Raises:
        CslabError: if there are no words on one side.
    """
    seen, asked = _counts(training, code), _counts(test, code)
    for name, (counts, _) in (("training", seen), ("test", asked)):
        if not counts:
            raise CslabError(f"shift: the {name} texts hold no words in '{code}'; give texts of that language")
    (known, lengths), (wanted, test_lengths) = seen, asked
    total = sum(wanted.values())
    unseen = sum(count for word, count in wanted.items() if word not in known) / total
    mean, test_mean = float(np.mean(lengths)), float(np.mean(test_lengths))
    return {
        "unseen words": unseen,
        "divergence": jensen_shannon(known, wanted),
        "length": test_mean,
        "training length": mean,
        "length ratio": abs(float(np.log(test_mean / mean))),
    }


def _counts(texts: Iterable[str], code: str) -> tuple[Counter[str], list[int]]:
    counts: Counter[str] = Counter()
    lengths = []
    for text in texts:
        found = terms(text, code)
        counts.update(found)
        lengths.append(max(1, len(found)))
    return counts, lengths


def jensen_shannon(first: Mapping[str, int], second: Mapping[str, int]) -> float:
    """Jensen–Shannon divergence, in bits, of two distributions given as counts.

    >>> jensen_shannon({"a": 2}, {"a": 7}), jensen_shannon({"a": 1}, {"b": 1})
    (0.0, 1.0)
    """
    names = list(dict.fromkeys([*first, *second]))
    p, q = (np.array([counts.get(name, 0) for name in names], float) for counts in (first, second))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def relative(x: np.ndarray) -> float:
        held = x > 0
        return float((x[held] * np.log2(x[held] / middle[held])).sum())

    return max(0.0, (relative(p) + relative(q)) / 2)


def first_stage(task: Task, measure: str = "MRR@10") -> dict[str, float]:
    """How hard the task is before any re-ranking: quality of the first stage, and how often it finds anything right."""
    rows = score_run(task.candidates, task.qrels, "first stage", 0, [measure], task.queries)
    candidates = float(np.mean([len(task.candidates.scores.get(q, ())) for q in task.queries]))
    return {"first stage": float(rows["value"].mean()), "reachable": task.reachable(), "candidates": candidates}


def language_distance(lexicon: Lexicon, sample: int = 2000) -> float:
    """How unlike two languages write the same words: mean edit distance over length of a lexicon's best translations.

    Words are compared in simplified Latin letters, so that scripts with a table (Cyrillic, Greek) are told apart by
    words and not by letters; 0 for identical words, 1 for nothing in common.

    Args:
        lexicon: from one language into the other; its first `sample` entries of three letters or more are used.
        sample: entries compared.
    """
    words = ((word, translations[0].text) for word, translations in lexicon.entries.items() if " " not in word)
    found = _unlike(words, sample)
    if found is None:
        raise CslabError(f"shift: lexicon '{lexicon.name}' has no single word of three letters; give another one")
    return found


def distance_between(one: Lexicon, other: Lexicon, sample: int = 2000) -> float | None:
    """How unlike the languages that two lexicons translate the same words into write them; see `language_distance`.

    Returns:
        The distance; None for lexicons without a word in common.
    """
    shared = (word for word in one.entries if " " not in word and word in other.entries)
    return _unlike(((one.entries[word][0].text, other.entries[word][0].text) for word in shared), sample)


def _unlike(words: Iterable[tuple[str, str]], sample: int) -> float | None:
    """Mean edit distance over length of pairs of words whose first has three letters or more."""
    pairs = ((simplify(one), simplify(other)) for one, other in words if len(one) > 2)
    found = [_edits(one, other) / max(1, len(one), len(other)) for one, other in islice(pairs, sample)]
    return float(np.mean(found)) if found else None


def _edits(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for number, letter in enumerate(one, start=1):
        before, row[0] = row[0], number
        for place, wanted in enumerate(other, start=1):
            before, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, before + (letter != wanted))
    return row[-1]


# --- regression ----------------------------------------------------------------------------------------------


def regress(
    rows: pd.DataFrame,
    gain: str,
    on: Sequence[str],
    cluster: str,
    rounds: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Least squares of a gain on distances, with intervals that know how few test sets there are.

    Distances are the same for all queries of a set, so queries are no independent witnesses: for the intervals whole
    clusters are left out, one after the other (the cluster jackknife CV3 with the t distribution, which of the usual
    ones serves few and unlike clusters best: MacKinnon, Nielsen and Webb 2023), and the p-value shuffles a distance's
    values among clusters. Each distance is standardised over clusters: a coefficient is the gain per
    standard deviation, the others held.

    Args:
        rows: one row per query or per set, with the gain, the distances and the cluster.
        gain: column of the gain.
        on: columns of the distances.
        cluster: column that says which rows share their distances, a test set or a set and pair.
        rounds: shuffles.
        level: of the intervals.
        seed: of the shuffles.

    Returns:
        Rows `distance, coefficient, low, high, p, alone` (`alone`: correlation of gain and distance over clusters), the
        intercept first; `attrs` hold `clusters`, `rows` and `r2` (over clusters). Where one cluster alone tells the
        distances apart, `low` and `high` are not numbers.

    Raises:
        CslabError: for a missing column, a distance that does not vary or that others tell, or fewer clusters than
            distances + 3.
    """
    for name in (gain, cluster, *on):
        if name not in rows:
            raise CslabError(f"shift: no column '{name}'; {nearest(name, list(rows))}")
    means = rows.groupby(cluster, sort=False)[[gain, *on]].mean()
    weights = rows.groupby(cluster, sort=False).size().to_numpy(float)
    if len(means) < len(on) + 3:
        raise CslabError(
            f"shift: {len(means)} test sets cannot tell {len(on)} distances apart; use {len(on) + 3} or more, "
            "or fewer distances"
        )
    spread = means[list(on)].std(ddof=0)
    if flat := next((name for name in on if not spread[name] > 0), None):
        raise CslabError(f"shift: '{flat}' is the same for all test sets, so nothing can depend on it; leave it out")
    x = ((means[list(on)] - means[list(on)].mean()) / spread).to_numpy()
    y = means[gain].to_numpy()
    fitted = _fit(x, y, weights)
    if not told_apart(x):
        raise CslabError("shift: the distances cannot be told apart in these test sets; use fewer distances")
    generator = np.random.default_rng(seed)
    margin = t.ppf((1 + level) / 2, len(means) - 1) * _jackknife(x, y, weights, fitted)
    p = [np.nan, *(_shuffled(x, y, weights, n, fitted[n + 1], rounds, generator) for n in range(len(on)))]
    alone = [np.nan, *(float(np.corrcoef(x[:, n], y)[0, 1]) if np.ptp(y) else np.nan for n in range(len(on)))]
    table = pd.DataFrame({"distance": ["intercept", *on], "coefficient": fitted})
    table = table.assign(low=fitted - margin, high=fitted + margin, p=p, alone=alone)
    rest = weights @ (y - _design(x) @ fitted) ** 2
    around = weights @ (y - np.average(y, weights=weights)) ** 2
    table.attrs = {"clusters": len(means), "rows": len(rows), "r2": 1 - rest / around if around else np.nan}
    return table


def _design(x: np.ndarray) -> np.ndarray:
    return np.hstack([np.ones((len(x), 1)), x])


def _fit(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted least squares; of equally good coefficients those of least norm."""
    root = np.sqrt(weights)[:, None]
    return np.linalg.lstsq(_design(x) * root, y * root[:, 0], rcond=None)[0]


def told_apart(x: np.ndarray) -> bool:
    """Whether columns of distances (points × distances) vary, and none of them follows from the others."""
    return np.linalg.matrix_rank(_design(x), tol=1e-6) == x.shape[1] + 1


def _jackknife(x: np.ndarray, y: np.ndarray, weights: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Standard errors of the coefficients from fits without each cluster."""
    count, rest = len(y), ~np.eye(len(y), dtype=bool)
    if not all(told_apart(x[kept]) for kept in rest):
        return np.full(len(fitted), np.nan)
    found = np.array([_fit(x[kept], y[kept], weights[kept]) for kept in rest])
    return np.sqrt((count - 1) / count * ((found - fitted) ** 2).sum(0))


def _shuffled(
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    number: int,
    observed: float,
    rounds: int,
    generator: np.random.Generator,
) -> float:
    """Two-sided p of a coefficient: its distance's values are shuffled among the clusters."""
    beyond, moved = 0, x.copy()
    for _ in range(rounds):
        moved[:, number] = generator.permutation(x[:, number])
        beyond += abs(_fit(moved, y, weights)[number + 1]) >= abs(observed) - 1e-12
    return (beyond + 1) / (rounds + 1)
