"""Systems, the rows of every table, and ablations: variations of a profile whose systems stand beside them.

A system is a ranker (a training condition, an encoder with or without extended vocabulary, a pair, a seed) and what is
done to text before it is asked. Ablations are data too: a function of a profile that gives labelled variations of it.

    [s.slug for s in systems_of(load_profile("demo"))]      # ["zero-shot-s1", "bl-cs-en-ru-s1", …]
    variations(load_profile("atlas-full"), "p")["p=0.25"].probability
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cslab.choices import EncoderChoice
from cslab.config import LexiconSource, Profile
from cslab.languages import is_pool, pool_of
from cslab.languages import pair as split_pair
from cslab.store import CslabError, nearest
from cslab.training.conditions import BY_QUERY, CONDITIONS, Condition

PLAIN = "none"
WORDS = "words"
TITLES = "titles"
INVERSE = "inverse"  # words of each language into English, for Translate-Test
FIRST_STAGE = "BM25"
AS_IT_IS = ", as it is"  # how the name of an untouched encoder ends
RRF = " (rrf)"  # how what is fused by reciprocal ranks ends


@dataclass(frozen=True)
class System:
    """One row: a condition, the encoder with or without extended vocabulary, the pair it is for, a seed.

    `robust` is a method of `cslab.training.robust`, or "none" for the plain step.
    """

    condition: Condition
    extended: bool
    pair: str | None
    seed: int
    robust: str = PLAIN

    @property
    def name(self) -> str:
        """Name in tables; seeds and pairs of one condition share it."""
        return self.condition.name + self.variant

    @property
    def variant(self) -> str:
        """What follows the condition in its name."""
        return (f"+{self.robust}" if self.robust != PLAIN else "") + ("+vocab" if self.extended else "")

    @property
    def slug(self) -> str:
        """Name of its folders."""
        return "-".join(filter(None, (_folder(self.name), self.pair, f"s{self.seed}")))

    @property
    def ranker(self) -> "System":
        """The system whose model it asks: itself, unless it differs from another at test time alone."""
        return replace(self, condition=self.condition.training)


@dataclass(frozen=True)
class Untouched:
    """A row without training: an encoder of somebody else's, as it is."""

    encoder: EncoderChoice
    pair: None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """Name in tables; of a folder the last part."""
        text = self.encoder.text
        return (Path(text).name if Path(text).is_dir() else text) + AS_IT_IS

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return _folder(self.name)


@dataclass(frozen=True)
class Fused:
    """A row that adds up the scores of another and of the first stage, by weights or (`rrf`) by reciprocal ranks."""

    row: System | Untouched
    rrf: bool = False

    @property
    def pair(self) -> str | None:
        """The pair that its ranker is for."""
        return self.row.pair

    @property
    def seed(self) -> int:
        """That of its ranker."""
        return self.row.seed

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.row.name}, with {FIRST_STAGE}" + (RRF if self.rrf else "")

    @property
    def slug(self) -> str:
        """Name of its folder."""
        return f"{self.row.slug}-with-{FIRST_STAGE.lower()}" + ("-rrf" if self.rrf else "")


Row = System | Untouched | Fused


def _folder(name: str) -> str:
    """A name as that of a folder.

    >>> _folder("ML-CS + teacher+fgm"), _folder("a/reranker, as it is")
    ('ml-cs+teacher+fgm', 'a-reranker-as-it-is')
    """
    for old, new in ((" + ", "+"), (", ", "-"), (" ", "-"), ("/", "-")):
        name = name.replace(old, new)
    return name.lower()


def rows_of(profile: Profile, systems: Iterable[System]) -> Iterator[Row]:
    """The rows of a profile's tables: untouched encoders, then systems; each followed by what is fused with it.

    Raises:
        CslabError: for a row to be fused that is not there, two rows of one name, or no questions to choose weights on.
    """
    untouched = [Untouched(choice) for choice in profile.untouched]
    names = [row.name for row in untouched]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CslabError(f"profile {profile.name}: two untouched encoders are called '{twice}'; rename a folder")
    for row in (*untouched, *systems):
        yield row
        called = row.condition.name if isinstance(row, System) else row.encoder.text
        yield from (Fused(row, rrf) for rrf in (False, True) if called + RRF * rrf in profile.fuse)


def _check_fused(profile: Profile) -> None:
    """Makes sure that what is to be fused is there, and that a weight can be chosen."""
    known = [*profile.conditions, *(choice.text for choice in profile.untouched)]
    for name in profile.fuse:
        if name.removesuffix(RRF) not in known:
            raise CslabError(f"profile {profile.name}: fuse names '{name}'; {nearest(name.removesuffix(RRF), known)}")
    if any(not name.endswith(RRF) for name in profile.fuse) and not profile.training.dev_queries:
        raise CslabError(
            f"profile {profile.name}: the weight of {FIRST_STAGE} is chosen on held-out questions and there are none; "
            f"set training.dev_queries, e.g. to 150, or fuse '{profile.fuse[0].removesuffix(RRF)}{RRF}'"
        )


def systems_of(profile: Profile) -> Iterator[System]:
    """Every system of a profile, in the order of its conditions.

    Raises:
        CslabError: for an unknown condition or robust method, one that switches titles where the profile names none,
            or one with a teacher where there is none.
    """
    _check_cells(profile)
    _check_fused(profile)
    for name in profile.conditions:
        if name not in CONDITIONS:
            known = nearest(name, list(CONDITIONS))
            raise CslabError(f"profile {profile.name}: condition '{name}' is not known; {known}")
        condition = CONDITIONS[name]
        if condition.lexicon == TITLES and profile.lexicon.titles is None:
            raise CslabError(
                f"profile {profile.name}: {name} switches titles and there are none; set lexicon.titles, e.g. "
                "lexicon.titles={source: titles, folder: wikititles}"
            )
        if condition.taught:
            _check_taught(profile, name)
        for extended in profile.encoder.extend:
            for pair in profile.pair_conditions if condition.per_pair else [None]:
                for robust in profile.cells.get(name, profile.robust):
                    for seed in profile.training.seeds:
                        yield System(condition, extended, pair, seed, robust)


def _check_taught(profile: Profile, name: str) -> None:
    """Makes sure that a condition has its teacher, and batches of whole groups; losses of teachers compare these."""
    training, group = profile.training, 1 + profile.training.negatives
    if training.teacher is None:
        raise CslabError(
            f"profile {profile.name}: {name} has no teacher; name one, e.g. training.teacher={{models: [me5]}}"
        )
    if training.batch % group:
        fit = max(1, round(training.batch / group)) * group
        raise CslabError(
            f"profile {profile.name}: {name} learns whole groups of {group} pairs, batches have {training.batch}; set "
            f"training.batch={fit}"
        )


def _check_cells(profile: Profile) -> None:
    """Makes sure that the cells of conditions and robust methods exist."""
    named = list(dict.fromkeys([*profile.robust, *(one for methods in profile.cells.values() for one in methods)]))
    for name in named if named != [PLAIN] else ():
        from cslab.training.robust import parse

        parse(name, {})
    for name, methods in profile.cells.items():
        if name not in profile.conditions:
            known = nearest(name, profile.conditions)
            raise CslabError(f"profile {profile.name}: cells name '{name}', no condition of the profile; {known}")
        if not methods:
            raise CslabError(f"profile {profile.name}: cells name no method for {name}; give [none], or leave it out")


def pairs_of(profile: Profile, row: Row) -> list[str]:
    """The pairs a row is scored on: all, those it can be asked in, or the one it was trained for."""
    if isinstance(row, Fused):
        return pairs_of(profile, row.row)
    if row.pair:
        return [row.pair]
    pairs, test_text = profile.evaluation.pairs, row.condition.test_text if isinstance(row, System) else "as is"
    if test_text == "as is":
        return list(pairs)
    readable = {"en", *(profile.lexicon.inverse or profile.collection.languages)}
    by_query = test_text == BY_QUERY
    kept = (p for p in pairs if not (by_query and is_pool(split_pair(p)[0])))
    return [p for p in kept if set(_languages_of(profile, p)) <= readable]


def asked_in(profile: Profile, system: System) -> list[str]:
    """The languages, beside English, of the texts that a system is asked about."""
    codes = (code for pair in pairs_of(profile, system) for code in _languages_of(profile, pair))
    return [code for code in dict.fromkeys(codes) if code != "en"]


def _languages_of(profile: Profile, pair: str) -> list[str]:
    listed = profile.collection.languages
    return [c for code in split_pair(pair) for c in (pool_of(code, listed) if is_pool(code) else [code])]


# --- ablations -----------------------------------------------------------------------------------------------

RATES = (0.25, 0.5, 0.75, 1.0)  # the grid of 2305.05295
SWITCHED = "ML-CS"
# What the lexicon can do with no training text switched, with it, and with test text in English words.
PLACES = ["Zero-shot", SWITCHED, "Zero-shot Translate-Test", "ML-CS Translate-Test"]


def _rates(profile: Profile) -> dict[str, Profile]:
    return {f"p={p:g}": profile.model_copy(update={"probability": p}) for p in RATES}


def _with_source(profile: Profile, source: LexiconSource) -> Profile:
    """The profile with another source of words; `further` sources do not count then."""
    changed = profile.lexicon.model_copy(update=source.model_dump() | {"further": []})
    return profile.model_copy(update={"lexicon": changed})


def _lexicons(profile: Profile) -> dict[str, Profile]:
    if not profile.lexicon.alternatives:
        raise CslabError(
            f"profile {profile.name}: the ablation over lexicons has nothing to compare; set lexicon.alternatives, "
            "e.g. {titles: {source: titles, folder: wikititles}}"
        )
    return _places(profile)


def _places(profile: Profile) -> dict[str, Profile]:
    """The profile with its own lexicon, and with each of the alternatives."""
    others = profile.lexicon.alternatives.items()
    return {"lexicon=own": profile} | {f"lexicon={name}": _with_source(profile, source) for name, source in others}


def _languages(profile: Profile) -> dict[str, Profile]:
    """One, two, … of the profile's languages, in their order."""
    whole = profile.lexicon.languages

    def first(count: int) -> Profile:
        return profile.model_copy(update={"lexicon": profile.lexicon.model_copy(update={"languages": whole[:count]})})

    counts = dict.fromkeys((1, 2, max(1, len(whole) // 2), len(whole)))
    return {f"languages={count}": first(count) for count in sorted(counts) if count <= len(whole)}


def _stopwords(profile: Profile) -> dict[str, Profile]:
    return {f"words={words}": profile.model_copy(update={"words": words}) for words in ("all", "content")}


def _first_stages(profile: Profile) -> dict[str, Profile]:
    chosen = profile.evaluation
    return {
        f"candidates={protocol}": profile.model_copy(
            update={"evaluation": chosen.model_copy(update={"protocol": protocol})}
        )
        for protocol in ("english", "own")
    }


@dataclass(frozen=True)
class Ablation:
    """A question, the variations of a profile that answer it, and the conditions compared (empty: the profile's)."""

    question: str
    variations: Callable[[Profile], dict[str, Profile]]
    conditions: tuple[str, ...] = (SWITCHED,)


ABLATIONS: dict[str, Ablation] = {
    "p": Ablation("How much should be switched?", _rates),
    "lexicon": Ablation("Where should translations come from?", _lexicons),
    "languages": Ablation("Into how many languages?", _languages),
    "stop-words": Ablation("Should stop-words be switched?", _stopwords),
    "first stage": Ablation("English candidates, or those of the documents' language?", _first_stages, ()),
    "place": Ablation(
        "Where should the lexicon enter: nowhere, embeddings, training text, test text?", _places, tuple(PLACES)
    ),
}


def variations(profile: Profile, name: str) -> dict[str, Profile]:
    """The variations of a profile that an ablation compares, by label.

    Raises:
        CslabError: for an unknown ablation, or a profile that lacks what it needs.
    """
    if name not in ABLATIONS:
        raise CslabError(f"profile {profile.name}: ablation '{name}' is not known; {nearest(name, list(ABLATIONS))}")
    ablation = ABLATIONS[name]
    conditions = list(ablation.conditions) or [c for c in profile.conditions if not CONDITIONS[c].per_pair]
    cells = {name: methods for name, methods in profile.cells.items() if name in conditions}
    alone = {"conditions": conditions, "cells": cells, "untouched": [], "fuse": [], "ablations": [], "tests": {}}
    return {label: varied.model_copy(update=alone) for label, varied in ablation.variations(profile).items()}
