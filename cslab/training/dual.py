"""The training loop of dual encoders, readable top to bottom: texts and what they belong to in, a model out.

An example is a text and its partner: another text, an image, or a fixed vector (a stored image vector; or what a
teacher makes of the English text, which a student follows without images). Batches are large, in small memory if need
be, by cached gradients. Writes what `loop.train` writes: `model/`, `log.jsonl` and, while it runs, `checkpoint.pt`; a
killed training goes on from there and ends with the same weights.

    examples = Examples(len(captions), views, items, targets=images)          # images: (items, d), stored
    train_dual(encoder, examples, TrainSettings(steps=500, batch=256), Contrast(), "outputs/ml-cs")
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cslab.ranking.cross_encoder import Progress
from cslab.ranking.dual_encoder import DualEncoder, save_dual_encoder
from cslab.ranking.precision import choose_precision, computing_in
from cslab.store import CslabError, fingerprint
from cslab.training.ball import Place
from cslab.training.batches import Batch, Plan
from cslab.training.contrastive import Contrast, cached_gradients
from cslab.training.loop import Adversary, TrainSettings, learning_rate, parameter_groups
from cslab.training.pairs import generator
from cslab.training.reading import part_key
from cslab.training.record import Record
from cslab.training.weights import Weights

LARGEST_SCALE = 4.6052  # log 100, where CLIP stops its temperature


@dataclass(frozen=True)
class Examples:
    """What a dual encoder is trained on.

    Attributes:
        count: how many examples.
        views: (epoch, rows) → the texts of each: the text; its partner, where that is a text too; its original, where
            the loss aligns the two. A pure function.
        items: (count,) which item each example shows; rows of `targets` or `pixels`.
        targets: (items, d) fixed vectors as partners.
        pixels: (items, channels, height, width) pictures as partners, for an image tower that is encoded as it goes.
        key: what the examples depend on, for checkpoints.
    """

    count: int
    views: Callable[[int, Sequence[int]], list[tuple[str, ...]]]
    items: np.ndarray
    targets: Tensor | None = None
    pixels: Tensor | None = None
    key: str = ""

    def __post_init__(self) -> None:
        if self.targets is not None and self.pixels is not None:
            raise CslabError("examples: both fixed vectors and pixels as partners; give one of them")
        held = self.targets if self.targets is not None else self.pixels
        if len(self.items) != self.count or (held is not None and self.count and self.items.max() >= len(held)):
            raise CslabError(f"examples: {len(self.items)} items for {self.count} examples, or items without a partner")

    def texts_of(self, contrast: Contrast) -> int:
        """How many texts an example must have."""
        return 1 + (self.targets is None and self.pixels is None) + bool(contrast.align)


@dataclass(frozen=True)
class DualObjective:
    """The loss of a batch as a function of its token ids: what adversaries on embeddings call.

    Attributes:
        model: the towers.
        contrast: the loss.
        views: texts per example; they lie in the inputs one after the other.
        partner: gives the partners' vectors, or None where the second view is the partner.
        items: (n,) of the batch.
        precision: "fp32" or "bf16".
        image: where adversaries move the partners, if these are images.
    """

    model: nn.Module
    contrast: Contrast
    views: int
    partner: Callable[[], Tensor] | None
    items: Tensor
    precision: str
    image: Place | None = None

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The loss, a scalar."""
        return self.of_vectors(*self._vectors(inputs))

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What the loss is made of, float32; see `Contrast.logits`."""
        return self.contrast.logits(*self._compared(*self._vectors(inputs)))

    def loss(self, logits: Tensor) -> Tensor:
        """The loss of logits, a scalar."""
        return self.contrast.of_logits(logits)

    def of_vectors(self, texts: Tensor, partner: Sequence[Tensor]) -> Tensor:
        """The loss of vectors that are made already."""
        return self.contrast.compute(*self._compared(texts, partner))[0]

    def _vectors(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        with computing_in(self.model, self.precision):
            return self.model(**inputs), [] if self.partner is None else [self.partner()]

    def _compared(self, texts: Tensor, partner: Sequence[Tensor]) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
        first, *rest = texts.chunk(self.views)
        return [first, *partner, *rest], self.model.scale.exp(), self.model.bias, self.items


def train_dual(
    encoder: DualEncoder,
    examples: Examples,
    settings: TrainSettings,
    contrast: Contrast,
    folder: str | Path,
    adversary: Adversary | None = None,
    progress: Progress | None = print,
    card: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains a dual encoder, in place, and saves it in `folder/model`.

    Args:
        encoder: the start; its weights are changed.
        examples: texts and their partners.
        settings: how to train; its `loss` is for cross-encoders, `contrast` says which one counts here.
        contrast: what to train for.
        folder: for model, log and checkpoint; a checkpoint in it is gone on from.
        adversary: called in place of the plain step; it moves the embeddings of all texts of the batch, their partners
            (fixed vectors, or the patches that an image tower cuts its pixels into), or both.
        progress: called with a line of text at each line of the log.
        card: facts for the card.

    Returns:
        Small numbers, as `loop.train` gives them.

    Raises:
        CslabError: for settings that do not fit, a checkpoint of something else, or a loss that is not finite.
    """
    if adversary is not None and contrast.chunk:
        raise CslabError("dual training: an adversary needs the whole batch at once; set chunk to 0")
    for name in ("accumulate", "compile", "workers", "evaluate_every"):
        if getattr(settings, name) != getattr(TrainSettings, name):
            raise CslabError(f"dual training: {name} is for cross-encoders; leave it at {getattr(TrainSettings, name)}")
    plan = Plan(examples.count, settings.batch, settings.window, settings.seed)
    precision, because = choose_precision(settings.precision, encoder.device)
    encoder.model.freeze(image=not contrast.train_image, scale=not contrast.train_scale)
    encoder.model.get_input_embeddings().weight.requires_grad_(settings.train_embeddings)
    optimizer = torch.optim.AdamW(parameter_groups(encoder.model, settings.weight_decay), lr=settings.lr)
    method = adversary and part_key(adversary)
    key = fingerprint([settings, contrast, examples.key, encoder.name, len(encoder.tokenizer), method])
    weights = Weights(encoder.model, optimizer)
    record = Record.open(Path(folder), key, weights)
    if progress:
        progress(f"training {encoder.name} on {encoder.device}, {precision} ({because}), from step {record.step}")
    encoder.model.train()
    steps = range(record.step, settings.steps)
    for batch in dual_batches(plan, examples, contrast, encoder, settings.max_length, steps):
        record.count(batch, _step(encoder, examples, batch, optimizer, settings, contrast, precision, adversary))
        record.keep(learning_rate(batch.step, settings), settings, weights, progress)
    encoder.model.eval()
    made = record.summary() | {"precision": precision, "because": because, "device": str(encoder.device)}
    facts = {"training": asdict(settings), "contrast": asdict(contrast), "figures": made}
    save_dual_encoder(encoder, Path(folder) / "model", {**(card or {}), **facts})
    record.checkpoint.unlink(missing_ok=True)
    return made


def dual_batches(
    plan: Plan, examples: Examples, contrast: Contrast, encoder: DualEncoder, max_length: int, steps: range
) -> Iterator[Batch]:
    """Yields the batches of some steps: all first texts, then all second ones, …; labels are the items.

    Texts of like length come together. That saves padding, and a text's negatives are then of its own length too.
    """
    wanted, window, current = examples.texts_of(contrast), [], None
    for step in steps:
        epoch, number, place = plan.place(step)
        if (epoch, number) != current:
            current, rows = (epoch, number), plan.rows(epoch, number)
            window = examples.views(epoch, rows.tolist())
            if len(window[0]) != wanted:
                raise CslabError(f"examples: {len(window[0])} texts each, the loss needs {wanted}; mind its alignment")
            cut = plan.cut(epoch, number, np.array([max(map(len, texts)) for texts in window]))
        chosen = cut[place]
        texts = [window[i][view] for view in range(wanted) for i in chosen]
        inputs = encoder.tokens(texts, max_length)
        items = torch.from_numpy(examples.items[rows[chosen]].astype(np.int64))
        yield Batch(step, epoch, rows[chosen], inputs, items, int(inputs["attention_mask"].sum()))


def _step(
    encoder: DualEncoder,
    examples: Examples,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    contrast: Contrast,
    precision: str,
    adversary: Adversary | None,
) -> Tensor:
    """One update: forward, backward, clip, AdamW."""
    model, items = encoder.model, batch.labels
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(batch.step, settings)
    # Dropout (and an adversary's noise) follows from the step, so a resumed training draws the same.
    torch.manual_seed(int(generator("dropout", settings.seed, batch.step).integers(1 << 62)))
    batch = batch.to(encoder.device)
    pixels = None if examples.pixels is None else examples.pixels[items].float().to(encoder.device)
    fixed = None if examples.targets is None else examples.targets[items].to(encoder.device)
    partner, image = _partner(model, pixels, fixed)
    objective = DualObjective(model, contrast, examples.texts_of(contrast), partner, batch.labels, precision, image)
    if contrast.chunk:
        value = _cached_step(objective, batch.inputs, pixels, fixed)
    elif adversary is not None:
        value = adversary(model, batch, objective, Tensor.backward)
    else:
        value = objective(batch.inputs)
        value.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        model.scale.clamp_(max=LARGEST_SCALE)
    # A gradient that is not finite would reach a checkpoint before any loss shows it.
    return value.detach() + 0.0 * norm


def _partner(
    model: nn.Module, pixels: Tensor | None, fixed: Tensor | None
) -> tuple[Callable[[], Tensor] | None, Place | None]:
    """What gives the partners' vectors, and where they can be moved: fixed ones as they are, others as patches."""
    if fixed is not None:
        held = nn.Identity()
        return lambda: held(fixed), Place(held, fixed)
    if pixels is not None:
        return lambda: model.image_vectors(pixel_values=pixels), Place(model.patches(), pixels)
    return None, None


def _cached_step(
    objective: DualObjective, inputs: Mapping[str, Tensor], pixels: Tensor | None, fixed: Tensor | None
) -> Tensor:
    """The gradients of a batch, a chunk of texts or pictures at a time."""
    size, model = objective.contrast.chunk, objective.model
    names, count = list(inputs), len(inputs["input_ids"])
    chunks: list[Any] = [
        dict(zip(names, part, strict=True)) for part in zip(*(inputs[name].split(size) for name in names), strict=True)
    ]
    chunks += [] if pixels is None else list(pixels.split(size))

    def encode(chunk: Any) -> Tensor:
        with computing_in(model, objective.precision):
            found = model(**chunk) if isinstance(chunk, dict) else model.image_vectors(pixel_values=chunk)
        return found.float()

    def loss_of(vectors: Tensor) -> Tensor:
        partner = [fixed] if fixed is not None else [vectors[count:]] if pixels is not None else []
        return objective.of_vectors(vectors[:count], partner)

    return cached_gradients(encode, chunks, loss_of, Tensor.backward)
