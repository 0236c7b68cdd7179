"""Panoptic quality (Kirillov et al., 2019), with the void and crowd rules of the COCO reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeAlias

import numpy as np
from jaxtyping import Int32

from seem.data.coco_rle import distinct_values, find_runs
from seem.evaluation.metrics.metric import State

VOID = 0
"""Segment id of unlabelled pixels."""

IdMap: TypeAlias = Int32[np.ndarray, "h w"]
SharedPixels: TypeAlias = Counter[tuple[int, int]]
"""The number of pixels of every pair of a true and a predicted segment id."""


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """One segment of a map; `is_crowd` (truth only): several objects that are not separated."""

    id: int
    category: int
    is_crowd: bool = False


@dataclass(frozen=True, slots=True)
class PanopticSegmentation:
    """A partition of an image: `ids` holds the id of a segment at each pixel, or `VOID`."""

    ids: IdMap
    segments: tuple[SegmentInfo, ...]

    @property
    def categories(self) -> set[int]:
        """The categories of its segments."""
        return {segment.category for segment in self.segments}

    def by_id(self) -> dict[int, SegmentInfo]:
        """Return the segments by their id; `ValueError` if the map and the list do not hold the same ids."""
        in_map = set(distinct_values(self.ids).tolist()) - {VOID}
        listed = {segment.id: segment for segment in self.segments}
        if in_map != listed.keys() or len(listed) != len(self.segments):
            different = sorted(in_map ^ listed.keys())[:5]
            raise ValueError(
                f"A panoptic map and its list of segments differ, among others in the ids {different}; list every "
                "segment of the map once."
            )
        return listed


@dataclass(frozen=True, slots=True)
class ClassPanopticQuality:
    """One category: its matched, surplus and missed segments, and its quality (0-100) in total and in two factors.

    `sq` is the segmentation quality, `rq` the recognition quality, `pq` their product.
    """

    category: int
    is_thing: bool
    matched: int
    surplus: int
    missed: int
    pq: float
    sq: float
    rq: float


@dataclass(frozen=True, slots=True)
class MeanPanopticQuality:
    """Means over `classes` categories, those without any segment left out."""

    classes: int
    pq: float
    sq: float
    rq: float


@dataclass(frozen=True, slots=True)
class PanopticResult:
    """Panoptic quality over `photos` images."""

    photos: int
    all: MeanPanopticQuality
    things: MeanPanopticQuality
    stuff: MeanPanopticQuality
    per_class: tuple[ClassPanopticQuality, ...]


@dataclass(slots=True)
class _ClassCounts:
    matched: int = 0
    surplus: int = 0
    missed: int = 0
    ious: list[float] = field(default_factory=list)

    def merge(self, other: _ClassCounts) -> None:
        self.matched += other.matched
        self.surplus += other.surplus
        self.missed += other.missed
        self.ious += other.ious


class PanopticQuality:
    """Counts matched, surplus and missed segments; `is_thing` says for each category whether it is countable."""

    def __init__(self, is_thing: Mapping[int, bool]) -> None:
        self.is_thing = dict(is_thing)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._images = 0
        self._counts = {category: _ClassCounts() for category in self.is_thing}

    def update(self, predicted: PanopticSegmentation, truth: PanopticSegmentation) -> None:
        """Match the segments of one image.

        A pair matches if it has one category and an IoU above one half, which no second pair can have. Unlabelled
        pixels of a prediction do not count in its union. Crowds are never matched nor missed. A prediction without a
        match is not counted if more than half of it lies on unlabelled pixels or on the crowd of its category; of
        several crowds the last one listed counts, as in the reference (COCO has one a category and image).

        Raises `ValueError` for a map that does not hold what is listed, and for a category that is not scored.
        """
        matcher = _SegmentMatcher.of(predicted, truth)
        unknown = (predicted.categories | truth.categories) - self.is_thing.keys()
        if unknown:
            raise ValueError(
                f"The categories {sorted(unknown)} are not among those that are scored."
            )
        matched_true, matched_predicted = set(), set()
        for true_id, predicted_id, iou in matcher.matches():
            counts = self._counts[matcher.true[true_id].category]
            counts.matched += 1
            counts.ious.append(iou)
            matched_true.add(true_id)
            matched_predicted.add(predicted_id)
        for segment in truth.segments:
            if not segment.is_crowd and segment.id not in matched_true:
                self._counts[segment.category].missed += 1
        for segment in predicted.segments:
            if segment.id not in matched_predicted and not matcher.is_excused(segment):
                self._counts[segment.category].surplus += 1
        self._images += 1

    def merge(self, other: PanopticQuality) -> None:
        """Add what another process counted."""
        if other.is_thing != self.is_thing:
            raise ValueError("Panoptic qualities over different categories cannot be merged.")
        self._images += other._images
        for category, counts in other._counts.items():
            self._counts[category].merge(counts)

    def compute(self) -> PanopticResult:
        """Score all images so far; their order does not matter."""
        classes: list[ClassPanopticQuality] = []
        by_kind: dict[bool, list[ClassPanopticQuality]] = {True: [], False: []}
        for category, counts in self._counts.items():
            if counts.matched + counts.surplus + counts.missed:
                is_thing = self.is_thing[category]
                quality = _class_quality(category, is_thing, counts)
                classes.append(quality)
                by_kind[is_thing].append(quality)
        return PanopticResult(
            photos=self._images,
            all=_mean_quality(classes),
            things=_mean_quality(by_kind[True]),
            stuff=_mean_quality(by_kind[False]),
            per_class=tuple(classes),
        )

    def state(self) -> State:
        """Return what was counted; lists are parallel to the categories."""
        counts = self._counts.values()
        return {
            "photos": self._images,
            "categories": list(self.is_thing),
            "is_thing": list(self.is_thing.values()),
            "matched": [each.matched for each in counts],
            "surplus": [each.surplus for each in counts],
            "missed": [each.missed for each in counts],
            "ious": [list(each.ious) for each in counts],
        }

    @classmethod
    def from_state(cls, state: State) -> PanopticQuality:
        """Restore the metric from its `state`."""
        metric = cls(dict(zip(state["categories"], state["is_thing"], strict=True)))
        metric._images = int(state["photos"])
        columns = itemgetter("categories", "matched", "surplus", "missed", "ious")(state)
        for category, matched, surplus, missed, ious in zip(*columns, strict=True):
            metric._counts[category] = _ClassCounts(matched, surplus, missed, list(ious))
        return metric


@dataclass(frozen=True, slots=True)
class _SegmentMatcher:
    """The segments of a true and a predicted map, and the areas that they share."""

    true: Mapping[int, SegmentInfo]
    predicted: Mapping[int, SegmentInfo]
    shared: SharedPixels
    true_area: Counter[int]
    predicted_area: Counter[int]
    crowds: Mapping[int, int]  # id of the last crowd of a category

    @classmethod
    def of(cls, predicted: PanopticSegmentation, truth: PanopticSegmentation) -> _SegmentMatcher:
        predicted_segments, true_segments = predicted.by_id(), truth.by_id()
        shared = _shared_pixels(truth.ids, predicted.ids)
        true_area: Counter[int] = Counter()
        predicted_area: Counter[int] = Counter()
        for (true_id, predicted_id), pixels in shared.items():
            true_area[true_id] += pixels
            predicted_area[predicted_id] += pixels
        crowds = {}
        for segment in truth.segments:
            if segment.is_crowd:
                crowds[segment.category] = segment.id
        return cls(
            true=true_segments,
            predicted=predicted_segments,
            shared=shared,
            true_area=true_area,
            predicted_area=predicted_area,
            crowds=crowds,
        )

    def matches(self) -> Iterator[tuple[int, int, float]]:
        """Yield true id, predicted id and IoU of every matching pair."""
        for (true_id, predicted_id), pixels in self.shared.items():
            if VOID in (true_id, predicted_id):
                continue
            segment = self.true[true_id]
            if segment.is_crowd or segment.category != self.predicted[predicted_id].category:
                continue
            areas = self.true_area[true_id] + self.predicted_area[predicted_id]
            union = areas - pixels - self.shared[VOID, predicted_id]
            if 2 * pixels > union:
                yield true_id, predicted_id, pixels / union

    def is_excused(self, segment: SegmentInfo) -> bool:
        """Whether more than half of a prediction lies on unlabelled pixels or on the crowd of its category."""
        excused = self.shared[VOID, segment.id]
        if segment.category in self.crowds:
            excused += self.shared[self.crowds[segment.category], segment.id]
        return 2 * excused > self.predicted_area[segment.id]


def _shared_pixels(true: IdMap, predicted: IdMap) -> SharedPixels:
    """Count the pixels of every pair of ids that occurs."""
    pairs = ((true.astype(np.int64) << 32) | predicted).ravel()
    starts, lengths = find_runs(pairs)
    unique, inverse = np.unique(pairs[starts], return_inverse=True)
    pixels = np.bincount(inverse, weights=lengths).astype(np.int64)
    true_ids, predicted_ids = unique >> 32, unique & 0xFFFFFFFF
    keys = zip(true_ids.tolist(), predicted_ids.tolist(), strict=True)
    return Counter(dict(zip(keys, pixels.tolist(), strict=True)))


def _class_quality(category: int, is_thing: bool, counts: _ClassCounts) -> ClassPanopticQuality:
    iou_sum = math.fsum(counts.ious)
    mean_iou = 0.0
    if counts.matched:
        mean_iou = 100 * iou_sum / counts.matched
    weight = counts.matched + (counts.surplus + counts.missed) / 2
    return ClassPanopticQuality(
        category=category,
        is_thing=is_thing,
        matched=counts.matched,
        surplus=counts.surplus,
        missed=counts.missed,
        pq=100 * iou_sum / weight,
        sq=mean_iou,
        rq=100 * counts.matched / weight,
    )


def _mean_quality(classes: Sequence[ClassPanopticQuality]) -> MeanPanopticQuality:
    count = len(classes)
    if not count:
        return MeanPanopticQuality(0, math.nan, math.nan, math.nan)
    return MeanPanopticQuality(
        classes=count,
        pq=math.fsum(quality.pq for quality in classes) / count,
        sq=math.fsum(quality.sq for quality in classes) / count,
        rq=math.fsum(quality.rq for quality in classes) / count,
    )
