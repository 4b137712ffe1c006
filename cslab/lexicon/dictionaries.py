"""Dictionaries made by people: MUSE, Wiktionary TSV with parts of speech, xling-eval; and merging lexicons.

Reads `source target` text (MUSE), `en<TAB>tgt<TAB>pos` with a header (Wiktionary), `en<TAB>tgt` (xling-eval) and the
TSV of this package; `read_dictionary` tells them apart by their first line.

    >>> good = Lexicon.from_pairs("en", "de", [("fox", "Fuchs")], name="gold")
    >>> rest = Lexicon.from_pairs("en", "de", [("fox", "fuchs"), ("hen", "Henne")], name="titles", method="titles")
    >>> merged = merge([good, rest])
    >>> [(t.text, t.method) for t in merged["fox"]], merged["hen"][0].method
    ([('Fuchs', 'dictionary')], 'titles')
"""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from cslab.lexicon.lexicon import COLUMNS, Lexicon, Translation, filled, read_lexicon, read_muse
from cslab.store import CslabError, read_lines, read_tsv
from cslab.text import fold

# Arabic vowel signs and the stretching stroke: written in dictionaries, not in running text.
_VOWEL_SIGNS = re.compile("[\u064b-\u065f\u0670\u0640]")


def read_wiktionary(
    path: str | Path, source: str, target: str, pos: Collection[str] | None = None, name: str = "wiktionary"
) -> Lexicon:
    """Reads a TSV of word, translation and part of speech, with a header; vowel signs of Arabic are taken off.

    Args:
        path: the file.
        source: source language, the first column of the header.
        target: target language.
        pos: parts of speech to keep, e.g. `{"n", "v", "adj"}`; all if None.
        name: name of the lexicon, and method of its entries.

    Raises:
        CslabError: for another header, a line without three cells, or no entry of such a part of speech.
    """
    rows = (row[:2] for row in _wiktionary_rows(path, source, target) if pos is None or row[2] in pos)
    return filled(Lexicon.from_pairs(source, target, rows, name=name, method=name), path)


def _wiktionary_rows(path: str | Path, source: str, target: str) -> Iterator[tuple[str, str, str]]:
    for number, cells in read_tsv(path, width=3):
        if number == 1:
            if cells[0] != source or cells[2] != "pos":
                expected = f"expected '{source}', the target and 'pos'"
                raise CslabError(f"{path}:1: header is {cells}, {expected}; put the right header first")
            continue
        text = _VOWEL_SIGNS.sub("", cells[1]) if target in ("ar", "fa", "ur") else cells[1]
        yield cells[0], text, cells[2]


def parts_of_speech(path: str | Path, source: str = "en") -> dict[str, tuple[str, ...]]:
    """Folded source word → its parts of speech in order of appearance, from a Wiktionary TSV."""
    found: dict[str, dict[str, None]] = {}
    for word, _, pos in _wiktionary_rows(path, source, ""):
        found.setdefault(fold(word), {})[pos] = None
    return {word: tuple(kinds) for word, kinds in found.items()}


def read_xling(path: str | Path, source: str, target: str, name: str = "xling") -> Lexicon:
    """Reads a dictionary of xling-eval: two tab-separated words a line, no header.

    Raises:
        CslabError: for a line without two cells, or a file without a line.
    """
    rows = (cells for _, cells in read_tsv(path, width=2))
    return filled(Lexicon.from_pairs(source, target, rows, name=name, method=name), path)


def read_dictionary(path: str | Path, source: str, target: str) -> Lexicon:
    """Reads any of the known forms of dictionary, told apart by the first line.

    Raises:
        CslabError: for an empty file, or what the reader of the form found raises.
    """
    cells = next((line for _, line in read_lines(path) if line.strip()), "").split("\t")
    if tuple(cells) == COLUMNS:
        return read_lexicon(path, source, target)
    if len(cells) == 3 and cells[2] == "pos":
        return read_wiktionary(path, source, target)
    # MUSE text mixes tabs and blanks; its reader takes both, and so reads xling-eval as well.
    return read_muse(path, source, target, name="xling" if len(cells) == 2 else "muse")


def merge(lexicons: Sequence[Lexicon], keep: str = "all", name: str = "merged") -> Lexicon:
    """Merges lexicons of one language pair by priority; each translation keeps its score and method.

    Args:
        lexicons: best source first; its translations stand before those of later ones.
        keep: `all` translations, or only those of the `first` lexicon that knows the word.
        name: name of the result.

    Raises:
        CslabError: for no lexicon, several language pairs, or another `keep`.
    """
    if not lexicons or keep not in ("all", "first"):
        raise CslabError(f"merge: {len(lexicons)} lexicons, keep='{keep}'; expected at least one, and 'all' or 'first'")
    if len(pairs := {f"{lexicon.source}-{lexicon.target}" for lexicon in lexicons}) > 1:
        raise CslabError(f"merge: lexicons of {', '.join(sorted(pairs))}; merge those of one pair at a time")
    entries: dict[str, tuple[Translation, ...]] = {}
    notes: dict[str, int] = {}
    for lexicon in lexicons:
        added = 0
        for key, translations in lexicon.entries.items():
            have = entries.get(key, ())
            if have and keep == "first":
                continue
            known = {fold(t.text) for t in have}
            entries[key] = have + tuple(t for t in translations if fold(t.text) not in known)
            added += not have
        notes[lexicon.name] = notes.get(lexicon.name, 0) + added
    return Lexicon(lexicons[0].source, lexicons[0].target, entries, name, notes)
