"""Scores: measures of runs in one tidy table, and the means made from it.

A row of the table is one query of one system on one language pair. Values lie in 0–1 and means are ×100 (ranks, such as
Max@R, stay as they are). Measures are those of ir-measures, whose RR is written MRR here as in the field and whose AP
is written MAP; `fairness.py` has those of rankings in many languages, `tables.py` the tables of papers.

    scores = score_run(run, task.qrels, system="ML-CS", seed=1)
    by_setting(scores, "MRR@10")
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import ir_measures
import pandas as pd

from cslab.collections.trec import Run
from cslab.evaluation.formats import to_markdown as to_markdown  # tables are printed where they are made
from cslab.languages import setting
from cslab.store import CslabError, atomic_path, nearest

COLUMNS = ["system", "seed", "setting", "query_lang", "doc_lang", "qid", "measure", "value"]
SETTINGS = ("MoIR", "CLIR", "MLIR")
RANKS = ("Max@R",)  # measures that count ranks: not in 0–1, and better when lower


def parse_measure(name: str):
    """The ir-measures object of a name such as `MRR@10`, `nDCG@10`, `MAP` or `R@100`.

    Raises:
        CslabError: for a name that ir-measures does not know.
    """
    try:
        return ir_measures.parse_measure(name.replace("MRR", "RR").replace("MAP", "AP"))
    except (ValueError, NameError, SyntaxError):
        raise CslabError(f"measure '{name}' is not known; use names such as MRR@10, nDCG@10, MAP or R@100") from None


def score_run(
    run: Run,
    qrels: Mapping[str, Mapping[str, int]],
    system: str,
    seed: int = 0,
    measures: Sequence[str] = ("MRR@10", "nDCG@10"),
    qids: Iterable[str] | None = None,
) -> pd.DataFrame:
    """Scores every query of a run; a query for which the run holds nothing gets 0.

    Args:
        run: qid → did → score; equal scores are ordered by document id, as in trec_eval.
        qrels: qid → did → grade.
        system: name for the table.
        seed: the system's training seed.
        measures: names of measures.
        qids: the queries asked (default: those of the run).

    Returns:
        A frame with the columns of `COLUMNS`, one row per query and measure.
    """
    asked = list(qids if qids is not None else run.scores)
    named = {str(parse_measure(name)): name for name in measures}
    judged = {q: dict(qrels.get(q, {})) or {"": 0} for q in asked}
    found = {(q, m): 0.0 for q in asked for m in measures}
    results = ir_measures.iter_calc(
        [parse_measure(name) for name in measures],
        [ir_measures.Qrel(q, d, g) for q, grades in judged.items() for d, g in grades.items()],
        # Ranks in place of scores: the providers behind ir-measures break ties in different ways.
        [ir_measures.ScoredDoc(q, d, -r) for q in asked if q in run.scores for r, d in enumerate(run.ranking(q))],
    )
    for metric in results:
        found[metric.query_id, named[str(metric.measure)]] = metric.value
    head = (system, seed, setting(run.query_lang, run.doc_lang), run.query_lang, run.doc_lang)
    return pd.DataFrame([(*head, q, m, v) for (q, m), v in found.items()], columns=COLUMNS)


def of_measure(scores: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows of one measure.

    Raises:
        CslabError: if there are none.
    """
    rows = scores[scores["measure"] == measure]
    if rows.empty:
        known = list(dict.fromkeys(scores["measure"]))
        raise CslabError(f"the scores have no measure '{measure}'; {nearest(measure, known)}")
    return rows


def by_pair(scores: pd.DataFrame, measure: str = "MRR@10") -> pd.DataFrame:
    """Mean ×100 per system and language pair, averaged over seeds; columns `system, setting, pair, value, queries`."""
    rows = of_measure(scores, measure)
    keys = ["system", "setting", "query_lang", "doc_lang"]
    table = rows.groupby(keys, sort=False, as_index=False).agg(value=("value", "mean"), queries=("qid", "nunique"))
    table["pair"] = table["query_lang"] + "-" + table["doc_lang"]
    return table.assign(value=(1 if measure in RANKS else 100) * table["value"])


def by_setting(scores: pd.DataFrame, measure: str = "MRR@10") -> pd.DataFrame:
    """System × (MoIR, CLIR, MLIR): mean ×100 over the pairs of a setting that *every* system was scored on.

    Systems trained for one pair are scored on that pair alone; averaging over other pairs than the rest would not
    compare, so `by_pair` shows them, and this table leaves out a system that lacks one of the common pairs.
    """
    table = by_pair(scores, measure)
    kept = table[table["system"].isin(complete_systems(table))]
    wide = kept.pivot_table(index="system", columns="setting", values="value", aggfunc="mean", sort=False)
    return wide[[s for s in SETTINGS if s in wide]]


def complete_systems(table: pd.DataFrame) -> list[str]:
    """The systems of a `by_pair` table that were scored on the most pairs."""
    pairs = table.groupby("system", sort=False)["pair"].nunique()
    return list(pairs[pairs == pairs.max()].index)


def by_seed(scores: pd.DataFrame, measure: str = "MRR@10") -> pd.DataFrame:
    """Rows `system, setting, seed, value`: a setting's mean ×100 over its pairs, each seed apart.

    As in `by_setting`, systems that lack one of the common pairs are left out.
    """
    rows = of_measure(scores, measure)
    rows = rows[rows["system"].isin(complete_systems(by_pair(rows, measure)))]
    found = [by_pair(part, measure).assign(seed=seed) for seed, part in rows.groupby("seed", sort=False)]
    keys = ["system", "setting", "seed"]
    table = pd.concat(found).groupby(keys, sort=False, as_index=False)["value"].mean()
    first = {system: i for i, system in enumerate(dict.fromkeys(rows["system"]))}
    order = table.assign(at=table["system"].map(first), kind=table["setting"].map(SETTINGS.index))
    return table.loc[order.sort_values(["at", "kind", "seed"], kind="stable").index].reset_index(drop=True)


def deviations(scores: pd.DataFrame, measure: str = "MRR@10") -> pd.DataFrame:
    """The standard deviation over seeds (n − 1) of each cell of `by_setting`; a single seed has none (NaN)."""
    spread = by_seed(scores, measure).groupby(["system", "setting"])["value"].std(ddof=1).unstack("setting")
    return spread.reindex_like(by_setting(scores, measure))


def write_scores(scores: pd.DataFrame, path: str | Path) -> None:
    """Writes the tidy table as Parquet, atomically."""
    with atomic_path(path) as temporary:
        scores[COLUMNS].to_parquet(temporary, index=False)


def read_scores(path: str | Path) -> pd.DataFrame:
    """Reads a tidy table.

    Raises:
        CslabError: for a missing file, one that is no Parquet, or a table that lacks a column.
    """
    if not Path(path).is_file():
        raise CslabError(f"{path}: no such score table; make it with `cslab evaluate`")
    try:
        scores = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CslabError(f"{path}: not a Parquet score table ({reason}); make it again") from None
    if missing := [c for c in COLUMNS if c not in scores]:
        raise CslabError(f"{path}: the table lacks {', '.join(missing)}; expected {', '.join(COLUMNS)}")
    return scores
