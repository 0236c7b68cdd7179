"""Prompts, in pixels of the photo, to maps of network pixels.

A point (x, y) names a pixel, whose centre is half a pixel further; boxes and polygons run along the edges of pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

XY = Sequence[float]


@dataclass(frozen=True)
class Frame:
    """Sizes (height, width): of the photo, of the photo as the network sees it, and of that with its padding."""

    photo: tuple[int, int]
    network: tuple[int, int]
    padded: tuple[int, int]

    @property
    def scale(self) -> np.ndarray:
        """Network pixels per pixel of the photo, along x and y."""
        return np.array([self.network[1] / self.photo[1], self.network[0] / self.photo[0]])

    def pixel_at(self, point: XY) -> tuple[int, int]:
        """Return the network pixel (column, row) of a pixel of the photo."""
        column, row = ((np.asarray(point) + 0.5) * self.scale).astype(int)
        return min(max(column, 0), self.network[1] - 1), min(max(row, 0), self.network[0] - 1)


def draw_point(frame: Frame, point: XY) -> np.ndarray:
    """Mark the 3 x 3 network pixels around a pixel of the photo."""
    (x, y), (height, width) = point, frame.photo
    if not (-0.5 <= x < width and -0.5 <= y < height):
        raise ValueError(
            f"The point ({x:g}, {y:g}) lies outside the photo of {width} x {height} pixels."
        )
    column, row = frame.pixel_at(point)
    drawing = np.zeros(frame.network, dtype=bool)
    drawing[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    return drawing


def draw_box(frame: Frame, box: Sequence[float]) -> np.ndarray:
    """Fill a box (x0, y0, x1, y1), maxima exclusive."""
    x0, y0, x1, y1 = box
    height, width = frame.photo
    if not (x0 < x1 and y0 < y1 and x0 < width and y0 < height and x1 > 0 and y1 > 0):
        raise ValueError(
            f"The box {tuple(box)} is empty or outside the photo of {width} x {height} pixels."
        )
    scale_x, scale_y = frame.scale
    drawing = np.zeros(frame.network, dtype=bool)
    drawing[
        covered(y0 * scale_y, y1 * scale_y, len(drawing)),
        covered(x0 * scale_x, x1 * scale_x, drawing.shape[1]),
    ] = 1
    return drawing


def covered(low: float, high: float, size: int) -> slice:
    """Return the pixels whose centres are in [low, high); where there are none, the one in the middle."""
    low, high = max(low, 0.0), min(high, float(size))
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    if last <= first:
        first = min(int((low + high) / 2), size - 1)
    return slice(first, max(last, first + 1))


def draw_stroke(frame: Frame, points: Sequence[XY], width: float) -> np.ndarray:
    """Mark the network pixels within half a width (pixels of the photo) of a line through pixels of the photo."""
    line = np.asarray(points, dtype=float).reshape(-1, 2) + 0.5
    centres = pixel_centres(frame) / frame.scale
    radius = max(width, *(1 / frame.scale)) / 2
    drawing = np.zeros(frame.network, dtype=bool)
    for start, end in zip(line, [*line[1:], line[-1]], strict=True):
        drawing |= squared_distance(centres, start, end) <= radius**2 + 1e-9
    if not drawing.any():
        raise ValueError(f"The stroke that begins at {tuple(points[0])} lies outside the photo.")
    return drawing


def draw_polygon(frame: Frame, points: Sequence[XY]) -> np.ndarray:
    """Fill a polygon by the even-odd rule; a pixel whose centre is on the outline is inside."""
    corners = np.asarray(points, dtype=float).reshape(-1, 2) * frame.scale
    centres = pixel_centres(frame)
    x, y = centres[..., 0], centres[..., 1]
    odd, on_outline = np.zeros((2, *frame.network), dtype=bool)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        (x0, y0), (x1, y1) = start, end
        if y0 != y1:
            odd ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
        on_outline |= squared_distance(centres, start, end) < 1e-18
    if not (odd | on_outline).any():
        raise ValueError(
            f"The polygon that begins at {tuple(points[0])} holds no pixel of the photo."
        )
    return odd | on_outline


def pixel_centres(frame: Frame) -> np.ndarray:
    """Return the (x, y) of the centres of network pixels: height x width x 2."""
    rows, columns = np.indices(frame.network)
    return np.stack([columns + 0.5, rows + 0.5], axis=-1)


def squared_distance(positions: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the squared distance of positions (..., 2) to a segment."""
    along = end - start
    share = np.clip((positions - start) @ along / max(along @ along, 1e-18), 0, 1)
    return ((positions - start - share[..., None] * along) ** 2).sum(axis=-1)


# --- Rules of nano ----------------------------------------------------------------------------------------------------


def shrink(maps: np.ndarray, factor: int) -> np.ndarray:
    """Cut maps (..., H, W) into cells: (..., H / factor, W / factor, pixels of a cell)."""
    *others, height, width = maps.shape
    cells = maps.reshape(*others, height // factor, factor, width // factor, factor)
    return np.moveaxis(cells, -3, -2).reshape(*others, height // factor, width // factor, factor**2)


def dilate(marks: np.ndarray, area: np.ndarray, radius: float, cell: int) -> np.ndarray:
    """Dilate marks by a square of `radius` roots of an area, in cells of `cell` pixels; returns cells."""
    reach = round(radius / cell * math.sqrt(area.sum()))
    cells = np.asarray(shrink(marks, cell).any(axis=-1))
    for axis in (0, 1):
        sums = np.cumsum(
            np.pad(cells, [(reach + 1, reach) if a == axis else (0, 0) for a in (0, 1)]), axis=axis
        )
        size = cells.shape[axis]
        upper = np.take(sums, np.arange(size) + 2 * reach + 1, axis=axis)
        cells = upper > np.take(sums, np.arange(size), axis=axis)
    return cells


def enlarge(cells: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every cell `factor` times along both axes."""
    return cells.repeat(factor, axis=-2).repeat(factor, axis=-1)


def spaced_points(marks: np.ndarray, limit: int) -> np.ndarray:
    """Return at most `limit` marked pixels, evenly spaced in reading order: (column / width, row / height) each."""
    rows, columns = np.nonzero(marks)
    count = min(limit, len(rows))
    chosen = np.arange(count) * len(rows) // max(count, 1)
    height, width = marks.shape
    return np.stack([columns[chosen] / width, rows[chosen] / height], axis=1).astype(np.float32)
