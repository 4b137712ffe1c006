"""Several processes, and a training that was killed, end where one process ends."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests import several


def unseen(weights, loss: str) -> set[str]:
    """Weights that no loss depends on, which rounding errors move: a softmax does not see a constant."""
    keys = {name for name in weights if name.endswith("key.bias")}
    return keys | ({"classifier.bias"} if loss == "lce" else set())


def test_two_processes_train_and_make_stages_like_one(tmp_path, one_thread):
    told = several.start(tmp_path / "two")
    assert told[0] == told[1]
    for case in several.CASES:
        summary = several.trained(case, tmp_path / "one" / case)
        assert told[0][case]["processes"] == 2
        assert told[0][case]["loss"] == pytest.approx(summary["loss"], abs=1e-5)
        one, two = (load_file(tmp_path / name / case / "model" / "model.safetensors") for name in ("one", "two"))
        for name in one.keys() - unseen(one, several.CASES[case]["loss"]):
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5, msg=f"{case} {name}")
        assert not (tmp_path / "two" / case / "checkpoint.pt").exists()
        logs = [(tmp_path / name / case / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
        assert len(logs[0]) == len(logs[1]) == 2
    dev = [(tmp_path / name / "shards" / "dev.jsonl").read_text().splitlines() for name in ("one", "two")]
    for one, two in zip(*(map(json.loads, rows) for rows in dev), strict=True):
        assert one == pytest.approx(two, abs=1e-4), "evaluated on whole weights"
    several.trained("shards", tmp_path / "two" / "shards-stopped")
    for kind in ("model", "last"):
        one, two, alone = (
            load_file(tmp_path / place / kind / "model.safetensors")
            for place in ("one/shards", "two/shards", "two/shards-stopped")
        )
        for name in one.keys() - unseen(one, "bce"):
            torch.testing.assert_close(one[name], two[name], rtol=0, atol=1e-5, msg=f"{kind} {name}")
            torch.testing.assert_close(one[name], alone[name], rtol=0, atol=1e-5, msg=f"{kind} {name}, by one process")
    stages = tmp_path / "two" / "stages"
    assert told[0]["stages"] == ["{'found': {'rank': 0}}", "{'rank': 0}", "{'rank': 0}"]
    assert {f.name for f in (stages / "two" / "b").glob("helper*")} == {"helper-0.txt", "helper-1.txt"}
    assert "9 pairs (groups of 3) does not part evenly among 2 processes" in told[0]["uneven"]


def test_a_killed_training_ends_with_the_same_weights(tmp_path, one_thread):
    several.twenty_steps(tmp_path / "straight")
    child = subprocess.run(
        [sys.executable, "-m", "tests.several", str(tmp_path / "cut"), "killed"],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}, timeout=900, check=False,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == 10
    several.twenty_steps(tmp_path / "cut")
    straight, cut = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("straight", "cut"))
    assert all(torch.equal(tensor, cut[name]) for name, tensor in straight.items())
