"""How prompts become masks: geometry in the photo's pixels, marks in the network's.

The rules are told at the top of `prompts.py`, which holds what is drawn.
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

LOGITS_STRIDE = 4  # network pixels per pixel of low-resolution mask logits
TOUCHES = 1e-9  # pixels; a centre this near to an outline lies on it


@dataclass(frozen=True, slots=True)
class RasterFrame:
    """Where prompts are drawn: the size of the photo, and of the photo as the network sees it before padding.

    `polygon_rule` is how this network was taught to read a polygon.
    """

    image_hw: tuple[int, int]
    network_hw: tuple[int, int]
    polygon_rule: PolygonRule = "filled"

    def __post_init__(self) -> None:
        if min(*self.image_hw, *self.network_hw) < 1:
            raise ValueError(
                f"A frame needs sizes of at least 1, got photo {self.image_hw}, network {self.network_hw}."
            )

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Network pixels per photo pixel, along x and along y."""
        return self.network_hw[1] / self.image_hw[1], self.network_hw[0] / self.image_hw[0]

    def to_network(self, points_xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Carry positions (..., 2) from the photo to the network's pixels."""
        scaled: NDArray[np.float64] = points_xy * np.array(self.scale_xy)
        return scaled

    def pixel_at(self, x: float, y: float) -> tuple[int, int]:
        """Return (column, row) of the network pixel that holds a position of the photo; the border counts as inside."""
        columns, rows = self.network_hw[1], self.network_hw[0]
        scale_x, scale_y = self.scale_xy
        return min(max(int(x * scale_x), 0), columns - 1), min(max(int(y * scale_y), 0), rows - 1)

    def empty(self) -> NDArray[np.bool_]:
        """Return a mask of the network's size with nothing in it."""
        return np.zeros(self.network_hw, dtype=np.bool_)


# --- Geometry, in the photo -------------------------------------------------------------------------------------------


def position_of(point: Coordinates) -> Coordinates:
    """Return the position that a coordinate means: an integer is the centre of its pixel."""
    x, y = point
    return (x + 0.5 if isinstance(x, int) else x), (y + 0.5 if isinstance(y, int) else y)


def positions_of(points: Sequence[Coordinates]) -> tuple[Coordinates, ...]:
    """Return the positions that coordinates mean."""
    return tuple(position_of(point) for point in points)


def polyline_segments(positions: Sequence[Coordinates]) -> NDArray[np.float64]:
    """Cut a polyline into its pieces: (S, 2 ends, xy)."""
    ends = np.array(positions, dtype=np.float64)
    return np.stack([ends[:-1], ends[1:]], axis=1)


def span_an_area(positions: Sequence[Coordinates]) -> bool:
    """Say whether points are not all on one line; an error of rounding is no area."""
    offsets = np.array(positions, dtype=np.float64)
    offsets -= offsets[0]
    far = offsets[np.argmax(np.hypot(*offsets.T))]
    return bool((np.abs(offsets[:, 0] * far[1] - offsets[:, 1] * far[0]) > 1e-9 * (far @ far)).any())


def clip_segments(segments: NDArray[np.float64], image_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Keep what lies inside the photo: (S', 2, xy), without the pieces that lie outside altogether.

    A piece is start + t * direction; each border of the photo bounds t from below or from above.
    """
    start, direction = segments[:, 0], segments[:, 1] - segments[:, 0]
    size = np.array([image_hw[1], image_hw[0]], dtype=np.float64)
    moving = np.abs(direction) > 1e-12
    step = np.where(moving, direction, 1.0)
    to_near, to_far = (0.0 - start) / step, (size - start) / step
    within = (start >= 0) & (start <= size)
    enter = np.where(moving, np.minimum(to_near, to_far), np.where(within, -np.inf, np.inf)).max(axis=1).clip(min=0.0)
    leave = np.where(moving, np.maximum(to_near, to_far), np.inf).min(axis=1).clip(max=1.0)
    kept = enter <= leave
    times = np.stack([enter[kept], leave[kept]], axis=1)[:, :, None]
    clipped: NDArray[np.float64] = start[kept, None] + times * direction[kept, None]
    return clipped


def check_lines_touch(
    segments: NDArray[np.float64], image_hw: tuple[int, int], what: str, points: Sequence[Coordinates]
) -> None:
    """Raise `ValueError` if no piece of a line is inside the photo (height, width)."""
    if len(clip_segments(segments, image_hw)) == 0:
        (x, y), (height, width) = points[0], image_hw
        raise ValueError(
            f"{what}, which begins at ({x:g}, {y:g}), lies outside the photo of {width} x {height} pixels."
        )


# --- Drawing, in the network's pixels ---------------------------------------------------------------------------------


def draw_lines(segments: NDArray[np.float64], width: float, frame: RasterFrame) -> NDArray[np.bool_]:
    """Mark the pixels whose centres are within half a width of a segment; distances are measured in the photo."""
    drawing = frame.empty()
    clipped = frame.to_network(clip_segments(segments, frame.image_hw))
    columns, rows = np.clip(clipped.astype(np.int64), 0, np.array(frame.network_hw[::-1]) - 1).reshape(-1, 2).T
    drawing[rows, columns] = True  # a hair line between pixel centres still leaves a trace

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
            drawing[top:bottom, left:right] |= squared_distance(segment, x, y) <= radius * radius + 1e-9
    return drawing


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


def inside_polygon(outline: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Even-odd test of the grid of columns x (1, W) and rows y (H, 1); what lies on the outline is inside.

    A ray to the right of a point crosses an edge if the edge spans the row and passes to the right of the point.
    """
    odd = np.zeros((len(y), x.shape[1]), dtype=np.bool_)
    on_outline = np.zeros_like(odd)
    for (x0, y0), (x1, y1) in outline.tolist():
        spanned = ((y0 <= y) != (y1 <= y))[:, 0]
        if spanned.any():
            odd[spanned] ^= x < x0 + (y[spanned] - y0) / (y1 - y0) * (x1 - x0)
        touched = ((y >= min(y0, y1) - TOUCHES) & (y <= max(y0, y1) + TOUCHES))[:, 0]
        if touched.any():
            level = abs(y1 - y0) <= TOUCHES
            along = 0.0 if level else np.clip((y[touched] - y0) / (y1 - y0), 0.0, 1.0)
            low, high = (min(x0, x1), max(x0, x1)) if level else (x0 + along * (x1 - x0),) * 2
            on_outline[touched] |= (x >= low - TOUCHES) & (x <= high + TOUCHES)
    return odd | on_outline


def covered(low: float, high: float, size: int) -> slice:
    """Return the pixels of a row whose centres are in [low, high); where there are none, the one in the middle."""
    low, high = max(low, 0.0), min(high, float(size))
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    if last <= first:
        first = min(int((low + high) / 2), size - 1)
        last = first + 1
    return slice(first, last)


def resize_region(region: NDArray[np.bool_], frame: RasterFrame) -> NDArray[np.bool_]:
    """Sample a mask bilinearly at the network's pixel centres and keep what is above 0: any neighbour with weight."""
    rows_low, rows_high = neighbours(region.shape[0], frame.network_hw[0])
    columns_low, columns_high = neighbours(region.shape[1], frame.network_hw[1])
    in_rows = region[rows_low] | region[rows_high]
    drawing = in_rows[:, columns_low] | in_rows[:, columns_high]
    if not drawing.any():
        rows, columns = np.nonzero(region)
        scale_x, scale_y = frame.scale_xy
        drawing[((rows + 0.5) * scale_y).astype(np.int64), ((columns + 0.5) * scale_x).astype(np.int64)] = True
    return drawing


def neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each target pixel the two source pixels between whose centres its own centre falls."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0, source - 1.0)
    return np.floor(position).astype(np.int64), np.ceil(position).astype(np.int64)


def resize_logits(logits: NDArray[np.float32], network_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Enlarge low-resolution logits bilinearly, cut the padding off and keep what is above 0."""
    height, width = logits.shape[0] * LOGITS_STRIDE, logits.shape[1] * LOGITS_STRIDE
    if height < network_hw[0] or width < network_hw[1]:
        raise ValueError(
            f"Mask logits of {logits.shape} do not cover the network's picture of {network_hw} (height, width); "
            f"one logit stands for {LOGITS_STRIDE} x {LOGITS_STRIDE} pixels. Pass the logits of a result on this photo."
        )
    enlarged = np.asarray(Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR))
    return enlarged[: network_hw[0], : network_hw[1]] > 0
