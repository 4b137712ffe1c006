"""What an attack may change: for a text, every single edit, each a span and what could stand there.

Reads lexicons (words, titles, synonyms) or nothing (typing errors, transliteration); gives functions of a text. Chosen
edits become a `Switched` text, whose spans show, count and undo them.

    edits = word_edits({"de": lexicon, "ru": lexicon})
    edits("who ate it?")                        # [Edit(0, 3, "wer", "de", …), Edit(0, 3, "кто", "ru", …), …]

>>> applied("who ate it?", [Edit(4, 7, "aß", "de")]).text
'who aß it?'
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from cslab.languages import language
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.choices import Lexicons
from cslab.switching.draw import Key
from cslab.switching.policy import Policy
from cslab.switching.record import Span, Switched
from cslab.switching.switch import Switcher, switcher
from cslab.text import carry_case, pieces


class Edit(NamedTuple):
    """One possible change: `text[start:end]`, which is `words` words, becomes `new`."""

    start: int
    end: int
    new: str
    language: str
    score: float = 1.0
    method: str = "edit"
    words: int = 1


Edits = Callable[[str], list[Edit]]


def applied(text: str, edits: Sequence[Edit]) -> Switched:
    """The text with some disjoint edits made, in any order."""
    made, spans, position, shift = [], [], 0, 0
    for edit in sorted(edits):
        start = edit.start + shift
        spans.append(Span(start, start + len(edit.new), text[edit.start : edit.end], *edit[2:]))
        made += (text[position : edit.start], edit.new)
        position, shift = edit.end, shift + len(edit.new) - (edit.end - edit.start)
    return Switched("".join([*made, text[position:]]), tuple(spans), len(pieces(text)) // 2)


# --- by lexicons ---------------------------------------------------------------------------------------------


def word_edits(lexicons: Lexicons, source: str = "en", top: int = 1, words: str = "all") -> Edits:
    """Words for their translations: the code-mixing of PolyGloss (2103.09593, section 4).

    Args:
        lexicons: target language → lexicon.
        source: language of the texts; a lexicon into it gives synonyms.
        top: translations of a word tried in each language.
        words: `all`, or `content` words only.
    """
    return phrase_edits(lexicons, source, top, longest=1, words=words)


def phrase_edits(lexicons: Lexicons, source: str = "en", top: int = 1, longest: int = 3, words: str = "all") -> Edits:
    """N-grams for their translations: with titles as lexicons, the phrases of Bumblebee (2103.09593, section 5).

    Args: as in `word_edits`, and
        longest: words of the longest n-gram; at each word every length that has an entry is tried.
    """
    policy = Policy("edits", 1.0, 1.0, tuple(lexicons), choice="uniform", top_k=top, words=words, source=source)
    made = switcher(lexicons, replace(policy, longest=longest))

    def edits(text: str) -> list[Edit]:
        return list(_looked_up(made, text, longest))

    return edits


def _looked_up(made: Switcher, text: str, longest: int) -> Iterator[Edit]:
    parts = pieces(text, made.segmenter)
    ends = list(accumulate(map(len, parts)))
    for number in range(len(parts) // 2):
        for size in range(1, min(longest, len(parts) // 2 - number) + 1):
            surface = "".join(parts[2 * number + 1 : 2 * (number + size)])
            for code, options in zip(made.languages, made.choices[surface] or (), strict=False):
                for new, origin in zip(options.texts, options.origins, strict=True) if options else ():
                    place = ends[2 * number], ends[2 * (number + size) - 1]
                    yield Edit(*place, new, code, origin.score, origin.method, size)


def synonym_edits(synonyms: Lexicon, top: int = 5) -> Edits:
    """Words for synonyms in the same language (see `cslab.lexicon.synonyms`)."""
    return word_edits({synonyms.source: synonyms}, synonyms.source, top)


# --- by letters ----------------------------------------------------------------------------------------------


def typo_edits(source: str = "en", per_word: int = 4, shortest: int = 4, seed: int = 0) -> Edits:
    """Words with one typing error: two letters swapped, one dropped, one doubled, or one typed for its neighbour.

    Args:
        source: language of the texts.
        per_word: errors tried in each word, drawn from a hash of word and seed.
        shortest: letters of the shortest word touched; the first letter stays.
        seed: of the draws.
    """

    def edits(text: str) -> list[Edit]:
        parts, found = pieces(text), []
        ends = list(accumulate(map(len, parts)))
        for number in range(len(parts) // 2):
            word = parts[2 * number + 1]
            if len(word) >= shortest:
                new = dict.fromkeys(_typed(word, Key(seed, 0, word, copy).number()) for copy in range(per_word))
                place = ends[2 * number], ends[2 * number + 1]
                found += [Edit(*place, wrong, source, method="typo") for wrong in new if wrong != word]
        return found

    return edits


def _typed(word: str, number: int) -> str:
    kind, place = number % 4, 1 + (number >> 2) % (len(word) - 2)
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    if kind == 2:
        return word[:place] + word[place] + word[place:]
    # What stands next in the word stands for the neighbouring key: no layout fits all scripts.
    return word[:place] + word[place - 1].lower() + word[place + 1 :]


# The usual Latin spellings of letters, as people type them; vowels that a script leaves out stay out.
def _table(letters: str, latin: str) -> dict[str, str]:
    return dict(zip(letters, latin.split("|"), strict=True))


_CYRILLIC = _table(
    "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
    "a|b|v|g|d|e|yo|zh|z|i|y|k|l|m|n|o|p|r|s|t|u|f|kh|ts|ch|sh|shch||y||e|yu|ya",
)
_GREEK = _table("αβγδεζηθικλμνξοπρσςτυφχψω", "a|v|g|d|e|z|i|th|i|k|l|m|n|x|o|p|r|s|s|t|y|f|ch|ps|o")
_ARABIC = _table(
    "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئىة",
    "a|b|t|th|j|h|kh|d|dh|r|z|s|sh|s|d|t|z|a|gh|f|q|k|l|m|n|h|w|y|'|a|a|u|i|i|a|a",
)
ROMAN = {"Cyrl": _CYRILLIC, "Grek": _GREEK, "Arab": _ARABIC}


def romanised(word: str, script: str) -> str:
    """A word in Latin letters; what the table lacks stays, marks above letters go.

    >>> romanised("Лиса", "Cyrl"), romanised("كتاب", "Arab")
    ('Lisa', 'ktab')
    """
    import unicodedata

    table = ROMAN[script]
    bare = "".join(c for c in word if c in table or c.lower() in table or not unicodedata.combining(c))
    return carry_case(word, "".join(table.get(c.lower(), c) for c in bare))


def transliteration_edits(source: str) -> Edits:
    """Words of another script typed in Latin letters (2505.08411).

    Raises:
        CslabError: for a language whose script has no table.
    """
    script = language(source).script
    if script not in ROMAN:
        raise CslabError(f"transliteration: '{source}' is written in {script}; there are tables for {', '.join(ROMAN)}")

    def edits(text: str) -> list[Edit]:
        parts, found = pieces(text), []
        ends = list(accumulate(map(len, parts)))
        for number in range(len(parts) // 2):
            new = romanised(parts[2 * number + 1], script)
            if new != parts[2 * number + 1]:
                found.append(Edit(ends[2 * number], ends[2 * number + 1], new, source, method="transliteration"))
        return found

    return edits
