"""Tiny random CLIP, SigLIP and sentence encoders with words as tokens, written as folders: no download."""

import json
from pathlib import Path

import torch

TEXT = "a the red blue big small fox hen house boat rot blau fuchs haus and on left right"
WORDS = TEXT.split()
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
PICTURE = SMALL | {"image_size": 16, "patch_size": 8, "num_hidden_layers": 1}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def words_tokenizer(folder: Path, special=("[PAD]", "[UNK]", "[CLS]", "[SEP]"), length: int = 16) -> None:
    """Writes a WordPiece tokenizer of whole words with `tokenizer.json` and its settings."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS, *"abcdefghijklmnopqrstuvwxyz"[1:]])}
    vocabulary |= {f"##{letter}": len(vocabulary) + i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    pad, unknown, first, last = special
    fast = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    fast.normalizer, fast.decoder = normalizers.BertNormalizer(lowercase=True), decoders.WordPiece()
    fast.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ids = [(first, vocabulary[first]), (last, vocabulary[last])]
    fast.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ids)
    fast.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": length, "pad_token": pad}
    settings |= {"unk_token": unknown, "cls_token": first, "sep_token": last, "eos_token": last}
    settings |= {"model_input_names": ["input_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def size_of(folder: Path) -> int:
    """Words in the folder's tokenizer."""
    return len(json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"])


def clip_folder(folder: Path, seed: int = 0) -> Path:
    """A CLIP of a few thousand weights."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    words_tokenizer(folder)
    text = SMALL | SPECIAL | {"vocab_size": size_of(folder), "num_hidden_layers": 2, "max_position_embeddings": 16}
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text, vision_config=PICTURE, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def siglip_folder(folder: Path, seed: int = 0) -> Path:
    """A SigLIP of a few thousand weights."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    words_tokenizer(folder)
    text = SMALL | SPECIAL | {"vocab_size": size_of(folder), "num_hidden_layers": 2, "max_position_embeddings": 16}
    torch.manual_seed(seed)
    SiglipModel(SiglipConfig(text_config=text, vision_config=PICTURE)).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder


def sentence_folder(folder: Path, seed: int = 0) -> Path:
    """A BERT to be pooled."""
    from transformers import BertConfig, BertModel

    words_tokenizer(folder)
    config = BertConfig(
        vocab_size=size_of(folder), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    BertModel(config).save_pretrained(folder)
    return folder


def resnet_folder(folder: Path, seed: int = 0) -> Path:
    """A small ResNet with batch norm."""
    from transformers import CLIPImageProcessor, ResNetConfig, ResNetModel

    torch.manual_seed(seed)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ResNetModel(config).save_pretrained(folder)
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def two_towers(folder: Path):
    """A pooled BERT and a ResNet with heads."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    from cslab.ranking.dual_encoder import join_towers

    text, image = sentence_folder(folder / "a"), resnet_folder(folder / "b")
    return join_towers(
        AutoModel.from_pretrained(text), AutoTokenizer.from_pretrained(text), AutoModel.from_pretrained(image),
        AutoImageProcessor.from_pretrained(image), width=8,
    )  # fmt: skip
