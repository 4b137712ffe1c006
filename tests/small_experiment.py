"""A small experiment on the atlas for the widgets that explain errors: two known runs, and a model for what-if.

The first system is BM25 backwards, the second counts shared and translated words; neither is trained.
"""

from dataclasses import replace
from functools import cache

import pandas as pd

from cslab.collections.atlas import atlas, atlas_lexicon
from cslab.collections.trec import Run
from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task, make_task
from cslab.languages import MIXED
from cslab.languages import pair as split_pair
from cslab.ranking.cross_encoder import Encoder, load_encoder
from cslab.workbench.cases import Experiment
from cslab.workbench.links import Links

LANGUAGES = ["en", "de", "ar"]
PAIRS = ("en-en", "de-de", "en-de", "en-ar", "ar-de", "xx-en", f"en-{MIXED}")
SYSTEMS = ("backwards", "words")


@cache
def task_of(pair: str) -> Task:
    collection = atlas(split="test", passages=120, queries=40, languages=LANGUAGES)
    return make_task(collection, *split_pair(pair), depth=8, pool=LANGUAGES)


@cache
def lexicons():
    return {code: atlas_lexicon(code).top(1) for code in LANGUAGES[1:]}


def run_of(pair: str, system: str) -> Run:
    task, links = task_of(pair), Links(lexicons())

    def score(qid: str, did: str, value: float) -> float:
        if system == SYSTEMS[0]:
            return -value
        asked, told = task.language_of("query", qid), task.language_of("document", did)
        found = links.between(task.queries[qid], asked, task.documents[did], told)
        return len(found.shared) + len(found.linked)

    scores = {q: {d: score(q, d, v) for d, v in row.items()} for q, row in task.candidates.scores.items()}
    return replace(task.candidates, name=system, scores={q: row for q, row in scores.items() if q in task.queries})


@cache
def model() -> Encoder:
    return load_encoder("atlas", seed=1)


def small_experiment(models: bool = True) -> Experiment:
    """Both systems on every pair."""
    encoder = (lambda pair, system: model()) if models else None
    return Experiment(dict.fromkeys(PAIRS, SYSTEMS), task_of, cache(run_of), lexicons(), encoder, 96)


def small_scores() -> pd.DataFrame:
    """The score table of both systems."""
    parts = [
        score_run(run_of(pair, system), task_of(pair).qrels, system, 1, ["MRR@10"], task_of(pair).queries)
        for pair in PAIRS
        for system in SYSTEMS
    ]
    return pd.concat(parts, ignore_index=True)
