"""Gradient-guided switching: which words to exchange, and for which translation, by the loss's first order.

HotFlip (1712.06751) over the lexicon's candidates, in token-id space. One backward pass gives the gradient at every
token embedding; exchanging tokens `old` for `new` is then worth gradient · (E[new] - E[old]), to first order. All
candidates of all words of a batch are valued with array operations, and the best are exchanged together. Where a
candidate has another number of tokens, each old token is compared with the new one at the same relative place.

    attack = OnText(GradientGuided(given.ids(), pairs, share=0.5, switched=True), clean=0.5)
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cslab.switching.draw import SIDES, Side
from cslab.switching.feed import PairIds
from cslab.switching.layout import Drawn, kept_lengths, lay_out, spread
from cslab.switching.tokens import Slots
from cslab.training.ball import embedding_table
from cslab.training.batches import Batch
from cslab.training.loop import Objective
from cslab.training.pairs import Pairs
from cslab.training.variants import Inputs, on_device, width_unit

_BLOCK = 1 << 14  # rows of embeddings compared at a time


@dataclass(frozen=True)
class GradientGuided:
    """Exchanges, in each text, the words that the gradient says raise the loss most.

    Attributes:
        ids: the pairs in token-id space.
        pairs: their ids.
        share: of a text's words that have candidates, how many may be exchanged.
        switched: whether the batch's text is the switched one of `ids` (else it is the source text).
    """

    ids: PairIds
    pairs: Pairs
    share: float
    switched: bool
    guided = True

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return ["guided", self.share, self.switched, self.ids.tokens.policy.to_dict()]

    def __call__(self, model: nn.Module, batch: Batch, objective: Objective, gradient: Tensor | None) -> Inputs:
        """The text with the exchanges made."""
        slots = {side: self._slots(side, batch) for side in SIDES}
        frame, lengths = self.ids.frame, [slots[side].drawn.lengths for side in SIDES]
        kept = kept_lengths(*lengths, self.ids.max_length - frame.extra)
        starts = len(frame.before), len(frame.before) + kept[0] + len(frame.between)
        table, made = embedding_table(model).weight.detach(), []
        for side, start, room in zip(SIDES, starts, kept, strict=True):
            gains = _gains(slots[side], np.broadcast_to(start, room.shape), room, gradient, table)
            made.append(_exchanged(slots[side], gains, self.share))
        arrays = lay_out(frame, *(text.tokens for text in made), self.ids.max_length, width_unit(batch))
        return on_device({name: torch.from_numpy(array) for name, array in arrays.items()}, batch)

    def _slots(self, side: Side, batch: Batch) -> Slots:
        ids = (self.pairs.qids if side == "query" else self.pairs.dids)[batch.rows].tolist()
        return self.ids.tokens.slots(side, ids, self.ids.seed, batch.epoch, self.switched)


def _owners(drawn: Drawn) -> np.ndarray:
    """For each entry the number of its text; -1 for entries of no text."""
    owners = np.full(len(drawn.entries), -1)
    owners[spread(drawn.starts, drawn.counts)] = np.repeat(np.arange(len(drawn)), drawn.counts)
    return owners


def _offsets(drawn: Drawn) -> np.ndarray:
    """For each entry the number of tokens of its text before it."""
    lengths = drawn.bank.lengths[drawn.entries].astype(np.int64)
    before = np.cumsum(lengths) - lengths
    owners = _owners(drawn)
    return before - before[drawn.starts[owners]]


def _gains(slots: Slots, starts: np.ndarray, room: np.ndarray, gradient: Tensor, table: Tensor) -> np.ndarray:
    """What each exchange is worth to first order; -inf where its word is cut off.

    Args:
        slots: texts, one per pair, and the exchanges.
        starts: column of each text's first token in the batch.
        room: tokens of each text that are in the batch.
        gradient: (pairs, width, dimensions), of the loss at the token embeddings.
        table: (tokens, dimensions).
    """
    drawn, bank, texts = slots.drawn, slots.drawn.bank, _owners(slots.drawn)[slots.places]
    old, offsets = drawn.entries[slots.places], _offsets(slots.drawn)[slots.places]
    counts, wanted = bank.lengths[old].astype(np.int64), bank.lengths[slots.entries].astype(np.int64)
    gains = np.full(len(texts), -np.inf)
    usable = np.flatnonzero((texts >= 0) & (offsets + counts <= room[texts]) & (counts > 0) & (wanted > 0))
    ends = np.cumsum(counts[usable])
    for block in np.split(usable, np.searchsorted(ends, np.arange(_BLOCK, int(ends[-1]) if len(ends) else 0, _BLOCK))):
        number = spread(np.zeros(len(block), np.int64), counts[block])  # of the token within its part
        owner = np.repeat(block, counts[block])
        new = bank.ids[bank.starts[slots.entries[owner]] + (2 * number + 1) * wanted[owner] // (2 * counts[owner])]
        before = bank.ids[bank.starts[old[owner]] + number]
        columns = starts[texts[owner]] + offsets[owner] + number
        there, rows = gradient[_on(gradient, texts[owner]), _on(gradient, columns)].float(), _on(table, owner)
        step = table[_on(table, new)].float() - table[_on(table, before)].float()
        total = torch.zeros(len(texts), device=table.device).index_add_(0, rows, (there * step).sum(dim=1))
        gains[block] = total.cpu().numpy()[block]
    return gains


def _on(tensor: Tensor, index: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(index, np.int64)).to(tensor.device)


def _exchanged(slots: Slots, gains: np.ndarray, share: float) -> Drawn:
    """The texts with, in each, its best `share` of words exchanged, each for its best candidate, where that gains."""
    drawn, texts = slots.drawn, _owners(slots.drawn)
    possible = np.flatnonzero(np.isfinite(gains))
    best = possible[np.lexsort((-gains[possible], slots.places[possible]))]
    best = best[np.unique(slots.places[best], return_index=True)[1]]  # one candidate a word
    owners = texts[slots.places[best]]
    limits = np.floor(share * np.bincount(owners, minlength=len(drawn)) + 1e-9)
    best = best[np.lexsort((-gains[best], owners))]
    owners = texts[slots.places[best]]
    firsts = np.searchsorted(owners, np.arange(len(drawn)))
    chosen = best[(np.arange(len(best)) - firsts[owners] < limits[owners]) & (gains[best] > 0)]
    entries = drawn.entries.copy()
    entries[slots.places[chosen]] = slots.entries[chosen]
    lengths = np.bincount(texts[texts >= 0], weights=drawn.bank.lengths[entries[texts >= 0]], minlength=len(drawn))
    return replace(drawn, entries=entries, lengths=lengths.astype(np.int64))
