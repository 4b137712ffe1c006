"""Texts as runs of bank entries, and pairs of them laid out as the tokenizer lays them out.

Special tokens, truncation, padding and segments are the tokenizer's own:

    frame = Frame.of(tokenizer, backend(tokenizer))
    arrays = lay_out(frame, queries.tokens, documents.tokens, max_length=128)
    arrays["input_ids"].shape                         # (pairs, longest of them)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from cslab.store import CslabError
from cslab.switching.bank import Bank


class Tokens(NamedTuple):
    """Texts as token ids: text `n` begins at `ids[starts[n]]`.

    `lengths` are the tokens of the whole texts, though some may be left out at their ends.
    """

    ids: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    def at(self, rows: np.ndarray) -> "Tokens":
        """Some of the texts."""
        return Tokens(self.ids, self.starts[rows], self.lengths[rows])


@dataclass(frozen=True)
class Drawn:
    """Texts as runs of bank entries: text `n` is `counts[n]` entries from `entries[starts[n]]` on.

    `lengths` are the tokens of the whole texts, though entries may be left out at their ends.
    """

    bank: Bank
    entries: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        """The token ids of a text."""
        run = self.entries[self.starts[row] : self.starts[row] + self.counts[row]]
        return self.bank.ids[spread(self.bank.starts[run], self.bank.lengths[run])]

    @property
    def tokens(self) -> Tokens:
        """The token ids of all texts."""
        run = self.entries[spread(self.starts, self.counts)]
        lengths = self.bank.lengths[run]
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        starts = ends[np.cumsum(self.counts) - self.counts]
        return Tokens(self.bank.ids[spread(self.bank.starts[run], lengths)], starts, self.lengths)

    @classmethod
    def merged(cls, bank: Bank, count: int, groups: Sequence[tuple[np.ndarray, "Drawn"]]) -> "Drawn":
        """Groups of texts, each with its places among all, together; the last group of a place holds."""
        if len(groups) == 1 and len(groups[0][1]) == count:
            return groups[0][1]
        arrays, base = np.zeros((3, count), np.int64), 0
        for places, group in groups:
            arrays[:, places] = group.starts + base, group.counts, group.lengths
            base += len(group.entries)
        return cls(bank, np.concatenate([np.zeros(0, np.int32), *(group.entries for _, group in groups)]), *arrays)


@dataclass(frozen=True)
class Frame:
    """Special tokens before, between and after the two texts of a pair, and the segment number of each place."""

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    segments: tuple[tuple[int, ...], int, tuple[int, ...], int, tuple[int, ...]] | None
    pad_id: int
    pad_segment: int

    @property
    def extra(self) -> int:
        """Special tokens of a pair."""
        return len(self.before) + len(self.between) + len(self.after)

    def check(self, max_length: int) -> None:
        """Makes sure that a pair of so many tokens can hold one of each text.

        Raises:
            CslabError: if it cannot.
        """
        if max_length < self.extra + 2:
            raise CslabError(f"max_length {max_length} leaves no room beside {self.extra} special tokens; raise it")

    @classmethod
    def of(cls, tokenizer: Any, fast: Any) -> "Frame":
        """Reads the frame off a pair laid out by a tokenizer and its backend.

        Raises:
            CslabError: for a tokenizer without padding token, with left padding or truncation, or another order.
        """
        name = type(tokenizer).__name__
        if tokenizer.pad_token_id is None:
            raise CslabError(f"{name} has no padding token; set tokenizer.pad_token")
        if "left" in (tokenizer.padding_side, tokenizer.truncation_side):
            raise CslabError(f"{name} pads or truncates on the left; set its padding_side and truncation_side to right")
        probe = fast.encode("a", "b")
        places = [-1 if place is None else place for place in probe.sequence_ids]
        one, two = (np.flatnonzero(np.array(places) == number) for number in (0, 1))
        if not len(one) or not len(two) or one[-1] > two[0]:
            raise CslabError(f"{name} does not lay a pair out as first, second; use another tokenizer")
        cuts = slice(0, one[0]), slice(one[-1] + 1, two[0]), slice(two[-1] + 1, None)
        before, between, after = (tuple(probe.ids[cut]) for cut in cuts)
        kinds = [tuple(probe.type_ids[cut]) for cut in cuts]
        segments = (kinds[0], probe.type_ids[one[0]], kinds[1], probe.type_ids[two[0]], kinds[2])
        has = "token_type_ids" in tokenizer.model_input_names
        pad = tokenizer.pad_token_id, tokenizer.pad_token_type_id
        return cls(before, between, after, segments if has else None, *pad)


def kept_lengths(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each text that `longest_first` keeps in `room`: the longer gives way, down to half each.

    >>> kept_lengths(np.array([3, 3, 9]), np.array([4, 20, 9]), room=11)
    (array([3, 3, 5]), array([4, 8, 6]))
    """
    short = np.minimum(first, second)
    fits, half = first + second <= room, room // 2
    # The second of two equally long texts counts as the longer one.
    shorter, longer = np.where(short > half, half, short), np.where(short > half, room - half, room - short)
    swapped = first > second
    return (
        np.where(fits, first, np.where(swapped, longer, shorter)),
        np.where(fits, second, np.where(swapped, shorter, longer)),
    )


def spread(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The indices of runs, one after another: run `n` is `starts[n], starts[n] + 1, …`, `counts[n]` of them.

    >>> spread(np.array([5, 0]), np.array([2, 3]))
    array([5, 6, 0, 1, 2])
    """
    if not counts.all():
        starts, counts = starts[counts > 0], counts[counts > 0]
    if not len(counts):
        return np.zeros(0, np.int64)
    # Steps of one within a run and jumps between runs, summed up: half the time of repeating each start.
    ends = np.cumsum(counts, dtype=np.int64)
    steps = np.ones(ends[-1], np.int64)
    steps[0] = starts[0]
    steps[ends[:-1]] = starts[1:] - starts[:-1] - counts[:-1] + 1
    return np.cumsum(steps, out=steps)


def lay_out(
    frame: Frame, queries: Tokens, documents: Tokens, max_length: int, multiple: int = 1
) -> dict[str, np.ndarray]:
    """Lays out pairs (text `n` of `queries` with text `n` of `documents`), padded on the right.

    Args:
        frame: the tokenizer's.
        queries, documents: as many texts each, of which at least what is kept is there.
        max_length: tokens of a pair, special tokens included.
        multiple: the width is rounded up to a multiple of this.

    Returns:
        `input_ids`, `attention_mask` and, where the encoder has segments, `token_type_ids`: int64, pairs × width.
    """
    left, right = kept_lengths(queries.lengths, documents.lengths, max_length - frame.extra)
    total = left + right + frame.extra
    width = -(-int(total.max()) // multiple) * multiple
    columns = np.arange(width, dtype=np.int32)
    inside = columns < total[:, None].astype(np.int32)
    ids = _ids(frame, queries, documents, left, right, width)
    arrays = {"input_ids": ids, "attention_mask": inside.astype(np.int64)}
    if frame.segments is not None:
        arrays["token_type_ids"] = segments(frame, left, right, columns)
    return arrays


def _ids(
    frame: Frame, queries: Tokens, documents: Tokens, left: np.ndarray, right: np.ndarray, width: int
) -> np.ndarray:
    ids = np.full((len(left), width), frame.pad_id, np.int64)
    one, every = len(frame.before), np.arange(len(left))
    two = one + left + len(frame.between)
    ids[:, :one] = frame.before
    for starts, specials in ((one + left, frame.between), (two + right, frame.after)):
        for offset, number in enumerate(specials):
            ids[every, starts + offset] = number
    # Two copies a row: a third of the time of gathering token by token.
    places = np.stack([queries.starts, left, documents.starts, right, two], axis=1).tolist()
    for row, (query, asked, document, answered, begin) in zip(ids, places, strict=True):
        row[one : one + asked] = queries.ids[query : query + asked]
        row[begin : begin + answered] = documents.ids[document : document + answered]
    return ids


def segments(frame: Frame, left: np.ndarray, right: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Segment numbers of pairs with `left` and `right` tokens of their two texts, at the places `columns`."""
    before, first, between, second, after = frame.segments
    ones = [[(number, 1) for number in numbers] for numbers in (before, between, after)]
    runs = [*ones[0], (first, left), *ones[1], (second, right), *ones[2], (frame.pad_segment, len(columns))]
    made, start = np.zeros((len(left), len(columns)), np.int64), np.zeros(len(left), np.int32)
    # Runs of one number are filled as one; zeros are there already.
    for number, group in groupby(runs, key=lambda run: run[0]):
        end = (start + sum(length for _, length in group)).astype(np.int32)
        if number:
            made[(columns >= start[:, None]) & (columns < end[:, None])] = number
        start = end
    return made
