"""Processes of this machine that work side by side: what they print comes line by line in one stream.

Processes, not threads: an interruption from the keyboard then reaches each of them as it reaches a single one. They end
when the process that started them does, however it ends.

    with pool(2, sys.stdout, environments=[{"OMP_NUM_THREADS": "1"}] * 2) as run:
        run.submit(aloud, "first | ", print, "hello").result()        # prints `first | hello`
"""

import contextlib
import io
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TextIO

from cslab.processes import follow_parent

_lines: Any = None  # in a process of a pool: the queue that its lines go to


class Queued(io.TextIOBase):
    """In a process of a pool, a stream whose whole lines go to the queue, those written at once in one piece."""

    def __init__(self, mark: str = "") -> None:
        """Keeps what stands before each line."""
        self.rest, self.mark = "", mark

    def write(self, text: str) -> int:
        """Takes text; what follows the last line end waits for more."""
        whole, end, self.rest = (self.rest + text).rpartition("\n")
        if end:
            _lines.put("".join(f"{self.mark}{line}\n" for line in whole.split("\n")))
        return len(text)


def aloud(mark: str, work: Callable[..., Any], *given: Any) -> Any:
    """Calls `work` in a process of a pool; what it prints goes to the pool's stream, each line behind the mark."""
    with contextlib.redirect_stdout(Queued(mark)):
        return work(*given)


@contextlib.contextmanager
def pool(jobs: int, stream: TextIO, environments: Sequence[Mapping[str, str]] = ()) -> Iterator[ProcessPoolExecutor]:
    """Gives a pool; at the end of the block what has not begun is dropped, and what runs is waited for.

    Args:
        jobs: processes.
        stream: where their lines go.
        environments: variables of the environment for each process, set before it imports anything heavy.
    """
    context = multiprocessing.get_context("spawn")
    lines, settings = context.SimpleQueue(), context.SimpleQueue()
    for number in range(jobs):
        settings.put(dict(environments[number]) if environments else {})
    with _copied(lines, stream):
        executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(lines, settings))
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)


def _begin(lines: Any, settings: Any) -> None:
    global _lines
    _lines = lines
    os.environ.update(settings.get())
    follow_parent()


@contextlib.contextmanager
def _copied(lines: Any, stream: TextIO) -> Iterator[None]:
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
