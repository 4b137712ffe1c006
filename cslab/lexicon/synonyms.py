"""Synonyms from bilingual lexicons: words that several languages translate alike.

Reads lexicons of one source language; gives a lexicon of that language into itself, for RS-DA (2104.08645), whose
counter-fitted neighbours it stands in for, and for attacks by synonyms. A pair's score is the share of the languages
that know the first word in which the two have a translation in common. Forms of one stem are no synonyms.

    >>> de = Lexicon.from_pairs("en", "de", [("big", "groß"), ("large", "groß"), ("tall", "groß")])
    >>> it = Lexicon.from_pairs("en", "it", [("big", "grande"), ("large", "grande"), ("tall", "alto")])
    >>> [(t.text, t.score) for t in synonyms({"de": de, "it": it})["big"]]
    [('large', 1.0)]
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cslab.languages import language
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError
from cslab.text import fold


def synonyms(lexicons: Mapping[str, Lexicon], agree: int = 2, top: int = 5, crowd: int = 30) -> Lexicon:
    """Finds synonyms of the lexicons' source words.

    Args:
        lexicons: target language → lexicon, all of one source language.
        agree: languages in which two words must share a translation.
        top: synonyms kept per word.
        crowd: a translation of more words than this says nothing about them and is left out.

    Raises:
        CslabError: without lexicons, or for lexicons of several source languages.
    """
    sources = {lexicon.source for lexicon in lexicons.values()}
    if len(sources) != 1:
        found = ", ".join(sorted(sources)) or "none"
        raise CslabError(f"synonyms: lexicons with one source language are wanted, found: {found}; choose one")
    (source,) = sources
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    known: Counter[str] = Counter()
    for lexicon in lexicons.values():
        known.update(list(lexicon.entries))
        for word, other in _shared(lexicon, crowd):
            votes[word][other] += 1
    stem = _stemmer(source)
    rows = [
        (word, other, count / known[word])
        for word, counted in votes.items()
        for other, count in sorted(counted.items(), key=lambda row: (-row[1], row[0]))
        if count >= agree and stem(word) != stem(other)
    ]
    return Lexicon.from_pairs(source, source, rows, "synonyms", method="shared translations").top(top)


def _shared(lexicon: Lexicon, crowd: int) -> Iterator[tuple[str, str]]:
    """Pairs of words with a translation in common, each once in either order."""
    meanings: dict[str, list[str]] = defaultdict(list)
    for word, translations in lexicon.entries.items():
        for text in dict.fromkeys(fold(t.text) for t in translations):
            meanings[text].append(word)
    groups: Sequence[list[str]] = [words for words in meanings.values() if 1 < len(words) <= crowd]
    return iter(dict.fromkeys((one, other) for words in groups for one in words for other in words if one != other))


def _stemmer(code: str):
    name = language(code).stemmer
    if name is None:
        return lambda word: word
    from Stemmer import Stemmer

    return Stemmer(name).stemWord
