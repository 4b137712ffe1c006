"""What rankers make of the questions that a profile keeps from training: how settings are chosen without test data.

The questions are asked as they are, and with words of questions and candidates switched, for which no test language is
needed: the first says what a setting does to English ranking, the second what it does where languages meet.

    held_out_table(open_lab("xquad"))        # a row per ranker; `as they are`, `switched` (×100)
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cslab.evaluation.measures import score_run
from cslab.evaluation.settings import Task
from cslab.jobs import make_all
from cslab.makers import dev_tasks
from cslab.recipe import Recipe
from cslab.row_stages import ranked_by
from cslab.systems import System, Untouched

if TYPE_CHECKING:
    from cslab.stages import Lab

SWITCHED = "ML-CS"  # the condition by whose policy questions and candidates are switched


def held_out_table(lab: "Lab", systems: Sequence[System] | None = None) -> pd.DataFrame:
    """Trains rankers and asks them the held-out questions.

    Args:
        lab: the experiment; `training.dev_queries` of its profile are held out.
        systems: whose rankers (default: each of the profile's once, and its untouched encoders first).

    Returns:
        A row per ranker (the name of its folder) and a column per reading: the mean of the first measure.

    Raises:
        CslabError: for a profile that holds nothing out.
    """
    trained = list(dict.fromkeys(system.ranker for system in systems or lab.systems()))
    untouched = [row for row in lab.rows() if isinstance(row, Untouched)] if systems is None else []
    readings(lab)  # what is missing is told before anything is trained
    lab.train_all(trained)
    chosen = [*untouched, *trained]
    make_all([(lab, row) for row in chosen], held_out_recipe, lab.profile.jobs)
    measure = lab.profile.evaluation.measures[0]
    summaries = {row.slug: held_out_recipe(lab, row).make().summary for row in chosen}
    rows = [{name: one[measure] for name, one in summary.items()} for summary in summaries.values()]
    return pd.DataFrame(rows, index=pd.Index(summaries, name="ranker"))


def held_out_recipe(lab: "Lab", row: System | Untouched) -> Recipe:
    """What a ranker makes of the held-out questions: for each reading, measure → mean ×100, in the stage's summary."""

    def build(folder: Path) -> dict[str, Any]:
        return ask_held_out(lab, row)

    evaluation, training = lab.profile.evaluation, lab.profile.training
    config = evaluation.model_dump(include={"protocol", "depth", "max_length", "measures"})
    config |= {"p": lab.profile.probability, "precision": training.precision}
    config |= {"questions": training.dev_queries, "seed": training.seeds[0]}
    config |= {"encoder": row.encoder} if isinstance(row, Untouched) else {}
    inputs = (lab._training, *([lab._model(row)] if isinstance(row, System) else []), *lab._lexicons())
    return Recipe(lab.folder / "held-out" / row.slug, config, build, inputs)


def ask_held_out(lab: "Lab", row: System | Untouched) -> dict[str, Any]:
    """Asks a row the held-out questions: for each reading, measure → mean ×100."""
    tasks, found = readings(lab), {}
    for name, run in ranked_by(lab, row, tasks).items():
        scores = score_run(run, tasks[name].qrels, row.name, row.seed, lab.profile.evaluation.measures)
        found[name] = (100 * scores.groupby("measure")["value"].mean()).round(2).to_dict()
    return found


def readings(lab: "Lab") -> dict[str, Task]:
    """The held-out questions and their candidates, in English as they are and switched.

    Raises:
        CslabError: for a profile that holds nothing out.
    """
    from cslab.switching.draw import Key
    from cslab.switching.switch import switcher
    from cslab.training.conditions import CONDITIONS, policy_for

    lexicons = lab.lexicons()
    switch = switcher(lexicons, policy_for(CONDITIONS[SWITCHED], None, tuple(lexicons), lab.profile.probability))
    (task,) = dev_tasks(lab, ["en-en"]).values()
    asked = {did for scores in task.candidates.scores.values() for did in scores}
    queries = {q: switch.text(text, Key(0, 0, q), "query") for q, text in task.queries.items()}
    documents = {d: switch.text(text, Key(0, 0, d), "document") for d, text in task.documents.items() if d in asked}
    return {"as they are": task, "switched": replace(task, queries=queries, documents=documents)}
