"""Dual encoders: tiny CLIP, SigLIP, sentence and joined encoders, loaded, used, stored and saved."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.dual_encoder import (
    embed_images,
    embed_texts,
    load_dual_encoder,
    save_dual_encoder,
    stored_images,
    with_lexicons,
)
from cslab.store import CslabError
from tests.tiny_towers import clip_folder, sentence_folder, siglip_folder, two_towers

pytestmark = pytest.mark.numbers

TEXTS = ["a red fox", "the big blue house on the left", "hen"]


def pictures(count=3, size=20):
    random = np.random.default_rng(0)
    return [(f"{i}.png", random.integers(0, 255, (size, size, 3), dtype=np.uint8)) for i in range(count)]


@pytest.mark.parametrize("make", [clip_folder, siglip_folder])
def test_a_joint_model_gives_the_vectors_of_transformers(tmp_path, make):
    folder = make(tmp_path / "model")
    encoder = load_dual_encoder(folder, device="cpu")
    names, images = embed_images(encoder, pictures())
    texts = embed_texts(encoder, TEXTS, batch=2)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXTS, padding="max_length", max_length=16, return_tensors="pt")
    if make is siglip_folder:
        del inputs["attention_mask"]
    pixels = encoder.pixels([image for _, image in pictures()])
    with torch.inference_mode():
        expected = AutoModel.from_pretrained(folder)(**inputs, **pixels)
    assert names == ["0.png", "1.png", "2.png"]
    torch.testing.assert_close(texts, expected.text_embeds, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(images, expected.image_embeds, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("make", [clip_folder, siglip_folder, sentence_folder])
def test_what_is_saved_is_loaded_again(tmp_path, make):
    encoder = load_dual_encoder(make(tmp_path / "model"), device="cpu")
    save_dual_encoder(encoder, tmp_path / "saved", {"condition": "ML-CS"})
    again = load_dual_encoder(tmp_path / "saved", device="cpu")
    assert torch.equal(embed_texts(encoder, TEXTS), embed_texts(again, TEXTS))
    assert json.loads((tmp_path / "saved" / "card.json").read_text())["condition"] == "ML-CS"
    assert not list((tmp_path / "saved").glob(".saving-*"))


def test_joined_towers_are_saved_with_their_heads(tmp_path):
    encoder = two_towers(tmp_path)
    with torch.no_grad():
        encoder.model.scale.fill_(3.0)
    save_dual_encoder(encoder, tmp_path / "saved")
    again = load_dual_encoder(tmp_path / "saved", device="cpu")
    assert torch.equal(embed_texts(encoder, TEXTS), embed_texts(again, TEXTS))
    assert torch.equal(embed_images(encoder, pictures())[1], embed_images(again, pictures())[1])
    assert again.model.scale.item() == 3.0


def test_a_sentence_encoder_is_that_of_sentence_transformers(tmp_path):
    from sentence_transformers import SentenceTransformer

    encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")
    save_dual_encoder(encoder, tmp_path / "saved")
    expected = SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(embed_texts(encoder, TEXTS), expected, atol=1e-5, rtol=1e-4)


def test_image_vectors_are_made_once(tmp_path):
    encoder = load_dual_encoder(clip_folder(tmp_path / "model"), device="cpu")
    names, first = stored_images(encoder, pictures(), tmp_path / "vectors", key="three")
    assert len(list((tmp_path / "vectors").glob("*.safetensors"))) == 1
    again_names, again = stored_images(encoder, iter(()), tmp_path / "vectors", key="three")  # nothing to read from
    assert names == again_names
    assert torch.equal(first, again)
    with torch.no_grad():
        next(encoder.model.image_parameters()).add_(1.0)
    with pytest.raises(CslabError, match="no image could be read"):
        stored_images(encoder, iter(()), tmp_path / "vectors", key="three")


def test_order_and_batches_do_not_matter(tmp_path):
    encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")
    whole = embed_texts(encoder, [*TEXTS, "hen"])
    torch.testing.assert_close(embed_texts(encoder, ["hen", *TEXTS], batch=1)[1:], whole[:3], atol=1e-6, rtol=1e-5)
    assert torch.equal(whole[2], whole[3])


def test_extended_vocabulary_reads_a_word_as_its_translation(tmp_path):
    encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")
    german = Lexicon.from_pairs("en", "de", [("house", "gebäude"), ("boat", "kahn")])
    longer = with_lexicons(encoder, {"de": german})
    assert longer.notes["added"] == 2
    found = embed_texts(longer, ["the red gebaude", "the red house"])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)
    assert torch.equal(embed_texts(encoder, TEXTS), embed_texts(longer, TEXTS))
    with pytest.raises(CslabError, match="joint model cannot be extended"):
        with_lexicons(load_dual_encoder(clip_folder(tmp_path / "clip"), device="cpu"), {"de": german})


def test_what_cannot_be_loaded(tmp_path):
    with pytest.raises(CslabError, match="no such encoder folder"):
        load_dual_encoder(tmp_path / "nothing")
    folder = sentence_folder(tmp_path / "dense")
    (folder / "modules.json").write_text(json.dumps([{"idx": 2, "path": "2_Dense", "type": "a.b.Dense"}]))
    with pytest.raises(CslabError, match="a sentence encoder with a Dense layer"):
        load_dual_encoder(folder)
    (folder / "modules.json").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(CslabError, match="cannot be loaded"):
        load_dual_encoder(folder)


def test_texts_alone_have_no_pictures(tmp_path):
    encoder = load_dual_encoder(sentence_folder(tmp_path / "model"), device="cpu")
    with pytest.raises(CslabError, match="encodes text alone"):
        embed_images(encoder, pictures())
    with pytest.raises(CslabError, match="no image tower"):
        encoder.model.image_vectors()
