"""Contrastive losses of dual encoders, and large batches by cached gradients.

All losses take two sets of vectors of shape (n, d), row i of one belonging to row i of the other, and give a scalar.
The contrastive ones scale vectors to length one themselves; rows of equal `items` (two captions of one image) are not
each other's negatives. Reads and writes nothing.

    >>> x = torch.eye(3)
    >>> round(info_nce(x, x, torch.tensor(1.0)).item(), 4)         # ln(e + 2) - 1
    0.5514
    >>> round(sigmoid_loss(x, x, torch.tensor(10.0), torch.tensor(-5.0)).item(), 4)
    0.0201
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cslab.store import CslabError, nearest


def similarities(first: Tensor, second: Tensor) -> Tensor:
    """Cosines of all rows of `first` with all rows of `second`, in float32."""
    return functional.normalize(first.float(), dim=1) @ functional.normalize(second.float(), dim=1).t()


def apart(logits: Tensor, items: Tensor | None) -> Tensor:
    """Logits, (n, n), with those off the diagonal that show one item so low that they are no negatives."""
    if items is None:
        return logits
    same = items[:, None] == items[None]
    same.fill_diagonal_(False)
    # Finite: the divergence of two such logits has to be 0 rather than undefined.
    return logits.masked_fill(same, torch.finfo(logits.dtype).min) if bool(same.any()) else logits


def info_nce(first: Tensor, second: Tensor, scale: Tensor, items: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE: each row has to find its partner among the batch, both ways (CLIP, 2103.00020, figure 3).

    Args:
        first, second: (n, d).
        scale: inverse temperature, a scalar.
        items: (n,) integers.
    """
    return both_ways(apart(scale * similarities(first, second), items))


def both_ways(logits: Tensor) -> Tensor:
    """InfoNCE of a matrix of logits, (n, n), along rows and along columns."""
    own = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.t(), own)) / 2


def sigmoid_loss(first: Tensor, second: Tensor, scale: Tensor, bias: Tensor, items: Tensor | None = None) -> Tensor:
    """Every pair judged on its own: −(1/n) Σ_ij log σ(z_ij (scale · cos + bias)), z = ±1 (SigLIP, 2303.15343).

    Args: as for `info_nce`; `bias` starts negative, because nearly all pairs do not belong together.
    """
    return pair_by_pair(apart(scale * similarities(first, second) + bias, items))


def pair_by_pair(logits: Tensor) -> Tensor:
    """The sigmoid loss of a matrix of logits, (n, n)."""
    signs = 2 * torch.eye(len(logits), device=logits.device) - 1
    return -functional.logsigmoid(signs * logits).sum() / len(logits)


def squared_error(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference from the teacher's vectors, lengths included (2004.09813, equation 1; M-CLIP)."""
    return functional.mse_loss(student.float(), teacher.float())


# --- what to train with --------------------------------------------------------------------------------------

# Name → loss of (first, second, scale, bias, items). With a frozen `second`, `infonce` is the contrastive form of
# teacher learning and `mse` the plain one.
CONTRASTS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor | None], Tensor]] = {
    "infonce": lambda first, second, scale, bias, items: info_nce(first, second, scale, items),
    "sigmoid": sigmoid_loss,
    "mse": lambda first, second, scale, bias, items: squared_error(first, second),
}

OF_LOGITS: dict[str, Callable[[Tensor], Tensor]] = {"infonce": both_ways, "sigmoid": pair_by_pair}


@dataclass(frozen=True)
class Contrast:
    """What a dual encoder is trained for.

    Attributes:
        loss: a row of `CONTRASTS`.
        align: weight of a further InfoNCE between a switched text and its original (ContrastiveMix,
            2024.naacl-short.17, has 0.1); 0 for none.
        chunk: rows that are encoded at a time, with cached gradients; 0 for the whole batch at once.
        train_image: False freezes the image tower.
        train_scale: False keeps the temperature (and bias) as loaded.
    """

    loss: str = "infonce"
    align: float = 0.0
    chunk: int = 0
    train_image: bool = False
    train_scale: bool = True

    def __post_init__(self) -> None:
        if self.loss not in CONTRASTS:
            raise CslabError(f"contrast: loss '{self.loss}' is not known; {nearest(self.loss, list(CONTRASTS))}")
        if self.align < 0 or self.chunk < 0:
            raise CslabError(f"contrast: align {self.align} and chunk {self.chunk} must not be negative")

    def compute(
        self, views: Sequence[Tensor], scale: Tensor, bias: Tensor, items: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The loss of a batch and its share of alignment.

        Args:
            views: the texts, what they belong to, and with `align` the originals of the texts; each (n, d).
            scale, bias: scalars.
            items: (n,) integers.
        """
        loss = CONTRASTS[self.loss](views[0], views[1], scale, bias, items)
        if not self.align:
            return loss, loss.new_zeros(())
        extra = self.align * info_nce(views[0], views[2], scale, items)
        return loss + extra, extra

    def logits(self, views: Sequence[Tensor], scale: Tensor, bias: Tensor, items: Tensor | None = None) -> Tensor:
        """What the loss is made of: (1, n, n), or (2, n, n) with alignment; arguments as of `compute`.

        Raises:
            CslabError: for squared error, which has none.
        """
        if self.loss not in OF_LOGITS:
            raise CslabError(f"contrast: the loss '{self.loss}' has no logits for smart; use {' or '.join(OF_LOGITS)}")
        own = scale * similarities(views[0], views[1]) + (bias if self.loss == "sigmoid" else 0.0)
        found = [own, *([scale * similarities(views[0], views[2])] if self.align else [])]
        return torch.stack([apart(logits, items) for logits in found])

    def of_logits(self, logits: Tensor) -> Tensor:
        """The loss of what `logits` gives."""
        loss = OF_LOGITS[self.loss](logits[0])
        return loss + self.align * both_ways(logits[1]) if self.align else loss


# --- cached gradients ----------------------------------------------------------------------------------------


def cached_gradients(
    encode: Callable[[Any], Tensor],
    chunks: Sequence[Any],
    loss_of: Callable[[Tensor], Tensor],
    backward: Callable[[Tensor], None],
) -> Tensor:
    """Forward and backward pass of a large batch in the memory of one chunk (GradCache, 2101.06983, section 3).

    Vectors are first made without a graph; the loss gives the gradient of each vector; then every chunk is encoded
    again, with the same dropout, and the gradient goes on through it.

    Args:
        encode: from a chunk to its vectors, (rows of the chunk, d).
        chunks: the batch in pieces.
        loss_of: from all vectors, (n, d), in the order of the chunks, to the loss.
        backward: `Tensor.backward`, or what takes its place; called once for the loss and once for each chunk.

    Returns:
        The loss, detached.
    """
    vectors, states = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_random_states())
            vectors.append(encode(chunk))
    everything = torch.cat(vectors).detach().requires_grad_()
    loss = loss_of(everything)
    backward(loss)
    for chunk, state, gradient in zip(chunks, states, everything.grad.split([len(v) for v in vectors]), strict=True):
        with _replaying(state):
            again = encode(chunk)
        if again.requires_grad:  # a frozen tower gives nothing to go on through
            backward((again * gradient).sum())
    return loss.detach()


def _random_states() -> tuple[Tensor, list[Tensor]]:
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return torch.get_rng_state(), devices


@contextmanager
def _replaying(state: tuple[Tensor, list[Tensor]]):
    after = _random_states()
    _set_states(state)
    yield
    _set_states(after)


def _set_states(state: tuple[Tensor, list[Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
