"""From the settings of a profile to lexicons from English.

`LEXICONS` has a row for each `lexicon.source`; `further` sources are merged behind the first, by priority. MUSE
dictionaries are fetched from their address where no folder is given; trained vectors are kept in the cache.

    lexicon = read_lexicon(load_profile("xquad").lexicon, "de")
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cslab.collections.atlas import atlas_lexicon, atlas_titles
from cslab.collections.atlas_data import FOLDER as ATLAS
from cslab.collections.atlas_data import load_data
from cslab.collections.download import default_cache, fetch
from cslab.config import LexiconSettings, LexiconSource
from cslab.lexicon.align import Aligning, align
from cslab.lexicon.dictionaries import merge, read_dictionary
from cslab.lexicon.encoder_vectors import encoder_vectors, is_encoder
from cslab.lexicon.induce import Retrieval, induce
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.titles import titles_lexicon
from cslab.lexicon.train import train_vectors
from cslab.lexicon.vectors import ADDRESSES, Vectors, known_address, read_vectors
from cslab.lexicon.wikidumps import read_titles
from cslab.sources.induction import atlas_vectors, induced_lexicon, seed_titles
from cslab.sources.places import locate
from cslab.store import CslabError, read_lines
from cslab.text import fold, words

MUSE = "https://dl.fbaipublicfiles.com/arrival/dictionaries/{source}-{target}.txt"
IDENTICAL = "identical"


@dataclass(frozen=True)
class LexiconReader:
    """A row of the table: settings and target language → lexicon, and the local files it is read from."""

    read: Callable[[LexiconSource, str], Lexicon]
    files: Callable[[LexiconSource, str], list[Path]]


def read_lexicon(settings: LexiconSource, target: str) -> Lexicon:
    """The lexicon from English into a language, whole, as its sources have it."""
    parts = [LEXICONS[source.source].read(source, target) for source in _sources(settings)]
    return parts[0] if len(parts) == 1 else merge(parts)


def lexicon_files(settings: LexiconSource, target: str) -> list[Path]:
    """Local files a lexicon is read from, so that a change in one of them makes it again."""
    return [file for source in _sources(settings) for file in LEXICONS[source.source].files(source, target)]


def _sources(settings: LexiconSource) -> list[LexiconSource]:
    return [settings, *(settings.further if isinstance(settings, LexiconSettings) else ())]


# --- dictionaries and titles ---------------------------------------------------------------------------------


def articles(target: str) -> Lexicon:
    """What an encyclopedia of the atlas would have articles about: its towns and ships, and every thing in them."""
    lemmas = [concept.lemma["en"] for concept in load_data().concepts.values()]
    return merge([atlas_titles(target), atlas_lexicon(target).restrict(lemmas)], name=f"atlas-articles-{target}")


def _dictionary(settings: LexiconSource, target: str) -> Path:
    if settings.source == "muse" and not settings.folder:
        return fetch(MUSE.format(source="en", target=target))
    folder = locate(settings.folder, "lexicon.folder")
    ending = "tsv" if settings.source == "tsv" else "txt"
    for name in (f"en-{target}.{ending}", f"en-{target}.{ending}.gz"):
        if (folder / name).is_file():
            return folder / name
    raise CslabError(f"{folder}: no en-{target}.{ending}[.gz]; add it, or take '{target}' out of lexicon.languages")


def _dictionary_files(settings: LexiconSource, target: str) -> list[Path]:
    return [_dictionary(settings, target)] if settings.folder else []


def _titles(settings: LexiconSource, target: str) -> Lexicon:
    files = _title_files(settings, target)
    return titles_lexicon((row for path in files for row in read_titles(path, "en", target)), "en", target)


def _title_files(settings: LexiconSource, target: str) -> list[Path]:
    """The files that hold a language's titles: TSV with a column of it, XML with the pair in its name."""
    place = locate(settings.folder, "lexicon.folder")
    known = re.compile(r"\.(tsv|xml)(\.gz)?$")
    files = [place] if place.is_file() else [f for f in sorted(place.iterdir()) if known.search(f.name)]
    if found := [file for file in files if _has_titles(file, target)]:
        return found
    raise CslabError(f"{place}: no titles in English and '{target}'; add them, or take '{target}' out of the languages")


def _has_titles(path: Path, target: str) -> bool:
    if ".xml" in path.name:
        return re.search(rf"(en[-_]?{target}|{target}[-_]?en)\.xml", path.name) is not None
    header = next((line for _, line in read_lines(path)), "").split("\t")
    return {"en", target} <= set(header)


# --- induction -----------------------------------------------------------------------------------------------


def _induced(settings: LexiconSource, target: str) -> Lexicon:
    rounds = 4 if settings.refine else 0
    if not settings.vectors and not settings.text:
        vectors = (atlas_vectors(code, settings.sentences) for code in ("en", target))
        return induced_lexicon(*vectors, seed_titles(target, settings.seed_words), settings.retrieval, rounds)
    source, other = (_vectors(settings, code, target) for code in ("en", target))
    if not settings.seed:
        if not settings.vectors:
            raise CslabError("lexicon.text: vectors of two trainings share no space; set lexicon.seed to align them by")
        return induce(source, other, retrieval=Retrieval(method=settings.retrieval, top=10))
    seed = _seed(settings, target)
    known = seed if isinstance(seed, str) else read_dictionary(seed, "en", target)
    aligning = Aligning(method="refine", rounds=rounds) if rounds else Aligning(method="procrustes")
    return induce(source, other, align(source, other, known, aligning), Retrieval(method=settings.retrieval, top=10))


def _words(settings: LexiconSource, code: str, target: str) -> list[str]:
    """The words that an encoder gives vectors of: those of a dictionary, or of a text, most frequent first."""
    if settings.folder:
        held = read_dictionary(_dictionary(settings, target), "en", target).entries
        found = held if code == "en" else (fold(one.text) for translations in held.values() for one in translations)
    else:
        lines = read_lines(_word_file(settings, code))
        counts = Counter(fold(word.text) for _, line in lines for word in words(line))
        found = (word for word, _ in counts.most_common())
    return list(dict.fromkeys(word for word in found if " " not in word))[: settings.limit]


def _word_file(settings: LexiconSource, code: str) -> Path:
    if not settings.text:
        raise CslabError(
            f"lexicon.vectors: {settings.vectors} gives vectors of words that are named; set lexicon.text to texts "
            "with these words, e.g. text/news.{language}.txt.gz, or lexicon.folder to dictionaries"
        )
    return _vector_file(settings.model_copy(update={"vectors": ""}), code)


def _vectors(settings: LexiconSource, code: str, target: str) -> Vectors:
    cache = default_cache() / "vectors"
    if is_encoder(settings.vectors):
        return encoder_vectors(settings.vectors, _words(settings, code, target), code, cache)
    path = _vector_file(settings, code)
    if settings.vectors:
        return read_vectors(path, code, settings.limit, cache)
    lines: Iterator[str] = (line for _, line in read_lines(path))
    return train_vectors(lines, code, cache / f"{path.name.split('.')[0]}-{code}").limit(settings.limit)


def _vector_file(settings: LexiconSource, code: str) -> Path:
    key, pattern = ("vectors", settings.vectors) if settings.vectors else ("text", settings.text)
    if settings.vectors in ADDRESSES:
        return fetch(known_address(settings.vectors, code))
    if "{language}" not in pattern:
        raise CslabError(f"lexicon.{key}: '{pattern}' is the same for every language; write {{language}} in it")
    return locate(pattern.replace("{language}", code), f"lexicon.{key}")


def _seed(settings: LexiconSource, target: str) -> Path | str:
    if settings.seed == IDENTICAL:
        return IDENTICAL
    return locate(settings.seed.replace("{language}", target), "lexicon.seed")


def _induced_files(settings: LexiconSource, target: str) -> list[Path]:
    if not settings.vectors and not settings.text:
        return _atlas_files(settings, target)
    if is_encoder(settings.vectors) and settings.folder:
        found = [_dictionary(settings, target)]
    else:
        file = _word_file if is_encoder(settings.vectors) else _vector_file
        found = [file(settings, code) for code in ("en", target)]
    if settings.seed and settings.seed != IDENTICAL:
        found.append(Path(_seed(settings, target)))
    return [file for path in found for file in ([path] if path.is_file() else sorted(path.iterdir()))]


def _atlas_files(settings: LexiconSource, target: str) -> list[Path]:
    return sorted(ATLAS.glob("*.tsv"))


LEXICONS: dict[str, LexiconReader] = {
    "atlas": LexiconReader(lambda settings, target: atlas_lexicon(target), _atlas_files),
    "atlas-titles": LexiconReader(lambda settings, target: atlas_titles(target), _atlas_files),
    "atlas-articles": LexiconReader(lambda settings, target: articles(target), _atlas_files),
    "induced": LexiconReader(_induced, _induced_files),
    "muse": LexiconReader(
        lambda settings, target: read_dictionary(_dictionary(settings, target), "en", target), _dictionary_files
    ),
    "tsv": LexiconReader(
        lambda settings, target: read_dictionary(_dictionary(settings, target), "en", target), _dictionary_files
    ),
    "titles": LexiconReader(_titles, _title_files),
}
