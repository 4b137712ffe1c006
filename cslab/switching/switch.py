"""Switching one text: a pure function of (text, lexicons, policy, key).

Only the chosen words are spliced; every other character stays. The result carries its spans, so that it can be shown,
counted and undone.

    >>> from cslab.lexicon.lexicon import Lexicon
    >>> german = Lexicon.from_pairs("en", "de", [("red", "rot"), ("fox", "Fuchs")])
    >>> result = switch("A red Fox!", {"de": german}, Policy(languages=("de",), query=1.0), Key(seed=1), "query")
    >>> result.text, [(span.source, span.target) for span in result.spans], result.undo()
    ('A rot Fuchs!', [('red', 'rot'), ('Fox', 'Fuchs')], 'A red Fox!')
    >>> result.words, result.eligible, round(result.realised, 2)
    (3, 2, 0.67)
"""

import operator
import pickle
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching import draw
from cslab.switching.choices import Choices, Lexicons, Options
from cslab.switching.draw import SIDES, Key, Side
from cslab.switching.faithful import Faithful
from cslab.switching.policy import Policy, check_side
from cslab.switching.record import Count, Span, Switched
from cslab.text import SEGMENTERS, Segmenter, pieces, sentence_numbers

# A chosen switch: number of its first word, size in words, index into `Choices.languages`, options, and the choice. A
# bare tuple, because a text has dozens of them.
Unit = tuple[int, int, int, Options, int]


class Plan(NamedTuple):
    """Everything drawn for one text: its pieces, its chosen units, and the counts of words by language index."""

    parts: list[str]
    units: list[Unit]
    drawn: Sequence[int]
    eligible: Sequence[int]


class Draws(NamedTuple):
    """The draws of one text, an entry per word; words of one phrase share theirs."""

    switch: np.ndarray
    language: np.ndarray
    choice: np.ndarray | None


class Switcher:
    """Switches texts by one policy; holds the compiled lexicons, and no state that could change a result."""

    def __init__(self, lexicons: Lexicons, policy: Policy) -> None:
        self.policy = policy
        self.choices = Choices.compile(lexicons, policy)
        self.segmenter = self.choices.segmenter()
        self.languages = self.choices.languages
        index = {code: number for number, code in enumerate(self.languages)}
        self.faithful = Faithful(policy, self.choices.lexicons) if policy.faithful else None
        self.rates = {side: policy.rate(side) for side in SIDES}
        self.indices = {side: np.array([index[code] for code in policy.languages_of(side)]) for side in SIDES}
        self._steps = {side: draw.language_steps(policy.weights_of(side), 0, [0]) for side in SIDES if self.rates[side]}

    def __reduce__(self) -> tuple[Any, ...]:
        # One string of bytes, without the rows made so far: `datasets` sends a switcher to its workers with dill, which
        # walks through objects in Python and takes minutes over lexicons. A segmenter of one's own goes beside it.
        packed = pickle.dumps((self.choices.lexicons, self.policy), pickle.HIGHEST_PROTOCOL)
        return _unpacked, (packed, SEGMENTERS.get(self.policy.segmenter))

    def __call__(self, text: str, key: Key, side: Side) -> Switched:
        """Switches a text."""
        if self.faithful:
            return self.faithful(_checked(text, key), key, check_side(side))
        plan = self.plan(text, key, side)
        spans, new = _spans(plan, self.languages)
        switched = [0] * len(self.languages)
        for _, size, language, _, _ in plan.units:
            switched[language] += size
        rows = zip(self.languages, plan.drawn, plan.eligible, switched, strict=True)
        return Switched(new, spans, len(plan.parts) // 2, tuple(Count(*row) for row in rows if row[1]))

    def text(self, text: str, key: Key, side: Side) -> str:
        """Switches a text and gives the bare string."""
        if self.faithful:
            return self(text, key, side).text
        if not self.rates[check_side(side)]:
            return text
        parts, units, _, _ = self.plan(text, key, side, counted=False)
        for first, size, _, options, pick in units:
            parts[2 * first + 1 : 2 * (first + size)] = (options.texts[pick], *[""] * (2 * size - 2))
        return "".join(parts)

    def plan(self, text: str, key: Key, side: Side, counted: bool = True) -> Plan:
        """Draws for each word whether it is switched, into which language, and to which translation.

        Where nothing is `counted`, only the words drawn are looked up, and `eligible` holds no more than those.
        """
        parts = pieces(_checked(text, key), self.segmenter)
        none = [0] * len(self.languages)
        if not self.rates[check_side(side)] or len(parts) == 1:
            return Plan(parts, [], none, none)
        draws = self.draws(parts, key, side)
        if self.policy.longest == 1:
            return self._single(parts, draws, self.rates[side], counted)
        return self._longest(parts, draws, self.rates[side])

    def draws(self, parts: Sequence[str], key: Key, side: Side) -> Draws:
        """The draws of a text's words; a sentence that is left alone has switch draws of 1."""
        policy, number, index = self.policy, key.number(side), np.arange(len(parts) // 2)
        group = np.array(phrase_starts(parts, policy.phrase)) if policy.phrase > 1 else index
        switch = draw.uniform(number, draw.SWITCH, group)
        if policy.sentence < 1:
            sentences = np.array(sentence_numbers(parts))
            switch[draw.uniform(number, draw.SENTENCE, sentences) >= policy.sentence] = 1.0
        steps = self.steps(side, [key.number()])[0] if policy.subset else self._steps[side][0]
        where = np.zeros_like(index) if policy.draw == "text" else group
        language = np.searchsorted(steps, draw.uniform(number, draw.LANGUAGE, where), side="right")
        many = policy.choice != "first" or policy.keep_source
        choice = draw.uniform(number, draw.CHOICE, index) if many else None
        return Draws(switch, self.indices[side][language], choice)

    def steps(self, side: Side, examples: Sequence[int]) -> np.ndarray:
        """Cumulative language probabilities of a side for examples by their numbers, shape (examples, languages)."""
        return draw.language_steps(self.policy.weights_of(side), self.policy.subset, examples)

    def _single(self, parts: list[str], draws: Draws, rate: float, counted: bool) -> Plan:
        units, eligible, choice, rows = [], [0] * len(self.languages), draws.choice, self.choices
        languages, on = draws.language.tolist(), draws.switch < rate
        chosen = on.tolist()
        for number in range(len(chosen)) if counted else np.flatnonzero(on).tolist():
            row = rows[parts[2 * number + 1]]
            if row is None or (options := row[languages[number]]) is None:
                continue
            eligible[languages[number]] += 1
            if chosen[number]:
                pick = 0 if choice is None else options.pick(choice[number])
                if options.texts[pick] is not None:
                    units.append((number, 1, languages[number], options, pick))
        return Plan(parts, units, np.bincount(draws.language, minlength=len(eligible)).tolist(), eligible)

    def _longest(self, parts: list[str], draws: Draws, rate: float) -> Plan:
        # What is not switched is stepped over as a whole too: where units lie depends on the languages drawn, not on p.
        units, number, eligible, drawn = [], 0, [0] * len(self.languages), [0] * len(self.languages)
        chosen, languages = (draws.switch < rate).tolist(), draws.language.tolist()
        while number < len(chosen):
            language = languages[number]
            size, options = self.match(parts, number, language)
            drawn[language] += size
            if options is not None:
                eligible[language] += size
                pick = 0 if draws.choice is None else options.pick(draws.choice[number])
                if chosen[number] and options.texts[pick] is not None:
                    units.append((number, size, language, options, pick))
            number += size
        return Plan(parts, units, drawn, eligible)

    def match(self, parts: Sequence[str], number: int, language: int) -> tuple[int, Options | None]:
        """The longest entry that starts at a word: its size in words and its options (1 and None without one)."""
        at = 2 * number + 1
        if self.choices.opens(parts[at]):
            for size in range(min(self.policy.longest, len(parts) // 2 - number), 1, -1):
                row = self.choices["".join(parts[at : at + 2 * size - 1])]
                if row is not None and row[language] is not None:
                    return size, row[language]
        row = self.choices[parts[at]]
        return 1, None if row is None else row[language]


def _unpacked(packed: bytes, segmenter: Segmenter | None) -> Switcher:
    lexicons, policy = pickle.loads(packed)
    if segmenter is not None:
        SEGMENTERS.setdefault(policy.segmenter, segmenter)
    return Switcher(lexicons, policy)


def phrase_starts(parts: Sequence[str], longest: int) -> list[int]:
    """For each word the number of the first word of its phrase: up to `longest` words with only blanks between them.

    >>> phrase_starts(pieces("red fox, lazy old dog"), 2)
    [0, 0, 2, 2, 4]
    """
    starts: list[int] = []
    for number, gap in enumerate(parts[:-1:2]):
        joined = number and number - starts[-1] < longest and gap.isspace()
        starts.append(starts[-1] if joined else number)
    return starts


def _checked(text: str, key: Key) -> str:
    if not isinstance(text, str):
        raise CslabError(f"text of example {key.example!r} is {type(text).__name__}; expected a string")
    return text


def _spans(plan: Plan, languages: Sequence[str]) -> tuple[tuple[Span, ...], str]:
    parts, spans, shift = list(plan.parts), [], 0
    ends = list(accumulate(map(len, parts)))
    for first, size, language, options, pick in plan.units:
        at = 2 * first + 1
        source = "".join(plan.parts[at : at + 2 * size - 1])
        new, origin, start = options.texts[pick], options.origins[pick], ends[at - 1] + shift
        spans.append(Span(start, start + len(new), source, new, languages[language], origin.score, origin.method, size))
        parts[at : at + 2 * size - 1] = (new, *[""] * (2 * size - 2))
        shift += len(new) - len(source)
    return tuple(spans), "".join(parts)


# The last few switchers. Lexicons are told apart by identity: comparing them by value would cost more than switching.
_RECENT: list[tuple[tuple[object, ...], Policy, Switcher]] = []


def switcher(lexicons: Lexicons, policy: Policy) -> Switcher:
    """The switcher of a policy; the last few are kept."""
    parts: list[object] = [SEGMENTERS.get(policy.segmenter)]
    for code, given in lexicons.items():
        parts += (sys.intern(code), *([given] if isinstance(given, Lexicon) else given))
    for known, its_policy, held in _RECENT:
        if its_policy == policy and len(known) == len(parts) and all(map(operator.is_, known, parts)):
            return held
    made = Switcher(lexicons, policy)
    _RECENT.insert(0, (tuple(parts), policy, made))
    del _RECENT[8:]
    return made


def switch(text: str, lexicons: Lexicons, policy: Policy, key: Key, side: Side) -> Switched:
    """Switches the words of a text.

    Args:
        text: any string.
        lexicons: target language → lexicon, or several in order of priority.
        policy: what is switched and how.
        key: (run seed, epoch, example id, copy); equal keys give equal results, whatever else is switched before.
        side: `query` or `document`.

    Returns:
        The new text with its spans and counts; `undo()` gives the original back.

    Raises:
        CslabError: for a language without a lexicon, a lexicon of other languages, or an unknown side.
    """
    return switcher(lexicons, policy)(text, key, side)
