"""Word vectors from a sentence encoder: each word is read as a text of its own, as a query.

A multilingual encoder puts the words of all its languages into one space, so a lexicon can be induced from it without
a seed and without running text: all it takes is lists of words. What the words of a language have in common, the mean
of their vectors, is taken away: it says that a text is German, or a single word, and not what the word means. So the
lists should be whole vocabularies. Vectors are made once and kept in the cache.

    english = encoder_vectors("me5", ["fox", "hen"], "en", "data/cache/vectors")
    german = encoder_vectors("me5", ["fuchs", "henne", "haus"], "de", "data/cache/vectors")
    induce(english, german)["fox"]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cslab.lexicon.search import unit_rows
from cslab.lexicon.vectors import Vectors, load_vectors, save_vectors
from cslab.processes import alone
from cslab.ranking.sentence_recipe import NAMED
from cslab.store import CslabError, fingerprint, sha256_file

if TYPE_CHECKING:
    from cslab.ranking.pair_tokens import Progress


def is_encoder(name: str) -> bool:
    """Whether `vectors` of a profile are an encoder's: `me5`, `minilm` or the folder of one."""
    return name in NAMED or (bool(name) and (Path(name) / "config.json").is_file())


def encoder_vectors(
    name: str, words: Iterable[str], language: str, cache: str | Path, progress: "Progress | None" = None
) -> Vectors:
    """The vectors of words, from their mean on, unit rows in the order given, each word once.

    Args:
        name: "me5", "minilm", a hub id, or the folder of a sentence encoder.
        words: the words; the more frequent ones should come first.
        language: code of their language.
        cache: where folders of vectors go.
        progress: called with a line of text now and then.

    Raises:
        CslabError: for no words, or an encoder that cannot be loaded.
    """
    from cslab.ranking.cross_encoder import hub_path
    from cslab.ranking.dual_encoder import embed_texts, load_dual_encoder

    listed = list(dict.fromkeys(words))
    if not listed:
        raise CslabError(f"word vectors of {name}: no word of '{language}' is given; give a text or a dictionary")
    path = Path(hub_path(name))
    weights = [sha256_file(file) for file in sorted(path.glob("*.safetensors"))] or [name]
    folder = Path(cache) / f"{path.name}-{language}-{fingerprint([weights, listed])}"
    with alone(folder):
        if not (folder / "record.json").is_file():
            found = embed_texts(load_dual_encoder(name), listed, precision="fp32", progress=progress, side="query")
            found = unit_rows(found - found.mean(0))
            save_vectors(Vectors(language, tuple(listed), found.numpy(), f"{name} ({language})"), folder)
    return load_vectors(folder)
