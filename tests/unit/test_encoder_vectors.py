"""Word vectors from a sentence encoder, and lexicons induced from them."""

import numpy as np
import pytest
from transformers import BertModel

from cslab.config import LexiconSettings
from cslab.lexicon.encoder_vectors import encoder_vectors, is_encoder
from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder
from cslab.ranking.sentence_recipe import PROMPTS_OF_E5, write_sentence_recipe
from cslab.sources.lexicons import lexicon_files, read_lexicon
from cslab.store import CslabError
from tests.tiny import tiny_encoder

WORDS = ["fox", "hen", "barn", "moon"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("sentence-encoder")
    encoder = tiny_encoder(home)
    encoder.tokenizer.save_pretrained(home)
    BertModel(encoder.model.config, add_pooling_layer=False).save_pretrained(home)
    write_sentence_recipe(home, 32, "mean", 64, PROMPTS_OF_E5)
    return home


def test_a_word_is_read_as_a_query_and_kept(folder, tmp_path, monkeypatch):
    found = encoder_vectors(str(folder), [*WORDS, "fox"], "en", tmp_path)
    expected = embed_texts(load_dual_encoder(folder), WORDS, side="query").numpy()
    assert found.words == tuple(WORDS)
    centred = expected - expected.mean(0)
    np.testing.assert_allclose(found.matrix, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-5)
    monkeypatch.setattr("cslab.ranking.dual_encoder.load_dual_encoder", None)  # the second time nothing is encoded
    np.testing.assert_array_equal(encoder_vectors(str(folder), WORDS, "en", tmp_path).matrix, found.matrix)
    with pytest.raises(CslabError, match="no word of 'de' is given"):
        encoder_vectors(str(folder), [], "de", tmp_path)


def test_a_lexicon_is_induced_from_an_encoder(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("CSLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "en-de.txt").write_text("fox Hen\nhen Barn\n")
    for code, text in (("en", "Fox hen barn moon. Fox!"), ("de", "moon hen fox barn, moon")):
        (tmp_path / f"{code}.txt").write_text(f"{text}\n")
    given = {"source": "induced", "vectors": str(folder), "retrieval": "nn"}
    by_text = LexiconSettings(**given, text=str(tmp_path / "{language}.txt"))
    found = read_lexicon(by_text, "de")
    assert {word: row[0].text for word, row in found.entries.items()} == {word: word for word in WORDS}
    three = read_lexicon(by_text.model_copy(update={"limit": 3}), "de").entries
    assert set(three) == {"fox", "hen", "barn"}
    assert {row.text for row in three["fox"]} == {"moon", "hen", "fox"}
    assert [file.name for file in lexicon_files(by_text, "de")] == ["en.txt", "de.txt"]
    by_dictionary = LexiconSettings(**given, folder=str(tmp_path))
    assert {row.text for row in read_lexicon(by_dictionary, "de")["hen"]} == {"hen", "barn"}
    assert [file.name for file in lexicon_files(by_dictionary, "de")] == ["en-de.txt"]
    with pytest.raises(CslabError, match=r"set lexicon.text to texts .*or lexicon.folder to dictionaries"):
        read_lexicon(LexiconSettings(**given), "de")


def test_what_is_an_encoder(folder):
    assert is_encoder("me5")
    assert is_encoder(str(folder))
    assert not any(map(is_encoder, ("", "wiki.multi", "vectors/{language}.vec")))
