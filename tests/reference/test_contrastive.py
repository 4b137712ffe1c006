"""Contrastive losses against a brute-force matrix, and cached gradients against one large batch."""

import math

import pytest
import torch
from torch import nn

from cslab.training.contrastive import Contrast, cached_gradients, info_nce, sigmoid_loss, squared_error

pytestmark = pytest.mark.numbers


def _vectors(rows=7, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, width, generator=generator, dtype=torch.float64).float().unbind()


def _cosine(a, b):
    a, b = a.tolist(), b.tolist()
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def _log_softmax_by_hand(scores, own):
    return scores[own] - math.log(sum(math.exp(s) for s in scores.values()))


@pytest.mark.parametrize("items", [None, [0, 1, 1, 2, 3, 3, 3]])
def test_info_nce_is_the_mean_over_rows_and_columns_of_a_brute_force_matrix(items):
    first, second = _vectors()
    scale, n, total = 3.0, len(first), 0.0
    for i in range(n):
        others = [j for j in range(n) if j == i or items is None or items[j] != items[i]]
        total -= _log_softmax_by_hand({j: scale * _cosine(first[i], second[j]) for j in others}, i)
        total -= _log_softmax_by_hand({j: scale * _cosine(first[j], second[i]) for j in others}, i)
    tensor = None if items is None else torch.tensor(items)
    assert info_nce(first, second, torch.tensor(scale), tensor).item() == pytest.approx(total / 2 / n, rel=1e-5)


@pytest.mark.parametrize("items", [None, [0, 1, 1, 2, 3, 3, 3]])
def test_sigmoid_loss_is_the_sum_over_a_brute_force_matrix(items):
    first, second = _vectors(seed=1)
    scale, bias, n, total = 10.0, -4.0, len(first), 0.0
    for i in range(n):
        for j in range(n):
            if i != j and items is not None and items[i] == items[j]:
                continue
            logit = scale * _cosine(first[i], second[j]) + bias
            total += math.log(1 + math.exp(-logit if i == j else logit))
    tensor = None if items is None else torch.tensor(items)
    found = sigmoid_loss(first, second, torch.tensor(scale), torch.tensor(bias), tensor)
    assert found.item() == pytest.approx(total / n, rel=1e-5)


def test_squared_error_keeps_lengths():
    first, second = _vectors(seed=2)
    by_hand = sum((a - b) ** 2 for a, b in zip(first.flatten().tolist(), second.flatten().tolist(), strict=True))
    assert squared_error(first, second).item() == pytest.approx(by_hand / first.numel(), rel=1e-5)
    assert squared_error(2 * first, first).item() > 0


class _Tower(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 5))
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, x):
        return self.layers(x)


def _loss(tower):
    return lambda vectors: info_nce(*vectors.chunk(2), tower.scale)


def _gradients(dropout, chunks):
    torch.manual_seed(0)
    tower, rows = _Tower(dropout).train(), torch.randn(24, 6)
    torch.manual_seed(1)
    if chunks is None:
        loss = _loss(tower)(tower(rows))
        loss.backward()
    else:
        loss = cached_gradients(tower, rows.split(chunks), _loss(tower), torch.Tensor.backward)
    return loss.item(), torch.cat([p.grad.flatten() for p in tower.parameters()])


@pytest.mark.parametrize("chunk", [1, 5, 24])
def test_cached_gradients_equal_those_of_the_plain_large_batch(chunk):
    plain_loss, plain = _gradients(0.0, None)
    loss, found = _gradients(0.0, chunk)
    assert loss == pytest.approx(plain_loss, abs=1e-5)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


def test_the_second_pass_of_cached_gradients_draws_the_dropout_of_the_first():
    # One chunk draws what the plain pass draws; were the dropout drawn anew, the gradients would be of another network.
    _, plain = _gradients(0.5, None)
    _, found = _gradients(0.5, 24)
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=1e-5)


def test_randomness_goes_on_after_cached_gradients_as_after_one_pass():
    torch.manual_seed(3)
    tower = _Tower(0.5).train()
    rows = torch.randn(8, 6)
    torch.manual_seed(4)
    with torch.no_grad():
        tower(rows)
    expected = torch.rand(1)
    torch.manual_seed(4)
    cached_gradients(tower, [rows], _loss(tower), torch.Tensor.backward)
    assert torch.equal(torch.rand(1), expected)


def test_alignment_is_a_weighted_info_nce_of_text_and_original():
    first, second = _vectors(seed=5)
    third, scale, bias = _vectors(seed=6)[0], torch.tensor(2.0), torch.tensor(0.0)
    loss, extra = Contrast(align=0.1).compute((first, second, third), scale, bias)
    assert extra.item() == pytest.approx(0.1 * info_nce(first, third, scale).item(), rel=1e-6)
    assert loss.item() == pytest.approx(info_nce(first, second, scale).item() + extra.item(), rel=1e-6)
    assert Contrast().compute((first, second), scale, bias)[1].item() == 0.0
