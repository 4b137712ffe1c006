"""The table of losses."""

import numpy as np
import pytest
import torch

from cslab.store import CslabError
from cslab.training.losses import LOSSES, bce, loss_named

pytestmark = pytest.mark.numbers


def test_bce_is_the_mean_of_log_likelihoods():
    logits, labels = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.25])
    p = torch.sigmoid(logits)
    expected = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    assert bce(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    assert torch.isfinite(bce(torch.tensor([200.0, -200.0]), torch.tensor([0.0, 1.0])))


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_a_scalar_with_a_gradient_and_a_reference(name):
    logits = torch.randn(10, requires_grad=True)
    loss = LOSSES[name](logits, torch.tensor([1.0, 0.0] * 5), 2)
    loss.backward()
    assert loss.ndim == 0
    assert logits.grad.abs().sum() > 0
    assert LOSSES[name].name == name
    assert LOSSES[name].reference
    assert LOSSES[name].use


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_mean_over_equal_shares(name):
    logits, labels = torch.randn(24), torch.tensor([1.0, 0.0, 0.0] * 8)
    whole = LOSSES[name](logits, labels, 3)
    shares = [LOSSES[name](*(t.view(4, 2, 3)[:, i].reshape(-1) for t in (logits, labels)), 3) for i in range(2)]
    assert whole.item() == pytest.approx(sum(s.item() for s in shares) / 2, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_stay_finite_for_extreme_scores(name):
    logits = torch.tensor([300.0, -300.0, 0.0, 0.0], requires_grad=True)
    loss = LOSSES[name](logits, torch.tensor([0.5, 0.0, 0.5, 0.0]), 2)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_labels_must_suit_the_loss():
    assert loss_named("bce", np.array([0.0, 0.5, 1.0])).name == "bce"
    for bad in (3.0, -0.1, np.nan):
        with pytest.raises(CslabError, match=r"pair 1 has label .* wants 0 to 1"):
            loss_named("bce", np.array([0.0, bad]))
    with pytest.raises(CslabError, match="pair 0 has label inf; loss 'kl' wants finite numbers"):
        loss_named("kl", np.array([np.inf, -4.0]), 2)
    with pytest.raises(CslabError, match="did you mean 'bce'"):
        loss_named("bse", np.zeros(1))


def test_groups_must_suit_the_loss():
    assert loss_named("kl", np.array([-7.0, 2.5]), 2).name == "kl"
    with pytest.raises(CslabError, match="compares the pairs of a group, but groups have 1"):
        loss_named("hinge", np.array([0.0, 1.0]))
    with pytest.raises(CslabError, match="group 1 does not begin with a label above 0; loss 'lce' wants the positive"):
        loss_named("lce", np.array([1.0, 0.0, 0.0, 1.0]), 2)
