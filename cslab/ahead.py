"""Work done ahead, in order: a thread of this process, or several processes.

What is made must be a pure function, so that neither the number of workers nor their speed changes a result.

    with ahead(make, [(0, 0), (0, 1), (1, 0)], workers=2) as made:
        for result in made: ...
"""

import contextlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, TypeVar

from cslab.processes import follow_parent, start_method

T = TypeVar("T")
P = TypeVar("P", bound=Executor)
READY = 2  # items fetched before they are asked for

_MAKE: list[Callable[..., Any]] = []  # in a worker process: what it makes


@contextlib.contextmanager
def ahead(make: Callable[..., Any], arguments: Sequence[tuple], workers: int = 0) -> Iterator[Iterator[Any]]:
    """Gives the results of `make(*arguments[i])` in order, some of them made while earlier ones are used.

    Args:
        make: a pure function.
        arguments: of each call.
        workers: processes; 0 for one thread. One result per worker is kept ready.
    """
    pool, call = _processes(make, workers) if workers else (ThreadPoolExecutor(1, "ahead"), make)
    with _emptied(pool):
        yield _in_order(pool, call, arguments, max(1, workers))


@contextlib.contextmanager
def prefetched(items: Generator[T, None, None]) -> Iterator[Iterator[T]]:
    """Gives what a generator gives, in order; a thread fetches the next `READY` items meanwhile.

    The first item comes from the caller's thread, so that a generator which forks processes does so before any work
    goes on beside it. However the block is left, the generator is closed then and there: left to the garbage
    collector, it would shut its pools down at any moment, while the thread holds a lock that they need, say.
    """
    with contextlib.closing(items), _emptied(ThreadPoolExecutor(1, "prefetch")) as pool:
        yield _fetched(items, pool)


@contextlib.contextmanager
def _emptied(pool: P) -> Iterator[P]:
    """A pool that drops what it has not begun when the block is left."""
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _fetched(items: Iterator[T], pool: Executor) -> Iterator[T]:
    end: Any = object()
    item = next(items, end)
    coming: deque[Future] = deque()
    while item is not end:
        coming.extend(pool.submit(next, items, end) for _ in range(READY - len(coming)))
        yield item
        item = coming.popleft().result()


def _in_order(pool: Executor, call: Callable[..., Any], arguments: Sequence[tuple], ready: int) -> Iterator[Any]:
    coming: deque[Future] = deque()
    left = iter(arguments)
    for given in left:
        coming.append(pool.submit(call, *given))
        if len(coming) == ready:
            break
    while coming:
        result = coming.popleft().result()
        coming.extend(pool.submit(call, *given) for given in (next(left, None),) if given is not None)
        yield result


def _processes(make: Callable[..., Any], workers: int) -> tuple[Executor, Callable[..., Any]]:
    # Unless it is said outright that tokenizers may use threads, which is what they do, each fork would warn of it.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    context = multiprocessing.get_context(start_method())
    return ProcessPoolExecutor(workers, context, _begin, (make,)), _make


def _begin(make: Callable[..., Any]) -> None:
    """First thing in a worker: it tokenises in one thread, and ends when its parent was killed."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _MAKE[:] = [make]
    follow_parent()


def _make(*given: Any) -> Any:
    return _MAKE[0](*given)
