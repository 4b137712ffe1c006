"""The hand-written tables of the atlas: concepts, names, places, attributes, sentences and the glossary.

Reads `cslab/data/atlas/*.tsv` (see the README there); writes nothing. Every table has one column per language, and each
mistake in one is reported with file and line.

    >>> data = load_data()
    >>> data.concepts["fox"].phrase["de"], data.names["town"]["silver_bay"]["nl"]
    ('der Fuchs', 'Zilverbaai')
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cslab.resources import packaged
from cslab.store import CslabError, nearest, read_tsv

SEEN = ("en", "de", "it", "ru", "ar", "nl")
UNSEEN = ("fr", "es", "pt")
LANGUAGES = SEEN + UNSEEN
FOLDER = packaged("atlas")
# What a domain tells about: the kind of name and the slot its place phrases carry.
DOMAINS = {"towns": "town", "voyages": "ship"}
# Forms of an attribute and the slots each must have, in every language.
FORMS = {
    "statement": {"place", "v"},
    "there": {"v"},
    "clause": {"v"},
    "question": {"place"},
    "question2": {"place"},
}
SENTENCES = {
    "find_towns": {"a", "b"},
    "find_voyages": {"a", "b"},
    "list": {"list"},
    "town": {"town", "list"},
    "ship": {"ship", "list"},
    "and": {"a", "b"},
    "comma": {"a", "b"},
}
_SLOT = re.compile(r"\{(\w+)\}")

Row = Mapping[str, str]  # language → text


@dataclass(frozen=True)
class Concept:
    """A thing: its class, its lemma, and the form that stands in a sentence as a nominative ("the fox")."""

    id: str
    kind: str
    lemma: Row
    phrase: Row


@dataclass(frozen=True)
class Attribute:
    """What can be said of a place: values are concepts of class `kind`; `forms[form][language]` are patterns."""

    id: str
    domain: str
    kind: str
    forms: Mapping[str, Row]


@dataclass(frozen=True)
class AtlasData:
    """All tables.

    Attributes:
        concepts: id → concept.
        kinds: class → concept ids, in order of the file.
        names: "town" or "ship" → id → names by language.
        places: domain → place id → phrases by language, with the slot of the name.
        attributes: domain → attribute id → attribute.
        sentences: kind of sentence → patterns by language.
        words: English word or n-gram → translations by language, best first.
    """

    concepts: Mapping[str, Concept]
    kinds: Mapping[str, tuple[str, ...]]
    names: Mapping[str, Mapping[str, Row]]
    places: Mapping[str, Mapping[str, Row]]
    attributes: Mapping[str, Mapping[str, Attribute]]
    sentences: Mapping[str, tuple[Row, ...]]
    words: Mapping[str, Mapping[str, tuple[str, ...]]]


@cache
def load_data(folder: Path = FOLDER) -> AtlasData:
    """Reads the tables of a folder, once.

    Raises:
        CslabError: for a missing file or a bad line.
    """
    concepts = _concepts(folder / "concepts.tsv")
    kinds: dict[str, list[str]] = {}
    for concept in concepts.values():
        kinds.setdefault(concept.kind, []).append(concept.id)
    return AtlasData(
        concepts,
        {kind: tuple(ids) for kind, ids in kinds.items()},
        _grouped(folder / "titles.tsv", "kind", list(DOMAINS.values())),
        _grouped(folder / "places.tsv", "domain", list(DOMAINS)),
        _attributes(folder / "attributes.tsv", list(kinds)),
        _sentences(folder / "text.tsv"),
        {row["en"]: _alternatives(row) for _, _, row in _rows(folder / "words.tsv", ())},
    )


def _rows(path: Path, keys: Sequence[str], unique: int = 1) -> Iterator[tuple[int, list[str], Row]]:
    """Yields (line, key cells, language → text); no cell may be empty, the first `unique` key cells not repeat."""
    seen: dict[tuple[str, ...], int] = {}
    for number, cells in read_tsv(path, columns=(*keys, *LANGUAGES)):
        head, texts = cells[: len(keys)], dict(zip(LANGUAGES, cells[len(keys) :], strict=True))
        if "" in cells:
            column = (*keys, *LANGUAGES)[cells.index("")]
            raise CslabError(f"{path}:{number}: the cell '{column}' is empty; write it")
        if (key := tuple(head[:unique]) if keys else (texts["en"],)) in seen and unique:
            raise CslabError(f"{path}:{number}: '{' '.join(key)}' stands in line {seen[key]} already; remove one")
        seen[key] = number
        yield number, head, texts


def _concepts(path: Path) -> dict[str, Concept]:
    found = {}
    for _, (key, kind), row in _rows(path, ("id", "class")):
        lemma = {lang: cell.partition("|")[0] for lang, cell in row.items()}
        found[key] = Concept(key, kind, lemma, {lang: cell.rpartition("|")[2] for lang, cell in row.items()})
    return found


def _alternatives(row: Row) -> dict[str, tuple[str, ...]]:
    return {lang: tuple(cell.split("|")) for lang, cell in row.items()}


def _grouped(path: Path, column: str, valid: Sequence[str]) -> dict[str, dict[str, Row]]:
    """id → texts, grouped by the second column; place phrases must carry the slot of their domain's name."""
    found: dict[str, dict[str, Row]] = {name: {} for name in valid}
    for number, (key, group), row in _rows(path, ("id", column)):
        if group not in found:
            raise CslabError(f"{path}:{number}: {column} '{group}' is not known; {nearest(group, valid)}")
        _check_slots(path, number, row, {DOMAINS[group]} if group in DOMAINS else set())
        found[group][key] = row
    return found


def _attributes(path: Path, kinds: Sequence[str]) -> dict[str, dict[str, Attribute]]:
    found: dict[str, dict[str, Attribute]] = {domain: {} for domain in DOMAINS}
    for number, (key, domain, kind, form), row in _rows(path, ("attribute", "domain", "class", "form"), unique=4):
        for column, cell, valid in (("domain", domain, DOMAINS), ("class", kind, kinds), ("form", form, FORMS)):
            if cell not in valid:
                raise CslabError(f"{path}:{number}: {column} '{cell}' is not known; {nearest(cell, list(valid))}")
        _check_slots(path, number, row, FORMS[form])
        found[domain].setdefault(key, Attribute(key, domain, kind, {})).forms[form] = row
    for attribute in (a for group in found.values() for a in group.values()):
        if missing := FORMS.keys() - attribute.forms.keys():
            raise CslabError(f"{path}: attribute '{attribute.id}' lacks {', '.join(sorted(missing))}; add the lines")
    return found


def _sentences(path: Path) -> dict[str, tuple[Row, ...]]:
    found: dict[str, tuple[Row, ...]] = dict.fromkeys(SENTENCES, ())
    for number, (kind,), row in _rows(path, ("kind",), unique=0):
        if kind not in found:
            raise CslabError(f"{path}:{number}: kind '{kind}' is not known; {nearest(kind, list(SENTENCES))}")
        _check_slots(path, number, row, SENTENCES[kind])
        found[kind] += (row,)
    if missing := [kind for kind, rows in found.items() if not rows]:
        raise CslabError(f"{path}: no line of kind {', '.join(missing)}; add one")
    return found


def _check_slots(path: Path, number: int, row: Row, slots: set[str]) -> None:
    for lang, text in row.items():
        if (found := {slot.lower() for slot in _SLOT.findall(text)}) != slots:
            raise CslabError(f"{path}:{number}: slots {sorted(found)} in '{lang}', expected {sorted(slots)}; repair it")
