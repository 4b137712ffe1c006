"""Pairs put together from token ids.

A re-ranker meets each query a thousand times and each document often. So texts are tokenised once, apart, into flat
arrays (in memory here, on disk in `token_store`), and a pair is laid out from two rows, with the tokenizer's own
special tokens. The ids are exactly those of `tokenizer(query, document, truncation=…)`.

    tokens = pair_tokens(tokenizer, [("who ate it?", "The fox did."), ("who ate it?", "Not me.")], max_length=64)
    tokens.lengths                                # array([11, 10])
    tokens.batch([0, 1])                          # {"input_ids": tensor(2, 11), "attention_mask": …}
"""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import numpy as np
import torch

from cslab.store import CslabError, nearest
from cslab.switching.layout import Frame, kept_lengths, segments, spread

Progress = Callable[[str], None]  # called with one line of plain text, now and then
BLOCK = 4096  # texts tokenised at a time; the tokenizers library keeps kilobytes of each while it works

# --- texts ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tokens:
    """Token ids of many texts, without special tokens: text `i` is `ids[starts[i]:starts[i + 1]]`.

    Attributes:
        ids: int32, flat; in memory or mapped from a file.
        starts: int64, one more than texts.
    """

    ids: np.ndarray
    starts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.diff(self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        return self.ids[self.starts[row] : self.starts[row + 1]]

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Tokens of some texts."""
        return self.starts[rows + 1] - self.starts[rows]

    def take(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The first `counts` ids of some texts, one text after another."""
        return self.ids[spread(self.starts[rows], counts)]


@dataclass(frozen=True)
class JoinedTokens:
    """Several `Tokens` read as one: the rows of the second follow those of the first."""

    parts: tuple[Tokens, ...]

    @cached_property
    def offsets(self) -> np.ndarray:
        """The first row of each part."""
        return np.cumsum([0, *map(len, self.parts[:-1])])

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """Tokens of some texts."""
        found = np.zeros(len(rows), np.int64)
        for part, mine, within in self._split(rows):
            found[mine] = part.counts(within)
        return found

    def take(self, rows: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """The first `counts` ids of some texts, one text after another."""
        starts = np.cumsum(counts) - counts
        found = np.zeros(int(counts.sum()), np.int32)
        for part, mine, within in self._split(rows):
            found[spread(starts[mine], counts[mine])] = part.take(within, counts[mine])
        return found

    def _split(self, rows: np.ndarray) -> Iterator[tuple[Tokens, np.ndarray, np.ndarray]]:
        owners = np.searchsorted(self.offsets, rows, side="right") - 1
        for number, part in enumerate(self.parts):
            mine = np.flatnonzero(owners == number)
            if len(mine):
                yield part, mine, rows[mine] - self.offsets[number]


def backend(tokenizer: Any) -> Any:
    """The `tokenizers` object behind a tokenizer of transformers, set to neither pad nor truncate.

    Calls of the tokenizer leave their padding and truncation in it, and saved ones carry those of whoever saved them.

    Raises:
        CslabError: for a tokenizer that is pure Python.
    """
    found = getattr(tokenizer, "backend_tokenizer", None)
    if found is None:
        raise CslabError(
            f"{type(tokenizer).__name__} has no fast tokenizer; save one as tokenizer.json beside the model"
        )
    found.no_padding()
    found.no_truncation()
    return found


def with_state(tokenizer: Any, state: Mapping[str, Any]) -> Any:
    """A copy of a tokenizer of transformers that cuts text as another state of its `tokenizer.json` says."""
    from tokenizers import Tokenizer

    tokenizer = copy.deepcopy(tokenizer)
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(state))
    return tokenizer


def word_cutter(tokenizer: Any) -> Callable[[str], list[str]]:
    """A function that gives the words of a text as a tokenizer writes and cuts them, before it makes pieces of them."""
    fast = backend(tokenizer)
    normalizer, cutter = fast.normalizer, fast.pre_tokenizer

    def cut(text: str) -> list[str]:
        normal = normalizer.normalize_str(text) if normalizer else text
        return [word for word, _ in cutter.pre_tokenize_str(normal)] if cutter else [normal]

    return cut


def tokenizer_key(tokenizer: Any) -> str:
    """A hash of everything that decides the ids of a text."""
    return blake2b(backend(tokenizer).to_str().encode(), digest_size=8).hexdigest()


def token_blocks(tokenizer: Any, texts: Iterable[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields (ids int32, lengths int64) of some thousand texts at a time, whole and without special tokens."""
    fast, texts = backend(tokenizer), iter(texts)
    while block := list(islice(texts, BLOCK)):
        rows = [one.ids for one in fast.encode_batch_fast(block, add_special_tokens=False)]
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        yield np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum())), lengths


def tokenise(tokenizer: Any, texts: Iterable[str]) -> Tokens:
    """Tokenises texts into memory."""
    blocks = [(np.zeros(0, np.int32), np.zeros(1, np.int64)), *token_blocks(tokenizer, texts)]
    ids, lengths = (np.concatenate(arrays) for arrays in zip(*blocks, strict=True))
    return Tokens(ids, np.cumsum(lengths))


# --- pairs ---------------------------------------------------------------------------------------------------


def _second_cut(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    left = room - first
    if (lost := np.flatnonzero((left < 1) & (first + second > room))).size:
        raise CslabError(
            f"a query of {int(first[lost[0]])} tokens leaves no room for its document among {room}; "
            "raise max_length, or truncate longest_first"
        )
    return first, np.minimum(second, left)


# Tokens kept of each text of a pair, from their lengths and the room: as the tokenizers library cuts.
TRUNCATIONS = {"longest_first": kept_lengths, "only_second": _second_cut}


def checked_truncation(truncation: str) -> str:
    """The name of a truncation, if it is one.

    Raises:
        CslabError: for another.
    """
    if truncation not in TRUNCATIONS:
        raise CslabError(f"truncation '{truncation}' is not known; {nearest(truncation, list(TRUNCATIONS))}")
    return truncation


@dataclass(frozen=True)
class PairTokens:
    """Pairs as rows into tokenised queries and documents; tensors are made batch by batch."""

    queries: Tokens | JoinedTokens
    documents: Tokens | JoinedTokens
    query_rows: np.ndarray
    document_rows: np.ndarray
    frame: Frame
    max_length: int
    truncation: str = "longest_first"

    def __post_init__(self) -> None:
        checked_truncation(self.truncation)
        self.frame.check(self.max_length)

    def __len__(self) -> int:
        return len(self.query_rows)

    @cached_property
    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens kept of each pair's query and document."""
        lengths = self.queries.counts(self.query_rows), self.documents.counts(self.document_rows)
        left, right = TRUNCATIONS[self.truncation](*lengths, self.max_length - self.frame.extra)
        return left.astype(np.int32), right.astype(np.int32)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each pair after truncation, special tokens included."""
        return self.kept[0] + self.kept[1] + np.int32(self.frame.extra)

    def batch(self, rows: Sequence[int] | np.ndarray, multiple: int = 1) -> dict[str, torch.Tensor]:
        """Lays pairs out as tensors, padded on the right to the longest (and to a multiple of `multiple`).

        Returns:
            `input_ids`, `attention_mask` and, for encoders with segments, `token_type_ids`; each rows × length, int64.
        """
        rows = np.asarray(rows)
        width = -(-int(self.lengths[rows].max()) // multiple) * multiple
        columns = np.arange(width, dtype=np.int32)
        inside = columns < self.lengths[rows][:, None]
        ids = np.full(inside.shape, self.frame.pad_id, np.int64)
        # Row by row the tokens of all pairs are one run: a single assignment puts them in place.
        ids[inside] = self._run(rows)
        arrays = {"input_ids": ids, "attention_mask": inside.astype(np.int64)}
        if self.frame.segments is not None:
            arrays["token_type_ids"] = segments(self.frame, self.kept[0][rows], self.kept[1][rows], columns)
        return {name: torch.from_numpy(array) for name, array in arrays.items()}

    def _run(self, rows: np.ndarray) -> np.ndarray:
        """The tokens of some pairs, one pair after another."""
        f, (left, right) = self.frame, (kept[rows].astype(np.int64) for kept in self.kept)
        total = left + right + f.extra
        run, begin = np.empty(int(total.sum()), np.int64), np.cumsum(total) - total
        first, between = begin + len(f.before), begin + len(f.before) + left
        second, after = between + len(f.between), begin + total - len(f.after)
        for special, start in ((f.before, begin), (f.between, between), (f.after, after)):
            for place, token in enumerate(special):
                run[start + place] = token
        run[spread(first, left)] = self.queries.take(self.query_rows[rows], left)
        run[spread(second, right)] = self.documents.take(self.document_rows[rows], right)
        return run


def pair_tokens(
    tokenizer: Any, pairs: Sequence[tuple[str, str]], max_length: int, truncation: str = "longest_first"
) -> PairTokens:
    """Tokenises the distinct queries and documents of pairs once.

    Raises:
        CslabError: for a `max_length` that leaves no room beside the special tokens.
    """
    sides = []
    for side in (0, 1):
        rows: dict[str, int] = {}
        order = np.fromiter((rows.setdefault(pair[side], len(rows)) for pair in pairs), np.int64, len(pairs))
        sides.append((tokenise(tokenizer, rows), order))
    (queries, query_rows), (documents, document_rows) = sides
    frame = Frame.of(tokenizer, backend(tokenizer))
    return PairTokens(queries, documents, query_rows, document_rows, frame, max_length, truncation)


def token_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:
    """Cuts pairs into batches of like length, longest first, of at most `budget` tokens padding included.

    Where to cut is decided for the least cost, which is that of all tokens, padding included, and of starting each
    batch (as much as a 32nd of a full one). So many pairs need next to no padding, and a few share a batch.

    The longest come first so that a batch that does not fit the memory fails at once, not after an hour.

    >>> [b.tolist() for b in token_batches(np.array([3, 9, 4, 9, 3]), budget=18)]
    [[1, 3], [2], [0, 4]]
    >>> [b.tolist() for b in token_batches(np.array([3, 9, 4, 9, 3]), budget=64)]
    [[1, 3], [2, 0, 4]]
    """
    order, start = np.argsort(-lengths, kind="stable"), budget / 32
    longest, counts = np.unique(lengths, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])  # pairs shorter than each length
    cost, cut = np.zeros(len(longest) + 1), np.zeros(len(longest) + 1, np.int64)
    for end, length in enumerate(longest.tolist(), start=1):
        pairs = below[end] - below[:end]
        costs = cost[:end] + pairs * length + start * -(-pairs // max(1, budget // max(1, length)))
        cut[end] = costs.argmin()
        cost[end] = costs[cut[end]]
    batches, end = [], len(longest)
    while end:
        group = order[len(order) - below[end] : len(order) - below[cut[end]]]
        full = max(1, budget // max(1, int(longest[end - 1])))
        batches += np.array_split(group, -(-len(group) // full))
        end = cut[end]
    return batches
