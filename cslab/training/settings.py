"""How to train, as one record, and the learning rate that follows from it.

>>> TrainSettings(steps=200, warmup=0.1).warmup_steps
20
"""

import math
from dataclasses import dataclass, fields

from cslab.ranking.precision import PRECISIONS
from cslab.store import CslabError, nearest
from cslab.training.losses import LOSSES

# Where the learning rate would reach zero, in multiples of `steps`. The paper sized the decay for 20 M pairs in batches
# of 64, which is 312,500 steps, and stopped after 200,000, at 37 % of the peak.
SCHEDULES = {"linear": 1.0, "paper": 312_500 / 200_000, "cosine": 1.0}

# Settings that change the pace or the reports of a training, never its result.
HARMLESS = ("log_every", "save_every", "workers")


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are the paper's where a small run can follow it.

    Attributes:
        steps: updates.
        batch: pairs in an update, of all processes and accumulated parts together.
        lr: peak learning rate.
        warmup: updates until the peak; below 1 a share of `steps` (the paper: 5,000 of 200,000).
        schedule: "linear" or "cosine" decay to zero, or the "paper"'s linear one, which stops early.
        weight_decay: of AdamW; biases and LayerNorm have none.
        clip: largest norm of the gradient.
        max_length: tokens of a pair.
        loss: a row of `cslab.training.losses.LOSSES`.
        precision: "auto", "fp32" or "bf16".
        train_embeddings: False freezes the table of token embeddings (and saves its gradient, norm and update).
        frozen_layers: layers, from the first, that are not trained, nor the embeddings below them. A step costs less,
            and an encoder forgets less of other languages (Wu and Dredze 2019).
        seed: of order, dropout and nothing else; the head's is `load_encoder`'s, the switching's is `pair_texts`'.
        window: batches that are sorted by length together.
        accumulate: parts of an update whose gradients are added up, for batches that do not fit the memory.
        compile: whether `torch.compile` makes the forward and backward pass; pays on GPUs, after a slow start. Small
            encoders get CUDA graphs as well (see `cslab.training.compiling`).
        workers: processes that switch and tokenise windows ahead; 0 for a thread of this process.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; 0 for none.
        evaluate_every: steps between evaluations on dev pairs; 0 for none.
        clean_steps: updates before an adversary takes part; until then a training is its plain counterpart, to the bit.
        unswitched_steps: updates that read the texts as they are, before switching sets in; of no other texts' concern.
            An encoder that breaks foreign words into letters may learn nothing from switched text at first.
        patience: evaluations without a better one after which training stops; 0 for never.
    """

    steps: int = 1000
    batch: int = 32
    lr: float = 2e-5
    warmup: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    max_length: int = 128
    loss: str = "bce"
    precision: str = "fp32"
    train_embeddings: bool = True
    frozen_layers: int = 0
    seed: int = 0
    window: int = 32
    accumulate: int = 1
    compile: bool = False
    workers: int = 0
    log_every: int = 20
    save_every: int = 200
    evaluate_every: int = 0
    clean_steps: int = 0
    unswitched_steps: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("schedule", SCHEDULES), ("loss", LOSSES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise CslabError(f"training: {name} '{value}' is not known; {nearest(str(value), list(allowed))}")
        for name in ("steps", "batch", "lr", "clip", "max_length", "window", "accumulate", "log_every"):
            if not getattr(self, name) > 0:
                raise CslabError(f"training: {name} is {getattr(self, name)}; it must be above 0")
        counts = (
            "frozen_layers",
            "workers",
            "save_every",
            "evaluate_every",
            "clean_steps",
            "unswitched_steps",
            "patience",
        )
        for name in ("warmup", "weight_decay", *counts):
            if not getattr(self, name) >= 0:
                raise CslabError(f"training: {name} is {getattr(self, name)}; it must not be negative")
        for field in fields(self):
            if field.type is int and not isinstance(getattr(self, field.name), int):
                raise CslabError(f"training: {field.name} is {getattr(self, field.name)}; it must be a whole number")
        if self.clean_steps and self.clean_steps >= self.steps:
            raise CslabError(
                f"training: clean_steps is {self.clean_steps} of {self.steps} steps; leave some for the robust method"
            )
        if self.patience and not self.evaluate_every:
            raise CslabError(f"training: patience is {self.patience} but evaluate_every is 0; set both, or neither")

    @property
    def warmup_steps(self) -> int:
        """Updates until the learning rate is at its peak."""
        return round(self.warmup * self.steps) if self.warmup < 1 else round(self.warmup)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The learning rate of an update, counted from 0: linear warm-up, then the schedule's decay.

    >>> s = TrainSettings(steps=10, warmup=2, lr=1.0)
    >>> [round(learning_rate(step, s), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.125]
    >>> round(learning_rate(199_999, TrainSettings(steps=200_000, warmup=5000, lr=1.0, schedule="paper")), 3)
    0.366
    >>> s = TrainSettings(steps=10, warmup=2, lr=1.0, schedule="cosine")
    >>> [round(learning_rate(step, s), 3) for step in (1, 2, 4, 6, 9)]
    [1.0, 1.0, 0.854, 0.5, 0.038]
    """
    warm = settings.warmup_steps
    if step < warm:
        return settings.lr * (step + 1) / warm
    end = SCHEDULES[settings.schedule] * settings.steps
    left, whole = end - step, max(1.0, end - warm)
    if settings.schedule == "cosine":
        return settings.lr * (1 - math.cos(math.pi * left / whole)) / 2
    return settings.lr * left / whole
