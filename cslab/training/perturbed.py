"""Training on moved embeddings: RS-RP, FGM, PGD, FreeLB and SMART as three small adversaries.

Each is called in place of the plain step (`cslab.training.loop.Adversary`). Step sizes and starts are in radii of the
ball. With a radius of 0 each is the plain step, bit for bit; all passes of a step draw the same dropout.

    attack = Perturbed(Ball(0.1), special, steps=1, step=1.0, start=0.0, clean=0.5)      # FGM
    train(encoder, pairs, texts, settings, folder, adversary=attack)
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from cslab.store import CslabError, nearest
from cslab.training.ball import MOVED, Ball, Fields, SameDropout, alone, plain_step
from cslab.training.batches import Batch
from cslab.training.loop import Objective

Backward = Callable[[Tensor], None]


@dataclass(frozen=True)
class _Moving:
    """What the three share: a ball, an ascent in it, and the plain step where the ball is a point.

    Attributes:
        ball: where delta may lie.
        special: ids of tokens that never move.
        steps: of ascent.
        step: length of one, in radii.
        start: radius of the ball that delta's start is drawn from, in radii; 0 starts at the text itself.
        moved: a row of `MOVED`: the text's embeddings, those of its image, or both.
    """

    ball: Ball
    special: frozenset[int]
    steps: int
    step: float
    start: float
    moved: str = field(default="text", kw_only=True)

    def __post_init__(self) -> None:
        if self.moved not in MOVED:
            raise CslabError(f"robust training: moved '{self.moved}' is not known; {nearest(str(self.moved), MOVED)}")

    @property
    def key(self) -> Any:
        """What tells it from others: its settings."""
        return [type(self).__name__, {f.name: getattr(self, f.name) for f in fields(self) if f.name != "special"}]

    def __call__(self, model: nn.Module, batch: Batch, objective: Objective, backward: Backward) -> Tensor:
        """One step's gradients; returns the loss."""
        if not self.ball.epsilon:
            return plain_step(batch, objective, backward)
        fields = Fields.of(model, batch, objective, self.ball, self.special, self.moved)
        return self._gradients(model, batch, objective, backward, fields)

    def _gradients(
        self, model: nn.Module, batch: Batch, objective: Objective, backward: Backward, fields: Fields
    ) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True)
class Perturbed(_Moving):
    """The loss at a point found by projected gradient ascent: RS-RP (no steps), FGM (one) and PGD (several).

    The objective is `clean` · L(e) + (1 - `clean`) · L(e + delta).

    Attributes: as in `_Moving`, and
        clean: weight of the clean loss; 0 leaves it out.
    """

    clean: float

    def _gradients(
        self, model: nn.Module, batch: Batch, objective: Objective, backward: Backward, fields: Fields
    ) -> Tensor:
        again = SameDropout(batch.labels.device)
        move, gradient, value = fields.drawn(self.start) if self.start else fields.zero(), None, 0.0
        if self.clean:
            # The gradient at the text itself comes with the clean loss, at no cost.
            unmoved = fields.zero()
            with fields.shifted(model, unmoved):
                loss = objective(batch.inputs)
                backward(self.clean * loss)
            value, gradient = self.clean * loss.detach(), None if self.start else [part.grad for part in unmoved]
        for _ in range(self.steps):
            if gradient is None:
                again()
                with fields.shifted(model, move):
                    gradient = torch.autograd.grad(alone(objective)(batch.inputs), move)
            move, gradient = fields.climbed(move, gradient, self.step), None
        again()
        with fields.shifted(model, move, fixed=True):
            loss = objective(batch.inputs)
            backward((1 - self.clean) * loss)
        return value + (1 - self.clean) * loss.detach()


@dataclass(frozen=True)
class FreeLB(_Moving):
    """The mean loss along the ascent (1909.11764): each pass gives the weights' gradient and the next step's at once.

    The objective is `clean` · L(e) + (1 - `clean`) · mean over t of L(e + delta_t), t = 0 … `steps` - 1.

    Attributes: as in `Perturbed`; `steps` counts passes, so there are `steps` - 1 ascents.
    """

    clean: float

    def _gradients(
        self, model: nn.Module, batch: Batch, objective: Objective, backward: Backward, fields: Fields
    ) -> Tensor:
        again = SameDropout(batch.labels.device)
        move, value = fields.drawn(self.start) if self.start else fields.zero(), 0.0
        if self.clean:
            loss = objective(batch.inputs)
            backward(self.clean * loss)
            value = self.clean * loss.detach()
        weight = (1 - self.clean) / self.steps
        for number in range(self.steps):
            again()
            with fields.shifted(model, move):
                loss = objective(batch.inputs)
                backward(weight * loss)
            value = value + weight * loss.detach()
            if number + 1 < self.steps:
                move = fields.climbed(move, [part.grad for part in move], self.step)
        return value


def bernoulli(first: Tensor, second: Tensor) -> Tensor:
    """Symmetrised Kullback-Leibler divergence of two logits read as Bernoulli probabilities, averaged over pairs.

    KL(p‖q) + KL(q‖p) of Bernoulli variables is (p - q)(logit p - logit q).

    >>> bernoulli(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 2.0])).item()
    0.0
    """
    return ((first.sigmoid() - second.sigmoid()) * (first - second)).mean()


def squared(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared difference of logits."""
    return (first - second).square().mean()


def softmax(first: Tensor, second: Tensor) -> Tensor:
    """Symmetrised Kullback-Leibler divergence of the softmax over the last dimension, averaged over rows.

    KL(p‖q) + KL(q‖p) = Σ (p - q)(log p - log q): for logits of a text and all images of its batch, which InfoNCE ranks.

    >>> softmax(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 3.0]])).item()      # only differences count
    0.0
    """
    first, second = first.log_softmax(-1), second.log_softmax(-1)
    return ((first.exp() - second.exp()) * (first - second)).sum(-1).mean()


DIVERGENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bernoulli": bernoulli,
    "squared": squared,
    "softmax": softmax,
}


@dataclass(frozen=True)
class Smooth(_Moving):
    """SMART's smoothness (1911.03437, equation 2) and VAT: L(e) + `weight` · max over delta of D(f(e), f(e + delta)).

    Attributes: as in `_Moving`, and
        weight: of the smoothness.
        divergence: a row of `DIVERGENCES`.
    """

    weight: float
    divergence: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in DIVERGENCES:
            raise CslabError(
                f"smart: divergence '{self.divergence}' is not known; {nearest(self.divergence, list(DIVERGENCES))}"
            )

    def _gradients(
        self, model: nn.Module, batch: Batch, objective: Objective, backward: Backward, fields: Fields
    ) -> Tensor:
        again = SameDropout(batch.labels.device)
        differ = DIVERGENCES[self.divergence]
        logits = objective.logits(batch.inputs)
        # The divergence is flat at the text itself: the ascent has to start beside it.
        move = fields.drawn(self.start)
        for _ in range(self.steps):
            again()
            with fields.shifted(model, move):
                difference = differ(logits.detach(), alone(objective).logits(batch.inputs))
                gradient = torch.autograd.grad(difference, move)
            move = fields.climbed(move, gradient, self.step)
        again()
        with fields.shifted(model, move, fixed=True):
            value = objective.loss(logits) + self.weight * differ(logits, objective.logits(batch.inputs))
            backward(value)
        return value.detach()
