"""Adapting a tiny encoder to new languages: vocabulary, masked words, resuming, and the measure of alignment."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from cslab.commands import encoder_app
from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.cross_encoder import load_encoder
from cslab.store import CslabError, read_json
from cslab.training import adapt as adapting
from cslab.training.adapt import AdaptSettings, adapt
from cslab.training.alignment import alignment, embed, retrieval
from cslab.training.starts import aligned_rows
from tests.tiny import tiny_encoder

TEXTS = {
    "en": ["the red fox lives in the old house", "a hen and a cat ate the moon"] * 12,
    "ru": ["красный лис живёт в старом доме", "курица и кошка съели луну"] * 12,
}
SETTINGS = AdaptSettings(steps=4, batch=4, max_length=16, vocabulary=300, minimum=2, log_every=2, save_every=2)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from transformers import BertForMaskedLM

    folder = tmp_path_factory.mktemp("base")
    encoder = tiny_encoder(folder)
    torch.manual_seed(0)
    BertForMaskedLM(encoder.model.config).save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    return folder


def test_new_words_become_pieces_and_an_encoder_opens_the_result(base, tmp_path):
    pairs = {"ru": [("лис", "fox"), ("дом", "house"), ("луна", "moon")]}
    made = adapt(base, TEXTS, tmp_path, SETTINGS, pairs, device="cpu", progress=None)
    encoder = load_encoder(tmp_path / "model", device="cpu")
    assert encoder.tokenizer.tokenize("красный лис") == ["красныи", "лис"]
    assert encoder.tokenizer.tokenize("the fox") == ["the", "fox"]
    assert made["pieces"]["ru"] >= 8
    assert made["steps"] == 4
    assert set(made["before"]["ru"]) == set(made["after"]["ru"]) == {"p@1", "back p@1", "margin", "pairs"}
    assert read_json(tmp_path / "model" / "card.json")["languages"] == ["en", "ru"]
    assert not (tmp_path / "checkpoint.pt").exists()
    with torch.inference_mode():
        ids = encoder.tokenizer("красный лис", "дом", return_tensors="pt")
        assert torch.isfinite(encoder.model(**ids).logits).all()


def dying(monkeypatch):
    """Interrupts training once, in its fourth step; the list of steps that are begun."""
    real, calls = adapting.masked_loss, []

    def dies(model, batch):
        calls.append(batch.step)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(model, batch)

    monkeypatch.setattr(adapting, "masked_loss", dies)
    return calls


def test_a_resumed_run_ends_with_the_weights_of_a_whole_one(base, tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    adapt(base, TEXTS, whole, SETTINGS, device="cpu", progress=None)
    calls = dying(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        adapt(base, TEXTS, parts, SETTINGS, device="cpu", progress=None)
    assert (parts / "checkpoint.pt").is_file()
    assert not (parts / "model").exists()
    adapt(base, TEXTS, parts, SETTINGS, device="cpu", progress=None)
    assert calls == [0, 1, 2, 3, 2, 3]
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (whole, parts))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_that_starts_otherwise_is_another_run(base, tmp_path, monkeypatch):
    texts = {code: lines * 20 for code, lines in TEXTS.items()}
    seeds = {"ru": Lexicon.from_pairs("ru", "en", [("лис", "fox"), ("курица", "hen"), ("дом", "house")])}
    calls = dying(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        adapt(base, texts, tmp_path, SETTINGS, device="cpu", progress=None, seeds=seeds)
    assert (tmp_path / "checkpoint.pt").is_file()
    with pytest.raises(CslabError, match="checkpoint of another training"):
        adapt(base, texts, tmp_path, SETTINGS, device="cpu", progress=None)
    adapt(base, texts, tmp_path, SETTINGS, device="cpu", progress=None, seeds=seeds)
    assert calls == [0, 1, 2, 3, 2, 3]


def test_without_a_vocabulary_the_tokenizer_stays(base, tmp_path):
    made = adapt(base, TEXTS, tmp_path, AdaptSettings(steps=1, batch=2, max_length=16, vocabulary=0), progress=None)
    assert made["pieces"] == {"en": 0, "ru": 0}
    assert len(load_encoder(tmp_path / "model").tokenizer) == len(load_encoder(base).tokenizer)


def test_short_text_and_other_encoders_are_refused(base, tmp_path):
    with pytest.raises(CslabError, match="text in 'ru': "):
        adapt(base, {"ru": ["лис"]}, tmp_path, SETTINGS, progress=None)
    with pytest.raises(CslabError, match="no such encoder folder"):
        adapt(tmp_path / "none" / "at" / "all", TEXTS, tmp_path, SETTINGS, progress=None)
    assert not (tmp_path / "model").exists()


def test_alignment_is_whole_for_equal_texts_and_nothing_for_turned_ones(base):
    encoder = load_encoder(base, device="cpu")
    words = ["fox", "hen", "house", "moon", "river"]
    same = alignment(encoder.model, encoder.tokenizer, [(w, w) for w in words])
    assert (same["p@1"], same["back p@1"], same["pairs"]) == (1.0, 1.0, 5)
    turned = alignment(encoder.model, encoder.tokenizer, list(zip(words, words[1:] + words[:1], strict=True)))
    assert (turned["p@1"], turned["margin"] < same["margin"]) == (0.0, True)
    rows = embed(encoder.model, encoder.tokenizer, words)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    alone = embed(encoder.model, encoder.tokenizer, ["fox"])
    torch.testing.assert_close(alone[0], rows[0], atol=1e-4, rtol=1e-4)


def test_repeated_texts_have_no_one_answer(base):
    encoder = load_encoder(base, device="cpu")
    pairs = [("a", "fox"), ("b", "fox"), ("hen", "hen"), ("cat", "cat")]
    assert alignment(encoder.model, encoder.tokenizer, pairs)["pairs"] == 2
    with pytest.raises(CslabError, match="0 pairs that stand once"):
        alignment(encoder.model, encoder.tokenizer, pairs[:2])
    assert retrieval(torch.eye(2), torch.eye(2))["p@1"] == 1.0


def test_the_command_reads_lines_and_verses(base, tmp_path):
    (tmp_path / "en.txt").write_text("\n".join(TEXTS["en"]))
    (tmp_path / "ru.tsv").write_text("".join(f"0100{i}\t{line}\n" for i, line in enumerate(TEXTS["ru"])))
    (tmp_path / "pairs.tsv").write_text("лис\tfox\nдом\thouse\n")
    given = [
        "--text",
        f"en={tmp_path}/en.txt",
        "--text",
        f"ru={tmp_path}/ru.tsv",
        "--pairs",
        f"ru={tmp_path}/pairs.tsv",
    ]
    small = ["--steps", "2", "--batch", "2", "--length", "16", "--vocabulary", "60"]
    done = CliRunner().invoke(encoder_app, ["adapt", str(base), "--out", str(tmp_path / "made"), *given, *small])
    assert done.exit_code == 0, done.output
    assert "ru: p@1 " in done.output
    for code, lines in TEXTS.items():
        (tmp_path / f"long.{code}.txt").write_text("\n".join(lines * 20))
    (tmp_path / "known.txt").write_text("лис fox\nдом house\nкурица hen\n")
    started = [*(f"--text={code}={tmp_path}/long.{code}.txt" for code in TEXTS), f"--start=ru={tmp_path}/known.txt"]
    done = CliRunner().invoke(
        encoder_app, ["adapt", str(base), "--out", str(tmp_path / "near"), *given, *started, *small]
    )
    assert done.exit_code == 0, done.output
    assert "start of 'ru': " in done.output
    assert re.search(r"ru: p@1 [\d.]+ → [\d.]+ → [\d.]+", done.output)
    twice = CliRunner().invoke(
        encoder_app, ["adapt", str(base), "--out", str(tmp_path / "x"), *started, "--start=ru=identical"]
    )
    assert str(twice.exception) == "--start: ru is given twice; merge its lexicons first (cslab lexicon merge)"
    assert "01001" not in load_encoder(tmp_path / "made" / "model").tokenizer.get_vocab()
    wrong = CliRunner().invoke(encoder_app, ["adapt", str(base), "--out", str(tmp_path / "x"), "--text", "en.txt"])
    assert str(wrong.exception) == "--text en.txt: expected LANGUAGE=FILE, e.g. --text de=de.txt.gz"


def test_new_pieces_start_near_the_english_words_that_text_says_they_are(base, tmp_path):
    """Two languages of one text, word for word: vectors of one map onto the other's, and so do embeddings."""
    random = np.random.default_rng(0)
    words = {"fox": "лис", "hen": "кура", "house": "дом", "moon": "луна", "cat": "кот", "river": "река"}
    topics = (("fox", "hen", "cat"), ("house", "moon", "river"))
    lines = [[str(word) for word in random.choice(topics[i % 2], 6)] for i in range(600)]
    texts = {"en": [" ".join(line) for line in lines], "ru": [" ".join(words[word] for word in line) for line in lines]}
    known = Lexicon.from_pairs("ru", "en", [(words[word], word) for word in ("fox", "hen", "cat", "house", "moon")])
    model, tokenizer = adapting._load(base, 0)
    first, table = len(tokenizer), model.get_input_embeddings().weight.detach().clone()
    model, tokenizer, _ = adapting.extend(model, tokenizer, texts, replace(SETTINGS, minimum=1))
    told = []
    ids, rows, made = aligned_rows(tokenizer, table, first, texts, {"ru": known}, tmp_path, told.append)
    assert made == {"ru": {"pairs": 5, "mutual": made["ru"]["mutual"], "pieces": len(ids)}}
    assert told[-1].startswith("start of 'ru': 5 pairs, ")
    pieces = tokenizer.convert_ids_to_tokens(ids.tolist())
    assert set(words.values()) <= set(pieces)
    english = table[tokenizer.convert_tokens_to_ids(list(words))]
    near = rows @ torch.nn.functional.normalize(english, dim=1).T
    topic_of = {word: i for i, topic in enumerate(topics) for word in topic}
    for word, translation in words.items():
        best = list(words)[int(near[pieces.index(translation)].argmax())]
        assert topic_of[best] == topic_of[word], (translation, best)
    weights = np.linalg.lstsq(english.numpy().T, rows.numpy().T, rcond=None)[0]
    np.testing.assert_allclose(weights.sum(axis=0), 1, atol=1e-3)  # each is a mean of English embeddings


def test_a_start_is_measured_and_needs_text_and_known_words(base, tmp_path):
    seeds = {"ru": Lexicon.from_pairs("ru", "en", [("лис", "fox"), ("курица", "hen"), ("дом", "house")])}
    pairs = {"ru": [("лис", "fox"), ("дом", "house"), ("луну", "moon")]}
    longer = {code: lines * 20 for code, lines in TEXTS.items()}  # of a few lines, words get no vectors
    made = adapt(base, longer, tmp_path / "made", SETTINGS, pairs, device="cpu", progress=None, seeds=seeds)
    assert made["seeds"]["ru"]["pieces"] > 0
    assert set(made["start"]["ru"]) == set(made["after"]["ru"])
    assert not (tmp_path / "made" / "vectors").exists()
    with pytest.raises(CslabError, match="start: no text in 'de'"):
        adapt(base, TEXTS, tmp_path / "x", SETTINGS, device="cpu", progress=None, seeds={"de": "identical"})
    with pytest.raises(CslabError, match=r"align: 0 pairs of the seed \('identical' words\)"):
        adapt(base, TEXTS, tmp_path / "x", SETTINGS, device="cpu", progress=None, seeds={"ru": "identical"})
    assert not (tmp_path / "x" / "model").exists()
