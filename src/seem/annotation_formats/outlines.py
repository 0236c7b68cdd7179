"""From a mask to polygons that cover its pixels exactly, whichever rule a tool fills them by.

Tools fill a polygon in two ways: those that follow COCO take the pixels whose centres lie inside; OpenCV, Pillow and
what stands on them (Ultralytics, supervision, labelme) cut corners off to whole numbers and take the border too. An
outline along the edges of the pixels, moved a quarter of a pixel into the mask, gives the same pixels by both.

A polygon has no holes, so each hole is reached by a bridge of zero width, along a row of the mask's own pixels.
Where a format has holes, `trace_polygons` follows the edges of the pixels themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.mask_codec import PackedMask

EDITABLE_TOLERANCE = 1.0  # pixels
MIN_PART_SHARE = 0.01  # of the extent of the largest part
MIN_CORNERS = 3  # of a polygon
INSET = 0.25  # pixels between the outline and the edge of the mask

# The four pixels around a point of the grid: a bit for each, on which side it lies (x, y), and the bit across.
_QUADRANTS = (
    (1, -1, -1, 8),
    (2, 1, -1, 4),
    (4, -1, 1, 2),
    (8, 1, 1, 1),
)  # fmt: skip
_ALL_BITS = 15


@dataclass(frozen=True, slots=True)
class Outline:
    """One connected part of a mask (pixels joined by their sides): corners (N, 2) as x, y in pixels of the image."""

    corners: NDArray[np.float64]
    num_holes: int


def trace_outlines(mask: PackedMask) -> list[Outline]:
    """Trace the parts of a mask, from top to bottom; an empty mask has none.

    Pixels that touch at a corner alone belong to different parts.
    """
    if mask.area == 0:
        return []
    pixels = mask.crop()
    paths = _Paths(_Corners.of(pixels), INSET)
    num_holes: dict[int, int] = {}
    for ring, part in enumerate(paths.parts(pixels)):
        if ring == part:
            num_holes[part] = 0
            continue
        num_holes[part] += 1
        start = paths.starts[ring]
        paths.bridge(paths.edge_left_of(start, pixels), start)
    offset = np.array(mask.box[:2], dtype=np.float64)
    outlines = []
    for ring, count in num_holes.items():
        corners = np.array(paths.follow(paths.starts[ring]))
        outlines.append(Outline(corners + offset, count))
    return outlines


@dataclass(frozen=True, slots=True)
class PolygonWithHoles:
    """One connected part of a mask (pixels joined by their sides), along the edges of its pixels, as x, y.

    Rings are (N, 2), their first corner is not repeated, and none touches itself; the signed area of `exterior` is
    positive, that of `holes` negative.
    """

    exterior: NDArray[np.float64]
    holes: tuple[NDArray[np.float64], ...]


def trace_polygons(mask: PackedMask) -> list[PolygonWithHoles]:
    """Trace the parts of a mask as polygons with holes, from top to bottom; an empty mask has none.

    Pixel (i, j) covers x from i to i + 1 and y from j to j + 1, so the area of the polygons is that of the mask. They
    are valid in the sense of OGC's simple features: what would touch itself at a corner is cut there.
    """
    if mask.area == 0:
        return []
    pixels = mask.crop()
    paths = _Paths(_Corners.of(pixels), 0.0)
    offset = np.array(mask.box[:2], dtype=np.float64)
    exteriors: dict[int, NDArray[np.float64]] = {}
    holes: dict[int, list[NDArray[np.float64]]] = {}
    for ring, part in enumerate(paths.parts(pixels)):
        for loop in _simple_loops(paths.follow(paths.starts[ring])):
            corners = np.array(loop) + offset
            is_clockwise = _signed_area(corners) > 0  # as seen, y down
            if ring == part and is_clockwise:
                exteriors[part] = corners
                continue
            if is_clockwise:
                corners = corners[::-1]
            holes.setdefault(part, []).append(corners)
    return [
        PolygonWithHoles(exterior, tuple(holes.get(part, ())))
        for part, exterior in exteriors.items()
    ]


def trace_editable_outlines(mask: PackedMask) -> list[Outline]:
    """Trace the larger parts of a mask with so few corners that a person can move them; an empty mask has none."""
    outlines = trace_outlines(mask)
    extents = []
    for outline in outlines:
        width, height = np.ptp(outline.corners, axis=0).tolist()
        extents.append(width * height)
    large = []
    for outline, extent in zip(outlines, extents, strict=True):
        if extent >= MIN_PART_SHARE * max(extents):
            large.append(simplify_outline(outline, EDITABLE_TOLERANCE))
    return large


def simplify_outline(outline: Outline, tolerance: float) -> Outline:
    """Return an outline with fewer corners, none of the others further than `tolerance` pixels from the new lines.

    By Douglas and Peucker (1973), for each half of the ring between two corners that lie far apart.
    """
    corners = outline.corners
    from_first = np.linalg.norm(corners - corners[0], axis=1)
    far = int(np.argmax(from_first))
    ring = np.concatenate([corners, corners[:1]])
    is_corner = np.zeros(len(ring), dtype=np.bool_)
    is_corner[[0, far, -1]] = True
    spans = [(0, far), (far, len(ring) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        distances = _distances_to_line(ring[first + 1 : last], ring[first], ring[last])
        farthest = int(np.argmax(distances))
        if distances[farthest] > tolerance:
            middle = first + 1 + farthest
            is_corner[middle] = True
            spans += [(first, middle), (middle, last)]
    simplified = ring[:-1][is_corner[:-1]]
    if len(simplified) < MIN_CORNERS:
        return outline
    return Outline(simplified, outline.num_holes)


def _distances_to_line(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each point (N, 2) to the segment between two others."""
    direction = end - start
    length = float(direction @ direction)
    share = np.zeros(len(points))
    if length > 0:
        share = (points - start) @ direction / length
    nearest = start + np.clip(share, 0, 1)[:, None] * direction
    distances: NDArray[np.float64] = np.linalg.norm(points - nearest, axis=1)
    return distances


def _simple_loops(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Cut a closed path at the points that it passes twice."""
    loops = []
    path: list[tuple[float, float]] = []
    index_of: dict[tuple[float, float], int] = {}
    for point in points:
        if point in index_of:
            first = index_of[point]
            loops.append(path[first:])
            for passed in path[first:]:
                del index_of[passed]
            del path[first:]
        index_of[point] = len(path)
        path.append(point)
    return [*loops, path]


def _signed_area(corners: NDArray[np.float64]) -> float:
    """Return the area of a polygon, positive where the way from the x axis to the y axis is followed."""
    x, y = corners.T
    next_x, next_y = np.roll(corners, -1, axis=0).T
    twice = np.dot(x, next_y) - np.dot(y, next_x)
    return float(twice) / 2


def join_outlines(outlines: Sequence[Outline]) -> NDArray[np.float64]:
    """Join the parts of a mask to one polygon: lines there and back connect corners that lie near each other."""
    joined = outlines[0].corners
    for outline in outlines[1:]:
        here, there = _nearest_corners(joined, outline.corners)
        detour = np.roll(outline.corners, -there, axis=0)
        before, after = joined[: here + 1], joined[here:]
        joined = np.concatenate([before, detour, detour[:1], after])
    return joined


def _nearest_corners(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[int, int]:
    """Return indices of two corners near each other: of `one` the nearest to the first corner of `other`, and back."""
    here = _nearest_corner(one, other[0])
    return here, _nearest_corner(other, one[here])


def _nearest_corner(corners: NDArray[np.float64], point: NDArray[np.float64]) -> int:
    distances = np.linalg.norm(corners - point, axis=1)
    return int(distances.argmin())


# --- Corners of a mask ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Corners:
    """The corners of a mask on the grid between its pixels, row by row.

    `side_x` and `side_y` say where a corner's two edges go: -1 left or up, 1 right or down. `is_convex`: the mask lies
    inside of that angle. Where two pixels of the mask touch diagonally there are two corners.
    """

    x: NDArray[np.int64]
    y: NDArray[np.int64]
    side_x: NDArray[np.int64]
    side_y: NDArray[np.int64]
    is_convex: NDArray[np.bool_]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> _Corners:
        around = _bits_around(mask)
        tables = []
        for bit, side_x, side_y, opposite in _QUADRANTS:
            convex = np.argwhere((around == bit) | (around == bit + opposite))
            concave = np.argwhere(around == _ALL_BITS - bit)
            tables.append(_corner_table(convex, side_x, side_y, is_convex=True))
            tables.append(_corner_table(concave, side_x, side_y, is_convex=False))
        table = np.concatenate(tables)
        rows, columns, sides = table.T[:3]
        order = np.lexsort((sides, columns, rows))
        y, x, side_x, side_y, convex = table[order].T
        return cls(x, y, side_x, side_y, convex.astype(np.bool_))

    def points(self, inset: float) -> list[tuple[float, float]]:
        """Return the corners as (x, y), moved into the mask by so many pixels."""
        shift = np.where(self.is_convex, inset, -inset)
        x, y = self.x + shift * self.side_x, self.y + shift * self.side_y
        return list(zip(x.tolist(), y.tolist(), strict=True))

    def column_order(self) -> NDArray[np.int64]:
        """Return the corners' numbers column by column."""
        return np.lexsort((self.side_y, self.y, self.x))


def _bits_around(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return for each point of the grid (H + 1, W + 1) which of the four pixels around it are in the mask."""
    pixels = np.pad(mask, 1).astype(np.uint8)
    left, right = pixels[:, :-1], pixels[:, 1:]
    above = left[:-1] + 2 * right[:-1]
    below = 4 * left[1:] + 8 * right[1:]
    return np.asarray(above + below)


def _corner_table(
    points: NDArray[np.int64], side_x: int, side_y: int, *, is_convex: bool
) -> NDArray[np.int64]:
    """Return rows of y, x, side_x, side_y, is_convex."""
    others = np.tile([side_x, side_y, is_convex], (len(points), 1))
    return np.concatenate([points, others], axis=1)


def _partners(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the other end of each corner's edge: along a line, edges join every first and second corner."""
    partners = np.empty_like(order)
    partners[order[0::2]] = order[1::2]
    partners[order[1::2]] = order[0::2]
    return partners


# --- From corners to outlines -----------------------------------------------------------------------------------------


class _Paths:
    """The rings of a mask, each begun at its uppermost corner (of these the leftmost) and followed to the right.

    `next` is the corner after each corner; `bridge` joins the ring of a hole to another ring.
    """

    def __init__(self, corners: _Corners, inset: float) -> None:
        self.corners = corners
        self.points: list[tuple[float, float]] = corners.points(inset)
        self.next = [0] * len(self.points)
        self.ring_of = [-1] * len(self.points)
        self.starts: list[int] = []
        order = corners.column_order()
        self._upper_corners = order[0::2]  # of every vertical edge
        self._edge_keys = self._edge_key(corners.x, corners.y)[self._upper_corners]
        self._in_column: list[int] = _partners(order).tolist()
        self._last_bridge: dict[int, int] = {}  # where the last bridge of an edge comes back
        self._link_rings(_partners(np.arange(len(order))).tolist())

    def parts(self, mask: NDArray[np.bool_]) -> list[int]:
        """Return for every ring the ring around the part that it belongs to: itself unless it bounds a hole."""
        parts: list[int] = []
        for ring, start in enumerate(self.starts):
            if self.corners.is_convex[start]:
                parts.append(ring)
            else:
                edge = self.edge_left_of(start, mask)
                parts.append(parts[self.ring_of[edge]])
        return parts

    def follow(self, start: int) -> list[tuple[float, float]]:
        """Return the corners from a first one on until it comes again."""
        points = [self.points[start]]
        number = self.next[start]
        while number != start:
            points.append(self.points[number])
            number = self.next[number]
        return points

    def edge_left_of(self, start: int, mask: NDArray[np.bool_]) -> int:
        """Return the upper corner of the edge that is met first to the left of a hole, along its uppermost row."""
        x, y = self.corners.x[start], self.corners.y[start]
        outside = np.flatnonzero(~mask[y, :x])
        column = 0
        if len(outside):
            column = outside[-1] + 1
        key = self._edge_key(column, y)
        row = np.searchsorted(self._edge_keys, key, side="right") - 1
        return int(self._upper_corners[row])

    def bridge(self, edge: int, start: int) -> None:
        """Lead the path along a vertical edge over to a hole, around it and back, in the hole's uppermost row."""
        y = float(self.corners.y[start]) + 0.5
        edge_point = (self.points[edge][0], y)
        hole_point = (self.points[start][0], y)
        before = self._point_before_bridge(edge)
        last = self._in_column[start]
        first_new = len(self.points)
        self.points += [edge_point, hole_point, hole_point, edge_point]
        self.next += [first_new + 1, start, first_new + 3, self.next[before]]
        self.next[before] = first_new
        self.next[last] = first_new + 2
        self._last_bridge[edge] = first_new + 3

    def _point_before_bridge(self, edge: int) -> int:
        """Return the point of a vertical edge after which a bridge leaves; bridges of an edge come from above.

        A ring is followed clockwise: edges left of a hole go down if they bound another hole, else up.
        """
        ring = self.ring_of[edge]
        if self.corners.is_convex[self.starts[ring]]:
            return self._in_column[edge]
        return self._last_bridge.get(edge, edge)

    def _link_rings(self, in_row: list[int]) -> None:
        for start in range(len(self.next)):
            if self.ring_of[start] < 0:
                self._link_ring(start, in_row)
                self.starts.append(start)

    def _link_ring(self, start: int, in_row: list[int]) -> None:
        """Link the corners of one ring by turns along rows and along columns."""
        ring = len(self.starts)
        number = start
        while self.ring_of[number] < 0:
            across = in_row[number]
            self.ring_of[number] = self.ring_of[across] = ring
            self.next[number] = across
            self.next[across] = number = self._in_column[across]

    def _edge_key(self, x: Any, y: Any) -> Any:
        """Return a number that sorts the edges column by column."""
        return x * (int(self.corners.y[-1]) + 1) + y
