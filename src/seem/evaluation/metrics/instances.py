"""Mask AP: average precision of detected objects, by the rules of COCO's evaluation (pycocotools).

What pycocotools computes from files, this counts image by image, and keeps only which detections were correct. The IoU
of masks is that of pycocotools itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy.typing import NDArray

from seem.evaluation.metrics.metric import State

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MAX_DETECTIONS = 100
"""Detections of a category in an image that count: those with the highest scores."""

SIZES = ((0.0, 1e10), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e10))
"""Areas in pixels that count as any size, small, medium and large; both ends belong to a size."""

_ALL, _SMALL, _MEDIUM, _LARGE = range(len(SIZES))
_AT_50, _AT_75 = 0, 5  # indices in IOU_THRESHOLDS
_FLAGS_PER_DETECTION = len(SIZES) * len(IOU_THRESHOLDS)

FlagArray: TypeAlias = Bool[np.ndarray, "s l _"]
"""Size x IoU threshold x detection."""

AreaArray: TypeAlias = Float[np.ndarray, " n"]
APArray: TypeAlias = Float[np.ndarray, " l"]
"""By IoU threshold."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One predicted object; only the order of scores matters."""

    category: int
    score: float
    mask: Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruthObject:
    """One true object.

    `area` determines its size: that of the annotation (COCO measures polygons), None = the number of pixels of the
    mask. A crowd is never missed; detections on it count neither as correct nor as wrong.
    """

    category: int
    mask: Bool[np.ndarray, "h w"]
    is_crowd: bool = False
    area: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ImageGroundTruth:
    """All annotated objects of the image with this id, maybe none."""

    image: int
    objects: tuple[GroundTruthObject, ...]


@dataclass(frozen=True, slots=True)
class ClassPrecision:
    """Average precision of one category with `objects` true objects: over all IoU thresholds, at 0.5 and at 0.75."""

    category: int
    objects: int
    ap: float
    ap50: float
    ap75: float


@dataclass(frozen=True, slots=True)
class InstanceResult:
    """Average precision (0-100) over `photos` images; means over the `classes` categories that have true objects.

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
    """One category in one image.

    Attributes:
        scores: of the detections, best first.
        matched: whether a detection matches an object, for every size and IoU threshold.
        ignored: whether a detection counts neither as correct nor as wrong, likewise.
        num_true: number of objects of each size.
    """

    scores: Float[np.ndarray, " d"]
    matched: FlagArray
    ignored: FlagArray
    num_true: Integer[np.ndarray, " s"]


class MaskAp:
    """Counts, for every category and image, which detections match which objects."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._images: set[int] = set()
        self._matches: dict[int, dict[int, _Matches]] = {}  # by category and image

    def update(self, predicted: Sequence[Detection], truth: ImageGroundTruth) -> None:
        """Match the detections of one image with its objects, category by category.

        Better scores choose first (the earlier of equal ones), each the object with the greatest IoU that is not taken;
        objects that do not count are chosen only where none that counts is left. Raises `ValueError` for an image that
        was counted before.
        """
        if truth.image in self._images:
            raise ValueError(f"Photo {truth.image} was counted before.")
        self._images.add(truth.image)
        for category in {each.category for each in predicted} | {
            each.category for each in truth.objects
        }:
            detections = [each for each in predicted if each.category == category]
            objects = [each for each in truth.objects if each.category == category]
            best = sorted(detections, key=lambda each: -each.score)[:MAX_DETECTIONS]
            self._matches.setdefault(category, {})[truth.image] = _match(best, objects)

    def merge(self, other: MaskAp) -> None:
        """Add what another process counted."""
        twice = sorted(self._images & other._images)
        if twice:
            raise ValueError(f"Photo {twice[0]} was counted in both.")
        self._images |= other._images
        for category, matches in other._matches.items():
            self._matches.setdefault(category, {}).update(matches)

    def compute(self) -> InstanceResult:
        """Score all images so far, in any order: among equal scores the lower image id comes first."""
        precision = {
            category: self._precision_by_size(category) for category in sorted(self._matches)
        }
        per_class = []
        for category, by_size in precision.items():
            num_objects = self._num_objects(category)
            if num_objects:
                per_class.append(_class_precision(category, num_objects, by_size[_ALL]))
        counted = [precision[each.category][_ALL] for each in per_class]
        return InstanceResult(
            photos=len(self._images),
            classes=len(per_class),
            ap=_mean_percent(counted),
            ap50=_mean_percent(each[_AT_50] for each in counted),
            ap75=_mean_percent(each[_AT_75] for each in counted),
            small=_mean_percent(by_size[_SMALL] for by_size in precision.values()),
            medium=_mean_percent(by_size[_MEDIUM] for by_size in precision.values()),
            large=_mean_percent(by_size[_LARGE] for by_size in precision.values()),
            per_class=tuple(per_class),
        )

    def _precision_by_size(self, category: int) -> Float[np.ndarray, "s l"]:
        images = self._matches[category]
        matches = [images[image] for image in sorted(images)]
        return np.stack([_average_precision(matches, size) for size in range(len(SIZES))])

    def _num_objects(self, category: int) -> int:
        return sum(int(matches.num_true[_ALL]) for matches in self._matches[category].values())

    def state(self) -> State:
        """Return what was counted: a row for every category of an image, and a column for every detection."""
        categories, images, matches = [], [], []
        for category, by_image in self._matches.items():
            for image, each in by_image.items():
                categories.append(category)
                images.append(image)
                matches.append(each)
        return {
            "photos": np.array(sorted(self._images), np.int64),
            "category": np.array(categories, np.int64),
            "photo": np.array(images, np.int64),
            "detections": np.array([len(each.scores) for each in matches], np.int64),
            "true": np.array([each.num_true for each in matches], np.int64).reshape(-1, len(SIZES)),
            "scores": np.concatenate([np.zeros(0), *(each.scores for each in matches)]),
            "right": _pack_flags([each.matched for each in matches]),
            "excused": _pack_flags([each.ignored for each in matches]),
        }

    @classmethod
    def from_state(cls, state: State) -> MaskAp:
        """Restore the metric from its `state`."""
        metric = cls()
        metric._images = set(map(int, state["photos"]))
        counts = np.asarray(state["detections"], np.int64)
        starts = np.cumsum(counts) - counts
        num_true = np.asarray(state["true"], np.int64).reshape(-1, len(SIZES))
        scores = np.asarray(state["scores"], np.float64)
        matched, ignored = _unpack_flags(state["right"]), _unpack_flags(state["excused"])
        for row, (category, image) in enumerate(
            zip(state["category"], state["photo"], strict=True)
        ):
            columns = slice(starts[row], starts[row] + counts[row])
            matches = _Matches(
                scores=scores[columns],
                matched=matched[..., columns],
                ignored=ignored[..., columns],
                num_true=num_true[row],
            )
            metric._matches.setdefault(int(category), {})[int(image)] = matches
        return metric


def _pack_flags(flags: Sequence[FlagArray]) -> NDArray[np.uint8]:
    """Return the flags of all detections as bits: a row of bytes for each detection."""
    rows = [np.zeros((0, _FLAGS_PER_DETECTION), np.bool_)]
    rows += [each.reshape(_FLAGS_PER_DETECTION, -1).T for each in flags]
    return np.packbits(np.concatenate(rows), axis=1)


def _unpack_flags(bits: NDArray[np.uint8] | Sequence[Sequence[int]]) -> FlagArray:
    num_bytes = -(-_FLAGS_PER_DETECTION // 8)  # rounded up
    packed = np.asarray(bits, np.uint8).reshape(-1, num_bytes)
    flags = np.unpackbits(packed, axis=1, count=_FLAGS_PER_DETECTION).T.astype(np.bool_)
    return np.asarray(flags.reshape(len(SIZES), len(IOU_THRESHOLDS), len(packed)))


def _match(detections: Sequence[Detection], objects: Sequence[GroundTruthObject]) -> _Matches:
    """Match the detections of one category in one image, best first, at all sizes and IoU thresholds at once."""
    is_crowd = np.array([each.is_crowd for each in objects], np.bool_)
    is_uncounted = is_crowd | _outside_size(_object_areas(objects))  # size x object
    is_taken = np.zeros((len(SIZES), len(IOU_THRESHOLDS), len(objects)), np.bool_)
    matched = np.zeros((len(SIZES), len(IOU_THRESHOLDS), len(detections)), np.bool_)
    ignored = np.zeros_like(matched)
    if objects:
        thresholds = np.minimum(IOU_THRESHOLDS, 1 - 1e-10)[:, None]
        for index, ious in enumerate(_mask_ious(detections, objects, is_crowd)):
            is_free = (ious >= thresholds) & (~is_taken | is_crowd)
            is_counted = is_free & ~is_uncounted[:, None]
            is_candidate = np.where(is_counted.any(axis=-1, keepdims=True), is_counted, is_free)
            best = _last_argmax(np.where(is_candidate, ious, -1.0))
            is_match = np.take_along_axis(is_candidate, best, axis=-1)
            matched[..., index] = is_match[..., 0]
            ignored[..., index] = is_match[..., 0] & np.take_along_axis(
                is_uncounted, best[..., 0], axis=-1
            )
            is_best_taken = np.take_along_axis(is_taken, best, axis=-1) | is_match
            np.put_along_axis(is_taken, best, is_best_taken, axis=-1)
    areas = np.array([np.count_nonzero(each.mask) for each in detections], np.float64)
    ignored |= ~matched & _outside_size(areas)[:, None]
    return _Matches(
        scores=np.array([each.score for each in detections], np.float64),
        matched=matched,
        ignored=ignored,
        num_true=np.count_nonzero(~is_uncounted, axis=1),
    )


def _last_argmax(values: Float[np.ndarray, "s l t"]) -> Integer[np.ndarray, "s l 1"]:
    """Return the index of the greatest value along the last axis; of equal ones the last, as in pycocotools."""
    return np.asarray(values.shape[-1] - 1 - values[..., ::-1].argmax(axis=-1)[..., None])


def _mask_ious(
    detections: Sequence[Detection],
    objects: Sequence[GroundTruthObject],
    is_crowd: Bool[np.ndarray, " t"],
) -> Float[np.ndarray, "d t"]:
    """Return the IoUs of masks; on a crowd the share of the detection that lies on it."""
    from pycocotools import mask as rle

    if not detections or not objects:
        return np.zeros((len(detections), len(objects)))
    predicted = [rle.encode(np.asfortranarray(each.mask, np.uint8)) for each in detections]
    true = [rle.encode(np.asfortranarray(each.mask, np.uint8)) for each in objects]
    return np.asarray(rle.iou(predicted, true, is_crowd.astype(np.uint8).tolist()))


def _object_areas(objects: Sequence[GroundTruthObject]) -> AreaArray:
    areas = [np.count_nonzero(each.mask) if each.area is None else each.area for each in objects]
    return np.array(areas, np.float64)


def _outside_size(area: AreaArray) -> Bool[np.ndarray, "s n"]:
    """Return for every size which areas are not of it."""
    least, most = np.array(SIZES).T[..., None]
    return np.asarray((area < least) | (area > most))


def _average_precision(images: Sequence[_Matches], size: int) -> APArray:
    """Return the average precision over 101 recalls, for every IoU threshold; NaN without true objects of this size."""
    num_true = sum(int(each.num_true[size]) for each in images)
    if not num_true:
        return np.full(len(IOU_THRESHOLDS), np.nan)
    scores = np.concatenate([each.scores for each in images])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([each.matched[size] for each in images], axis=1)[:, order]
    ignored = np.concatenate([each.ignored[size] for each in images], axis=1)[:, order]
    num_correct = np.cumsum(matched & ~ignored, axis=1)
    num_wrong = np.cumsum(~matched & ~ignored, axis=1)
    precision = num_correct / np.maximum(num_correct + num_wrong, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[
        :, ::-1
    ]  # the best at this recall or a greater one
    padded = np.pad(envelope, ((0, 0), (0, 1)))  # a recall that is never reached has precision 0
    averages = []
    for curve, recall in zip(padded, num_correct / num_true, strict=True):
        sampled = curve[np.searchsorted(recall, RECALLS)]
        averages.append(math.fsum(sampled) / len(RECALLS))
    return np.array(averages)


def _class_precision(category: int, num_objects: int, precision: APArray) -> ClassPrecision:
    return ClassPrecision(
        category=category,
        objects=num_objects,
        ap=_mean_percent([precision]),
        ap50=_mean_percent([precision[_AT_50]]),
        ap75=_mean_percent([precision[_AT_75]]),
    )


def _mean_percent(values: Iterable[APArray | np.floating]) -> float:
    """Return the mean of all numbers that are not NaN, as a percentage."""
    numbers = []
    for each in values:
        numbers += [number for number in np.ravel(each).tolist() if not math.isnan(number)]
    return 100 * math.fsum(numbers) / len(numbers) if numbers else math.nan
