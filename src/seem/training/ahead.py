"""Drawing the next batches while the network works on this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Drawn = TypeVar("Drawn")


class Ahead(Generic[Drawn]):
    """A function of the step's number that is asked a few numbers ahead, in threads.

    Each number's answer depends on the number alone, so nothing changes but the time.
    """

    def __init__(self, draw: Callable[[int], Drawn], workers: int, end: int) -> None:
        self._draw = draw
        self._workers = workers
        self._end = end
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="draw")
        self._coming: dict[int, Future[Drawn]] = {}

    def __call__(self, number: int) -> Drawn:
        """Return the answer for a number; those after it are begun."""
        self._coming = {n: future for n, future in self._coming.items() if number <= n}
        for n in range(number, min(number + self._workers + 1, max(self._end, number + 1))):
            if n not in self._coming:
                self._coming[n] = self._pool.submit(self._draw, n)
        return self._coming.pop(number).result()

    def close(self) -> None:
        """Stop drawing."""
        self._pool.shutdown(wait=True, cancel_futures=True)
