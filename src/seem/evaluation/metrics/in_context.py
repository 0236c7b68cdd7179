"""Zero-shot segmentation in context: one photo with its mask shows what is meant in all the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.video import Course, FrameRule, VideoQuality


@dataclass(frozen=True, slots=True)
class InContextResult:
    """Scores of `objects` shown objects in `photos` other photos.

    `mean_iou` weighs photos alike, J and F go per object, then over objects (as in `VideoResult`).
    """

    objects: int
    photos: int
    mean_iou: float
    j_and_f: float
    j: Course
    f: Course


class InContextScores:
    """Collects answers about what a reference shows; the reference itself is never scored.

    A group is a video sequence with its reference frame, or any set of photos with one reference. Every photo that is
    added counts, in the order of its number.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._answers = VideoQuality(FrameRule.ALL)

    def update(
        self,
        group: str,
        track: int,
        photo: int,
        predicted: Bool[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h w"],
        *,
        reference: int,
    ) -> None:
        """Add one photo of a group and one object; `reference` is the number of the photo that showed it."""
        if photo == reference:
            raise ValueError(f"Photo {photo} of {group!r} is the reference itself; score the others.")
        self._answers.update(group, track, photo, predicted, truth)

    def merge(self, other: InContextScores) -> None:
        """Add what another process counted."""
        self._answers.merge(other._answers)

    def compute(self) -> InContextResult:
        """Score all answers so far; their order does not matter."""
        found = self._answers.compute()
        summed = math.fsum(row.j.mean * row.frames for row in found.per_object)
        return InContextResult(
            objects=found.objects,
            photos=found.frames,
            mean_iou=summed / found.frames if found.frames else math.nan,
            j_and_f=found.j_and_f,
            j=found.j,
            f=found.f,
        )

    def state(self) -> State:
        """Return what was counted."""
        return self._answers.state()

    @classmethod
    def from_state(cls, state: State) -> InContextScores:
        """Go on from what was counted."""
        metric = cls()
        metric._answers = VideoQuality.from_state(state)
        return metric
