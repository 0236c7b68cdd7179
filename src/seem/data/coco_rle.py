"""Masks as COCO run-length codes (RLE): from masks, label maps and polygons, and back.

A code counts pixels column by column: so many outside, so many inside, and so on; `counts` is its compressed text.
Runs of one row that form connected components are another thing: see `seem.tasks.components`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from seem.data.polygons import check_polygon

# The compressed text holds six bits a letter, counted from "0": five bits of the number, then "more letters follow".
_FIRST_LETTER = ord("0")
_VALUE_BITS = 5
_VALUE_MASK = 31
_MORE_FLAG = 32
_SIGN_FLAG = 16
_MAX_SHIFT = 30


class RleSizeError(ValueError):
    """A run-length code of another size than its image."""


@dataclass(frozen=True, slots=True)
class RleMask:
    """One mask as a compressed code, its size, its `box` (xyxy, exclusive ends) and its `area` in pixels."""

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
    """Encode one mask; it may be empty."""
    encoded = label_map_to_rles(mask.astype(np.int32)).get(1)
    if encoded is None:
        return _rle_mask(_compress([mask.size], mask.shape))
    return encoded


def label_map_to_rles(labels: Integer[np.ndarray, "h w"]) -> dict[int, RleMask]:
    """Encode the mask of every value of a map but 0, all in one pass; values in ascending order."""
    column_major = labels.T.ravel()
    starts, lengths = find_runs(column_major)
    encoded = {}
    for value, rows in _rows_by_value(column_major[starts]):
        if value != 0:
            encoded[value] = _encode_runs(starts[rows], lengths[rows], labels.shape)
    return encoded


def find_runs(
    values: Integer[np.ndarray, " n"],
) -> tuple[Integer[np.ndarray, " r"], Integer[np.ndarray, " r"]]:
    """Return starts and lengths of the runs of equal neighbours in a flat array (not empty).

    A label map has far fewer runs than pixels: what sorts or looks up does it once a run.
    """
    is_changed = values[1:] != values[:-1]
    starts = np.concatenate([[0], np.flatnonzero(is_changed) + 1])
    return starts, np.diff(starts, append=values.size)


def distinct_values(values: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, " d"]:
    """Return the values that occur in a map (not empty), in ascending order."""
    flat = values.ravel()
    starts, _ = find_runs(flat)
    return np.unique(flat[starts])


def polygons_to_rle(polygons: Sequence[Any], hw: tuple[int, int]) -> RleMask:
    """Encode the union of polygons, each x, y, x, y, ... in pixels of the image, by COCO's rule.

    Raises:
        ValueError: a polygon is no list of at least three finite corners.
    """
    from pycocotools import mask as rle

    for polygon in polygons:
        check_polygon(polygon)
    height, width = hw
    clipped = [_clip_far_corners(polygon, hw) for polygon in polygons]
    return _rle_mask(rle.merge(rle.frPyObjects(clipped, height, width)))


def parse_rle(code: dict[str, Any], hw: tuple[int, int]) -> RleMask:
    """Read a code as COCO files hold it: `size` and `counts`, a compressed text or a list of numbers.

    Raises:
        RleSizeError: `size` is not `hw`, or the counts do not fill it.
        ValueError: its size is no size, or its counts are no counts.
    """
    size = code.get("size")
    if not isinstance(size, Sequence) or list(map(_is_integer, size)) != [True, True]:
        raise ValueError(f"its size is {size!r}, not height and width")
    if tuple(size) != hw:
        raise RleSizeError(f"its mask is {size[0]} x {size[1]} (h, w), the photo {hw[0]} x {hw[1]}")
    counts = code.get("counts")
    numbers = counts
    if isinstance(counts, (str, bytes)):
        numbers = decompress_counts(counts)
    if (
        not isinstance(numbers, Sequence)
        or not all(map(_is_integer, numbers))
        or min(numbers, default=-1) < 0
    ):
        raise ValueError("its counts are no list of numbers and no compressed text")
    num_pixels = hw[0] * hw[1]
    if sum(numbers) != num_pixels:
        raise RleSizeError(f"its counts sum to {sum(numbers)}, the photo has {num_pixels} pixels")
    return _rle_mask(_compress(numbers, hw))


def decompress_counts(counts: str | bytes) -> list[int]:
    """Read the compressed text as numbers; from the fourth on the text holds differences to the last but one.

    The text comes from files of other people, and pycocotools reads it in C without looking where it ends.

    Raises:
        ValueError: the text is no such code.
    """
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    numbers: list[int] = []
    value = shift = 0
    for letter in text:
        bits = letter - _FIRST_LETTER
        if not 0 <= bits < 64 or shift > _MAX_SHIFT:
            raise ValueError("its compressed counts hold letters that no code has")
        value |= (bits & _VALUE_MASK) << shift
        shift += _VALUE_BITS
        if bits & _MORE_FLAG:
            continue
        if bits & _SIGN_FLAG:
            value -= 1 << shift
        if len(numbers) > 2:
            value += numbers[-2]
        numbers.append(value)
        value = shift = 0
    if shift:
        raise ValueError("its compressed counts are cut short")
    return numbers


def _rows_by_value(
    values: Integer[np.ndarray, " r"],
) -> Iterator[tuple[int, Integer[np.ndarray, " k"]]]:
    """Yield every value in ascending order with the rows that hold it, in ascending order too."""
    order = np.argsort(values, kind="stable")
    boundaries = np.flatnonzero(np.diff(values[order])) + 1
    for rows in np.split(order, boundaries):
        yield int(values[rows[0]]), rows


def _encode_runs(
    starts: Integer[np.ndarray, " k"], lengths: Integer[np.ndarray, " k"], hw: tuple[int, ...]
) -> RleMask:
    """Encode a mask from the runs of its pixels, column by column."""
    height, width = hw
    ends = starts + lengths
    gaps = starts - np.concatenate([[0], ends[:-1]])
    counts = np.stack([gaps, lengths], axis=1).ravel().tolist()
    counts.append(height * width - int(ends[-1]))
    return _rle_mask(_compress(counts, hw))


def _clip_far_corners(polygon: Sequence[float], hw: tuple[int, int]) -> list[float]:
    """Clip corners to one image size around the image: a wild number would cost memory without end.

    Inside of the image nothing changes.
    """
    height, width = hw
    corners = np.reshape(polygon, (-1, 2))
    low, high = (-width, -height), (2 * width, 2 * height)
    clipped: list[float] = np.clip(corners, low, high).ravel().tolist()
    return clipped


def _compress(counts: Sequence[int], hw: tuple[int, ...]) -> dict[str, Any]:
    from pycocotools import mask as rle

    height, width = hw
    code = {"size": [height, width], "counts": list(counts)}
    return dict(rle.frPyObjects(code, height, width))


def _rle_mask(code: dict[str, Any]) -> RleMask:
    from pycocotools import mask as rle

    height, width = code["size"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        x, y, w, h = rle.toBbox(code).tolist()
    return RleMask(
        counts=code["counts"].decode(),
        hw=(height, width),
        box=(x, y, x + w, y + h),
        area=int(rle.area(code)),
    )


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
