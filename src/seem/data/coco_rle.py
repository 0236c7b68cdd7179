"""Masks as COCO run-length codes: from masks, maps and polygons, and back.

A code counts pixels column by column: so many outside, so many inside, and so on; `counts` is its compressed text.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

FEWEST_NUMBERS = 6  # of a polygon: three corners


@dataclass(frozen=True, slots=True)
class RleMask:
    """One coded mask with what its code tells at once: `box` is xyxy, `area` counts pixels."""

    counts: str
    hw: tuple[int, int]
    box: tuple[float, float, float, float]
    area: int


def rle_to_mask(counts: str, hw: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """Draw a compressed code as a mask."""
    from pycocotools import mask as rle

    with warnings.catch_warnings():
        # pycocotools 2.0.11 hands its array over by a protocol that NumPy 2 is about to leave behind
        warnings.simplefilter("ignore", DeprecationWarning)
        decoded = rle.decode({"size": list(hw), "counts": counts.encode()})
    return np.ascontiguousarray(decoded).astype(bool)


def mask_to_rle(mask: Bool[np.ndarray, "h w"]) -> RleMask:
    """Code one mask."""
    return label_map_to_rles(mask.astype(np.int32)).get(1) or _told(_packed([mask.size], mask.shape))


def label_map_to_rles(labels: Integer[np.ndarray, "h w"]) -> dict[int, RleMask]:
    """Code every value of a map but 0, all in one pass; values in ascending order."""
    column_major = labels.T.ravel()
    starts, lengths = find_runs(column_major)
    values = column_major[starts]
    order = np.argsort(values, kind="stable")
    found: dict[int, RleMask] = {}
    for group in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
        value = int(values[group[0]])
        if value == 0:
            continue
        ends = starts[group] + lengths[group]
        gaps = starts[group] - np.concatenate([[0], ends[:-1]])
        counts = np.stack([gaps, lengths[group]], axis=1).ravel().tolist()
        found[value] = _told(_packed([*counts, column_major.size - int(ends[-1])], labels.shape))
    return found


def find_runs(values: Integer[np.ndarray, " n"]) -> tuple[Integer[np.ndarray, " s"], Integer[np.ndarray, " s"]]:
    """Find where equal neighbours begin in a list (not empty), and how long they go on.

    A label map has far fewer stretches than pixels: what sorts or looks up does it once for each.
    """
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    return starts, np.diff(starts, append=values.size)


def distinct_values(values: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, " d"]:
    """Return the values that occur in a map (not empty), in ascending order."""
    flat = values.ravel()
    return np.unique(flat[find_runs(flat)[0]])


def polygons_to_rle(rings: Sequence[Any], hw: tuple[int, int]) -> RleMask:
    """Code the union of polygons, each x, y, x, y, ... in pixels of the photo, by COCO's rule.

    Raises:
        ValueError: a ring is no list of at least three finite corners.
    """
    from pycocotools import mask as rle

    height, width = hw
    for ring in rings:
        check_polygon(ring)
    # far outside nothing changes inside; left there, a wild number would cost memory without end
    low, high = (-width, -height), (2 * width, 2 * height)
    held = [np.clip(np.reshape(ring, (-1, 2)), low, high).ravel().tolist() for ring in rings]
    return _told(rle.merge(rle.frPyObjects(held, height, width)))


def parse_rle(code: dict[str, Any], hw: tuple[int, int]) -> RleMask:
    """Read a code as COCO files hold it: `size` and `counts`, a compressed text or a list of numbers.

    Raises:
        ValueError: its counts do not fill its size, or are no counts; `size` is not `hw`.
    """
    size, counts = code.get("size"), code.get("counts")
    if not (isinstance(size, Sequence) and [*map(_whole, size)] == [True, True]):
        raise ValueError(f"its size is {size!r}, not height and width")
    if tuple(size) != hw:
        raise ValueError(f"its mask is {size[0]} x {size[1]} (h, w), the photo {hw[0]} x {hw[1]}")
    numbers = decompress_counts(counts) if isinstance(counts, (str, bytes)) else counts
    if not isinstance(numbers, Sequence) or not all(map(_whole, numbers)) or min(numbers, default=-1) < 0:
        raise ValueError("its counts are no list of numbers and no compressed text")
    if sum(numbers) != hw[0] * hw[1]:
        raise ValueError(f"its counts sum to {sum(numbers)}, the photo has {hw[0] * hw[1]} pixels")
    return _told(_packed(numbers, hw))


def decompress_counts(counts: str | bytes) -> list[int]:
    """Read the compressed text: six bits a letter from "0" on, 32 = goes on, from the third on differences.

    The text comes from files of other people, and pycocotools reads it in C without looking where it ends.

    Raises:
        ValueError: the text is no such code.
    """
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    numbers: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 30:
            raise ValueError("its compressed counts hold letters that no code has")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        numbers.append(value + numbers[-2] if len(numbers) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("its compressed counts are cut short")
    return numbers


def check_polygon(ring: object) -> None:
    """Raise `ValueError` unless a polygon is a list of at least three finite corners."""
    if not isinstance(ring, Sequence) or isinstance(ring, str) or not all(map(_real, ring)):
        raise ValueError("a polygon is no list of numbers")
    if len(ring) < FEWEST_NUMBERS or len(ring) % 2:
        raise ValueError(f"a polygon has {len(ring)} numbers; it needs x and y of three corners or more")
    if not all(map(math.isfinite, ring)):
        raise ValueError("a polygon has a corner that is no number (NaN or infinite)")


def is_polygon(ring: object) -> bool:
    """Whether something is a polygon."""
    try:
        check_polygon(ring)
    except ValueError:
        return False
    return True


def is_self_intersecting(ring: Sequence[float]) -> bool:
    """Whether two edges of a polygon cross; edges that only touch do not count."""
    corners = np.reshape(np.asarray(ring, np.float64), (-1, 2))
    corners = corners[np.any(corners != np.roll(corners, 1, axis=0), axis=1)]
    if len(corners) < 4 or len(corners) > 2000:  # a triangle cannot; a contour that long came from a program
        return False
    start, end = corners, np.roll(corners, -1, axis=0)

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        return np.asarray(np.sign((b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1])
                                  - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])))  # fmt: skip

    first = side(start[:, None], end[:, None], start) * side(start[:, None], end[:, None], end)
    return bool(np.any((first < 0) & (first.T < 0)))


def _packed(counts: Sequence[int], hw: tuple[int, ...]) -> dict[str, Any]:
    from pycocotools import mask as rle

    height, width = hw
    return dict(rle.frPyObjects({"size": [height, width], "counts": list(counts)}, height, width))


def _told(code: dict[str, Any]) -> RleMask:
    from pycocotools import mask as rle

    height, width = code["size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        x, y, w, h = rle.toBbox(code).tolist()
    return RleMask(code["counts"].decode(), (height, width), (x, y, x + w, y + h), int(rle.area(code)))


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _real(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
