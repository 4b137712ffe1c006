"""Notebooks side by side, each in a process of its own, in the order of what they need.

What they print comes line by line through one stream.

    side_by_side(notebooks, jobs=4, work=partial(run, profile=profile), stream=sys.stdout)
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TextIO

from cslab.pool import Queued, pool
from cslab.workbench.execute import Notebook


def _call(work: Callable[..., int], notebook: Notebook) -> int:
    return work(notebook, stream=Queued())


def ready(waiting: Sequence[Notebook], running: Iterable[Notebook]) -> list[Notebook]:
    """The notebooks that need none of those that wait or run."""
    unfinished = {notebook.number for notebook in (*waiting, *running)}

    def needs(notebook: Notebook) -> set[str]:
        before = {number for number in unfinished if number < notebook.number}
        return before if notebook.after is None else before & set(notebook.after)

    return [notebook for notebook in waiting if not needs(notebook)]


def side_by_side(notebooks: Sequence[Notebook], jobs: int, work: Callable[..., int], stream: TextIO) -> int:
    """Runs notebooks, several at a time; after a failure or an interruption none is started any more.

    Args:
        notebooks: in the order of their numbers.
        jobs: most that run at a time.
        work: runs one, called as `work(notebook, stream=…)` in another process; gives its exit status.
        stream: where their lines go.

    Returns:
        0, or 1 if one failed.
    """
    waiting, running, status = list(notebooks), {}, 0
    with pool(jobs, stream) as executor:
        while running or (waiting and not status):
            try:
                for notebook in [] if status else ready(waiting, running.values())[: jobs - len(running)]:
                    waiting.remove(notebook)
                    running[executor.submit(_call, work, notebook)] = notebook
                done: set[Future[int]] = wait(running, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:
                status = 1  # each of those that run is interrupted, too, and says so
                continue
            for future in done:
                running.pop(future)
                status = max(status, future.result())
    return status
