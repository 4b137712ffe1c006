"""What pairs read, as token ids: the batches that tokenising their texts would give, without tokenising time and again.

Three ways, by what the texts are:

* source text that is switched: in token-id space. To cut a text for that takes as long as to switch and tokenise it
  three times (measured on Natural Questions), so those texts are cut that the windows to come read more often, the
  most read first, up to `CUT` characters. The others are switched and tokenised each time.
* source text and translations as they are: from the store on disk, where the texts lie in one of the encoder's
  tokenizer; else tokenised when first read, and kept until `KEPT` ids are.
* any other function that gives texts: tokenised window by window.

    read = reading(texts, encoder.tokenizer, max_length=128, windows=(12, 3))
    read(0, plan.rows(0, 0)).batch([3, 1, 4])                     # {"input_ids": tensor(3, …), …}
    texts = on_disk(texts, encoder.tokenizer, "outputs/x/tokens")      # where they are too many to be kept
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cslab.ranking.pair_tokens import PairTokens, Progress, backend, pair_tokens, tokenise
from cslab.ranking.token_store import StoredTexts, stored_texts, tokenizer_key
from cslab.switching.draw import SIDES, Side
from cslab.switching.feed import PairIds, Window
from cslab.switching.layout import Frame, Tokens
from cslab.switching.tokens import TokenSwitcher
from cslab.training.conditions import Named, SourceTexts, TranslatedTexts
from cslab.training.pairs import Pairs

# (epoch, indices of pairs) → their (query, document) texts; a pure function, so that order and workers do not matter.
PairTexts = Callable[[int, Sequence[int]], list[tuple[str, str]]]
# (epoch, indices of pairs) → their tokens: lengths, and tensors batch by batch; a pure function likewise.
Read = Callable[[int, np.ndarray], Window | PairTokens]

WORTH = 4  # windows that must read a text for cutting it to pay
CUT = 1 << 24  # characters of cut texts; 6 million of them took 0.22 GB, most of it for distinct words
KEPT = 1 << 25  # token ids kept of texts that are read as they are: 128 MiB in each process that makes windows
MANY = 200_000  # texts from which on ids are worth a place on disk


def reading(texts: PairTexts, tokenizer: Any, max_length: int, windows: tuple[int, int] = (WORTH, 1)) -> Read:
    """How pairs are read.

    Args:
        texts: what each pair reads in an epoch.
        tokenizer: of the encoder.
        max_length: tokens of a pair.
        windows: how many calls will follow, and how many see every pair once; by default all texts are cut that fit.

    Raises:
        CslabError: for a `max_length` that leaves no room beside the special tokens, or a tokenizer without backend.
    """
    if isinstance(texts, SourceTexts) and texts.switcher is not None:
        cut = worth_cutting(texts.pairs, {"query": texts.queries, "document": texts.documents}, windows)
        return Switching(texts.pairs, PairIds(cut_once(texts, tokenizer, cut), max_length, texts.seed))
    if isinstance(texts, SourceTexts | TranslatedTexts):
        return AsTheyAre(texts, tokenizer, max_length)
    return Tokenising(texts, tokenizer, max_length)


def texts_key(texts: PairTexts) -> Any:
    """What tells texts from others of the same pairs, JSON-like: what a checkpoint belongs to."""
    if isinstance(texts, SourceTexts):
        return ["source", texts.seed, texts.switcher and texts.switcher.policy.to_dict()]
    if isinstance(texts, TranslatedTexts):
        return ["translated", texts.seed, texts.directions]
    return part_key(texts)


def part_key(part: Any) -> Any:
    """What tells a part of a training from others, JSON-like: its `key`, else the name of its function or class."""
    return getattr(part, "key", None) or getattr(part, "__qualname__", type(part).__qualname__)


@dataclass(frozen=True)
class Tokenising:
    """Reads any texts by tokenising them."""

    texts: PairTexts
    tokenizer: Any
    max_length: int

    def __call__(self, epoch: int, rows: np.ndarray) -> PairTokens:
        """The tokens of some pairs."""
        return pair_tokens(self.tokenizer, self.texts(epoch, rows.tolist()), self.max_length)


# --- switched ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Switching:
    """Reads source text as it is switched, in token-id space."""

    pairs: Pairs
    ids: PairIds

    def __call__(self, epoch: int, rows: np.ndarray, copy: int = 0) -> Window:
        """The tokens of some pairs; further copies are further draws of the same."""
        return self.ids.window(epoch, self.pairs.qids[rows].tolist(), self.pairs.dids[rows].tolist(), copy)


def cut_once(texts: SourceTexts, tokenizer: Any, cut: Mapping[Side, Sequence[str]]) -> TokenSwitcher:
    """Switched texts in token-id space; whoever reads the same ones next, in any thread, shares what was cut.

    Args:
        texts: with a switcher.
        tokenizer: of the encoder.
        cut: by side, the ids of the texts to cut.
    """
    _, tokens = texts.cuts.get(id(tokenizer), (None, None))
    same = tokens and (tokens.switcher, tokens.texts["query"]) == (texts.switcher, texts.queries)
    if same and tokens.holds(cut):
        return tokens.apart()
    tokens = TokenSwitcher(tokenizer, texts.switcher, texts.queries, texts.documents, cut)
    texts.cuts[id(tokenizer)] = tokenizer, tokens  # with the tokenizer, or its number could become another's
    return tokens


def worth_cutting(
    pairs: Pairs, texts: Mapping[Side, Mapping[str, str]], windows: tuple[int, int] = (WORTH, 1)
) -> dict[Side, list[str]]:
    """The ids of texts that are read often enough, and fit into `CUT`; queries first, which are short.

    Args:
        pairs: what is trained on.
        texts: by side, id → text.
        windows: how many windows will be read, and how many an epoch has.
    """
    count, every = windows
    worth: dict[Side, list[str]] = {side: [] for side in SIDES}
    room = CUT
    for side, ids in zip(SIDES, (pairs.qids, pairs.dids), strict=True):
        for name, times in _counted(ids).most_common():
            # Pairs are shuffled: in so many windows, by expectation, is at least one of a text's pairs.
            if count * (1 - (1 - 1 / every) ** times) < WORTH:
                break
            room -= len(texts[side][name])
            if room < 0:
                break
            worth[side].append(name)
    return worth


def _counted(ids: np.ndarray, block: int = 1 << 16) -> Counter[str]:
    counts: Counter[str] = Counter()
    for start in range(0, len(ids), block):
        counts.update(ids[start : start + block].tolist())
    return counts


# --- as they are ---------------------------------------------------------------------------------------------


class AsTheyAre:
    """Reads text that is not switched: the collection's own, in the source language or others."""

    def __init__(self, texts: SourceTexts | TranslatedTexts, tokenizer: Any, max_length: int) -> None:
        self.texts, self.tokenizer, self.max_length = texts, tokenizer, max_length
        self.frame, self._key = Frame.of(tokenizer, backend(tokenizer)), tokenizer_key(tokenizer)
        self.frame.check(max_length)
        # By side and language: id → the ids as bytes, which take less than half of what an array does.
        self._kept: dict[tuple[Side, str], dict[str, bytes]] = {}
        self._left = KEPT

    def __call__(self, epoch: int, rows: np.ndarray) -> Window:
        """The tokens of some pairs."""
        return self.window(self.texts.named(epoch, rows.tolist()))

    def window(self, chosen: Sequence[tuple[Named, Named]]) -> Window:
        """The tokens of pairs of texts, each by language and id."""
        sides = []
        for number, side in enumerate(SIDES):
            names: dict[Named, int] = {}
            order = np.fromiter((names.setdefault(pair[number], len(names)) for pair in chosen), np.int64, len(chosen))
            sides.append((self._tokens(side, list(names)), order))
        (queries, query_rows), (documents, document_rows) = sides
        return Window(queries, documents, query_rows, document_rows, self.frame, self.max_length)

    def _tokens(self, side: Side, names: Sequence[Named]) -> Tokens:
        by_language: dict[str, list[int]] = {}
        for place, (language, _) in enumerate(names):
            by_language.setdefault(language, []).append(place)
        starts, lengths = np.zeros((2, len(names)), np.int64)
        runs, end = [np.zeros(0, np.int32)], 0
        for language, places in by_language.items():
            ids, lengths[places] = self._of(side, language, [names[place][1] for place in places])
            held = np.minimum(lengths[places], self.max_length)
            starts[places] = end + np.cumsum(held) - held
            runs.append(ids)
            end += len(ids)
        return Tokens(np.concatenate(runs), starts, lengths)

    def _of(self, side: Side, language: str, ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """What a pair can show of some texts, one after another, and how many tokens each has as a whole."""
        texts = self.texts.held(side)[language]
        if isinstance(texts, StoredTexts) and texts.tokenizer == self._key:
            rows = np.array([texts.row(name) for name in ids], np.int64)
            lengths = texts.tokens.counts(rows)
            return texts.tokens.take(rows, np.minimum(lengths, self.max_length)), lengths
        kept = self._kept.setdefault((side, language), {})
        found = {name: data for name in ids if (data := kept.get(name)) is not None}
        if new := [name for name in ids if name not in found]:
            tokens = tokenise(self.tokenizer, (texts[name] for name in new))
            found.update((name, tokens[row].tobytes()) for row, name in enumerate(new))
            self._keep(kept, new, found)
        data = [found[name] for name in ids]
        lengths = np.fromiter(map(len, data), np.int64, len(data)) // 4
        return np.frombuffer(b"".join(one[: 4 * self.max_length] for one in data), np.int32), lengths

    def _keep(self, kept: dict[str, bytes], new: Sequence[str], found: Mapping[str, bytes]) -> None:
        # What is kept stays: every epoch comes by all texts, so making room for the latest would keep none in time.
        for name in new:
            if (size := len(found[name]) // 4) <= self._left:
                kept[name] = found[name]
                self._left -= size


# --- on disk -------------------------------------------------------------------------------------------------


def on_disk(texts: PairTexts, tokenizer: Any, folder: str | Path, progress: Progress | None = None) -> PairTexts:
    """Texts whose ids lie on disk, if they are `MANY` and read as they are; else the texts as given.

    All trainings with the same tokenizer share what lies in the folder.

    Args:
        texts: what each pair reads in an epoch.
        tokenizer: of the encoder.
        folder: where stores lie.
        progress: called with a line of text every few seconds while one is made.
    """
    if not isinstance(texts, SourceTexts | TranslatedTexts) or getattr(texts, "switcher", None) is not None:
        return texts
    if len(_counted(texts.pairs.dids)) * len(texts.held("document")) < MANY:
        return texts
    queries, documents = (
        {code: stored_texts(tokenizer, held, folder, progress) for code, held in texts.held(side).items()}
        for side in SIDES
    )
    return texts.holding(queries, documents)
