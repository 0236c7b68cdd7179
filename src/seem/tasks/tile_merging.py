"""Predictions of overlapping tiles become one: things that cross a seam are one object, stuff of one class is one.

Neighbouring tiles share a band of pixels. Two things in it are the same if they overlap there (IoU above `SAME_IOU`, so
that each has one partner at most); their classes may differ, as a part of an object is often taken for something else:
then that of the larger and surer part counts. What scores too little in its tile stays where it is one with something
that scores enough in another: tiles show parts, and parts are told less surely.

Where only one tile sees something, it stays; where both see something else, the tile decides in which the pixel lies
deeper. A thing that lies in a shared band alone and is cut off by the tile's border is left to the neighbour, which
sees more of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Int32
from numpy.typing import NDArray

from seem.mask_codec import PackedMask
from seem.rasterize import PixelBox

SAME_IOU = 0.5  # in the shared band, above which two things are one


@dataclass(frozen=True, slots=True)
class SharedBands:
    """How many pixels a tile shares with its neighbours on each side, 0 at the border of the image."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def leaves_to_neighbour(self, box: PixelBox, hw: tuple[int, int]) -> bool:
        """Whether a thing (its box, in a tile of that height and width) lies in one band and touches that border."""
        x0, y0, x1, y1 = box
        height, width = hw
        return (
            (x0 == 0 and x1 <= self.left)
            or (y0 == 0 and y1 <= self.top)
            or (x1 == width and x0 >= width - self.right)
            or (y1 == height and y0 >= height - self.bottom)
        )


@dataclass(frozen=True, slots=True)
class TileSegment:
    """A segment of one tile: its class as an index of the vocabulary, and its score (0-1)."""

    category: int
    is_thing: bool
    score: float

    def can_be_one_with(self, other: TileSegment) -> bool:
        """Whether both are things, or stuff of one class."""
        return self.is_thing == other.is_thing and (
            self.is_thing or self.category == other.category
        )


NOTHING = TileSegment(-1, is_thing=False, score=0.0)


@dataclass(frozen=True, slots=True)
class MergedSegment:
    """A segment of the full image, under its final id; its score is that of its surest part."""

    id: int
    category: int
    is_thing: bool
    score: float


class DisjointSets:
    """Numbers from 0 on, some of which are the same; the smallest of equal ones stands for all."""

    def __init__(self) -> None:
        self._parents: list[int] = []

    def __len__(self) -> int:
        return len(self._parents)

    def add(self) -> int:
        """Add the next number, and return it."""
        self._parents.append(len(self._parents))
        return len(self._parents) - 1

    def find(self, number: int) -> int:
        """Return the number that stands for all that are the same."""
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number

    def join(self, one: int, other: int) -> None:
        """Say that two numbers are the same."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parents[second] = first

    def roots(self) -> NDArray[np.int32]:
        """Return for every number the one that stands for it."""
        return np.array([self.find(number) for number in range(len(self))], dtype=np.int32)


@dataclass(slots=True)
class SegmentMapMerger:
    """Merges maps of segments, tile by tile, row by row. Ids on the map are preliminary until `final_ids`.

    A segment that scores less than `threshold` stays if it is one with another that scores more.
    """

    threshold: float = 0.0
    _sets: DisjointSets = field(default_factory=DisjointSets)
    _parts: list[TileSegment] = field(default_factory=list)
    _areas: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._new_id(NOTHING, 0)  # 0 is no segment

    def add(
        self,
        tile_ids: Int32[NDArray[np.int32], "h w"],
        segments: Sequence[TileSegment],
        drawn: Int32[NDArray[np.int32], "h w"],
        bands: SharedBands,
    ) -> Int32[NDArray[np.int32], "h w"]:
        """Return what is to be drawn in the window of a tile.

        Args:
            tile_ids: of every pixel the number of its segment, from 1 on in the order of `segments`, 0 = none.
            segments: those of the tile.
            drawn: what the tiles before have drawn in this window, 0 = nothing.
            bands: of this tile.
        """
        new_ids = self._preliminary_ids(tile_ids, segments, bands)
        new: NDArray[np.int32] = new_ids[tile_ids]
        height, width = new.shape
        for rows, columns in (
            (slice(0, height), slice(0, bands.left)),
            (slice(0, bands.top), slice(0, width)),
        ):
            if drawn[rows, columns].size:
                self._join_same(drawn[rows, columns], new[rows, columns])
        merged = np.where(_is_deeper_before((height, width), bands) & (drawn > 0), drawn, new)
        return np.where(merged == 0, drawn, merged)

    def _preliminary_ids(
        self, tile_ids: NDArray[np.int32], segments: Sequence[TileSegment], bands: SharedBands
    ) -> NDArray[np.int32]:
        """Give every segment of a tile an id on the map; 0 for a thing that is left to a neighbour."""
        ids = np.zeros(len(segments) + 1, dtype=np.int32)
        for number, segment in enumerate(segments, 1):
            inside = tile_ids == number
            area = int(np.count_nonzero(inside))
            if not area:
                continue
            if segment.is_thing and bands.leaves_to_neighbour(box_of(inside), inside.shape):
                continue
            ids[number] = self._new_id(segment, area)
        return ids

    def _new_id(self, segment: TileSegment, area: int) -> int:
        self._parts.append(segment)
        self._areas.append(area)
        return self._sets.add()

    def _join_same(self, drawn: NDArray[np.int32], new: NDArray[np.int32]) -> None:
        """Join the segments of a band that overlap and can be one."""
        drawn_numbers, drawn_ids = _numbered(drawn, self._sets)
        new_numbers, new_ids = _numbered(new, self._sets)
        shared = np.bincount(
            (drawn_numbers * len(new_ids) + new_numbers).ravel(),
            minlength=len(drawn_ids) * len(new_ids),
        ).reshape(len(drawn_ids), len(new_ids))
        union = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None] - shared
        for row, column in np.argwhere(shared > SAME_IOU * union):
            one, other = drawn_ids[row], new_ids[column]
            if one and other and self._parts[one].can_be_one_with(self._parts[other]):
                self._sets.join(one, other)

    def final_ids(self) -> tuple[NDArray[np.int32], list[MergedSegment]]:
        """Return the final id of every preliminary one, 0 for those that go, and the segments.

        Ids count from 1 in the order in which segments appeared; stuff of one class is one segment.
        """
        roots = self._sets.roots()
        groups: dict[int, list[int]] = {}
        for part, root in enumerate(roots.tolist()):
            if part:
                groups.setdefault(root, []).append(part)
        final = np.zeros(len(roots), dtype=np.int32)
        segments: list[MergedSegment] = []
        stuff_ids: dict[int, int] = {}
        for parts in groups.values():
            merged = self._merged([self._parts[part] for part in parts], parts)
            if merged.score < self.threshold:
                continue
            if merged.is_thing or merged.category not in stuff_ids:
                segments.append(replace(merged, id=len(segments) + 1))
                number = len(segments)
                if not merged.is_thing:
                    stuff_ids[merged.category] = number
            else:
                number = stuff_ids[merged.category]
                best = max(segments[number - 1].score, merged.score)
                segments[number - 1] = replace(segments[number - 1], score=best)
            final[parts] = number
        return final, segments

    def _merged(self, parts: Sequence[TileSegment], numbers: Sequence[int]) -> MergedSegment:
        weights: dict[int, float] = {}
        for number, part in zip(numbers, parts, strict=True):
            weight = self._areas[number] * part.score
            weights[part.category] = weights.get(part.category, 0.0) + weight
        category = max(weights, key=lambda each: weights[each])
        return MergedSegment(0, category, parts[0].is_thing, max(part.score for part in parts))


def _numbered(ids: NDArray[np.int32], sets: DisjointSets) -> tuple[NDArray[np.int64], list[int]]:
    """Return a map of small numbers instead of ids, joined ones under one number, and the id of each number."""
    present, inverse = np.unique(ids, return_inverse=True)
    roots = [sets.find(each) for each in present.tolist()]
    distinct, numbers = np.unique(np.array(roots, dtype=np.int64), return_inverse=True)
    numbered: NDArray[np.int64] = numbers.reshape(-1)[inverse.reshape(ids.shape)]
    return numbered, distinct.tolist()


def _is_deeper_before(hw: tuple[int, int], bands: SharedBands) -> Bool[NDArray[np.bool_], "h w"]:
    """Say of every pixel of a tile whether a tile before it (left or above) shows it further from its border."""
    height, width = hw
    is_before = np.zeros((height, width), dtype=np.bool_)
    is_before[:, : bands.left // 2] = True
    is_before[: bands.top // 2] = True
    return is_before


def box_of(mask: Bool[NDArray[np.bool_], "h w"]) -> PixelBox:
    """Return the tight box of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


# --- Masks that may overlap -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TileObject:
    """An object as one tile shows it: the tile's window (pixels, xyxy) and its mask there, class and score (0-1)."""

    window: PixelBox
    mask: PackedMask
    category: int
    score: float

    @property
    def box(self) -> PixelBox:
        """The tight box of the mask, in pixels of the full image."""
        x0, y0, x1, y1 = self.mask.box
        left, top = self.window[:2]
        return x0 + left, y0 + top, x1 + left, y1 + top

    def crop(self, box: PixelBox) -> Bool[NDArray[np.bool_], "h w"]:
        """Return the mask in a box of the full image, of which it may fill a part."""
        drawn = np.zeros((box[3] - box[1], box[2] - box[0]), dtype=np.bool_)
        own = self.box
        shared = intersection(own, box)
        if shared is not None:
            part = self.mask.crop()[_inside(shared, own)]
            drawn[_inside(shared, box)] = part
        return drawn


@dataclass(frozen=True, slots=True, eq=False)
class MergedObject:
    """An object of the full image, of the parts that tiles show."""

    parts: tuple[TileObject, ...]
    category: int
    score: float

    def to_mask(self, image_hw: tuple[int, int]) -> PackedMask:
        """Join the parts; a byte a pixel of the object's box is in memory meanwhile."""
        if len(self.parts) == 1 and self.parts[0].mask.image_hw == image_hw:
            return self.parts[0].mask
        boxes = np.array([part.box for part in self.parts])
        (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
        mask = np.zeros((y1 - y0, x1 - x0), dtype=np.bool_)
        for part in self.parts:
            mask[_inside(part.box, (x0, y0, x1, y1))] |= part.mask.crop()
        return PackedMask(
            image_hw, (x0, y0, x1, y1), np.packbits(mask), int(np.count_nonzero(mask))
        )


def merge_objects(
    tiles: Sequence[Sequence[TileObject]], threshold: float = 0.0
) -> list[MergedObject]:
    """Join the objects of overlapping tiles that are one: in what both tiles show, their IoU is above `SAME_IOU`.

    An object has one partner in another tile at most, that with the highest IoU. Its score is that of its surest part;
    those below `threshold` are left out. Best first.
    """
    objects = [one for tile in tiles for one in tile]
    sets = DisjointSets()
    for _ in objects:
        sets.add()
    first_of_tile = np.cumsum([0, *map(len, tiles)]).tolist()
    for one, tile in enumerate(tiles):
        for other in range(one):
            if tile and tiles[other]:
                shared = intersection(tile[0].window, tiles[other][0].window)
                if shared is not None:
                    for row, column in _partners(tile, tiles[other], shared):
                        sets.join(first_of_tile[one] + row, first_of_tile[other] + column)
    groups: dict[int, list[TileObject]] = {}
    for root, one_object in zip(sets.roots().tolist(), objects, strict=True):
        groups.setdefault(root, []).append(one_object)
    merged = [_merged(parts) for parts in groups.values()]
    sure = [one for one in merged if one.score >= threshold]
    return sorted(sure, key=lambda one: -one.score)


def _partners(
    some: Sequence[TileObject], others: Sequence[TileObject], shared: PixelBox
) -> list[tuple[int, int]]:
    """Pair the objects of two tiles that are one in the window that both show."""
    ious = []
    for row, one in enumerate(some):
        for column, other in enumerate(others):
            meeting = intersection(one.box, other.box)
            if meeting is None or intersection(meeting, shared) is None:
                continue
            mine, theirs = one.crop(shared), other.crop(shared)
            union = np.count_nonzero(mine | theirs)
            iou = np.count_nonzero(mine & theirs) / max(int(union), 1)
            if iou > SAME_IOU:
                ious.append((iou, row, column))
    pairs: list[tuple[int, int]] = []
    rows, columns = set(), set()
    for _, row, column in sorted(ious, reverse=True):
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def _merged(parts: Sequence[TileObject]) -> MergedObject:
    weights: dict[int, float] = {}
    for part in parts:
        weights[part.category] = weights.get(part.category, 0.0) + part.mask.area * part.score
    category = max(weights, key=lambda each: weights[each])
    return MergedObject(tuple(parts), category, max(part.score for part in parts))


def intersection(one: PixelBox, other: PixelBox) -> PixelBox | None:
    """Return what two boxes share; None for nothing."""
    x0, y0 = max(one[0], other[0]), max(one[1], other[1])
    x1, y1 = min(one[2], other[2]), min(one[3], other[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _inside(box: PixelBox, outer: PixelBox) -> tuple[slice, slice]:
    """Return a box as an index into an array of an outer one."""
    x0, y0, x1, y1 = box
    left, top = outer[:2]
    return slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
