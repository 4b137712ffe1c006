"""FGM and PGD against steps written by hand for a linear model, whose gradients are known in closed form."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cslab.training.ball import Ball
from cslab.training.batches import Batch
from cslab.training.loop import Objective
from cslab.training.losses import LOSSES
from cslab.training.perturbed import FreeLB, Perturbed, Smooth

pytestmark = pytest.mark.numbers

PAD, CLS = 0, 1
IDS = np.array([[1, 4, 5, 6], [1, 7, 3, 0], [1, 2, 0, 0]])
LABELS = np.array([1.0, 0.0, 1.0])


class Linear(nn.Module):
    """The logit is the weight times the mean embedding of all tokens that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.weight = nn.Embedding(8, 5), nn.Parameter(torch.randn(5))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[:, :, None].float()
        mean = (self.table(input_ids) * mask).sum(1) / mask.sum(1)
        return SimpleNamespace(logits=(mean @ self.weight)[:, None])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class ByHand:
    """The same model in numpy."""

    def __init__(self, model: Linear) -> None:
        self.weight = model.weight.detach().numpy().astype(float)
        self.mask = (IDS != PAD).astype(float)[:, :, None]
        self.free = ((IDS != PAD) & (IDS != CLS)).astype(float)[:, :, None]
        self.embeddings = model.table.weight.detach().numpy().astype(float)[IDS]

    def mean(self, move):
        return ((self.embeddings + move) * self.mask).sum(1) / self.mask.sum(1)

    def errors(self, move):
        return (sigmoid(self.mean(move) @ self.weight) - LABELS) / len(LABELS)

    def at_embeddings(self, move):
        spread = self.errors(move)[:, None, None] * self.weight / self.mask.sum(1)[:, None]
        return spread * self.free

    def at_weight(self, move):
        return self.errors(move) @ self.mean(move)


def batch() -> Batch:
    ids = torch.from_numpy(IDS)
    inputs = {"input_ids": ids, "attention_mask": (ids != PAD).long()}
    return Batch(0, 0, np.arange(3), inputs, torch.from_numpy(LABELS).float(), int((ids != PAD).sum()))


def gradient_of(attack, model: Linear) -> np.ndarray:
    one = batch()
    objective = Objective(model, one.labels, LOSSES["bce"].compute, "fp32")
    attack(model, one, objective, torch.Tensor.backward)
    return model.weight.grad.numpy()


def sizes(move):
    return np.sqrt((move**2).sum((1, 2), keepdims=True))


SPECIAL = frozenset({PAD, CLS})


@pytest.mark.parametrize("clean", [0.0, 0.5, 0.3])
def test_fgm(clean):
    model = Linear()
    hand = ByHand(model)
    slope = hand.at_embeddings(0.0)
    move = 0.7 * slope / sizes(slope)
    wanted = clean * hand.at_weight(0.0) + (1 - clean) * hand.at_weight(move)
    attack = Perturbed(Ball(0.7, relative=False), SPECIAL, steps=1, step=1.0, start=0.0, clean=clean)
    np.testing.assert_allclose(gradient_of(attack, model), wanted, rtol=1e-4)


def test_fast_gradient_sign():
    model = Linear()
    hand = ByHand(model)
    move = 0.2 * np.sign(hand.at_embeddings(0.0))
    attack = Perturbed(Ball(0.2, "linf", relative=False), SPECIAL, steps=1, step=1.0, start=0.0, clean=0.0)
    np.testing.assert_allclose(gradient_of(attack, model), hand.at_weight(move), rtol=1e-4)


@pytest.mark.parametrize("relative", [False, True])
def test_pgd(relative):
    model = Linear()
    hand = ByHand(model)
    radius = 0.5 * (sizes(hand.embeddings * hand.free) if relative else 1.0)
    move = np.zeros_like(hand.embeddings)
    for _ in range(4):
        slope = hand.at_embeddings(move)
        move = move + 0.4 * radius * slope / sizes(slope)
        move = move * np.minimum(1.0, radius / np.maximum(sizes(move), 1e-30))
    attack = Perturbed(Ball(0.5, relative=relative), SPECIAL, steps=4, step=0.4, start=0.0, clean=0.0)
    np.testing.assert_allclose(gradient_of(attack, model), hand.at_weight(move), rtol=1e-4)


def test_freelb():
    model = Linear()
    hand = ByHand(model)
    move, wanted = np.zeros_like(hand.embeddings), np.zeros(5)
    for _ in range(3):
        wanted += hand.at_weight(move) / 3
        slope = hand.at_embeddings(move)
        move = move + 0.3 * 0.6 * slope / sizes(slope)
    attack = FreeLB(Ball(0.6, relative=False), SPECIAL, steps=3, step=0.3, start=0.0, clean=0.0)
    np.testing.assert_allclose(gradient_of(attack, model), wanted, rtol=1e-4)


def test_smoothness():
    # From a start so near that the divergence is a quadratic form: its steepest ascent is along the weight.
    model = Linear()
    hand = ByHand(model)
    attack = Smooth(Ball(0.4, relative=False), SPECIAL, 1, 1.0, start=1e-3, weight=2.0, divergence="squared")
    along = hand.weight * hand.free
    move = 0.4 * along / sizes(along)
    change = (hand.mean(move) - hand.mean(0.0)) @ hand.weight
    # d/dw of the mean over pairs of (w · (mean' - mean))², either sign of the move being as good.
    smooth = (2 * change) @ (hand.mean(move) - hand.mean(0.0)) / len(LABELS)
    np.testing.assert_allclose(gradient_of(attack, model), hand.at_weight(0.0) + 2.0 * smooth, rtol=1e-3)
