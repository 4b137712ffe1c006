"""Robustness of an experiment's rankers: attacks on them, what is left, and transfer between them.

Reads a lab's models, tasks and lexicons, and the settings `attack` of its profile; writes stages under
`outputs/<profile>/attacks/` (`scores.parquet`, `noise.parquet`, and the changed texts of each ranker as
`<system>.jsonl`), found again like any stage while models and settings stay.

    made = attacks(lab)                           # as the profile says; or attacks(lab, AttackSettings(words=2))
    made.scores                                   # quality by budget: attacked system × system that reads the text
    made.found["ml-cs-s1"].steps["q17"]           # the query, worse with every word
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    success,
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
from cslab.systems import PLAIN, System

if TYPE_CHECKING:
    from cslab.stages import Lab

# (lexicons of words, language of the queries) → edits
METHODS: dict[str, Callable[[Mapping[str, Lexicon], str], Edits]] = {
    "words": word_edits,
    "phrases": phrase_edits,
    "synonyms": lambda lexicons, source: synonym_edits(synonyms(lexicons)),
    "typos": lambda lexicons, source: typo_edits(source),
    "transliteration": lambda lexicons, source: transliteration_edits(source),
}
BY_LEXICON = ("words", "phrases", "synonyms")


@dataclass(frozen=True)
class Attacks:
    """Attacks on the rankers of a lab.

    Attributes:
        task: the queries that were attacked, and what they were asked of.
        found: ranker (its slug) → the attack on it.
        scores: `attack_scores` of every system on the texts found on every other (`attacked`), seed by seed.
        noise: `noise_scores` of every system.
        plain: system trained by a robust method → the same without, where there is one.
    """

    task: Task
    found: Mapping[str, Attack]
    scores: pd.DataFrame
    noise: pd.DataFrame
    plain: Mapping[str, str]


def attacks(lab: "Lab", settings: AttackSettings | None = None) -> Attacks:
    """Attacks every ranker of a lab on one language pair, and reads each one's texts to the others of its seed.

    Args:
        lab: the experiment.
        settings: how (default: as the profile of the lab says).

    Raises:
        CslabError: for a pair that no ranker serves, or a method that the language of the queries does not allow.
    """
    chosen = settings_for(lab.profile, settings or lab.profile.attack)
    source = split_pair(chosen.pair)[0]
    rankers, by_lexicon = _rankers(lab, chosen.pair), chosen.method in BY_LEXICON
    # Edits by letters say before anything is trained that there are none for a language.
    edits = None if by_lexicon else METHODS[chosen.method]({}, source)
    lab.train_all(rankers)

    def build(folder: Path) -> dict[str, Any]:
        known = edits or METHODS[chosen.method](lab.lexicons(), source)
        models = {system: str(lab.train(system).path / "model") for system in rankers}
        evaluation = lab.profile.evaluation
        made = _Making(sampled(lab, chosen), known, chosen, models, evaluation.max_length, evaluation.measures, folder)
        return made.all()

    evaluation = lab.profile.evaluation.model_dump(include={"protocol", "depth", "max_length", "measures"})
    config = chosen.model_dump() | {"systems": [s.name for s in rankers], "evaluation": evaluation}
    inputs = (lab._test, *map(lab._model, rankers), *(lab._lexicons() if by_lexicon else ()))
    rooms = ("evaluation/attacks", "evaluation/edits", "evaluation/noise", "ranking", "lexicon", "robustness")
    stage = Recipe(lab.folder / "attacks" / f"{chosen.pair}-{chosen.method}", config, build, inputs, rooms).make()
    found = {system.slug: read_attack(stage.path / f"{system.slug}.jsonl") for system in rankers}
    tables = [pd.read_parquet(stage.path / f"{name}.parquet") for name in ("scores", "noise")]
    return Attacks(sampled(lab, chosen), found, *tables, _plain(rankers))


def settings_for(profile: Profile, settings: AttackSettings) -> AttackSettings:
    """The settings with pair and method filled in where they are open; see `AttackSettings`.

    Raises:
        CslabError: for an unknown method, an attack by lexicon on queries that are not in English, or on a pool.
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
    return settings.model_copy(update={"pair": pair, "method": method})


def _rankers(lab: "Lab", pair: str) -> list[System]:
    """The systems that serve a pair; those that differ from another at test time alone are no rankers of their own."""
    systems = list(lab.systems())
    found = [s for s in systems if s.pair in (None, pair) and s.ranker == s]
    if not found:
        served = ", ".join(dict.fromkeys(s.pair for s in systems if s.pair))
        raise CslabError(f"attack on {pair}: no ranker serves this pair; set attack.pair to one of {served}")
    return found


def _plain(systems: Sequence[System]) -> dict[str, str]:
    names = {system.name for system in systems}
    twins = {s.name: replace(s, robust=PLAIN).name for s in systems if s.robust != PLAIN}
    return {name: twin for name, twin in twins.items() if twin in names}


def sampled(lab: "Lab", settings: AttackSettings) -> Task:
    """The task of a lab that is attacked: a pair, and a seeded sample of its queries."""
    task = lab.task(settings.pair)
    kept = set(sample_queries(lab.collection(), settings.queries, lab.profile.collection.seed))
    return replace(task, queries={q: text for q, text in task.queries.items() if q in kept})


@dataclass(frozen=True)
class _Making:
    """The stage of attacks: one model in memory at a time, each attack kept as soon as it is found."""

    task: Task
    edits: Edits
    settings: AttackSettings
    models: Mapping[System, str]
    max_length: int
    measures: Sequence[str]
    folder: Path

    def all(self) -> dict[str, Any]:
        """Attacks all, reads all to all; gives the summary."""
        for system in self.models:
            self.attacked(system)
        scores = pd.concat([part for system in self.models for part in self.read(system)], ignore_index=True)
        noise = pd.concat([self.moved(system) for system in self.models], ignore_index=True)
        for name, table in (("scores", scores), ("noise", noise)):
            with atomic_path(self.folder / f"{name}.parquet") as temporary:
                table.to_parquet(temporary, index=False)
        table = curve(scores, self.measures[0])
        own, left = table[table["system"] == table["attacked"]], {}
        for row in own.itertuples():
            left.setdefault(row.system, {})[str(row.budget)] = round(row.value, 2)
        return {"measure": self.measures[0], "queries": len(self.task.queries), "by words changed": left}

    def kept(self, system: System) -> Attack:
        """The attack on a ranker, from its file."""
        return read_attack(self.folder / f"{system.slug}.jsonl")

    def rank(self, system: System) -> Ranker:
        """A ranker, read from disk when it is called."""
        from cslab.ranking.cross_encoder import load_encoder

        return lambda pairs: ranking_by(load_encoder(self.models[system]), self.max_length)(pairs)

    def attacked(self, system: System) -> None:
        """Attacks a ranker, unless an interrupted run has done so."""
        path, s = self.folder / f"{system.slug}.jsonl", self.settings
        if not path.is_file():
            budget, rank = Budget(s.words, places=s.places), self.rank(system)
            found = attack(rank, self.task, self.edits, budget, system.name, s.method, s.depth, print)
            write_attack(found, path)

    def read(self, system: System) -> list[pd.DataFrame]:
        """What a ranker makes of the texts that were found on those of its seed."""
        own, rank = self.kept(system), self.rank(system)
        others = [self.kept(other) for other in self.models if other != system and other.seed == system.seed]
        found = [own, *(replay(other, rank, self.task, system.name, own) for other in others)]
        return [attack_scores(one, self.task.qrels, system.seed, self.measures) for one in found]

    def moved(self, system: System) -> pd.DataFrame:
        """What a ranker makes of moved embeddings."""
        from cslab.evaluation.noise import noise_scores
        from cslab.ranking.cross_encoder import load_encoder

        options = {"depth": self.settings.depth, "max_length": self.max_length, "measures": self.measures}
        found = noise_scores(load_encoder(self.models[system]), self.task, system=system.name, **options)
        return found.assign(seed=system.seed)


def words_text(count: int) -> str:
    """A number of words in words.

    >>> words_text(1), words_text(2)
    ('1 word', '2 words')
    """
    return "1 word" if count == 1 else f"{count} words"


def robust_table(made: Attacks, measure: str) -> pd.DataFrame:
    """What each system loses under its own attack, seeds averaged.

    Returns:
        A row per system; a column of the measure × 100 for each number of words changed, `lost` between the first and
        the last, `answers lost`: the share, in %, of right answers that are right no more. Where there are systems
        trained by a robust method: `clean gain`, what they gain on the text as it is over the same system without
        it, and `loss ratio`, what they lose over what that loses.
    """
    table = curve(made.scores, measure)
    own = table[table["system"] == table["attacked"]]
    wide = own.pivot(index="system", columns="budget", values="value").loc[list(dict.fromkeys(own["system"]))]
    fallen = pd.DataFrame({slug: success(found) for slug, found in made.found.items()}).T
    names = [found.system for found in made.found.values()]
    first, last = wide.columns.min(), wide.columns.max()
    wide = wide.assign(lost=wide[first] - wide[last])
    wide = wide.assign(**{"answers lost": 100 * fallen.groupby(names, sort=False).mean()[last]})
    twin = wide.reindex([made.plain.get(name) for name in wide.index]).set_index(wide.index)
    if made.plain:
        ratio = (wide["lost"] / twin["lost"]).where(twin["lost"] > 0)
        wide = wide.assign(**{"clean gain": wide[first] - twin[first], "loss ratio": ratio})
    words = {n: words_text(n) for n in own["budget"].unique()}
    return wide.rename(columns=words).rename_axis(columns=None)
