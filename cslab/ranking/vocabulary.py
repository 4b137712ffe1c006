"""Vocabulary extension: a lexicon in the embedding layer of an English encoder.

An English vocabulary breaks Russian or Arabic words into letters, which mean nothing to the encoder. Here the lexicon's
target words become whole pieces of a WordPiece vocabulary, and each new embedding is the mean of the embeddings of its
English translations (a translation of several pieces is their mean), so that the encoder reads a word as what it
translates to before any training. Words are normalised as the tokenizer normalises text (lower case, accents, й and ё),
its own pieces and ids stay as they are, and inflected forms may still go on with `##` pieces.

Reads an encoder and lexicons from English; gives a new encoder, whose counts are in `notes`.

    longer = extend_vocabulary(load_encoder("minilm"), {"de": english_german, "ru": english_russian}, words=20_000)
    longer.notes        # {"added": 31207, "known": 5210, "in pieces": 893, "without meaning": 2}
"""

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch

from cslab.lexicon.lexicon import Lexicon
from cslab.ranking.cross_encoder import Encoder
from cslab.ranking.pair_tokens import backend, tokenise, with_state, word_cutter
from cslab.store import CslabError

Lexicons = Mapping[str, Lexicon | Sequence[Lexicon]]


def extend_vocabulary(
    encoder: Encoder,
    lexicons: Lexicons,
    words: int | None = None,
    only: Mapping[str, Iterable[str]] | None = None,
) -> Encoder:
    """Adds target words of lexicons to the vocabulary, each with the mean embedding of its translations.

    Args:
        encoder: an encoder with a WordPiece vocabulary; it is left as it is.
        lexicons: target language → lexicon (or several) from the encoder's language.
        words: how many new words each language may add, in the order of its lexicon (which dictionaries keep by
            frequency); None for all.
        only: language → the words that matter, e.g. those of a collection; others are not added.

    Returns:
        A new encoder. Its notes count the words `added`, those `known` to the vocabulary before, those the tokenizer
        cuts `in pieces` (hyphens, apostrophes) and those `without meaning` (no translation it can read).

    Raises:
        CslabError: for a tokenizer that is not WordPiece, or lexicons that add nothing.
    """
    fast = backend(encoder.tokenizer)
    kind = type(fast.model).__name__
    if kind != "WordPiece":
        raise CslabError(f"{encoder.name}: its vocabulary is {kind}; only WordPiece vocabularies can be extended")
    notes = dict.fromkeys(("added", "known", "in pieces", "without meaning"), 0)
    meanings = _meanings(encoder, lexicons, words, only, notes)
    table = encoder.model.get_input_embeddings().weight.detach().cpu().numpy()
    pieces, rows = _embeddings(encoder, meanings, table)
    notes |= {"added": len(pieces), "without meaning": len(meanings) - len(pieces)}
    if not pieces:
        raise CslabError(f"{encoder.name}: no word to add from {', '.join(lexicons) or 'no lexicon'}; check languages")
    start = len(encoder.tokenizer)
    model = copy.deepcopy(encoder.model)
    model.resize_token_embeddings(max(len(table), start + len(pieces)), mean_resizing=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[start : start + len(pieces)] = torch.from_numpy(rows)
    return Encoder(model, _with_pieces(encoder.tokenizer, pieces, start), encoder.name, {**encoder.notes, **notes})


def _meanings(
    encoder: Encoder,
    lexicons: Lexicons,
    words: int | None,
    only: Mapping[str, Iterable[str]] | None,
    notes: dict[str, int],
) -> dict[str, dict[str, None]]:
    """New piece → its translations; a piece that two languages share has those of both."""
    fast, known = backend(encoder.tokenizer), encoder.tokenizer.get_vocab()
    piece_of, longest = _piece_maker(encoder.tokenizer), fast.model.max_input_chars_per_word
    meanings: dict[str, dict[str, None]] = {}
    for code, given in lexicons.items():
        wanted = None if only is None else {piece_of(word) for word in only.get(code, ())}
        found: dict[str, dict[str, None]] = {}
        seen: set[str] = set()
        for source, target in _rows([given] if isinstance(given, Lexicon) else given):
            piece = piece_of(target)
            if wanted is not None and piece not in wanted:
                continue
            if piece is None or piece in known or len(piece) > longest:
                if target not in seen:
                    notes["known" if piece in known else "in pieces"] += 1
                    seen.add(target)
                continue
            found.setdefault(piece, {})[source] = None
        for piece, sources in islice(found.items(), words):
            meanings.setdefault(piece, {}).update(sources)
    return meanings


def _rows(lexicons: Sequence[Lexicon]) -> Iterator[tuple[str, str]]:
    """(source, target) of single words, in the order of the lexicons."""
    for lexicon in lexicons:
        for source, translations in lexicon.entries.items():
            for translation in translations:
                if " " not in translation.text:
                    yield source, translation.text


def _piece_maker(tokenizer: Any) -> Callable[[str], str | None]:
    """A function that gives a word as the tokenizer sees it, or None if it cuts the word at punctuation."""
    words = word_cutter(tokenizer)

    def piece(word: str) -> str | None:
        cut = words(word)
        return cut[0] if len(cut) == 1 else None

    return piece


def _embeddings(
    encoder: Encoder, meanings: Mapping[str, Iterable[str]], table: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """The pieces that have a translation the encoder can read, and their embeddings (pieces × width, float32)."""
    sources = list(dict.fromkeys(source for found in meanings.values() for source in found))
    tokens = tokenise(encoder.tokenizer, sources)
    lengths = tokens.lengths
    owners = np.repeat(np.arange(len(sources)), lengths)
    unknown = np.bincount(owners, tokens.ids == encoder.tokenizer.unk_token_id, len(sources)) > 0
    place = {source: i for i, source in enumerate(sources) if lengths[i] and not unknown[i]}
    means = _means(table, tokens.ids, lengths)
    pieces, places, counts = [], [], []
    for piece, found in meanings.items():
        readable = [place[source] for source in found if source in place]
        if readable:
            pieces.append(piece)
            places += readable
            counts.append(len(readable))
    return pieces, _means(means, np.array(places, np.int64), np.array(counts, np.int64))


def _means(table: np.ndarray, ids: np.ndarray, counts: np.ndarray, block: int = 10_000) -> np.ndarray:
    """Means of consecutive groups of a table's rows, `counts` rows each (zeros for none); done in blocks for memory."""
    means = np.zeros((len(counts), table.shape[1]), np.float32)
    starts = np.concatenate([[0], np.cumsum(counts)])
    filled = np.flatnonzero(counts)
    for first in range(0, len(filled), block):
        part = filled[first : first + block]
        low, high = starts[part[0]], starts[part[-1] + 1]
        means[part] = np.add.reduceat(table[ids[low:high]], starts[part] - low) / counts[part, None]
    return means


def _with_pieces(tokenizer: Any, pieces: Sequence[str], start: int) -> Any:
    """A copy of a tokenizer with further pieces in its WordPiece model, ids from `start` on.

    Tokens added in transformers' own way are matched one by one before the text is cut, inside words too; as part of
    the model they cost nothing.
    """
    state = json.loads(backend(tokenizer).to_str())
    state["model"]["vocab"] |= {piece: start + i for i, piece in enumerate(pieces)}
    return with_state(tokenizer, state)
