"""How fast clicks lead to the object: mean IoU after some clicks, and the number of clicks to a good mask (NoC)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seem.evaluation.metrics.overlap import mean_percent

REPORTED_CLICKS = (1, 2, 3, 5, 10)
NOC_THRESHOLDS = (0.85, 0.9)


@dataclass(frozen=True, slots=True)
class NumberOfClicks:
    """The mean number of clicks until an IoU of `threshold`; an object that never gets there counts as `maximum`.

    `never` says how many these are.
    """

    threshold: float
    maximum: int
    mean: float
    never: int


@dataclass(frozen=True, slots=True)
class ClickResult:
    """Scores of `objects` objects; `mean_iou` is by the number of clicks. A single click leaves `noc` empty."""

    objects: int
    mean_iou: Mapping[int, float]
    noc: tuple[NumberOfClicks, ...]


class ClickScores:
    """Collects the IoU after every one of `clicks` clicks on each object."""

    def __init__(self, clicks: int) -> None:
        if clicks < 1:
            raise ValueError(f"clicks is {clicks}; a user clicks at least once.")
        self.clicks = clicks
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._curves: list[tuple[float, ...]] = []

    def update(self, ious: Sequence[float]) -> None:
        """Add one object: its IoU (0-1) after 1, 2, ... clicks."""
        if len(ious) != self.clicks:
            raise ValueError(f"There are {len(ious)} values for {self.clicks} clicks; give one for every click.")
        self._curves.append(tuple(ious))

    def merge(self, other: ClickScores) -> None:
        """Add what another process collected."""
        if other.clicks != self.clicks:
            raise ValueError(f"Scores of {other.clicks} clicks do not go with scores of {self.clicks}.")
        self._curves += other._curves

    def compute(self) -> ClickResult:
        """Score all objects so far; their order does not matter."""
        reported = [k for k in REPORTED_CLICKS if k <= self.clicks]
        return ClickResult(
            objects=len(self._curves),
            mean_iou={k: mean_percent(curve[k - 1] for curve in self._curves) for k in reported},
            noc=tuple(self._number_of_clicks(threshold) for threshold in NOC_THRESHOLDS if self.clicks > 1),
        )

    def _number_of_clicks(self, threshold: float) -> NumberOfClicks:
        needed = [next((k for k, iou in enumerate(curve, start=1) if iou >= threshold), None) for curve in self._curves]
        total = sum(self.clicks if k is None else k for k in needed)
        return NumberOfClicks(
            threshold=threshold,
            maximum=self.clicks,
            mean=total / len(needed) if needed else math.nan,
            never=needed.count(None),
        )
