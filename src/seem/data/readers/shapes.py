"""Shapes that annotation tools draw, as masks: outlines with holes, boxes, rotated rectangles, ellipses, bitmaps.

Coordinates are pixels of the image as shown, along the edges of pixels: 4 is the left edge of pixel 4. Outlines are
filled by COCO's rule, ellipses where the centre of a pixel is inside. What lies outside of the image is cut off.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image

from seem.data.coco_rle import RleMask, find_runs, parse_rle, polygons_to_rle, rle_to_mask
from seem.data.records import DataError, FlawKind

Ring: TypeAlias = "Sequence[float]"
"""Corners x, y, x, y, ... of one closed line."""

MAX_BITMAP_PIXELS = 100_000_000


class Shape(Protocol):
    """One shape of an annotation."""

    def to_rle(self, hw: tuple[int, int]) -> RleMask:
        """Draw the shape in an image of a height and width; `ValueError` says what is wrong with it."""

    @property
    def rings(self) -> tuple[Ring, ...]:
        """Its outlines as they are written; empty for what has none."""


@dataclass(frozen=True, slots=True)
class PolygonShape:
    """Closed lines; a pixel is inside if an odd number of them encloses it, so that a ring in a ring is a hole."""

    rings: tuple[Ring, ...]
    is_box: bool = False

    def to_rle(self, hw: tuple[int, int]) -> RleMask:
        """Fill the outline."""
        if len(self.rings) == 1:
            return polygons_to_rle(self.rings, hw)
        mask = np.zeros(hw, bool)
        for ring in self.rings:
            mask ^= rle_to_mask(polygons_to_rle([ring], hw).counts, hw)
        return crop_to_rle(mask, 0, 0, hw)

    def bounds(self) -> tuple[float, float, float, float]:
        """Return the bounding box, xyxy."""
        x = list(chain.from_iterable(ring[::2] for ring in self.rings))
        y = list(chain.from_iterable(ring[1::2] for ring in self.rings))
        return min(x), min(y), max(x), max(y)


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse around (x, y) with radii (rx, ry), turned clockwise by `degrees`."""

    x: float
    y: float
    rx: float
    ry: float
    degrees: float = 0.0

    def to_rle(self, hw: tuple[int, int]) -> RleMask:
        """Fill the ellipse."""
        numbers = (self.x, self.y, self.rx, self.ry, self.degrees)
        is_finite = all(map(math.isfinite, numbers))
        if not is_finite or min(self.rx, self.ry) <= 0:
            raise ValueError(f"an ellipse has the radii {self.rx:g} and {self.ry:g}")
        height, width = hw
        reach = max(self.rx, self.ry) + 1
        left, right = _clip_range(self.x - reach, self.x + reach, width)
        top, bottom = _clip_range(self.y - reach, self.y + reach, height)
        dx = np.arange(left, right)[None, :] + 0.5 - self.x
        dy = np.arange(top, bottom)[:, None] + 0.5 - self.y
        cosine, sine = _cosine_and_sine(self.degrees)
        along = dx * cosine + dy * sine
        across = dy * cosine - dx * sine
        inside = (along / self.rx) ** 2 + (across / self.ry) ** 2 <= 1
        return crop_to_rle(inside, left, top, hw)

    @property
    def rings(self) -> tuple[Ring, ...]:
        """An ellipse has no corners."""
        return ()


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A mask whose upper left pixel lies at (left, top); `decode` returns its pixels, `ValueError` if it cannot."""

    decode: Callable[[], Bool[np.ndarray, "h w"]]
    left: int = 0
    top: int = 0

    def to_rle(self, hw: tuple[int, int]) -> RleMask:
        """Decode the mask."""
        return crop_to_rle(self.decode(), self.left, self.top, hw)

    @property
    def rings(self) -> tuple[Ring, ...]:
        """A mask has no corners."""
        return ()


@dataclass(frozen=True, slots=True)
class FullBitmap:
    """A mask that must have the size of its image."""

    decode: Callable[[], Bool[np.ndarray, "h w"]]

    def to_rle(self, hw: tuple[int, int]) -> RleMask:
        """Decode the mask; `DataError` if it has another size."""
        mask = self.decode()
        if mask.shape != hw:
            height, width = mask.shape
            message = f"its mask is {height} x {width} (h, w), the photo {hw[0]} x {hw[1]}"
            raise DataError(message, FlawKind.WRONG_SIZE)
        return crop_to_rle(mask, 0, 0, hw)

    @property
    def rings(self) -> tuple[Ring, ...]:
        """A mask has no corners."""
        return ()


# --- Outlines ---------------------------------------------------------------------------------------------------------


def box_outline(x0: float, y0: float, x1: float, y1: float) -> PolygonShape:
    """Return the outline of a box from two opposite corners."""
    left, right = sorted((float(x0), float(x1)))
    top, bottom = sorted((float(y0), float(y1)))
    ring = left, top, right, top, right, bottom, left, bottom
    return PolygonShape((ring,), is_box=True)


def rotated_outline(
    x: float, y: float, width: float, height: float, degrees: float, pivot: tuple[float, float]
) -> PolygonShape:
    """Return the outline of a box at (x, y) that is turned clockwise about `pivot`."""
    if not degrees:
        return box_outline(x, y, x + width, y + height)
    right, bottom = x + width, y + height
    corners = np.array([(x, y), (right, y), (right, bottom), (x, bottom)])
    cosine, sine = _cosine_and_sine(degrees)
    turn = np.array([(cosine, sine), (-sine, cosine)])
    turned = (corners - pivot) @ turn + pivot
    return PolygonShape((turned.ravel().tolist(),))


def _cosine_and_sine(degrees: float) -> tuple[float, float]:
    radians = math.radians(degrees)
    return math.cos(radians), math.sin(radians)


# --- Bitmaps ----------------------------------------------------------------------------------------------------------


def crop_to_rle(crop: Bool[np.ndarray, "h w"], left: int, top: int, hw: tuple[int, int]) -> RleMask:
    """Encode a mask of part of an image (height, width) whose upper left pixel is (left, top)."""
    height, width = hw
    rows = slice(max(-top, 0), max(height - top, 0))
    columns_shown = slice(max(-left, 0), max(width - left, 0))
    visible = crop[rows, columns_shown]
    left, top = max(left, 0), max(top, 0)
    if not visible.any():
        return parse_rle({"size": list(hw), "counts": [height * width]}, hw)
    columns = np.zeros((visible.shape[1], height), np.uint8)
    columns[:, top : top + visible.shape[0]] = visible.T
    flat = columns.ravel()
    starts, lengths = find_runs(flat)
    counts: list[int] = lengths.tolist()
    if flat[starts[0]]:
        counts.insert(0, 0)
    counts[0] += left * height
    num_behind = (width - left - visible.shape[1]) * height
    if len(counts) % 2:
        counts[-1] += num_behind
    else:
        counts.append(num_behind)
    return parse_rle({"size": list(hw), "counts": counts}, hw)


def unite_rles(rles: Sequence[RleMask]) -> RleMask:
    """Return the union of masks of one image."""
    if len(rles) == 1:
        return rles[0]
    hw = rles[0].hw
    mask = np.zeros(hw, bool)
    for rle in rles:
        mask |= rle_to_mask(rle.counts, hw)
    return crop_to_rle(mask, 0, 0, hw)


def row_major_runs_to_mask(
    counts: Sequence[int], width: int, height: int
) -> Bool[np.ndarray, "h w"]:
    """Draw a run-length code that counts row by row, so many outside, so many inside, and so on."""
    num_pixels = width * height
    if min(width, height) < 1 or num_pixels > MAX_BITMAP_PIXELS:
        raise ValueError(f"a mask is {width} x {height} pixels")
    lengths = np.asarray(counts, np.int64)
    total = int(lengths.sum())
    if lengths.ndim != 1 or (lengths < 0).any() or total != num_pixels:
        raise ValueError(f"its run lengths sum to {total}, its mask is {width} x {height} pixels")
    is_inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(is_inside, lengths).reshape(height, width)


def decode_base64(text: object) -> bytes:
    """Decode base64; `ValueError` if it is none."""
    try:
        return base64.b64decode(str(text), validate=False)
    except binascii.Error as error:
        raise ValueError(f"its mask is no base64 ({error})") from error


def decode_bitmap(content: bytes) -> Integer[np.ndarray, "h w"]:
    """Decode a mask that is stored as a small image; of one with alpha the alpha, of colours the first channel.

    Raises:
        ValueError: it is no image that can be read.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > MAX_BITMAP_PIXELS:
                raise ValueError(f"a mask is {image.width} x {image.height} pixels")
            if image.mode in ("RGBA", "LA"):
                return np.asarray(image.getchannel("A"))
            values = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"its mask is no image that can be read ({error})") from error
    if values.ndim == 3:
        values = values[:, :, 0]
    return values.astype(np.uint8) if values.dtype == bool else values


def _clip_range(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the whole pixels from `low` to `high`, as far as a row of `size` has them."""
    first = min(max(math.floor(low), 0), size)
    return first, min(max(math.ceil(high), first), size)
