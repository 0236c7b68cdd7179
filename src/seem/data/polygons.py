"""Polygons as flat lists of corners x, y, x, y, ...: are they well formed, crossing, repeated, boxes?."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from seem.data.edge_sweep import EdgeSweep

MIN_POLYGON_NUMBERS = 6  # x and y of three corners
BOX_NUMBERS = 4
MAX_CHECKED_CORNERS = (
    20_000  # a contour that long was traced by a program and does not cross itself
)
MAX_COMPARED_CORNERS = 100  # of which every pair of edges is compared
MIN_REPEATED_EDGES = 6  # of a triangle that an outline goes round twice
MAX_DRAWN_SIDE = 20_000  # pixels of an outline that is drawn to see what is left of it
MIN_DRAWN_SHARE = 0.5  # of the area that an outline encloses, in pixels
_LARGEST_COORDINATE = 1e9  # whose products do not overflow; no image is that large
_RECTANGLE_TOLERANCE = 0.02  # of the diagonal: corners are often rounded to whole pixels


def check_polygon(polygon: object) -> None:
    """Raise `ValueError` unless a polygon is a list of at least three finite corners."""
    if (
        not isinstance(polygon, Sequence)
        or isinstance(polygon, str)
        or not all(map(_is_number, polygon))
    ):
        raise ValueError("a polygon is no list of numbers")
    if len(polygon) < MIN_POLYGON_NUMBERS or len(polygon) % 2:
        hint = " (a box, or two corners)" if len(polygon) == BOX_NUMBERS else ""
        raise ValueError(
            f"a polygon has {len(polygon)} numbers{hint}; it needs x and y of three corners or more"
        )
    if not all(map(math.isfinite, polygon)):
        raise ValueError("a polygon has a corner that is no number (NaN or infinite)")


def is_polygon(value: object) -> bool:
    """Whether a value is a list of at least three finite corners."""
    try:
        check_polygon(value)
    except ValueError:
        return False
    return True


def is_self_intersecting(polygon: Sequence[float]) -> bool:
    """Whether two edges of a polygon cross; edges that only touch do not count.

    False for polygons of more than `MAX_CHECKED_CORNERS` corners, which are not checked.
    """
    corners = _corners_of(polygon)
    before = np.roll(corners, 1, axis=0)
    is_repeated = np.all(corners == before, axis=1)
    starts = corners[~is_repeated].clip(-_LARGEST_COORDINATE, _LARGEST_COORDINATE)
    if len(starts) < 4 or len(starts) > MAX_CHECKED_CORNERS:  # a triangle cannot cross itself
        return False
    ends = np.roll(starts, -1, axis=0)
    if len(starts) > MAX_COMPARED_CORNERS:
        return EdgeSweep(starts, ends).finds_crossing()
    return _any_pair_crosses(starts, ends)


def goes_round_twice(polygon: Sequence[float]) -> bool:
    """Whether an outline goes round its area more than once, so that COCO's even-odd rule leaves little of it.

    Programs that trace masks write such outlines. A simple outline turns by 360 degrees in all; one with spikes may
    seem to turn by more, but the area that it encloses is the one that is drawn.
    """
    corners = _corners_of(polygon)
    edges = np.roll(corners, -1, axis=0) - corners
    edges = edges[np.any(edges != 0, axis=1)]
    if len(edges) < MIN_REPEATED_EDGES or not np.isfinite(edges).all():
        return False
    following = np.roll(edges, -1, axis=0)
    crossed = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    turns = np.arctan2(crossed, (edges * following).sum(axis=1))
    if abs(turns.sum()) < 3 * math.pi:
        return False
    x, y = (corners - corners.min(axis=0)).T
    if max(x.max(), y.max()) > MAX_DRAWN_SIDE:
        return False
    enclosed = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return bool(_drawn_area(x, y) < MIN_DRAWN_SHARE * enclosed)


def _drawn_area(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> int:
    """Return how many pixels COCO's rule draws of a polygon."""
    from pycocotools import mask as rle

    side = math.ceil(max(x.max(), y.max())) + 1
    (drawn,) = rle.frPyObjects([np.stack((x, y), axis=1).ravel().tolist()], side, side)
    return int(rle.area(drawn))


def is_rectangle(polygon: Sequence[float]) -> bool:
    """Whether a polygon has four right angles: its diagonals are of one length and halve each other."""
    corners = _corners_of(polygon)
    if len(corners) != 4:
        return False
    first_diagonal, second_diagonal = corners[2:] - corners[:2]
    lengths = np.hypot(*first_diagonal), np.hypot(*second_diagonal)
    middles = (corners[:2] + corners[2:]) / 2
    tolerance = _RECTANGLE_TOLERANCE * max(lengths)
    halve_each_other = np.hypot(*(middles[0] - middles[1])) <= tolerance
    return bool(halve_each_other and abs(lengths[0] - lengths[1]) <= tolerance)


def is_upright(polygon: Sequence[float]) -> bool:
    """Whether the corners of a rectangle lie on two columns and two rows."""
    x, y = _corners_of(polygon).round(3).T
    num_columns, num_rows = len(np.unique(x)), len(np.unique(y))
    return num_columns <= 2 and num_rows <= 2


def _corners_of(polygon: Sequence[float]) -> Float64[np.ndarray, "n 2"]:
    return np.reshape(np.asarray(polygon, np.float64), (-1, 2))


def _any_pair_crosses(starts: Float64[np.ndarray, "n 2"], ends: Float64[np.ndarray, "n 2"]) -> bool:
    """Compare every edge with every other one: faster than a sweep where they are few."""
    start_sides = _orientation(starts[:, None], ends[:, None], starts)
    end_sides = _orientation(starts[:, None], ends[:, None], ends)
    is_straddled = (
        start_sides * end_sides < 0
    )  # [a, b]: edge b has one end on either side of edge a's line
    return bool(np.any(is_straddled & is_straddled.T))


def _orientation(
    a: Float64[np.ndarray, "*n 2"],
    b: Float64[np.ndarray, "*n 2"],
    c: Float64[np.ndarray, "*m 2"],
) -> np.ndarray:
    """Return on which side of the line from `a` to `b` the point `c` lies: 1, -1, or 0 on the line."""
    along_x, along_y = np.moveaxis(b - a, -1, 0)
    to_x, to_y = np.moveaxis(c - a, -1, 0)
    cross_product = along_x * to_y - along_y * to_x
    return np.asarray(np.sign(cross_product))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
