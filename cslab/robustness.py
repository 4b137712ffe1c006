"""Robustness of an experiment's rankers: attacks on them, transfer between them, and shift between its collections.

Reads a lab's models, tasks and lexicons; writes stages under `outputs/<profile>/attacks/` (`scores.parquet`, and the
changed texts of each ranker as `<system>.jsonl`), found again like any stage while models and settings stay.

    made = attacks(lab, "en-de", method="words", budget=Budget(words=3), queries=60)
    made.scores                                   # quality by budget: attacked ranker × ranker that reads the text
    made.found["ML-CS"].steps["q17"]              # the query, worse with every word
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.evaluation.attacks import (
    Attack,
    Budget,
    attack,
    attack_scores,
    ranking_by,
    read_attack,
    replay,
    write_attack,
)
from cslab.evaluation.edits import Edits, phrase_edits, synonym_edits, transliteration_edits, typo_edits, word_edits
from cslab.evaluation.settings import Task, sample_queries
from cslab.evaluation.shift import first_stage, language_distance, text_shift
from cslab.evaluation.significance import per_query
from cslab.languages import language
from cslab.languages import pair as split_pair
from cslab.lexicon.lexicon import Lexicon
from cslab.lexicon.synonyms import synonyms
from cslab.recipe import Recipe
from cslab.store import CslabError, atomic_path, nearest

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
_BY_LEXICON = ("words", "phrases", "synonyms")


@dataclass(frozen=True)
class Attacks:
    """Attacks on the rankers of a lab.

    Attributes:
        task: the queries that were attacked, and what they were asked of.
        found: ranker → the attack on it.
        scores: `attack_scores` of every ranker on every ranker's texts (`attacked`).
    """

    task: Task
    found: Mapping[str, Attack]
    scores: pd.DataFrame


def attacks(
    lab: "Lab", pair: str, method: str = "words", budget: Budget | None = None, queries: int = 60, depth: int = 10
) -> Attacks:
    """Attacks every ranker of a lab on one language pair, and reads each one's texts to all the others.

    Args:
        lab: the experiment.
        pair: query and document language.
        method: a row of `METHODS`; those by lexicon need English queries.
        budget: of each query.
        queries: a seeded sample of the test queries.
        depth: candidates that are ranked.

    Raises:
        CslabError: for an unknown method, or one that the language of the queries does not allow.
    """
    if method not in METHODS:
        raise CslabError(f"attack '{method}' is not known; {nearest(method, list(METHODS))}")
    source = split_pair(pair)[0]
    if method in _BY_LEXICON and source != "en":
        raise CslabError(
            f"attack '{method}' on {pair}: the lexicons translate from English; attack a pair with English queries, or "
            "use typos or transliteration"
        )
    language(source)
    budget, task = budget or Budget(), sampled(lab, pair, queries)
    rankers = {s.slug: s for s in lab.systems() if s.pair in (None, pair)}
    trained = {slug: lab.train(system) for slug, system in rankers.items()}

    def build(folder: Path) -> dict[str, Any]:
        return _attacked(lab, task, METHODS[method](lab.lexicons(), source), trained, method, budget, depth, folder)

    config = {"method": method, "pair": pair, "budget": asdict(budget), "queries": queries, "depth": depth}
    config |= {"models": {slug: stage.key for slug, stage in trained.items()}}
    config |= {"protocol": lab.profile.evaluation.protocol, "max_length": lab.profile.evaluation.max_length}
    rooms = ("evaluation/attacks", "evaluation/edits", "ranking", "lexicon", "robustness")
    stage = Recipe(lab.folder / "attacks" / f"{pair}-{method}", config, build, rooms=rooms).make()
    found = {slug: read_attack(stage.path / f"{slug}.jsonl") for slug in rankers}
    return Attacks(task, found, pd.read_parquet(stage.path / "scores.parquet"))


def sampled(lab: "Lab", pair: str, queries: int) -> Task:
    """A task of a lab on a seeded sample of its queries."""
    task = lab.task(pair)
    kept = set(sample_queries(lab.collection(), queries, lab.profile.collection.seed))
    return replace(task, queries={q: text for q, text in task.queries.items() if q in kept})


def _attacked(
    lab: "Lab",
    task: Task,
    edits: Edits,
    trained: Mapping[str, Any],
    method: str,
    budget: Budget,
    depth: int,
    folder: Path,
) -> dict[str, Any]:
    from cslab.ranking.cross_encoder import load_encoder

    length = lab.profile.evaluation.max_length
    rank = {slug: ranking_by(load_encoder(str(stage.path / "model")), length) for slug, stage in trained.items()}
    parts, last = [], {}
    for slug in trained:
        found = attack(rank[slug], task, edits, budget, slug, method, depth, print)
        write_attack(found, folder / f"{slug}.jsonl")
        for other in trained:
            read = found if other == slug else replay(found, rank[other], task, other)
            parts.append(attack_scores(read, task.qrels, measures=lab.profile.evaluation.measures))
    scores = pd.concat(parts, ignore_index=True)
    with atomic_path(folder / "scores.parquet") as temporary:
        scores.to_parquet(temporary, index=False)
    own = scores[(scores["system"] == scores["attacked"]) & (scores["measure"] == scores["measure"].iloc[0])]
    for (slug, words), rows in own.groupby(["system", "budget"], sort=False):
        last.setdefault(slug, {})[str(words)] = round(100 * rows["value"].mean(), 2)
    return {"measure": scores["measure"].iloc[0], "queries": len(task.queries), "by words changed": last}


# --- shift ---------------------------------------------------------------------------------------------------


def shift_table(labs: Mapping[str, "Lab"], code: str = "en") -> pd.DataFrame:
    """How far each test collection is from the training text, pair by pair.

    Args:
        labs: name → lab of the same rankers on a collection (`lab` itself, `lab.on(name)`).
        code: the language in which texts are compared, that of the training pairs.

    Returns:
        Rows `set, pair, query_lang, doc_lang`, `query …` and `document …` of `text_shift`, those of `first_stage`, and
        `language distance`: of the languages of query and document, by the lexicons; missing where there is none.
    """
    rows = []
    for name, lab in labs.items():
        training, test, distances = lab.training_collection(), lab.collection(), _distances(lab.lexicons())
        shifts: dict[str, float] = {}
        for side in ("queries", "documents"):
            texts = getattr(training, side)[code].values(), getattr(test, side)[code].values()
            found = text_shift(*texts, code)
            shifts |= {f"{'query' if side == 'queries' else 'document'} {key}": value for key, value in found.items()}
        for pair in lab.profile.evaluation.pairs:
            asked, told = split_pair(pair)
            row = (
                {"set": name, "pair": pair, "query_lang": asked, "doc_lang": told}
                | shifts
                | first_stage(lab.task(pair))
            )
            rows.append(row | {"language distance": distances.get(frozenset((asked, told)))})
    return pd.DataFrame(rows)


def _distances(lexicons: Mapping[str, Lexicon]) -> dict[frozenset[str], float]:
    """Distances between English and each language, and of each language from itself."""
    found = {frozenset((lexicon.source, code)): language_distance(lexicon) for code, lexicon in lexicons.items()}
    return found | {frozenset((code,)): 0.0 for code in ("en", *lexicons)}


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
        wide = per_query(table, measure)[[system, baseline]].dropna().reset_index()
        pairs = wide["query_lang"] + "-" + wide["doc_lang"]
        parts.append(wide.assign(set=name, pair=pairs, gain=100 * (wide[system] - wide[baseline])))
    columns: Sequence[str] = ["set", "setting", "query_lang", "doc_lang", "pair", "qid", "gain"]
    return pd.concat(parts, ignore_index=True)[columns]
