"""Vocabularies cut to what is needed: texts at hand are cut into pieces as before, and any other text can still be."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from cslab.config import make_profile
from cslab.lexicon.lexicon import Lexicon
from cslab.makers import read_as
from cslab.ranking.cross_encoder import Encoder, load_encoder, save_encoder, score_pairs
from cslab.ranking.needed_vocabulary import cut_vocabulary, needed_pieces, with_kept
from cslab.stages import open_lab
from cslab.store import CslabError
from cslab.switching.draw import Key
from cslab.switching.policy import Policy
from cslab.switching.spliced import spliced_words
from cslab.switching.switch import Switcher
from tests.tiny import tiny_encoder
from tests.unit.small_tokenizers import small_tokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
WORDS = ["▁the", "▁fox", "▁henhouse", "▁Füchsin", "▁лисица", "▁курятник", "▁ثعلب", "▁红狐狸", "▁狐狸窝"]
WORDS += ["ning", "(s),", "▁12.5"]
ALPHABET = sorted(set("".join(WORDS)) | set("abcdefghijklmnopqrstuvwxyz"))
UNKNOWN = "🦊ค"
MIXED = st.text(alphabet=st.sampled_from([*ALPHABET, *" ", *UNKNOWN, "é", "\u00a0"]), max_size=30)


def unigram() -> PreTrainedTokenizerFast:
    """All letters, and every part of some words with a score of its own: ties and odd cuts are many."""
    random = np.random.default_rng(0)
    parts = sorted({word[a:b] for word in WORDS for a, b in combinations(range(len(word) + 1), 2) if b - a > 1})
    scores = [*(-7 - random.integers(0, 4, len(ALPHABET))), *(-8 - random.integers(0, 9, len(parts)))]
    vocabulary = [(piece, 0.0) for piece in SPECIAL]
    vocabulary += [(piece, float(score)) for piece, score in zip([*ALPHABET, *parts], scores, strict=True)]
    fast = Tokenizer(models.Unigram([*vocabulary, ("<mask>", 0.0)], unk_id=3, byte_fallback=False))
    fast.normalizer = normalizers.NFKC()
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    fast.decoder = decoders.Metaspace(prepend_scheme="always")
    fast.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:0 </s>:0",
        pair="<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token="<mask>", model_max_length=64, model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


WHOLE = unigram()


def multilingual() -> Encoder:
    config = BertConfig(
        vocab_size=len(WHOLE) + 9, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, num_labels=1, pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder(BertForSequenceClassification(config).eval(), WHOLE, "multilingual")


@settings(max_examples=150, deadline=None)
@given(st.lists(MIXED, max_size=4), st.lists(MIXED, max_size=4))
def test_texts_at_hand_are_cut_as_before_and_others_can_be(texts, others):
    small = with_kept(WHOLE, needed_pieces(WHOLE, texts))
    for text in texts:
        assert small.tokenize(text) == WHOLE.tokenize(text)
    for text in others:
        whole, found = (one.backend_tokenizer.encode(text, add_special_tokens=False) for one in (WHOLE, small))
        unknown = [
            [span for token, span in zip(e.tokens, e.offsets, strict=True) if token == "<unk>"] for e in (whole, found)
        ]
        # Offsets of an unknown run may be told in other pieces, but they cover the same characters.
        covered = [{at for start, end in spans for at in range(start, end)} for spans in unknown]
        assert covered[0] == covered[1]


@settings(max_examples=50, deadline=None)
@given(st.lists(MIXED, max_size=3))
def test_a_trained_vocabulary_keeps_its_cuts_too(texts):
    whole = small_tokenizer("unigram")
    small = with_kept(whole, needed_pieces(whole, texts))
    assert [small.tokenize(text) for text in texts] == [whole.tokenize(text) for text in texts]
    assert small.convert_tokens_to_ids("<mask>") == len(small) - 1
    assert [small.convert_tokens_to_ids(token) for token in SPECIAL] == [0, 1, 2, 3]


def test_pieces_keep_their_order_and_pairs_their_layout():
    kept = needed_pieces(WHOLE, ["the fox"])
    small = with_kept(WHOLE, kept)
    assert small.convert_ids_to_tokens(range(len(small))) == WHOLE.convert_ids_to_tokens(kept.tolist())
    pair = ("the fox", "Füchsin 红狐狸")
    tokens = [one.convert_ids_to_tokens(one(*pair)["input_ids"]) for one in (WHOLE, small)]
    assert tokens[1][:4] == tokens[0][:4]
    assert tokens[1].count("</s>") == 3
    assert len(kept) < len(WHOLE) / 2


def test_scores_are_those_of_the_whole_vocabulary(tmp_path):
    whole = multilingual()
    pairs = [("the fox", "Füchsin 12.5"), ("лисица", "狐狸窝 (s),"), ("ثعلب", "henhouse 🦊")]
    small = cut_vocabulary(whole, [text for pair in pairs for text in pair])
    assert small.notes == {"whole": len(WHOLE), "kept": len(small.tokenizer)}
    assert len(small.model.get_input_embeddings().weight) == small.model.config.vocab_size == len(small.tokenizer)
    assert whole.model.config.vocab_size == len(WHOLE) + 9
    expected = score_pairs(whole, pairs)
    np.testing.assert_allclose(score_pairs(small, pairs), expected, atol=1e-6)
    save_encoder(small, tmp_path / "small")
    np.testing.assert_allclose(score_pairs(load_encoder(tmp_path / "small", device="cpu"), pairs), expected, atol=1e-6)
    assert np.isfinite(score_pairs(small, [("anything else", "совсем другое 🦊")])).all()


def test_only_unigram_vocabularies_are_cut(tmp_path):
    for encoder in (tiny_encoder(tmp_path), Encoder(None, small_tokenizer("byte bpe"), "bytes")):
        with pytest.raises(CslabError, match=r"its vocabulary is \w+; only Unigram .*set encoder.vocabulary to whole"):
            cut_vocabulary(encoder, ["fox"])


@pytest.mark.parametrize("exact", [True, False])
def test_weights_are_saved_in_16_bits_where_nothing_is_lost(exact, tmp_path, monkeypatch):
    monkeypatch.setattr("cslab.ranking.cross_encoder.LARGE", 32 * len(WHOLE))  # the table alone has more
    encoder = multilingual()
    table = encoder.model.get_input_embeddings().weight
    with torch.no_grad():
        table.copy_(table.half().float() + (0 if exact else 1e-6))
    save_encoder(encoder, tmp_path)
    again = load_encoder(tmp_path, device="cpu").model.get_input_embeddings().weight
    assert again.dtype == torch.float32
    assert torch.equal(again, table)
    numbers = sum(weight.numel() for weight in encoder.model.parameters())
    assert (tmp_path / "model.safetensors").stat().st_size < 4 * numbers - exact * table.numel() + 30_000


def test_a_new_head_can_be_left_out_so_that_seeds_draw_their_own(folder, tmp_path):
    pairs = [("the fox", "Füchsin")]
    for name, head in (("with", True), ("without", False)):
        save_encoder(cut_vocabulary(load_encoder(folder, 0, "cpu"), pairs[0]), tmp_path / name, head=head)
    scores = {
        (name, seed): score_pairs(load_encoder(tmp_path / name, seed, "cpu"), pairs).item()
        for name in ("with", "without")
        for seed in (1, 2)
    }
    assert scores["with", 1] == scores["with", 2]
    for seed in (1, 2):
        expected = score_pairs(load_encoder(folder, seed, "cpu"), pairs).item()
        assert scores["without", seed] == pytest.approx(expected, abs=1e-6)


# --- words that switching puts in ----------------------------------------------------------------------------

GERMAN = Lexicon.from_pairs(
    "en", "de", [("fox", "Füchsin"), ("fox", "fuchs"), ("red hen", "Rothuhn"), ("hen", "henne")]
)


def test_switched_words_keep_casing_and_surroundings():
    found = spliced_words(["The (Fox), red HEN.", "hen-fox"], [GERMAN])
    assert {"(Füchsin),", "(Fuchs),", "(fuchs),", "HENNE.", "henne-fox", "hen-fuchs", "Rothuhn"} <= found
    assert "Rothuhn" not in spliced_words(["a hen"], [GERMAN])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["fox", "Fox", "HEN", "foxy"]), *[st.text(alphabet=[*".,()-' "], max_size=4)] * 2, st.integers(0, 9)
)
def test_what_switching_makes_of_a_word_is_among_them(word, before, after, seed):
    text = f"the {before}{word}{after} cat"
    policy = Policy("any", 1.0, 1.0, languages=("de",), choice="uniform", top_k=0)
    switched = Switcher({"de": GERMAN}, policy)(text, Key(seed), "query").text
    assert set(switched.split()) <= {*text.split(), *spliced_words([text], [GERMAN])}


# --- the stage -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("encoders") / "multilingual"
    encoder = multilingual()
    encoder.tokenizer.save_pretrained(home)
    encoder.model.bert.save_pretrained(home)
    return home


def lab_of(folder, tmp_path, vocabulary="needed", **values):
    given = {
        "name": "small", "collection": {"languages": ["en", "de"], "passages": 60, "queries": 8},
        "lexicon": {"languages": ["de"]}, "encoder": {"name": str(folder), "vocabulary": vocabulary},
        "training": {"passages": 60, "queries": 30, "steps": 1, "batch": 4, "max_length": 32}, "conditions": ["ML-CS"],
        "evaluation": {"pairs": ["en-de"], "depth": 3, "max_length": 32},
    }  # fmt: skip
    return open_lab(make_profile(given | values), outputs=tmp_path)


def test_rankers_read_and_score_as_with_the_whole_vocabulary(folder, tmp_path):
    labs = [lab_of(folder, tmp_path / kind, vocabulary=kind) for kind in ("whole", "needed")]
    runs = [lab.runs(next(lab.systems()))["en-de"] for lab in labs]
    rows = [np.array([list(found.values()) for found in run.scores.values()]) for run in runs]
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-5)
    made, system = labs[1], next(labs[1].systems())
    assert made._needed.state() == "done"
    assert labs[0]._needed.state() == "to do"
    small = load_encoder(made.train(system).path / "model", device="cpu").tokenizer
    assert len(small) == made._needed.make().summary["kept"] < len(WHOLE)
    texts = [text for pair in made.texts(system)(3, range(len(made.pairs()))) for text in pair]
    assert [small.tokenize(text) for text in texts] == [WHOLE.tokenize(text) for text in texts]


def test_one_folder_serves_further_collections_and_ablations(folder, tmp_path):
    other = {
        "collection": {"languages": ["en", "ar"], "passages": 60, "queries": 6},
        "evaluation": {"pairs": ["en-ar"]},
    }
    lab = lab_of(folder, tmp_path, tests={"other": other}, ablations=["p"])
    alone = lab_of(folder, tmp_path)
    inside = [lab.on("other"), *lab.variations("p").values()]
    assert {one._needed.path for one in inside} == {lab._needed.path}
    assert lab._needed.key != alone._needed.key
    assert lab._needed.path in {recipe.path for recipe in lab.recipes()}
    steps = lab_of(folder, tmp_path, training={"steps": 2, "passages": 60, "queries": 30})
    assert steps._needed.key == alone._needed.key


def test_translated_test_text_is_cut_as_before(folder, tmp_path):
    evaluation = {"pairs": ["de-de"], "depth": 5}
    lab = lab_of(folder, tmp_path, conditions=["Zero-shot Translate-Test"], evaluation=evaluation)
    assert "inverse" in {recipe.path.parent.name for recipe in lab._needed.inputs}
    task = read_as(lab, next(lab.systems()), lab.task("de-de"))
    assert task.queries != lab.task("de-de").queries
    small = load_encoder(lab.encoder_source(False), device="cpu").tokenizer
    for text in (*task.queries.values(), *task.documents.values()):
        assert small.tokenize(text) == WHOLE.tokenize(text)
