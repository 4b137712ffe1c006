"""Moving embeddings: which ones, how far, in which direction, and how a forward pass sees it.

The embeddings of a pair are one point; a `Ball` around it says how far it may move, by a norm over all its tokens and
dimensions, per pair and in fp32. Padding and special tokens never move. `shifted` adds the move to what the model's
table of token embeddings gives, so it works with any encoder and leaves positions and segments alone. Where a text has
an image for a partner, that moves too if asked to, in a ball of its own (`Fields`; M3P's FreeLB, 2006.02635).

>>> ball, move = Ball(epsilon=1.0, relative=False), torch.tensor([[[3.0, 4.0]]])
>>> [round(x, 3) for x in ball.project(move, torch.ones(1, 1, 1)).flatten().tolist()]
[0.6, 0.8]
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cslab.store import CslabError, nearest
from cslab.training.batches import Batch
from cslab.training.loop import Objective

NORMS = ("l2", "linf")
MOVED = ("text", "image", "both")

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
        """The norm of each pair's move, fp32, shape (pairs, 1, …) with as many dimensions as the move."""
        flat = move.float().flatten(1)
        size = flat.norm(dim=1) if self.norm == "l2" else flat.abs().amax(dim=1)
        return size.view(-1, *[1] * (move.ndim - 1))

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

    def sample(self, mask: Tensor, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """A move of a shape drawn uniformly from the ball of radius 1 of what `mask` (pairs, …, 1) lets move."""
        if self.norm == "linf":
            return (2 * torch.rand(*shape, generator=generator) - 1).to(mask.device) * mask
        draws = self.direction(torch.randn(*shape, generator=generator).to(mask.device) * mask)
        # Volume grows with the power of the coordinates that move.
        free = mask.expand(*shape).flatten(1).sum(dim=1).clamp_min(1.0)
        share = torch.rand(len(mask), generator=generator).to(mask.device) ** (1 / free)
        return draws * share.view(-1, *[1] * (len(shape) - 1))


class Place(NamedTuple):
    """A module whose output is moved, and what it is called with in this step."""

    module: nn.Module
    given: Tensor


@dataclass(frozen=True)
class Field:
    """The embeddings of a batch at one place: which may move and, per pair, how far."""

    ball: Ball
    module: nn.Module  # gives the embeddings
    mask: Tensor  # (pairs, width, 1), or ones of as many dimensions as the embeddings: 1 for what may move
    radius: Tensor  # as `Ball.size`
    shape: tuple[int, ...]  # of the embeddings

    @classmethod
    def of(cls, model: nn.Module, batch: Batch, ball: Ball, special: frozenset[int]) -> "Field":
        """Reads off the batch what may move: tokens that are neither padding nor special."""
        place = Place(embedding_table(model), batch.inputs["input_ids"])
        return cls.at(place, ball, movable(batch, special)[:, :, None].float())

    @classmethod
    def at(cls, place: Place, ball: Ball, mask: Tensor | None = None) -> "Field":
        """The embeddings of a place, whose first dimension counts pairs; all may move if no mask is given."""
        with torch.no_grad():
            found = place.module(place.given).float()
            mask = found.new_ones(len(found), *[1] * (found.ndim - 1)) if mask is None else mask
            size = ball.size(found * mask)
        radius = ball.epsilon * (size if ball.relative else torch.ones_like(size))
        return cls(ball, place.module, mask, radius, tuple(found.shape))

    def zero(self) -> Tensor:
        """No move, as a leaf that takes a gradient."""
        return self.leaf(torch.zeros(self.shape, device=self.mask.device))

    def drawn(self, share: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """A move drawn from the ball of `share` of the radius; it follows from the seed of the step's dropout."""
        generator = generator or step_generator()
        sample = self.ball.sample(self.mask, self.shape, generator)
        return self.leaf(self.ball.project(sample * self.radius, self.radius) * share)

    def climbed(self, move: Tensor, gradient: Tensor, step: float) -> Tensor:
        """One step of projected ascent; `step` is in radii."""
        further = move.detach() + step * self.radius * self.ball.direction(gradient * self.mask)
        return self.leaf(self.ball.project(further, self.radius))

    @staticmethod
    def leaf(move: Tensor) -> Tensor:
        """The same numbers, with a gradient of their own."""
        return move.detach().requires_grad_()


def step_generator() -> torch.Generator:
    """What moves are drawn with: it follows from the seed of the step's dropout."""
    return torch.Generator().manual_seed((torch.initial_seed() ^ 0x9E3779B9) % (1 << 63))


Moves = tuple[Tensor, ...]


@dataclass(frozen=True)
class Fields:
    """What a method moves at once: the text's embeddings, the image's, or both, each in a ball of its own."""

    parts: tuple[Field, ...]

    @classmethod
    def of(
        cls, model: nn.Module, batch: Batch, objective: Objective, ball: Ball, special: frozenset[int], moved: str
    ) -> "Fields":
        """The fields of a batch.

        Args:
            model: the one trained.
            batch: of this step.
            objective: of this step; the `image` of an image–text model's is the `Place` of its images.
            ball: how far; its radius is relative to each side's own embeddings.
            special: ids of tokens that never move.
            moved: a row of `MOVED`.

        Raises:
            CslabError: if there are no images to move.
        """
        parts = [Field.of(model, batch, ball, special)] if moved != "image" else []
        if moved != "text":
            if (image := getattr(objective, "image", None)) is None:
                raise CslabError(
                    f"robust training: moved is '{moved}', but texts have no images here; set it to 'text'"
                )
            parts.append(Field.at(image, ball))
        return cls(tuple(parts))

    def zero(self) -> Moves:
        """No move."""
        return tuple(part.zero() for part in self.parts)

    def drawn(self, share: float = 1.0) -> Moves:
        """Moves as of `Field.drawn`, independent of each other."""
        generator = step_generator()
        return tuple(part.drawn(share, generator) for part in self.parts)

    def climbed(self, moves: Moves, gradients: Sequence[Tensor], step: float) -> Moves:
        """One step of projected ascent of each."""
        each = zip(self.parts, moves, gradients, strict=True)
        return tuple(part.climbed(move, gradient, step) for part, move, gradient in each)

    @contextlib.contextmanager
    def shifted(self, model: nn.Module, moves: Moves, fixed: bool = False) -> Iterator[None]:
        """Adds moves to the embeddings of every pass inside; `fixed` ones take no gradient. See `shifted`."""
        with contextlib.ExitStack() as stack:
            for part, move in zip(self.parts, moves, strict=True):
                stack.enter_context(shifted(model, move.detach() if fixed else move, part.module))
            yield


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
def shifted(model: nn.Module, move: Tensor, module: nn.Module | None = None) -> Iterator[None]:
    """Adds a move to the embeddings of every forward pass (and its backward pass) inside.

    Args:
        model: what the passes go through.
        move: in the shape of the embeddings.
        module: what gives them; the table of token embeddings, if None.

    Raises:
        CslabError: for a compiled model, which would not notice.
    """
    if hasattr(model, "_orig_mod") or hasattr(unwrapped(model), "_orig_mod"):
        raise CslabError("robust training: a compiled model does not see moved embeddings; train without compile")
    module = embedding_table(model) if module is None else module
    handle = module.register_forward_hook(lambda _, __, found: found + move.to(found.dtype))
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
