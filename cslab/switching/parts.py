"""Texts cut into parts whose token ids can be exchanged one by one.

A part is what lies between two cuts of `cslab.switching.bank`: mostly a blank, a word and its punctuation. Parts that
read alike are one *kind*. A kind knows the ids of its string and, for each language and translation of its word, the
ids of the string with the word switched. Kinds with several words that can be switched are *compound*: their
combinations are too many to be listed, so they are made when first drawn.

    kinds = Kinds(bank, switcher)
    parts = cut_texts(["The fox, the hen."], kinds)
    kinds.close()                                     # encodes everything; kinds.base[parts.kinds] are bank entries
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np

from cslab.switching.bank import CUT, FIRST, LAST, Bank
from cslab.switching.choices import Row
from cslab.switching.layout import spread
from cslab.switching.switch import Switcher, phrase_starts
from cslab.text import pieces, sentence_numbers

# A part with more switchable words than this (a text without blanks) is left to the tokenizer.
MOST_POINTS = 16
NO_OPTION, COMPOUND = -1, -2


class Point(NamedTuple):
    """A place that can be switched: its characters, the number of its first word, and its options by language."""

    start: int
    end: int
    word: int
    row: Row


class Kind(NamedTuple):
    """A part as it reads, where it stands in its text (`FIRST`, `LAST`), and its points."""

    string: str
    place: int
    points: tuple[Point, ...]

    def switched(self, new: Mapping[int, str | None]) -> str:
        """The string with some points (by number) exchanged; None leaves one as it is."""
        made, position = [], 0
        for number, text in sorted(new.items()):
            if text is not None:
                made += (self.string[position : self.points[number].start], text)
                position = self.points[number].end
        return "".join([*made, self.string[position:]])


class Kinds:
    """All kinds of parts of some texts, as arrays: one row per kind, one column per language of the switcher.

    Attributes:
        base: bank entry of the kind as it reads; -1 where it is unfit.
        points: number of its points.
        first: for kind × language (flat) the index of its first option, or `NO_OPTION`, or `COMPOUND`.
        variants: bank entry of the kind with its word switched, one per option.
        steps: cumulative probability of each option among those of its word and language.
        counts: for each option, how many its word and language have from it on.
        unfit: whether a string of the kind is unfit; texts with such a kind are left to the tokenizer.
        compound: the kinds of several points, by number.
    """

    def __init__(self, bank: Bank, switcher: Switcher) -> None:
        self.bank, self.switcher = bank, switcher
        self._list: list[Kind] = []
        self._numbers: dict[tuple[str, int, tuple[tuple[int, int], ...]], int] = {}

    def number(self, string: str, place: int, points: Sequence[Point]) -> int:
        """The number of a kind; a new one is added."""
        key = (string, place, tuple((point.start, point.end) for point in points))
        number = self._numbers.setdefault(key, len(self._list))
        if number == len(self._list):
            self._list.append(Kind(string, place, tuple(points)))
        return number

    def close(self, block: int = 1 << 15) -> None:
        """Encodes all kinds and their variants; of the kinds themselves only the compound ones are kept."""
        count, columns = len(self._list), len(self.switcher.languages)
        self.points = np.fromiter((min(255, len(kind.points)) for kind in self._list), np.uint8, count)
        self.compound = {number: self._list[number] for number in np.flatnonzero(self.points > 1).tolist()}
        self.first = np.full((count, columns), NO_OPTION, np.int32)
        self.first[self.points > 1] = COMPOUND
        base, variants, steps, owners, counts = [], [np.zeros(0, np.int32)], array("d"), array("i"), array("i")
        for start in range(0, count, block):
            base.append(self.bank.add([(kind.string, kind.place) for kind in self._list[start : start + block]]))
            variants.append(self._variants(range(start, min(start + block, count)), steps, owners, counts))
        self.base, self.variants = np.concatenate([np.zeros(0, np.int32), *base]), np.concatenate(variants)
        self.first, self.steps, self.counts = self.first.ravel(), np.array(steps), np.array(counts, np.int32)
        self.unfit = (self.base < 0) | (self.points > MOST_POINTS)
        self.unfit[np.array(owners, np.int64)[self.variants < 0]] = True
        self._list, self._numbers = [], {}

    def _variants(self, numbers: range, steps: array, owners: array, counts: array) -> np.ndarray:
        parts = []
        for number in numbers:
            kind = self._list[number]
            for column, options in enumerate(kind.points[0].row if len(kind.points) == 1 else ()):
                if options is not None:
                    self.first[number, column] = len(owners)
                    owners.extend([number] * len(options.texts))
                    steps.extend(options.steps or (1.0,))
                    counts.extend(range(len(options.texts), 0, -1))
                    parts += ((kind.switched({0: text}), kind.place) for text in options.texts)
        return self.bank.add(parts)


@dataclass(frozen=True)
class PartTexts:
    """Texts as runs of kinds and runs of points, flat.

    Attributes:
        kinds, kind_starts, kind_counts: kind numbers; text `n` has `kind_counts[n]` from `kind_starts[n]` on.
        words, point_starts, point_counts: for each point in order the number of its first word.
        groups, sentences: for each point the word whose draw it shares, and its sentence; None where not asked for.
    """

    kinds: np.ndarray
    kind_starts: np.ndarray
    kind_counts: np.ndarray
    words: np.ndarray
    point_starts: np.ndarray
    point_counts: np.ndarray
    groups: np.ndarray | None
    sentences: np.ndarray | None

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The kinds of some texts in a row, and how many each has."""
        counts = self.kind_counts[rows]
        return self.kinds[spread(self.kind_starts[rows], counts)], counts


class Cutter:
    """Cuts texts into kinds, for one language where units depend on it (n-grams), else for all."""

    def __init__(self, kinds: Kinds, language: int | None) -> None:
        self.kinds, self.switcher, self.language = kinds, kinds.switcher, language
        self.plain = self.switcher.segmenter is None and language is None
        # Plain parts are met again and again: string → (kind, words, word number of each point), for each place.
        self._met: list[dict[str, tuple[int, int, tuple[int, ...]]]] = [{}, {}, {}, {}]

    def parts(self, text: str) -> Iterator[tuple[int, list[int]]]:
        """Yields the kind of each part and the word numbers of its points."""
        return self._plain(text) if self.plain else self._any(text)

    def _plain(self, text: str) -> Iterator[tuple[int, list[int]]]:
        strings, word = CUT.split(text), 0
        for number, string in enumerate(strings):
            place = FIRST * (number == 0) | LAST * (number == len(strings) - 1)
            kind, count, offsets = self._met[place].get(string) or self._meet(string, place)
            yield kind, [word + offset for offset in offsets]
            word += count

    def _meet(self, string: str, place: int) -> tuple[int, int, tuple[int, ...]]:
        parts = pieces(string)
        points = self._points(parts)
        met = self.kinds.number(string, place, points), len(parts) // 2, tuple(point.word for point in points)
        self._met[place][string] = met
        return met

    def _any(self, text: str) -> Iterator[tuple[int, list[int]]]:
        points = self._points(pieces(text, self.switcher.segmenter))
        inside = {cut for point in points for cut in range(point.start + 1, point.end)}
        cuts = [0, *(match.start() for match in CUT.finditer(text) if match.start() not in inside), len(text)]
        number = 0
        for start, end in pairwise(cuts):
            mine = []
            while number < len(points) and points[number].end <= end:
                point = points[number]
                mine.append(Point(point.start - start, point.end - start, point.word, point.row))
                number += 1
            kind = self.kinds.number(text[start:end], FIRST * (start == 0) | LAST * (end == len(text)), mine)
            yield kind, [point.word for point in mine]

    def _points(self, parts: list[str]) -> list[Point]:
        ends, points, number = list(accumulate(map(len, parts))), [], 0
        while number < len(parts) // 2:
            size, at = 1, 2 * number + 1
            if self.language is not None:
                size, _ = self.switcher.match(parts, number, self.language)
            # The whole row, though one language's: the same characters have the same row in every language's cut.
            row = self.switcher.choices["".join(parts[at : at + 2 * size - 1])]
            if row is not None:
                points.append(Point(ends[2 * number], ends[2 * (number + size) - 1], number, row))
            number += size
        return points


def cut_texts(texts: Iterable[str], kinds: Kinds, language: int | None = None) -> PartTexts:
    """Cuts texts into parts, adding their kinds.

    Args:
        texts: any strings.
        kinds: where new kinds go; `close` it afterwards.
        language: for units that depend on the text's language, its index; None for all.
    """
    policy, cutter = kinds.switcher.policy, Cutter(kinds, language)
    numbers, words, groups, sentences = (array("i") for _ in range(4))
    kind_counts, point_counts = array("i"), array("i")
    for text in texts:
        before = len(numbers), len(words)
        for kind, mine in cutter.parts(text):
            numbers.append(kind)
            words.extend(mine)
        kind_counts.append(len(numbers) - before[0])
        point_counts.append(len(words) - before[1])
        if policy.phrase > 1 or policy.sentence < 1:
            parts = pieces(text, kinds.switcher.segmenter)
            starts, places = phrase_starts(parts, policy.phrase), sentence_numbers(parts)
            groups.extend(starts[word] for word in words[before[1] :])
            sentences.extend(places[word] for word in words[before[1] :])
    counts = np.array(kind_counts, np.int64), np.array(point_counts, np.int64)
    return PartTexts(
        *(np.array(numbers, np.int32), np.cumsum(counts[0]) - counts[0], counts[0]),
        *(np.array(words, np.int32), np.cumsum(counts[1]) - counts[1], counts[1]),
        np.array(groups, np.int32) if policy.phrase > 1 else None,
        np.array(sentences, np.int32) if policy.sentence < 1 else None,
    )
