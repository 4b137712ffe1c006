"""Small towers for the drawn scenes, made on the spot: what stands in for a pretrained image-text model.

The text tower is a BERT of two layers over whole words of all nine languages. Its word embeddings are imperfectly
aligned across languages, as those of a multilingual encoder are: English words start at random, others from the noisy
mean of their translations. The image tower is a ResNet of two stages whose map is kept, so that places count. Both
still have to be trained on English captions (`train_image=True`).

    encoder = scene_towers(seed=0)
"""

from typing import Any

import numpy as np

from cslab.collections.atlas_data import LANGUAGES
from cslab.collections.scene_pictures import BACKGROUND, SIZE
from cslab.collections.scenes import scene_lexicon, scene_words
from cslab.ranking.cross_encoder import quiet
from cslab.ranking.dual_encoder import DualEncoder, join_towers
from cslab.text import fold, words
from cslab.training.pretrain import small_bert, whole_words

WIDTH, LAYERS, HEADS, SPACE = 128, 2, 4, 128
NOISE = 1.0  # length of the noise over that of the vector: cosine 0.71 between a word and its translation
LENGTH = 0.06  # root mean square of an embedding's entries, three times that of BERT's positions


def scene_towers(seed: int = 0) -> DualEncoder:
    """Untrained towers for the scenes.

    Args:
        seed: of all weights.
    """
    import torch

    with quiet():
        from transformers import CLIPImageProcessor, ResNetConfig, ResNetModel

    tokenizer = whole_words({code: scene_words(code) for code in LANGUAGES}, 5000)
    bert = small_bert(len(tokenizer), WIDTH, LAYERS, HEADS, positions=64, seed=seed).bert
    _align(bert.get_input_embeddings().weight.data, tokenizer.get_vocab(), np.random.default_rng(seed))
    torch.manual_seed(seed)
    shape = {"embedding_size": 32, "hidden_sizes": [32, 64], "depths": [1, 1], "layer_type": "basic"}
    mean = [value / 255 for value in BACKGROUND]  # what is empty is 0
    with quiet():
        processor = CLIPImageProcessor(
            do_resize=False, do_center_crop=False, image_mean=mean, image_std=[0.25] * 3,
            size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE},
        )  # fmt: skip
    image = ResNetModel(ResNetConfig(**shape))
    return join_towers(bert, tokenizer, image, processor, SPACE, seed, name="scenes", size=SIZE)


def _align(table: Any, vocabulary: dict[str, int], random: np.random.Generator) -> None:
    """Gives English words random embeddings, and words of other languages noisy means of their translations'."""
    import torch

    english = dict.fromkeys(fold(word.text) for text in scene_words("en") for word in words(text))
    found = {word: random.normal(size=table.shape[1]) for word in english}
    sources: dict[str, list[str]] = {}
    for code in LANGUAGES[1:]:
        for source, translations in scene_lexicon(code).entries.items():
            for translation in translations:
                for word in words(translation.text):
                    sources.setdefault(fold(word.text), []).append(source)
    # A word written alike in English and another language is the English one.
    for word in sorted(sources.keys() - english.keys()):
        mean = np.mean([found[source] for source in sources[word]], axis=0)
        near = mean * (len(mean) ** 0.5 / np.linalg.norm(mean)) + NOISE * random.normal(size=len(mean))
        found[word] = near / (1 + NOISE**2) ** 0.5
    for word, vector in found.items():
        if word in vocabulary:
            table[vocabulary[word]] = torch.from_numpy(LENGTH * vector)
