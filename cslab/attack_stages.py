"""The stages of attacks, two for each ranker: what is found on it, and what it makes of texts found on the others.

Each is made for itself, so that rankers are attacked side by side, and one that is added costs its own attack and the
transfers. Written under `outputs/<profile>/`: `attacks/<pair>-<method>-<system>/` with `attack.jsonl` (the changed
texts), `scores.parquet` and `noise.parquet`, and `transfers/<pair>-<method>-<system>/` with `scores.parquet`.

    chosen = settings_for(lab.profile, lab.profile.attack)
    attack_recipe(lab, system, chosen).make().path / "attack.jsonl"
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.config import AttackSettings, Profile
from cslab.evaluation.attacks import (
    Attack,
    Budget,
    Ranker,
    attack,
    attack_scores,
    curve,
    ranking_by,
    read_attack,
    replay,
    write_attack,
)
from cslab.evaluation.edits import Edits, phrase_edits, synonym_edits, transliteration_edits, typo_edits, word_edits
from cslab.evaluation.settings import Task, sample_queries
from cslab.languages import is_pool, language
from cslab.languages import pair as split_pair
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.synonyms import synonyms
from cslab.recipe import Recipe
from cslab.store import CslabError, atomic_path, nearest
from cslab.systems import TITLES, WORDS, System

if TYPE_CHECKING:
    from cslab.ranking.cross_encoder import Encoder
    from cslab.stages import Lab

# Target language → its lexicons, those of words first.
Held = Mapping[str, Sequence[Lexicon]]


def _words(held: Held) -> dict[str, Lexicon]:
    return {code: found[0] for code, found in held.items()}


# (lexicons, language of the queries) → edits
METHODS: dict[str, Callable[[Held, str], Edits]] = {
    "words": lambda held, source: word_edits(_words(held), source),
    "phrases": phrase_edits,
    "synonyms": lambda held, source: synonym_edits(synonyms(_words(held))),
    "typos": lambda held, source: typo_edits(source),
    "transliteration": lambda held, source: transliteration_edits(source),
}
# The kinds of lexicons that a method reads; `phrases` reads titles where the profile names some.
BY_LEXICON = {"words": (WORDS,), "phrases": (WORDS, TITLES), "synonyms": (WORDS,)}


# --- what is attacked ----------------------------------------------------------------------------------------


def settings_for(profile: Profile, settings: AttackSettings) -> AttackSettings:
    """The settings with pair and method filled in where they are open; see `AttackSettings`.

    Raises:
        CslabError: for an unknown method, a method that the language of the queries does not allow, or a pool.
    """
    if settings.method not in ("", *METHODS):
        raise CslabError(f"attack.method '{settings.method}' is not known; {nearest(settings.method, list(METHODS))}")
    single = [p for p in profile.evaluation.pairs if not any(map(is_pool, split_pair(p)))]
    single = single or [f"{code}-{code}" for code in profile.collection.languages]
    english = [p for p in single if split_pair(p)[0] == "en"]
    by_letters = settings.method not in ("", *BY_LEXICON)
    pair = settings.pair or (single if by_letters or not english else english)[0]
    source = split_pair(pair)[0]
    method = settings.method or ("words" if source == "en" else "typos")
    if is_pool(source):
        raise CslabError(f"attack on {pair}: queries in one language are wanted; set attack.pair, e.g. {single[0]}")
    if method in BY_LEXICON and source != "en":
        raise CslabError(
            f"attack '{method}' on {pair}: the lexicons translate from English; attack a pair with English queries, or "
            "use typos or transliteration"
        )
    language(source)
    if method not in BY_LEXICON:
        METHODS[method]({}, source)  # a script without a table is told before anything is trained
    return settings.model_copy(update={"pair": pair, "method": method})


def attacked_systems(lab: "Lab", pair: str) -> list[System]:
    """The systems that serve a pair; those that differ from another at test time alone are no rankers of their own."""
    return [s for s in lab.systems() if s.pair in (None, pair) and s.ranker == s]


def sampled(lab: "Lab", settings: AttackSettings) -> Task:
    """The task of a lab that is attacked: a pair, and a seeded sample of its queries."""
    task = lab.task(settings.pair)
    kept = set(sample_queries(lab.collection(), settings.queries, lab.profile.collection.seed))
    return replace(task, queries={q: text for q, text in task.queries.items() if q in kept})


# --- the stages ----------------------------------------------------------------------------------------------


def attack_recipe(lab: "Lab", system: System, settings: AttackSettings) -> Recipe:
    """The attack on a ranker, and what is left of it when its embeddings move."""
    kinds = [k for k in BY_LEXICON.get(settings.method, ()) if k != TITLES or lab.profile.lexicon.titles is not None]

    def build(folder: Path) -> dict[str, Any]:
        found = [lab.lexicons(kind) for kind in kinds]
        held = {code: [one[code] for one in found] for code in (found[0] if found else ())}
        edits = METHODS[settings.method](held, split_pair(settings.pair)[0])
        return _attacked(lab, system, settings, edits, folder)

    config = settings.model_dump() | {"system": system.name, "evaluation": _evaluation(lab)}
    inputs = (lab._test, lab._model(system), *(recipe for kind in kinds for recipe in lab._lexicons(kind)))
    return Recipe(_place(lab, "attacks", system, settings), config, build, inputs)


def transfer_recipe(lab: "Lab", system: System, settings: AttackSettings) -> Recipe:
    """What a ranker makes of the texts that were found on the others of its seed."""
    others = others_of(lab, system, settings)

    def build(folder: Path) -> dict[str, Any]:
        task, own = sampled(lab, settings), found_on(lab, system, settings)
        measures = lab.profile.evaluation.measures
        rank = _ranker(_opener(lab, system), lab.profile)
        read = (replay(found_on(lab, other, settings), rank, task, system.name, own) for other in others)
        parts = [attack_scores(one, task.qrels, system.seed, measures) for one in read]
        return _kept(pd.concat(parts, ignore_index=True), folder / "scores.parquet", measures[0])

    config = settings.model_dump() | {"system": system.name, "evaluation": _evaluation(lab)}
    found = [attack_recipe(lab, one, settings) for one in (system, *others)]
    inputs = (lab._test, lab._model(system), *found)
    return Recipe(_place(lab, "transfers", system, settings), config, build, inputs)


def attack_recipes(lab: "Lab") -> list[Recipe]:
    """The stages of the attack that a lab's profile names, in order; none where no ranker serves its pair."""
    settings = settings_for(lab.profile, lab.profile.attack)
    systems = attacked_systems(lab, settings.pair)
    read = [system for system in systems if others_of(lab, system, settings)]
    found = [attack_recipe(lab, system, settings) for system in systems]
    return found + [transfer_recipe(lab, system, settings) for system in read]


def others_of(lab: "Lab", system: System, settings: AttackSettings) -> list[System]:
    """The other rankers of a ranker's seed."""
    return [one for one in attacked_systems(lab, settings.pair) if one != system and one.seed == system.seed]


def found_on(lab: "Lab", system: System, settings: AttackSettings) -> Attack:
    """The attack on a ranker, from its stage."""
    return read_attack(attack_recipe(lab, system, settings).make().path / "attack.jsonl")


def _place(lab: "Lab", kind: str, system: System, settings: AttackSettings) -> Path:
    return lab.folder / kind / f"{settings.pair}-{settings.method}-{system.slug}"


def _evaluation(lab: "Lab") -> dict[str, Any]:
    chosen = lab.profile.evaluation.model_dump(include={"protocol", "depth", "max_length", "measures"})
    return chosen | {"precision": lab.profile.training.precision}


def _attacked(lab: "Lab", system: System, settings: AttackSettings, edits: Edits, folder: Path) -> dict[str, Any]:
    """The stage of an attack; one that was interrupted after the texts were found keeps them."""
    from cslab.evaluation.noise import noise_scores

    path, task, encoder = folder / "attack.jsonl", sampled(lab, settings), _opener(lab, system)
    length, measures = lab.profile.evaluation.max_length, lab.profile.evaluation.measures
    if not path.is_file():
        budget = Budget(**settings.model_dump(include={"words", "rankings", "beam", "places", "goal"}))
        rank = _ranker(encoder, lab.profile)
        write_attack(attack(rank, task, edits, budget, system.name, settings.method, settings.depth, print), path)
    found = read_attack(path)
    options = {"depth": settings.depth, "max_length": length, "measures": measures}
    options["precision"] = lab.profile.training.precision
    moved = noise_scores(encoder(), task, settings.radii, system=system.name, **options)
    _kept(moved.assign(seed=system.seed), folder / "noise.parquet", measures[0])
    scores = attack_scores(found, task.qrels, system.seed, measures)
    return _kept(scores, folder / "scores.parquet", measures[0])


def _opener(lab: "Lab", system: System) -> "Callable[[], Encoder]":
    """A function that reads a ranker from disk when it is first asked for it."""
    from cslab.ranking.cross_encoder import load_encoder

    return cache(lambda: load_encoder(str(lab.train(system).path / "model")))


def _ranker(encoder: "Callable[[], Encoder]", profile: Profile) -> Ranker:
    settings = profile.evaluation.max_length, profile.training.precision
    return lambda pairs: ranking_by(encoder(), *settings)(pairs)


def _kept(table: pd.DataFrame, path: Path, measure: str) -> dict[str, Any]:
    """Writes a table of `attack_scores` and gives its means for a summary."""
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)
    left: dict[str, dict[str, float]] = {}
    for row in curve(table, measure).itertuples():
        left.setdefault(row.attacked, {})[str(row.budget)] = round(row.value, 2)
    return {"measure": measure, "queries": int(table["qid"].nunique()), "by budget": left}
