"""Precision: one decision, the same on every CPU, and every path that computes is told."""

import inspect
import re
from pathlib import Path

import pytest
import torch

import cslab
from cslab.evaluation.attacks import ranking_by
from cslab.evaluation.dev import dev_evaluation
from cslab.evaluation.noise import noise_scores
from cslab.ranking.cosine import TextVectors
from cslab.ranking.cross_attention import pair_scores
from cslab.ranking.cross_encoder import score_pairs, scored
from cslab.ranking.dual_encoder import embed_images, embed_texts, stored_images
from cslab.ranking.precision import choose_precision, computing_in
from cslab.ranking.rerank import rerank_all
from cslab.store import CslabError
from cslab.training.settings import TrainSettings
from cslab.training.teachers import teach

pytestmark = pytest.mark.numbers

CPU = torch.device("cpu")
COMPUTE = (
    score_pairs, scored, rerank_all, embed_texts, embed_images, stored_images, pair_scores, ranking_by, noise_scores,
    dev_evaluation, TrainSettings,
)  # fmt: skip


@pytest.mark.parametrize("able", [True, False])
def test_auto_is_fp32_on_every_cpu(monkeypatch, able):
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: able, raising=False)
    assert choose_precision("auto", CPU) == ("fp32", "a CPU computes in fp32 unless bf16 is asked for")
    assert choose_precision("bf16", CPU) == ("bf16", "asked for")
    assert choose_precision("fp32", CPU) == ("fp32", "asked for")


def test_auto_follows_the_gpu(monkeypatch):
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "G")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert choose_precision("auto", gpu) == ("bf16", "G computes in bf16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert choose_precision("auto", gpu) == ("fp32", "G does not compute in bf16")
    with pytest.raises(CslabError, match="precision bf16: G does not compute in bf16; use fp32"):
        choose_precision("bf16", gpu)


@pytest.mark.parametrize("bad", ["fp16", "bf61"])
def test_other_names_are_refused(bad):
    with pytest.raises(CslabError, match=f"'{bad}' is not offered"):
        choose_precision(bad, CPU)


@pytest.mark.parametrize("function", [*COMPUTE, TextVectors, teach], ids=lambda function: function.__name__)
def test_functions_compute_in_fp32_unless_they_are_told(function):
    assert inspect.signature(function).parameters["precision"].default == "fp32"


def test_calls_of_the_package_hand_the_precision_on():
    """Inside the package no call leaves the precision to a default: it would not be the profile's."""
    names = "|".join(f.__name__ for f in COMPUTE if f is not TrainSettings)
    calls = re.compile(rf"(?<!def )(?<![`\w.])(?:{names})\(")
    silent = []
    for file in sorted(Path(cslab.__file__).parent.rglob("*.py")):
        text = re.sub(r'"""[\s\S]*?"""', "", file.read_text(encoding="utf-8"))
        for call in calls.finditer(text):
            whole = _arguments(text, call.end())
            if "precision" not in whole and "*settings" not in whole and "**options" not in whole:
                silent.append(f"{file.name}: {call.group()}{whole})")
    # The widget of notebook 03 shows a score of one pair with two decimals.
    assert [one for one in silent if not one.startswith("widgets.py")] == []


def _arguments(text: str, start: int) -> str:
    depth, at = 1, start
    while depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return text[start : at - 1]


def test_computing_in_fp32_changes_nothing_and_bf16_keeps_the_head():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Linear(16, 1))
    x = torch.randn(4, 16)
    with torch.inference_mode():
        plain = model(x)
        with computing_in(model, "fp32"):
            assert torch.equal(model(x), plain)
        with computing_in(model, "bf16"):
            rounded = model(x)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, plain)
    torch.testing.assert_close(rounded, plain, atol=2e-2, rtol=0)
    assert not model[1]._forward_hooks
