"""Adversaries on the image side of image–text training: steps by hand for linear towers, norms, and nothing at rest."""

import numpy as np
import pytest
import torch
from torch import nn

from cslab.ranking.towers import Towers
from cslab.store import CslabError
from cslab.training import ball
from cslab.training.ball import Ball, Field, Place
from cslab.training.batches import Batch
from cslab.training.contrastive import Contrast
from cslab.training.dual import DualObjective, _partner
from cslab.training.perturbed import FreeLB, Perturbed, Smooth

PAD, CLS = 0, 1
IDS = torch.tensor([[1, 4, 5, 6], [1, 7, 3, 0], [1, 2, 0, 0]])
SPECIAL = frozenset({PAD, CLS})
ROWS, WIDTH = len(IDS), 5


class Linear(nn.Module):
    """The text's vector is the mean embedding of all tokens that are no padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(8, WIDTH)
        self.scale, self.bias = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.tensor(0.0))

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[:, :, None].float()
        return (self.table(input_ids) * mask).sum(1) / mask.sum(1)


def batch() -> Batch:
    inputs = {"input_ids": IDS, "attention_mask": (IDS != PAD).long()}
    return Batch(0, 0, np.arange(ROWS), inputs, torch.arange(ROWS), int((IDS != PAD).sum()))


def fixed() -> torch.Tensor:
    return 3 * torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(1))


def objective_of(model: nn.Module, loss: str, images: torch.Tensor, **changes) -> DualObjective:
    partner, image = _partner(model, None, images)
    return DualObjective(model, Contrast(loss=loss, **changes), 1, partner, torch.arange(ROWS), "fp32", image)


def gradient_of(attack, loss: str = "mse", images: torch.Tensor | None = None) -> torch.Tensor:
    model, one = Linear(), batch()
    objective = objective_of(model, loss, fixed() if images is None else images)
    torch.manual_seed(3)
    if attack is None:
        objective(one.inputs).backward()
    else:
        attack(model, one, objective, torch.Tensor.backward)
    return model.table.weight.grad


def sizes(move: torch.Tensor) -> torch.Tensor:
    return move.flatten(1).norm(dim=1)


def away(images: torch.Tensor) -> torch.Tensor:
    """What squared error gains most by: each image moves straight away from its text."""
    one = batch()
    gap = images - Linear()(**one.inputs).detach()
    return gap / gap.norm(dim=1, keepdim=True)


def test_fgm_on_images_is_the_loss_at_images_moved_straight_away_from_their_texts():
    moved = fixed() + 0.7 * away(fixed())
    attack = Perturbed(Ball(0.7, relative=False), SPECIAL, steps=1, step=1.0, start=0.0, clean=0.0, moved="image")
    torch.testing.assert_close(gradient_of(attack), gradient_of(None, images=moved), rtol=1e-4, atol=1e-6)


def test_the_radius_is_relative_to_the_images_own_length():
    moved = fixed() + 0.2 * fixed().norm(dim=1, keepdim=True) * away(fixed())
    attack = Perturbed(Ball(0.2), SPECIAL, steps=1, step=1.0, start=0.0, clean=0.5, moved="image")
    wanted = 0.5 * gradient_of(None) + 0.5 * gradient_of(None, images=moved)
    torch.testing.assert_close(gradient_of(attack), wanted, rtol=1e-4, atol=1e-6)


def test_freelb_on_images_is_the_mean_along_the_ascent():
    # The way away from the text does not turn on the ascent, so the steps lie on one line.
    points = [fixed() + share * 0.6 * away(fixed()) for share in (0.0, 0.3, 0.6)]
    wanted = sum(gradient_of(None, images=point) for point in points) / 3
    attack = FreeLB(Ball(0.6, relative=False), SPECIAL, steps=3, step=0.3, start=0.0, clean=0.0, moved="image")
    torch.testing.assert_close(gradient_of(attack), wanted, rtol=1e-4, atol=1e-6)


def test_both_sides_move_at_once_each_in_its_own_ball():
    model, one, images = Linear(), batch(), fixed()
    free = ((IDS != PAD) & (IDS != CLS))[:, :, None].float()
    embeddings = model.table(IDS).detach()
    mask = (IDS != PAD)[:, :, None].float()
    error = 2 * ((embeddings * mask).sum(1) / mask.sum(1) - images) / images.numel()
    slope = error[:, None] / mask.sum(1, keepdim=True) * free
    text = 0.4 * (embeddings * free).flatten(1).norm(dim=1)[:, None, None] * slope / sizes(slope)[:, None, None]
    image = 0.4 * images.norm(dim=1, keepdim=True) * away(images)
    attack = Perturbed(Ball(0.4), SPECIAL, steps=1, step=1.0, start=0.0, clean=0.0, moved="both")
    with ball.shifted(model, text):
        objective_of(model, "mse", images + image)(one.inputs).backward()
    torch.testing.assert_close(gradient_of(attack), model.table.weight.grad, rtol=1e-4, atol=1e-6)


def methods(epsilon: float, moved: str) -> dict:
    inside, common = Ball(epsilon), {"special": SPECIAL, "moved": moved}
    return {
        "rs-rp": Perturbed(inside, steps=0, step=0.0, start=1.0, clean=0.0, **common),
        "fgm": Perturbed(inside, steps=1, step=1.0, start=0.0, clean=0.5, **common),
        "pgd": Perturbed(inside, steps=3, step=0.5, start=0.5, clean=0.0, **common),
        "freelb": FreeLB(inside, steps=3, step=0.5, start=0.5, clean=0.0, **common),
        "smart": Smooth(inside, steps=1, step=1.0, start=0.01, weight=1.0, divergence="softmax", **common),
    }


@pytest.mark.parametrize("moved", ["image", "both"])
def test_without_a_radius_every_method_is_the_clean_step_bit_for_bit(moved):
    plain = gradient_of(None, "infonce")
    for name, attack in methods(0.0, moved).items():
        assert torch.equal(gradient_of(attack, "infonce"), plain), name
    for name, attack in methods(0.1, moved).items():
        assert not torch.equal(gradient_of(attack, "infonce"), plain), name


@pytest.mark.parametrize("moved", ["image", "both"])
def test_no_move_is_longer_than_its_radius(monkeypatch, moved):
    moves, shifted = {"text": [], "image": []}, ball.shifted

    def spied(model, move, module):
        moves["text" if move.ndim == 3 else "image"].append(move.detach().double())
        return shifted(model, move, module)

    monkeypatch.setattr(ball, "shifted", spied)
    own = Linear().table(IDS).detach().double() * ((IDS != PAD) & (IDS != CLS))[:, :, None]
    radius = {"text": 0.3 * sizes(own), "image": 0.3 * sizes(fixed().double())}
    for name, attack in methods(0.3, moved).items():
        for held in moves.values():
            held.clear()
        gradient_of(attack, "infonce")
        assert bool(moves["text"]) == (moved == "both"), name
        assert moves["image"], name
        for side, held in moves.items():
            assert all((sizes(move) <= radius[side]).all() for move in held), (name, side)
            assert not held or (sizes(held[-1]) > 0.3 * radius[side]).all(), (name, side)


def test_the_images_move_as_the_patches_that_a_trained_tower_cuts_out():
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 2, 2, bias=False)

    torch.manual_seed(0)
    towers = Towers.__new__(Towers)
    nn.Module.__init__(towers)
    towers.image, towers.joint = Patches(), False
    pixels = torch.randn(ROWS, 3, 4, 4)
    field = Field.at(Place(towers.patches(), pixels), Ball(0.1))
    assert field.shape == (ROWS, 4, 2, 2)
    torch.testing.assert_close(field.radius.flatten(), 0.1 * sizes(towers.image.convolution(pixels)))
    drawn = field.drawn()
    assert (sizes(drawn) <= field.radius.flatten()).all()
    with ball.shifted(towers, drawn, field.module):
        moved = towers.image.convolution(pixels)
    torch.testing.assert_close(moved, towers.image.convolution(pixels) + drawn)


def test_logits_give_the_loss_that_vectors_give():
    model, one = Linear(), batch()
    for loss in ("infonce", "sigmoid"):
        objective = objective_of(model, loss, fixed())
        found = objective.loss(objective.logits(one.inputs))
        torch.testing.assert_close(found, objective(one.inputs), rtol=1e-6, atol=1e-6)
    with pytest.raises(CslabError, match="the loss 'mse' has no logits for smart; use infonce or sigmoid"):
        objective_of(model, "mse", fixed()).logits(one.inputs)


def test_captions_without_images_have_none_to_move():
    model, one = Linear(), batch()
    objective = DualObjective(model, Contrast(), 1, lambda: fixed(), torch.arange(ROWS), "fp32")
    with pytest.raises(CslabError, match="moved is 'both', but texts have no images here; set it to 'text'"):
        methods(0.1, "both")["fgm"](model, one, objective, torch.Tensor.backward)
