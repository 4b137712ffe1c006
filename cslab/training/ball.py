"""Moving token embeddings: which ones, how far, in which direction, and how a forward pass sees it.

The embeddings of a pair are one point; a `Ball` around it says how far it may move, by a norm over all its tokens and
dimensions, per pair and in fp32. Padding and special tokens never move. `shifted` adds the move to what the model's
table of token embeddings gives, so it works with any encoder and leaves positions and segments alone.

>>> ball, move = Ball(epsilon=1.0, relative=False), torch.tensor([[[3.0, 4.0]]])
>>> [round(x, 3) for x in ball.project(move, torch.ones(1, 1, 1)).flatten().tolist()]
[0.6, 0.8]
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cslab.store import CslabError, nearest
from cslab.training.batches import Batch
from cslab.training.loop import Objective

NORMS = ("l2", "linf")

# What is put on the sphere must not lie outside it by rounding.
_INSIDE = 1 - 1e-5


@dataclass(frozen=True)
class Ball:
    """How far the embeddings of one pair may be moved.

    Attributes:
        epsilon: the radius.
        norm: `l2`, over all tokens and dimensions of the pair together, or `linf`, the largest coordinate.
        relative: the radius is in units of the norm of the pair's own embeddings, so that a figure means the same for
            encoders of any scale and for pairs of any length.
    """

    epsilon: float = 0.1
    norm: str = "l2"
    relative: bool = True

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise CslabError(f"ball: norm '{self.norm}' is not known; {nearest(str(self.norm), NORMS)}")
        if not self.epsilon >= 0:
            raise CslabError(f"ball: epsilon is {self.epsilon}; it must not be negative")

    def size(self, move: Tensor) -> Tensor:
        """The norm of each pair's move, fp32, shape (pairs, 1, 1)."""
        flat = move.float().flatten(1)
        size = flat.norm(dim=1) if self.norm == "l2" else flat.abs().amax(dim=1)
        return size[:, None, None]

    def direction(self, gradient: Tensor) -> Tensor:
        """The move of norm 1 that gains most to first order; 0 where there is no gradient."""
        if self.norm == "linf":
            return gradient.float().sign()
        size = self.size(gradient)
        return gradient.float() / size.masked_fill(size == 0, 1.0)

    def project(self, move: Tensor, radius: Tensor) -> Tensor:
        """The nearest move within the radius."""
        if self.norm == "linf":
            return torch.maximum(torch.minimum(move, radius * _INSIDE), -radius * _INSIDE)
        size = self.size(move)
        return torch.where(size > radius * _INSIDE, move * (radius * _INSIDE / size.clamp_min(1e-30)), move)

    def sample(self, mask: Tensor, dimensions: int, generator: torch.Generator) -> Tensor:
        """A move drawn uniformly from the ball of radius 1 of the tokens that `mask` (pairs, width, 1) lets move."""
        shape = (*mask.shape[:2], dimensions)
        if self.norm == "linf":
            return (2 * torch.rand(shape, generator=generator) - 1).to(mask.device) * mask
        draws = self.direction(torch.randn(shape, generator=generator).to(mask.device) * mask)
        # Volume grows with the power of the coordinates that move.
        free = (mask.sum(dim=(1, 2)) * dimensions).clamp_min(1.0)
        share = torch.rand(len(mask), generator=generator).to(mask.device) ** (1 / free)
        return draws * share[:, None, None]


@dataclass(frozen=True)
class Field:
    """The embeddings of a batch: which tokens may move and, per pair, how far."""

    ball: Ball
    mask: Tensor  # (pairs, width, 1): 1 for tokens that may move
    radius: Tensor  # (pairs, 1, 1)
    dimensions: int

    @classmethod
    def of(cls, model: nn.Module, batch: Batch, ball: Ball, special: frozenset[int]) -> "Field":
        """Reads off the batch what may move: tokens that are neither padding nor special."""
        mask = movable(batch, special)[:, :, None].float()
        with torch.no_grad():
            found = embedding_table(model)(batch.inputs["input_ids"]).float() * mask
        radius = ball.epsilon * (ball.size(found) if ball.relative else torch.ones_like(ball.size(found)))
        return cls(ball, mask, radius, found.shape[-1])

    def zero(self) -> Tensor:
        """No move, as a leaf that takes a gradient."""
        return self.leaf(torch.zeros(*self.mask.shape[:2], self.dimensions, device=self.mask.device))

    def drawn(self, share: float = 1.0) -> Tensor:
        """A move drawn from the ball of `share` of the radius; it follows from the seed of the step's dropout."""
        generator = torch.Generator().manual_seed((torch.initial_seed() ^ 0x9E3779B9) % (1 << 63))
        return self.leaf(
            self.ball.project(self.ball.sample(self.mask, self.dimensions, generator) * self.radius, self.radius)
            * share
        )

    def climbed(self, move: Tensor, gradient: Tensor, step: float) -> Tensor:
        """One step of projected ascent; `step` is in radii."""
        further = move.detach() + step * self.radius * self.ball.direction(gradient * self.mask)
        return self.leaf(self.ball.project(further, self.radius))

    @staticmethod
    def leaf(move: Tensor) -> Tensor:
        """The same numbers, with a gradient of their own."""
        return move.detach().requires_grad_()


def special_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of a tokenizer's special tokens; that of unknown words, which are text, is not among them."""
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id}


def movable(batch: Batch, special: frozenset[int]) -> Tensor:
    """Which tokens of a batch are text: neither padding nor special; bool, (pairs, width)."""
    ids = batch.inputs["input_ids"]
    kept = torch.tensor(sorted(special), dtype=ids.dtype, device=ids.device)
    return batch.inputs["attention_mask"].bool() & ~torch.isin(ids, kept)


# --- passes --------------------------------------------------------------------------------------------------


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, where it is wrapped for several processes."""
    return getattr(model, "module", model)


def embedding_table(model: nn.Module) -> nn.Module:
    """The model's table of token embeddings."""
    return unwrapped(model).get_input_embeddings()


def alone(objective: Objective) -> Objective:
    """The objective on the bare model: for passes whose gradients are not for the weights."""
    return replace(objective, model=unwrapped(objective.model))


@contextlib.contextmanager
def shifted(model: nn.Module, move: Tensor) -> Iterator[None]:
    """Adds a move to the token embeddings of every forward pass (and its backward pass) inside.

    Raises:
        CslabError: for a compiled model, which would not notice.
    """
    if hasattr(model, "_orig_mod") or hasattr(unwrapped(model), "_orig_mod"):
        raise CslabError("robust training: a compiled model does not see moved embeddings; train without compile")
    handle = embedding_table(model).register_forward_hook(lambda _, __, found: found + move.to(found.dtype))
    try:
        yield
    finally:
        handle.remove()


class SameDropout:
    """Lets all passes of a step draw the same dropout (FreeLB, section 3.3), and the same as the plain step."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.state = device, torch.get_rng_state()
        self.cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def __call__(self) -> None:
        """Winds the generators back to where they stood when the step began."""
        torch.set_rng_state(self.state)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, self.device)


def plain_step(batch: Batch, objective: Objective, backward) -> Tensor:
    """The step without an adversary."""
    loss = objective(batch.inputs)
    backward(loss)
    return loss.detach()
