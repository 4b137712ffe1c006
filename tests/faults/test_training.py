"""Mistakes in training: one line, and nothing good is lost."""

import numpy as np
import pytest
import torch

from cslab.ranking.cross_encoder import load_encoder
from cslab.store import CslabError
from cslab.training.loop import TrainSettings, train
from cslab.training.pairs import Pairs
from cslab.training.weights import sharded
from tests.tiny import WORDS, tiny_encoder

IDS = np.array([str(i) for i in range(40)])
PAIRS = Pairs(IDS, IDS, (np.arange(40) % 2).astype(np.float32), 2)
SETTINGS = TrainSettings(steps=12, batch=4, lr=1e-3, max_length=32, log_every=2, save_every=4)


def texts(epoch, indices):
    return [(WORDS[i % 20], WORDS[(i * 3 + epoch) % 20]) for i in indices]


def message_of(*arguments, **options) -> str:
    with pytest.raises(CslabError) as caught:
        train(*arguments, progress=None, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def poisoned(at: int, weights: bool):
    """An adversary whose loss (or gradient) is not finite from a step on."""

    def attack(model, batch, loss_of, backward):
        loss = loss_of(batch.inputs)
        backward(loss * (float("inf") if batch.step >= at and weights else 1.0))
        return loss * (float("nan") if batch.step >= at and not weights else 1.0)

    return attack


@pytest.mark.parametrize("weights", [False, True])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path, weights):
    encoder = tiny_encoder(tmp_path / "tiny")
    said = message_of(encoder, PAIRS, texts, SETTINGS, tmp_path / "run", adversary=poisoned(7, weights))
    assert "not finite in steps 7 to 8" in said
    assert "checkpoint.pt is kept" in said
    held = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert held["step"] == 4
    assert all(torch.isfinite(tensor).all() for tensor in held["model"].values())
    assert not (tmp_path / "run" / "model").exists()
    with open(tmp_path / "run" / "log.jsonl", "a") as log:
        log.write('{"step": 8, "lo')  # as a process leaves it that is killed while it writes
    given = (tiny_encoder(tmp_path / "tiny"), PAIRS, texts, SETTINGS, tmp_path / "run", poisoned(99, weights))
    assert train(*given, progress=None)["steps"] == 12
    load_encoder(tmp_path / "run" / "model", device="cpu")


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    message_of(tiny_encoder(tmp_path / "tiny"), PAIRS, texts, SETTINGS, tmp_path / "run", adversary=poisoned(7, False))
    other = TrainSettings(**{**SETTINGS.__dict__, "lr": 2e-3})
    said = message_of(tiny_encoder(tmp_path / "tiny"), PAIRS, texts, other, tmp_path / "run")
    assert "checkpoint of another training" in said
    said = message_of(tiny_encoder(tmp_path / "tiny"), PAIRS, texts, SETTINGS, tmp_path / "run")
    assert "adversary differ" in said  # the plain step is not what made it
    assert (tmp_path / "run" / "checkpoint.pt").is_file()


def test_a_damaged_checkpoint_is_named(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"not a checkpoint")
    said = message_of(tiny_encoder(tmp_path / "tiny"), PAIRS, texts, SETTINGS, tmp_path / "run")
    assert "checkpoint.pt: checkpoint cannot be read" in said


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FSDP_VERSION", "1", "FSDP 1 is not offered; set fsdp_version: 2"),
        ("FSDP_OFFLOAD_PARAMS", "true", "set fsdp_offload_params: false"),
        ("FSDP_AUTO_WRAP_POLICY", "SIZE_BASED_WRAP", "by size is not offered"),
        ("FSDP_TRANSFORMER_CLS_TO_WRAP", "BertLayr", "no layer of BertForSequenceClassification is a BertLayr"),
    ],
)
def test_shards_that_are_not_offered(tmp_path, monkeypatch, name, value, message):
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    monkeypatch.setenv(name, value)
    with pytest.raises(CslabError, match=message):
        sharded(tiny_encoder(tmp_path).model, torch.device("cpu"))


def test_shards_know_neither_adversaries_nor_compiling(tmp_path, monkeypatch):
    monkeypatch.setattr("cslab.training.loop.shards_asked_for", lambda: True)
    said = message_of(tiny_encoder(tmp_path), PAIRS, texts, SETTINGS, tmp_path / "run", adversary=poisoned(7, False))
    assert "FSDP and an adversary or auxiliary do not go together" in said
    compiled = TrainSettings(**{**SETTINGS.__dict__, "compile": True})
    assert "FSDP and compile" in message_of(tiny_encoder(tmp_path), PAIRS, texts, compiled, tmp_path / "run")


def test_labels_and_lengths_are_checked_before_anything_is_written(tmp_path):
    encoder = tiny_encoder(tmp_path / "tiny")
    graded = Pairs(IDS, IDS, np.full(40, 3.0, np.float32), 2)
    assert "pair 0 has label 3" in message_of(encoder, graded, texts, SETTINGS, tmp_path / "run")
    long = TrainSettings(**{**SETTINGS.__dict__, "max_length": 512})
    assert "beyond the 64 positions" in message_of(encoder, PAIRS, texts, long, tmp_path / "run")
    big = TrainSettings(**{**SETTINGS.__dict__, "batch": 64})
    assert "batches of 64 from 40 pairs" in message_of(encoder, PAIRS, texts, big, tmp_path / "run")
    assert not (tmp_path / "run").exists()
