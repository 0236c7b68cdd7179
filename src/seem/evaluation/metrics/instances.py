"""Mask AP: average precision of detected objects, by the rules of COCO's evaluation (pycocotools).

What pycocotools computes from files, this counts photo by photo, and keeps only which detections were right. Masks are
compared by pycocotools itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy.typing import NDArray

from seem.evaluation.metrics.metric import State

IOU_LIMITS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST_DETECTIONS = 100
"""The best so many detections of a category in a photo count."""

SIZES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Areas in pixels that count as any size, small, medium and large; both ends belong to a size."""

_ALL, _SMALL, _MEDIUM, _LARGE = range(len(SIZES))
_AT_50, _AT_75 = 0, 5  # places in IOU_LIMITS
_CASES = len(SIZES) * len(IOU_LIMITS)


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One object as it was told; scores only need an order."""

    category: int
    score: float
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True, eq=False)
class TrueObject:
    """One object as it is.

    `area` decides about its size: that of the annotation (COCO measures polygons), None = the mask's pixels. A crowd is
    never missed; detections on it are excused.
    """

    category: int
    mask: Bool[np.ndarray, "h w"]
    is_crowd: bool = False
    area: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PhotoObjects:
    """Everything annotated in the photo with this number, maybe nothing."""

    photo: int
    objects: tuple[TrueObject, ...]


@dataclass(frozen=True, slots=True)
class ClassPrecision:
    """Average precision of one category with `objects` true objects: over all IoU limits, at 0.5 and at 0.75."""

    category: int
    objects: int
    ap: float
    ap50: float
    ap75: float


@dataclass(frozen=True, slots=True)
class InstanceResult:
    """Average precision (0-100) over `photos` photos; means over the `classes` categories that have true objects.

    `small`, `medium` and `large` count objects of that size, in the categories that have some; NaN where none has.
    """

    photos: int
    classes: int
    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    per_class: tuple[ClassPrecision, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Matches:
    """One category in one photo: detections by falling score, and for every size and IoU limit how each fared.

    `right` detections found an object; `excused` ones count neither way. `true` counts objects of each size.
    """

    scores: Float[np.ndarray, " d"]
    right: Bool[np.ndarray, "s l d"]
    excused: Bool[np.ndarray, "s l d"]
    true: Integer[np.ndarray, " s"]


class MaskAp:
    """Counts, for every category and photo, which detections find which objects."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._photos: set[int] = set()
        self._matches: dict[int, dict[int, _Matches]] = {}

    def update(self, predicted: Sequence[Detection], truth: PhotoObjects) -> None:
        """Match what was told about one photo with its objects, category by category.

        Better scores choose first (the earlier of equal ones), each the object with the greatest IoU that is not taken;
        objects that do not count are chosen only where none that counts is left. Raises `ValueError` for a photo that
        was counted before.
        """
        if truth.photo in self._photos:
            raise ValueError(f"Photo {truth.photo} was counted before.")
        self._photos.add(truth.photo)
        for category in {each.category for each in predicted} | {each.category for each in truth.objects}:
            told = [each for each in predicted if each.category == category]
            true = [each for each in truth.objects if each.category == category]
            best = sorted(told, key=lambda each: -each.score)[:MOST_DETECTIONS]
            self._matches.setdefault(category, {})[truth.photo] = _matched(best, true)

    def merge(self, other: MaskAp) -> None:
        """Add what another process counted."""
        if twice := sorted(self._photos & other._photos):
            raise ValueError(f"Photo {twice[0]} was counted in both.")
        self._photos |= other._photos
        for category, photos in other._matches.items():
            self._matches.setdefault(category, {}).update(photos)

    def compute(self) -> InstanceResult:
        """Score all photos so far, in any order: among equal scores the lower photo number comes first."""
        precision, objects = {}, {}
        for category, photos in sorted(self._matches.items()):
            matches = [photos[photo] for photo in sorted(photos)]
            precision[category] = np.stack([_average_precision(matches, size) for size in range(len(SIZES))])
            objects[category] = sum(int(each.true[_ALL]) for each in matches)
        counted = [category for category, count in objects.items() if count]
        return InstanceResult(
            photos=len(self._photos),
            classes=len(counted),
            ap=_mean(precision[category][_ALL] for category in counted),
            ap50=_mean(precision[category][_ALL, _AT_50] for category in counted),
            ap75=_mean(precision[category][_ALL, _AT_75] for category in counted),
            small=_mean(rows[_SMALL] for rows in precision.values()),
            medium=_mean(rows[_MEDIUM] for rows in precision.values()),
            large=_mean(rows[_LARGE] for rows in precision.values()),
            per_class=tuple(
                ClassPrecision(
                    category=category,
                    objects=objects[category],
                    ap=_mean([precision[category][_ALL]]),
                    ap50=_mean([precision[category][_ALL, _AT_50]]),
                    ap75=_mean([precision[category][_ALL, _AT_75]]),
                )
                for category in counted
            ),
        )

    def state(self) -> State:
        """Return what was counted: a row for every category of a photo, and columns over all detections."""
        rows = [(category, photo, each) for category, found in self._matches.items() for photo, each in found.items()]

        def bits(flags: Iterable[Bool[np.ndarray, "s l d"]]) -> NDArray[np.uint8]:
            columns = [each.reshape(_CASES, -1).T for each in flags]
            return np.packbits(np.concatenate(columns) if columns else np.zeros((0, _CASES), np.bool_), axis=1)

        return {
            "photos": np.array(sorted(self._photos), np.int64),
            "category": np.array([category for category, _, _ in rows], np.int64),
            "photo": np.array([photo for _, photo, _ in rows], np.int64),
            "detections": np.array([len(each.scores) for _, _, each in rows], np.int64),
            "true": np.array([each.true for _, _, each in rows], np.int64).reshape(-1, len(SIZES)),
            "scores": np.concatenate([np.zeros(0), *(each.scores for _, _, each in rows)]),
            "right": bits(each.right for _, _, each in rows),
            "excused": bits(each.excused for _, _, each in rows),
        }

    @classmethod
    def from_state(cls, state: State) -> MaskAp:
        """Go on from what was counted."""
        metric = cls()
        metric._photos = set(map(int, state["photos"]))
        counts = np.asarray(state["detections"], np.int64)
        starts = np.cumsum(counts) - counts
        true = np.asarray(state["true"], np.int64).reshape(-1, len(SIZES))
        scores = np.asarray(state["scores"], np.float64)
        right, excused = (_flags(state[name]) for name in ("right", "excused"))
        for row, (category, photo) in enumerate(zip(state["category"], state["photo"], strict=True)):
            mine = slice(starts[row], starts[row] + counts[row])
            matches = _Matches(scores[mine], right[..., mine], excused[..., mine], true[row])
            metric._matches.setdefault(int(category), {})[int(photo)] = matches
        return metric


def _flags(bits: NDArray[np.uint8] | Sequence[Sequence[int]]) -> Bool[np.ndarray, "s l d"]:
    packed = np.asarray(bits, np.uint8).reshape(-1, -(-_CASES // 8))
    flags: NDArray[np.bool_] = np.unpackbits(packed, axis=1, count=_CASES).T.astype(np.bool_)
    return flags.reshape(len(SIZES), len(IOU_LIMITS), len(packed))


def _matched(told: Sequence[Detection], true: Sequence[TrueObject]) -> _Matches:
    """Match the detections of one category in one photo, best first, at all sizes and limits at once."""
    crowd = np.array([each.is_crowd for each in true], np.bool_)
    ious, told_area, true_area = _compare(told, true, crowd)
    unimportant = crowd | _outside(true_area)  # size x object
    taken = np.zeros((len(SIZES), len(IOU_LIMITS), len(true)), np.bool_)
    right = np.zeros((len(SIZES), len(IOU_LIMITS), len(told)), np.bool_)
    excused = np.zeros_like(right)
    limits = np.minimum(IOU_LIMITS, 1 - 1e-10)[:, None]
    for row, mine in enumerate(ious if len(true) else ()):
        free = (mine >= limits) & (~taken | crowd)
        important = free & ~unimportant[:, None]
        open_to = np.where(important.any(axis=-1, keepdims=True), important, free)
        values = np.where(open_to, mine, -1.0)
        chosen = len(true) - 1 - values[..., ::-1].argmax(axis=-1)[..., None]  # of equal ones the last, as there
        found = np.take_along_axis(open_to, chosen, axis=-1)
        right[..., row] = found[..., 0]
        excused[..., row] = found[..., 0] & np.take_along_axis(unimportant, chosen[..., 0], axis=-1)
        np.put_along_axis(taken, chosen, np.take_along_axis(taken, chosen, axis=-1) | found, axis=-1)
    excused |= ~right & _outside(told_area)[:, None]
    scores = np.array([each.score for each in told], np.float64)
    return _Matches(scores, right, excused, np.count_nonzero(~unimportant, axis=1))


def _compare(
    told: Sequence[Detection], true: Sequence[TrueObject], crowd: Bool[np.ndarray, " t"]
) -> tuple[Float[np.ndarray, "d t"], Float[np.ndarray, " d"], Float[np.ndarray, " t"]]:
    """Return IoUs (on a crowd: the share of the detection that lies on it), and areas."""
    from pycocotools import mask as rle

    ious = np.zeros((len(told), len(true)))
    if told and true:
        codes = [[rle.encode(np.asfortranarray(each.mask, np.uint8)) for each in some] for some in (told, true)]
        ious = np.asarray(rle.iou(*codes, crowd.astype(np.uint8).tolist()))
    told_area = np.array([np.count_nonzero(each.mask) for each in told], np.float64)
    true_area = [np.count_nonzero(each.mask) if each.area is None else each.area for each in true]
    return ious, told_area, np.array(true_area, np.float64)


def _outside(area: Float[np.ndarray, " n"]) -> Bool[np.ndarray, "s n"]:
    """Say for every size which areas are not of it."""
    least, most = np.array(SIZES).T[..., None]
    return np.asarray((area < least) | (area > most))


def _average_precision(photos: Sequence[_Matches], size: int) -> Float[np.ndarray, " l"]:
    """Average precision over 101 recalls, for every IoU limit; NaN without any true object of this size."""
    true = sum(int(each.true[size]) for each in photos)
    if not true:
        return np.full(len(IOU_LIMITS), np.nan)
    order = np.argsort(-np.concatenate([each.scores for each in photos]), kind="stable")
    right = np.concatenate([each.right[size] for each in photos], axis=1)[:, order]
    excused = np.concatenate([each.excused[size] for each in photos], axis=1)[:, order]
    good, bad = np.cumsum(right & ~excused, axis=1), np.cumsum(~right & ~excused, axis=1)
    precision = good / np.maximum(good + bad, 1)
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    reached = np.pad(falling, ((0, 0), (0, 1)))  # a recall that is never reached has precision 0
    rows = (curve[np.searchsorted(recall, RECALLS)] for curve, recall in zip(reached, good / true, strict=True))
    return np.array([math.fsum(row) / len(RECALLS) for row in rows])


def _mean(values: Iterable[Float[np.ndarray, " l"] | np.floating]) -> float:
    """Average everything that exists, as a percentage."""
    numbers = [number for each in values for number in np.ravel(each).tolist() if not math.isnan(number)]
    return 100 * math.fsum(numbers) / len(numbers) if numbers else math.nan
