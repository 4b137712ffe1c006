"""Token ids of short strings as they come out inside a text: the ground of switching in token-id space.

A text is cut before each space that follows a non-space. Tokenizers that never join characters across such a place give
a text the ids of its parts in a row, so a part can be exchanged without tokenising the rest. `unfit` says whether a
tokenizer is of that kind, and if not why. A part is encoded between two plain words, which are cut off again, so that
prefix spaces, word-start marks and stripping at the ends of a text come out as they do in place.

    bank = Bank(backend(tokenizer))
    bank.add([("The", FIRST), (" fox,", MIDDLE)])    # array([0, 1]): numbers of the two entries
    bank.ids[bank.starts[1] : bank.starts[1] + bank.lengths[1]]
"""

import json
import re
from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np

from cslab.store import CslabError

# Where in its text a part stands: bit 0 for the beginning, bit 1 for the end.
MIDDLE, FIRST, LAST, ONLY = range(4)

# A part begins at a space after a non-space; runs of blanks stay together.
CUT = re.compile(r"(?<=\S)(?= )")

_LEFT, _RIGHT = "a", " a"
_SPLITTING = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
_LOCAL = {"BertNormalizer", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Precompiled", "Nmt", "Strip"}
_PROBES = (
    "a b",
    "a. b",
    "1 2",
    "a, (b",
    "don't (it's) 'so'",
    "x\n y",
    "é ø ß",
    "红 狐",
    "a - b",
    "🦊 🦊",
    "و ,ب",
    "$5 %x",
)


class UnfitError(Exception):
    """A string whose ids cannot be told apart from its surroundings."""


def backend(tokenizer: Any) -> Any:
    """A copy of the `tokenizers` object of a transformers tokenizer that neither truncates nor pads.

    A copy, because each call of the tokenizer with truncation or padding leaves them set in the original.

    Raises:
        CslabError: for a pure Python tokenizer.
    """
    from tokenizers import Tokenizer

    fast = getattr(tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise CslabError(f"{type(tokenizer).__name__} has no fast backend; load it with use_fast=True or convert it")
    own = Tokenizer.from_str(fast.to_str())
    own.no_truncation()
    own.no_padding()
    return own


def unfit(fast: Any) -> str | None:
    """Why a `tokenizers` object does not allow switching in token-id space, or None if it does."""
    parts = json.loads(fast.to_str())
    model, normalizer, pre = parts["model"], parts.get("normalizer"), parts.get("pre_tokenizer")
    if model["type"] not in ("WordPiece", "Unigram", "BPE", "WordLevel"):
        return f"its model {model['type']} is not known"
    if model.get("dropout"):
        return "its BPE drops merges at random"
    if bad := _not_local(normalizer):
        return f"its normalizer {bad} may change text across a space"
    if not _splits(pre, fast):
        return f"its pre-tokenizer {pre['type'] if pre else 'none'} does not always split before a space"
    if bad := next((token["content"] for token in parts["added_tokens"] if re.search(r"\s", token["content"])), None):
        return f"its added token {bad!r} holds a blank"
    return None


def _not_local(normalizer: dict[str, Any] | None) -> str | None:
    if normalizer is None or normalizer["type"] in _LOCAL:
        return None
    if normalizer["type"] == "Sequence":
        return next((bad for part in normalizer["normalizers"] if (bad := _not_local(part))), None)
    if normalizer["type"] == "Replace":
        # One character, or a run of blanks: neither reaches over a cut, which has a non-space before it.
        pattern = normalizer["pattern"]
        local = len(pattern.get("String", "..")) == 1 or pattern.get("Regex") in (r" {2,}", r"\s+", " +", r"\s{2,}")
        return None if local else f"Replace {pattern}"
    return normalizer["type"]


def _splits(pre: dict[str, Any] | None, fast: Any) -> bool:
    if pre is None:
        return False
    kind = pre["type"]
    if kind == "Sequence":
        return any(_splits(part, fast) for part in pre["pretokenizers"])
    if kind == "Metaspace":
        return pre.get("split", True)
    if kind == "ByteLevel":
        return pre.get("use_regex", True)
    if kind == "CharDelimiterSplit":
        return pre["delimiter"] == " "
    if kind == "Split":
        return all(_splits_probe(fast, probe) for probe in _PROBES)
    return kind in _SPLITTING


def _splits_probe(fast: Any, probe: str) -> bool:
    # A pattern cannot be known beforehand: it is tried out.
    found = [offsets for _, offsets in fast.pre_tokenizer.pre_tokenize_str(probe)]
    cuts = [match.start() for match in CUT.finditer(probe)]
    return all(not start < cut < end for start, end in found for cut in cuts)


class Bank:
    """A growing store of token-id strings: entry `n` is `ids[starts[n] : starts[n] + lengths[n]]`.

    Entries never change, so what refers to them holds while others are added.
    """

    def __init__(self, fast: Any) -> None:
        self.fast = fast
        self.ids, self.starts, self.lengths = np.zeros(1024, np.int32), np.zeros(64, np.int64), np.zeros(64, np.int32)
        self._entries = self.size = 0
        contents = [token.content for token in self.fast.get_added_tokens_decoder().values()]
        # Added tokens are looked for before anything else, some of them after normalisation: any case is too much.
        self.added = re.compile("|".join(map(re.escape, contents)) or r"(?!)", re.IGNORECASE)
        (self._left, pair) = self.encoded([_LEFT, _LEFT + _RIGHT])
        self._right = pair[len(self._left) :]

    def __len__(self) -> int:
        return self._entries

    def __getitem__(self, entry: int) -> np.ndarray:
        return self.ids[self.starts[entry] : self.starts[entry] + self.lengths[entry]]

    def encoded(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts, without special tokens."""
        return [one.ids for one in self.fast.encode_batch_fast(texts, add_special_tokens=False)]

    def keep(self, runs: Sequence[Sequence[int]]) -> np.ndarray:
        """Stores runs of token ids; returns the numbers of their entries, int32."""
        return np.array([self._store(run) for run in runs], np.int32)

    def add(self, parts: Sequence[tuple[str, int]]) -> np.ndarray:
        """Stores (string, place) parts, each distinct one once.

        Returns:
            The numbers of their entries, int32; -1 for a part that is unfit.
        """
        new = list(dict.fromkeys(parts))
        found = zip(new, self._in_place(new), strict=True)
        numbers = {part: -1 if ids is None else self._store(ids) for part, ids in found}
        return np.fromiter(map(numbers.__getitem__, parts), np.int32, len(parts))

    def first(self, entries: int) -> "Bank":
        """A bank of the first entries alone; this one stays as it is for what refers to it."""
        bank = copy(self)
        bank._entries, bank.size = entries, int(self.lengths[:entries].sum())
        bank.ids, bank.starts = self.ids[: bank.size].copy(), self.starts[:entries].copy()
        bank.lengths = self.lengths[:entries].copy()
        return bank

    def _in_place(self, parts: Sequence[tuple[str, int]]) -> list[list[int] | None]:
        texts = [
            ("" if place & FIRST else _LEFT) + string + ("" if place & LAST else _RIGHT) for string, place in parts
        ]
        found: list[list[int] | None] = []
        for (string, place), ids in zip(parts, self.encoded(texts), strict=True):
            start = 0 if place & FIRST else len(self._left)
            end = len(ids) - (0 if place & LAST else len(self._right))
            framed = ids[:start] == self._left[:start] and ids[end:] == self._right[: len(ids) - end]
            found.append(ids[start:end] if framed and start <= end and not self.added.search(string) else None)
        return found

    def _store(self, ids: Sequence[int]) -> int:
        number, end = self._entries, self.size + len(ids)
        # Arrays are replaced, never resized: another thread may be reading the old ones.
        if end > len(self.ids):
            self.ids = np.concatenate([self.ids, np.zeros(max(end, len(self.ids)), np.int32)])
        if number == len(self.starts):
            more = np.zeros(max(64, number), np.int64)
            self.starts = np.concatenate([self.starts, more])
            self.lengths = np.concatenate([self.lengths, more.astype(np.int32)])
        self.ids[self.size : end] = ids
        self.starts[number], self.lengths[number] = self.size, len(ids)
        self._entries, self.size = number + 1, end
        return number
