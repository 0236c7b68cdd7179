"""How often a question is answered with "there is none"."""

from __future__ import annotations

from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
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
        self._count = 0
        self._refused = 0

    def update(self, refused: bool) -> None:
        """Add one answer."""
        self._count += 1
        self._refused += bool(refused)

    def merge(self, other: RefusalShare) -> None:
        """Add what another process counted."""
        self._count += other._count
        self._refused += other._refused

    def compute(self) -> RefusalResult:
        """Return the share so far."""
        return RefusalResult(self._count, mean_percent([self._refused / self._count] if self._count else []))

    def state(self) -> State:
        """Return what was counted."""
        return {"count": self._count, "refused": self._refused}

    @classmethod
    def from_state(cls, state: State) -> RefusalShare:
        """Go on from what was counted."""
        share = cls()
        share._count, share._refused = int(state["count"]), int(state["refused"])
        return share
