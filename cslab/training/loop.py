"""The training loop, readable top to bottom: batches in, a cross-encoder out.

Reads an encoder, pairs and the texts they show; writes `model/` (for CrossEncoder and transformers alike), `log.jsonl`
(one JSON object per `log_every` steps) and, while it runs, `checkpoint.pt`. A killed training goes on from there when
`train` is called again with the same arguments, and ends with the same weights as one that was never interrupted: the
batches and the dropout of a step follow from the seed and the step number, so nothing else has to be remembered. With
dev pairs to evaluate on, `model/` holds the weights that did best there, and `last/` those of the last step.

    texts = pair_texts(CONDITIONS["ML-CS"], pairs, collection, lexicons, seed=1)
    train(load_encoder("minilm", seed=1), pairs, texts, TrainSettings(steps=1000, seed=1), "outputs/ml-cs")

Several processes (`torchrun --nproc-per-node 8 …`, `accelerate launch …`, on several machines by the launcher's own
means and a folder that all see) share every batch: the same pairs in the same order as in one process, the gradient
averaged, so the weights agree to rounding. Dropout is drawn by each process for itself: only a model without dropout
ends with the weights of one process. The first process writes. Of encoders that are too large for that, each process
can train a shard (see `weights.py`).
"""

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from cslab.ahead import prefetched
from cslab.processes import processes
from cslab.ranking.cross_encoder import (
    Encoder,
    Progress,
    checked_length,
    save_encoder,
)
from cslab.ranking.precision import choose_precision, computing_in
from cslab.store import CslabError, fingerprint, nearest
from cslab.training.batches import Batch, Plan, batches
from cslab.training.compiling import graphs_pay, width_multiple
from cslab.training.flops import Meter
from cslab.training.losses import guessing, loss_named
from cslab.training.pairs import Pairs
from cslab.training.reading import PairTexts, part_key, texts_key
from cslab.training.record import Record
from cslab.training.settings import HARMLESS, TrainSettings, learning_rate
from cslab.training.watch import Evaluate, Watch
from cslab.training.weights import Weights, sharded, shards_asked_for, whole


class Adversary(Protocol):
    """What may take the place of the plain forward and backward pass of a step.

    Its `key`, JSON-like, is what a checkpoint knows it by; without one that is the name of its function or class.
    """

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
    evaluate: Evaluate | None = None,
    trackers: Sequence[Any] = (),
    beginning: Path | None = None,
    until: int | None = None,
) -> dict[str, Any]:
    """Trains an encoder, in place, and saves it in `folder/model`.

    Args:
        encoder: the start; its weights are changed, and its tokenizer takes on `max_length`.
        pairs: ids and labels.
        texts: what each pair reads in an epoch; a pure function.
        settings: how to train.
        folder: for model, log and checkpoint; a checkpoint in it is gone on from.
        adversary: called in place of the plain step, from `settings.clean_steps` on; None for none. One with a true
            `grouped` gets whole groups.
        progress: called with a line of text at each line of the log.
        card: facts for the model card.
        evaluate: encoder → figure of each language pair, every `settings.evaluate_every` steps; higher is better.
        trackers: names of Accelerate's trackers ("tensorboard", "wandb", …) that get what the log gets, or trackers.
        beginning: folder of a plain training of the same, stopped by `until` at or before `settings.clean_steps`; it is
            gone on from unless `folder` has a checkpoint.
        until: a step to stop at, with a checkpoint for `beginning` and no model.

    Returns:
        Small numbers: steps, last loss, pairs per second, padding share, precision and why, device, and whether the
        loss came below that of guessing (`learnt`).

    Raises:
        CslabError: for settings or labels that do not fit, a checkpoint of something else, or a loss that is not
            finite; the last checkpoint is kept then.
    """
    length, folder = checked_length(encoder, settings.max_length), Path(folder)
    loss = loss_named(settings.loss, pairs.labels, pairs.group)
    grouped = loss.grouped or getattr(adversary, "grouped", False)
    plan = Plan(len(pairs), settings.batch, settings.window, settings.seed, pairs.group if grouped else 1)
    watch = Watch(folder, evaluate, settings.evaluate_every, settings.patience)
    accelerator = launched(encoder, folder, trackers)
    shard = (accelerator.process_index, accelerator.num_processes)
    check_shares(plan, shard[1], settings.accumulate)
    # Graphs overwrite what they gave before: no place for gradients that are added up, or passes that are compared.
    plain = adversary is None and settings.accumulate == 1 and shard[1] == 1
    graphs = settings.compile and plain and graphs_pay(encoder.model, accelerator.device, settings.batch, length)
    step = _Step.prepare(encoder, settings, partial(loss, group=plan.group), accelerator, adversary, graphs)
    meter = Meter.of(encoder.model, accelerator.device, step.precision, shard[1])
    decisive, part = (settings, pairs, encoder, texts, plan.group), adversary
    if until is not None:
        if until > (settings.steps if adversary is None else settings.clean_steps):
            raise CslabError(f"training: a beginning of {until} steps; no more than clean_steps are shared")
        part = None  # it has not come in yet
    record = Record.open(folder, _key(*decisive, part), step.weights, watch, meter, accelerator.log)
    if beginning is not None and not record.step:
        record.adopt(beginning, _key(*decisive, None), settings.clean_steps, step.weights)
    accelerator.init_trackers("cslab", asdict(settings))
    progress = progress if accelerator.is_main_process else None
    if progress:
        start = f"from step {record.step} of {settings.steps}"
        where = str(accelerator.device) if shard[1] == 1 else f"{shard[1]} × {accelerator.device.type}"
        where += "" if step.weights.shards is None else ", a shard each"
        progress(f"training {encoder.name} on {where}, {step.precision} ({step.because}), {start}")
    multiple = width_multiple(accelerator.device, length, graphs)
    steps = range(record.step, until or settings.steps)
    drawn = batches(
        plan, pairs, texts, encoder.tokenizer, length, steps, shard, multiple, settings.accumulate, settings.workers,
        settings.unswitched_steps,
    )  # fmt: skip
    pinned = (batch.pinned(accelerator.device) for batch in drawn)
    with contextlib.closing(drawn), prefetched(pinned) as coming:
        for batch in coming:
            record.count(batch, step(batch.to(accelerator.device)))
            if not batch.last:
                continue
            evaluating = watch.due(record.step, settings.steps)
            if evaluating or record.step == settings.steps or record.step % settings.log_every == 0:
                record.log(learning_rate(batch.step, settings), settings.steps, progress)
            if evaluating:
                with step.weights.gathered(accelerator.device):
                    watch.look(encoder, record.step, record.tell, progress)
                record.pause()
            if watch.over:
                break
            if settings.save_every and record.step % settings.save_every == 0 and record.step < settings.steps:
                record.save(step.weights)
    if until is not None:
        record.save(step.weights)
        return record.summary()
    step.weights.gather()
    encoder.model.eval()
    encoder.tokenizer.model_max_length = length
    made = record.summary() | {"precision": step.precision, "because": step.because, "device": str(accelerator.device)}
    made |= {} if shard[1] == 1 else {"processes": shard[1]}
    made |= {"learnt": record.learnt(guessing(loss, pairs.labels, pairs.group), progress)}
    _finish(encoder, record, accelerator, {**(card or {}), "training": asdict(settings), "figures": made})
    return made


def launched(encoder: Encoder, folder: Path, trackers: Sequence[Any]) -> Any:
    """The accelerator of this process, one of those that `torchrun` or `accelerate launch` started, or the only one.

    Raises:
        CslabError: for a way of sharing a model that the loop has no part in, or a tracker that is not there.
    """
    from accelerate import Accelerator
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    from accelerate.utils import DistributedDataParallelKwargs, DistributedType

    for name in (tracker for tracker in trackers if isinstance(tracker, str)):
        if name not in LOGGER_TYPE_TO_CLASS:
            raise CslabError(f"training: tracker '{name}' is not known; {nearest(name, list(LOGGER_TYPE_TO_CLASS))}")
        if name not in get_available_trackers():
            raise CslabError(f"training: tracker '{name}' is not installed; pip install {name}")
    # Buffers (positions) never change; sending them round would break two forward passes before a backward pass.
    sharing = DistributedDataParallelKwargs(broadcast_buffers=False)
    _, count = processes()
    accelerator = Accelerator(
        cpu=encoder.device.type == "cpu", log_with=list(trackers) or None, project_dir=folder, kwargs_handlers=[sharing]
    )
    kinds = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU, DistributedType.FSDP)
    if accelerator.distributed_type not in kinds:
        raise CslabError(
            f"training: {accelerator.distributed_type.value} is not offered; launch plain data parallelism, or FSDP"
        )
    if accelerator.num_processes != count:
        raise CslabError(
            "training: this process works alone while others wait; train in a stage that all of them share"
        )
    return accelerator


def check_shares(plan: Plan, processes: int, parts: int) -> None:
    """Makes sure that every batch parts evenly; else the mean of the shares would not be the mean of the batch.

    Raises:
        CslabError: if it does not.
    """
    groups, shares = plan.batch // plan.group, processes * parts
    if groups % shares:
        what = "pairs" if plan.group == 1 else f"pairs (groups of {plan.group})"
        unit = plan.group * shares
        raise CslabError(
            f"training: a batch of {plan.batch} {what} does not part evenly among {processes} processes × {parts} "
            f"accumulated parts; use a multiple of {unit}, e.g. {max(1, round(plan.batch / unit)) * unit}"
        )


def _key(
    settings: TrainSettings,
    pairs: Pairs,
    encoder: Encoder,
    texts: PairTexts,
    group: int,
    adversary: Adversary | None,
) -> str:
    """What a checkpoint belongs to."""
    decisive = {name: value for name, value in asdict(settings).items() if name not in HARMLESS}
    read_and_done = texts_key(texts), group, adversary and part_key(adversary)
    return fingerprint([decisive, pairs.key(), encoder.name, len(encoder.tokenizer), *read_and_done])


def _finish(encoder: Encoder, record: Record, accelerator: Any, card: Mapping[str, Any]) -> None:
    """Saves the model (the best one, where dev pairs tell; the last beside it) and clears away what is done with."""
    watch = record.watch
    if watch.every:
        if accelerator.is_main_process:
            save_encoder(encoder, record.folder / "last", card)
        accelerator.wait_for_everyone()
        watch.recall(encoder)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        save_encoder(encoder, record.folder / "model", card)
        watch.weights.unlink(missing_ok=True)
        record.checkpoint.unlink(missing_ok=True)
        for tracker in accelerator.trackers:
            tracker.finish()
    accelerator.wait_for_everyone()


@dataclass(frozen=True)
class _Step:
    """One update: forward, backward, clip, AdamW; of a part of a step, its gradient alone."""

    model: nn.Module
    weights: Weights
    settings: TrainSettings
    loss: Callable[[Tensor, Tensor], Tensor]
    accelerator: Any
    adversary: Adversary | None
    precision: str
    because: str

    @classmethod
    def prepare(
        cls,
        encoder: Encoder,
        settings: TrainSettings,
        loss: Callable[[Tensor, Tensor], Tensor],
        accelerator: Any,
        adversary: Adversary | None,
        graphs: bool,
    ) -> "_Step":
        precision, because = choose_precision(settings.precision, accelerator.device)
        freeze(encoder.model, settings)
        model, shards = encoder.model.train(), None
        if shards_asked_for():
            if adversary is not None or settings.compile:
                what = "compile" if settings.compile else "an adversary or auxiliary"
                raise CslabError(f"training: FSDP and {what} do not go together; launch plain data parallelism")
            model = shards = sharded(model, accelerator.device)
        optimizer = torch.optim.AdamW(parameter_groups(model, settings.weight_decay), lr=settings.lr, fused=True)
        if shards is None:
            with warnings.catch_warnings():
                # Newer PyTorch renames `broadcast_buffers`; older ones know no other name.
                warnings.simplefilter("ignore", FutureWarning)
                model, optimizer = accelerator.prepare(model, optimizer)
        model = torch.compile(model, mode="reduce-overhead" if graphs else None) if settings.compile else model
        weights = Weights(encoder.model, optimizer, shards)
        return cls(model, weights, settings, loss, accelerator, adversary, precision, because)

    def __call__(self, batch: Batch) -> Tensor:
        number, count = batch.part
        # Dropout (and an adversary's noise) follows from the step, so a resumed training draws the same. Each share of
        # a batch has its own; the first one has that of a batch in one piece.
        share = number * self.accelerator.num_processes + self.accelerator.process_index
        torch.manual_seed(_number("dropout", self.settings.seed, batch.step, *([share] if share else [])))
        objective = Objective(self.model, batch.labels, self.loss, self.precision)
        if self.settings.compile:
            for tensor in batch.inputs.values():
                torch._dynamo.maybe_mark_dynamic(tensor, 1)
        # A shard's gradient is summed part by part: to put that off would need room for a whole one.
        alone = not batch.last and self.weights.shards is None
        with self.accelerator.no_sync(self.model) if alone else contextlib.nullcontext():
            if self.adversary is None or batch.step < self.settings.clean_steps:
                value = objective(batch.inputs)
                self.accelerator.backward(value / count)
            else:
                value = self.adversary(
                    self.model, batch, objective, lambda loss: self.accelerator.backward(loss / count)
                )
        return self._update(batch.step, value.detach()) if batch.last else value.detach()

    def _update(self, step: int, value: Tensor) -> Tensor:
        optimizer = self.weights.optimizer
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, self.settings)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        # A gradient that is not finite would reach a checkpoint before any loss shows it.
        return value + 0.0 * whole(norm)


def freeze(model: nn.Module, settings: TrainSettings) -> None:
    """Marks what is not trained: the table of token embeddings, and the first layers with all that lies below them.

    Raises:
        CslabError: for more layers than the model has.
    """
    model.get_input_embeddings().weight.requires_grad_(settings.train_embeddings)
    if not settings.frozen_layers:
        return
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    layers = max(stacks, key=len, default=())
    if settings.frozen_layers >= len(layers):
        raise CslabError(f"training: {settings.frozen_layers} frozen layers of {len(layers)}; leave some to be trained")
    below = [module for name, module in model.named_modules() if name.endswith("embeddings")]
    for module in (*below, *layers[: settings.frozen_layers]):
        module.requires_grad_(False)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Trained parameters in two groups: matrices decay; biases and LayerNorm (all vectors) do not."""
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay}
    return [decayed, {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]


def _number(*key: object) -> int:
    return int.from_bytes(blake2b("\t".join(map(str, key)).encode(), digest_size=7).digest(), "big")
