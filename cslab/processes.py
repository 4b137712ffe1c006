"""Processes: which one of a launcher's this is, sums over all of them, locks between any, the end with a parent.

`torchrun --nproc_per_node 4 -m cslab rerank …` and `accelerate launch -m cslab rerank …` start the same command several
times. One process, started plainly, is a group of one and pays for nothing here. What systems do differently about
processes is here and nowhere else.

    rank, count = processes()
    mine = shards[rank::count]
    total = summed(counts)              # element by element, the same in every process
    cores()                             # that this process may use, which may be fewer than the machine has
    with alone(folder): ...             # other processes that want to make it wait
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    import numpy as np

# Others wait while one process makes a stage or scores its last shard.
PATIENCE = timedelta(days=7)


_apart = False


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Within the block no other process makes what is to lie at `path`: they wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"  waiting for {path.parent.name}/{path.name}, which another process makes", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def start_method() -> str:
    """How workers begin: forked ones share what is in memory, which only Linux does safely; others are sent it."""
    return "fork" if sys.platform == "linux" else "spawn"


def follow_parent() -> None:
    """Ends this worker of `multiprocessing` once the process that started it is gone, also when that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "called in a worker only"

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def readable_output() -> None:
    """Has characters that the terminal's code page lacks, as it often does on Windows, printed as `\\u…`."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")


def processes() -> tuple[int, int]:
    """(number of this process, how many there are); joins the launcher's group and takes its own GPU at first call."""
    return (0, 1) if _apart else _group()


@cache
def _group() -> tuple[int, int]:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return 0, 1
    import torch
    from accelerate import PartialState

    # `accelerate launch --use_fsdp` would have transformers load weights in the first process alone.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    state = PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)
    return state.process_index, state.num_processes


@contextmanager
def apart() -> Iterator[None]:
    """Inside, a process is a group of one: for work that it does while the others wait."""
    global _apart
    before, _apart = _apart, True
    try:
        yield
    finally:
        _apart = before


def summed(array: "np.ndarray") -> "np.ndarray":
    """The sum of an array over all processes; with one process the array itself."""
    if processes()[1] == 1:
        return array
    import torch
    from torch import distributed

    # NCCL knows only its GPU.
    device = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
    shared = torch.from_numpy(array).to(device)
    distributed.all_reduce(shared)
    return shared.cpu().numpy()


def wait() -> None:
    """Returns when all processes have come here."""
    if processes()[1] > 1:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
