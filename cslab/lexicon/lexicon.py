"""The lexicon record: words or n-grams of one language and their ranked translations in another.

On disk a lexicon is a TSV of `source, target, score, method` with a JSON beside it that holds the languages, the name
and the counts; MUSE text (`source target` a line) can be read and written too.

    >>> lexicon = Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("fox", "Füchsin"), ("taxi", "Taxi")])
    >>> [t.text for t in lexicon["Fox"]], len(lexicon), len(lexicon.without_identities())
    (['Fuchs', 'Füchsin'], 2, 1)
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from cslab.languages import language
from cslab.store import CslabError, atomic_open, read_lines, read_record, read_tsv, write_json, write_tsv
from cslab.text import fold

COLUMNS = ("source", "target", "score", "method")


class Translation(NamedTuple):
    """One translation: its text, a score (higher is better) and the method or dictionary it came from."""

    text: str
    score: float = 1.0
    method: str = "dictionary"


@dataclass(frozen=True)
class Lexicon(Mapping[str, tuple[Translation, ...]]):
    """Source word or n-gram (folded, words joined by one space) → translations, best first.

    Look-up folds its argument (NFC, lower case), so `lexicon["Fox"]` and `lexicon["fox"]` are the same entry.
    """

    source: str
    target: str
    entries: Mapping[str, tuple[Translation, ...]]
    name: str = "lexicon"
    notes: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, key: str) -> tuple[Translation, ...]:
        return self.entries[fold(key)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def longest(self) -> int:
        """Words in the longest source entry."""
        return max((key.count(" ") + 1 for key in self.entries), default=0)

    @classmethod
    def from_pairs(
        cls,
        source: str,
        target: str,
        pairs: Iterable[tuple],
        name: str = "lexicon",
        method: str = "dictionary",
        ranked: bool = False,
    ) -> "Lexicon":
        """Builds a lexicon from (source, target) or (source, target, score[, method]) rows.

        Rows that repeat a source-target pair are dropped; empty cells are counted in `notes`, not kept. Translations
        are ordered by score, equal ones as given; with `ranked` all stay as given (merged sources have no common
        scale of scores).
        """
        language(source), language(target)
        gathered: dict[str, dict[str, Translation]] = {}
        notes = {"rows": 0, "empty": 0, "repeated": 0}
        for row in pairs:
            notes["rows"] += 1
            key, text = " ".join(fold(row[0]).split()), " ".join(row[1].split())
            if not key or not text:
                notes["empty"] += 1
                continue
            translation = Translation(text, float(row[2]) if len(row) > 2 else 1.0, row[3] if len(row) > 3 else method)
            kept = gathered.setdefault(key, {})
            notes["repeated"] += text in kept
            kept.setdefault(text, translation)
        order = list if ranked else (lambda found: sorted(found, key=lambda t: -t.score))
        entries = {key: tuple(order(kept.values())) for key, kept in gathered.items()}
        return cls(source, target, entries, name, notes)

    def without_identities(self) -> "Lexicon":
        """Drops translations equal to their source word but for case; such a pair is no switch."""
        kept = {key: tuple(t for t in ts if fold(t.text) != key) for key, ts in self.entries.items()}
        return replace(self, entries={key: ts for key, ts in kept.items() if ts})

    def identity_share(self) -> float:
        """Share of entries whose best translation is the source word itself."""
        return sum(fold(ts[0].text) == key for key, ts in self.entries.items()) / max(1, len(self))

    def top(self, k: int) -> "Lexicon":
        """Keeps the best `k` translations of each entry."""
        return replace(self, entries={key: ts[:k] for key, ts in self.entries.items()})

    def restrict(self, vocabulary: Iterable[str]) -> "Lexicon":
        """Keeps the entries of the given (folded or not) words."""
        wanted = {fold(w) for w in vocabulary}
        return replace(self, entries={key: ts for key, ts in self.entries.items() if key in wanted})

    def inverted(self) -> "Lexicon":
        """Target → source, each direction keeping its scores."""
        rows = ((t.text, key, t.score, t.method) for key, ts in self.entries.items() for t in ts)
        return Lexicon.from_pairs(self.target, self.source, rows, f"{self.name}.inverted")

    def coverage(self, tokens: Iterable[str]) -> float:
        """Share of running words that have an entry."""
        seen = found = 0
        for token in tokens:
            seen += 1
            found += fold(token) in self.entries
        return found / seen if seen else 0.0

    def rows(self) -> Iterator[tuple[str, str, str, str]]:
        """The entries as rows of the TSV form."""
        for key, ts in self.entries.items():
            for t in ts:
                yield key, t.text, f"{t.score:.6g}", t.method


def write_lexicon(lexicon: Lexicon, path: str | Path) -> None:
    """Writes a lexicon as TSV (gzip by ending) and its record as `<path>.json`."""
    write_tsv(path, lexicon.rows(), header=COLUMNS)
    record = {"source": lexicon.source, "target": lexicon.target, "name": lexicon.name, "entries": len(lexicon)}
    write_json(f"{path}.json", record | {"notes": dict(lexicon.notes)})


def read_lexicon(path: str | Path, source: str | None = None, target: str | None = None) -> Lexicon:
    """Reads the TSV form; the languages come from the JSON beside it unless they are given.

    Raises:
        CslabError: for a malformed line, or where no languages are known.
    """
    beside = Path(f"{path}.json")
    record = read_record(beside, "write the lexicon again") if beside.is_file() else {}
    source, target = source or record.get("source"), target or record.get("target")
    if not source or not target:
        raise CslabError(f"{path}: its languages are not known; give source and target, or put {beside.name} beside it")

    def rows() -> Iterator[tuple[str, str, float, str]]:
        for number, cells in read_tsv(path, columns=COLUMNS):
            yield cells[0], cells[1], _score(path, number, cells[2]), cells[3]

    # The order of the lines is the rank: in a merged lexicon the scores of different sources do not compare.
    return Lexicon.from_pairs(source, target, rows(), record.get("name", Path(path).name.split(".")[0]), ranked=True)


def _score(path: str | Path, number: int, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise CslabError(f"{path}:{number}: score '{text[:40]}' is not a finite number; repair the line")
    return score


def filled(lexicon: Lexicon, path: str | Path) -> Lexicon:
    """Refuses a lexicon that was read from a file without an entry."""
    if not lexicon.notes["rows"]:
        raise CslabError(f"{path}: holds no entry; expected a dictionary with a word and a translation a line")
    return lexicon


def read_muse(path: str | Path, source: str, target: str, name: str = "muse") -> Lexicon:
    """Reads a MUSE dictionary: `source target` a line, split at its tab, or else at the first blank (1710.04087).

    Raises:
        CslabError: for a line that has no second word, or a file without a line.
    """

    def rows() -> Iterator[tuple[str, str]]:
        for number, line in read_lines(path):
            cells = line.split("\t") if "\t" in line else line.split(maxsplit=1)
            if not cells:
                continue
            if len(cells) != 2:
                raise CslabError(f"{path}:{number}: '{line[:60]}' has no translation; expected 'source target'")
            yield cells[0], cells[1]

    return filled(Lexicon.from_pairs(source, target, rows(), name=name, method=name), path)


def write_muse(lexicon: Lexicon, path: str | Path) -> None:
    """Writes single-word entries as MUSE text, best translation first; n-grams do not fit and are refused.

    Raises:
        CslabError: for an entry of several words; nothing is written then.
    """
    if bad := next((key for key in lexicon if " " in key), None):
        raise CslabError(f"{path}: '{bad}' has several words, which MUSE text cannot hold; write the TSV form")
    with atomic_open(path) as handle:
        for key, text, _, _ in lexicon.rows():
            handle.write(f"{key} {text}\n")
