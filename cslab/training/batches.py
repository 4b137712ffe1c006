"""Batches for training: which pairs, in which order, as padded tensors.

The order is a pure function of (seed, step). Each epoch is a permutation of the pairs, cut into *windows* of some
dozens of batches. The pairs of a window are read together (`reading`), sorted by length, cut into batches of a fixed
number of pairs, and the batches shuffled. So padding is small, lengths are those of the very text that is trained
on, and an interrupted training needs only its step number to go on with the same batches. What is left over at the end
of an epoch (less than one batch) waits for the next permutation. For a loss that compares the pairs of a group, groups
are permuted, sorted (by their longest pair) and shared among processes as wholes.

    >>> plan = Plan(pairs=10, batch=2, window=3, seed=0)
    >>> plan.place(4), plan.place(5)                     # (epoch, window, batch in the window) of a step
    ((0, 1, 1), (1, 0, 0))
    >>> sorted(np.concatenate([plan.rows(0, 0), plan.rows(0, 1)]).tolist()) == list(range(10))
    True
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from cslab.ahead import ahead
from cslab.store import CslabError
from cslab.training.conditions import SourceTexts
from cslab.training.pairs import Pairs, generator
from cslab.training.reading import PairTexts, Read, reading


@dataclass(frozen=True)
class Batch:
    """One step's share of pairs, or a part of it.

    Attributes:
        step: counted from 0.
        epoch: of the texts.
        rows: indices of the pairs.
        inputs: padded tensors.
        labels: (pairs,).
        tokens: how many are no padding.
        squares: sum of the squared lengths, which attention takes time for.
        part: (number, of how many) among the parts whose gradients are added up.
    """

    step: int
    epoch: int
    rows: np.ndarray
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    tokens: int
    squares: int = 0
    part: tuple[int, int] = (0, 1)

    @property
    def last(self) -> bool:
        """Whether the step's update follows."""
        return self.part[0] + 1 == self.part[1]

    def pinned(self, device: torch.device) -> "Batch":
        """The batch in memory that a GPU reads by itself; for the CPU as it is."""
        return self._each(torch.Tensor.pin_memory) if device.type == "cuda" else self

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device; from pinned memory, so that copying does not hold up what is launched next."""
        return self.pinned(device)._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        inputs = {name: change(tensor) for name, tensor in self.inputs.items()}
        return replace(self, inputs=inputs, labels=change(self.labels))


@dataclass(frozen=True)
class Plan:
    """The order of training: `pairs` pairs, `batch` of them a step, sorted by length within `window` batches.

    Groups of `group` pairs that follow one another stay together.
    """

    pairs: int
    batch: int
    window: int
    seed: int
    group: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.pairs:
            raise CslabError(f"training: batches of {self.batch} from {self.pairs} pairs; lower the batch or add pairs")
        if self.batch % self.group:
            near = max(1, round(self.batch / self.group)) * self.group
            raise CslabError(
                f"training: batches of {self.batch} pairs cannot hold whole groups of {self.group}; use {near}"
            )

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self.pairs // self.batch

    @property
    def windows(self) -> int:
        """Windows in an epoch."""
        return -(-self.steps // self.window)

    def place(self, step: int) -> tuple[int, int, int]:
        """(epoch, window, batch within the window) of a step."""
        epoch, within = divmod(step, self.steps)
        return epoch, *divmod(within, self.window)

    def rows(self, epoch: int, window: int) -> np.ndarray:
        """The pairs of a window."""
        start = window * self.window * self.batch
        stop = min(start + self.window * self.batch, self.steps * self.batch)
        groups = _permutation(self.pairs // self.group, self.seed, epoch)[start // self.group : stop // self.group]
        return self._whole(groups)

    def cut(self, epoch: int, window: int, lengths: np.ndarray) -> list[np.ndarray]:
        """Places within the window, batch by batch: like lengths together, batches in random order."""
        longest = lengths.reshape(-1, self.group).max(1)
        order = self._whole(np.argsort(longest, kind="stable")).reshape(-1, self.batch)
        return list(order[generator("batches", self.seed, epoch, window).permutation(len(order))])

    def share(self, chosen: np.ndarray, number: int, count: int) -> np.ndarray:
        """The share of a batch that process `number` of `count` takes: every `count`-th group, so lengths are alike."""
        return chosen.reshape(-1, self.group)[number::count].reshape(-1)

    def _whole(self, groups: np.ndarray) -> np.ndarray:
        return (groups[:, None] * self.group + np.arange(self.group)).reshape(-1)


@lru_cache(maxsize=2)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return generator("epoch", seed, epoch).permutation(count)


@dataclass(frozen=True)
class _Windows:
    """Makes windows: (epoch, number) → indices of pairs, and for each batch its places and tokens; a pure function.

    Steps before `begin` are read by `early`. A window with steps of both kinds is cut by the lengths of the later ones.
    """

    plan: Plan
    read: Read
    early: Read
    begin: int

    def __call__(self, epoch: int, number: int) -> tuple[np.ndarray, list[tuple[np.ndarray, Any]]]:
        rows, first = self.plan.rows(epoch, number), epoch * self.plan.steps + number * self.plan.window
        before = min(max(0, self.begin - first), len(rows) // self.plan.batch)  # batches
        early = self.early(epoch, rows) if before else None
        tokens = early if before * self.plan.batch == len(rows) else self.read(epoch, rows)
        cut = self.plan.cut(epoch, number, tokens.lengths)
        return rows, [(places, early if place < before else tokens) for place, places in enumerate(cut)]


def batches(
    plan: Plan,
    pairs: Pairs,
    texts: PairTexts,
    tokenizer: Any,
    max_length: int,
    steps: range,
    shard: tuple[int, int] = (0, 1),
    multiple: int = 1,
    parts: int = 1,
    workers: int = 0,
    unswitched: int = 0,
) -> Generator[Batch, None, None]:
    """Yields the batches of some steps; coming windows are made while this one is trained on.

    Args:
        plan: the order.
        pairs: ids and labels.
        texts: what each pair reads in an epoch.
        tokenizer: of the encoder.
        max_length: tokens of a pair.
        steps: consecutive steps.
        shard: (number, of how many): this process's share of every batch.
        multiple: pad lengths to a multiple of this.
        parts: cut a step's share into this many batches of like length, one after the other.
        workers: processes that make windows; 0 for a thread.
        unswitched: steps, from the first of all, that read texts as they are before they are switched.
    """
    needed = list(dict.fromkeys(plan.place(step)[:2] for step in steps))
    read = early = reading(texts, tokenizer, max_length, (len(needed), plan.windows))
    if unswitched and isinstance(texts, SourceTexts) and texts.switcher is not None:
        early = reading(replace(texts, switcher=None), tokenizer, max_length)
    with ahead(_Windows(plan, read, early, unswitched), needed, workers) as windows:
        current = None
        for step in steps:
            epoch, number, place = plan.place(step)
            if (epoch, number) != current:
                current, (rows, cut) = (epoch, number), next(windows)
            places, tokens = cut[place]
            for part, chosen in enumerate(np.split(plan.share(places, *shard), parts)):
                labels = torch.from_numpy(pairs.labels[rows[chosen]].astype(np.float32))
                inputs, size = tokens.batch(chosen, multiple), int(tokens.lengths[chosen].sum())
                squares = int((tokens.lengths[chosen].astype(np.int64) ** 2).sum())
                yield Batch(step, epoch, rows[chosen], inputs, labels, size, squares, (part, parts))
