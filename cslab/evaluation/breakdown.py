"""Why queries are missed, and whether a gain depends on the words that query and document share.

Reads a task with a system's run, and the tidy score table; gives one row per query, which joins with the differences
between two systems. The lexical overlap of query and relevant document is the measure behind the claim that training on
English pairs teaches keyword matching (2305.05295): gains should fall as it rises.

    causes(task, run)                                             # found, first stage missed, wrong language, …
    gains = differences(scores, "ML-CS", "Zero-shot").merge(overlaps(task))
    binned(gains)                                                 # mean gain by overlap, with bootstrap intervals
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from cslab.collections.trec import Run
from cslab.evaluation.fairness import language_of
from cslab.evaluation.measures import of_measure
from cslab.evaluation.settings import Task
from cslab.evaluation.significance import bootstrap_interval, per_query
from cslab.languages import is_pool
from cslab.store import CslabError, nearest
from cslab.text import characters, overlap, words

KEYS = ["setting", "query_lang", "doc_lang", "qid"]
CAUSES = ("found", "first stage missed", "wrong language", "wrong document")
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
# Thai, Khmer, kana and Han: written without blanks, so that their words are cut into letters.
_UNSPACED = re.compile("[\u0e00-\u0e7f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


# --- causes --------------------------------------------------------------------------------------------------


def causes(task: Task, run: Run, k: int = 10) -> pd.DataFrame:
    """Where each query's first relevant document stands, and why it is not among the first k.

    The causes of a miss are told in this order: *first stage missed*: no relevant document is among the candidates;
    *wrong language* (pools only): documents in the languages of the relevant ones, these apart, have less than half the
    share of the first k that they have of all candidates; *wrong document*: everything else.

    Args:
        task: what was asked.
        run: what a system made of the task's candidates.
        k: how deep to look.

    Returns:
        Rows by query: `setting, query_lang, doc_lang, qid, rank` (missing if there is none), `cause, top` (the document
        ranked first), `relevant` (the best relevant document, or the first judged one), `overlap`.
    """
    shared = overlaps(task).set_index("qid")["overlap"]
    rows = []
    for qid in task.queries:
        ranking = run.ranking(qid) if qid in run.scores else []
        wanted = [d for d, grade in task.qrels[qid].items() if grade > 0]
        if not wanted:
            continue
        rank = next((r for r, d in enumerate(ranking, start=1) if d in set(wanted)), None)
        best = ranking[rank - 1] if rank else wanted[0]
        cause = _cause(ranking, wanted, rank, k, is_pool(task.doc_lang))
        head = (task.setting, task.query_lang, task.doc_lang, qid)
        rows.append((*head, rank, cause, ranking[0] if ranking else None, best, shared[qid]))
    table = pd.DataFrame(rows, columns=[*KEYS, "rank", "cause", "top", "relevant", "overlap"])
    return table.astype({"rank": "Int64"})


def _cause(ranking: Sequence[str], wanted: Sequence[str], rank: int | None, k: int, mixed: bool) -> str:
    if rank is None:
        return "first stage missed"
    if rank <= k:
        return "found"
    return "wrong language" if mixed and _pushed_down(ranking, wanted, k) else "wrong document"


def _pushed_down(ranking: Sequence[str], wanted: Sequence[str], k: int) -> bool:
    """Whether other documents in the languages of the relevant ones are rare among the first k."""
    codes = {language_of(d) for d in wanted}
    kin = [d not in wanted and language_of(d) in codes for d in ranking]
    return sum(kin[:k]) / k < 0.5 * sum(kin) / len(kin)


def cause_counts(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Share of queries ×100 by cause and setting, a row per system: system → `causes` of all its pairs."""
    rows = {
        (system, kind): 100 * part["cause"].value_counts(normalize=True)
        for system, table in tables.items()
        for kind, part in table.groupby("setting", sort=False)
    }
    shares = pd.DataFrame(rows).T.reindex(columns=list(CAUSES)).fillna(0.0)
    return shares.rename_axis(["system", "setting"]).reset_index()


# --- lexical overlap -----------------------------------------------------------------------------------------


def terms(text: str) -> list[str]:
    """The words of a text; words of scripts without blanks are cut into letters.

    >>> terms("Der Fuchs von 東京 2008")
    ['Der', 'Fuchs', 'von', '東', '京', '2008']
    """
    found = []
    for word in words(text):
        found += [c.text for c in characters(word.text)] if _UNSPACED.search(word.text) else [word.text]
    return found


def overlaps(task: Task) -> pd.DataFrame:
    """Share of each query's words that stand in its relevant document (0–1); of several, the one that shares most.

    Returns:
        Rows `setting, query_lang, doc_lang, qid, overlap` of the queries that have a relevant document.
    """
    rows, said = [], {}
    for qid, text in task.queries.items():
        asked, shared = terms(text), []
        for did, grade in task.qrels[qid].items():
            if grade > 0 and did in task.documents:
                if did not in said:
                    said[did] = terms(task.documents[did])
                shared.append(overlap(asked, said[did]))
        if any(grade > 0 for grade in task.qrels[qid].values()):
            rows.append((task.setting, task.query_lang, task.doc_lang, qid, max(shared, default=0.0)))
    return pd.DataFrame(rows, columns=[*KEYS, "overlap"])


def candidate_table(tasks: Iterable[Task]) -> pd.DataFrame:
    """How much the candidates of each task hold, and how much its words give away.

    Returns:
        Index `pair`; columns `setting`, `queries`, `documents`, `first stage`, `reachable` (see `Task.reachable`) and
        `overlap` (see `overlaps`, the mean over queries).
    """
    rows = [
        (t.pair, t.setting, len(t.queries), len(t.documents), t.candidates.first_stage, t.reachable(), shared)
        for t in tasks
        for shared in [overlaps(t)["overlap"].mean()]
    ]
    columns = ["pair", "setting", "queries", "documents", "first stage", "reachable", "overlap"]
    return pd.DataFrame(rows, columns=columns).set_index("pair")


def differences(scores: pd.DataFrame, system: str, baseline: str, measure: str = "MRR@10") -> pd.DataFrame:
    """What a system gains over a baseline on each query both were scored on, averaged over seeds.

    Returns:
        Rows `setting, query_lang, doc_lang, qid, difference` (−1 to 1).

    Raises:
        CslabError: for a system that was not scored.
    """
    for name in (system, baseline):
        if name not in set(scores["system"]):
            known = nearest(name, list(dict.fromkeys(scores["system"])))
            raise CslabError(f"the scores have no system '{name}'; {known}")
    kept = of_measure(scores[scores["system"].isin([system, baseline])], measure)
    both = per_query(kept, measure).dropna()
    return (both[system] - both[baseline]).rename("difference").reset_index()


def binned(
    table: pd.DataFrame,
    column: str = "difference",
    edges: Sequence[float] = EDGES,
    level: float = 0.95,
    rounds: int = 2000,
) -> pd.DataFrame:
    """Means of a column by lexical overlap, with bootstrap intervals; empty bins are left out.

    Args:
        table: rows with `overlap` and the column, such as `differences(…).merge(overlaps(task))`.
        column: what is averaged; shown ×100.
        edges: of the bins (low, high]; the first holds its lower edge, too.
        level: of the intervals.
        rounds: resamples.

    Returns:
        Rows `from, to, queries, overlap` (mean), `value, low, high` (×100).
    """
    at = pd.cut(table["overlap"], list(edges), labels=False, include_lowest=True)
    rows = []
    for i, part in table.groupby(at, sort=True):
        low, high = bootstrap_interval(part[column].to_numpy(), level, rounds)
        means = (part["overlap"].mean(), 100 * part[column].mean(), 100 * low, 100 * high)
        rows.append((edges[int(i)], edges[int(i) + 1], len(part), *means))
    return pd.DataFrame(rows, columns=["from", "to", "queries", "overlap", "value", "low", "high"])


def slope(
    table: pd.DataFrame, column: str = "difference", rounds: int = 1000, seed: int = 0
) -> tuple[float, np.ndarray]:
    """By how much a column changes from no overlap to full overlap: the slope of a straight line, least squares.

    Queries are resampled with all their rows, since one question is asked in many language pairs.

    Returns:
        The slope and its bootstrap draws, ×100; not a number where all overlaps are the same.
    """
    x, y = table["overlap"], table[column]
    sums = pd.DataFrame({"qid": table["qid"], "n": 1.0, "x": x, "y": y, "xx": x * x, "xy": x * y})
    parts = sums.groupby("qid", sort=False)[["n", "x", "y", "xx", "xy"]].sum().to_numpy()
    draws = np.random.default_rng(seed).multinomial(len(parts), [1 / len(parts)] * len(parts), rounds)

    def line(totals: np.ndarray) -> np.ndarray:
        n, sx, sy, sxx, sxy = totals.T
        spread = n * sxx - sx * sx
        with np.errstate(divide="ignore", invalid="ignore"):
            return 100 * np.where(spread > 1e-12, (n * sxy - sx * sy) / spread, np.nan)

    return float(line(parts.sum(axis=0)[None])[0]), line(draws @ parts)
