"""The grid of training texts and robust methods: what each cell gains as it is, under attack, and on other text.

A cell is a condition with a robust method; it is compared with the same condition without one. Reads scores, attacks
and shift of a lab and makes what is missing, ranker by ranker, so an interrupted grid goes on where it stopped.

    tables = grid_tables(lab)                      # settings, attack, tests, gains, effects, …
    write_tables(tables, "tables")
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from cslab.domain_shift import gain_effects, gain_table, gains, labs_of, shift_table
from cslab.evaluation.significance import compare, holm
from cslab.evaluation.tables import with_deviation
from cslab.findings import baseline_of, in_decimals
from cslab.robustness import Attacks, attacks, by_model_queries, plain_twins, robust_table, words_text
from cslab.store import CslabError

if TYPE_CHECKING:
    from cslab.stages import Lab

# What gains are regressed on, the most wanted first; see `gain_effects`.
DISTANCES = ("language distance", "document divergence", "query divergence", "document length ratio", "first stage")


def grid_tables(lab: "Lab", measure: str | None = None) -> dict[str, pd.DataFrame]:
    """The tables of a grid, by name.

    Args:
        lab: the experiment; each robust method of its profile needs the same condition without.
        measure: a measure of the profile (default: its first).

    Returns:
        `settings` (means ×100 with deviations over seeds, on the lab's own collection), `attack` (`robust_table`),
        `model queries` (`by_model_queries`), `cells` (`cell_gains`), `tests` (`cell_tests`), `gains` (each system over
        the baseline, by collection and setting), `shift` (how far each collection is from the training text) and
        `effects` (each cell's gain over the same without its robust method, regressed on the distances of the
        collections; empty where too few tell nothing).

    Raises:
        CslabError: for a profile without a robust method.
    """
    twins = plain_twins(list(lab.systems()))
    if not twins:
        raise CslabError(
            f"profile {lab.profile.name}: no robust method stands beside the same condition without; set robust, e.g. "
            "robust=[none, fgm]"
        )
    measure = measure or lab.profile.evaluation.measures[0]
    labs = labs_of(lab)
    scores, made = {name: one.scores() for name, one in labs.items()}, attacks(lab)
    shift, baseline = shift_table(labs), baseline_of(lab.profile)
    own = next(iter(scores.values()))
    others = [name for name in dict.fromkeys(s.name for s in lab.systems()) if name != baseline]
    return {
        "settings": with_deviation(own, measure),
        "attack": robust_table(made, measure),
        "model queries": by_model_queries(made, measure),
        "cells": cell_gains(scores, twins, measure).set_index("system"),
        "tests": in_decimals(cell_tests(scores, made, twins, measure).set_index("system"), 4, ["p", "p_holm"]),
        "gains": gain_table(scores, others, baseline, measure).set_index("system"),
        "shift": in_decimals(shift.set_index("set"), 3),
        "effects": in_decimals(cell_effects(scores, shift, twins, measure).set_index("system"), 3),
    }


def cell_gains(scores: Mapping[str, pd.DataFrame], twins: Mapping[str, str], measure: str = "MRR@10") -> pd.DataFrame:
    """The gain of every cell over its twin, by collection and setting; rows of `gain_table`."""
    parts = [gain_table(scores, [system], twin, measure) for system, twin in twins.items()]
    return pd.concat(parts, ignore_index=True) if parts else gain_table(scores, [], "", measure)


def cell_tests(
    scores: Mapping[str, pd.DataFrame], made: Attacks, twins: Mapping[str, str], measure: str = "MRR@10"
) -> pd.DataFrame:
    """Every cell against the same condition without its robust method, with one correction for all of them.

    Args:
        scores: collection → tidy score table.
        made: attacks on the same systems.
        twins: system → the same without its robust method.
        measure: a measure of them.

    Returns:
        Rows of `significance.compare` with `set` (a collection, or the attack at its largest budget, each system under
        its own attack) and `p_holm` over all rows.
    """
    last = made.own["budget"].max()
    attacked = made.own[made.own["budget"] == last]
    method, parts = attacked["method"].iloc[0], []
    for name, table in {**scores, f"attack by {method}, {words_text(last)}": attacked}.items():
        held = set(table["system"])
        for system, twin in twins.items():
            if {system, twin} <= held:
                parts.append(compare(table[table["system"].isin([system, twin])], twin, measure).assign(set=name))
    found = pd.concat(parts, ignore_index=True)
    found["p_holm"] = holm(found["p"])
    columns = ["system", "set", "pair", "queries", "difference", "low", "high", "p", "p_holm", "wins", "ties", "losses"]
    return found[columns]


def cell_effects(
    scores: Mapping[str, pd.DataFrame], shift: pd.DataFrame, twins: Mapping[str, str], measure: str = "MRR@10"
) -> pd.DataFrame:
    """The gain of every cell over its twin, regressed on the distances of the collections; rows of `gain_effects`."""
    parts = []
    for system, twin in twins.items():
        held = {name: table for name, table in scores.items() if {system, twin} <= set(table["system"])}
        known = [name for name in DISTANCES if name in shift]
        found = gain_effects(gains(held, system, twin, measure), shift, known)
        parts.append(found.assign(system=system))
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
