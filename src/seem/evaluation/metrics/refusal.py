"""Refusal rate: how often a prediction is empty."""

from __future__ import annotations

import math
from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent


@dataclass(frozen=True, slots=True)
class RefusalResult:
    """The percentage of `count` predictions that were empty."""

    count: int
    refused: float


class RefusalRate:
    """Counts empty predictions: correct for an absent class, wrong for a present one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._count = 0
        self._refused = 0

    def update(self, refused: bool) -> None:
        """Add one prediction."""
        self._count += 1
        self._refused += bool(refused)

    def merge(self, other: RefusalRate) -> None:
        """Add what another process counted."""
        self._count += other._count
        self._refused += other._refused

    def compute(self) -> RefusalResult:
        """Return the percentage so far."""
        if not self._count:
            return RefusalResult(0, math.nan)
        return RefusalResult(self._count, mean_percent([self._refused / self._count]))

    def state(self) -> State:
        """Return what was counted."""
        return {"count": self._count, "refused": self._refused}

    @classmethod
    def from_state(cls, state: State) -> RefusalRate:
        """Restore the metric from its `state`."""
        metric = cls()
        metric._count = int(state["count"])
        metric._refused = int(state["refused"])
        return metric
