"""Switching policies as data: what is switched, into which languages, how often, and how the new word is written.

A policy is one frozen record; the published ones are rows of `POLICIES`. It reads and writes nothing but a dictionary
(`to_dict`, `from_dict`), which goes into profiles and model cards.

    >>> bl_cs = bilingual("en", "de")
    >>> POLICIES["ML-CS"].languages_of("query"), bl_cs.rate("query"), bl_cs.rate("document")
    (('de', 'ru', 'ar', 'nl', 'it'), 0.0, 0.5)
    >>> Policy.from_dict({"name": "mine", "document": 1.0}).document
    1.0
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from cslab.languages import SEEN, language
from cslab.store import CslabError, nearest
from cslab.switching.draw import SIDES, Side

_ALLOWED = {
    "draw": ("token", "text"),
    "words": ("all", "content"),
    "choice": ("first", "uniform", "score"),
    "casing": ("carry", "lower", "as is"),
}


@dataclass(frozen=True)
class Policy:
    """Everything about what is switched.

    Attributes:
        name: what tables and charts call it.
        query, document: p, the probability that a unit of that side is switched; 0 leaves the side alone.
        languages: target languages of both sides, unless a side has its own in `query_languages`, `document_languages`.
            The source language may be among them: what draws it stays as it is (or takes a synonym, where there is a
            monolingual lexicon).
        weights: language → weight of its draw (1 where not named).
        draw: the language is drawn anew for each `token` (unit), or once per `text`.
        subset: languages that one example may use, drawn for its id: two sides under one id share them; 0 for all.
        sentence: probability that a sentence is touched at all.
        phrase: words that are drawn together, up to a punctuation mark; each is then looked up on its own.
        longest: longest n-gram looked up, in words; the longest match wins, on word boundaries.
        words: switch `all` words, or `content` words only (no stop-words).
        choice: take the `first` translation, or draw among the best `top_k`, `uniform`-ly or in proportion to `score`.
        top_k: translations to choose from; 0 for all.
        keep_source: the source word is one of the choices (synonym substitution of 2104.08645). Of n + 1 choices, one
            is no switch: by so much the realised share stays below p × coverage.
        casing: `carry` the source word's casing over, `lower`-case the new word, or leave it `as is` in the lexicon.
        source: the language of the texts.
        segmenter: name in `cslab.text.SEGMENTERS`, `longest` for the longest match against the lexicons, or `auto`:
            `words` for a language written with spaces, else `longest`.
        faithful: `ml-cs` or `wiki-cs` runs the published algorithm instead (see `cslab.switching.faithful`).
    """

    name: str = "ML-CS"
    query: float = 0.5
    document: float = 0.5
    languages: tuple[str, ...] = SEEN[1:]
    query_languages: tuple[str, ...] | None = None
    document_languages: tuple[str, ...] | None = None
    weights: Mapping[str, float] | tuple[tuple[str, float], ...] = ()
    draw: str = "token"
    subset: int = 0
    sentence: float = 1.0
    phrase: int = 1
    longest: int = 1
    words: str = "all"
    choice: str = "first"
    top_k: int = 1
    keep_source: bool = False
    casing: str = "carry"
    source: str = "en"
    segmenter: str = "auto"
    faithful: str | None = None

    def __post_init__(self) -> None:
        for name in ("languages", "query_languages", "document_languages"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        object.__setattr__(self, "weights", tuple((str(k), float(w)) for k, w in dict(self.weights).items()))
        _check(self)

    def rate(self, side: Side) -> float:
        """p of a side; 0 if the side has no target language but the source."""
        return float(getattr(self, check_side(side))) if self.languages_of(side) else 0.0

    def requested(self, side: Side) -> float:
        """The probability that a unit of a side is switched if it can be: p, times that of its sentence."""
        return self.rate(side) * self.sentence

    def languages_of(self, side: Side) -> tuple[str, ...]:
        """Target languages of a side."""
        own = getattr(self, f"{check_side(side)}_languages")
        return self.languages if own is None else own

    def weights_of(self, side: Side) -> tuple[float, ...]:
        """Weights of a side's languages, in their order."""
        weights = dict(self.weights)
        return tuple(weights.get(code, 1.0) for code in self.languages_of(side))

    def to_dict(self) -> dict[str, Any]:
        """The policy as JSON-like data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()} | {
            "weights": dict(self.weights)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Policy":
        """Reads `to_dict`'s form; missing keys take their defaults.

        Raises:
            CslabError: for an unknown key, or a value that is not allowed.
        """
        known = [field.name for field in fields(cls)]
        if unknown := next((key for key in data if key not in known), None):
            raise CslabError(f"policy {data.get('name', '')!r}: unknown key '{unknown}'; {nearest(unknown, known)}")
        return cls(**data)


def check_side(side: str) -> Side:
    """Returns a valid side.

    Raises:
        CslabError: for any other word.
    """
    if side not in SIDES:
        raise CslabError(f"side '{side}' is not known; {nearest(side, SIDES)}")
    return side


def _check(policy: Policy) -> None:
    where = f"policy '{policy.name}'"
    for name in ("query", "document", "sentence"):
        value = getattr(policy, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise CslabError(f"{where}: {name} is {value!r}; expected a probability from 0 to 1")
    for name, least in (("subset", 0), ("phrase", 1), ("longest", 1), ("top_k", 0)):
        value = getattr(policy, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise CslabError(f"{where}: {name} is {value!r}; expected a whole number from {least}")
    for name, allowed in _ALLOWED.items():
        if getattr(policy, name) not in allowed:
            raise CslabError(
                f"{where}: {name} is {getattr(policy, name)!r}; {nearest(str(getattr(policy, name)), allowed)}"
            )
    if policy.faithful not in (None, "ml-cs", "wiki-cs"):
        raise CslabError(f"{where}: faithful is {policy.faithful!r}; expected null, 'ml-cs' or 'wiki-cs'")
    for code in (policy.source, *policy.languages, *(policy.query_languages or ()), *(policy.document_languages or ())):
        language(code)
    if policy.faithful:
        _check_faithful(policy, where)
    if policy.phrase > 1 and policy.longest > 1:
        raise CslabError(f"{where}: phrase and longest are both above 1; use one of them")
    _check_weights(policy, where)


def _check_faithful(policy: Policy, where: str) -> None:
    # The published algorithms have no such settings; silence about them would mislead.
    free = {"name", "query", "document", "languages", "query_languages", "document_languages", "weights", "source"}
    free |= {"faithful", *(("draw", "longest") if policy.faithful == "wiki-cs" else ())}
    for field in fields(Policy):
        if field.name not in free and getattr(policy, field.name) != field.default:
            raise CslabError(
                f"{where}: {field.name} has no meaning in the faithful mode '{policy.faithful}'; leave it out"
            )
    if policy.faithful == "wiki-cs" and policy.draw != "text":
        raise CslabError(f"{where}: the faithful mode 'wiki-cs' draws one language per text; set draw to 'text'")


def _check_weights(policy: Policy, where: str) -> None:
    used = {code for side in SIDES for code in policy.languages_of(side)}
    for code, weight in policy.weights:
        if code not in used:
            raise CslabError(
                f"{where}: a weight for '{code}', which is no target language; {nearest(code, sorted(used))}"
            )
        if not (math.isfinite(weight) and weight >= 0):
            raise CslabError(f"{where}: the weight of '{code}' is {weight}; expected a number from 0")
    for side in SIDES:
        if len(set(policy.languages_of(side))) < len(policy.languages_of(side)):
            raise CslabError(f"{where}: a {side} language is named twice; give it a weight instead")
        if policy.languages_of(side) and not sum(policy.weights_of(side)):
            raise CslabError(f"{where}: all {side} languages have weight 0; set the side's p to 0 instead")


def bilingual(query_lang: str, doc_lang: str, p: float = 0.5, source: str = "en", **changes: Any) -> Policy:
    """BL-CS (2305.05295): query words into one language, document words into another; the source is left alone."""
    return Policy(
        **{"name": f"BL-CS {query_lang}-{doc_lang}", "source": source}
        | {"query": p if query_lang != source else 0.0, "document": p if doc_lang != source else 0.0}
        | {"languages": tuple(dict.fromkeys(code for code in (query_lang, doc_lang) if code != source))}
        | {"query_languages": (query_lang,) if query_lang != source else ()}
        | {"document_languages": (doc_lang,) if doc_lang != source else ()}
        | changes
    )


def from_source(policy: Policy, source: str) -> Policy:
    """The policy for texts in another language: the two source languages change places wherever it names them.

    >>> [from_source(POLICIES[name], "de").languages for name in ("ML-CS", "RS-DA")]
    [('en', 'ru', 'ar', 'nl', 'it'), ('de',)]
    """
    places = {policy.source: source, source: policy.source}

    def swapped(codes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if codes is None else tuple(places.get(code, code) for code in codes)

    names = ("languages", "query_languages", "document_languages")
    weights = {places.get(code, code): weight for code, weight in policy.weights}
    return replace(policy, source=source, weights=weights, **{name: swapped(getattr(policy, name)) for name in names})


def with_rate(policy: Policy, p: float) -> Policy:
    """The policy with p on every side that it switches."""
    return replace(policy, **{side: p for side in SIDES if getattr(policy, side) > 0})


# The published policies. BL-CS has one row per language pair: `bilingual`.
POLICIES: dict[str, Policy] = {
    policy.name: policy
    for policy in (
        # 2305.05295: with p, a language drawn uniformly for each token.
        Policy("ML-CS"),
        # 2305.05295: titles of one to three words, one language per query and one per document, English among them.
        Policy("Wiki-CS", 1.0, 1.0, languages=SEEN, draw="text", longest=3, words="content"),
        # The two above exactly as published: see `cslab.switching.faithful` for what differs.
        Policy("ML-CS faithful", faithful="ml-cs"),
        Policy("Wiki-CS faithful", 1.0, 1.0, languages=SEEN, draw="text", longest=3, faithful="wiki-cs"),
        # One language per query and one per document, words drawn as in ML-CS.
        Policy("per text", draw="text"),
        # 2104.08645 (RS-DA): each word with synonyms takes one of {itself} and them; needs an en → en lexicon.
        Policy("RS-DA", 1.0, 1.0, languages=("en",), choice="uniform", top_k=0, keep_source=True),
        # 2006.06402 (CoSDA-ML) and 2006.02635 (M3P): sentences, then their tokens; any translation.
        Policy("CoSDA-ML", 0.8, 0.8, sentence=0.8, choice="uniform", top_k=0),
        Policy("M3P", 0.8, 0.8, sentence=0.8),
        # NaiveMix of ContrastiveMix (2024.naacl-short.17).
        Policy("NaiveMix", 0.5, 0.5, sentence=0.2),
        # 2103.09593 (CAT): two languages per example; phrases of up to four words.
        Policy("CAT", 0.15, 0.15, subset=2, sentence=0.33, phrase=4),
    )
}


def policy_named(name: str, source: str = "en") -> Policy:
    """A published policy by name, or `BL-CS en-de` for any language pair.

    Args:
        name: of the policy.
        source: language of the texts.

    Raises:
        CslabError: for a name that is not known.
    """
    if name.startswith("BL-CS ") and "-" in name[6:]:
        return bilingual(*name.removeprefix("BL-CS ").split("-", 1), source=source)
    if name not in POLICIES:
        raise CslabError(f"policy '{name}' is not known; {nearest(name, [*POLICIES, 'BL-CS en-de'])}")
    return POLICIES[name] if source == POLICIES[name].source else from_source(POLICIES[name], source)
