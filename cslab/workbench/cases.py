"""What is known of each query that two systems ranked: where the answer stands, why it is missed, what may explain it.

Reads tasks, runs and lexicons through an `Experiment`, which loads them when they are asked for. Gives a frame with a
row per query, from which the error explorer picks, and counts of causes by language pair.

    experiment = experiment_of(lab)
    table = cases(experiment, "en-de", "Zero-shot", "ML-CS", k=1)
    table.sort_values("gain").head()                     # where the second system loses most
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.collections.trec import Run
from cslab.evaluation.breakdown import CAUSES, causes
from cslab.evaluation.settings import Task
from cslab.languages import is_pool
from cslab.lexicon.lexicon import Lexicon
from cslab.makers import read_as
from cslab.store import CslabError, nearest
from cslab.systems import FIRST_STAGE, System, pairs_of
from cslab.text import words
from cslab.workbench.links import Links

if TYPE_CHECKING:
    from cslab.ranking.cross_encoder import Encoder
    from cslab.stages import Lab

MISSED = "missed (any cause)"
FOUND, *MISSES = CAUSES
ORDERS = ("differ most", "second loses most", "second gains most", "first fails most", "second fails most",
          "as in the collection")  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """What can be compared, and how it is loaded.

    Attributes:
        systems: language pair, such as `en-de` → the systems that ranked it.
        task: language pair → task.
        run: (language pair, system) → run.
        lexicons: target language → lexicon.
        encoder: (language pair, system) → the model behind a run, for scoring edited queries; None if there is none.
        max_length: tokens of a pair when it is scored again.
        precision: of that scoring, that of the runs.
        read: (language pair, system, task) → the task as that system reads it; None for systems that read it as it is.
        kept: systems that have no model of their own, and are not asked again.
    """

    systems: Mapping[str, tuple[str, ...]]
    task: Callable[[str], Task]
    run: Callable[[str, str], Run]
    lexicons: Mapping[str, Lexicon] = field(default_factory=dict)
    encoder: Callable[[str, str], "Encoder"] | None = None
    max_length: int | None = None
    precision: str = "fp32"
    read: Callable[[str, str, Task], Task] | None = None
    kept: frozenset[str] = frozenset({FIRST_STAGE})
    _kept: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not any(self.systems.values()):
            raise CslabError("experiment: give at least one language pair and a system that ranked it")

    @property
    def pairs(self) -> tuple[str, ...]:
        """The language pairs that any system ranked."""
        return tuple(pair for pair, names in self.systems.items() if names)

    @property
    def links(self) -> Links:
        """The lexicons, for looking words up between any two languages."""
        return self.once("links", lambda: Links(self.lexicons))

    def causes(self, pair: str, system: str, k: int) -> pd.DataFrame:
        """`breakdown.causes` of a run, by query id."""
        self.check(pair, system)
        return self.once(
            ("causes", pair, system, k), lambda: causes(self.task(pair), self.run(pair, system), k).set_index("qid")
        )

    def check(self, pair: str, system: str) -> None:
        """Makes sure that a system ranked a pair.

        Raises:
            CslabError: if it did not.
        """
        if pair not in self.systems:
            raise CslabError(f"pair '{pair}' was not evaluated; {nearest(pair, self.pairs)}")
        if system not in self.systems[pair]:
            raise CslabError(f"{system} has no run for {pair}; {', '.join(self.systems[pair])} have")

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """What was made under a key before, or is made now."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def experiment_of(lab: "Lab") -> Experiment:
    """The rows of a lab and its first stage, on every pair they were evaluated on; of several seeds the first."""
    from cslab.ranking.cross_encoder import load_encoder

    found = {pair: {} for pair in lab.profile.evaluation.pairs}
    for row in lab.rows():
        for pair in pairs_of(lab.profile, row):
            found.setdefault(pair, {}).setdefault(row.name, row)
    runs = lru_cache(maxsize=4)(lab.runs)  # those of a large collection fill gigabytes
    encoders = lru_cache(maxsize=2)(lambda path: load_encoder(path))

    def run(pair: str, name: str) -> Run:
        return lab.task(pair).candidates if name == FIRST_STAGE else runs(found[pair][name])[pair]

    def encoder(pair: str, name: str) -> "Encoder":
        return encoders(str(lab.train(found[pair][name]).path / "model"))

    def read(pair: str, name: str, task: Task) -> Task:
        return read_as(lab, found[pair][name], task)

    systems = {pair: (*named, FIRST_STAGE) for pair, named in found.items()}
    kept = frozenset([FIRST_STAGE, *(row.name for row in lab.rows() if not isinstance(row, System))])
    settings = lab.profile.evaluation.max_length, lab.profile.training.precision
    return Experiment(systems, lab.task, run, lab.lexicons(), encoder, *settings, read, kept)


# --- one row per query ---------------------------------------------------------------------------------------


def cases(experiment: Experiment, pair: str, first: str, second: str, k: int = 1) -> pd.DataFrame:
    """The queries that two systems ranked, in the collection's order.

    Args:
        experiment: what is compared.
        pair: a language pair of it.
        first, second: systems of it.
        k: the rank up to which the answer counts as found.

    Returns:
        Index `qid`; columns `first`, `second` (rank of the first relevant document, missing where there is none),
        `gain` (difference of the reciprocal ranks), `stage` (its rank in the first stage), `cause first`, `cause
        second` (`breakdown.causes`), `overlap`, `coverage`, `words` (of the query), `answer` (language of the
        relevant document).

    Raises:
        CslabError: for a pair or system that was not evaluated.
    """
    task, links = experiment.task(_known(experiment, pair)), experiment.links
    one, two = (experiment.causes(pair, system, k) for system in (first, second))
    one, two = one.loc[one.index.intersection(two.index)], two.loc[two.index.intersection(one.index)]
    answers = [task.language_of("document", did) for did in one["relevant"]]
    targets = tuple(experiment.lexicons) if is_pool(task.doc_lang) else (task.doc_lang,)
    if task.query_lang == task.doc_lang and not is_pool(task.doc_lang):
        targets = (links.source, *experiment.lexicons)  # what could be switched at all
    kept = experiment.once(
        ("coverage", pair),
        lambda: {q: links.coverage(t, task.language_of("query", q), targets) for q, t in task.queries.items()},
    )
    table = pd.DataFrame({"first": one["rank"], "second": two["rank"], "stage": _stage(task, list(one.index))})
    table["gain"] = reciprocal(table["second"]) - reciprocal(table["first"])
    table["cause first"], table["cause second"] = one["cause"], two["cause"]
    table["overlap"], table["coverage"] = one["overlap"], [kept[qid] for qid in table.index]
    table["words"], table["answer"] = [len(words(task.queries[qid])) for qid in table.index], answers
    return table


def reciprocal(ranks: pd.Series) -> pd.Series:
    """1/rank; 0 where there is none."""
    return (1.0 / ranks.astype("Float64")).fillna(0.0).astype(float)


def _known(experiment: Experiment, pair: str) -> str:
    if pair not in experiment.systems:
        raise CslabError(f"pair '{pair}' was not evaluated; {nearest(pair, experiment.pairs)}")
    return pair


def _stage(task: Task, qids: list[str]) -> pd.Series:
    """Rank of the best relevant document in the first stage."""
    rows = {}
    for qid in qids:
        ranking = task.candidates.ranking(qid) if qid in task.candidates.scores else []
        rows[qid] = next((r for r, did in enumerate(ranking, 1) if task.qrels[qid].get(did, 0) > 0), None)
    return pd.Series(rows, dtype="Int64")


def ordered(table: pd.DataFrame, order: str) -> pd.DataFrame:
    """The rows in one of `ORDERS`; equal ones stay as in the collection.

    Raises:
        CslabError: for another order.
    """
    keys = {
        ORDERS[0]: -table["gain"].abs(),
        ORDERS[1]: table["gain"],
        ORDERS[2]: -table["gain"],
        ORDERS[3]: reciprocal(table["first"]),
        ORDERS[4]: reciprocal(table["second"]),
    }
    if order == ORDERS[5]:
        return table
    if order not in keys:
        raise CslabError(f"order '{order}' is not known; {nearest(order, ORDERS)}")
    return table.loc[keys[order].sort_values(kind="stable").index]


def with_cause(table: pd.DataFrame, which: str, cause: str) -> pd.DataFrame:
    """The rows that the `first` or the `second` system missed for a cause, `found`, or missed at all."""
    found = table[f"cause {which}"]
    return table[found != FOUND] if cause == MISSED else table[found == cause]


def cause_table(experiment: Experiment, system: str, k: int = 1) -> pd.DataFrame:
    """Queries by cause for each language pair that a system ranked: index `pair`, columns `CAUSES`, counts."""
    pairs = [pair for pair, names in experiment.systems.items() if system in names]
    rows = {pair: experiment.causes(pair, system, k)["cause"].value_counts() for pair in pairs}
    return pd.DataFrame(rows).T.reindex(columns=list(CAUSES)).fillna(0).astype(int).rename_axis("pair")
