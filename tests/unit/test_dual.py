"""Training dual encoders: frozen towers, cached gradients, resuming, teacher learning, adversaries."""

import numpy as np
import pytest
import torch

from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder
from cslab.store import CslabError
from cslab.training.contrastive import Contrast
from cslab.training.dual import Examples, train_dual
from cslab.training.loop import TrainSettings
from tests.tiny_towers import WORDS, clip_folder, sentence_folder, two_towers

pytestmark = pytest.mark.numbers

COUNT = 24
SENTENCES = [f"{WORDS[2 + i % 4]} {WORDS[6 + i % 5]} {WORDS[11 + i % 3]} {WORDS[i % 17]}" for i in range(COUNT)]


def settings(**changes):
    return TrainSettings(
        **{"steps": 6, "batch": 8, "lr": 1e-2, "max_length": 12, "log_every": 3, "window": 2} | changes
    )


def texts(*views):
    """Examples whose texts are the sentences themselves, once per view."""
    return lambda epoch, rows: [tuple(SENTENCES[row] for _ in views) for row in rows]


def pixels(size=16):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(COUNT, 3, size, size)).astype(np.float32))


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(before, after):
    return all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("joint", [True, False])
def test_a_frozen_image_tower_stays_bit_equal_and_a_trained_one_does_not(tmp_path, joint):
    def encoder():
        return load_dual_encoder(clip_folder(tmp_path / "clip"), device="cpu") if joint else two_towers(tmp_path)

    for train_image in (False, True):
        made = encoder()
        tower = made.model.image.vision_model if joint else made.model.image
        before, words = weights(tower), weights(made.model.get_input_embeddings())
        examples = Examples(COUNT, texts("one"), np.arange(COUNT), pixels=pixels(16 if joint else 32))
        folder = tmp_path / f"{joint}-{train_image}"
        train_dual(made, examples, settings(), Contrast(train_image=train_image), folder, progress=None)
        assert same(before, weights(tower)) is not train_image
        assert not same(words, weights(made.model.get_input_embeddings()))


def losses(tmp_path, name, contrast, **changes):
    encoder = two_towers(tmp_path)
    for module in encoder.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    examples = Examples(
        COUNT, texts("one"), np.arange(COUNT), targets=torch.randn(COUNT, 8, generator=torch.Generator().manual_seed(0))
    )
    made = train_dual(encoder, examples, settings(**changes), contrast, tmp_path / name, progress=None)
    return made, embed_texts(encoder, SENTENCES)


def test_training_in_chunks_is_training_in_whole_batches(tmp_path):
    whole, vectors = losses(tmp_path, "whole", Contrast())
    chunked, again = losses(tmp_path, "chunked", Contrast(chunk=3))
    assert chunked["loss"] == pytest.approx(whole["loss"], abs=1e-4)
    torch.testing.assert_close(again, vectors, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("loss", ["infonce", "sigmoid", "mse"])
def test_every_loss_falls(tmp_path, loss):
    long, _ = losses(tmp_path, "long", Contrast(loss=loss), steps=60, log_every=1)
    short, _ = losses(tmp_path, "short", Contrast(loss=loss), steps=1, log_every=1)
    assert long["loss"] < 0.8 * short["loss"]


def test_text_to_text_with_alignment(tmp_path):
    encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")
    examples = Examples(COUNT, texts("one", "two", "original"), np.arange(COUNT))
    made = train_dual(encoder, examples, settings(), Contrast(align=0.1), tmp_path / "run", progress=None)
    assert made["steps"] == 6
    with pytest.raises(CslabError, match="3 texts each, the loss needs 2"):
        train_dual(encoder, examples, settings(), Contrast(), tmp_path / "other", progress=None)


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path):
    class StopError(Exception):
        pass

    def run(folder, stop_at=None):
        encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")

        def views(epoch, rows):
            if stop_at is not None and epoch >= stop_at:
                raise StopError
            return texts("one", "two")(epoch, rows)

        examples = Examples(COUNT, views, np.arange(COUNT), key="views")
        train_dual(encoder, examples, settings(save_every=1), Contrast(), folder, progress=None)
        return weights(encoder.model)

    whole = run(tmp_path / "whole")
    with pytest.raises(StopError):
        run(tmp_path / "cut", stop_at=1)
    assert same(whole, run(tmp_path / "cut"))


def test_what_does_not_fit_is_refused(tmp_path):
    encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")
    examples = Examples(COUNT, texts("one", "two"), np.arange(COUNT))
    with pytest.raises(CslabError, match="an adversary needs the whole batch"):
        train_dual(encoder, examples, settings(), Contrast(chunk=2), tmp_path, adversary=lambda *_: None)
    with pytest.raises(CslabError, match="items without a partner"):
        Examples(COUNT, texts("one"), np.arange(COUNT), targets=torch.zeros(3, 4))
    with pytest.raises(CslabError, match="both fixed vectors and pixels"):
        Examples(COUNT, texts("one"), np.arange(COUNT), targets=torch.zeros(24, 4), pixels=pixels())
    with pytest.raises(CslabError, match="did you mean 'infonce'"):
        Contrast(loss="info-nce")
