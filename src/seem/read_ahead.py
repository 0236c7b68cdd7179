"""Work on a sequence of items that is begun before its results are asked for, and their order stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

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
