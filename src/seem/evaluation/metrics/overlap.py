"""How well regions agree: intersection over union, per pair and over all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

PRECISION_AT = (0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pixels that two masks share, and pixels that are in either."""

    shared: int
    either: int

    @classmethod
    def of(cls, predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> Overlap:
        """Count the pixels of two masks of one photo."""
        shared = int(np.count_nonzero(predicted & truth))
        return cls(shared, int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth)) - shared)

    @property
    def iou(self) -> float:
        """Intersection over union, 0-1; two empty masks agree fully."""
        return self.shared / self.either if self.either else 1.0


@dataclass(frozen=True, slots=True)
class OverlapResult:
    """Scores of `count` pairs of masks.

    `mean_iou` is the mean over pairs, `cumulative_iou` all intersections over all unions (the cIoU of referring
    segmentation), `precision` the share of pairs that reach an IoU.
    """

    count: int
    mean_iou: float
    cumulative_iou: float
    precision: Mapping[float, float]


class OverlapScores:
    """Mean and cumulative IoU of predicted regions, and how many are good enough."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._overlaps: list[Overlap] = []

    def update(self, overlap: Overlap) -> None:
        """Add one pair of masks."""
        self._overlaps.append(overlap)

    def merge(self, other: OverlapScores) -> None:
        """Add what another process counted."""
        self._overlaps += other._overlaps

    def compute(self) -> OverlapResult:
        """Score all pairs so far; their order does not matter."""
        ious = [overlap.iou for overlap in self._overlaps]
        either = sum(overlap.either for overlap in self._overlaps)
        shared = sum(overlap.shared for overlap in self._overlaps)
        return OverlapResult(
            count=len(ious),
            mean_iou=mean_percent(ious),
            cumulative_iou=100 * shared / either if either else mean_percent(ious),
            precision={limit: mean_percent(iou >= limit for iou in ious) for limit in PRECISION_AT},
        )


def mean_percent(shares: Iterable[float]) -> float:
    """Average shares (0-1) and return a percentage; NaN for none. Exact sums: the order does not matter."""
    values = list(shares)
    return 100 * math.fsum(values) / len(values) if values else math.nan
