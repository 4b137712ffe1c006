"""Notebooks side by side, each in a process of its own, in the order of what they need.

A process, not a thread: an interruption from the keyboard then reaches each of them as it reaches a single one. What
they print comes line by line through one queue.

    side_by_side(notebooks, jobs=4, work=partial(run, profile=profile), stream=sys.stdout)
"""

import io
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TextIO

from cslab.workbench.execute import Notebook

_lines: Any = None  # in a process of the pool: the queue that its lines go to


class _Queued(io.TextIOBase):
    """A stream whose whole lines go to the queue, those that are written at once in one piece."""

    def __init__(self) -> None:
        self.rest = ""

    def write(self, text: str) -> int:
        whole, end, self.rest = (self.rest + text).rpartition("\n")
        if end:
            _lines.put(whole + end)
        return len(text)


def _begin(lines: Any) -> None:
    global _lines
    _lines = lines


def _call(work: Callable[..., int], notebook: Notebook) -> int:
    return work(notebook, stream=_Queued())


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
    context = multiprocessing.get_context("spawn")
    lines = context.SimpleQueue()
    waiting, running, status = list(notebooks), {}, 0
    with (
        _copied(lines, stream),
        ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(lines,)) as pool,
    ):
        while running or (waiting and not status):
            try:
                for notebook in [] if status else ready(waiting, running.values())[: jobs - len(running)]:
                    waiting.remove(notebook)
                    running[pool.submit(_call, work, notebook)] = notebook
                done: set[Future[int]] = wait(running, return_when=FIRST_COMPLETED).done
            except KeyboardInterrupt:
                status = 1  # each of those that run is interrupted, too, and says so
                continue
            for future in done:
                running.pop(future)
                status = max(status, future.result())
    return status


@contextmanager
def _copied(lines: Any, stream: TextIO):
    """Within the block, what comes through the queue is written to a stream."""

    def copy() -> None:
        while (text := lines.get()) is not None:
            stream.write(text)
            stream.flush()

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    try:
        yield
    finally:
        lines.put(None)
        thread.join()
