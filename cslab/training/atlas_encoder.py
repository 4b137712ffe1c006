"""The recipe of the atlas's small multilingual encoder, committed as `cslab/data/atlas/encoder`.

    cslab encoder atlas --out cslab/data/atlas/encoder

A stand-in for a pretrained multilingual encoder that is imperfectly aligned across languages, as mMiniLM is:

1. words: the words of the atlas's monolingual text in nine languages are the vocabulary;
2. embeddings: English words start at random; a word of another language starts from the mean of its English
   translations plus noise, so that translations are near each other and not equal;
3. pre-training (`cslab.training.pretrain`) on passages of other worlds, each told in one language only.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cslab.collections.atlas import LANGUAGES, atlas, atlas_lexicon, atlas_titles, atlas_world
from cslab.collections.atlas_text import monolingual_text
from cslab.store import write_json
from cslab.text import fold, words
from cslab.training.pretrain import PretrainSettings, pretrain, small_bert, whole_words

WIDTH, LAYERS, HEADS, VOCABULARY, SENTENCES = 128, 3, 4, 12_000, 40_000
NOISE = 0.7  # length of the noise over that of the vector: cosine 0.82 between a word and its translation
SETTINGS = PretrainSettings(steps=900, batch=64, lr=1e-3, max_length=80, log_every=25)


def make_atlas_encoder(
    folder: str | Path, settings: PretrainSettings = SETTINGS, progress: Callable[[str], None] | None = print
) -> dict[str, Any]:
    """Makes the encoder and writes it into a folder that `load_encoder` opens.

    Returns:
        Small numbers: vocabulary, tokens with aligned vectors, last loss, seconds.
    """
    folder = Path(folder)
    passages = {code: world_passages(code, 1000 + i) for i, code in enumerate(LANGUAGES)}
    texts = {code: list(monolingual_text(code, SENTENCES // 4, seed=1)) for code in LANGUAGES}
    told = {code: [text for town in passages[code] for text in town] for code in LANGUAGES}
    tokenizer = whole_words({code: texts[code] + told[code] for code in LANGUAGES}, VOCABULARY)
    model = small_bert(len(tokenizer), WIDTH, LAYERS, HEADS)
    filled = put_vectors(model, tokenizer)
    figures = pretrain(model, tokenizer, passages, settings, progress)
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)  # four megabytes; loaded as fp32
    tokenizer.save_pretrained(folder)
    made = {"vocabulary": len(tokenizer), "aligned tokens": filled} | figures
    write_json(folder / "recipe.json", {"recipe": __name__, "settings": settings, "figures": made})
    return made


def world_passages(code: str, seed: int) -> list[list[str]]:
    """Passages of a world of its own for each language, grouped by town."""
    found = atlas("train", passages=3000, queries=100, seed=seed, languages=[code])
    world = atlas_world("train", passages=3000, queries=100, seed=seed)
    groups: dict[Any, list[str]] = {}
    for did, text in found.documents[code].items():
        groups.setdefault(world.place(did)[0], []).append(text)
    return [group for group in groups.values() if len(group) > 1]


def put_vectors(model: Any, tokenizer: Any, noise: float = NOISE, seed: int = 0) -> int:
    """Sets token embeddings: random ones for English words, noisy means of them for the words of other languages.

    Returns:
        How many words of other languages have one.
    """
    random, table = np.random.default_rng(seed), model.get_input_embeddings().weight.data
    sources: dict[str, list[str]] = {}
    for code in LANGUAGES[1:]:
        for lexicon in (atlas_lexicon(code), atlas_titles(code)):
            for key, translations in lexicon.entries.items():
                for word in (w.text for t in translations for w in words(t.text)):
                    sources.setdefault(fold(word), []).extend(key.split())
    vocabulary, width = tokenizer.get_vocab(), table.shape[1]
    english = {word: _unit(random.normal(size=width)) for word in sorted({w for ws in sources.values() for w in ws})}
    near = {word: _unit(np.mean([english[w] for w in ws], axis=0)) for word, ws in sources.items()}
    near = {word: _unit(v + noise * random.normal(size=width) / width**0.5) for word, v in sorted(near.items())}
    # A word written alike in English and another language is the English one.
    for word, vector in (near | english).items():
        if word in vocabulary:
            # Three times as long as BERT's initial positions and types: what a word is counts more than where.
            table[vocabulary[word]] = torch.from_numpy(vector * 0.06 * width**0.5)
    return sum(word in vocabulary for word in near)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
