"""Labels of the objects of a result: known from the start, or computed at the first access."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seem.results.columns import take_values


@dataclass(frozen=True, slots=True)
class Labels:
    """The names of N objects, None where none fits, and a score each (0-1)."""

    names: tuple[str | None, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.scores):
            raise ValueError(
                f"Labels come with a score each, got {len(self.names)} names, {len(self.scores)} scores."
            )

    @classmethod
    def nameless(cls, count: int) -> Labels:
        """Return labels for `count` objects without a name."""
        return cls((None,) * count, (0.0,) * count)

    @classmethod
    def if_complete(cls, names: Sequence[str | None], scores: Sequence[float]) -> Labels | None:
        """Return the labels if every object has a name, else None."""
        if None in names:
            return None
        return cls(tuple(names), tuple(scores))

    def overridden_by(self, names: Sequence[str | None], scores: Sequence[float]) -> Labels:
        """Return these labels, replaced by `names` and `scores` where there is a name."""
        merged_names = list(self.names)
        merged_scores = list(self.scores)
        for row, (name, score) in enumerate(zip(names, scores, strict=True)):
            if name is not None:
                merged_names[row] = name
                merged_scores[row] = score
        return Labels(tuple(merged_names), tuple(merged_scores))

    def take(self, rows: Sequence[int]) -> Labels:
        """Return the labels of some of the objects."""
        return Labels(take_values(self.names, rows), take_values(self.scores, rows))


class LazyLabels:
    """The labels of a result: known from the start, or computed once at the first access, whichever thread asks."""

    __slots__ = ("_compute", "_lock", "known", "seconds")

    def __init__(self, labels: Labels | Callable[[], Labels]) -> None:
        self.known: Labels | None = None
        self.seconds: float | None = None
        """How long the computation took; None for labels that were known."""
        self._compute: Callable[[], Labels] | None = None
        self._lock = threading.Lock()
        if isinstance(labels, Labels):
            self.known = labels
        else:
            self._compute = labels

    def __reduce__(self) -> tuple[type[LazyLabels], tuple[Labels]]:
        """Pickle the labels, not the function, which another process may not have."""
        return LazyLabels, (self._resolve(),)

    def get(self, count: int) -> Labels:
        """Return the labels of the `count` objects; `ValueError` if they are not that many."""
        labels = self.known or self._resolve()
        if len(labels.names) != count:
            raise ValueError(
                f"There are {count} masks, but {len(labels.names)} labels; give one for each mask."
            )
        return labels

    def take(self, rows: list[int], count: int) -> LazyLabels:
        """Return the labels of some of the `count` objects; they share this computation, which runs once."""
        if self.known is not None:
            return LazyLabels(self.known.take(rows))
        return LazyLabels(lambda: self.get(count).take(rows))

    def _resolve(self) -> Labels:
        with self._lock:
            if self.known is None:
                assert self._compute is not None
                start = time.perf_counter()
                self.known = self._compute()
                self.seconds = time.perf_counter() - start
                self._compute = None  # frees what the function holds
            return self.known
