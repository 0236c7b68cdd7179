"""Scores of interactive segmentation: mean IoU after some clicks, and the number of clicks to a good mask (NoC)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_or_nan, mean_percent

REPORTED_CLICKS = (1, 2, 3, 5, 10, 20)
NOC_THRESHOLDS = (0.8, 0.85, 0.9)
NOC_MAXIMA = (5, 10, 20)


@dataclass(frozen=True, slots=True)
class NumberOfClicks:
    """The mean number of clicks until an IoU of `threshold`; an object that never reaches it counts as `maximum`.

    `never` is the number of these objects.
    """

    threshold: float
    maximum: int
    mean: float
    never: int


@dataclass(frozen=True, slots=True)
class ClickResult:
    """Scores of `objects` objects; `mean_iou` is by the number of clicks.

    `noc` has every threshold with every maximum of `NOC_MAXIMA` up to the number of clicks, and with that number
    itself. It is empty after a single click.
    """

    objects: int
    mean_iou: Mapping[int, float]
    noc: tuple[NumberOfClicks, ...]

    def number_of_clicks(self, threshold: float, maximum: int) -> NumberOfClicks:
        """Return one NoC, such as NoC20@90; `ValueError` if it was not computed."""
        for noc in self.noc:
            if (noc.threshold, noc.maximum) == (threshold, maximum):
                return noc
        known = ", ".join(f"{noc.maximum} clicks to {noc.threshold}" for noc in self.noc)
        raise ValueError(
            f"{maximum} clicks to {threshold} were not counted; there is: {known or 'nothing'}."
        )


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
        self._ious: list[tuple[float, ...]] = []

    def update(self, ious: Sequence[float]) -> None:
        """Add one object: its IoU (0-1) after 1, 2, ... clicks."""
        if len(ious) != self.clicks:
            raise ValueError(
                f"There are {len(ious)} values for {self.clicks} clicks; give one for every click."
            )
        self._ious.append(tuple(ious))

    def merge(self, other: ClickScores) -> None:
        """Add what another process collected."""
        if (other.clicks, other.thresholds) != (self.clicks, self.thresholds):
            raise ValueError(
                f"Scores of {other.clicks} clicks to {other.thresholds} do not go with scores of {self.clicks} clicks "
                f"to {self.thresholds}."
            )
        self._ious += other._ious

    def compute(self) -> ClickResult:
        """Score all objects so far; their order does not matter."""
        ious = np.array(self._ious, np.float64).reshape(-1, self.clicks)
        mean_iou = {}
        for clicks in REPORTED_CLICKS:
            if clicks <= self.clicks:
                mean_iou[clicks] = mean_percent(ious[:, clicks - 1].tolist())
        noc = []
        for maximum in self._maxima():
            for threshold in self.thresholds:
                noc.append(_number_of_clicks(ious[:, :maximum], threshold))
        return ClickResult(len(ious), mean_iou, tuple(noc))

    def state(self) -> State:
        """Return what was collected."""
        return {
            "clicks": self.clicks,
            "thresholds": list(self.thresholds),
            "ious": [list(ious) for ious in self._ious],
        }

    @classmethod
    def from_state(cls, state: State) -> ClickScores:
        """Restore the metric from its `state`."""
        scores = cls(int(state["clicks"]), state["thresholds"])
        for ious in state["ious"]:
            scores.update(ious)
        return scores

    def _maxima(self) -> list[int]:
        if self.clicks == 1:
            return []
        smaller = [maximum for maximum in NOC_MAXIMA if maximum < self.clicks]
        return [*smaller, self.clicks]


def _number_of_clicks(ious: Float[np.ndarray, "n clicks"], threshold: float) -> NumberOfClicks:
    """Count the clicks until each object reaches an IoU; all of them for an object that never does."""
    maximum = ious.shape[1]
    is_reached = ious >= threshold
    is_ever_reached = is_reached.any(axis=1)
    needed = np.where(is_ever_reached, is_reached.argmax(axis=1) + 1, maximum)
    never = int(np.count_nonzero(~is_ever_reached))
    return NumberOfClicks(threshold, maximum, mean_or_nan(needed.tolist()), never)
