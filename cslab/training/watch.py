"""Evaluation during training: dev pairs now and then, the best weights kept, an end when nothing improves.

What is evaluated is a function of the encoder that gives one figure per language pair (higher is better); their mean
decides. Writes `dev.jsonl` (one JSON object per evaluation: step, mean, and the figure of each pair) and, until the
training ends, `best.pt`. `cslab.evaluation.dev` makes such a function from tasks.

    watch = Watch(Path("outputs/x"), evaluate, every=100, patience=3)
    watch.look(encoder, step, None, print); watch.over
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cslab.processes import processes
from cslab.ranking.cross_encoder import Encoder, Progress
from cslab.store import CslabError, atomic_path

Evaluate = Callable[[Encoder], Mapping[str, float]]  # language pair → figure, higher is better
Tell = Callable[[dict[str, Any], int], None]  # called with named figures and the step


@dataclass
class Watch:
    """What evaluations have shown so far."""

    folder: Path
    evaluate: Evaluate | None = None
    every: int = 0
    patience: int = 0
    best: float = -math.inf
    best_step: int = 0
    waited: int = 0  # evaluations since the best

    def __post_init__(self) -> None:
        if (self.evaluate is None) != (self.every == 0):
            given = "nothing to evaluate with" if self.evaluate is None else "evaluate_every is 0"
            raise CslabError(f"training: {given}; give both `evaluate` and evaluate_every, or neither")

    @property
    def log(self) -> Path:
        """Where evaluations are written."""
        return self.folder / "dev.jsonl"

    @property
    def weights(self) -> Path:
        """Where the best weights lie until the training ends."""
        return self.folder / "best.pt"

    @property
    def over(self) -> bool:
        """Whether patience is at an end."""
        return bool(self.patience) and self.waited >= self.patience

    def due(self, step: int, steps: int) -> bool:
        """Whether to look after this step: every so often, and at the end."""
        return bool(self.every) and (step % self.every == 0 or step == steps)

    def look(self, encoder: Encoder, step: int, tell: Tell | None, progress: Progress | None) -> None:
        """Evaluates, and keeps the weights if they are the best so far.

        Every process evaluates, so that what is evaluated may share the work; the first one's figures count.

        Raises:
            CslabError: if a figure is not a finite number.
        """
        from accelerate.utils import broadcast_object_list

        training = encoder.model.training
        figures = dict(self.evaluate(encoder))
        if processes()[1] > 1:
            figures = broadcast_object_list([figures])[0]
        encoder.model.train(training)
        mean = sum(figures.values()) / max(1, len(figures))
        if not figures or not math.isfinite(mean):
            raise CslabError(f"training: evaluation at step {step} gave {figures or 'nothing'}; check the dev pairs")
        better = mean > self.best
        self.waited = 0 if better else self.waited + 1
        if better:
            self.best, self.best_step = mean, step
        if processes()[0] == 0:
            self._write(encoder, step, mean, figures, better)
        if tell:
            tell({"dev": mean} | {f"dev/{name}": value for name, value in figures.items()}, step)
        if progress:
            told = ", ".join(f"{name} {value:.2f}" for name, value in figures.items())
            verdict = "the best so far" if better else f"best {self.best:.2f} at step {self.best_step}"
            progress(f"step {step}: dev {mean:.2f} ({told}), {verdict}")

    def _write(self, encoder: Encoder, step: int, mean: float, figures: Mapping[str, float], better: bool) -> None:
        with open(self.log, "a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, "mean": round(mean, 4), **figures}) + "\n")
        if better:
            with atomic_path(self.weights) as temporary:
                torch.save(encoder.model.state_dict(), temporary)

    def recall(self, encoder: Encoder) -> None:
        """Puts the best weights back."""
        encoder.model.load_state_dict(torch.load(self.weights, map_location=encoder.device, weights_only=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint."""
        self.best, self.best_step, self.waited = state["best"], state["best_step"], state["waited"]

    def summary(self) -> dict[str, Any]:
        """The small numbers of it; none where nothing was evaluated."""
        return {"dev": round(self.best, 4), "best step": self.best_step} if self.every else {}
