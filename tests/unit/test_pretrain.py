"""python -m pytest tests/unit/test_pretrain.py"""

import numpy as np
import pytest
import torch

from cslab.store import CslabError
from cslab.training.pretrain import PretrainSettings, _cloze, _shared, pretrain, small_bert, whole_words

TEXTS = {"en": ["the red fox runs", "a hen sleeps here"] * 4, "de": ["der rote Fuchs läuft", "das Huhn schläft"] * 4}
GROUPS = {code: [[f"{line}. {line}." for line in lines[:2]]] for code, lines in TEXTS.items()}
SMALL = PretrainSettings(steps=3, batch=4, max_length=16, log_every=1)


def test_the_vocabulary_holds_whole_words_and_reads_unknown_ones_by_letters():
    tokenizer = whole_words(TEXTS, 500)
    assert tokenizer.tokenize("Der rote FOX") == ["der", "rote", "fox"]
    assert tokenizer.tokenize("foxes") == ["fox", "##e", "##s"]
    assert tokenizer("a", "b")["token_type_ids"] == [0, 0, 0, 1, 1]


def test_pretraining_is_deterministic_and_changes_the_weights():
    tokenizer = whole_words(TEXTS, 500)
    results = []
    for _ in range(2):
        model = small_bert(len(tokenizer), width=16, layers=1, heads=2, positions=32)
        before = model.get_input_embeddings().weight.detach().clone()
        figures = pretrain(model, tokenizer, GROUPS, SMALL)
        results.append((figures["loss"], model.get_input_embeddings().weight.detach()))
        assert not torch.equal(before, results[-1][1])
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


def test_a_cloze_sentence_is_its_own_passages_or_not():
    random = np.random.default_rng(0)
    groups = [["fox one. hen two.", "owl three. bee four."], ["ant five. cat six.", "dog seven. elk eight."]]
    for sentence, passage, label in (_cloze(groups, random) for _ in range(60)):
        held = set(sentence.replace(".", "").split()) <= set(passage.replace(".", "").split())
        assert held or label == 1


def test_shared_words_are_told_token_by_token():
    ids = np.array([[2, 10, 11, 3, 10, 12, 3, 0]])
    types = np.array([[0, 0, 0, 0, 1, 1, 1, 0]])
    told = _shared(ids, types, np.array([0, 1, 2, 3, 4]))
    assert told.tolist() == [[-1, 1, 0, -1, -1, -1, -1, -1]]


def test_a_passage_without_another_one_is_refused():
    tokenizer = whole_words(TEXTS, 500)
    with pytest.raises(CslabError, match="passages in 'de': a group has fewer than two"):
        pretrain(small_bert(len(tokenizer), 16, 1, 2), tokenizer, {"en": [["a", "b"]], "de": [["c"]]}, SMALL)
