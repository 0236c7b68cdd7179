"""Intersection over union of masks, per pair and over all of them."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.evaluation.metrics.metric import State

PRECISION_AT = (0.5, 0.6, 0.7, 0.8, 0.9)

_EPSILON = np.float32(1e-6)  # of the official referring evaluator, added to the union


@dataclass(frozen=True, slots=True)
class Overlap:
    """Numbers of pixels in the intersection and in the union of two masks."""

    intersection: int
    union: int

    @classmethod
    def of(cls, predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> Overlap:
        """Count the pixels of two masks of one image."""
        intersection = int(np.count_nonzero(predicted & truth))
        areas = int(np.count_nonzero(predicted)) + int(np.count_nonzero(truth))
        return cls(intersection, areas - intersection)

    @property
    def iou(self) -> float:
        """Intersection over union, 0-1; two empty masks score 1."""
        if not self.union:
            return 1.0
        return self.intersection / self.union

    @property
    def official_iou(self) -> float:
        """Intersection over union as the official referring evaluator computes it.

        In single precision, with 1e-6 added to the union: two empty masks score 0, and one half of a region of
        fewer than 32 pixels is less than 0.5.
        """
        return float(np.float32(self.intersection) / (np.float32(self.union) + _EPSILON))


class IouRule(str, enum.Enum):
    """How the IoU of one pair is computed: exactly, or to the letter of the official referring evaluator."""

    EXACT = "exact"
    OFFICIAL = "official referring evaluator"


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
    """Collects overlaps for mean and cumulative IoU, and for the share of pairs that reach an IoU."""

    def __init__(self, rule: IouRule = IouRule.EXACT) -> None:
        self.rule = rule
        self.reset()

    def __len__(self) -> int:
        return len(self._overlaps)

    def reset(self) -> None:
        """Forget everything."""
        self._overlaps: list[Overlap] = []

    def update(self, overlap: Overlap) -> None:
        """Add one pair of masks."""
        self._overlaps.append(overlap)

    def merge(self, other: OverlapScores) -> None:
        """Add what another process counted."""
        if other.rule is not self.rule:
            raise ValueError(
                f"Overlaps by the rules {self.rule.value!r} and {other.rule.value!r} cannot be merged."
            )
        self._overlaps += other._overlaps

    def compute(self) -> OverlapResult:
        """Score all pairs so far; their order does not matter."""
        ious = [self._iou(overlap) for overlap in self._overlaps]
        union = sum(overlap.union for overlap in self._overlaps)
        intersection = sum(overlap.intersection for overlap in self._overlaps)
        mean_iou = mean_percent(ious)
        cumulative_iou = mean_iou
        if union:
            cumulative_iou = 100 * intersection / union
        precision = {}
        for threshold in PRECISION_AT:
            precision[threshold] = self._precision(ious, threshold)
        return OverlapResult(len(ious), mean_iou, cumulative_iou, precision)

    def _iou(self, overlap: Overlap) -> float:
        if self.rule is IouRule.OFFICIAL:
            return overlap.official_iou
        return overlap.iou

    def _precision(self, ious: Sequence[float], threshold: float) -> float:
        """Return the percentage of IoUs of `threshold` or more, in the arithmetic of the rule."""
        if self.rule is IouRule.OFFICIAL:
            threshold = float(np.float32(threshold))
        is_reached = np.asarray(ious, np.float64) >= threshold
        return mean_percent(is_reached.tolist())

    def state(self) -> State:
        """Return what was counted."""
        return {
            "rule": self.rule.value,
            "shared": [overlap.intersection for overlap in self._overlaps],
            "either": [overlap.union for overlap in self._overlaps],
        }

    @classmethod
    def from_state(cls, state: State) -> OverlapScores:
        """Restore the metric from its `state`."""
        scores = cls(IouRule(state["rule"]))
        for intersection, union in zip(state["shared"], state["either"], strict=True):
            scores.update(Overlap(intersection, union))
        return scores


def mean_percent(shares: Iterable[float]) -> float:
    """Return the mean of shares (0-1) as a percentage; NaN for none. Sums are exact: the order does not matter."""
    values = list(shares)
    if not values:
        return math.nan
    return 100 * math.fsum(values) / len(values)


def mean_or_nan(values: Sequence[float]) -> float:
    """Return the mean; NaN for none. Sums are exact: the order does not matter."""
    if not values:
        return math.nan
    return math.fsum(values) / len(values)
