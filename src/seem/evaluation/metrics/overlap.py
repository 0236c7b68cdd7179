"""How well regions agree: intersection over union, per pair and over all of them."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.evaluation.metrics.metric import State

PRECISION_AT = (0.5, 0.6, 0.7, 0.8, 0.9)

_EPSILON = np.float32(1e-6)  # of the official referring evaluator, added to the union


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

    @property
    def official_iou(self) -> float:
        """Intersection over union as the official referring evaluator has it.

        In single precision, with 1e-6 added to the union: two empty masks do not agree, and one half of a region of
        fewer than 32 pixels is less than 0.5.
        """
        return float(np.float32(self.shared) / (np.float32(self.either) + _EPSILON))


class IouRule(str, enum.Enum):
    """How the IoU of one pair is taken: exactly, or to the letter of the official referring evaluator."""

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
    """Mean and cumulative IoU of predicted regions, and how many are good enough."""

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
            raise ValueError(f"Overlaps by the rules {self.rule.value!r} and {other.rule.value!r} cannot be merged.")
        self._overlaps += other._overlaps

    def compute(self) -> OverlapResult:
        """Score all pairs so far; their order does not matter."""
        single = self.rule is IouRule.OFFICIAL
        ious = [overlap.official_iou if single else overlap.iou for overlap in self._overlaps]
        limits = {limit: float(np.float32(limit)) if single else limit for limit in PRECISION_AT}
        either = sum(overlap.either for overlap in self._overlaps)
        shared = sum(overlap.shared for overlap in self._overlaps)
        return OverlapResult(
            count=len(ious),
            mean_iou=mean_percent(ious),
            cumulative_iou=100 * shared / either if either else mean_percent(ious),
            precision={limit: mean_percent(iou >= least for iou in ious) for limit, least in limits.items()},
        )

    def state(self) -> State:
        """Return what was counted."""
        return {
            "rule": self.rule.value,
            "shared": [overlap.shared for overlap in self._overlaps],
            "either": [overlap.either for overlap in self._overlaps],
        }

    @classmethod
    def from_state(cls, state: State) -> OverlapScores:
        """Go on from what was counted."""
        scores = cls(IouRule(state["rule"]))
        scores._overlaps = [Overlap(*pair) for pair in zip(state["shared"], state["either"], strict=True)]
        return scores


def mean_percent(shares: Iterable[float]) -> float:
    """Average shares (0-1) and return a percentage; NaN for none. Exact sums: the order does not matter."""
    values = list(shares)
    return 100 * math.fsum(values) / len(values) if values else math.nan
