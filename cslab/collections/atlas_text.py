"""Turns facts of the atlas into sentences, and writes comparable text in one language for embeddings.

Reads `cslab/data/atlas`; writes nothing. Comparable means: about the same things in every language, but never the same
sentences. Each language draws its own sentences with its own seed; what they share is which things are near each
other, a hidden geometry made from the ids, so that vectors trained on each language alone can be aligned.

    >>> next(monolingual_text("en", 1, seed=3)).endswith((".", "?"))
    True
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from cslab.collections.atlas_data import DOMAINS, LANGUAGES, AtlasData, load_data
from cslab.collections.atlas_world import Fact, Query
from cslab.store import CslabError, nearest

DIMENSIONS = 12  # of the hidden geometry
SHARPNESS = 8.0  # how strongly near things attract each other: half of a neighbourhood are some twenty things
NOISE = 0.1  # share of things that are drawn without looking at the geometry
TOWNS_SHARE = 0.6  # of facts and questions; the others are about voyages
# How often each kind of sentence is written.
MIXTURE = {
    "statement": 0.28,
    "there": 0.14,
    "question": 0.05,
    "question2": 0.05,
    "list": 0.30,
    "town": 0.12,
    "ship": 0.06,
}


def capital(text: str) -> str:
    """Raises the first letter: `capital("¿qué?")` is `¿Qué?`."""
    for index, char in enumerate(text):
        if char.isalpha():
            return text[:index] + char.upper() + text[index + 1 :]
    return text


def passage_text(facts: Sequence[Fact], domain: str, lang: str, data: AtlasData) -> str:
    """Tells facts of one place: the first sentence names it, the others say `there`."""
    place = place_phrase(*facts[0].place, domain, lang, data)
    first = _form(facts[0], "statement", domain, lang, data).replace("{place}", place)
    others = (_form(fact, "there", domain, lang, data) for fact in facts[1:])
    return " ".join(capital(sentence) for sentence in (first, *others))


def query_text(query: Query, domain: str, lang: str, data: AtlasData) -> str:
    """Words a query: a question with its place, or two clauses whose place is asked for."""
    if query.form != "find":
        fact = query.facts[0]
        place = place_phrase(*fact.place, domain, lang, data)
        return capital(_form(fact, query.form, domain, lang, data).replace("{place}", place))
    first, second = (_form(fact, "clause", domain, lang, data) for fact in query.facts)
    pattern = data.sentences[f"find_{domain}"][query.wording][lang]
    return pattern.replace("{a}", first).replace("{A}", capital(first)).replace("{b}", second)


def place_phrase(name: str, part: str, domain: str, lang: str, data: AtlasData) -> str:
    """Where a fact holds, e.g. `in the northern quarter of Silver Bay`."""
    kind = DOMAINS[domain]
    return data.places[domain][part][lang].replace(f"{{{kind}}}", data.names[kind][name][lang])


def _form(fact: Fact, form: str, domain: str, lang: str, data: AtlasData) -> str:
    pattern = data.attributes[domain][fact.attribute].forms[form][lang]
    return pattern.replace("{v}", data.concepts[fact.concept].phrase[lang])


# --- comparable text -----------------------------------------------------------------------------------------


def monolingual_text(language: str, sentences: int, seed: int = 0) -> Iterator[str]:
    """Yields sentences of one language: facts of random worlds, questions, and lists of things that belong together.

    Args:
        language: one of the nine languages of the atlas.
        sentences: how many.
        seed: another seed gives other sentences. Languages never share their draws.

    Raises:
        CslabError: for a language the atlas does not have.
    """
    if language not in LANGUAGES:
        raise CslabError(f"the atlas has no language '{language}'; {nearest(language, LANGUAGES)}")
    data = load_data()
    rng = np.random.default_rng(_number("text", language, seed))
    writer = _Writer(language, data, rng)
    for kind in rng.choice(list(MIXTURE), size=sentences, p=np.array(list(MIXTURE.values())) / sum(MIXTURE.values())):
        yield capital(writer.listing(kind) if kind in ("list", "town", "ship") else writer.fact(kind))


class _Writer:
    """Draws the sentences of one language."""

    def __init__(self, language: str, data: AtlasData, rng: np.random.Generator) -> None:
        self.language, self.data, self.rng = language, data, rng
        self.geometry = _geometry()
        # Languages speak of the same neighbourhoods, but not with the same frequencies.
        self.sharpness = SHARPNESS * rng.uniform(0.9, 1.1)
        self.habits = rng.normal(0.0, 0.5, len(self.geometry.concepts))
        self.attributes = {domain: tuple(group.values()) for domain, group in data.attributes.items()}
        self.names = {kind: tuple(group) for kind, group in data.names.items()}
        self.parts = {domain: tuple(group) for domain, group in data.places.items()}
        self.chances: dict[tuple[str, str], np.ndarray] = {}

    def fact(self, form: str) -> str:
        """A statement or question about a random place."""
        domain = "towns" if self.rng.random() < TOWNS_SHARE else "voyages"
        attribute = self._pick(self.attributes[domain])
        name = self._pick(self.names[DOMAINS[domain]])
        place = place_phrase(name, self._pick(self.parts[domain]), domain, self.language, self.data)
        value = self._phrase(self._near(name, attribute.kind))
        return attribute.forms[form][self.language].replace("{place}", place).replace("{v}", value)

    def listing(self, kind: str) -> str:
        """Three things near each other (`list`), or near a town or ship."""
        pattern = self._pick(self.data.sentences[kind])[self.language]
        if kind == "list":
            anchor = self._pick(self.geometry.concepts)
            things = [anchor]
        else:
            anchor, things = self._pick(self.names[kind]), []
            pattern = pattern.replace(f"{{{kind}}}", self.data.names[kind][anchor][self.language])
        while len(things) < 3:
            if (thing := self._near(anchor, "")) not in things:
                things.append(thing)
        first, second, third = (self._phrase(things[n]) for n in self.rng.permutation(3))
        comma, last = (self.data.sentences[joint][0][self.language] for joint in ("comma", "and"))
        listed = last.replace("{a}", comma.replace("{a}", first).replace("{b}", second)).replace("{b}", third)
        return pattern.replace("{list}", listed)

    def _phrase(self, concept: str) -> str:
        return self.data.concepts[concept].phrase[self.language]

    def _pick(self, things: Sequence) -> Any:
        return things[int(self.rng.random() * len(things))]

    def _near(self, anchor: str, kind: str) -> str:
        """A concept of a class (or any) that lies near the anchor, now and then a random one."""
        pool = self.data.kinds[kind] if kind else self.geometry.concepts
        if self.rng.random() < NOISE:
            return self._pick(pool)
        if (anchor, kind) not in self.chances:
            rows = [self.geometry.rows[concept] for concept in pool]
            near = self.geometry.vectors[rows] @ self.geometry.vectors[self.geometry.rows[anchor]]
            weights = np.exp(self.sharpness * near + self.habits[rows])
            self.chances[anchor, kind] = np.cumsum(weights / weights.sum())
        place = int(np.searchsorted(self.chances[anchor, kind], self.rng.random()))
        return pool[min(place, len(pool) - 1)]


# --- the hidden geometry -------------------------------------------------------------------------------------


class _Geometry(NamedTuple):
    """A unit vector for every concept, town and ship, from the ids alone; so it is the same for all languages."""

    concepts: tuple[str, ...]
    rows: dict[str, int]
    vectors: np.ndarray  # (concepts + names, DIMENSIONS)


@cache
def _geometry() -> _Geometry:
    data = load_data()
    names = [name for group in data.names.values() for name in group]
    vectors = [_vector(concept) for concept in data.concepts]
    # A name lies between the things it is made of: Silver Bay near silver, Three Bridges near bridge.
    for name in names:
        parts = (word if word in data.concepts else word.removesuffix("s") for word in name.split("_"))
        vectors.append(sum(_vector(part) for part in parts))
    rows = {key: row for row, key in enumerate([*data.concepts, *names])}
    return _Geometry(tuple(data.concepts), rows, np.stack([v / np.linalg.norm(v) for v in vectors]))


def _vector(key: str) -> np.ndarray:
    return np.random.default_rng(_number("geometry", key)).normal(size=DIMENSIONS)


def _number(*key: object) -> int:
    digest = hashlib.blake2b("\x1f".join(map(str, ("atlas", *key))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")
