"""Evaluation during training: the best and the last model, an early end, and going on from a checkpoint."""

import json

import pytest
import torch

from cslab.ranking.cross_encoder import load_encoder
from cslab.store import CslabError
from cslab.training.flops import Meter
from cslab.training.loop import train
from cslab.training.settings import TrainSettings
from tests.faults.test_training import PAIRS, texts
from tests.tiny import tiny_encoder

pytestmark = pytest.mark.numbers

SETTINGS = {"steps": 12, "batch": 4, "lr": 1e-3, "max_length": 32, "log_every": 5, "save_every": 3, "evaluate_every": 2}


class Dev:
    """Figures as a script has them, and the weights they were asked for."""

    def __init__(self, *figures: float, start: int = 0):
        self.figures, self.seen, self.stop = list(figures)[start:], [], None

    def __call__(self, encoder):
        if self.stop == len(self.seen):
            raise KeyboardInterrupt
        self.seen.append({name: tensor.clone() for name, tensor in encoder.model.state_dict().items()})
        encoder.model.eval()
        figure = self.figures[len(self.seen) - 1]
        return {"en-en": figure + 1, "en-de": figure - 1}


def run(tmp_path, dev, name="run", **changes):
    encoder, lines = tiny_encoder(tmp_path / "tiny"), []
    settings = TrainSettings(**{**SETTINGS, **changes})
    summary = train(encoder, PAIRS, texts, settings, tmp_path / name, progress=lines.append, evaluate=dev)
    return summary, encoder, lines


def same(weights, model) -> bool:
    return all(torch.equal(weights[name], tensor) for name, tensor in model.state_dict().items())


def test_the_best_and_the_last_are_kept(tmp_path):
    dev = Dev(1, 5, 3, 4, 5, 2)
    summary, encoder, lines = run(tmp_path, dev)
    assert (summary["dev"], summary["best step"], summary["steps"]) == (5, 4, 12)
    assert same(dev.seen[1], encoder.model)
    assert same(dev.seen[1], load_encoder(tmp_path / "run" / "model", device="cpu").model)
    assert same(dev.seen[5], load_encoder(tmp_path / "run" / "last", device="cpu").model)
    rows = [json.loads(line) for line in (tmp_path / "run" / "dev.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 10, 12]
    assert rows[0] == {"step": 2, "mean": 1, "en-en": 2, "en-de": 0}
    assert "step 6: dev 3.00 (en-en 4.00, en-de 2.00), best 5.00 at step 4" in lines
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"model", "last", "log.jsonl", "dev.jsonl"}


def test_patience_ends_a_training(tmp_path):
    summary, _, _ = run(tmp_path, Dev(1, 5, 3, 4, 6, 2), patience=2)
    assert (summary["steps"], summary["best step"]) == (8, 4)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in log] == [2, 4, 5, 6, 8]


def test_a_resumed_training_remembers_the_best(tmp_path):
    figures = (1, 9, 3, 4, 5, 2)
    straight, _, _ = run(tmp_path, Dev(*figures), "straight", patience=3)
    dev = Dev(*figures)
    dev.stop = 3  # in the evaluation at step 8; the checkpoint is that of step 6
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, dev, "cut", patience=3)
    resumed, _, _ = run(tmp_path, Dev(*figures, start=3), "cut", patience=3)
    for name in ("steps", "loss", "dev", "best step"):
        assert straight[name] == resumed[name]
    logs = [(tmp_path / name / "dev.jsonl").read_text() for name in ("straight", "cut")]
    assert logs[0] == logs[1]
    models = [load_encoder(tmp_path / name / "model", device="cpu").model for name in ("straight", "cut")]
    assert same(models[0].state_dict(), models[1])


def test_mistakes_are_named(tmp_path):
    with pytest.raises(CslabError, match=r"evaluation at step 2 gave .*nan.*; check the dev pairs"):
        run(tmp_path, Dev(float("nan")))
    with pytest.raises(CslabError, match="nothing to evaluate with; give both"):
        run(tmp_path, None, "none")
    with pytest.raises(CslabError, match="evaluate_every is 0; give both"):
        run(tmp_path, Dev(1), "zero", evaluate_every=0)


def test_arithmetic_is_counted_without_padding(tmp_path):
    meter = Meter.of(tiny_encoder(tmp_path).model, torch.device("cpu"), "fp32")
    assert meter.attention == 2 * 32
    # 2 layers of 4·32² + 2·32·64 weights and their vectors, the pooler, the head; no tables.
    assert 2 * (4 * 32**2 + 2 * 32 * 64) < meter.weights < 2 * (4 * 32**2 + 2 * 32 * 64) + 3000
    assert meter.figures(tokens=0, squares=0, seconds=1) == {"tflops": 0}
    busy = Meter(weights=1_000_000, attention=0, peak=6e12)
    assert busy.figures(tokens=500_000, squares=0, seconds=1) == {"tflops": 3.0, "mfu": 0.5}
