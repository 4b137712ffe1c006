"""Lexicon induction on the atlas: vectors of its monolingual text, a seed, and what each step of induction adds.

table = induction_table(atlas_vectors("en", 20_000), atlas_vectors("de", 20_000))
"""

from dataclasses import replace

import pandas as pd

from cslab.collections.atlas import atlas_lexicon
from cslab.collections.atlas_text import monolingual_text
from cslab.collections.download import default_cache
from cslab.lexicon.align import Aligning, align
from cslab.lexicon.induce import Retrieval, induce
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.quality import evaluate
from cslab.lexicon.train import Training, train_vectors
from cslab.lexicon.vectors import Vectors
from cslab.store import fingerprint


def atlas_vectors(code: str, sentences: int, dimensions: int = 100, epochs: int = 10) -> Vectors:
    """Word vectors of a language, trained on the atlas's monolingual text once and kept in the cache.

    Args:
        code: one of the atlas's languages.
        sentences: how much text; 60,000 align well, 20,000 poorly.
        dimensions: columns of the vectors.
        epochs: passes over the text.
    """
    folder = default_cache() / "vectors" / f"atlas-{code}-{sentences}-{dimensions}-{epochs}"
    return train_vectors(monolingual_text(code, sentences), code, folder, Training(dimensions, epochs, longest=0))


def seed_titles(target: str, size: int = 250) -> Lexicon:
    """A seed of single words with their counterparts, as parallel titles of an encyclopedia would give them.

    The same words for every target language; what is measured on the others is not known to the alignment.
    """
    gold = atlas_lexicon(target)
    content = sorted((w for w in gold if " " not in w and len(w) > 3), key=lambda w: fingerprint(["seed", w]))
    return replace(gold.restrict(content[:size]).top(1), name="titles")


def induced_lexicon(source: Vectors, target: Vectors, seed: Lexicon, method: str = "csls", rounds: int = 4) -> Lexicon:
    """Source words with their retrieved translations, from a Procrustes mapping with rounds of refinement."""
    aligning = Aligning(method="refine", rounds=rounds) if rounds else Aligning(method="procrustes")
    return induce(source, target, align(source, target, seed, aligning), Retrieval(method=method, top=10))


def induction_table(source: Vectors, target: Vectors, seed_words: int = 250) -> pd.DataFrame:
    """What each step of induction adds, measured on the gold words that are not in the seed.

    Returns:
        A row per method with P@1, P@5 over all test words and over the covered ones, and the share covered.
    """
    seed, gold = seed_titles(target.language, seed_words), atlas_lexicon(target.language)
    test = replace(gold, entries={w: ts for w, ts in gold.entries.items() if w not in seed.entries and " " not in w})
    rows = {}
    steps = (("nearest neighbour", "nn", 0), ("CSLS", "csls", 0), ("CSLS, refined", "csls", 4))
    for name, method, rounds in steps:
        found = induced_lexicon(source, target, seed, method, rounds)
        rows[name] = evaluate(found, test, source.words, target.words).summary
    return pd.DataFrame(rows).T
