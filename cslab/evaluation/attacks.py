"""Attacks on rankers: the query changes word by word until the relevant document falls.

A beam search over the edits of a query (`edits.py`), after PolyGloss (2103.09593): each round changes one more word of
the best texts so far, by the ranker's loss or by the rank of the relevant document. A *model query* is one text ranked,
that is all its candidates scored. All queries of a task are attacked in step, so that each round is one large batch.

    found = attack(ranking_by(encoder), task, word_edits(lexicons), Budget(words=3), system="Zero-shot")
    attack_scores(found, task.qrels)                  # MRR@10, nDCG@10 over the budget, one tidy table
    success(found)                                    # budget → share of right answers that are right no more
    attack_scores(replay(found, ranking_by(other), "ML-CS"), task.qrels)      # transfer to another model
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cslab.collections.trec import Run
from cslab.evaluation.edits import Edit, Edits, applied
from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task
from cslab.ranking.cross_encoder import Encoder, Progress, score_pairs
from cslab.store import CslabError, atomic_open, nearest, read_jsonl
from cslab.switching.record import Switched

# Scores of (query, document) texts.
Ranker = Callable[[Sequence[tuple[str, str]]], np.ndarray]
GOALS = ("rank", "loss")
_HEAD = ("system", "attacked", "method", "query_lang", "doc_lang", "first_stage")


@dataclass(frozen=True)
class Budget:
    """How much an attack may do.

    Attributes:
        words: words changed in a text, at most.
        rankings: model queries for a text, at most; None for no limit.
        beam: texts that a round goes on from; 1 is greedy, None keeps all.
        places: words a round tries to change, the most important of the unchanged ones first; None for all of them.
            How important a word is, is seen from the text without it, which is a model query for each word.
        goal: `rank` of the first relevant document, equal ranks by the loss; or the `loss`, -log softmax of the
            relevant documents among the candidates.
    """

    words: int = 3
    rankings: int | None = None
    beam: int | None = 1
    places: int | None = 2
    goal: str = "rank"

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise CslabError(f"attack: goal '{self.goal}' is not known; {nearest(str(self.goal), GOALS)}")
        for name, least in (("words", 1), ("rankings", 1), ("beam", 1), ("places", 1)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= least):
                raise CslabError(f"attack: {name} is {value!r}; expected a whole number from {least}")


class Step(NamedTuple):
    """The worst text found with so many words changed at most.

    `rankings` are the model queries spent until the round that found it was over, `rank` that of the first relevant
    document (0 where no candidate is relevant), `scores` those of the candidates in their order.
    """

    text: Switched
    words: int
    rankings: int
    rank: int
    loss: float
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Attack:
    """What an attack found: for each query its candidates and a step for every budget, 0 words first.

    Attributes:
        system: the model that ranks.
        attacked: the model that the texts were found on.
        method: name of the edits.
        query_lang, doc_lang, first_stage: of the task.
        candidates: query id → document ids.
        relevant: query id → whether each candidate is relevant.
        steps: query id → steps.
    """

    system: str
    attacked: str
    method: str
    query_lang: str
    doc_lang: str
    first_stage: str
    candidates: Mapping[str, tuple[str, ...]]
    relevant: Mapping[str, np.ndarray]
    steps: Mapping[str, tuple[Step, ...]]


def ranking_by(encoder: Encoder, max_length: int | None = None, precision: str = "fp32") -> Ranker:
    """The scores of a cross-encoder."""
    return lambda pairs: score_pairs(encoder, pairs, max_length, precision=precision)


# --- one query -----------------------------------------------------------------------------------------------


class _Found(NamedTuple):
    """A text tried: its edits (numbers, ascending), the words they change, and how bad it is."""

    edits: tuple[int, ...]
    words: int
    badness: tuple[float, float]
    step: Step


def judged(scores: np.ndarray, dids: Sequence[str], relevant: np.ndarray) -> tuple[int, float]:
    """Rank of the first relevant candidate, equal scores as trec_eval orders them, and the loss.

    >>> judged(np.array([1.0, 1.0, 0.0]), ["a", "b", "c"], np.array([True, False, False]))[0]
    2
    """
    if not relevant.any():
        return 0, 0.0
    scores = scores.astype(np.float64)
    order = sorted(range(len(dids)), key=lambda n: (scores[n], dids[n]), reverse=True)
    rank = next(place for place, n in enumerate(order, start=1) if relevant[n])
    return rank, float(np.logaddexp.reduce(scores) - np.logaddexp.reduce(scores[relevant]))


class _Search:
    """The search for one query: proposes texts, takes their scores."""

    def __init__(self, text: str, dids: tuple[str, ...], relevant: np.ndarray, edits: list[Edit], budget: Budget):
        self.text, self.dids, self.relevant, self.budget = text, dids, relevant, budget
        self.edits = edits if relevant.any() and len(dids) > int(relevant.sum()) else []
        self.spent, self.found = 0, {}
        self.beam: list[_Found] = []
        self.places = list(dict.fromkeys((edit.start, edit.end) for edit in self.edits))
        self.order: dict[tuple[int, int], int] = {}

    def start(self) -> list[str]:
        """The text itself and, where importance is asked for, the text without each place that can be edited."""
        if self.budget.places is None or len(self.places) <= self.budget.places:
            self.order = dict.fromkeys(self.places, 0)
            return [self.text]
        room = len(self.places) if self.budget.rankings is None else max(0, self.budget.rankings - 1)
        self.places = self.places[:room]
        return [self.text, *(self.text[:start] + self.text[end:] for start, end in self.places)]

    def started(self, scores: Sequence[np.ndarray]) -> None:
        """Takes the scores of `start`'s texts."""
        self.spent = len(scores)
        first = self._take((), scores[0])
        self.beam = [first]
        if not self.order:
            losses = [judged(found, self.dids, self.relevant)[1] for found in scores[1:]]
            ranked = sorted(range(len(losses)), key=lambda n: -losses[n])
            self.order = {self.places[n]: rank for rank, n in enumerate(ranked)}

    def proposals(self) -> list[tuple[int, ...]]:
        """The next round: each text of the beam with one more edit."""
        new: dict[tuple[int, ...], None] = {}
        for state in self.beam:
            free = [n for n, edit in enumerate(self.edits) if self._fits(state, edit)]
            ranks = sorted({(self.order[self._place(n)], self._place(n)) for n in free})
            wanted = {place for _, place in ranks[: self.budget.places]}
            new |= dict.fromkeys(tuple(sorted((*state.edits, n))) for n in free if self._place(n) in wanted)
        proposed = (edits for edits in new if edits not in self.found)
        room = None if self.budget.rankings is None else self.budget.rankings - self.spent
        return list(islice(proposed, room))

    def _place(self, number: int) -> tuple[int, int]:
        return self.edits[number].start, self.edits[number].end

    def _fits(self, state: _Found, edit: Edit) -> bool:
        taken = (self.edits[n] for n in state.edits)
        return (
            (edit.start, edit.end) in self.order
            and state.words + edit.words <= self.budget.words
            and all(edit.end <= other.start or other.end <= edit.start for other in taken)
        )

    def took(self, proposed: Sequence[tuple[int, ...]], scores: Sequence[np.ndarray]) -> None:
        """Takes the scores of `proposals`' texts; the worst become the next beam."""
        self.spent += len(proposed)
        made = [self._take(edits, found) for edits, found in zip(proposed, scores, strict=True)]
        self.beam = sorted(made, key=lambda found: found.badness, reverse=True)[: self.budget.beam]

    def _take(self, edits: tuple[int, ...], scores: np.ndarray) -> _Found:
        rank, loss = judged(scores, self.dids, self.relevant)
        chosen = [self.edits[n] for n in edits]
        words = sum(edit.words for edit in chosen)
        step = Step(applied(self.text, chosen), words, self.spent, rank, loss, tuple(map(float, scores)))
        badness = (float(rank), loss) if self.budget.goal == "rank" else (loss, 0.0)
        self.found[edits] = _Found(edits, words, badness, step)
        return self.found[edits]

    def steps(self) -> tuple[Step, ...]:
        """The worst text for each budget of words; of equally bad ones the one found first."""
        return tuple(
            max((f for f in self.found.values() if f.words <= words), key=lambda found: found.badness).step
            for words in range(self.budget.words + 1)
        )


# --- all queries ---------------------------------------------------------------------------------------------


def attack(
    rank: Ranker,
    task: Task,
    edits: Edits,
    budget: Budget | None = None,
    system: str = "model",
    method: str = "words",
    depth: int = 10,
    progress: Progress | None = None,
) -> Attack:
    """Attacks every query of a task.

    Args:
        rank: the model under attack.
        task: queries, documents, judgements and candidates.
        edits: what may be changed in a query.
        budget: how much.
        system: the model's name.
        method: name of the edits.
        depth: candidates that are ranked, the first stage's best.
        progress: called with a line of text after every round.
    """
    budget = budget or Budget()
    problems = {q: tuple(task.candidates.ranking(q, depth)) for q in task.queries if q in task.candidates.scores}
    relevant = {q: np.array([task.qrels.get(q, {}).get(did, 0) > 0 for did in dids]) for q, dids in problems.items()}
    searches = [
        _Search(task.queries[q], dids, relevant[q], edits(task.queries[q]), budget) for q, dids in problems.items()
    ]
    starts = [search.start() for search in searches]
    for search, scores in zip(searches, _scored(rank, task, searches, starts), strict=True):
        search.started(scores)
    for number in range(1, budget.words + 1):
        proposed = [search.proposals() for search in searches]
        if not any(proposed):
            break
        texts = [
            [applied(search.text, [search.edits[n] for n in one]).text for one in rows]
            for search, rows in zip(searches, proposed, strict=True)
        ]
        for search, rows, scores in zip(searches, proposed, _scored(rank, task, searches, texts), strict=True):
            search.took(rows, scores)
        if progress:
            spent = sum(search.spent for search in searches)
            progress(f"attack on {system}: round {number} of {budget.words}, {spent:,} model queries")
    steps = {q: search.steps() for q, search in zip(problems, searches, strict=True)}
    first = f"{task.candidates.first_stage}, first {depth}"
    return Attack(system, system, method, task.query_lang, task.doc_lang, first, problems, relevant, steps)


def _scored(
    rank: Ranker, task: Task, searches: Sequence[_Search], texts: Sequence[Sequence[str]]
) -> Iterator[list[np.ndarray]]:
    """For each search the scores of its candidates with each of its texts, all ranked together."""
    wanted = zip(searches, texts, strict=True)
    # Two languages may have the same word for a word: texts that read alike are ranked once.
    pairs = dict.fromkeys((text, task.documents[did]) for s, rows in wanted for text in rows for did in s.dids)
    scores = dict(zip(pairs, np.asarray(rank(list(pairs))) if pairs else (), strict=True))
    for search, rows in zip(searches, texts, strict=True):
        yield [np.array([scores[text, task.documents[did]] for did in search.dids]) for text in rows]


def replay(found: Attack, rank: Ranker, task: Task, system: str, own: Attack | None = None) -> Attack:
    """Another model on the texts that were found on the first: does the attack transfer?

    Args:
        found: the attack on the first model.
        rank: the other model.
        task: what was attacked.
        system: the other model's name.
        own: an attack on the other model with the same candidates; texts that it ranked are not ranked again.
    """
    known = {
        (q, step.text.text): np.array(step.scores)
        for q, steps in (own.steps if own else {}).items()
        for step in steps
        if own.candidates[q] == found.candidates.get(q)
    }
    new = dict.fromkeys((q, step.text.text) for q, steps in found.steps.items() for step in steps)
    new = [text for text in new if text not in known]
    pairs = [(text, task.documents[did]) for q, text in new for did in found.candidates[q]]
    scores = iter(np.asarray(rank(pairs)).tolist() if pairs else ())
    known |= {(q, text): np.array(list(islice(scores, len(found.candidates[q])))) for q, text in new}
    steps: dict[str, tuple[Step, ...]] = {}
    for q, dids in found.candidates.items():
        made = []
        for step in found.steps[q]:
            values = known[q, step.text.text]
            place, loss = judged(values, dids, found.relevant[q])
            made.append(step._replace(rank=place, loss=loss, scores=tuple(values.tolist())))
        steps[q] = tuple(made)
    return replace(found, system=system, steps=steps)


# --- what came of it -----------------------------------------------------------------------------------------


def attack_scores(
    found: Attack,
    qrels: Mapping[str, Mapping[str, int]],
    seed: int = 0,
    measures: Sequence[str] = ("MRR@10", "nDCG@10"),
) -> pd.DataFrame:
    """Robust quality: the measures of every query at every budget.

    Returns:
        The tidy score table's columns and `attacked`, `method`, `budget` (words allowed), `words` (changed) and
        `rankings` (model queries spent).
    """
    parts = []
    for budget in range(len(next(iter(found.steps.values()), ()))):
        held = {q: steps[budget] for q, steps in found.steps.items()}
        scores = {q: dict(zip(found.candidates[q], step.scores, strict=True)) for q, step in held.items()}
        run = Run(found.system, found.query_lang, found.doc_lang, found.first_stage, scores)
        rows = score_run(run, qrels, found.system, seed, measures)
        rows = rows.assign(attacked=found.attacked, method=found.method, budget=budget)
        changed = {q: step.words for q, step in held.items()}, {q: step.rankings for q, step in held.items()}
        parts.append(rows.assign(words=rows["qid"].map(changed[0]), rankings=rows["qid"].map(changed[1])))
    return pd.concat(parts, ignore_index=True)


def success(found: Attack) -> pd.Series:
    """Budget → share of the queries answered right (a relevant document first) that no longer are."""
    right = [steps for steps in found.steps.values() if steps[0].rank == 1]
    budgets = range(len(next(iter(found.steps.values()), ())))
    shares = [sum(steps[b].rank > 1 for steps in right) / len(right) if right else math.nan for b in budgets]
    return pd.Series(shares, index=pd.Index(budgets, name="budget"), name="success")


def curve(scores: pd.DataFrame, measure: str = "MRR@10") -> pd.DataFrame:
    """Mean ×100 by system, attacked model, method and budget, averaged over seeds and pairs."""
    rows = scores[scores["measure"] == measure]
    keys = ["system", "attacked", "method", "budget"]
    table = rows.groupby(keys, sort=False, as_index=False).agg(value=("value", "mean"), words=("words", "mean"))
    return table.assign(value=100 * table["value"])


def write_attack(found: Attack, path: str | Path) -> None:
    """Writes an attack as JSON lines: what it was, then a line for each query with its candidates and steps."""
    import json

    head = {name: getattr(found, name) for name in _HEAD}
    with atomic_open(path) as handle:
        handle.write(json.dumps(head, ensure_ascii=False) + "\n")
        for q, steps in found.steps.items():
            rows = [step._asdict() | {"text": step.text.to_dict()} for step in steps]
            relevant = found.relevant[q].tolist()
            row = {"qid": q, "candidates": found.candidates[q], "relevant": relevant, "steps": rows}
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")


def read_attack(path: str | Path) -> Attack:
    """Reads what `write_attack` wrote.

    Raises:
        CslabError: for a file that is missing, empty or something else.
    """
    lines = [row for _, row in read_jsonl(path)]
    try:
        held = {name: lines[0][name] for name in _HEAD}
        steps = {row["qid"]: tuple(_read_step(step) for step in row["steps"]) for row in lines[1:]}
        candidates = {row["qid"]: tuple(row["candidates"]) for row in lines[1:]}
        relevant = {row["qid"]: np.array(row["relevant"], bool) for row in lines[1:]}
    except (IndexError, KeyError, TypeError):
        raise CslabError(f"{path}: not the record of an attack; make the attack again") from None
    return Attack(**held, candidates=candidates, relevant=relevant, steps=steps)


def _read_step(row: Mapping[str, Any]) -> Step:
    return Step(**{**row, "text": Switched.from_dict(row["text"]), "scores": tuple(row["scores"])})
