"""From prompts to masks: geometry in edge coordinates of the image, drawing in pixels of the network's input.

The rules are at the top of `seem.prompts`, whose prompts are drawn here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PolygonRule: TypeAlias = Literal["filled", "curve"]
Coordinates: TypeAlias = "tuple[float, float]"
"""A point (x, y)."""
PixelBox: TypeAlias = "tuple[int, int, int, int]"
"""A box (x0, y0, x1, y1) of whole pixels, maxima exclusive."""

LOGITS_STRIDE = 4  # network pixels per pixel of low-resolution mask logits
OUTLINE_TOLERANCE = 1e-9  # pixels; a centre this near to an outline lies on it
MIN_STEP = 1e-12  # pixels; a segment that moves less along an axis runs along the other one


@dataclass(frozen=True, slots=True)
class RasterFrame:
    """What prompts are drawn into: the size of the image, and of the image as the network sees it before padding.

    `polygon_rule` is how this network was trained to read a polygon.
    """

    image_hw: tuple[int, int]
    network_hw: tuple[int, int]
    polygon_rule: PolygonRule = "filled"

    def __post_init__(self) -> None:
        if min(*self.image_hw, *self.network_hw) < 1:
            raise ValueError(
                f"A frame needs sizes of at least 1, got image {self.image_hw}, network {self.network_hw}."
            )

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Network pixels per image pixel, along x and along y."""
        return self.network_hw[1] / self.image_hw[1], self.network_hw[0] / self.image_hw[0]

    def to_network(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale positions (..., 2) from the image to the network's input."""
        scaled: NDArray[np.float64] = positions * np.array(self.scale_xy)
        return scaled

    def pixel_at(self, x: float, y: float) -> tuple[int, int]:
        """Return (column, row) of the network pixel that holds a position of the image; the border counts as inside."""
        rows, columns = self.network_hw
        scale_x, scale_y = self.scale_xy
        column = min(max(int(x * scale_x), 0), columns - 1)
        row = min(max(int(y * scale_y), 0), rows - 1)
        return column, row

    def empty(self) -> NDArray[np.bool_]:
        """Return a mask of the network's size with nothing in it."""
        return np.zeros(self.network_hw, dtype=np.bool_)


# --- Geometry, in the image -------------------------------------------------------------------------------------------


def polyline_segments(positions: Sequence[Coordinates]) -> NDArray[np.float64]:
    """Cut a polyline into its pieces: (S, 2 ends, xy)."""
    ends = np.array(positions, dtype=np.float64)
    return np.stack([ends[:-1], ends[1:]], axis=1)


def span_an_area(positions: Sequence[Coordinates]) -> bool:
    """Say whether points are not all on one line; an error of rounding is no area."""
    offsets = np.array(positions, dtype=np.float64)
    offsets -= offsets[0]
    farthest = offsets[np.argmax(np.hypot(*offsets.T))]
    areas = np.abs(offsets[:, 0] * farthest[1] - offsets[:, 1] * farthest[0])
    return bool((areas > 1e-9 * (farthest @ farthest)).any())


def clip_segments(segments: NDArray[np.float64], image_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Cut segments (S, 2, xy) to the image: (S', 2, xy), without those that lie outside altogether.

    A segment is start + t * direction; each border of the image bounds t from below or from above.
    """
    height, width = image_hw
    size = np.array([width, height], dtype=np.float64)
    start = segments[:, 0]
    direction = segments[:, 1] - start
    moves = np.abs(direction) > MIN_STEP
    step = np.where(moves, direction, 1.0)
    to_low, to_high = (0.0 - start) / step, (size - start) / step

    is_between = (start >= 0) & (start <= size)
    never_inside = np.where(
        is_between, -np.inf, np.inf
    )  # of a segment that does not move along this axis
    enter = np.where(moves, np.minimum(to_low, to_high), never_inside).max(axis=1).clip(min=0.0)
    leave = np.where(moves, np.maximum(to_low, to_high), np.inf).min(axis=1).clip(max=1.0)

    visible = enter <= leave
    times = np.stack([enter[visible], leave[visible]], axis=1)[:, :, None]
    clipped: NDArray[np.float64] = start[visible, None] + times * direction[visible, None]
    return clipped


def check_lines_touch(
    segments: NDArray[np.float64], image_hw: tuple[int, int], what: str, first_point: Coordinates
) -> None:
    """Raise `ValueError` if no piece of a line is inside the image (height, width)."""
    if len(clip_segments(segments, image_hw)) == 0:
        (x, y), (height, width) = first_point, image_hw
        raise ValueError(
            f"{what}, which begins at ({x:g}, {y:g}), lies outside the image of {width} x {height} pixels."
        )


def inside_polygon(
    outline: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Even-odd test of the grid of columns x (1, W) and rows y (H, 1); what lies on the outline is inside.

    A ray to the right of a point crosses an edge if the edge spans the row and passes to the right of the point.
    """
    odd = np.zeros((len(y), x.shape[1]), dtype=np.bool_)
    on_outline = np.zeros_like(odd)
    for (x0, y0), (x1, y1) in outline.tolist():
        spanned = ((y0 <= y) != (y1 <= y))[:, 0]
        if spanned.any():
            odd[spanned] ^= x < x0 + (y[spanned] - y0) / (y1 - y0) * (x1 - x0)
        touched = ((y >= min(y0, y1) - OUTLINE_TOLERANCE) & (y <= max(y0, y1) + OUTLINE_TOLERANCE))[
            :, 0
        ]
        if not touched.any():
            continue
        if abs(y1 - y0) <= OUTLINE_TOLERANCE:  # a level edge is met along its whole length
            low, high = min(x0, x1), max(x0, x1)
        else:
            share = np.clip((y[touched] - y0) / (y1 - y0), 0.0, 1.0)
            low = high = x0 + share * (x1 - x0)
        on_outline[touched] |= (x >= low - OUTLINE_TOLERANCE) & (x <= high + OUTLINE_TOLERANCE)
    return odd | on_outline


# --- Drawing, in pixels of the network's input ------------------------------------------------------------------------


def draw_lines(
    segments: NDArray[np.float64], width: float, frame: RasterFrame
) -> NDArray[np.bool_]:
    """Mark the pixels whose centres are within half a width of a segment; distances are measured in the image."""
    drawing = frame.empty()
    _draw_ends(drawing, clip_segments(segments, frame.image_hw), frame)

    scale_x, scale_y = frame.scale_xy
    radius = max(width, 1 / scale_x, 1 / scale_y) / 2
    reach = np.array([radius * scale_x, radius * scale_y])
    ends = frame.to_network(segments)
    limit = np.array(frame.network_hw[::-1])
    low = np.clip(np.floor(ends.min(axis=1) - reach), 0, limit).astype(np.int64)
    high = np.clip(np.ceil(ends.max(axis=1) + reach), 0, limit).astype(np.int64)
    for segment, (left, top), (right, bottom) in zip(segments, low, high, strict=True):
        if left < right and top < bottom:
            x = (np.arange(left, right) + 0.5)[None, :] / scale_x
            y = (np.arange(top, bottom) + 0.5)[:, None] / scale_y
            drawing[top:bottom, left:right] |= (
                squared_distance(segment, x, y) <= radius * radius + 1e-9
            )
    return drawing


def _draw_ends(
    drawing: NDArray[np.bool_], segments: NDArray[np.float64], frame: RasterFrame
) -> None:
    """Mark the pixels that hold the ends of segments, so that a hair line between pixel centres leaves a trace."""
    last_pixel = np.array(frame.network_hw[::-1]) - 1
    pixels = np.clip(frame.to_network(segments).astype(np.int64), 0, last_pixel)
    columns, rows = pixels.reshape(-1, 2).T
    drawing[rows, columns] = True


def squared_distance(
    segment: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Squared distance of every (x, y) to the nearest point of a segment."""
    (x0, y0), (x1, y1) = segment.tolist()
    along_x, along_y = x1 - x0, y1 - y0
    length_squared = along_x * along_x + along_y * along_y
    x, y = x - x0, y - y0
    if length_squared < 1e-18:
        return x * x + y * y
    nearest = np.clip((x * along_x + y * along_y) / length_squared, 0.0, 1.0)
    distance: NDArray[np.float64] = (x - nearest * along_x) ** 2 + (y - nearest * along_y) ** 2
    return distance


def covered(low: float, high: float, size: int) -> slice:
    """Return the pixels of a row whose centres are in [low, high); where there are none, the one in the middle."""
    low, high = max(low, 0.0), min(high, float(size))
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    if last <= first:
        first = min(int((low + high) / 2), size - 1)
        last = first + 1
    return slice(first, last)


def resize_region(region: NDArray[np.bool_], frame: RasterFrame) -> NDArray[np.bool_]:
    """Sample a mask bilinearly at the network's pixel centres: a pixel is inside if any neighbour with weight is."""
    rows_low, rows_high = neighbours(region.shape[0], frame.network_hw[0])
    columns_low, columns_high = neighbours(region.shape[1], frame.network_hw[1])
    in_rows = region[rows_low] | region[rows_high]
    drawing = in_rows[:, columns_low] | in_rows[:, columns_high]
    if not drawing.any():
        rows, columns = np.nonzero(region)
        scale_x, scale_y = frame.scale_xy
        drawing[
            ((rows + 0.5) * scale_y).astype(np.int64), ((columns + 0.5) * scale_x).astype(np.int64)
        ] = True
    return drawing


def neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each target pixel the two source pixels between whose centres its own centre falls."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0, source - 1.0)
    return np.floor(position).astype(np.int64), np.ceil(position).astype(np.int64)


def resize_logits(logits: NDArray[np.float32], network_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Enlarge low-resolution logits bilinearly, cut the padding off and threshold at 0."""
    height, width = logits.shape[0] * LOGITS_STRIDE, logits.shape[1] * LOGITS_STRIDE
    if height < network_hw[0] or width < network_hw[1]:
        raise ValueError(
            f"Mask logits of {logits.shape} do not cover the network's input of {network_hw} (height, width); one "
            f"logit stands for {LOGITS_STRIDE} x {LOGITS_STRIDE} pixels. Pass the logits of a result on this image."
        )
    enlarged = np.asarray(
        Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR)
    )
    return enlarged[: network_hw[0], : network_hw[1]] > 0
