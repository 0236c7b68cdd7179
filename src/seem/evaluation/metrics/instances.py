"""Mask AP: average precision of detected objects, by the rules of COCO's evaluation (pycocotools).

What pycocotools computes from files, this counts image by image, and keeps only which detections were correct. The IoU
of masks is that of pycocotools itself.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Integer
from numpy.typing import NDArray

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent

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

    @property
    def counted_area(self) -> float:
        """The area that determines its size."""
        if self.area is None:
            return float(np.count_nonzero(self.mask))
        return self.area


Item = TypeVar("Item", Detection, GroundTruthObject)


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
        detections, objects = _by_category(predicted), _by_category(truth.objects)
        for category in detections.keys() | objects.keys():
            ranked = sorted(detections[category], key=lambda each: -each.score)
            matches = _match(ranked[:MAX_DETECTIONS], objects[category])
            self._matches.setdefault(category, {})[truth.image] = matches

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
        precisions, per_class = [], []
        for category, by_image in sorted(self._matches.items()):
            matches = _concatenate([by_image[image] for image in sorted(by_image)])
            by_size = _precision_by_size(matches)
            precisions.append(by_size)
            num_objects = int(matches.num_true[_ALL])
            if num_objects:
                per_class.append(_class_precision(category, num_objects, by_size[_ALL]))
        # category x size x IoU threshold; NaN where a category has no objects of a size
        precision = np.array(precisions).reshape(-1, len(SIZES), len(IOU_THRESHOLDS))
        return InstanceResult(
            photos=len(self._images),
            classes=len(per_class),
            ap=_mean_percent(precision[:, _ALL]),
            ap50=_mean_percent(precision[:, _ALL, _AT_50]),
            ap75=_mean_percent(precision[:, _ALL, _AT_75]),
            small=_mean_percent(precision[:, _SMALL]),
            medium=_mean_percent(precision[:, _MEDIUM]),
            large=_mean_percent(precision[:, _LARGE]),
            per_class=tuple(per_class),
        )

    def state(self) -> State:
        """Return what was counted: a row for every category of an image, and a column for every detection."""
        categories, images, matches = [], [], []
        for category, by_image in self._matches.items():
            for image, each in by_image.items():
                categories.append(category)
                images.append(image)
                matches.append(each)
        together = _concatenate(matches)
        return {
            "photos": np.array(sorted(self._images), np.int64),
            "category": np.array(categories, np.int64),
            "photo": np.array(images, np.int64),
            "detections": np.array([len(each.scores) for each in matches], np.int64),
            "true": np.array([each.num_true for each in matches], np.int64).reshape(-1, len(SIZES)),
            "scores": together.scores,
            "right": _pack_flags(together.matched),
            "excused": _pack_flags(together.ignored),
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


def _by_category(items: Iterable[Item]) -> defaultdict[int, list[Item]]:
    grouped: defaultdict[int, list[Item]] = defaultdict(list)
    for item in items:
        grouped[item.category].append(item)
    return grouped


def _concatenate(matches: Iterable[_Matches]) -> _Matches:
    """Concatenate the detections of several images, and add up their objects."""
    no_flags = np.zeros((len(SIZES), len(IOU_THRESHOLDS), 0), np.bool_)
    scores, matched, ignored = [np.zeros(0)], [no_flags], [no_flags]
    num_true = np.zeros(len(SIZES), np.int64)
    for each in matches:
        scores.append(each.scores)
        matched.append(each.matched)
        ignored.append(each.ignored)
        num_true += each.num_true
    return _Matches(
        scores=np.concatenate(scores),
        matched=np.concatenate(matched, axis=-1),
        ignored=np.concatenate(ignored, axis=-1),
        num_true=num_true,
    )


def _pack_flags(flags: FlagArray) -> NDArray[np.uint8]:
    """Return the flags of all detections as bits: a row of bytes for each detection."""
    num_detections = flags.shape[-1]
    return np.packbits(flags.reshape(_FLAGS_PER_DETECTION, num_detections).T, axis=1)


def _unpack_flags(bits: NDArray[np.uint8] | Sequence[Sequence[int]]) -> FlagArray:
    num_bytes = -(-_FLAGS_PER_DETECTION // 8)  # rounded up
    packed = np.asarray(bits, np.uint8).reshape(-1, num_bytes)
    flags = np.unpackbits(packed, axis=1, count=_FLAGS_PER_DETECTION).T.astype(np.bool_)
    return np.asarray(flags.reshape(len(SIZES), len(IOU_THRESHOLDS), len(packed)))


def _match(detections: Sequence[Detection], objects: Sequence[GroundTruthObject]) -> _Matches:
    """Match the detections of one category in one image, best first, at all sizes and IoU thresholds at once."""
    is_crowd = np.array([each.is_crowd for each in objects], np.bool_)
    object_areas = np.array([each.counted_area for each in objects], np.float64)
    is_uncounted = is_crowd | _outside_size(object_areas)  # size x object
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
    predicted, true = _encode_masks(detections), _encode_masks(objects)
    return np.asarray(rle.iou(predicted, true, is_crowd.astype(np.uint8).tolist()))


def _encode_masks(items: Sequence[Detection] | Sequence[GroundTruthObject]) -> list[Any]:
    """Return the masks as run lengths of pycocotools."""
    from pycocotools import mask as rle

    return [rle.encode(np.asfortranarray(item.mask, np.uint8)) for item in items]


def _outside_size(area: AreaArray) -> Bool[np.ndarray, "s n"]:
    """Return for every size which areas are not of it."""
    least, most = np.array(SIZES).T[..., None]
    return np.asarray((area < least) | (area > most))


def _precision_by_size(matches: _Matches) -> Float[np.ndarray, "s l"]:
    return np.stack([_average_precision(matches, size) for size in range(len(SIZES))])


def _average_precision(matches: _Matches, size: int) -> APArray:
    """Return the average precision over 101 recalls, for every IoU threshold; NaN without true objects of this size."""
    num_true = int(matches.num_true[size])
    if not num_true:
        return np.full(len(IOU_THRESHOLDS), np.nan)
    order = np.argsort(-matches.scores, kind="stable")
    matched = matches.matched[size][:, order]
    ignored = matches.ignored[size][:, order]
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
        ap=_mean_percent(precision),
        ap50=_mean_percent(precision[_AT_50]),
        ap75=_mean_percent(precision[_AT_75]),
    )


def _mean_percent(values: NDArray[np.float64] | np.float64) -> float:
    """Return the mean of all numbers that are not NaN, as a percentage."""
    numbers = np.ravel(values)
    return mean_percent(numbers[~np.isnan(numbers)].tolist())
