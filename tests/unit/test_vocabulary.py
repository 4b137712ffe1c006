"""Vocabulary extension."""

import numpy as np
import pytest
import torch

from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.cross_encoder import load_encoder, save_encoder, score_pairs
from cslab.ranking.vocabulary import extend_vocabulary
from cslab.store import CslabError
from tests.tiny import WORDS, tiny_encoder

pytestmark = pytest.mark.numbers

GERMAN = Lexicon.from_pairs(
    "en", "de", [("fox", "Füchse"), ("wolf", "Füchse"), ("hens", "Hühner"), ("red", "red"), ("barn", "Scheunen-Tor")]
)
RUSSIAN = Lexicon.from_pairs(
    "en", "ru", [("fox", "лиса"), ("old fox", "ёж"), ("moon", "Луна"), ("日", "день"), ("\u200b", "ноль")]
)
LEXICONS = {"de": GERMAN, "ru": [RUSSIAN]}
PAIRS = [("who is the fox ?", "the red fox"), ("where", "near the old bridge"), ("Лиса", "fuchse")]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_encoder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def longer(encoder):
    return extend_vocabulary(encoder, LEXICONS)


def table(encoder) -> torch.Tensor:
    return encoder.model.get_input_embeddings().weight.detach()


def row(encoder, piece: str) -> torch.Tensor:
    return table(encoder)[encoder.tokenizer.convert_tokens_to_ids(piece)]


def test_words_are_added_as_the_tokenizer_sees_them(encoder, longer):
    added = set(longer.tokenizer.get_vocab()) - set(encoder.tokenizer.get_vocab())
    assert added == {"fuchse", "huhner", "лиса", "еж", "луна"}
    assert dict(longer.notes) == {"added": 5, "known": 1, "in pieces": 1, "without meaning": 2}
    assert longer.tokenizer.tokenize("Füchse, ЛИСА Ёж!") == ["fuchse", "[UNK]", "лиса", "еж", "[UNK]"]
    assert len(table(longer)) == len(longer.tokenizer) == len(encoder.tokenizer) + 5


def test_old_pieces_keep_ids_embeddings_and_scores(encoder, longer):
    old, new = encoder.tokenizer.get_vocab(), longer.tokenizer.get_vocab()
    assert all(new[piece] == i for piece, i in old.items())
    assert torch.equal(table(longer)[: len(old)], table(encoder))
    np.testing.assert_array_equal(score_pairs(longer, PAIRS[:2]), score_pairs(encoder, PAIRS[:2]))
    assert longer.model.config.vocab_size == len(new)
    assert encoder.model.config.vocab_size == len(old)


def test_new_embeddings_are_means_of_translations(encoder, longer):
    fox, wolf, old = (row(encoder, word) for word in ("fox", "wolf", "old"))
    torch.testing.assert_close(row(longer, "лиса"), fox)
    torch.testing.assert_close(row(longer, "fuchse"), (fox + wolf) / 2)
    torch.testing.assert_close(row(longer, "еж"), (old + fox) / 2)
    torch.testing.assert_close(row(longer, "huhner"), (row(encoder, "hen") + row(encoder, "##s")) / 2)


def test_inflected_forms_go_on_with_old_pieces(longer):
    assert longer.tokenizer.tokenize("Hühneres лисаб") == ["huhner", "##es", "лиса", "##б"]


def test_words_are_limited_by_number_or_by_list(encoder):
    few = extend_vocabulary(encoder, LEXICONS, words=1)
    assert set(few.tokenizer.get_vocab()) - set(encoder.tokenizer.get_vocab()) == {"fuchse", "лиса"}
    some = extend_vocabulary(encoder, LEXICONS, only={"de": ["HÜHNER", "Wolf"], "ru": []})
    assert set(some.tokenizer.get_vocab()) - set(encoder.tokenizer.get_vocab()) == {"huhner"}


def test_languages_that_share_a_word_share_its_meaning(encoder):
    rows = {"es": ("sun", "solx"), "pt": ("moon", "Solx")}
    longer = extend_vocabulary(encoder, {code: Lexicon.from_pairs("en", code, [row]) for code, row in rows.items()})
    torch.testing.assert_close(row(longer, "solx"), (row(encoder, "sun") + row(encoder, "moon")) / 2)


def test_extended_encoder_survives_the_disk(longer, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    save_encoder(longer, tmp_path)
    again = load_encoder(tmp_path, device="cpu")
    assert again.tokenizer.get_vocab() == longer.tokenizer.get_vocab()
    assert again.tokenizer.tokenize("Ёж Hühneres") == longer.tokenizer.tokenize("Ёж Hühneres")
    scores = score_pairs(longer, PAIRS)
    np.testing.assert_array_equal(score_pairs(again, PAIRS), scores)
    peer = sentence_transformers.CrossEncoder(str(tmp_path), device="cpu").predict(PAIRS, show_progress_bar=False)
    np.testing.assert_allclose(peer, scores, atol=1e-5)
    twice = extend_vocabulary(again, {"ru": Lexicon.from_pairs("en", "ru", [("sun", "солнце")])})
    assert twice.tokenizer.tokenize("солнце лиса") == ["солнце", "лиса"]


def test_foreign_vocabularies_and_empty_lexicons_are_refused(encoder):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
    other = type(encoder)(encoder.model, words, "other")
    with pytest.raises(CslabError, match="its vocabulary is WordLevel"):
        extend_vocabulary(other, LEXICONS)
    with pytest.raises(CslabError, match="no word to add from de"):
        extend_vocabulary(encoder, {"de": Lexicon.from_pairs("en", "de", [(WORDS[0], WORDS[0])])})
