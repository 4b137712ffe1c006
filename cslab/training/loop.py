"""The training loop, readable top to bottom: batches in, a cross-encoder out.

Reads an encoder, pairs and the texts they show; writes `model/` (for CrossEncoder and transformers alike), `log.jsonl`
(one JSON object per `log_every` steps) and, while it runs, `checkpoint.pt`. A killed training goes on from there when
`train` is called again with the same arguments, and ends with the same weights as one that was never interrupted: the
batches and the dropout of a step follow from the seed and the step number, so nothing else has to be remembered.

    texts = pair_texts(CONDITIONS["ML-CS"], pairs, collection, lexicons, seed=1)
    train(load_encoder("minilm", seed=1), pairs, texts, TrainSettings(steps=1000, seed=1), "outputs/ml-cs")
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cslab.ranking.cross_encoder import (
    PRECISIONS,
    Encoder,
    Progress,
    checked_length,
    choose_precision,
    computing_in,
    save_encoder,
)
from cslab.store import CslabError, fingerprint, nearest
from cslab.training.batches import Batch, PairTexts, Plan, batches
from cslab.training.losses import LOSSES, Loss, loss_named
from cslab.training.pairs import Pairs
from cslab.training.record import Record

# --- settings ------------------------------------------------------------------------------------------------

# Where the learning rate would reach zero, in multiples of `steps`. The paper sized the decay for 20 M pairs in batches
# of 64, which is 312,500 steps, and stopped after 200,000, at 37 % of the peak.
SCHEDULES = {"linear": 1.0, "paper": 312_500 / 200_000}


@dataclass(frozen=True)
class TrainSettings:
    """How to train; the defaults are the paper's where a small run can follow it.

    Attributes:
        steps: updates.
        batch: pairs in an update.
        lr: peak learning rate.
        warmup: updates until the peak; below 1 a share of `steps` (the paper: 5,000 of 200,000).
        schedule: "linear" decay to zero, or the "paper"'s, which stops early.
        weight_decay: of AdamW; biases and LayerNorm have none.
        clip: largest norm of the gradient.
        max_length: tokens of a pair.
        loss: a row of `cslab.training.losses.LOSSES`.
        precision: "auto", "fp32" or "bf16".
        train_embeddings: False freezes the table of token embeddings (and saves its gradient, norm and update).
        seed: of order, dropout and nothing else; the head's is `load_encoder`'s, the switching's is `pair_texts`'.
        window: batches that are sorted by length together.
        log_every: steps between lines of the log.
        save_every: steps between checkpoints; 0 for none.
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
    precision: str = "auto"
    train_embeddings: bool = True
    seed: int = 0
    window: int = 32
    log_every: int = 20
    save_every: int = 200

    def __post_init__(self) -> None:
        for name, allowed in (("schedule", SCHEDULES), ("loss", LOSSES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value not in allowed:
                raise CslabError(f"training: {name} '{value}' is not known; {nearest(str(value), list(allowed))}")
        for name in ("steps", "batch", "lr", "clip", "max_length", "window", "log_every"):
            if not getattr(self, name) > 0:
                raise CslabError(f"training: {name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup", "weight_decay", "save_every"):
            if not getattr(self, name) >= 0:
                raise CslabError(f"training: {name} is {getattr(self, name)}; it must not be negative")
        for field in fields(self):
            if field.type is int and not isinstance(getattr(self, field.name), int):
                raise CslabError(f"training: {field.name} is {getattr(self, field.name)}; it must be a whole number")

    @property
    def warmup_steps(self) -> int:
        """Updates until the learning rate is at its peak."""
        return round(self.warmup * self.steps) if self.warmup < 1 else round(self.warmup)


def learning_rate(step: int, settings: TrainSettings) -> float:
    """The learning rate of an update, counted from 0: linear warm-up, then linear decay.

    >>> s = TrainSettings(steps=10, warmup=2, lr=1.0)
    >>> [round(learning_rate(step, s), 3) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.125]
    >>> round(learning_rate(199_999, TrainSettings(steps=200_000, warmup=5000, lr=1.0, schedule="paper")), 3)
    0.366
    """
    warm = settings.warmup_steps
    if step < warm:
        return settings.lr * (step + 1) / warm
    end = SCHEDULES[settings.schedule] * settings.steps
    return settings.lr * (end - step) / max(1.0, end - warm)


class Adversary(Protocol):
    """What may take the place of the plain forward and backward pass of a step."""

    def __call__(
        self,
        model: nn.Module,
        batch: Batch,
        objective: "Objective",
        backward: Callable[[Tensor], None],
    ) -> Tensor:
        """Accumulates gradients by calling `backward` as often as it likes; returns the loss to report.

        `objective` takes the model's inputs, `batch.inputs` or others that keep its labels (`inputs_embeds`, say).
        """


@dataclass(frozen=True)
class Objective:
    """The loss of a batch as a function of the model's inputs, and its halves, for adversaries that look at logits."""

    model: nn.Module
    labels: Tensor
    compute: Callable[[Tensor, Tensor], Tensor]
    precision: str

    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The loss, a scalar."""
        return self.loss(self.logits(inputs))

    def logits(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The model's logits of the pairs, float32."""
        with computing_in(self.model, self.precision):
            return self.model(**inputs).logits[:, 0].float()

    def loss(self, logits: Tensor) -> Tensor:
        """The loss of logits, a scalar."""
        return self.compute(logits, self.labels)


# --- the loop ------------------------------------------------------------------------------------------------


def train(
    encoder: Encoder,
    pairs: Pairs,
    texts: PairTexts,
    settings: TrainSettings,
    folder: str | Path,
    adversary: Adversary | None = None,
    progress: Progress | None = print,
    card: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Trains an encoder, in place, and saves it in `folder/model`.

    Args:
        encoder: the start; its weights are changed, and its tokenizer takes on `max_length`.
        pairs: ids and labels.
        texts: what each pair reads in an epoch; a pure function.
        settings: how to train.
        folder: for model, log and checkpoint; a checkpoint in it is gone on from.
        adversary: called in place of the plain step; None for none.
        progress: called with a line of text at each line of the log.
        card: facts for the model card.

    Returns:
        Small numbers: steps, last loss, pairs per second, padding share, precision and why, device.

    Raises:
        CslabError: for settings or labels that do not fit, a checkpoint of something else, or a loss that is not
            finite; the last checkpoint is kept then.
    """
    from accelerate import Accelerator

    length = checked_length(encoder, settings.max_length)
    accelerator = Accelerator(cpu=encoder.device.type == "cpu")
    if accelerator.num_processes > 1:
        raise CslabError(
            f"training: {accelerator.num_processes} processes were launched, the loop runs in one; start one"
        )
    loss = loss_named(settings.loss, pairs.labels, pairs.group)
    plan = Plan(len(pairs), settings.batch, settings.window, settings.seed, pairs.group if loss.grouped else 1)
    step = _Step.prepare(encoder, settings, loss, plan.group, accelerator, adversary)
    key = fingerprint([settings, pairs.key(), encoder.name, len(encoder.tokenizer)])
    record = Record.open(Path(folder), key, encoder.model, step.optimizer)
    if progress:
        start = f"from step {record.step} of {settings.steps}"
        progress(f"training {encoder.name} on {accelerator.device}, {step.precision} ({step.because}), {start}")
    multiple = 8 if accelerator.device.type == "cuda" else 1
    steps = range(record.step, settings.steps)
    for batch in batches(plan, pairs, texts, encoder.tokenizer, length, steps, multiple=multiple):
        record.count(batch, step(batch.to(accelerator.device)))
        if record.step == settings.steps or record.step % settings.log_every == 0:
            record.log(learning_rate(batch.step, settings), settings.steps, progress)
        if settings.save_every and record.step % settings.save_every == 0 and record.step < settings.steps:
            record.save(encoder.model, step.optimizer)
    encoder.model.eval()
    encoder.tokenizer.model_max_length = length
    made = record.summary() | {"precision": step.precision, "because": step.because, "device": str(accelerator.device)}
    save_encoder(encoder, Path(folder) / "model", {**(card or {}), "training": asdict(settings), "figures": made})
    record.checkpoint.unlink(missing_ok=True)
    return made


@dataclass(frozen=True)
class _Step:
    """One update: forward, backward, clip, AdamW."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    settings: TrainSettings
    loss: Loss
    group: int
    accelerator: Any
    adversary: Adversary | None
    precision: str
    because: str

    @classmethod
    def prepare(
        cls,
        encoder: Encoder,
        settings: TrainSettings,
        loss: Loss,
        group: int,
        accelerator: Any,
        adversary: Adversary | None,
    ) -> "_Step":
        precision, because = choose_precision(settings.precision, accelerator.device)
        encoder.model.get_input_embeddings().weight.requires_grad_(settings.train_embeddings)
        optimizer = torch.optim.AdamW(
            parameter_groups(encoder.model, settings.weight_decay), lr=settings.lr, fused=True
        )
        model, optimizer = accelerator.prepare(encoder.model.train(), optimizer)
        return cls(model, optimizer, settings, loss, group, accelerator, adversary, precision, because)

    def __call__(self, batch: Batch) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(batch.step, self.settings)
        # Dropout (and an adversary's noise) follows from the step, so a resumed training draws the same.
        torch.manual_seed(_number("dropout", self.settings.seed, batch.step))
        objective = Objective(self.model, batch.labels, partial(self.loss, group=self.group), self.precision)
        if self.adversary is None:
            value = objective(batch.inputs)
            self.accelerator.backward(value)
        else:
            value = self.adversary(self.model, batch, objective, self.accelerator.backward)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        # A gradient that is not finite would reach a checkpoint before any loss shows it.
        return value.detach() + 0.0 * norm


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices decay; biases and LayerNorm (all vectors) do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay}
    return [decayed, {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]


def _number(*key: object) -> int:
    return int.from_bytes(blake2b("\t".join(map(str, key)).encode(), digest_size=7).digest(), "big")
