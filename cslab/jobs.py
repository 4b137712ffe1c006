"""Rankers trained, asked and attacked side by side: one process each, with its share of the cores or a GPU of its own.

A small encoder cannot keep several cores busy: two trainings with one thread each take about 0.7 of the time of one
after the other with two threads each. Machines with several GPUs train one ranker on each.

    make_all([(lab, system) for system in lab.systems()], "train", jobs=2)      # then lab.train(system) finds them done
"""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING

from cslab.model_stages import beginnings
from cslab.pool import aloud, pool
from cslab.processes import cores, processes
from cslab.store import CslabError
from cslab.systems import System

if TYPE_CHECKING:
    from cslab.recipe import Recipe
    from cslab.stages import Lab

STAGES = {"begin": "_beginning", "train": "_model", "runs": "_runs"}
Kind = str | Callable[..., "Recipe"]


def make_all(asked: "Sequence[tuple[Lab, System]]", kind: Kind, jobs: int) -> None:
    """Makes a stage of several systems, some at a time; with one job it leaves them to whoever asks for them.

    What is to be ranked is looked at before anything is trained.

    Args:
        asked: labs and systems; what is done already is left alone.
        kind: "begin" for the first steps of their rankers, "train" for the rankers, "runs" for what these make of the
            candidates; or a function of lab and system
            that gives the stage, one that other processes can be sent.
        jobs: most processes at a time; where a launcher started several processes those share each stage instead.

    Raises:
        CslabError: what a process raised, or if one died.
    """
    wanted = {_recipe(lab, kind, system).path: (lab, system) for lab, system in asked}
    left = [one for one in wanted.values() if _recipe(one[0], kind, one[1]).state() != "done"]
    for lab, system in left if kind == "runs" else ():
        lab.tasks(system)  # a language that is missing is told before anything is trained
    jobs = min(jobs, len(left))
    if jobs < 2 or processes()[1] > 1:
        return
    if kind == "runs":
        make_all([(lab, row) for lab, row in left if isinstance(row, System)], "train", jobs)
    if kind == "train":
        make_all(beginnings(left), "begin", jobs)
    for lab, system in left:
        # Otherwise several processes would want them at once.
        for recipe in _recipe(lab, kind, system).inputs:
            recipe.make()
    with pool(jobs, sys.stdout, _environments(jobs)) as run:
        futures = {run.submit(aloud, f"{s.slug} | ", _make, lab, kind, s): s for lab, s in left}
        for future in as_completed(futures):
            try:
                future.result()
            except BrokenProcessPool:
                slug = futures[future].slug
                raise CslabError(
                    f"jobs: a process died, often for want of memory, perhaps that of {slug}; lower `jobs`"
                ) from None


def _recipe(lab: "Lab", kind: Kind, system: System) -> "Recipe":
    return getattr(lab, STAGES[kind])(system) if isinstance(kind, str) else kind(lab, system)


def _make(lab: "Lab", kind: Kind, system: System) -> None:
    _recipe(lab, kind, system).make()


def _environments(jobs: int) -> list[dict[str, str]]:
    """For each process its GPU, one after the other, or its share of the cores."""
    import torch

    gpus = torch.cuda.device_count()
    if gpus:
        named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        visible = named.split(",") if named else [str(number) for number in range(gpus)]
        return [{"CUDA_VISIBLE_DEVICES": visible[number % gpus]} for number in range(jobs)]
    return [{"OMP_NUM_THREADS": str(max(1, cores() // jobs))}] * jobs
