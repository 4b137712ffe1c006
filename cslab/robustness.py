"""Robustness of an experiment's rankers: attacks on them, what is left, and transfer between them.

Reads a lab's models, tasks and lexicons, and the settings `attack` of its profile; makes the stages of
`attack_stages.py`, rankers side by side.

    made = attacks(lab)                           # as the profile says; or attacks(lab, AttackSettings(words=2))
    made.scores                                   # quality by budget: attacked system × system that reads the text
    made.found["ml-cs-s1"].steps["q17"]           # the query, worse with every word
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from cslab.attack_stages import (
    attack_recipe,
    attacked_systems,
    found_on,
    others_of,
    sampled,
    settings_for,
    transfer_recipe,
)
from cslab.config import AttackSettings
from cslab.evaluation.attacks import Attack, curve, success
from cslab.evaluation.settings import Task
from cslab.jobs import make_all
from cslab.store import CslabError
from cslab.systems import PLAIN, System

if TYPE_CHECKING:
    from cslab.stages import Lab


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

    @property
    def own(self) -> pd.DataFrame:
        """The scores of every system on the texts found on itself."""
        return self.scores[self.scores["system"] == self.scores["attacked"]]


def attacks(lab: "Lab", settings: AttackSettings | None = None) -> Attacks:
    """Attacks every ranker of a lab on one language pair, and reads each one's texts to the others of its seed.

    Rankers are trained and attacked as many at a time as the profile's `jobs`; what is made already is kept.

    Args:
        lab: the experiment.
        settings: how (default: as the profile of the lab says).

    Raises:
        CslabError: for a pair that no ranker serves, or a method that the language of the queries does not allow.
    """
    chosen = settings_for(lab.profile, settings or lab.profile.attack)
    rankers = attacked_systems(lab, chosen.pair)
    if not rankers:
        served = ", ".join(dict.fromkeys(s.pair for s in lab.systems() if s.pair))
        raise CslabError(f"attack on {chosen.pair}: no ranker serves this pair; set attack.pair to one of {served}")
    lab.train_all(rankers)
    readers = [system for system in rankers if others_of(lab, system, chosen)]
    for make, systems in ((attack_recipe, rankers), (transfer_recipe, readers)):
        make_all([(lab, system) for system in systems], partial(make, settings=chosen), lab.profile.jobs)
    own = {system: attack_recipe(lab, system, chosen).make().path for system in rankers}
    read = {system: transfer_recipe(lab, system, chosen).make().path for system in readers}
    folders = [held[system] for system in rankers for held in (own, read) if system in held]
    scores = pd.concat([pd.read_parquet(path / "scores.parquet") for path in folders], ignore_index=True)
    noise = pd.concat([pd.read_parquet(path / "noise.parquet") for path in own.values()], ignore_index=True)
    found = {system.slug: found_on(lab, system, chosen) for system in rankers}
    return Attacks(sampled(lab, chosen), found, scores, noise, plain_twins(rankers))


def plain_twins(systems: Sequence[System]) -> dict[str, str]:
    """System trained by a robust method → the same without, where it is among the systems."""
    names = {system.name for system in systems}
    twins = {s.name: replace(s, robust=PLAIN).name for s in systems if s.robust != PLAIN}
    return {name: twin for name, twin in twins.items() if twin in names}


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
        the last, `answers lost`: the share, in %, of right answers that are right no more, and `model queries`: spent
        on a query until its worst text was found. Where there are systems trained by a robust method: `clean gain`,
        what they gain on the text as it is over the same system without it, and `loss ratio`, what they lose over
        what that loses.
    """
    own = curve(made.own, measure)
    wide = own.pivot(index="system", columns="budget", values="value").loc[list(dict.fromkeys(own["system"]))]
    fallen = pd.DataFrame({slug: success(found) for slug, found in made.found.items()}).T
    names = [found.system for found in made.found.values()]
    first, last = wide.columns.min(), wide.columns.max()
    wide = wide.assign(lost=wide[first] - wide[last])
    wide = wide.assign(**{"answers lost": 100 * fallen.groupby(names, sort=False).mean()[last]})
    asked = made.own[made.own["budget"] == last]
    wide = wide.assign(**{"model queries": asked.groupby("system")["rankings"].mean()})
    twin = wide.reindex([made.plain.get(name) for name in wide.index]).set_index(wide.index)
    if made.plain:
        ratio = (wide["lost"] / twin["lost"]).where(twin["lost"] > 0)
        wide = wide.assign(**{"clean gain": wide[first] - twin[first], "loss ratio": ratio})
    words = {n: words_text(n) for n in own["budget"].unique()}
    return wide.rename(columns=words).rename_axis(columns=None)


def by_model_queries(made: Attacks, measure: str, counts: Sequence[int] = (0, 5, 10, 20, 40)) -> pd.DataFrame:
    """What is left of each system under its own attack, by how often the attack may ask it about a query.

    An attack that is cut short leaves the worst text of the rounds that it had finished.

    Returns:
        A row per system, a column of the measure × 100 for each count.
    """
    rows = made.own[made.own["measure"] == measure]
    found = {}
    for count in counts:
        # The texts of a query get worse with the budget, and what they took grows with it.
        within = rows[(rows["rankings"] <= count) | (rows["budget"] == 0)].sort_values("budget", kind="stable")
        last = within.groupby(["system", "seed", "qid"], sort=False).last()
        found[count] = 100 * last.groupby("system")["value"].mean()
    return pd.DataFrame(found).loc[list(dict.fromkeys(rows["system"]))].rename_axis(columns=None)
