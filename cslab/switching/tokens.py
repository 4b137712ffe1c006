"""Switching in token-id space: the draw of `switch`, without running a tokenizer on the switched text.

Texts are cut and tokenised once. A batch is then drawn and put together with array operations, and its ids are exactly
those of tokenising the switched texts. Where that cannot be (see `why` and `left` of `TokenSwitcher`), or was not asked
for, texts are switched and tokenised in the plain way.

    tokens = TokenSwitcher(tokenizer, Switcher(lexicons, POLICIES["ML-CS"]), queries, documents)
    tokens.draw("query", ["q1", "q2"], seed=1, epoch=0)[0]     # ids of q1 switched with Key(1, 0, "q1")
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from cslab.store import CslabError
from cslab.switching import draw
from cslab.switching.bank import Bank, backend, unfit
from cslab.switching.draw import SIDES, Key, Side
from cslab.switching.layout import Drawn, Frame, spread
from cslab.switching.parts import COMPOUND, NO_OPTION, Kinds, PartTexts, cut_texts
from cslab.switching.policy import check_side
from cslab.switching.switch import Switcher

# So many token ids of what was made on the way are kept, then forgotten: a long training must not fill the memory.
_KEPT = 1 << 24


# A compound kind and the texts that some of its points take.
_Combination = tuple[int, tuple[tuple[int, str], ...]]


class _Asked(NamedTuple):
    """Some texts and what they draw from: rows, numbers of the keys, steps of the languages (or one row for all)."""

    side: Side
    rows: np.ndarray
    numbers: np.ndarray
    steps: np.ndarray

    def at(self, places: np.ndarray) -> "_Asked":
        if len(places) == len(self.rows):
            return self
        steps = self.steps if len(self.steps) == 1 else self.steps[places]
        return _Asked(self.side, self.rows[places], self.numbers[places], steps)

    def languages(self, texts: np.ndarray, numbers: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Languages drawn at words of texts, as numbers within the side's languages."""
        draws = draw.uniform(numbers, draw.LANGUAGE, words)
        if len(self.steps) == 1:
            return np.searchsorted(self.steps[0], draws, side="right")
        return (draws[:, None] >= self.steps[texts]).sum(axis=1)


# The kinds of some texts' parts in a row (-1 for a text in one piece), the texts, and how many parts each has.
_Cut = tuple[np.ndarray, _Asked, np.ndarray]


class _Chosen(NamedTuple):
    """The points drawn, flat: their parts, their numbers among all points, languages and draws of the translation."""

    parts: np.ndarray
    points: np.ndarray
    languages: np.ndarray
    choices: np.ndarray | None


class Slots(NamedTuple):
    """Texts as drawn, and every bank entry that a part of them could be instead.

    `entries[n]` could take the place of `drawn.entries[places[n]]`: a translation of the part's word into a language of
    the side (of the text, where the policy draws one for all its words), or the word itself where it was switched.
    Parts with several words that can be switched have none.
    """

    drawn: Drawn
    places: np.ndarray
    entries: np.ndarray


class TokenSwitcher:
    """Texts of both sides, cut and tokenised once, and the draws over them.

    Args:
        tokenizer: a fast tokenizer of transformers.
        switcher: what switches them.
        queries, documents: id → text.
        cut: by side, the ids of the texts to cut, where not all are worth the memory; the others take the plain way.

    Attributes:
        why: why all texts take the plain way, or None.
        left: by side, how many of the texts to cut take the plain way.
        frame: how the tokenizer lays out a pair.
    """

    def __init__(
        self,
        tokenizer: Any,
        switcher: Switcher,
        queries: Mapping[str, str],
        documents: Mapping[str, str],
        cut: Mapping[Side, Sequence[str]] | None = None,
    ) -> None:
        self.switcher, self.policy = switcher, switcher.policy
        self.texts: dict[Side, Mapping[str, str]] = {"query": queries, "document": documents}
        fast = backend(tokenizer)
        self.frame = Frame.of(tokenizer, fast)
        self.bank = Bank(fast)
        self.why = unfit(self.bank.fast) or _why(switcher)
        wanted = self.texts if cut is None else cut
        self._rows = {side: {key: row for row, key in enumerate(wanted[side])} for side in SIDES}
        # The last one stands for all texts that are not cut: their row is -1.
        self._plain = {side: np.array([*[self.why is not None] * len(self._rows[side]), True]) for side in SIDES}
        self._parts: dict[Side, list[PartTexts]] = {side: [] for side in SIDES}
        self._combinations: dict[_Combination, int] = {}
        if self.why is None:
            self._cut()
        self._mark, self._size = len(self.bank), self.bank.size

    @property
    def left(self) -> dict[Side, int]:
        """By side, how many of the texts to cut take the plain way."""
        return {side: int(plain[:-1].sum()) for side, plain in self._plain.items()}

    def holds(self, cut: Mapping[Side, Sequence[str]]) -> bool:
        """Whether these texts are among those that were to be cut."""
        return all(self._rows[side].keys() >= set(cut[side]) for side in SIDES)

    def apart(self) -> "TokenSwitcher":
        """The same for another thread: what was cut is shared, what is made on the way is not."""
        other = copy(self)
        other.bank, other._combinations = self.bank.first(self._mark), {}
        return other

    def _by_language(self, side: Side) -> bool:
        # Where n-grams lie depends on the language of the text: such texts are cut once for each.
        return self.policy.longest > 1 and self.switcher.rates[side] > 0

    def _cut(self) -> None:
        self._kinds = Kinds(self.bank, self.switcher)
        for side in SIDES:
            languages = self.switcher.indices[side].tolist() if self._by_language(side) else [None]
            self._parts[side] = [cut_texts(self._to_cut(side), self._kinds, language) for language in languages]
        self._kinds.close()
        for side in SIDES:
            self._check(side)

    def _to_cut(self, side: Side) -> Iterator[str]:
        return (self.texts[side][key] for key in self._rows[side])

    def _check(self, side: Side, block: int = 4096) -> None:
        """Marks the texts that have an unfit part, or whose parts do not give the tokenizer's own ids."""
        texts, plain = self._to_cut(side), self._plain[side][:-1]
        for parts in self._parts[side] if len(plain) else ():
            plain |= np.logical_or.reduceat(self._kinds.unfit[parts.kinds], parts.kind_starts)
        for start in range(0, len(plain), block):
            encoded = self.bank.encoded(list(islice(texts, block)))
            for parts in self._parts[side]:
                rows = np.flatnonzero(~plain[start : start + block]) + start
                kinds, counts = parts.of(rows)
                made = self._runs(self._kinds.base[kinds], counts, None)
                for place, row in enumerate(rows.tolist()):
                    plain[row] = encoded[row - start] != made[place].tolist()

    # --- drawing ---------------------------------------------------------------------------------------------

    def draw(
        self, side: Side, ids: Sequence[str], seed: int, epoch: int, copy: int = 0, room: int | None = None
    ) -> Drawn:
        """Some texts, switched, as token ids without special tokens.

        Args:
            side: `query` or `document`.
            ids: which texts of the side.
            seed, epoch, copy: with its id the key of a text.
            room: tokens needed of a text; what lies beyond is left out (lengths are whole).

        Raises:
            CslabError: for an id that is not among the texts.
        """
        return self._drawn(side, ids, (seed, epoch, copy), room)[0]

    def slots(self, side: Side, ids: Sequence[str], seed: int, epoch: int, switched: bool = True) -> Slots:
        """Some texts as `draw` gives them (or, not `switched`, as they are), and what each of their parts could be.

        Texts that take the plain way have no alternatives.
        """
        drawn, cuts = self._drawn(side, ids, (seed, epoch, 0), None, switched)
        kinds = np.concatenate([np.zeros(0, np.int64), *(kinds for kinds, _, _ in cuts)])
        languages = np.concatenate([kinds[:0], *(self._language_of(*cut) for cut in cuts)])
        found = [(kinds[:0], np.zeros(0, np.int32))]
        for column in self.switcher.indices[side].tolist() if self.why is None and self.switcher.rates[side] else ():
            first = np.where(kinds >= 0, self._kinds.first[kinds * len(self.switcher.languages) + column], NO_OPTION)
            places = np.flatnonzero((first > NO_OPTION) & ((languages == column) | (languages < 0)))
            counts = self._kinds.counts[first[places]]
            found.append((np.repeat(places, counts), self._kinds.variants[spread(first[places], counts)]))
        places = np.unique(np.concatenate([part for part, _ in found]))
        if len(places):
            found.append((places, self._kinds.base[kinds[places]]))
        places, entries = (np.concatenate(parts) for parts in zip(*found, strict=True))
        other = entries != drawn.entries[places]
        return Slots(drawn, places[other], entries[other])

    def _drawn(
        self, side: Side, ids: Sequence[str], run: tuple[int, int, int], room: int | None, switched: bool = True
    ) -> tuple[Drawn, list[_Cut]]:
        """The texts, and how those behind the result's entries were cut, group by group."""
        asked = self._asked(check_side(side), ids, run)
        plain, groups, cuts = self._plain[side][asked.rows], [], []
        if self.bank.size > self._size + _KEPT:
            self.bank = self.bank.first(self._mark)
            self._combinations.clear()
        for places, parts in self._layouts(asked, np.flatnonzero(~plain)):
            some = asked.at(places)
            made, failed, kinds = self._made(some, parts, room, switched)
            groups.append((places, made))
            cuts.append((kinds, some, parts.kind_counts[some.rows]))
            plain[places[failed]] = True
        if plain.any():
            slow = np.flatnonzero(plain)
            keys = [Key(run[0], run[1], ids[place], run[2]) for place in slow]
            groups.append((slow, self._tokenised(side, keys, switched)))
            cuts.append((np.full(len(slow), -1), asked.at(slow), np.ones(len(slow), np.int64)))
        return Drawn.merged(self.bank, len(ids), groups), cuts

    def _language_of(self, kinds: np.ndarray, asked: _Asked, counts: np.ndarray) -> np.ndarray:
        """For each part the language drawn for its whole text, among the switcher's; -1 where words draw their own."""
        if self.policy.draw == "token":
            return np.full(len(kinds), -1)
        rows = np.arange(len(asked.rows))
        drawn = self.switcher.indices[asked.side][asked.languages(rows, asked.numbers, np.zeros_like(rows))]
        return np.repeat(drawn, counts)

    def _asked(self, side: Side, ids: Sequence[str], run: tuple[int, int, int]) -> _Asked:
        seed, epoch, copy = run
        rows = np.array([self._rows[side].get(name, -1) for name in ids], np.int64)
        numbers = draw.key_numbers(seed, epoch, ids, copy, side)
        examples = draw.key_numbers(seed, epoch, ids, copy, "") if self.policy.subset else [0]
        steps = self.switcher.steps(side, examples) if self.switcher.rates[side] else np.ones((1, 1))
        return _Asked(side, rows, numbers, steps)

    def _layouts(self, asked: _Asked, places: np.ndarray) -> list[tuple[np.ndarray, PartTexts]]:
        layouts = self._parts[asked.side]
        if len(layouts) < 2 or not len(places):
            return [(places, parts) for parts in layouts if len(places)]
        drawn = asked.languages(places, asked.numbers[places], np.zeros(len(places), np.int64))
        return [(places[drawn == number], parts) for number, parts in enumerate(layouts) if (drawn == number).any()]

    def _made(
        self, asked: _Asked, parts: PartTexts, room: int | None, switched: bool
    ) -> tuple[Drawn, np.ndarray, np.ndarray]:
        """Draws and puts together; also the texts in which a combination turned out unfit, and the kinds."""
        kinds, counts = parts.of(asked.rows)
        entries, failed = self._kinds.base[kinds], np.zeros(0, np.int64)
        if switched and self.switcher.rates[asked.side]:
            wrong = self._exchange(entries, kinds, self._chosen(asked, parts, kinds))
            failed = np.searchsorted(np.cumsum(counts), wrong, side="right") if len(wrong) else failed
        return self._runs(entries, counts, room), failed, kinds

    def _chosen(self, asked: _Asked, parts: PartTexts, kinds: np.ndarray) -> _Chosen:
        policy, counts = self.policy, parts.point_counts[asked.rows]
        points = spread(parts.point_starts[asked.rows], counts)
        words, numbers = parts.words[points], np.repeat(asked.numbers, counts)
        groups = words if parts.groups is None else parts.groups[points]
        on = draw.uniform(numbers, draw.SWITCH, groups) < self.switcher.rates[asked.side]
        if parts.sentences is not None:
            on &= draw.uniform(numbers, draw.SENTENCE, parts.sentences[points]) < policy.sentence
        chosen = np.flatnonzero(on)
        numbers, words, groups = numbers[chosen], words[chosen], groups[chosen]
        texts = np.repeat(np.arange(len(counts)), counts)[chosen] if len(asked.steps) > 1 else chosen
        places = np.zeros_like(groups) if policy.draw == "text" else groups
        languages = asked.languages(texts, numbers, places)
        many = policy.choice != "first" or policy.keep_source
        choices = draw.uniform(numbers, draw.CHOICE, words) if many else None
        owners = np.repeat(np.arange(len(kinds)), self._kinds.points[kinds])[chosen]
        return _Chosen(owners, chosen, self.switcher.indices[asked.side][languages], choices)

    def _exchange(self, entries: np.ndarray, kinds: np.ndarray, chosen: _Chosen) -> np.ndarray:
        """Puts the drawn variants into `entries`; returns the parts whose combination is unfit."""
        first = self._kinds.first[kinds[chosen.parts] * len(self.switcher.languages) + chosen.languages]
        single = np.flatnonzero(first > NO_OPTION)
        option = first[single]
        if chosen.choices is not None:
            option = self._picked(option, chosen.choices[single])
        entries[chosen.parts[single]] = self._kinds.variants[option]
        compound = np.flatnonzero(first == COMPOUND)
        if not len(compound):
            return compound
        return self._exchange_compound(entries, kinds, _Chosen(*(f if f is None else f[compound] for f in chosen)))

    def _picked(self, option: np.ndarray, choices: np.ndarray) -> np.ndarray:
        # One step along the options for each cumulative probability that the draw reaches; the last one is 1.
        option, moving = option.copy(), np.arange(len(option))
        while len(moving):
            moving = moving[choices[moving] >= self._kinds.steps[option[moving]]]
            option[moving] += 1
        return option

    def _exchange_compound(self, entries: np.ndarray, kinds: np.ndarray, chosen: _Chosen) -> np.ndarray:
        starts = np.cumsum(self._kinds.points[kinds], dtype=np.int64)
        drawn: dict[int, list[tuple[int, str]]] = {}
        choices = [0.0] * len(chosen.parts) if chosen.choices is None else chosen.choices.tolist()
        rows = zip(*(f.tolist() for f in (chosen.parts, chosen.points, chosen.languages)), choices, strict=True)
        for part, point, language, choice in rows:
            kind = self._kinds.compound[kinds[part]]
            number = point - int(starts[part]) + len(kind.points)
            options = kind.points[number].row[language]
            if options is not None and (text := options.texts[options.pick(choice)]) is not None:
                drawn.setdefault(part, []).append((number, text))
        found = self._combined([(int(kinds[part]), tuple(new)) for part, new in drawn.items()])
        entries[list(drawn)] = found
        return np.array([part for part, entry in zip(drawn, found, strict=True) if entry < 0], np.int64)

    def _combined(self, wanted: list[_Combination]) -> list[int]:
        """Bank entries of compound kinds with some points exchanged; new ones are encoded together."""
        new = [one for one in dict.fromkeys(wanted) if one not in self._combinations]
        strings = [
            (self._kinds.compound[kind].switched(dict(points)), self._kinds.compound[kind].place)
            for kind, points in new
        ]
        self._combinations.update(zip(new, self.bank.add(strings).tolist(), strict=True))
        return [self._combinations[one] for one in wanted]

    # --- putting together ------------------------------------------------------------------------------------

    def _runs(self, entries: np.ndarray, counts: np.ndarray, room: int | None) -> Drawn:
        """Texts of `counts` entries each; entries that begin beyond the room are left out."""
        ends, last = np.cumsum(self.bank.lengths[entries], dtype=np.int64), np.cumsum(counts)
        first = last - counts
        begins = np.where(first > 0, ends[first - 1], 0)
        lengths = ends[last - 1] - begins
        if room is not None:
            counts = np.minimum(np.searchsorted(ends, begins + room) + 1, last) - first
        return Drawn(self.bank, entries, first, counts, lengths)

    def _tokenised(self, side: Side, keys: Sequence[Key], switched: bool) -> Drawn:
        try:
            texts = [self.texts[side][key.example] for key in keys]
        except KeyError as error:
            lost = f"no {side} '{error.args[0]}' among the {len(self.texts[side])} prepared; prepare it too"
            raise CslabError(lost) from None
        if switched:
            texts = [self.switcher.text(text, key, side) for text, key in zip(texts, keys, strict=True)]
        entries = self.bank.keep(self.bank.encoded(texts))
        lengths = self.bank.lengths[entries].astype(np.int64)
        return Drawn(self.bank, entries, np.arange(len(entries)), np.ones_like(lengths), lengths)


def _why(switcher: Switcher) -> str | None:
    if switcher.policy.faithful:
        return "the faithful mode changes spaces and case everywhere"
    if switcher.policy.longest > 1 and switcher.policy.draw == "token":
        return "which n-grams a text has depends on languages that are drawn word by word"
    return None
