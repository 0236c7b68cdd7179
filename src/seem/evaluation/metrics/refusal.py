"""How often a question is answered with "there is none"."""

from __future__ import annotations

from dataclasses import dataclass

from seem.evaluation.metrics.overlap import mean_percent


@dataclass(frozen=True, slots=True)
class RefusalResult:
    """The percentage of `count` questions whose answer was empty."""

    count: int
    refused: float


class RefusalShare:
    """Counts empty answers: right for what is absent, wrong for what is there."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._refused: list[bool] = []

    def update(self, refused: bool) -> None:
        """Add one answer."""
        self._refused.append(refused)

    def merge(self, other: RefusalShare) -> None:
        """Add what another process counted."""
        self._refused += other._refused

    def compute(self) -> RefusalResult:
        """Return the share so far."""
        return RefusalResult(len(self._refused), mean_percent(self._refused))
