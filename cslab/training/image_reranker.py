"""Training a cross-attention head on the dual encoder's own mistakes.

Each step reads some texts as their condition shows them, lets the frozen dual encoder rank the training images for
them, and draws the negatives of each text from the first of these: what is hard changes with the text, so a switched
one gets its own. Writes what `train_dual` writes, with the head in `model/`.

    train_reranker(encoder, head, examples, states, HardNegatives(), TrainSettings(steps=200, lr=1e-3), "outputs/head")
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cslab.ranking.cross_attention import CrossAttention, save_head
from cslab.ranking.cross_encoder import Progress
from cslab.ranking.dual_encoder import DualEncoder
from cslab.ranking.precision import choose_precision, computing_in
from cslab.store import CslabError, fingerprint, nearest
from cslab.training.batches import Batch, Plan
from cslab.training.contrastive import Contrast
from cslab.training.dual import Examples, dual_batches
from cslab.training.loop import TrainSettings, learning_rate, parameter_groups
from cslab.training.losses import LOSSES
from cslab.training.pairs import generator
from cslab.training.record import Record
from cslab.training.weights import Weights

OFFERED = ("lce", "bce")


@dataclass(frozen=True)
class HardNegatives:
    """What a text's image is told apart from.

    Attributes:
        negatives: other images for each text.
        depth: of the dual encoder's ranking, from which they are drawn.
        loss: `lce`, InfoNCE over the group, or `bce`, pair by pair.
    """

    negatives: int = 7
    depth: int = 30
    loss: str = "lce"

    def __post_init__(self) -> None:
        if self.loss not in OFFERED:
            raise CslabError(f"image re-ranker: loss '{self.loss}' is not offered; {nearest(self.loss, OFFERED)}")
        if not 1 <= self.negatives <= self.depth:
            raise CslabError(
                f"image re-ranker: {self.negatives} negatives of a depth of {self.depth}; take 1 to {self.depth}"
            )


def train_reranker(
    encoder: DualEncoder,
    head: CrossAttention,
    examples: Examples,
    states: Tensor,
    hard: HardNegatives,
    settings: TrainSettings,
    folder: str | Path,
    progress: Progress | None = print,
) -> dict[str, Any]:
    """Trains a head, in place, and saves it in `folder/model`; the encoder is left as it is.

    Args:
        encoder: whose ranking is to be improved.
        head: the start.
        examples: one text each; `targets` are the images' vectors, unit rows.
        states: of the same images, (items, places, width).
        hard: negatives and loss.
        settings: how to train.
        folder: for head, log and checkpoint; a checkpoint in it is gone on from.
        progress: called with a line of text at each line of the log.

    Returns:
        Small numbers, as `train_dual` gives them.

    Raises:
        CslabError: for too few images, a checkpoint of something else, or a loss that is not finite.
    """
    if len(states) <= hard.negatives:
        raise CslabError(f"image re-ranker: {len(states)} images for {hard.negatives} negatives; give it more images")
    plan = Plan(examples.count, settings.batch, settings.window, settings.seed)
    precision, because = choose_precision(settings.precision, encoder.device)
    optimizer = torch.optim.AdamW(parameter_groups(head, settings.weight_decay), lr=settings.lr)
    key = fingerprint([settings, hard, head.sizes, examples.key, encoder.name])
    weights = Weights(head, optimizer)
    record = Record.open(Path(folder), key, weights)
    encoder.model.eval()
    head.train()
    steps = range(record.step, settings.steps)
    for batch in dual_batches(plan, examples, Contrast(), encoder, settings.max_length, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(batch.step, settings)
        with computing_in(head, precision):
            logits = _logits(encoder, head, examples.targets, states, batch.to(encoder.device), hard, settings.seed)
        labels = torch.zeros_like(logits)
        labels[:, 0] = 1.0
        loss = LOSSES[hard.loss](logits.flatten(), labels.flatten(), logits.shape[1])
        loss.backward()
        norm = nn.utils.clip_grad_norm_(head.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        record.count(batch, loss.detach() + 0.0 * norm)
        record.keep(learning_rate(batch.step, settings), settings, weights, progress)
    head.eval()
    save_head(head, Path(folder) / "model")
    record.checkpoint.unlink(missing_ok=True)
    return record.summary() | {"precision": precision, "because": because, "negatives": asdict(hard)}


def _logits(
    encoder: DualEncoder,
    head: CrossAttention,
    vectors: Tensor,
    states: Tensor,
    batch: Batch,
    hard: HardNegatives,
    seed: int,
) -> Tensor:
    """Logits of each text with its own image first and with hard negatives, (texts, 1 + negatives) float32."""
    model, own = encoder.model, batch.labels
    with torch.no_grad():
        hidden, counted = model.text_states(**batch.inputs)
        found = functional.normalize(model(**batch.inputs).float(), dim=1)
        with torch.autocast(own.device.type, enabled=False):
            cosines = found @ vectors.to(own.device).t()
        rows = hard_rows(cosines, own, hard, seed, batch.step)
    size = rows.shape[1]
    image = states[rows.flatten().cpu()].to(own.device).float()
    wide, mask = hidden.float().repeat_interleave(size, 0), counted.repeat_interleave(size, 0)
    return head(wide, mask, image, cosines.gather(1, rows).flatten()).view(-1, size).float()


def hard_rows(cosines: Tensor, own: Tensor, hard: HardNegatives, seed: int, step: int) -> Tensor:
    """The own image of each text and others drawn from the first of its ranking, (texts, 1 + negatives).

    Args:
        cosines: (texts, images).
        own: (texts,) the row of each text's image.
        hard: how many, from which depth.
        seed, step: what the draw follows from.
    """
    others = cosines.scatter(1, own[:, None], -torch.inf)
    first = others.topk(min(hard.depth, cosines.shape[1] - 1), dim=1).indices
    draws = generator("hard negatives", seed, step).random(first.shape)
    chosen = torch.from_numpy(draws).argsort(dim=1)[:, : hard.negatives].to(first.device)
    return torch.cat([own[:, None], first.gather(1, chosen)], dim=1)
