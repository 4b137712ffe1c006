"""Domain shift of an experiment: how far its test collections are from the training text, and gains on each of them.

Reads a lab's collections, tasks, lexicons and scores, also of the further collections that its profile names (`tests`);
writes nothing.

    labs = labs_of(lab)                                            # the collection of the lab, and the further ones
    found = gains({name: one.scores() for name, one in labs.items()}, "ML-CS", "Zero-shot")
    gain_effects(found, shift_table(labs), ["language distance", "document divergence"])
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import pandas as pd

from cslab.evaluation.shift import distance_between, first_stage, language_distance, regress, text_shift, told_apart
from cslab.evaluation.significance import bootstrap_interval, per_query
from cslab.languages import pair as split_pair
from cslab.lexicon.lexicon import Lexicon
from cslab.store import CslabError, nearest

if TYPE_CHECKING:
    from cslab.stages import Lab


def shift_table(labs: Mapping[str, "Lab"], code: str = "en") -> pd.DataFrame:
    """How far each test collection is from the training text, pair by pair.

    Args:
        labs: name → lab of the same rankers on a collection (`lab` itself, `lab.on(name)`).
        code: the language in which texts are compared, that of the training pairs.

    Returns:
        Rows `set, pair, query_lang, doc_lang`, `query …` and `document …` of `text_shift`, those of `first_stage`, and
        `language distance`: of the languages of query and document, by the lexicons; missing where there is none, and
        for pools.
    """
    rows = []
    for name, lab in labs.items():
        distances, moved = _distances(lab.lexicons()), _moved(lab, code)
        for pair in lab.profile.evaluation.pairs:
            asked, told = split_pair(pair)
            row = {"set": name, "pair": pair, "query_lang": asked, "doc_lang": told} | moved
            row |= first_stage(lab.task(pair))
            rows.append(row | {"language distance": distances.get(frozenset((asked, told)))})
    return pd.DataFrame(rows)


def _moved(lab: "Lab", code: str) -> dict[str, float]:
    """How far queries and documents are from those of training; nothing for a side that is not in the language."""
    training, test, found = lab.training_collection(), lab.collection(), {}
    sides = (("query", training.queries, test.queries), ("document", training.documents, test.documents))
    for side, known, asked in sides:
        if code in asked:
            shift = text_shift(known[code].values(), asked[code].values(), code)
            found |= {f"{side} {key}": value for key, value in shift.items()}
    return found


def _distances(lexicons: Mapping[str, Lexicon]) -> dict[frozenset[str], float | None]:
    """Distances between the languages of the lexicons, English, and each from itself."""
    found = {frozenset((lexicon.source, code)): language_distance(lexicon) for code, lexicon in lexicons.items()}
    found |= {
        frozenset(pair): distance_between(lexicons[pair[0]], lexicons[pair[1]]) for pair in combinations(lexicons, 2)
    }
    return found | {frozenset((code,)): 0.0 for code in ("en", *lexicons)}


def labs_of(lab: "Lab") -> dict[str, "Lab"]:
    """Name → lab of the same rankers: the profile's own collection, then the further ones that it names (`tests`)."""
    return {lab.collection().name: lab} | {name: lab.on(name) for name in lab.profile.tests}


def gains(scores: Mapping[str, pd.DataFrame], system: str, baseline: str, measure: str = "MRR@10") -> pd.DataFrame:
    """What a system gains over a baseline, query by query, on each collection.

    Args:
        scores: collection → tidy score table.
        system, baseline: systems of all of them.
        measure: a measure of them.

    Returns:
        Rows `set, setting, query_lang, doc_lang, pair, qid, gain` (×100).
    """
    parts = []
    for name, table in scores.items():
        for wanted in (system, baseline):
            if wanted not in set(table["system"]):
                raise CslabError(
                    f"gains: no system '{wanted}' on {name}; {nearest(wanted, list(set(table['system'])))}"
                )
        wide = per_query(table, measure)[list(dict.fromkeys((system, baseline)))].dropna().reset_index()
        pairs = wide["query_lang"] + "-" + wide["doc_lang"]
        parts.append(wide.assign(set=name, pair=pairs, gain=100 * (wide[system] - wide[baseline])))
    columns: Sequence[str] = ["set", "setting", "query_lang", "doc_lang", "pair", "qid", "gain"]
    return pd.concat(parts, ignore_index=True)[columns]


def gain_table(
    scores: Mapping[str, pd.DataFrame], systems: Sequence[str], baseline: str, measure: str = "MRR@10"
) -> pd.DataFrame:
    """Mean gains of systems by collection and setting, with 95 % bootstrap intervals over queries.

    Returns:
        Rows `system, set, setting, pairs, queries, gain, low, high` (×100); a query's gain is its mean over the pairs
        of the setting. A system that is not on a collection has no rows for it.
    """
    rows = []
    for system in systems:
        held = {name: table for name, table in scores.items() if system in set(table["system"])}
        for (name, kind), part in gains(held, system, baseline, measure).groupby(["set", "setting"], sort=False):
            values = part.groupby("qid", sort=False)["gain"].mean().to_numpy()
            low, high = bootstrap_interval(values)
            rows.append((system, name, kind, part["pair"].nunique(), len(values), values.mean(), low, high))
    return pd.DataFrame(rows, columns=["system", "set", "setting", "pairs", "queries", "gain", "low", "high"])


def gain_effects(found: pd.DataFrame, shift: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Regression of a system's gains on distances, each set and pair a point.

    Args:
        found: rows of `gains`, of one system.
        shift: rows of `shift_table`.
        on: its columns, the most wanted first; those that do not vary, or that others of them already tell, are left
            out, and so are the last where there are too few points.

    Returns:
        As of `regress`, without rows where nothing can be told.
    """
    points = found.groupby(["set", "pair"], sort=False, as_index=False)["gain"].mean().merge(shift, on=["set", "pair"])
    used: list[str] = []
    for name in on:
        known = points.dropna(subset=[*used, name])
        if len(known) >= len(used) + 4 and told_apart(known[[*used, name]].to_numpy(float)):
            used.append(name)
    if not used:
        return pd.DataFrame(columns=["distance", "coefficient", "low", "high", "p", "alone"])
    known = points.dropna(subset=used)
    return regress(known.assign(point=known["set"] + " " + known["pair"]), "gain", used, cluster="point")
