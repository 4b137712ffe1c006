"""What a word may become: the lexicons of a policy, compiled into rows of ready choices.

Reads `Lexicon` records (one per language, or several in order of priority) and a `Policy`. A row holds, per language,
the translations a surface form can take, cased and with identities dropped; rows are made when a word is first seen.

    >>> from cslab.lexicon.lexicon import Lexicon
    >>> lexicon = Lexicon.from_pairs("en", "de", [("fox", "fox"), ("fox", "Fuchs")])
    >>> Choices.compile({"de": lexicon}, Policy(languages=("de",)))["FOX"][0].texts
    ('FUCHS',)
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from cslab.languages import language
from cslab.lexicon.lexicon import Lexicon, Translation
from cslab.store import CslabError, nearest
from cslab.switching.draw import SIDES
from cslab.switching.policy import Policy
from cslab.text import SEGMENTERS, Segmenter, carry_case, fold, longest_match
from cslab.without_jax import imported

Lexicons = Mapping[str, Lexicon | Sequence[Lexicon]]

# Language → name of its stop-words in bm25s.
STOPWORDS = {
    **{"en": "EN_PLUS", "de": "GERMAN", "nl": "DUTCH", "fr": "FRENCH", "es": "SPANISH", "pt": "PORTUGUESE"},
    **{"it": "ITALIAN", "ru": "RUSSIAN", "sv": "SWEDISH", "no": "NORWEGIAN", "tr": "TURKISH", "zh": "CHINESE"},
}

# Rows are kept for this many surface forms, then begun anew: a million texts must not fill the memory.
_KEPT = 1 << 18


class Options(NamedTuple):
    """The translations one surface form can take in one language, and how a draw chooses among them."""

    texts: tuple[str | None, ...]  # as written; None keeps the source word
    origins: tuple[Translation, ...]
    steps: tuple[float, ...] | None  # cumulative probabilities; None where there is nothing to draw

    def pick(self, draw: float) -> int:
        """The choice for a uniform draw."""
        return 0 if self.steps is None else bisect_right(self.steps, draw)


Row = tuple[Options | None, ...]


class Choices(dict[str, Row | None]):
    """The compiled lexicons of a policy: surface form → `Row`, one entry per language of `languages`.

    A row is made when its surface form is first asked for; a form with no options at all has the row None.
    """

    def __init__(self, policy: Policy, lexicons: dict[str, tuple[Lexicon, ...]], stopwords: frozenset[str]) -> None:
        super().__init__()
        self.policy = policy
        self.lexicons = lexicons
        self.languages = tuple(dict.fromkeys(code for side in SIDES for code in policy.languages_of(side)))
        self._stopwords = stopwords
        self._tables = [[lexicon.entries for lexicon in lexicons.get(code, ())] for code in self.languages]

    @classmethod
    def compile(cls, lexicons: Lexicons, policy: Policy) -> "Choices":
        """Checks the lexicons against the policy.

        Raises:
            CslabError: for a language without a lexicon, or a lexicon of other languages.
        """
        used: dict[str, tuple[Lexicon, ...]] = {}
        for code in dict.fromkeys(code for side in SIDES if policy.rate(side) for code in policy.languages_of(side)):
            given = lexicons.get(code)
            if given is None and code == policy.source:
                continue  # the source language, drawn, leaves the word as it is
            if given is None:
                have = ", ".join(lexicons) or "none"
                raise CslabError(f"policy '{policy.name}': no lexicon for '{code}' (have: {have}); give one or drop it")
            used[code] = (given,) if isinstance(given, Lexicon) else tuple(given)
            for lexicon in used[code]:
                if (lexicon.source, lexicon.target) != (policy.source, code):
                    raise CslabError(
                        f"policy '{policy.name}': lexicon '{lexicon.name}' is {lexicon.source}→{lexicon.target}, "
                        f"expected {policy.source}→{code}; give the right one, or its inverted()"
                    )
        return cls(policy, used, stopwords_of(policy.source) if policy.words == "content" else frozenset())

    def __missing__(self, surface: str) -> Row | None:
        if len(self) >= _KEPT:
            self.clear()
        row = self[surface] = self._make(surface)
        return row

    def _make(self, surface: str) -> Row | None:
        key = " ".join(fold(surface).split())
        if key in self._stopwords:
            return None
        row = tuple(self._options(key, surface, tables) for tables in self._tables)
        return row if any(row) else None

    def _options(
        self, key: str, surface: str, tables: Sequence[Mapping[str, tuple[Translation, ...]]]
    ) -> Options | None:
        for table in tables:
            written = [(self._cased(surface, t.text), t) for t in table.get(key, ())]
            # A translation that equals its source but for case is no switch; the next one takes its place.
            kept = [(text, t) for text, t in written if fold(text) != key]
            if kept:
                return self._ranked(kept[: self.policy.top_k or None])
        return None

    def _cased(self, surface: str, text: str) -> str:
        casing = self.policy.casing
        return carry_case(surface, text) if casing == "carry" else text.lower() if casing == "lower" else text

    def _ranked(self, kept: list[tuple[str, Translation]]) -> Options:
        texts, origins = zip(*kept, strict=True)
        if self.policy.choice == "first":
            texts, origins = texts[:1], origins[:1]
        if self.policy.keep_source:
            texts, origins = (None, *texts), (Translation("", 1.0), *origins)
        if len(texts) == 1:
            return Options(texts, origins, None)
        mass = np.ones(len(texts))
        if self.policy.choice == "score":
            scores = np.array([max(0.0, t.score) for t in origins])
            mass = scores if scores.sum() > 0 else mass
        steps = np.cumsum(mass / mass.sum())
        return Options(texts, origins, (*steps[:-1].tolist(), 1.0))

    @cached_property
    def openings(self) -> frozenset[str]:
        """First words (folded, up to the first character that is no letter) of entries of several words."""
        tables = (table for tables in self._tables for table in tables)
        return frozenset(_opening(key) for table in tables for key in table if not key.isalnum())

    def opens(self, surface: str) -> bool:
        """Whether an entry of several words may begin with this word; cheap, and never wrong about a no."""
        return _opening(fold(surface)) in self.openings

    def segmenter(self) -> Segmenter | None:
        """The policy's segmenter.

        Raises:
            CslabError: for a name that is not in `cslab.text.SEGMENTERS`.
        """
        name = self.policy.segmenter
        if name == "auto":
            name = "words" if language(self.policy.source).spaced else "longest"
        if name == "longest":
            return longest_match({key for tables in self._tables for table in tables for key in table})
        if name not in SEGMENTERS:
            close = nearest(name, [*SEGMENTERS, "longest", "auto"])
            raise CslabError(
                f"policy '{self.policy.name}': segmenter '{name}' is not in cslab.text.SEGMENTERS; {close}"
            )
        return None if name == "words" else SEGMENTERS[name]


def _opening(key: str) -> str:
    for position, character in enumerate(key):
        if not character.isalnum():
            return key[:position]
    return key


def stopwords_of(code: str) -> frozenset[str]:
    """Stop-words of a language (the lists that come with bm25s; the English one is NLTK's).

    Raises:
        CslabError: for a language without a list.
    """
    if code not in STOPWORDS:
        raise CslabError(f"no stop-words for '{code}' (have: {', '.join(STOPWORDS)}); set the policy's words to 'all'")
    lists = imported("bm25s.stopwords")
    return frozenset(fold(word) for word in getattr(lists, f"STOPWORDS_{STOPWORDS[code]}"))
