"""Words as switching may leave them: what a text can read that neither the text nor the lexicon holds as it stands.

A switched word keeps what surrounds it and takes the casing of its source: of `(Fox),` and a lexicon with fox → Fuchs,
`(Fuchs),` comes. Here every word between blanks is given with each of its parts exchanged, one at a time, so that a
vocabulary can be cut to what will be read. Entries of several words are given by themselves.

    >>> german = Lexicon.from_pairs("en", "de", [("fox", "fuchs"), ("red fox", "Rotfuchs"), ("hen", "Huhn")])
    >>> sorted(spliced_words(["The red Fox-hunt!"], [german]))
    ['Fuchs-hunt!', 'Rotfuchs', 'fuchs-hunt!', 'rotfuchs']
"""

from collections.abc import Iterable, Iterator, Sequence

from cslab.languages import language
from cslab.lexicon.lexicon import Lexicon
from cslab.text import carry_case, fold, pieces


def spliced_words(texts: Iterable[str], lexicons: Sequence[Lexicon]) -> set[str]:
    """Words of texts with each part that an entry has, exchanged for each of its translations.

    A translation is written with the casing of the word, and in lower case, as the faithful policies write it.

    Args:
        texts: any texts in the lexicons' source language.
        lexicons: their translations, all of which may be drawn.
    """
    words = {word for text in texts for word in text.split()}
    known = {fold(part) for word in words for part in pieces(word)[1::2]}
    found = {new for word in words for new in _exchanged(word, lexicons)}
    for lexicon in lexicons:
        spaced = language(lexicon.source).spaced
        for key, translations in lexicon.entries.items():
            # In a language without blanks any entry may stand anywhere.
            if not spaced or (" " in key and known.issuperset(fold(part) for part in pieces(key)[1::2])):
                found.update(form for t in translations for form in (t.text, carry_case("A", t.text), t.text.lower()))
    return found


def _exchanged(word: str, lexicons: Sequence[Lexicon]) -> Iterator[str]:
    parts = pieces(word)
    for place in range(1, len(parts), 2):
        before, part, after = "".join(parts[:place]), parts[place], "".join(parts[place + 1 :])
        for lexicon in lexicons:
            for translation in lexicon.entries.get(fold(part), ()):
                for form in (carry_case(part, translation.text), translation.text.lower()):
                    yield before + form + after
