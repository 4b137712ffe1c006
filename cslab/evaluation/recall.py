"""Retrieval with one right item per query, as images and captions are judged: ranks, R@k, median rank, rank variance.

Reads vectors; scores all queries against all keys in blocks of bounded memory, and keeps nothing but the rank of each
query's best right key. Two training-free corrections of hubs (keys that are near to everything) take a penalty off
each key: CSLS (1710.04087) and the inverted softmax (1702.03859), over a bank of queries.

    >>> import torch
    >>> captions, images = torch.eye(3)[[0, 1, 1]], torch.eye(3)
    >>> ranks(captions, images, [0, 1, 2]).tolist()        # the third caption belongs to the third image
    [1, 1, 3]
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from cslab.evaluation.measures import COLUMNS, of_measure
from cslab.evaluation.significance import bootstrap_interval
from cslab.lexicon.search import BUDGET, blocks, log_sums, mean_nearest
from cslab.store import CslabError, nearest

CUTS = (1, 5, 10)
CORRECTIONS = ("csls", "softmax")


def ranks(
    queries: torch.Tensor,
    keys: torch.Tensor,
    query_items: Sequence[int] | None = None,
    key_items: Sequence[int] | None = None,
    penalty: torch.Tensor | None = None,
    budget: int = BUDGET,
) -> np.ndarray:
    """The rank, from 1, of each query's best right key among all keys.

    A wrong key with the same score stands before the right one: what cannot be told apart is not found.

    Args:
        queries: (n, d) float32, usually of unit rows.
        keys: (m, d) float32 on the same device.
        query_items: item of each query (row number, if None).
        key_items: item of each key (row number, if None); keys of the query's item are right.
        penalty: (m,) taken off the products with each key, see `hub_penalty`.
        budget: bytes of one block of products.

    Returns:
        (n,) int64.

    Raises:
        CslabError: if a query has no right key.
    """
    asked = np.arange(len(queries)) if query_items is None else np.asarray(query_items)
    places = torch.from_numpy(_right_keys(asked, np.arange(len(keys)) if key_items is None else np.asarray(key_items)))
    places = places.to(queries.device)
    found = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    for start, block in blocks(queries, keys, budget):
        if penalty is not None:
            block -= penalty
        at = places[start : start + len(block)]
        right = block.gather(1, at.clamp_min(0)).masked_fill(at < 0, -torch.inf)
        best = right.amax(1, keepdim=True)
        # Counted with the right keys among them, which are then taken off again.
        found[start : start + len(block)] = 1 + (block >= best).sum(1) - (right >= best).sum(1)
    return found.cpu().numpy()


def reranked_ranks(found: np.ndarray, right: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Ranks after each query's first k keys have been put in a new order; what stood behind them stays where it was.

    Args:
        found: (n,) ranks before, as of `ranks`.
        right: (n, k) bool: which of its first k keys are the query's own.
        scores: (n, k) that order them anew; a wrong key with the same score stands before the right one.

    >>> reranked_ranks(np.array([2, 7]), np.array([[False, True], [False, False]]), np.array([[0.1, 0.9], [0.5, 0.2]]))
    array([1, 7])
    """
    best = np.where(right, scores, -np.inf).max(axis=1)
    ahead = ((scores >= best[:, None]) & ~right).sum(axis=1)
    return np.where(right.any(axis=1), 1 + ahead, found)


def _right_keys(asked: np.ndarray, held: np.ndarray) -> np.ndarray:
    """(queries, most keys of an item): rows of the right keys, filled up with -1."""
    order = np.argsort(held, kind="stable")
    ordered = held[order]
    first, last = np.searchsorted(ordered, asked, "left"), np.searchsorted(ordered, asked, "right")
    if len(lost := np.flatnonzero(first == last)):
        raise CslabError(f"query {lost[0]} belongs to item {asked[lost[0]]}, which no key shows; leave it out")
    at = first[:, None] + np.arange(int((last - first).max(initial=0)))
    return np.where(at < last[:, None], order[np.minimum(at, len(order) - 1)], -1)


def hub_penalty(
    keys: torch.Tensor,
    bank: torch.Tensor,
    method: str = "csls",
    neighbours: int = 10,
    beta: float = 30.0,
    budget: int = BUDGET,
) -> torch.Tensor:
    """What to take off the cosines with each key, so that hubs are not found by everybody.

    Args:
        keys: (m, d) unit rows: what is searched.
        bank: (s, d) unit rows: typical queries, e.g. training captions, or those of the test all together.
        method: `csls`, half the mean cosine of a key to its nearest queries (2 cos − r_T − r_S ranks as cos − r_S / 2),
            or `softmax`, log Σ exp(β cos) / β over the bank.
        neighbours: K of CSLS.
        beta: β of the inverted softmax.
        budget: bytes of one block of products.

    Returns:
        (m,) float32.

    Raises:
        CslabError: for another method.
    """
    if method not in CORRECTIONS:
        raise CslabError(f"hubness correction '{method}' is not known; {nearest(method, CORRECTIONS)}")
    if method == "csls":
        return mean_nearest(keys, bank, neighbours, budget) / 2
    return log_sums(keys, bank, beta, budget) / beta


# --- scores --------------------------------------------------------------------------------------------------


def rank_scores(
    found: np.ndarray,
    qids: Sequence[str],
    system: str,
    query_lang: str,
    doc_lang: str,
    seed: int = 0,
    kind: str = "T2I",
    cuts: Sequence[int] = CUTS,
) -> pd.DataFrame:
    """Ranks as rows of the tidy score table: `R@k` (the right item is among the first k: 0 or 1) and `Rank`.

    Args:
        found: (n,) ranks.
        qids: (n,) ids of the queries.
        system: name for the table.
        query_lang, doc_lang: language codes, or `image`.
        seed: the system's training seed.
        kind: what stands in the column `setting`: T2I, I2T, or CLIR between captions.
        cuts: the k of R@k.
    """
    head = dict(zip(COLUMNS, (system, seed, kind, query_lang, doc_lang), strict=False))
    parts = [pd.DataFrame({"qid": list(qids), "measure": f"R@{k}", "value": (found <= k).astype(float)}) for k in cuts]
    parts.append(pd.DataFrame({"qid": list(qids), "measure": "Rank", "value": found.astype(float)}))
    return pd.concat(parts, ignore_index=True).assign(**head)[COLUMNS]


def recall_table(scores: pd.DataFrame, rounds: int = 1000) -> pd.DataFrame:
    """One row per system, setting and language: R@k ×100 with the 95 % bootstrap interval of R@1, median rank.

    Args:
        scores: rows of `rank_scores`; values are averaged over seeds before they are resampled by query.
        rounds: bootstrap resamples.
    """
    keys = ["system", "setting", "query_lang", "doc_lang"]
    named = [m for m in dict.fromkeys(scores["measure"]) if m.startswith("R@")]
    rows = []
    for cell, group in scores.groupby(keys, sort=False):
        values = group.pivot_table(index="qid", columns="measure", values="value", aggfunc="mean", sort=False)
        low, high = bootstrap_interval(values[named[0]].to_numpy(), rounds=rounds)
        row = dict(zip(keys, cell, strict=True)) | {m: 100 * values[m].mean() for m in named}
        mean = float(np.mean([row[m] for m in named]))
        row |= {"low": 100 * low, "high": 100 * high, "mean recall": mean}
        rows.append(row | {"median rank": float(values["Rank"].median()), "queries": len(values)})
    return pd.DataFrame(rows)


def mean_recall(table: pd.DataFrame, languages: Sequence[str], target: str = "image") -> pd.DataFrame:
    """Mean recall of each system and language over both ways, the mean of six figures (R@1, 5, 10; T2I and I2T).

    Args:
        table: of `recall_table`.
        languages: which to show, as columns.
        target: what captions ask for: `image`, or the language of other captions.
    """
    lang = table["query_lang"].where(table["query_lang"] != target, table["doc_lang"])
    wide = table.assign(language=lang).pivot_table(
        index="system", columns="language", values="mean recall", aggfunc="mean", sort=False
    )
    return wide[[code for code in languages if code in wide]]


def rank_variance(scores: pd.DataFrame, languages: Sequence[str], limit: int | None = None) -> pd.Series:
    """Mean rank variance by system: how differently one item is found when it is asked for in different languages.

    The variance of the ranks of a query over languages (population variance), averaged over queries (the idea of MRV,
    2406.18254, section 4). Query ids must mean the same item in all languages.

    Args:
        scores: rows of `rank_scores` of one way of asking.
        languages: query languages to compare; queries that lack one of them are left out.
        limit: ranks beyond it count as it, so that a few lost items do not decide; None for no limit.

    Raises:
        CslabError: if no query is asked in all the languages.
    """
    rows = of_measure(scores, "Rank")
    rows = rows[rows["query_lang"].isin(languages)]
    wide = rows.pivot_table(index=["system", "qid"], columns="query_lang", values="value", aggfunc="mean", sort=False)
    wide = wide.reindex(columns=list(languages)).dropna()
    if wide.empty:
        raise CslabError(f"no query is asked in all of {', '.join(languages)}; name fewer languages")
    clipped = wide.clip(upper=limit).to_numpy() if limit else wide.to_numpy()
    return pd.Series(clipped.var(axis=1), index=wide.index).groupby("system", sort=False).mean()
