"""Alignment as an auxiliary of training: each pair is read in two ways, and the model should rank alike by both.

The texts that are trained on (switched or translated, say) are read beside another version of the same pairs (their
original, say). To the loss of the first comes `weight` times the Jensen–Shannon divergence between the two softmax
distributions over each group, and InfoNCE over the second (see `losses.alignment`; after 2604.05684). A step takes
twice as long.

    switched = pair_texts(CONDITIONS["ML-CS"], pairs, collection, lexicons, seed=1)
    plain = pair_texts(CONDITIONS["Zero-shot"], pairs, collection, {}, seed=1)
    train(encoder, pairs, switched, settings, folder, Alignment(plain, pairs, encoder.tokenizer, 128, weight=0.5))
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor, nn

from cslab.training.batches import Batch
from cslab.training.losses import alignment, check_positives, kl, lce
from cslab.training.pairs import Pairs
from cslab.training.reading import PairTexts, Read, reading, texts_key


@dataclass(frozen=True)
class Alignment:
    """Takes the place of the plain step; asks for whole groups whatever the loss is.

    Attributes:
        texts: the other reading of the pairs.
        pairs: what is trained on.
        tokenizer: of the encoder.
        max_length: tokens of a pair.
        weight: of the auxiliary beside the loss.
        taught: whether labels are a teacher's scores: the other reading then learns them by KL divergence, not InfoNCE.
    """

    texts: PairTexts
    pairs: Pairs
    tokenizer: Any
    max_length: int
    weight: float = 1.0
    taught: bool = False
    grouped: bool = True

    def __post_init__(self) -> None:
        if not self.taught:
            check_positives(self.pairs.labels, self.pairs.group, "the alignment")

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return ["alignment", self.weight, texts_key(self.texts)]

    @cached_property
    def _read(self) -> Read:
        return reading(self.texts, self.tokenizer, self.max_length)

    def __call__(self, model: nn.Module, batch: Batch, objective: Any, backward: Callable[[Tensor], None]) -> Tensor:
        """One forward pass per reading, one backward pass."""
        tokens, device = self._read(batch.epoch, batch.rows), batch.labels.device
        other = {name: tensor.to(device) for name, tensor in tokens.batch(np.arange(len(batch.rows))).items()}
        logits = objective.logits(batch.inputs)
        groups = (part.view(-1, self.pairs.group) for part in (logits, objective.logits(other), batch.labels))
        right = kl if self.taught else lce
        loss = objective.loss(logits) + self.weight * alignment(*groups, right=right)
        backward(loss)
        return loss
