"""Panoptic quality (Kirillov et al., 2019), with the void and crowd rules of the COCO reference."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int32

from seem.data.coco_rle import distinct_values, find_runs
from seem.evaluation.metrics.metric import State

VOID = 0
"""Segment id of pixels that nobody labelled."""


@dataclass(frozen=True, slots=True)
class Region:
    """One segment of a map; `is_crowd` (truth only): several objects that nobody told apart."""

    id: int
    category: int
    is_crowd: bool = False


@dataclass(frozen=True, slots=True)
class PanopticMap:
    """A partition of a photo: `ids` holds the id of a region at each pixel, or `VOID`."""

    ids: Int32[np.ndarray, "h w"]
    regions: tuple[Region, ...]

    def by_id(self) -> dict[int, Region]:
        """Regions by their id; `ValueError` if the map and the list do not hold the same ids."""
        drawn, listed = set(distinct_values(self.ids).tolist()) - {VOID}, {region.id for region in self.regions}
        if drawn != listed or len(listed) != len(self.regions):
            odd = sorted(drawn ^ listed)[:5]
            raise ValueError(f"A panoptic map and its list of regions differ, among others in the ids {odd}.")
        return {region.id: region for region in self.regions}


@dataclass(frozen=True, slots=True)
class ClassQuality:
    """One category: matches and mistakes, and the quality (0-100) of segmentation, recognition and both (pq)."""

    category: int
    is_thing: bool
    matched: int
    surplus: int
    missed: int
    pq: float
    sq: float
    rq: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Means over `classes` categories, those without any segment left out."""

    classes: int
    pq: float
    sq: float
    rq: float


@dataclass(frozen=True, slots=True)
class PanopticResult:
    """Panoptic quality over `photos` photos."""

    photos: int
    all: Quality
    things: Quality
    stuff: Quality
    per_class: tuple[ClassQuality, ...]


@dataclass(slots=True)
class _Tally:
    matched: int = 0
    surplus: int = 0
    missed: int = 0
    ious: list[float] = field(default_factory=list)


class PanopticQuality:
    """Counts matched, surplus and missed segments; `is_thing` tells for each category whether it is countable."""

    def __init__(self, is_thing: Mapping[int, bool]) -> None:
        self.is_thing = dict(is_thing)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._photos = 0
        self._tallies = {category: _Tally() for category in self.is_thing}

    def update(self, predicted: PanopticMap, truth: PanopticMap) -> None:
        """Match the segments of one photo.

        A pair matches if it has one category and an IoU above one half, which no second pair can have. Unlabelled
        pixels of a prediction do not count in its union. Crowds are never matched nor missed. A prediction without a
        match is no mistake if more than half of it lies on unlabelled pixels or on the crowd of its category; of
        several crowds the last one listed counts, as in the reference (COCO has one a category and photo).

        Raises `ValueError` for a map that does not hold what is listed, and for a category that is not known.
        """
        told, true = predicted.by_id(), truth.by_id()
        unknown = {region.category for region in (*predicted.regions, *truth.regions)} - self.is_thing.keys()
        if unknown:
            raise ValueError(f"The categories {sorted(unknown)} are not among those that are scored.")
        shared = _shared_pixels(truth.ids, predicted.ids)
        true_area, told_area = _areas(shared, 0), _areas(shared, 1)
        matched_true: set[int] = set()
        matched_told: set[int] = set()
        for (true_id, told_id), pixels in shared.items():
            if true_id == VOID or told_id == VOID:
                continue
            region = true[true_id]
            if region.is_crowd or region.category != told[told_id].category:
                continue
            union = true_area[true_id] + told_area[told_id] - pixels - shared[VOID, told_id]
            if 2 * pixels > union:
                tally = self._tallies[region.category]
                tally.matched += 1
                tally.ious.append(pixels / union)
                matched_true.add(true_id)
                matched_told.add(told_id)
        for region in truth.regions:
            if not region.is_crowd and region.id not in matched_true:
                self._tallies[region.category].missed += 1
        crowds = {region.category: region.id for region in truth.regions if region.is_crowd}
        for region in predicted.regions:
            if region.id not in matched_told:
                excuses = {VOID, crowds.get(region.category, VOID)}
                excused = sum(shared[true_id, region.id] for true_id in excuses)
                if 2 * excused <= told_area[region.id]:
                    self._tallies[region.category].surplus += 1
        self._photos += 1

    def merge(self, other: PanopticQuality) -> None:
        """Add what another process counted."""
        if other.is_thing != self.is_thing:
            raise ValueError("Panoptic qualities over different categories cannot be merged.")
        self._photos += other._photos
        for category, more in other._tallies.items():
            tally = self._tallies[category]
            tally.matched += more.matched
            tally.surplus += more.surplus
            tally.missed += more.missed
            tally.ious += more.ious

    def compute(self) -> PanopticResult:
        """Score all photos so far; their order does not matter."""
        classes = tuple(
            _class_quality(category, self.is_thing[category], tally)
            for category, tally in self._tallies.items()
            if tally.matched + tally.surplus + tally.missed
        )
        return PanopticResult(
            photos=self._photos,
            all=_mean(classes),
            things=_mean(quality for quality in classes if quality.is_thing),
            stuff=_mean(quality for quality in classes if not quality.is_thing),
            per_class=classes,
        )

    def state(self) -> State:
        """Return what was counted; lists run along the categories."""
        tallies = self._tallies.values()
        return {
            "photos": self._photos,
            "categories": list(self.is_thing),
            "is_thing": list(self.is_thing.values()),
            "matched": [tally.matched for tally in tallies],
            "surplus": [tally.surplus for tally in tallies],
            "missed": [tally.missed for tally in tallies],
            "ious": [list(tally.ious) for tally in tallies],
        }

    @classmethod
    def from_state(cls, state: State) -> PanopticQuality:
        """Go on from what was counted."""
        metric = cls(dict(zip(state["categories"], state["is_thing"], strict=True)))
        metric._photos = int(state["photos"])
        columns = (state[name] for name in ("categories", "matched", "surplus", "missed", "ious"))
        for category, matched, surplus, missed, ious in zip(*columns, strict=True):
            metric._tallies[category] = _Tally(matched, surplus, missed, list(ious))
        return metric


def _shared_pixels(true: Int32[np.ndarray, "h w"], told: Int32[np.ndarray, "h w"]) -> Counter[tuple[int, int]]:
    """Count the pixels of every pair (true id, told id) that occurs."""
    both = ((true.astype(np.int64) << 32) | told).ravel()
    starts, lengths = find_runs(both)
    pairs, which = np.unique(both[starts], return_inverse=True)
    pixels = np.bincount(which, weights=lengths).astype(np.int64)
    rows = zip((pairs >> 32).tolist(), (pairs & 0xFFFFFFFF).tolist(), strict=True)
    return Counter(dict(zip(rows, pixels.tolist(), strict=True)))


def _areas(shared: Mapping[tuple[int, int], int], side: int) -> Counter[int]:
    areas: Counter[int] = Counter()
    for pair, pixels in shared.items():
        areas[pair[side]] += pixels
    return areas


def _class_quality(category: int, is_thing: bool, tally: _Tally) -> ClassQuality:
    agreement = math.fsum(tally.ious)
    weight = tally.matched + (tally.surplus + tally.missed) / 2
    return ClassQuality(
        category=category,
        is_thing=is_thing,
        matched=tally.matched,
        surplus=tally.surplus,
        missed=tally.missed,
        pq=100 * agreement / weight,
        sq=100 * agreement / tally.matched if tally.matched else 0.0,
        rq=100 * tally.matched / weight,
    )


def _mean(classes: Iterable[ClassQuality]) -> Quality:
    found = list(classes)
    if not found:
        return Quality(0, math.nan, math.nan, math.nan)
    pq, sq, rq = (math.fsum(values) / len(found) for values in zip(*((c.pq, c.sq, c.rq) for c in found), strict=True))
    return Quality(len(found), pq, sq, rq)
