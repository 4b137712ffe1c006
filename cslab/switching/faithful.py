"""The published algorithms as 2305.05295 means them, so that old results can be compared.

`ml-cs` (BL-CS and ML-CS): Treebank tokens; with p a language is drawn for a token and its lower-cased form looked up;
the first translation is written in lower case; the tokens are joined again by the Treebank detokeniser. `wiki-cs`: one
language per text, the text lower-cased, n-grams of blank-separated tokens replaced, the one of most characters first.

| | here | default mode |
|---|---|---|
| tokens | Treebank (blanks for titles); punctuation can be looked up | words of `cslab.text`, never punctuation |
| hyphenated words | one token | their parts |
| spaces, quotes | as the detokeniser writes them | untouched |
| case | translations lower-cased (titles: the whole text) | the source word's casing carried over |
| identical translations | count as switched | passed over for the next one |
| titles | blank-separated tokens, most characters first | word boundaries, most words first, from the left |
| counts | tokens that are no stop-words | all words |

What the released code does beyond the paper's meaning is not repeated: replacing inside words and inside what was
replaced before. Token-id space does not apply.

    >>> from cslab.lexicon.lexicon import Lexicon
    >>> german = Lexicon.from_pairs("en", "de", [("fox", "Fuchs")])
    >>> policy = Policy(query=1.0, languages=("de",), faithful="ml-cs")
    >>> result = Faithful(policy, {"de": (german,)})("The  Fox !", Key(), "query")
    >>> result.text, result.undo(), [span.target for span in result.spans]
    ('The fuchs!', 'The  Fox !', ['fuchs'])
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cslab.lexicon.lexicon import Lexicon, Translation
from cslab.switching import draw
from cslab.switching.choices import stopwords_of
from cslab.switching.draw import Key, Side
from cslab.switching.policy import Policy
from cslab.switching.record import Count, Span, Switched

_QUOTES = ("``", "''", '"')


class _Piece(NamedTuple):
    """A stretch of the text and what it becomes: a switch if it has a translation."""

    source: str
    new: str
    language: str = ""
    origin: Translation | None = None
    counted: int = 0  # its tokens that are no stop-words


class _Token(NamedTuple):
    """A token, the language drawn for it, its translation there, and whether it is switched and counted."""

    source: str
    language: str
    origin: Translation | None
    on: bool
    counted: int

    @property
    def new(self) -> str:
        return self.origin.text.lower() if self.on else self.source


class Faithful:
    """Switches texts as published."""

    def __init__(self, policy: Policy, lexicons: Mapping[str, Sequence[Lexicon]]) -> None:
        self.policy, self.lexicons = policy, lexicons
        self.stopwords = stopwords_of(policy.source)
        self.tokenizer, self.detokenizer = _treebank() if policy.faithful == "ml-cs" else (None, None)

    def __call__(self, text: str, key: Key, side: Side) -> Switched:
        """Switches a text; its words are its tokens without stop-words."""
        if not self.policy.rate(side) or not text.strip():
            return Switched(text)
        if self.policy.faithful == "wiki-cs":
            tokens, pieces = self._titles(text, key.number(side), side)
        else:
            tokens, pieces = self._tokens(text, key.number(side), side)
        counts = {code: [0, 0, 0] for code in self.policy.languages_of(side)}
        for token in tokens:
            row = counts[token.language]
            found = token.counted * (token.origin is not None)
            row[:] = (row[0] + token.counted, row[1] + found, row[2] + found * token.on)
        rows = tuple(Count(code, *row) for code, row in counts.items() if row[0])
        return _switched(pieces, sum(token.counted for token in tokens), rows)

    def _language(self, number: int, side: Side, index: np.ndarray) -> list[str]:
        steps, codes = draw.language_steps(self.policy.weights_of(side), 0, [0])[0], self.policy.languages_of(side)
        return [codes[n] for n in np.searchsorted(steps, draw.uniform(number, draw.LANGUAGE, index), side="right")]

    def _find(self, code: str, key: str) -> Translation | None:
        return next((held.entries[key][0] for held in self.lexicons.get(code, ()) if key in held.entries), None)

    def _chosen(self, number: int, side: Side, index: np.ndarray) -> list[bool]:
        return (draw.uniform(number, draw.SWITCH, index) < self.policy.rate(side)).tolist()

    def _tokens(self, text: str, number: int, side: Side) -> tuple[list[_Token], list[_Piece]]:
        found = self.tokenizer.tokenize(text)
        index, tokens = np.arange(len(found)), []
        drawn = zip(found, self._language(number, side, index), self._chosen(number, side, index), strict=True)
        for token, code, on in drawn:
            origin, counted = self._find(code, token.lower()), token.lower() not in self.stopwords
            tokens.append(_Token(token, code, origin, on and origin is not None, int(counted)))
        made = self.detokenizer.detokenize([token.new for token in tokens])
        return tokens, list(_aligned(text, made, tokens))

    def _titles(self, text: str, number: int, side: Side) -> tuple[list[_Token], list[_Piece]]:
        (code,) = self._language(number, side, np.zeros(1, np.int64))
        blanks, words = re.split(r"\S+", text), text.split()
        if code == self.policy.source and code not in self.lexicons:
            return [_Token(w, code, None, False, w.lower() not in self.stopwords) for w in words], [_Piece(text, text)]
        units = self._units([word.lower() for word in words], blanks, code)
        chosen = self._chosen(number, side, np.arange(len(words)))
        tokens, pieces, at = [], [_Piece(blanks[0], blanks[0])], 0
        while at < len(words):
            size, origin = units.get(at, (1, None))
            source = "".join(part for n in range(at, at + size) for part in (blanks[n], words[n]))[len(blanks[at]) :]
            counted = [int(word.lower() not in self.stopwords) for word in words[at : at + size]]
            on = chosen[at] and origin is not None
            tokens += (_Token(w, code, origin, on, c) for w, c in zip(words[at : at + size], counted, strict=True))
            new = origin.text.lower() if on else source.lower()
            pieces.append(_Piece(source, new, *((code, origin, sum(counted)) if on else ())))
            at += size
            pieces.append(_Piece(blanks[at], blanks[at]))
        return tokens, pieces

    def _units(self, words: list[str], blanks: list[str], code: str) -> dict[int, tuple[int, Translation]]:
        """First word → (words, translation) of the titles taken, those of most characters first."""
        candidates = []
        for at in range(len(words)):
            for size in range(1, min(self.policy.longest, len(words) - at) + 1):
                key = " ".join(words[at : at + size])
                single = all(blanks[n] == " " for n in range(at + 1, at + size))
                if single and key not in self.stopwords and (origin := self._find(code, key)):
                    candidates.append((-len(key), at, size, origin))
        taken, free = {}, [True] * len(words)
        for _, at, size, origin in sorted(candidates, key=lambda row: row[:3]):
            if all(free[at : at + size]):
                free[at : at + size] = [False] * size
                taken[at] = (size, origin)
        return taken


def _treebank() -> tuple[Any, Any]:
    from nltk.tokenize.treebank import TreebankWordDetokenizer, TreebankWordTokenizer

    return TreebankWordTokenizer(), TreebankWordDetokenizer()


def _aligned(text: str, made: str, tokens: Sequence[_Token]) -> Iterator[_Piece]:
    """Lays the tokens over the old and the new text; what cannot be laid is one last change."""
    old = new = 0
    for token in tokens:
        before, after = _place(text, old, token.source), _place(made, new, token.new)
        if before is None or after is None:
            break
        yield _Piece(text[old : before[0]], made[new : after[0]])
        switch = (token.language, token.origin, token.counted) if token.on else ()
        yield _Piece(text[slice(*before)], made[slice(*after)], *switch)
        old, new = before[1], after[1]
    yield _Piece(text[old:], made[new:])


def _place(text: str, start: int, token: str) -> tuple[int, int] | None:
    while start < len(text) and text[start].isspace():
        start += 1
    for form in _QUOTES if token in _QUOTES else (token,):
        if text.startswith(form, start):
            return start, start + len(form)
    return None


def _switched(pieces: Sequence[_Piece], words: int, counts: tuple[Count, ...]) -> Switched:
    spans, edits, end = [], [], 0
    for source, new, language, origin, counted in pieces:
        start, end = end, end + len(new)
        if origin is not None:
            spans.append(Span(start, end, source, new, language, origin.score, origin.method, counted))
        elif new != source:
            edits.append((start, end, source))
    return Switched("".join(piece.new for piece in pieces), tuple(spans), words, counts, tuple(edits))
