"""J and F of objects in videos, by the formulae of the DAVIS 2017 evaluation.

J is the IoU of the masks, F the agreement of their outlines. Both are measured in every frame of every object; scores
are computed per object, then averaged over objects.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import Overlap, mean_or_nan, mean_percent

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]

TOLERANCE = 0.008
"""Distance between two outlines that counts as agreement, as a share of the image's diagonal (DAVIS)."""

RECALL_THRESHOLD = 0.5  # a frame counts for recall above this
NUM_QUARTERS = 4  # decay compares the first quarter of a sequence with the last


class FrameRule(str, enum.Enum):
    """Which frames of a sequence count.

    In semi-supervised evaluation the first frame is given, and the last is left out as well.
    """

    INNER = "all but the first and the last"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class SequenceStatistics:
    """Statistics of a measure over the frames of video_frames, 0-100.

    `recall` is the share of frames above 0.5, `decay` the mean over the first quarter of the frames minus that over the
    last.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, slots=True)
class ObjectStatistics:
    """Scores of one object over its `frames` frames."""

    sequence: str
    track: int
    frames: int
    j: SequenceStatistics
    f: SequenceStatistics


@dataclass(frozen=True, slots=True)
class VideoResult:
    """Means over `objects` objects; `j_and_f` is the mean of the means of J and F.

    `frames` is the sum over all objects; `rule` says which frames count. An object without any is left out.
    """

    rule: FrameRule
    objects: int
    frames: int
    j_and_f: float
    j: SequenceStatistics
    f: SequenceStatistics
    per_object: tuple[ObjectStatistics, ...]


class VideoQuality:
    """Collects J and F of every object in every frame."""

    def __init__(self, rule: FrameRule = FrameRule.INNER) -> None:
        self.rule = rule
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._objects: dict[tuple[str, int], dict[int, tuple[float, float]]] = {}

    def update(
        self,
        sequence: str,
        track: int,
        frame: int,
        predicted: MaskArray,
        truth: MaskArray,
    ) -> None:
        """Add an object's masks in one frame, in any order.

        Add every frame of the sequence, also where the object is not visible, with empty masks for missing predictions:
        the rule leaves out frames by itself.
        """
        frames = self._objects.setdefault((sequence, track), {})
        if frame in frames:
            raise ValueError(f"Frame {frame} of object {track} in {sequence!r} was counted before.")
        frames[frame] = (Overlap.of(predicted, truth).iou, outline_f_score(predicted, truth))

    def merge(self, other: VideoQuality) -> None:
        """Add what another process counted; both may have frames of the same object."""
        if other.rule is not self.rule:
            raise ValueError(
                f"Counting {self.rule.value} frames does not go with counting {other.rule.value}."
            )
        for (sequence, track), theirs in other._objects.items():
            mine = self._objects.setdefault((sequence, track), {})
            twice = sorted(mine.keys() & theirs.keys())
            if twice:
                raise ValueError(
                    f"Frame {twice[0]} of object {track} in {sequence!r} was counted in both."
                )
            mine.update(theirs)

    def compute(self) -> VideoResult:
        """Score all objects so far; the order of updates does not matter."""
        per_object, num_frames = [], 0
        for (sequence, track), frames in sorted(self._objects.items()):
            counted = self._counted_frames(frames)
            if counted:
                per_object.append(_object_statistics(sequence, track, counted))
                num_frames += len(counted)
        j = _mean_statistics([each.j for each in per_object])
        f = _mean_statistics([each.f for each in per_object])
        return VideoResult(
            rule=self.rule,
            objects=len(per_object),
            frames=num_frames,
            j_and_f=(j.mean + f.mean) / 2,
            j=j,
            f=f,
            per_object=tuple(per_object),
        )

    def state(self) -> State:
        """Return what was counted: rows of sequence, track, frame, J and F."""
        rows = []
        for (sequence, track), frames in self._objects.items():
            for frame, (j, f) in frames.items():
                rows.append([sequence, track, frame, j, f])
        return {"rule": self.rule.value, "rows": rows}

    @classmethod
    def from_state(cls, state: State) -> VideoQuality:
        """Restore the metric from its `state`."""
        metric = cls(FrameRule(state["rule"]))
        for sequence, track, frame, j, f in state["rows"]:
            metric._objects.setdefault((sequence, track), {})[frame] = (j, f)
        return metric

    def _counted_frames(
        self, frames: Mapping[int, tuple[float, float]]
    ) -> list[tuple[float, float]]:
        """Return J and F of the frames that count, in order."""
        numbers = sorted(frames)
        if self.rule is FrameRule.INNER:
            numbers = numbers[1:-1]
        return [frames[number] for number in numbers]


def _object_statistics(
    sequence: str, track: int, frames: Sequence[tuple[float, float]]
) -> ObjectStatistics:
    j, f = zip(*frames, strict=True)
    return ObjectStatistics(
        sequence=sequence,
        track=track,
        frames=len(frames),
        j=sequence_statistics(j),
        f=sequence_statistics(f),
    )


def sequence_statistics(values: Sequence[float]) -> SequenceStatistics:
    """Summarize one measure (0-1) of one object over the frames that count, at least one.

    Quarters end where the reference ends them: at the rounded indices of an even division, each sharing its last frame
    with the next one. (The reference keeps these indices in 8 bits, which goes wrong beyond 256 frames; ours do not.)
    """
    first_quarter = values[: _quarter_end(values, 1) + 1]
    last_quarter = values[_quarter_end(values, NUM_QUARTERS - 1) :]
    is_recalled = np.asarray(values) > RECALL_THRESHOLD
    return SequenceStatistics(
        mean=mean_percent(values),
        recall=mean_percent(is_recalled.tolist()),
        decay=mean_percent(first_quarter) - mean_percent(last_quarter),
    )


def _quarter_end(values: Sequence[float], number: int) -> int:
    """Return the index at which a quarter ends, halves rounded up."""
    last_index = len(values) - 1
    return (number * last_index + NUM_QUARTERS // 2) // NUM_QUARTERS


def _mean_statistics(statistics: Sequence[SequenceStatistics]) -> SequenceStatistics:
    return SequenceStatistics(
        mean=mean_or_nan([each.mean for each in statistics]),
        recall=mean_or_nan([each.recall for each in statistics]),
        decay=mean_or_nan([each.decay for each in statistics]),
    )


def outline_f_score(predicted: MaskArray, truth: MaskArray, tolerance: float = TOLERANCE) -> float:
    """Return F, 0-1: the harmonic mean of the shares of each outline that are near the other.

    Near is within a disc whose radius is `tolerance` of the image's diagonal, rounded up to whole pixels. F is 1 where
    neither mask has an outline, 0 where only one has none; a mask that fills the image has no outline.
    """
    predicted_outline, true_outline = outline(predicted), outline(truth)
    num_predicted = np.count_nonzero(predicted_outline)
    num_true = np.count_nonzero(true_outline)
    if not num_predicted or not num_true:
        return float(num_predicted == num_true)
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    precision = np.count_nonzero(predicted_outline & _dilate(true_outline, radius)) / num_predicted
    recall = np.count_nonzero(true_outline & _dilate(predicted_outline, radius)) / num_true
    if not precision + recall:
        return 0.0
    return 2 * precision * recall / (precision + recall)


def outline(mask: MaskArray) -> MaskArray:
    """Return the pixels that differ from their neighbour to the right, below, or right below.

    At the edge of the image the last row and column are repeated, so that a mask does not end there.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((mask != right) | (mask != below) | (mask != diagonal))


def _dilate(mask: MaskArray, radius: int) -> MaskArray:
    """Dilate by a disc."""
    import cv2

    offsets = np.arange(-radius, radius + 1)
    disc = (offsets[:, None] ** 2 + offsets**2 <= radius**2).astype(np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), disc) > 0)
