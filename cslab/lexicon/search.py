"""Exact top-k search over word vectors in blocks: nearest neighbours, CSLS and the inverted softmax.

Works on torch tensors, on the CPU or CUDA, with memory bounded by `budget` whatever the number of words. What makes it
fast is the selection: the maxima of short chunks of columns are taken in one pass over a block of similarities, and
only chunks that can hold one of the k best are looked at again. Equal scores are ordered by row number.

    similarities, rows = nearest_rows(source, target, k=10)
    scores, rows = csls_rows(source, target, k=10, neighbours=10)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

BUDGET = 256 << 20  # bytes of one block of similarities
_CHUNK = 64  # columns that share one maximum
_SPARE = 6  # chunks looked at beyond the k that must be

Progress = Callable[[float], None]


class Found(NamedTuple):
    """The k best keys of each query: scores and row numbers, both (queries, k), best first."""

    scores: torch.Tensor
    rows: torch.Tensor


def unit_rows(matrix: np.ndarray | torch.Tensor, device: str | torch.device = "cpu") -> torch.Tensor:
    """The rows of a matrix as float32 of length one; rows of zeros, or with values not finite, become zeros."""
    if isinstance(matrix, torch.Tensor):
        rows = matrix.detach().to(device, torch.float32, copy=True)
    else:
        rows = torch.from_numpy(np.array(matrix, dtype=np.float32)).to(device)  # a copy: the source may be a file
    for part in rows.split(8192):
        # Divided by the largest value first, so that squares neither overflow nor vanish.
        peak = part.abs().amax(1, keepdim=True) if part.numel() else part
        part.div_(peak.clamp_min(torch.finfo(torch.float32).tiny))
        part.div_(part.norm(dim=1, keepdim=True).clamp_min(1e-12))
        part[~torch.isfinite(part).all(1)] = 0
    return rows


def nearest_rows(
    queries: torch.Tensor, keys: torch.Tensor, k: int, budget: int = BUDGET, progress: Progress | None = None
) -> Found:
    """The k keys with the largest product for each query; cosines, where both have unit rows.

    Args:
        queries: (n, d) float32.
        keys: (m, d) float32 on the same device.
        k: how many; at most m are given.
        budget: bytes of one block of products.
        progress: called with the share done.
    """
    return rank_rows(queries, keys, k, None, 0, budget, progress)[0]


def mean_nearest(
    queries: torch.Tensor, keys: torch.Tensor, k: int, budget: int = BUDGET, progress: Progress | None = None
) -> torch.Tensor:
    """r(x), the mean cosine of each query to its k nearest keys, (n,); 1710.04087 section 2.3."""
    return nearest_rows(queries, keys, k, budget, progress).scores.mean(1)


def csls_rows(
    queries: torch.Tensor,
    keys: torch.Tensor,
    k: int,
    neighbours: int = 10,
    background: torch.Tensor | None = None,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> Found:
    """The k keys with the largest CSLS(x, y) = 2 cos(x, y) − r_T(x) − r_S(y); 1710.04087 equation 3.

    Args:
        queries: (n, d) unit rows: mapped source words x.
        keys: (m, d) unit rows: target words y.
        k: how many; at most m are given.
        neighbours: K of r_T and r_S.
        background: (s, d) unit rows of all mapped source words, over which r_S is taken; the queries if None.
        budget: bytes of one block of products.
        progress: called with the share done.
    """
    half = (lambda at: lambda share: progress(at + share / 2)) if progress else (lambda at: None)
    penalty = mean_nearest(keys, queries if background is None else background, neighbours, budget, half(0)) / 2
    found, r_target = rank_rows(queries, keys, k, penalty, neighbours, budget, half(0.5))
    return Found(2 * found.scores - r_target[:, None], found.rows)


def softmax_rows(
    queries: torch.Tensor,
    keys: torch.Tensor,
    k: int,
    beta: float = 30.0,
    background: torch.Tensor | None = None,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> Found:
    """The k keys with the largest exp(β cos(x, y)) / Σ_x' exp(β cos(x', y)); 1702.03859 equation 5.

    Args: as for `csls`; x' runs over `background`.
    """
    half = (lambda at: lambda share: progress(at + share / 2)) if progress else (lambda at: None)
    total = log_sums(keys, queries if background is None else background, beta, budget, half(0))
    found, _ = rank_rows(queries, keys, k, total / beta, 0, budget, half(0.5))
    return Found(torch.exp(beta * found.scores), found.rows)


def log_sums(
    keys: torch.Tensor, others: torch.Tensor, beta: float, budget: int = BUDGET, progress: Progress | None = None
) -> torch.Tensor:
    """log Σ_x' exp(β cos(x', y)) of each key y over `others`, (m,): the denominator of the inverted softmax."""
    total = keys.new_empty(len(keys))
    for start, block in blocks(keys, others, budget, progress):
        total[start : start + len(block)] = block.mul_(beta).logsumexp(1)
    return total


def blocks(queries: torch.Tensor, keys: torch.Tensor, budget: int = BUDGET, progress: Progress | None = None):
    """Yields (first query, products of a block of queries with all keys); the block's memory is used again."""
    size = max(1, min(len(queries), budget // max(1, 4 * len(keys))))
    buffer = keys.new_empty(size, len(keys))
    flipped = keys.t()
    for start in range(0, len(queries), size):
        part = queries[start : start + size]
        yield start, torch.mm(part, flipped, out=buffer[: len(part)])
        if progress:
            progress(min(1.0, (start + size) / len(queries)))


def rank_rows(
    queries: torch.Tensor,
    keys: torch.Tensor,
    k: int,
    penalty: torch.Tensor | None = None,
    neighbours: int = 0,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> tuple[Found, torch.Tensor]:
    """The pass under all the rankings: the k largest products less the key's penalty, and means of bare products.

    Args:
        queries: (n, d).
        keys: (m, d).
        k: how many; at most m are given.
        penalty: (m,) what is taken off the products with each key; nothing if None.
        neighbours: how many of the largest bare products of each query to average; none if 0.
        budget: bytes of one block of products.
        progress: called with the share done.

    Returns:
        The k best keys of each query, and the averages, (n,).
    """
    k, neighbours = min(k, len(keys)), min(neighbours, len(keys))
    scores = keys.new_empty(len(queries), k)
    rows = torch.empty(len(queries), k, dtype=torch.long, device=keys.device)
    means = keys.new_zeros(len(queries))
    order = None
    if penalty is not None:
        # In order of penalty the keys of a chunk have nearly one penalty, so that its bound is tight.
        penalty, order = penalty.sort(stable=True)
        keys = keys[order]
    padding = -len(keys) % _CHUNK
    real = len(keys)
    if padding:
        keys = torch.cat([keys, keys.new_zeros(padding, keys.shape[1])])
        penalty = None if penalty is None else torch.cat([penalty, penalty[-1:].expand(padding)])
    for start, block in blocks(queries, keys, budget, progress):
        block[:, real:] = -torch.inf
        maxima = block.view(len(block), -1, _CHUNK).amax(2)
        part = slice(start, start + len(block))
        scores[part], rows[part] = _select(block, maxima, k, penalty, order)
        if neighbours:
            means[part] = _select(block, maxima, neighbours, None, None)[0].mean(1)
    return Found(scores, rows), means


def _select(
    block: torch.Tensor, maxima: torch.Tensor, k: int, penalty: torch.Tensor | None, order: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row of a block, less the column's penalty; columns are named by `order`."""
    bounds = maxima if penalty is None else maxima - penalty.view(-1, _CHUNK)[:, 0]
    width = min(k + (1 if penalty is None else _SPARE), bounds.shape[1])
    some_left = width < bounds.shape[1]
    best = bounds.topk(width + some_left)
    chunks = best.indices[:, :width]
    values = block.view(len(block), -1, _CHUNK).gather(1, chunks[:, :, None].expand(-1, -1, _CHUNK))
    if penalty is not None:
        values = values - penalty.view(-1, _CHUNK)[chunks]
    found = values.flatten(1).topk(min(k + 1, width * _CHUNK))
    scores, places = found.values[:, :k], found.indices[:, :k]
    columns = chunks.gather(1, places // _CHUNK) * _CHUNK + places % _CHUNK
    columns = columns if order is None else order[columns]
    # A row is settled if its k-th value is above all others: those looked at, and the bounds of the rest.
    unsure = found.values[:, -1] >= scores[:, -1] if found.values.shape[1] > k else scores[:, -1] != scores[:, -1]
    if some_left:
        unsure |= best.values[:, -1] >= scores[:, -1]
    if unsure.any():
        where = unsure.nonzero()[:, 0]
        scores[where], columns[where] = _select_slowly(block, where, k, penalty, order)
    columns, by_column = columns.sort(1)
    scores, by_score = scores.gather(1, by_column).sort(dim=1, descending=True, stable=True)
    return scores, columns.gather(1, by_score)


def _select_slowly(
    block: torch.Tensor, where: torch.Tensor, k: int, penalty: torch.Tensor | None, order: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `_select`, over whole rows; of equal values on the edge those with the lowest column are taken."""
    scores, columns = [], []
    for some in where.split(64):  # few rows at a time: whole rows are copied
        values = block[some] if penalty is None else block[some] - penalty
        if order is not None:
            placed = torch.full_like(values, -torch.inf)
            placed[:, order] = values[:, : len(order)]
            values = placed
        edge = values.topk(k).values[:, -1:]
        above, level = values > edge, values == edge
        wanted = above | (level & (level.cumsum(1) <= k - above.sum(1, keepdim=True)))
        found = wanted.nonzero()[:, 1].view(len(some), k)
        scores.append(values.gather(1, found))
        columns.append(found)
    return torch.cat(scores), torch.cat(columns)
