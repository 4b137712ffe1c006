"""Losses against their definitions, written out in plain Python one couple at a time."""

import math

import numpy as np
import pytest
import torch

from cslab.training.losses import LOSSES, alignment, jensen_shannon, lambdaloss

pytestmark = pytest.mark.numbers

RANDOM = np.random.default_rng(5)
GROUPS, SIZE = 6, 5
SCORES = RANDOM.normal(0, 2, (GROUPS, SIZE)).astype(np.float32)
OTHER = RANDOM.normal(0, 2, (GROUPS, SIZE)).astype(np.float32)
BINARY = np.tile(np.array([1, 0, 0, 0, 0], np.float32), (GROUPS, 1))
GRADED = RANDOM.integers(0, 4, (GROUPS, SIZE)).astype(np.float32)
GRADED[:, 0] = 3
TEACHER = RANDOM.normal(0, 3, (GROUPS, SIZE)).astype(np.float32)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def softmax(scores):
    whole = sum(math.exp(s) for s in scores)
    return [math.exp(s) / whole for s in scores]


def couples(labels):
    return [(i, j) for i in range(len(labels)) for j in range(len(labels)) if labels[i] > labels[j]]


def bce(scores, labels):
    p = [1 / (1 + math.exp(-s)) for s in scores]
    return mean(-(y * math.log(x) + (1 - y) * math.log(1 - x)) for x, y in zip(p, labels, strict=True))


def hinge(scores, labels):
    found = couples(labels)
    return mean(max(0.0, 1 - (scores[i] - scores[j])) for i, j in found) if found else 0.0


def ranknet(scores, labels):
    found = couples(labels)
    return mean(-math.log(1 / (1 + math.exp(scores[j] - scores[i]))) for i, j in found) if found else 0.0


def lce(scores, labels):
    return sum(-y / sum(labels) * math.log(p) for p, y in zip(softmax(scores), labels, strict=True))


def lambda_loss(scores, labels, mu=10.0):
    def discount(rank):
        return math.log2(1 + rank)

    rank = {i: r for r, i in enumerate(sorted(range(len(scores)), key=lambda i: -scores[i]), start=1)}
    ideal = sum((2**y - 1) / discount(r) for r, y in enumerate(sorted(labels, reverse=True), start=1))
    total = 0.0
    for i, j in couples(labels):
        apart = abs(rank[i] - rank[j])
        swap = abs(1 / discount(rank[i]) - 1 / discount(rank[j]))
        near = abs(1 / discount(apart) - 1 / discount(apart + 1))
        gain = abs(2 ** labels[i] - 2 ** labels[j]) / ideal
        total += (swap + mu * near) * gain * math.log2(1 + math.exp(scores[j] - scores[i]))
    return total


def margin_mse(scores, labels):
    return mean(((scores[0] - s) - (labels[0] - y)) ** 2 for s, y in zip(scores[1:], labels[1:], strict=True))


def kl(scores, labels):
    return sum(t * math.log(t / p) for p, t in zip(softmax(scores), softmax(labels), strict=True))


def js(scores, others):
    p, q = softmax(scores), softmax(others)
    middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    return sum(0.5 * sum(a * math.log(a / m) for a, m in zip(side, middle, strict=True)) for side in (p, q))


DEFINITIONS = {
    "bce": (bce, [BINARY]),
    "hinge": (hinge, [BINARY, GRADED]),
    "ranknet": (ranknet, [BINARY, GRADED]),
    "lce": (lce, [BINARY, GRADED]),
    "lambdaloss": (lambda_loss, [BINARY, GRADED]),
    "margin-mse": (margin_mse, [TEACHER]),
    "kl": (kl, [TEACHER]),
}


def test_every_loss_has_a_definition():
    assert DEFINITIONS.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
def test_losses_equal_their_definitions(name):
    define, cases = DEFINITIONS[name]
    for labels in cases:
        expected = mean(define(s, y) for s, y in zip(SCORES.tolist(), labels.tolist(), strict=True))
        found = LOSSES[name](torch.from_numpy(SCORES).reshape(-1), torch.from_numpy(labels).reshape(-1), SIZE)
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_alignment_is_a_divergence_and_a_contrast():
    scores, other, labels = (torch.from_numpy(array) for array in (SCORES, OTHER, BINARY))
    expected = mean(js(s, o) for s, o in zip(SCORES.tolist(), OTHER.tolist(), strict=True))
    assert jensen_shannon(scores, other).item() == pytest.approx(expected, rel=1e-5)
    contrast = mean(lce(o, y) for o, y in zip(OTHER.tolist(), BINARY.tolist(), strict=True))
    assert alignment(scores, other, labels).item() == pytest.approx(expected + contrast, rel=1e-5)
    taught = torch.from_numpy(TEACHER)
    told = jensen_shannon(scores, other) + LOSSES["kl"].compute(other, taught)
    assert alignment(scores, other, taught, right=LOSSES["kl"].compute).item() == pytest.approx(told.item(), rel=1e-6)
    assert jensen_shannon(scores, scores).item() == pytest.approx(0, abs=1e-6)
    assert jensen_shannon(scores, other).item() == pytest.approx(jensen_shannon(other, scores).item(), rel=1e-5)


def test_lambda_weights_without_the_second_term_are_lambdarank():
    scores, labels = torch.from_numpy(SCORES), torch.from_numpy(GRADED)
    rows = zip(SCORES.tolist(), GRADED.tolist(), strict=True)
    assert lambdaloss(scores, labels, mu=0.0).item() == pytest.approx(mean(lambda_loss(*r, mu=0.0) for r in rows), 1e-5)
