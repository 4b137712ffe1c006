"""What a training writes down: its log and its checkpoint.

`log.jsonl` has one JSON object per line: step, loss (mean since the line before), lr, pairs_per_s, padding (share of
tokens that are padding), tflops (see `flops.py`), mfu (where the device's peak is known), seconds (of training so far).
`checkpoint.pt` holds weights, optimiser and position; it is replaced as a whole, read without running any code in it,
and belongs to one training (its key). Of several processes all count, and the first one writes.

    record = Record.open(folder, key, weights)                         # at step 0, or at the checkpoint's
    record.count(batch, loss); record.log(lr, steps, print); record.save(weights)
"""

import json
import math
import pickle
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cslab.processes import processes, summed
from cslab.ranking.cross_encoder import Progress
from cslab.store import CslabError, atomic_open, atomic_path
from cslab.training.batches import Batch
from cslab.training.flops import Meter
from cslab.training.watch import Tell, Watch
from cslab.training.weights import Weights

LOG = "log.jsonl"
LEARNT = 0.98  # of the loss of guessing; what is above has learnt nothing to speak of


@dataclass
class Tally:
    """What was counted over some steps."""

    steps: int = 0
    pairs: int = 0
    tokens: int = 0
    cells: int = 0  # tokens and padding
    squares: int = 0  # of the lengths of pairs, summed
    seconds: float = 0.0
    loss: float | Tensor = 0.0  # summed over steps; a tensor on the device until somebody asks

    @property
    def mean(self) -> float:
        """Mean loss of a step."""
        return float(self.loss) / max(1, self.steps)

    def add(self, other: "Tally") -> "Tally":
        """The tally of both."""
        mine, theirs = self.plain(), other.plain()
        return Tally(**{name: value + theirs[name] for name, value in mine.items()})

    def pooled(self) -> "Tally":
        """The tally of all processes, for each of them: counts are summed, losses averaged. Waits for the device."""
        counts = np.array([self.pairs, self.tokens, self.cells, self.squares, float(self.loss)], np.float64)
        *counted, loss = summed(counts).tolist()
        pairs, tokens, cells, squares = map(int, counted)
        return Tally(self.steps, pairs, tokens, cells, squares, self.seconds, loss / processes()[1])

    def plain(self) -> dict[str, Any]:
        """Its numbers, off the device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"loss": float(self.loss)}

    def figures(self, meter: Meter | None) -> dict[str, float]:
        """Loss, throughput, padding and arithmetic as they are reported."""
        return {
            "loss": round(self.mean, 6),
            "pairs_per_s": round(self.pairs / max(self.seconds, 1e-9), 1),
            "padding": round(1 - self.tokens / max(1, self.cells), 4),
            **(meter.figures(self.tokens, self.squares, self.seconds) if meter else {}),
        }


@dataclass
class Record:
    """Where a training is: its step, what it counted since the last line of the log, and before."""

    folder: Path
    key: str
    watch: Watch
    meter: Meter | None = None
    tell: Tell | None = None
    step: int = 0
    own: Tally = field(default_factory=Tally)  # of this process, since it last met the others
    recent: Tally = field(default_factory=Tally)  # of all, since the last line of the log
    before: Tally = field(default_factory=Tally)
    last: float = math.nan  # loss in the last line of the log
    late: Tally = field(default_factory=Tally)  # of all, over the last quarter of the steps
    clock: float = field(default_factory=time.monotonic)

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies."""
        return self.folder / "checkpoint.pt"

    @classmethod
    def open(
        cls,
        folder: Path,
        key: str,
        weights: Weights,
        watch: Watch | None = None,
        meter: Meter | None = None,
        tell: Tell | None = None,
    ) -> "Record":
        """Goes on from the folder's checkpoint, if there is one, else starts; drops log lines after that point.

        Args:
            folder: of the training.
            key: what a checkpoint must carry.
            weights: get the checkpoint's state.
            watch: evaluations that go with it.
            meter: of arithmetic; None leaves it out of the log.
            tell: called with what is logged, and the step.

        Raises:
            CslabError: for a checkpoint of another training, a damaged one, or one that not all processes see.
        """
        folder.mkdir(parents=True, exist_ok=True)
        watch = watch or Watch(folder)
        record = cls(folder, key, watch, meter, tell)
        if record.checkpoint.is_file():
            record._restore(_read(record.checkpoint, key), weights)
        rank, count = processes()
        steps = summed(np.where(np.arange(count) == rank, record.step, 0)).tolist()
        if len(set(steps)) > 1:
            raise CslabError(
                f"{record.checkpoint}: processes begin at steps {sorted(set(steps))}; use a folder that all of them see"
            )
        if rank == 0:
            _shorten(folder / LOG, record.step, keep=True)
            _shorten(watch.log, record.step, keep=bool(watch.every))
        record.clock = time.monotonic()
        return record

    def _restore(self, held: Mapping[str, Any], weights: Weights) -> None:
        weights.restore(held)
        self.watch.restore(held["watch"])
        self.step, self.recent, self.before = held["step"], Tally(**held["recent"]), Tally(**held["before"])
        self.late = Tally(**held["late"])

    def adopt(self, beginning: Path, key: str, latest: int, weights: Weights) -> None:
        """Goes on from the checkpoint of another training, with its log, as if its steps had been made here.

        Args:
            beginning: folder of that training.
            key: what its checkpoint must carry.
            latest: the last step that it may have made.
            weights: get its state.

        Raises:
            CslabError: for a checkpoint of something else, a damaged one, or one that went further.
        """
        held = _read(beginning / self.checkpoint.name, key)
        if held["step"] > latest:
            raise CslabError(f"{beginning}: a beginning of {held['step']} steps; no more than {latest} are shared")
        self._restore(held, weights)
        if processes()[0] == 0:
            for file in (self.folder / LOG, self.watch.log, self.watch.weights):
                if (beginning / file.name).is_file():
                    shutil.copy2(beginning / file.name, file)
        self.clock = time.monotonic()

    def count(self, batch: Batch, loss: Tensor) -> None:
        """Notes a batch that a step is done with; does not wait for the device."""
        self.own.pairs += len(batch.rows)
        self.own.tokens += batch.tokens
        self.own.cells += batch.inputs["attention_mask"].numel()
        self.own.squares += batch.squares
        self.own.loss = self.own.loss + loss.detach() / batch.part[1]
        if batch.last:
            self.step = batch.step + 1
            self.own.steps += 1

    def check(self) -> None:
        """Waits for the device and the other processes, takes the time, and makes sure that all losses were finite.

        Raises:
            CslabError: if one since the last check was not.
        """
        pooled = self.own.pooled()
        now = time.monotonic()
        pooled.seconds, self.clock, self.own = now - self.clock, now, Tally()
        self.recent = self.recent.add(pooled)
        if math.isfinite(pooled.mean):
            return
        first = self.step - pooled.steps + 1
        kept = f"{self.checkpoint} is kept" if self.checkpoint.is_file() else "there is no checkpoint yet"
        raise CslabError(
            f"loss or gradient is not finite in steps {first} to {self.step}; {kept}; lower lr or check the labels"
        )

    def log(self, lr: float, steps: int, progress: Progress | None) -> None:
        """Writes a line of the log and starts counting anew.

        Raises:
            CslabError: if a loss was not finite.
        """
        self.check()
        figures = self.recent.figures(self.meter)
        if 4 * self.step > 3 * steps:
            self.late = self.late.add(self.recent)
        self.before, self.recent, self.last = self.before.add(self.recent), Tally(), figures["loss"]
        row = {"step": self.step, **figures, "lr": lr, "seconds": round(self.before.seconds, 2)}
        if processes()[0] == 0:
            with open(self.folder / LOG, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(row) + "\n")
        if self.tell:
            self.tell({name: value for name, value in row.items() if name != "step"}, self.step)
        if progress:
            left = (steps - self.step) * self.before.seconds / self.before.steps
            speed = f"{figures['pairs_per_s']:,.0f} pairs/s, {left:,.0f} s left"
            progress(f"step {self.step} of {steps}: loss {figures['loss']:.4f}, {speed}")

    def keep(self, lr: float, settings: Any, weights: Weights, progress: Progress | None) -> None:
        """After a step: writes the log and the checkpoint where `steps`, `log_every` and `save_every` say so.

        Raises:
            CslabError: if a loss was not finite.
        """
        if self.step == settings.steps or self.step % settings.log_every == 0:
            self.log(lr, settings.steps, progress)
        if settings.save_every and self.step % settings.save_every == 0 and self.step < settings.steps:
            self.save(weights)

    def learnt(self, guess: float, progress: Progress | None) -> bool:
        """Whether the loss of the last quarter is below that of guessing, by one part in fifty; if not, says so."""
        if self.late.mean < LEARNT * guess:
            return True
        if progress:
            progress(
                f"nothing was learnt: the loss of the last steps, {self.late.mean:.3f}, is that of guessing "
                f"({guess:.3f}); train for more steps, lower the share of switched words, or take easier negatives"
            )
        return False

    def save(self, weights: Weights) -> None:
        """Writes the checkpoint; all processes come here together.

        Raises:
            CslabError: if a loss was not finite; the checkpoint before is kept.
        """
        self.check()
        state = weights.state()
        if processes()[0] == 0:
            held = {"key": self.key, "step": self.step, "recent": self.recent.plain(), "before": self.before.plain()}
            held["late"] = self.late.plain()
            held |= {"watch": self.watch.state(), **state}
            with atomic_path(self.checkpoint) as temporary:
                torch.save(held, temporary)
        self.pause()

    def pause(self) -> None:
        """Takes the time anew: what was done since is no training."""
        self.clock = time.monotonic()

    def summary(self) -> dict[str, Any]:
        """The small numbers of the whole training."""
        figures = self.before.figures(self.meter)
        return {
            "steps": self.step,
            "loss": self.last,
            "mean loss": figures.pop("loss"),
            **figures,
            "seconds": round(self.before.seconds, 1),
            **self.watch.summary(),
        }


def _shorten(log: Path, step: int, keep: bool) -> None:
    """Drops the lines of a log that are beyond a step; without `keep`, the log."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() and step else []
    log.unlink(missing_ok=True)
    if keep:
        with atomic_open(log) as handle:
            handle.writelines(f"{line}\n" for line in lines if _step(line) <= step)


def _step(line: str) -> float:
    # What was killed while it wrote a line has left half of one, beyond the checkpoint.
    try:
        return json.loads(line)["step"]
    except json.JSONDecodeError:
        return math.inf


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
        found = held["key"]
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise CslabError(f"{path}: checkpoint cannot be read ({reason}); delete it to start again") from None
    if found != key:
        raise CslabError(
            f"{path}: checkpoint of another training (settings, pairs, their texts, encoder or adversary differ); "
            "delete it to start again"
        )
    return held
