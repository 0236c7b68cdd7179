"""Polygons as flat lists of corners x, y, x, y, ...: whether they are well formed, cross themselves, are boxes."""

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
