"""Work on a sequence of items that is begun before its results are asked for, and their order stays."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

MAX_WORKERS_BEYOND_CORES = 8  # processes that may be asked for on any machine

Item = TypeVar("Item")
Result = TypeVar("Result")


def run_ahead(
    executor: Executor, function: Callable[[Item], Result], items: Iterable[Item], num_ahead: int
) -> Iterator[Future[Result]]:
    """Apply a function to items in the threads or processes of an executor; yields futures in the order of the items.

    At most `num_ahead` items beyond the one that is yielded have been taken from `items`, in the caller's thread. Where
    the caller stops early, those that have not begun are cancelled.
    """
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > num_ahead:
                yield pending.popleft()
        while pending:
            yield pending.popleft()
    finally:
        for future in pending:
            future.cancel()


def check_workers(workers: object, device_type: str) -> int:
    """Return a number of worker processes; `ValueError` for one that cannot be started."""
    num_cores = os.cpu_count() or 1
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers is {workers!r}; use 1 (this process) or more.")
    if workers > max(num_cores, MAX_WORKERS_BEYOND_CORES):
        raise ValueError(
            f"workers is {workers}; this machine has {num_cores} cores, one for each is best."
        )
    if workers > 1 and device_type != "cpu":
        raise ValueError(
            f"workers is {workers}, but the model is on {device_type}; several processes are for CPUs, leave it out."
        )
    return workers
