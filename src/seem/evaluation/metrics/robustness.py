"""Robustness: how much a score falls when the image is changed in a way that people hardly notice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent


@dataclass(frozen=True, slots=True)
class ScoreDrop:
    """A mean IoU on changed images: it is `points` below that on the stored ones, which is `percent` of it."""

    mean_iou: float
    points: float
    percent: float


@dataclass(frozen=True, slots=True)
class RobustnessResult:
    """Mean IoU of `objects` on the images as stored, and how it falls under each change."""

    objects: int
    stored: float
    changed: Mapping[str, ScoreDrop]


class RobustnessScores:
    """Collects the IoU of every object on the stored image and on each changed one."""

    def __init__(self, changes: Sequence[str]) -> None:
        self.changes = tuple(changes)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._stored: list[float] = []
        self._changed: dict[str, list[float]] = {change: [] for change in self.changes}

    def update(self, stored: float, changed: Mapping[str, float]) -> None:
        """Add an object: IoUs, 0-1; `ValueError` unless there is one for every change."""
        if changed.keys() != self._changed.keys():
            raise ValueError(
                f"The changes are {', '.join(self.changes)}; got {', '.join(changed) or 'none'}."
            )
        self._stored.append(stored)
        for change, iou in changed.items():
            self._changed[change].append(iou)

    def merge(self, other: RobustnessScores) -> None:
        """Add what another process counted; `ValueError` if it made other changes."""
        if other.changes != self.changes:
            raise ValueError(
                f"Scores under {self.changes} and under {other.changes} cannot be merged."
            )
        self._stored += other._stored
        for change, ious in other._changed.items():
            self._changed[change] += ious

    def compute(self) -> RobustnessResult:
        """Score all objects so far; their order does not matter."""
        stored = mean_percent(self._stored)
        changed = {change: _score_drop(stored, ious) for change, ious in self._changed.items()}
        return RobustnessResult(len(self._stored), stored, changed)

    def state(self) -> State:
        """Return what was counted."""
        changed = {change: list(ious) for change, ious in self._changed.items()}
        return {"changes": list(self.changes), "stored": list(self._stored), "changed": changed}

    @classmethod
    def from_state(cls, state: State) -> RobustnessScores:
        """Restore the metric from its `state`."""
        metric = cls(state["changes"])
        metric._stored = list(state["stored"])
        metric._changed = {change: list(state["changed"][change]) for change in metric.changes}
        return metric


def _score_drop(stored: float, ious: Sequence[float]) -> ScoreDrop:
    mean = mean_percent(ious)
    points = stored - mean
    percent = math.nan
    if stored:
        percent = 100 * points / stored
    return ScoreDrop(mean, points, percent)
