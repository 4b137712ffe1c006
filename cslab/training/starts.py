"""Where the embeddings of new pieces start: at those of the English words that their language's text says they are.

Word vectors of each language are learnt from its own text, mapped onto those of the English text by a few known words
(spelt alike, or a list of titles or translations), and each piece takes the mean embedding of the English words nearest
to it, weighed by nearness; as WECHSEL does (2112.06598 section 3) with a dictionary of n-grams, here with CSLS and the
tokenizer's own words. No parallel text is read.

    seeds = {"de": "identical", "ru": known}
    ids, rows, found = aligned_rows(tokenizer, table, first, texts, seeds, "encoders/adapted/vectors")
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cslab.lexicon.align import Aligning, align
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.search import csls_rows, unit_rows
from cslab.lexicon.train import Training, train_vectors
from cslab.lexicon.vectors import Vectors
from cslab.ranking.cross_encoder import Progress
from cslab.ranking.pair_tokens import tokenise, word_cutter
from cslab.store import CslabError, fingerprint
from cslab.text import fold

Seeds = Mapping[str, "Lexicon | str"]  # language → known words to English, or "identical"

# Whole words and a wide window, for meaning, as chosen for induction from texts of a million words.
TRAINING = Training(epochs=6, minimum=2, longest=0, window=8)
ALIGNING = Aligning(method="refine", rounds=3, frequent=8_000)
NEAREST = 10  # English words whose embeddings are mixed, and …
TEMPERATURE = 0.1  # … what their scores are divided by before the softmax, both as in 2112.06598


def aligned_rows(
    tokenizer: Any,
    table: torch.Tensor,
    first: int,
    texts: Mapping[str, Sequence[str]],
    seeds: Seeds,
    folder: str | Path,
    progress: Progress | None = None,
) -> tuple[torch.Tensor, torch.Tensor, dict[str, dict[str, int]]]:
    """Embeddings for the pieces from id `first` on.

    A piece's vector is the mean of those of the words it is in, by how often they occur; a piece of several languages
    is the mean of theirs, by the same count.

    Args:
        tokenizer: the extended one.
        table: (pieces before, width) embeddings.
        first: id of the first new piece.
        texts: language → lines; English among them.
        seeds: the languages to do, with what their mapping starts from.
        folder: where word vectors are kept, a folder a language.
        progress: called with a line a language.

    Returns:
        Ids of the pieces that got an embedding, their rows (ids, width) float32, and by language: known words used
        (`pairs`), words on which both directions agree in the end (`mutual`), and `pieces`.

    Raises:
        CslabError: without English text, for a language without text, or too few known words.
    """
    if missing := [code for code in ("en", *seeds) if code not in texts]:
        raise CslabError(f"start: no text in '{missing[0]}'; word vectors of it are needed, give its lines")
    cut, folder, codes = word_cutter(tokenizer), Path(folder), ("en", *seeds)
    if progress:
        progress(f"word vectors of {', '.join(codes)}")
    with ThreadPoolExecutor(min(len(codes), os.cpu_count() or 1)) as workers:  # each is trained by a child process
        trained = workers.map(lambda code: _vectors(cut, texts[code], code, folder), codes)
        learnt = dict(zip(codes, trained, strict=True))
    english, _ = learnt["en"]
    single = _single_pieces(tokenizer, english.words, first)
    pool = np.array(sorted(single), np.int64)
    embeddings = table.detach().float().cpu()[[single[row] for row in pool]]
    total = torch.zeros(len(tokenizer) - first, table.shape[1])
    weight = torch.zeros(len(tokenizer) - first)
    made = {}
    for code, seed in seeds.items():
        vectors, counted = learnt[code]
        alignment = align(vectors, english, _as_cut(seed, cut), ALIGNING)
        mapped = alignment.map_source(vectors.matrix)
        ids, means, counts = _piece_vectors(tokenizer, vectors.words, mapped, counted, first)
        near = csls_rows(means, alignment.map_target(english.matrix[pool]), min(NEAREST, len(pool)), background=mapped)
        shares = torch.softmax(near.scores / TEMPERATURE, dim=1)
        rows = (shares.unsqueeze(-1) * embeddings[near.rows]).sum(dim=1)
        total.index_add_(0, ids, rows * counts.unsqueeze(-1))
        weight.index_add_(0, ids, counts)
        made[code] = {"pairs": alignment.pairs, "mutual": int(alignment.history[-1][1]), "pieces": len(ids)}
        if progress:
            progress(f"start of '{code}': " + ", ".join(f"{count:,} {what}" for what, count in made[code].items()))
    done = weight.nonzero()[:, 0]
    return done + first, total[done] / weight[done].unsqueeze(-1), made


def seeds_key(seeds: Seeds) -> str:
    """A hash of the languages and what their mappings start from."""
    return fingerprint({code: seed if isinstance(seed, str) else list(seed.rows()) for code, seed in seeds.items()})


def _vectors(
    cut: Callable[[str], list[str]], lines: Sequence[str], code: str, folder: Path
) -> tuple[Vectors, Counter[str]]:
    """Vectors of the words of a text, and how often each (folded) occurs."""
    counted: Counter[str] = Counter()

    def spaced() -> Iterator[str]:
        for line in lines:
            found = cut(line)
            counted.update(fold(word) for word in found)
            yield " ".join(found)

    return train_vectors(spaced(), code, folder / code, TRAINING), counted


def _as_cut(seed: Lexicon | str, cut: Callable[[str], list[str]]) -> Lexicon | str:
    """A seed's words as the tokenizer writes them; those that it cuts are left out."""
    if isinstance(seed, str):
        return seed
    cuts = ((cut(key), cut(found.text)) for key, translations in seed.entries.items() for found in translations)
    rows = ((left[0], right[0]) for left, right in cuts if len(left) == len(right) == 1)
    return Lexicon.from_pairs(seed.source, seed.target, rows, seed.name)


def _single_pieces(tokenizer: Any, words: Sequence[str], first: int) -> dict[int, int]:
    """Row of each word that was one piece before → the piece's id."""
    tokens = tokenise(tokenizer, words)
    alone = np.flatnonzero(tokens.lengths == 1)
    ids = tokens.ids[tokens.starts[alone]]
    return {int(row): int(i) for row, i in zip(alone, ids, strict=True) if i < first and i != tokenizer.unk_token_id}


def _piece_vectors(
    tokenizer: Any, words: Sequence[str], mapped: torch.Tensor, counted: Mapping[str, int], first: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Places (id − first) of the new pieces in these words, their unit vectors, and how often the words occur."""
    tokens = tokenise(tokenizer, words)
    owners = np.repeat(np.arange(len(words)), tokens.lengths)
    times = np.array([counted[word] for word in words], np.float32)
    new = (tokens.ids >= first) & mapped.any(1).numpy()[owners]
    found, places = np.unique(tokens.ids[new] - first, return_inverse=True)
    weights, places = torch.from_numpy(times[owners[new]]), torch.from_numpy(places)
    sums = torch.zeros(len(found), mapped.shape[1])
    sums.index_add_(0, places, mapped[torch.from_numpy(owners[new])] * weights.unsqueeze(-1))
    counts = torch.zeros(len(found)).index_add_(0, places, weights)
    return torch.from_numpy(found.astype(np.int64)), unit_rows(sums), counts
