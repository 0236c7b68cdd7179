"""J and F of objects in videos, by the formulae of the DAVIS 2017 evaluation.

J is the IoU of the regions, F how well their outlines agree. Every object of every sequence has a course of both over
its frames; scores are taken per object, then averaged over objects.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import Overlap, mean_percent

TOLERANCE = 0.008
"""How far two outlines may be apart, as a share of the photo's diagonal (DAVIS)."""

RECALLED = 0.5  # a frame counts as found above this
BINS = 4  # parts of a sequence; decay compares the first with the last


class FrameRule(str, enum.Enum):
    """Which frames of a sequence count.

    Semi-supervised evaluation gives the first frame away and drops the last as well.
    """

    INNER = "all but the first and the last"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Course:
    """How a measure goes through sequences, 0-100.

    `recall` is the share of frames above 0.5, `decay` the mean over the first quarter of the frames minus that over the
    last.
    """

    mean: float
    recall: float
    decay: float


@dataclass(frozen=True, slots=True)
class ObjectCourse:
    """Scores of one object over its `frames` frames."""

    sequence: str
    track: int
    frames: int
    j: Course
    f: Course


@dataclass(frozen=True, slots=True)
class VideoResult:
    """Means over `objects` objects; `j_and_f` is the mean of the means of J and F.

    `frames` are those of all objects, added up; `rule` says which counted. An object without any is left out.
    """

    rule: FrameRule
    objects: int
    frames: int
    j_and_f: float
    j: Course
    f: Course
    per_object: tuple[ObjectCourse, ...]


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
        predicted: Bool[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h w"],
    ) -> None:
        """Add an object's masks in one frame, in any order.

        Give every frame of the sequence, also where the object is not there, and empty masks for what was not found:
        the rule drops frames by itself.
        """
        frames = self._objects.setdefault((sequence, track), {})
        if frame in frames:
            raise ValueError(f"Frame {frame} of object {track} in {sequence!r} was counted before.")
        frames[frame] = (Overlap.of(predicted, truth).iou, outline_agreement(predicted, truth))

    def merge(self, other: VideoQuality) -> None:
        """Add what another process counted; an object's frames may be spread over both."""
        if other.rule is not self.rule:
            raise ValueError(f"Counting {self.rule.value} frames does not go with counting {other.rule.value}.")
        for (sequence, track), theirs in other._objects.items():
            mine = self._objects.setdefault((sequence, track), {})
            if twice := sorted(mine.keys() & theirs.keys()):
                raise ValueError(f"Frame {twice[0]} of object {track} in {sequence!r} was counted in both.")
            mine.update(theirs)

    def compute(self) -> VideoResult:
        """Score all objects so far; the order of updates does not matter."""
        per_object = tuple(
            _object_course(sequence, track, counted)
            for (sequence, track), frames in sorted(self._objects.items())
            if (counted := self._counted(frames))
        )
        j, f = (_mean([getattr(row, name) for row in per_object]) for name in ("j", "f"))
        return VideoResult(
            rule=self.rule,
            objects=len(per_object),
            frames=sum(row.frames for row in per_object),
            j_and_f=(j.mean + f.mean) / 2,
            j=j,
            f=f,
            per_object=per_object,
        )

    def state(self) -> State:
        """Return what was counted: rows of sequence, track, frame, J and F."""
        rows = [
            [sequence, track, frame, j, f]
            for (sequence, track), frames in self._objects.items()
            for frame, (j, f) in frames.items()
        ]
        return {"rule": self.rule.value, "rows": rows}

    @classmethod
    def from_state(cls, state: State) -> VideoQuality:
        """Go on from what was counted."""
        metric = cls(FrameRule(state["rule"]))
        for sequence, track, frame, j, f in state["rows"]:
            metric._objects.setdefault((sequence, track), {})[frame] = (j, f)
        return metric

    def _counted(self, frames: Mapping[int, tuple[float, float]]) -> list[tuple[float, float]]:
        ordered = [frames[number] for number in sorted(frames)]
        return ordered[1:-1] if self.rule is FrameRule.INNER else ordered


def _object_course(sequence: str, track: int, frames: Sequence[tuple[float, float]]) -> ObjectCourse:
    j, f = zip(*frames, strict=True)
    return ObjectCourse(sequence, track, len(frames), course(j), course(f))


def course(values: Sequence[float]) -> Course:
    """Summarise one measure (0-1) of one object over the frames that count, at least one.

    Quarters end where the reference ends them: at the rounded places of an even division, each sharing its last frame
    with the next one. (The reference keeps these places in 8 bits, which goes wrong beyond 256 frames; ours do not.)
    """
    ends = [(k * (len(values) - 1) + BINS // 2) // BINS for k in range(BINS + 1)]  # rounded, halves up
    first, *_, last = (values[start : end + 1] for start, end in itertools.pairwise(ends))
    return Course(
        mean=mean_percent(values),
        recall=mean_percent(value > RECALLED for value in values),
        decay=mean_percent(first) - mean_percent(last),
    )


def _mean(courses: Sequence[Course]) -> Course:
    def mean(values: Sequence[float]) -> float:
        return math.fsum(values) / len(values) if values else math.nan

    return Course(
        mean=mean([each.mean for each in courses]),
        recall=mean([each.recall for each in courses]),
        decay=mean([each.decay for each in courses]),
    )


def outline_agreement(
    predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"], tolerance: float = TOLERANCE
) -> float:
    """Measure F, 0-1: the harmonic mean of how much of each outline is near the other.

    Near is within a disc whose radius is `tolerance` of the photo's diagonal, rounded up to whole pixels. Without any
    outline in both F is 1, without one in either 0; a mask that fills the photo has no outline.
    """
    told, true = outline(predicted), outline(truth)
    if not told.any() or not true.any():
        return float(told.any() == true.any())
    radius = math.ceil(tolerance * math.hypot(*truth.shape))
    precision = np.count_nonzero(told & _grown(true, radius)) / np.count_nonzero(told)
    recall = np.count_nonzero(true & _grown(told, radius)) / np.count_nonzero(true)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Mark the pixels that differ from their neighbour to the right, below, or right below.

    At the photo's edge the last row and column stand for what is beyond it, so a region does not end there.
    """
    beyond = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = beyond[:-1, 1:], beyond[1:, :-1], beyond[1:, 1:]
    return np.asarray((mask != right) | (mask != below) | (mask != diagonal))


def _grown(marked: Bool[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    """Dilate by a disc."""
    import cv2

    reach = np.arange(-radius, radius + 1)
    disc = (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.uint8)
    return np.asarray(cv2.dilate(marked.astype(np.uint8), disc) > 0)
