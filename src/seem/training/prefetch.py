"""Drawing the next batches in threads while the network works on this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class Prefetcher(Generic[Batch]):
    """Calls `draw(number)` some numbers ahead, in threads; the batch of a number depends on the number alone.

    Args:
        draw: returns the batch of a number.
        workers: number of threads, and of batches drawn ahead.
        end: number after the last one.
    """

    def __init__(self, draw: Callable[[int], Batch], workers: int, end: int) -> None:
        self._draw = draw
        self._workers = workers
        self._end = end
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="draw")
        self._pending: dict[int, Future[Batch]] = {}

    def __call__(self, number: int) -> Batch:
        """Return the batch of a number, and begin to draw those after it."""
        self._pending = {n: future for n, future in self._pending.items() if number <= n}
        end = max(self._end, number + 1)
        for n in range(number, min(number + self._workers + 1, end)):
            if n not in self._pending:
                self._pending[n] = self._pool.submit(self._draw, n)
        return self._pending.pop(number).result()

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
