"""Scores of zero-shot in-context segmentation: one image with a mask is the reference for all others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.video import FrameRule, SequenceStatistics, VideoQuality


@dataclass(frozen=True, slots=True)
class InContextResult:
    """Scores of `objects` reference objects in `photos` other images.

    `mean_iou` is a mean over images; J and F are means per object, then over objects (as in `VideoResult`).
    """

    objects: int
    photos: int
    mean_iou: float
    j_and_f: float
    j: SequenceStatistics
    f: SequenceStatistics


class InContextScores:
    """Collects predictions from a reference; the reference itself is never scored.

    A group is a video sequence with its reference frame, or any set of images with one reference. Every image that is
    added counts, in the order of its number.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._quality = VideoQuality(FrameRule.ALL)

    def update(
        self,
        group: str,
        track: int,
        image: int,
        predicted: Bool[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h w"],
        *,
        reference: int,
    ) -> None:
        """Add one image of a group and one object; `reference` is the number of the reference image."""
        if image == reference:
            raise ValueError(
                f"Image {image} of {group!r} is the reference itself; score the others."
            )
        self._quality.update(group, track, image, predicted, truth)

    def merge(self, other: InContextScores) -> None:
        """Add what another process counted."""
        self._quality.merge(other._quality)

    def compute(self) -> InContextResult:
        """Score all predictions so far; their order does not matter."""
        result = self._quality.compute()
        mean_iou = math.nan
        if result.frames:
            iou_sum = math.fsum(row.j.mean * row.frames for row in result.per_object)
            mean_iou = iou_sum / result.frames
        return InContextResult(
            objects=result.objects,
            photos=result.frames,
            mean_iou=mean_iou,
            j_and_f=result.j_and_f,
            j=result.j,
            f=result.f,
        )

    def state(self) -> State:
        """Return what was counted."""
        return self._quality.state()

    @classmethod
    def from_state(cls, state: State) -> InContextScores:
        """Restore the metric from its `state`."""
        metric = cls()
        metric._quality = VideoQuality.from_state(state)
        return metric
