"""How far embeddings may move in training: a radius chosen on held-out training questions, never on test collections.

For each radius a ranker is trained, and asked the questions that the profile keeps from training
(`training.dev_queries`), as they are and switched (`held_out`). Too small a radius changes nothing; too large a one
costs the first and gains nothing on the second.

Radii are shares of the norm of a pair's embeddings. A share of ε lets a single one of n tokens move by ε·√n of its
norm: with 45 tokens, 0.1 is two thirds of a norm, while MiniLM's nearest other token is about one norm away. What is
published lies below: 1605.07725 moves 400 normalised embeddings of 256 dimensions by 5 in all, a share of 0.016. On the
profile `robust` (SQuAD sentences, MiniLM) held-out questions gain up to 0.02 and lose from 0.05 on.

    found = radii_on_held_out(open_lab("robust"), "fgm", (0.01, 0.02, 0.05))
    best_radius(found)
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from cslab.held_out import held_out_table
from cslab.store import CslabError
from cslab.systems import PLAIN, System

if TYPE_CHECKING:
    from cslab.stages import Lab

RADII = (0.01, 0.02, 0.05)


def radii_on_held_out(
    lab: "Lab", method: str = "fgm", radii: Sequence[float] = RADII, condition: str | None = None
) -> pd.DataFrame:
    """Trains rankers with several radii, and without the method, and asks them the held-out questions.

    Args:
        lab: the experiment; `training.dev_queries` of its profile are held out.
        method: a robust method on embeddings, with other settings in brackets.
        radii: values of its `epsilon`.
        condition: of training (default: the last of the profile that serves all pairs).

    Returns:
        A row per radius, 0 for plain training: `as they are`, `switched` and their `mean` (×100, seeds averaged).

    Raises:
        CslabError: for a profile that holds nothing out, or a condition or method that is not known.
    """
    systems = {system: radius for radius in (0.0, *radii) for system in _systems(lab, method, radius, condition)}
    table = held_out_table(lab, list(systems)).groupby(pd.Index(systems.values(), name="radius")).mean()
    return table.assign(mean=table.mean(axis=1))


def best_radius(found: pd.DataFrame) -> float:
    """The radius with the highest mean, the smallest of equally good ones; 0 if plain training does best."""
    return float(found["mean"].sort_index().idxmax())


def _systems(lab: "Lab", method: str, radius: float, condition: str | None) -> list[System]:
    """The systems of a condition, one per seed, trained with a radius; with 0 without the method."""
    shared = {system.condition.name: system for system in lab.systems() if not system.pair and system.ranker == system}
    if not shared or (condition is not None and condition not in shared):
        known = ", ".join(shared) or "none"
        raise CslabError(f"radius: '{condition or ''}' is no condition with one ranker for all pairs; there is {known}")
    chosen = shared[condition or list(shared)[-1]]
    robust = with_radius(method, radius) if radius else PLAIN
    return [replace(chosen, seed=seed, robust=robust) for seed in lab.profile.training.seeds]


def with_radius(method: str, radius: float) -> str:
    """The name of a method with its radius.

    >>> with_radius("fgm", 0.05), with_radius("freelb(steps=2)", 0.02)
    ('fgm(epsilon=0.05)', 'freelb(steps=2, epsilon=0.02)')
    """
    from cslab.training.robust import parse

    name = f"{method[:-1]}, epsilon={radius:g})" if method.endswith(")") else f"{method}(epsilon={radius:g})"
    parse(name, {})
    return name
