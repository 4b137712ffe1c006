"""The tables of an image–text experiment: recall at 1 by language with its intervals, and what systems gain on others.

Reads the tidy scores; writes nothing. Means over languages are resampled by item: an item that
is hard in one language is hard in the others, too.

    print(recall_markdown(lab.scores(), lab.tasks))
"""

from collections.abc import Sequence

import pandas as pd

from cslab.evaluation.formats import to_markdown
from cslab.evaluation.measures import of_measure
from cslab.evaluation.recall import rank_variance, recall_table
from cslab.evaluation.significance import bootstrap_interval
from cslab.image_data import Task

MEASURES = ("mean recall", "median rank")
BASELINES = ("Zero-shot", "Zero-shot+vocab", "ML-CS", "ML-CS+vocab")  # those that are there are compared with


def items_found(scores: pd.DataFrame, task: Task, languages: Sequence[str]) -> pd.DataFrame:
    """R@1 of every item, averaged over its captions, over languages and over seeds: items × systems."""
    rows = of_measure(scores, "R@1")
    rows = rows[(rows["setting"] == task.name) & (rows["doc_lang"] == task.target)]
    rows = rows[rows["query_lang"].isin(languages)]
    rows = rows.assign(item=rows["qid"].str.rpartition("#")[0].where(rows["qid"].str.contains("#"), rows["qid"]))
    return rows.pivot_table(index="item", columns="system", values="value", aggfunc="mean", sort=False)


def asked_table(
    scores: pd.DataFrame, task: Task, measure: str = "R@1", back: bool = False, rounds: int = 1000
) -> pd.DataFrame:
    """System × language: captions ask for images (or English captions).

    Args:
        scores: rows of `rank_scores`.
        task: which test.
        measure: R@1 with its 95 % bootstrap interval, or another column of `recall_table`.
        back: the other way: what was searched asks for captions.
        rounds: bootstrap resamples.
    """
    ends = ("doc_lang", "query_lang") if back else ("query_lang", "doc_lang")
    rows = scores[(scores["setting"] == task.name) & (scores[ends[1]] == task.target)]
    table = recall_table(rows[rows[ends[0]].isin(task.languages)], rounds)
    told = table[measure]
    if measure == "R@1":
        told = [interval_text(*row) for row in table[["R@1", "low", "high"]].to_numpy()]
    wide = table.assign(told=told).pivot_table(
        index="system", columns=ends[0], values="told", aggfunc="first", sort=False
    )
    return wide[task.languages].rename_axis(columns=None)


def interval_text(value: float, low: float, high: float, sign: bool = False) -> str:
    """A figure with its interval.

    >>> interval_text(59.25, 55.04, 64.8), interval_text(3.0, -0.25, 6.0, sign=True)
    ('59.2 [55.0, 64.8]', '+3.0 [-0.2, +6.0]')
    """
    form = "{:+.1f}" if sign else "{:.1f}"
    return "{} [{}, {}]".format(*map(form.format, (value, low, high)))


def gains_table(
    scores: pd.DataFrame, task: Task, baselines: Sequence[str] = BASELINES, rounds: int = 1000
) -> pd.DataFrame:
    """Mean R@1 ×100 over languages but English, and gains on baselines, with paired 95 % bootstrap intervals.

    Args:
        scores: rows of `rank_scores`.
        task: which test.
        baselines: systems to compare with; those that are not there are left out.
        rounds: bootstrap resamples.
    """
    codes = [code for code in task.languages if code != "en"]
    found = 100 * items_found(scores, task, codes)

    def told(values: pd.Series, sign: bool = False) -> str:
        return interval_text(values.mean(), *bootstrap_interval(values.to_numpy(), rounds=rounds), sign=sign)

    columns = {f"mean of {', '.join(codes)}": {name: told(found[name]) for name in found}}
    for baseline in [name for name in baselines if name in found]:
        others = [name for name in found if name != baseline]
        columns[f"over {baseline}"] = {name: told(found[name] - found[baseline], sign=True) for name in others}
    return pd.DataFrame(columns).reindex(list(found)).rename_axis("system")


def recall_markdown(scores: pd.DataFrame, tasks: Sequence[Task], rounds: int = 1000) -> str:
    """All tables of an experiment as Markdown, test by test."""
    parts = []
    for task in tasks:
        rows = scores[scores["setting"] == task.name]
        target = "images" if task.target == "image" else "English captions"
        count = len(task.captions.rows(task.languages[0])[0])
        parts.append(f"## {task.name}: {count} captions of each language ask for {target}")
        tables = {"R@1 × 100, with 95 % bootstrap intervals over captions": asked_table(scores, task, rounds=rounds)}
        tables["R@1 × 100, mean over languages and paired differences"] = gains_table(scores, task, rounds=rounds)
        tables[f"R@1 × 100 the other way: {target} ask"] = asked_table(scores, task, back=True, rounds=rounds)
        for measure in MEASURES:
            tables[f"{measure}, captions ask"] = asked_table(scores, task, measure, rounds=2)
        if task.captions.common(task.languages):
            spread = rank_variance(rows[rows["doc_lang"] == task.target], task.languages, limit=100)
            tables["rank variance over languages (ranks up to 100)"] = spread.to_frame("variance")
        parts += [f"{title}\n\n{to_markdown(table)}" for title, table in tables.items()]
    return "\n\n".join(parts)
