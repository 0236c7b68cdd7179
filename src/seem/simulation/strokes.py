"""Visual prompts of a simulated user, drawn at random for an object whose true mask is known.

Kinds and counts follow SEEM's training strokes (points, circle strokes, scribbles, polygons) and its evaluation (box).
Their published sizes belong to training images of 1024 px and are scaled here with the longer side of the mask. The
paths themselves follow rules of our own: a brush whose heading drifts smoothly, no wider than the object suggests, with
longer steps on a large object.

Frames: pixels of the given mask. Points are (x, y), an integer is the centre of a pixel. Box corners are xyxy with
exclusive maxima. The same generator state gives the same prompts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64
from numpy.random import Generator

from seem.rasterize import PolygonRule, inside_polygon, polyline_segments

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]
PointsArray: TypeAlias = Float32[np.ndarray, "_ 2"]
"""Rows of (x, y)."""

PixelIndices: TypeAlias = Int64[np.ndarray, " k"]
"""Indices into a flattened mask."""


class PromptKind(enum.Enum):
    """How a prompt is drawn."""

    POINT = "point"
    CIRCLE = "circle"
    SCRIBBLE = "scribble"
    POLYGON = "polygon"
    BOX = "box"


@dataclass(frozen=True, slots=True)
class SimulatedPrompt:
    """One prompt about one object.

    Attributes:
        kind: how it was drawn.
        mask: the pixels that it covers.
        positive: True for a prompt on the object, False for one on the background.
        paths: its geometry, one array of (x, y) rows for each point, stroke, closed polygon outline or pair of box
            corners.
        width: brush width in pixels; 0 where there is no brush.
    """

    kind: PromptKind
    mask: MaskArray
    positive: bool = True
    paths: tuple[PointsArray, ...] = ()
    width: int = 0


@dataclass(frozen=True, slots=True)
class _Brush:
    """Shape of a stroke; lengths are in pixels of an image of 1024 px.

    Attributes:
        vertices: least and greatest number of vertices.
        step: longest distance between two vertices.
        width: least and greatest brush width.
        turn: standard deviation of the change of heading from one vertex to the next, in radians.
    """

    vertices: tuple[int, int]
    step: float
    width: tuple[float, float]
    turn: float


# Vertices, steps and widths: the presets of SEEM's stroke sampler.
_CIRCLE_BRUSHES = (
    _Brush(vertices=(5, 30), step=15.0, width=(20.0, 50.0), turn=0.9),
    _Brush(vertices=(5, 15), step=8.0, width=(20.0, 50.0), turn=0.9),
    _Brush(vertices=(5, 20), step=7.0, width=(10.0, 30.0), turn=0.9),
)
_SCRIBBLE_BRUSHES = (
    _Brush(vertices=(10, 30), step=20.0, width=(3.0, 10.0), turn=0.35),
    _Brush(vertices=(6, 22), step=12.0, width=(2.5, 5.0), turn=0.35),
)


@dataclass(frozen=True, slots=True)
class StrokeDistribution:
    """Distribution of the prompts that a simulated user draws.

    Attributes:
        kind_weights: how often each kind is drawn, in any unit.
        polygon_rule: whether a polygon covers its area or only a closed curve.
        center_share: share of the point prompts that are one click near the centre; the others are clicks anywhere
            inside.
        max_points: greatest number of clicks in a point prompt.
        point_radius: a click covers a square of twice this plus one pixels.
    """

    kind_weights: Mapping[PromptKind, float]
    polygon_rule: PolygonRule = "filled"
    center_share: float = 0.0
    max_points: int = 20
    point_radius: int = 1


DEFAULT_STROKES = StrokeDistribution(
    kind_weights=MappingProxyType(
        {
            PromptKind.POINT: 0.5,
            PromptKind.CIRCLE: 0.1,
            PromptKind.SCRIBBLE: 0.14,
            PromptKind.POLYGON: 0.1,
            PromptKind.BOX: 0.16,
        }
    ),
    center_share=0.65,
    max_points=3,
)
"""What people use most: clicks and boxes first."""

PUBLISHED_STROKES = StrokeDistribution(
    kind_weights=MappingProxyType(
        {
            PromptKind.POINT: 0.25,
            PromptKind.CIRCLE: 0.25,
            PromptKind.SCRIBBLE: 0.25,
            PromptKind.POLYGON: 0.25,
        }
    ),
    polygon_rule="curve",
    point_radius=0,
)
"""What the published models are trained with: four kinds as often as each other, polygons as curves, single pixels."""

LOOSE_BOX_SHARE = 0.5  # of the boxes of `sample_prompt`
LOOSE_BOX_JITTER = 0.08  # of the size of the box


def sample_prompt(
    truth: MaskArray,
    rng: Generator,
    distribution: StrokeDistribution = DEFAULT_STROKES,
) -> SimulatedPrompt:
    """Draw a prompt of a random kind for an object; half of the boxes are drawn loosely.

    Raises:
        ValueError: the mask is empty, or no kind has a positive weight.
    """
    kind = _sample_kind(rng, distribution.kind_weights)
    if kind is PromptKind.POINT:
        if rng.random() < distribution.center_share:
            return draw_center_point(truth, rng)
        return draw_points(
            truth, rng, at_most=distribution.max_points, radius=distribution.point_radius
        )
    if kind is PromptKind.BOX:
        is_loose = rng.random() < LOOSE_BOX_SHARE
        return draw_box(truth, rng, jitter=LOOSE_BOX_JITTER if is_loose else 0.0)
    if kind is PromptKind.POLYGON:
        return draw_polygon(truth, rng, distribution.polygon_rule)
    if kind is PromptKind.CIRCLE:
        return draw_circle(truth, rng)
    return draw_scribble(truth, rng)


def _sample_kind(rng: Generator, weights: Mapping[PromptKind, float]) -> PromptKind:
    kinds = [kind for kind in PromptKind if weights.get(kind, 0.0) > 0]
    if not kinds:
        raise ValueError(
            f"No kind of prompt has a positive weight in {dict(weights)}; give at least one."
        )
    cumulative = np.cumsum([weights[kind] for kind in kinds])
    value = rng.random() * cumulative[-1]
    index = int(np.searchsorted(cumulative, value, side="right"))
    return kinds[min(index, len(kinds) - 1)]


# --- Points -----------------------------------------------------------------------------------------------------------


def draw_points(
    truth: MaskArray,
    rng: Generator,
    *,
    at_most: int = 20,
    radius: int = 1,
) -> SimulatedPrompt:
    """Click 1 to `at_most` random pixels of the object; each click covers a square of 2 `radius` + 1 pixels."""
    pixels = _object_pixels(truth)
    count = int(rng.integers(1, min(at_most, len(pixels)) + 1))
    clicked = rng.choice(pixels, count, replace=False)
    return _point_prompt(clicked, truth.shape, radius, positive=True)


def draw_center_point(
    truth: MaskArray,
    rng: Generator,
    *,
    slack: float = 0.3,
    radius: int = 1,
) -> SimulatedPrompt:
    """Click once near the centre: any pixel whose distance from the edge is within `slack` of the greatest."""
    import cv2

    x0, y0, x1, y1 = _bounds(truth)
    framed = np.pad(truth[y0:y1, x0:x1], 1).astype(np.uint8)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() * (1 - slack))
    choice = int(rng.integers(len(rows)))
    row, column = rows[choice] + y0, columns[choice] + x0
    pixel = row * truth.shape[1] + column
    return _point_prompt(np.array([pixel]), truth.shape, radius, positive=True)


def draw_negative_points(
    truth: MaskArray,
    rng: Generator,
    *,
    at_most: int = 3,
    radius: int = 1,
    allowed: MaskArray | None = None,
) -> SimulatedPrompt | None:
    """Click 1 to `at_most` pixels outside the object, half of them within a tenth of its size from it.

    `allowed` restricts where clicks may fall (the valid part of a padded canvas). None when no pixel is left.
    """
    import cv2

    outside = ~truth if allowed is None else allowed & ~truth
    pixels = np.flatnonzero(outside)
    if not pixels.size:
        return None
    x0, y0, x1, y1 = _bounds(truth)
    longer_side = max(x1 - x0, y1 - y0)
    reach = max(2, round(0.1 * longer_side))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near_object = cv2.dilate(truth.view(np.uint8), kernel) > 0
    near_pixels = np.flatnonzero(outside & near_object)

    count = int(rng.integers(1, at_most + 1))
    if near_pixels.size:
        is_near = rng.random(count) < 0.5
    else:
        is_near = np.zeros(count, bool)
        near_pixels = pixels
    near_choice = rng.choice(near_pixels, count)
    any_choice = rng.choice(pixels, count)
    clicked = np.unique(np.where(is_near, near_choice, any_choice))
    return _point_prompt(clicked, truth.shape, radius, positive=False)


def _point_prompt(
    pixels: PixelIndices,
    shape: tuple[int, ...],
    radius: int,
    *,
    positive: bool,
) -> SimulatedPrompt:
    """Turn flat pixel indices into clicks."""
    mask = np.zeros(shape, bool)
    points = _points_xy(pixels, shape[1])
    for x, y in points.astype(int).tolist():
        top, left = max(0, y - radius), max(0, x - radius)
        mask[top : y + radius + 1, left : x + radius + 1] = True
    return SimulatedPrompt(
        kind=PromptKind.POINT,
        mask=mask,
        positive=positive,
        paths=tuple(point[None] for point in points),
        width=2 * radius + 1,
    )


# --- Strokes ----------------------------------------------------------------------------------------------------------


def draw_circle(truth: MaskArray, rng: Generator) -> SimulatedPrompt:
    """Paint 1 to 5 short thick strokes that curl upon themselves, cut to the object."""
    brush = _choose_brush(rng, _CIRCLE_BRUSHES)
    return _draw_strokes(PromptKind.CIRCLE, truth, rng, brush)


def draw_scribble(truth: MaskArray, rng: Generator) -> SimulatedPrompt:
    """Draw 1 to 5 thin free lines that begin on the object, cut to it."""
    brush = _choose_brush(rng, _SCRIBBLE_BRUSHES)
    return _draw_strokes(PromptKind.SCRIBBLE, truth, rng, brush)


def _choose_brush(rng: Generator, brushes: Sequence[_Brush]) -> _Brush:
    return brushes[int(rng.integers(len(brushes)))]


_PUBLISHED_SIDE = 1024  # pixels of the images that the brushes are made for
_MAX_STROKES = 5


def _draw_strokes(
    kind: PromptKind,
    truth: MaskArray,
    rng: Generator,
    brush: _Brush,
) -> SimulatedPrompt:
    import cv2

    pixels = _object_pixels(truth)
    object_side = len(pixels) ** 0.5
    scale = max(truth.shape) / _PUBLISHED_SIDE
    max_width = max(1.0, 0.6 * object_side)  # a brush is never wider than its object
    width = max(1, round(min(rng.uniform(*brush.width) * scale, max_width)))
    count = int(rng.integers(1, _MAX_STROKES + 1))
    starts = _points_xy(rng.choice(pixels, count), truth.shape[1])
    step_scale = max(scale, object_side / 256)  # longer strokes on a large object
    paths = tuple(_random_walk(start, rng, brush, step_scale) for start in starts)

    canvas = np.zeros(truth.shape, np.uint8)
    for path in paths:
        cv2.polylines(canvas, [_fixed_point(path)], False, 1, width, shift=_SHIFT)
    xs, ys = starts.T.astype(int)
    canvas[ys, xs] = 1
    return SimulatedPrompt(kind, canvas.view(bool) & truth, paths=paths, width=width)


def _random_walk(
    start: Float32[np.ndarray, " 2"],
    rng: Generator,
    brush: _Brush,
    scale: float,
) -> PointsArray:
    """Walk from `start` with a heading that drifts, so that the path is smooth without being straight."""
    least, most = brush.vertices
    count = int(rng.integers(least, most + 1))
    drift = rng.normal(0.0, brush.turn / 3)  # a constant bend: circles curl, scribbles sway
    first_heading = rng.uniform(0, 2 * np.pi)
    heading = first_heading + np.cumsum(rng.normal(drift, brush.turn, count))
    lengths = rng.uniform(0.3, 1.0, count) * brush.step * scale
    directions = np.stack([np.cos(heading), np.sin(heading)], axis=1)
    path = np.cumsum(lengths[:, None] * directions, axis=0)
    return np.concatenate([start[None], start + path]).astype(np.float32)


# --- Polygons and boxes -----------------------------------------------------------------------------------------------

_UPSAMPLING = 2
"""OpenCV follows the corners of pixels and cuts them where an edge is a staircase: here those of smaller pixels."""


def draw_polygon(
    truth: MaskArray,
    rng: Generator,
    rule: PolygonRule = "filled",
) -> SimulatedPrompt:
    """Draw a polygon around or through the object.

    "filled" traces roughly the outline of the largest connected component (of all components together when none holds
    most of the object), along the edges of its pixels, and covers the pixels whose centres lie inside. "curve" puts 1
    to 9 points anywhere on the object and draws the smooth closed curve through them, one pixel wide; the curve may
    leave the object.
    """
    if rule == "curve":
        outline = _closed_curve(truth, rng)
        mask = _draw_outline(outline, truth.shape)
    else:
        outline = _rough_outline(truth, rng)
        mask = _fill_outline(outline, truth.shape)
    if not mask.any():  # a curve outside the canvas, or an outline between the centres of pixels
        mask.flat[int(rng.choice(_object_pixels(truth)))] = True
    return SimulatedPrompt(PromptKind.POLYGON, mask, paths=(outline,))


def _draw_outline(outline: PointsArray, shape: tuple[int, ...]) -> MaskArray:
    """Draw a closed line, one pixel wide."""
    import cv2

    mask = np.zeros(shape, np.uint8)
    cv2.polylines(mask, [_fixed_point(outline)], True, 1, 1, shift=_SHIFT)
    return mask.view(bool)


def _fill_outline(outline: PointsArray, shape: tuple[int, ...]) -> MaskArray:
    """Fill a polygon; one of fewer than three corners has no inside and is drawn as a line."""
    corners = outline.tolist()
    closed = [(x, y) for x, y in [*corners, corners[0]]]
    rows = np.arange(shape[0], dtype=np.float64)[:, None]
    columns = np.arange(shape[1], dtype=np.float64)[None, :]
    mask = inside_polygon(polyline_segments(closed), columns, rows)
    if len(outline) < 3:
        mask |= _draw_outline(outline, shape)
    return mask


def _closed_curve(truth: MaskArray, rng: Generator) -> PointsArray:
    """Return a smooth closed curve around up to nine random points of the object."""
    pixels = _object_pixels(truth)
    count = int(rng.integers(1, min(9, len(pixels)) + 1))
    knots = _points_xy(rng.choice(pixels, count, replace=False), truth.shape[1]).astype(np.float64)
    if count == 1:
        return knots.astype(np.float32)
    offset = knots - knots.mean(axis=0)
    angle = np.arctan2(offset[:, 1], offset[:, 0])
    return _catmull_rom(knots[np.argsort(angle, kind="stable")])


def _catmull_rom(knots: Float[np.ndarray, "k 2"], samples: int = 12) -> PointsArray:
    """Interpolate a closed curve: between neighbours a cubic (Catmull and Rom, 1974).

    The tangent at a knot is parallel to the chord between its neighbours.
    """
    following, preceding = np.roll(knots, -1, axis=0), np.roll(knots, 1, axis=0)
    tangent = (following - preceding) / 2
    next_tangent = np.roll(tangent, -1, axis=0)
    chord = following - knots
    quadratic = 3 * chord[:, None] - (2 * tangent + next_tangent)[:, None]
    cubic = (tangent + next_tangent)[:, None] - 2 * chord[:, None]
    t = np.linspace(0, 1, samples, endpoint=False)[None, :, None]
    curve = knots[:, None] + t * (tangent[:, None] + t * (quadratic + t * cubic))
    return np.asarray(curve.reshape(-1, 2).astype(np.float32))


def _rough_outline(truth: MaskArray, rng: Generator) -> PointsArray:
    """Trace the object with few corners, each moved a little at random."""
    import cv2

    x0, y0, x1, y1 = _bounds(truth)
    framed = np.pad(truth[y0:y1, x0:x1], 1).view(np.uint8)
    upsampled = framed.repeat(_UPSAMPLING, axis=0).repeat(_UPSAMPLING, axis=1)
    # A dilation by one small pixel lets OpenCV follow the corners of the pixels instead of their centres.
    dilated = cv2.dilate(upsampled, np.ones((2, 2), np.uint8), anchor=(1, 1))
    outlines, _ = cv2.findContours(dilated, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outline = _main_outline(outlines)

    extent = float(max(x1 - x0, y1 - y0))
    tolerance = rng.uniform(0.008, 0.04) * extent * _UPSAMPLING
    corners = cv2.approxPolyDP(outline, tolerance, True).reshape(-1, 2)
    noise = rng.normal(0.0, 0.012 * extent, corners.shape)
    moved = corners / _UPSAMPLING + noise + np.array([x0, y0]) - 1.5
    upper_limit = np.array(truth.shape[::-1]) - 0.5
    clipped: Float[np.ndarray, "p 2"] = np.clip(moved, -0.5, upper_limit)
    return clipped.astype(np.float32)


def _main_outline(outlines: Sequence[Int32[np.ndarray, "_ 1 2"]]) -> Int32[np.ndarray, "_ 1 2"]:
    """Return the outline of the largest component, or the convex hull of all where it holds less than 60%."""
    import cv2

    areas = [max(cv2.contourArea(outline), 1.0) for outline in outlines]
    if max(areas) < 0.6 * sum(areas):
        return np.asarray(cv2.convexHull(np.concatenate(outlines)))
    return outlines[int(np.argmax(areas))]


def draw_box(
    truth: MaskArray,
    rng: Generator,
    *,
    jitter: float = 0.0,
) -> SimulatedPrompt:
    """Draw the bounding box, filled; `jitter` moves each side by up to that fraction of the box's size either way."""
    corners = np.array(_bounds(truth), np.float64)
    if jitter > 0:
        corners = _jitter_box(corners, rng, jitter, truth.shape)
    x0, y0, x1, y1 = corners.astype(int).tolist()
    mask = np.zeros(truth.shape, bool)
    mask[y0:y1, x0:x1] = True
    return SimulatedPrompt(PromptKind.BOX, mask, paths=(corners.reshape(2, 2).astype(np.float32),))


def _jitter_box(
    corners: Float[np.ndarray, " 4"],
    rng: Generator,
    jitter: float,
    shape: tuple[int, ...],
) -> Float[np.ndarray, " 4"]:
    """Move the sides of a box, which keeps at least one pixel of the image."""
    height, width = shape
    size = np.tile(corners[2:] - corners[:2], 2)
    moved = np.rint(corners + rng.uniform(-jitter, jitter, 4) * size)
    moved[:2] = np.clip(moved[:2], 0, [width - 1, height - 1])
    moved[2:] = np.clip(moved[2:], moved[:2] + 1, [width, height])
    return np.asarray(moved)


# --- Geometry ---------------------------------------------------------------------------------------------------------

_SHIFT = 4  # OpenCV draws in sixteenths of a pixel


def _object_pixels(truth: MaskArray) -> PixelIndices:
    """Return the flat indices of the object's pixels; `ValueError` for an empty mask."""
    pixels = np.flatnonzero(truth)
    if not pixels.size:
        raise _empty_mask(truth)
    return pixels


def _bounds(truth: MaskArray) -> tuple[int, int, int, int]:
    """Return the bounding box, xyxy with exclusive maxima; `ValueError` for an empty mask."""
    rows = np.flatnonzero(truth.any(axis=1))
    columns = np.flatnonzero(truth.any(axis=0))
    if not rows.size:
        raise _empty_mask(truth)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _empty_mask(truth: MaskArray) -> ValueError:
    return ValueError(
        f"A prompt needs an object, but the mask of {truth.shape} pixels is empty; leave it out."
    )


def _points_xy(pixels: PixelIndices, width: int) -> PointsArray:
    xy: PointsArray = np.stack([pixels % width, pixels // width], axis=1).astype(np.float32)
    return xy


def _fixed_point(path: Float[np.ndarray, "p 2"]) -> Int32[np.ndarray, "p 1 2"]:
    """Convert points to OpenCV's fixed-point integers."""
    scaled = np.rint(path * (1 << _SHIFT))
    return np.asarray(scaled.astype(np.int32)[:, None])
