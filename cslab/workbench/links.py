"""Which words of a document say what a query says: the same word, or a translation that the lexicons know.

Reads lexicons from one language (English) into others; a query in another language is looked up through English. What
`Links` finds is what a ranker could know of a pair without having understood it.

    >>> from cslab.lexicon.lexicon import Lexicon
    >>> german = Lexicon.from_pairs("en", "de", [("fox", "Fuchs"), ("lives", "lebt")])
    >>> links = Links({"de": german, "it": Lexicon.from_pairs("en", "it", [("fox", "volpe")])})
    >>> links.translations("fox", "en", "de"), links.translations("volpe", "it", "de")
    (('Fuchs',), ('Fuchs',))
    >>> found = links.between("Where lives the fox?", "en", "Der Fuchs lebt.", "de")
    >>> found.linked, found.covered
    ({'lebt': ('lives',), 'fuchs': ('fox',)}, ('lives', 'fox'))
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from cslab.languages import LANGUAGES, is_pool
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.switching.choices import stopwords_of
from cslab.text import Segmenter, Word, characters, fold, words

SHORT = 3  # letters of a word that is too short to tell, in languages without a list of stop-words


@dataclass(frozen=True)
class Match:
    """What a query and a document have in common.

    Attributes:
        shared: folded words that stand in both.
        linked: folded word of the document → words of the query that it translates.
        covered: words of the query that the lexicons translate into the document's language, in their order.
        asked: words of the query that are long enough to tell, in their order.
    """

    shared: frozenset[str] = frozenset()
    linked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    covered: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()


def segmenter_of(code: str) -> Segmenter:
    """How a language is cut into words: at blanks and marks, or letter by letter where it has no blanks."""
    return characters if code in LANGUAGES and not LANGUAGES[code].spaced else words


@cache
def _stopwords(code: str) -> frozenset[str] | None:
    try:
        return stopwords_of(code)
    except CslabError:
        return None


def telling(text: str, code: str) -> list[Word]:
    """The words of a text that can tell something: no stop-words, or no short words where no stop-words are known."""
    found, stop = segmenter_of(code)(text), _stopwords(code)
    if segmenter_of(code) is characters:
        return found
    return [w for w in found if (len(w.text) > SHORT if stop is None else fold(w.text) not in stop)]


class Links:
    """Looks words up from any language of the lexicons into any other."""

    def __init__(self, lexicons: Mapping[str, Lexicon]) -> None:
        """Args: `lexicons`, target language → lexicon from one source language."""
        self.lexicons = dict(lexicons)
        self.source = next(iter(lexicons.values())).source if lexicons else "en"
        self._back: dict[str, Lexicon] = {}

    def translations(self, word: str, query_lang: str, doc_lang: str) -> tuple[str, ...]:
        """What a word of a query may be in a document's language; in a pool of queries it may be of any language."""
        codes = [self.source, *self.lexicons] if is_pool(query_lang) else [query_lang]
        found: dict[str, None] = {}
        for code in codes:
            if code != doc_lang:
                for english in self._english(word, code):
                    found.update(dict.fromkeys(self._into(english, doc_lang)))
        return tuple(found)

    def _english(self, word: str, code: str) -> tuple[str, ...]:
        if code == self.source:
            return (word,)
        if code not in self.lexicons:
            return ()
        if code not in self._back:
            self._back[code] = self.lexicons[code].inverted()
        return tuple(t.text for t in self._back[code].get(word, ()))

    def _into(self, english: str, code: str) -> tuple[str, ...]:
        if code == self.source:
            return (english,)
        return tuple(t.text for t in self.lexicons[code].get(english, ())) if code in self.lexicons else ()

    def between(self, query: str, query_lang: str, document: str, doc_lang: str) -> Match:
        """What a query and a document have in common."""
        asked = telling(query, query_lang)
        shared = {fold(w.text) for w in asked} & {fold(w.text) for w in telling(document, doc_lang)}
        said = document_words(document, doc_lang)
        linked: dict[str, tuple[str, ...]] = {}
        covered: dict[str, None] = {}
        for word in asked:
            known = self.translations(word.text, query_lang, doc_lang)
            covered.update({word.text: None} if known else {})
            for folded in (fold(part) for text in known for part in _parts(text, doc_lang)):
                if said(folded) and folded not in shared:
                    linked[folded] = tuple(dict.fromkeys([*linked.get(folded, ()), word.text]))
        return Match(frozenset(shared), linked, tuple(covered), tuple(w.text for w in asked))

    def coverage(self, query: str, query_lang: str, targets: tuple[str, ...]) -> float:
        """Share of a query's telling words that have a translation into one of the languages (0 for none)."""
        asked = [word.text for word in telling(query, query_lang)]
        known = [word for word in asked if any(self.translations(word, query_lang, code) for code in targets)]
        return len(known) / len(asked) if asked else 0.0


def _parts(text: str, code: str) -> list[str]:
    """The words of a translation; a text without blanks is one."""
    return [text] if segmenter_of(code) is characters else [word.text for word in telling(text, code)]


def document_words(text: str, code: str):
    """A test of whether a folded word stands in a text: as a word, or anywhere where there are no blanks."""
    if segmenter_of(code) is characters:
        whole = fold(text)
        return lambda word: word in whole
    held = {fold(word.text) for word in words(text)}
    return held.__contains__
