"""Re-ranking images: states of any towers, an untrained head keeps the order, a trained one adds to cosines."""

import numpy as np
import pytest
import torch

from cslab.evaluation.recall import reranked_ranks
from cslab.ranking.cross_attention import CrossAttention, load_head, pair_scores, save_head
from cslab.ranking.dual_encoder import embed_images, embed_texts, load_dual_encoder
from cslab.store import CslabError
from cslab.training.dual import Examples
from cslab.training.image_reranker import HardNegatives, hard_rows, train_reranker
from cslab.training.loop import TrainSettings
from tests.tiny_towers import clip_folder, siglip_folder, two_towers

pytestmark = pytest.mark.numbers

TEXTS = ["a red fox", "the blue hen on the left", "big boat"]


def towers(kind, folder):
    if kind == "two towers":
        return two_towers(folder)
    return load_dual_encoder({"clip": clip_folder, "siglip": siglip_folder}[kind](folder / kind), device="cpu")


def pictures(count, size=16):
    random = np.random.default_rng(0)
    return [(str(i), random.integers(0, 255, (size, size, 3)).astype(np.uint8)) for i in range(count)]


def every_pair(encoder, texts, shown):
    """Rows and cosines of all pairs, with the states of the images."""
    states = embed_images(encoder, shown, states=True)[1]
    cosines = embed_texts(encoder, texts) @ embed_images(encoder, shown)[1].t()
    rows = np.indices(cosines.shape).reshape(2, -1)
    return states, rows, cosines


@pytest.mark.parametrize(("kind", "places", "width"), [("clip", 5, 16), ("siglip", 4, 16), ("two towers", 16, 16)])
def test_an_untrained_head_keeps_the_order_of_the_dual_encoder(tmp_path, kind, places, width):
    encoder = towers(kind, tmp_path)
    shown = pictures(4, 32 if kind == "two towers" else 16)
    states, rows, cosines = every_pair(encoder, TEXTS, shown)
    assert (tuple(states.shape), states.dtype) == ((4, places, width), torch.float16)
    head = CrossAttention.of(encoder, states, width=8)
    found = pair_scores(head, encoder, TEXTS, states, *rows, cosines.flatten().numpy(), batch=5)
    torch.testing.assert_close(torch.from_numpy(found), 10 * cosines.flatten() - 10, rtol=1e-4, atol=1e-4)


def test_scores_do_not_turn_on_batches_and_padding_counts_for_nothing(tmp_path):
    encoder = towers("clip", tmp_path)
    states, rows, cosines = every_pair(encoder, TEXTS, pictures(4))
    head = CrossAttention.of(encoder, states, width=8)
    torch.nn.init.normal_(head.out[1].weight)
    whole = pair_scores(head, encoder, TEXTS, states, *rows, cosines.flatten().numpy())
    one_by_one = pair_scores(head, encoder, TEXTS, states, *rows, cosines.flatten().numpy(), batch=1)
    np.testing.assert_allclose(whole, one_by_one, rtol=1e-4, atol=1e-4)
    assert np.abs(whole - 10 * cosines.flatten().numpy() + 10).max() > 0.01


def test_saved_and_loaded_heads_score_alike(tmp_path):
    encoder = towers("clip", tmp_path)
    states, rows, cosines = every_pair(encoder, TEXTS, pictures(4))
    head = CrossAttention.of(encoder, states, width=8, layers=2, seed=3)
    torch.nn.init.normal_(head.out[1].weight)
    save_head(head, tmp_path / "head")
    again = load_head(tmp_path / "head")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in head.state_dict().items())
    given = (encoder, TEXTS, states, *rows, cosines.flatten().numpy())
    assert np.array_equal(pair_scores(head, *given), pair_scores(again, *given))
    (tmp_path / "head" / "head.safetensors").write_bytes(b"cut off")
    with pytest.raises(CslabError, match="no cross-attention head"):
        load_head(tmp_path / "head")
    with pytest.raises(CslabError, match="width 10 is no multiple of 4"):
        CrossAttention(8, 8, 4, width=10)


def tiny_task(tmp_path, vectors=None):
    """Images whose colour is named by their text; the vectors of the images say nothing about it."""
    encoder = towers("clip", tmp_path)
    texts = [f"{size} {colour} fox" for colour in ("red", "blue") for size in ("big", "small")]
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255)}
    shown = []
    for number, text in enumerate(texts):
        picture = np.zeros((16, 16, 3), np.uint8)
        half = slice(0, 8) if "big" in text else slice(8, 16)
        picture[half] = colours[text.split()[1]]
        shown.append((str(number), picture))
    states = embed_images(encoder, shown, states=True)[1]
    fixed = torch.nn.functional.normalize(torch.ones(len(texts), 8), dim=1)

    def views(epoch, rows):
        return [(texts[row],) for row in rows]

    return encoder, Examples(len(texts), views, np.arange(len(texts)), targets=fixed, key="tiny"), states, texts


def settings(**changes):
    return TrainSettings(**{"steps": 120, "batch": 4, "lr": 1e-2, "max_length": 12, "log_every": 40} | changes)


@pytest.mark.parametrize("loss", ["lce", "bce"])
def test_a_head_learns_a_tiny_task_and_leaves_the_towers_alone(tmp_path, loss):
    encoder, examples, states, texts = tiny_task(tmp_path)
    before = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    head, hard = CrossAttention.of(encoder, states, width=16), HardNegatives(3, 3, loss)
    made = train_reranker(encoder, head, examples, states, hard, settings(), tmp_path / "run", progress=None)
    rows = np.indices((4, 4)).reshape(2, -1)
    found = pair_scores(head, encoder, texts, states, *rows, np.ones(16, np.float32)).reshape(4, 4)
    assert found.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert made["steps"] == 120
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.model.state_dict().items())
    assert (tmp_path / "run" / "model" / "head.json").is_file()


def test_hard_negatives_are_the_first_of_the_ranking_without_the_own_image():
    cosines = torch.tensor([[0.9, 0.8, 0.7, 0.1, 0.0], [0.1, 0.9, 0.2, 0.3, 0.8]])
    own, hard = torch.tensor([1, 1]), HardNegatives(2, 2)
    rows = hard_rows(cosines, own, hard, seed=1, step=0)
    assert rows[:, 0].tolist() == [1, 1]
    assert [set(row) for row in rows[:, 1:].tolist()] == [{0, 2}, {4, 3}]
    assert torch.equal(rows, hard_rows(cosines, own, hard, seed=1, step=0))
    deep = [hard_rows(cosines, own, HardNegatives(1, 3), seed=1, step=step)[0, 1].item() for step in range(30)]
    assert set(deep) == {0, 2, 3}


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(CslabError, match="loss 'kl' is not offered"):
        HardNegatives(loss="kl")
    with pytest.raises(CslabError, match="5 negatives of a depth of 4; take 1 to 4"):
        HardNegatives(5, 4)
    encoder, examples, states, _ = tiny_task(tmp_path)
    head = CrossAttention.of(encoder, states, width=8)
    with pytest.raises(CslabError, match="4 images for 7 negatives"):
        train_reranker(encoder, head, examples, states, HardNegatives(), settings(), tmp_path, progress=None)


def test_what_stands_behind_the_candidates_keeps_its_place():
    before = np.array([1, 3, 4, 9, 2])
    right = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 1]], dtype=bool)
    scores = np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [9.0, 8.0, 7.0], [1.0, 1.0, 1.0], [0.5, 0.1, 0.5]])
    # The last: of two right keys the better one counts, and a wrong key that ties with it stands before it.
    assert reranked_ranks(before, right, scores).tolist() == [3, 1, 4, 9, 2]
