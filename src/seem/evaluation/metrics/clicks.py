"""How fast clicks lead to the object: mean IoU after some clicks, and the number of clicks to a good mask (NoC)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent

REPORTED_CLICKS = (1, 2, 3, 5, 10, 20)
NOC_THRESHOLDS = (0.8, 0.85, 0.9)
NOC_MAXIMA = (5, 10, 20)


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
    """Scores of `objects` objects; `mean_iou` is by the number of clicks. A single click leaves `noc` empty.

    `noc` has every threshold with every maximum of `NOC_MAXIMA` that was played, and with all clicks that were.
    """

    objects: int
    mean_iou: Mapping[int, float]
    noc: tuple[NumberOfClicks, ...]

    def number_of_clicks(self, threshold: float, maximum: int) -> NumberOfClicks:
        """Return one NoC, such as NoC20@90; `ValueError` if it was not taken."""
        for noc in self.noc:
            if (noc.threshold, noc.maximum) == (threshold, maximum):
                return noc
        taken = ", ".join(f"{noc.maximum} clicks to {noc.threshold}" for noc in self.noc)
        raise ValueError(f"{maximum} clicks to {threshold} were not counted; there is: {taken or 'nothing'}.")


class ClickScores:
    """Collects the IoU after every one of `clicks` clicks on each object."""

    def __init__(self, clicks: int, thresholds: Sequence[float] = NOC_THRESHOLDS) -> None:
        if clicks < 1:
            raise ValueError(f"clicks is {clicks}; a user clicks at least once.")
        self.clicks = clicks
        self.thresholds = tuple(thresholds)
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
        if (other.clicks, other.thresholds) != (self.clicks, self.thresholds):
            raise ValueError(
                f"Scores of {other.clicks} clicks to {other.thresholds} do not go with scores of {self.clicks} clicks "
                f"to {self.thresholds}."
            )
        self._curves += other._curves

    def compute(self) -> ClickResult:
        """Score all objects so far; their order does not matter."""
        reported = [k for k in REPORTED_CLICKS if k <= self.clicks]
        maxima = sorted({self.clicks, *(most for most in NOC_MAXIMA if most < self.clicks)}) if self.clicks > 1 else []
        return ClickResult(
            objects=len(self._curves),
            mean_iou={k: mean_percent(curve[k - 1] for curve in self._curves) for k in reported},
            noc=tuple(self._number_of_clicks(threshold, most) for most in maxima for threshold in self.thresholds),
        )

    def state(self) -> State:
        """Return what was collected."""
        return {"clicks": self.clicks, "thresholds": list(self.thresholds), "ious": list(map(list, self._curves))}

    @classmethod
    def from_state(cls, state: State) -> ClickScores:
        """Go on from what was collected."""
        scores = cls(int(state["clicks"]), state["thresholds"])
        for ious in state["ious"]:
            scores.update(ious)
        return scores

    def _number_of_clicks(self, threshold: float, maximum: int) -> NumberOfClicks:
        needed = [
            next((k for k, iou in enumerate(curve[:maximum], start=1) if iou >= threshold), None)
            for curve in self._curves
        ]
        total = sum(maximum if k is None else k for k in needed)
        return NumberOfClicks(
            threshold=threshold,
            maximum=maximum,
            mean=total / len(needed) if needed else math.nan,
            never=needed.count(None),
        )
