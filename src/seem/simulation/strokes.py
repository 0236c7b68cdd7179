"""Prompts as a person might draw them for an object whose true mask is known.

Kinds and counts follow SEEM's training strokes (points, circle strokes, scribbles, polygons) and its evaluation (box);
their published sizes belong to training images of 1024 px and are scaled with the mask's longer side here. The strokes
themselves are drawn by rules of our own: a brush that wanders with a smoothly turning heading, no wider than the object
suggests, in longer steps on a large one.

Frames: the mask's own pixels; points are (x, y), an integer is the centre of a pixel; box corners are xyxy with
exclusive maxima. The same generator state gives the same prompts.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64

from seem.rasterize import PolygonRule, inside_polygon, polyline_segments


class PromptKind(enum.Enum):
    """How a prompt was drawn."""

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
        positive: whether it says "this" or "not this".
        paths: its geometry, one array of (x, y) rows each: a point a path, a stroke a path, the closed outline of a
            polygon, or the two corners of a box.
        width: brush width in pixels; 0 where there is no brush.
    """

    kind: PromptKind
    mask: Bool[np.ndarray, "h w"]
    positive: bool = True
    paths: tuple[Float32[np.ndarray, "_ 2"], ...] = ()
    width: int = 0


@dataclass(frozen=True, slots=True)
class _Brush:
    """How a stroke wanders: (least, most) vertices, longest step and (least, most) width, in pixels of 1024."""

    vertices: tuple[int, int]
    step: float
    width: tuple[float, float]
    turn: float  # radians that the heading changes by from one vertex to the next, standard deviation


# Vertices, speeds and widths: the presets of SEEM's stroke sampler.
_CIRCLES = (
    _Brush((5, 30), 15.0, (20.0, 50.0), 0.9),
    _Brush((5, 15), 8.0, (20.0, 50.0), 0.9),
    _Brush((5, 20), 7.0, (10.0, 30.0), 0.9),
)
_SCRIBBLES = (
    _Brush((10, 30), 20.0, (3.0, 10.0), 0.35),
    _Brush((6, 22), 12.0, (2.5, 5.0), 0.35),
)


@dataclass(frozen=True, slots=True)
class StrokeDistribution:
    """How an invented user draws: which kinds of prompts how often, in any unit, and how the kinds look."""

    kind_weights: Mapping[PromptKind, float]
    polygon_rule: PolygonRule = "filled"
    middle: float = 0.0
    """Of the point prompts: how many are one click near the middle; the others are clicks anywhere inside."""
    most_points: int = 20
    point_radius: int = 1
    """A click covers a square of twice this plus one pixels."""


DEFAULT_STROKES = StrokeDistribution(
    MappingProxyType(
        {
            PromptKind.POINT: 0.5,
            PromptKind.CIRCLE: 0.1,
            PromptKind.SCRIBBLE: 0.14,
            PromptKind.POLYGON: 0.1,
            PromptKind.BOX: 0.16,
        }
    ),
    middle=0.65,
    most_points=3,
)
"""What people use most, clicks and boxes first."""

PUBLISHED_STROKES = StrokeDistribution(
    MappingProxyType(
        dict.fromkeys((PromptKind.POINT, PromptKind.CIRCLE, PromptKind.SCRIBBLE, PromptKind.POLYGON), 0.25)
    ),
    "curve",
    point_radius=0,
)
"""What the published models are trained with: four kinds as often as each other, polygons as curves, single pixels."""


def sample_prompt(
    truth: Bool[np.ndarray, "h w"], rng: np.random.Generator, habits: StrokeDistribution = DEFAULT_STROKES
) -> SimulatedPrompt:
    """Draw a prompt of a random kind; half of the boxes are drawn loosely.

    Raises:
        ValueError: the mask is empty, or no kind has a positive probability.
    """
    kinds = [kind for kind in PromptKind if habits.kind_weights.get(kind, 0.0) > 0]
    if not kinds:
        raise ValueError(f"No kind of prompt has a positive probability in {dict(habits.kind_weights)}.")
    upto = np.cumsum([habits.kind_weights[kind] for kind in kinds])
    kind = kinds[min(int(np.searchsorted(upto, rng.random() * upto[-1], side="right")), len(kinds) - 1)]
    if kind is PromptKind.POINT:
        if rng.random() < habits.middle:
            return draw_middle(truth, rng)
        return draw_points(truth, rng, at_most=habits.most_points, radius=habits.point_radius)
    if kind is PromptKind.BOX:
        return draw_box(truth, rng, jitter=0.08 if rng.random() < 0.5 else 0.0)
    if kind is PromptKind.POLYGON:
        return draw_polygon(truth, rng, habits.polygon_rule)
    return draw_circle(truth, rng) if kind is PromptKind.CIRCLE else draw_scribble(truth, rng)


def draw_points(
    truth: Bool[np.ndarray, "h w"], rng: np.random.Generator, *, at_most: int = 20, radius: int = 1
) -> SimulatedPrompt:
    """Click 1 to `at_most` random pixels of the object; each click covers a square of 2 `radius` + 1 pixels."""
    pixels = _inside(truth)
    count = int(rng.integers(1, min(at_most, len(pixels)) + 1))
    return _clicks(rng.choice(pixels, count, replace=False), truth.shape, radius, positive=True)


def draw_middle(
    truth: Bool[np.ndarray, "h w"], rng: np.random.Generator, *, slack: float = 0.3, radius: int = 1
) -> SimulatedPrompt:
    """Click once near the middle: any pixel whose distance from the edge is within `slack` of the greatest."""
    import cv2

    x0, y0, x1, y1 = _bounds(truth)
    framed = np.pad(truth[y0:y1, x0:x1], 1).astype(np.uint8)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() * (1 - slack))
    pick = int(rng.integers(len(rows)))
    pixel = (rows[pick] + y0) * truth.shape[1] + columns[pick] + x0
    return _clicks(np.array([pixel]), truth.shape, radius, positive=True)


def draw_negative_points(
    truth: Bool[np.ndarray, "h w"],
    rng: np.random.Generator,
    *,
    at_most: int = 3,
    radius: int = 1,
    allowed: Bool[np.ndarray, "h w"] | None = None,
) -> SimulatedPrompt | None:
    """Click 1 to `at_most` pixels outside the object: negative, half of them within a tenth of its size from it.

    `allowed` restricts where clicks may fall (the valid part of a padded canvas). None when no pixel is left.
    """
    import cv2

    outside = ~truth if allowed is None else allowed & ~truth
    pixels = np.flatnonzero(outside)
    if not pixels.size:
        return None
    x0, y0, x1, y1 = _bounds(truth)
    reach = 2 * max(2, round(0.1 * max(x1 - x0, y1 - y0))) + 1
    near = outside & (cv2.dilate(truth.view(np.uint8), np.ones((reach, reach), np.uint8)) > 0)
    close = np.flatnonzero(near)
    count = int(rng.integers(1, at_most + 1))
    from_close = rng.random(count) < 0.5 if close.size else np.zeros(count, bool)
    chosen = np.where(from_close, rng.choice(close if close.size else pixels, count), rng.choice(pixels, count))
    return _clicks(np.unique(chosen), truth.shape, radius, positive=False)


def draw_circle(truth: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> SimulatedPrompt:
    """Paint 1 to 5 short thick strokes that curl upon themselves, cut to the object."""
    return _painted(PromptKind.CIRCLE, truth, rng, _CIRCLES[int(rng.integers(len(_CIRCLES)))])


def draw_scribble(truth: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> SimulatedPrompt:
    """Draw 1 to 5 thin free lines that begin on the object, cut to it."""
    return _painted(PromptKind.SCRIBBLE, truth, rng, _SCRIBBLES[int(rng.integers(len(_SCRIBBLES)))])


def draw_polygon(
    truth: Bool[np.ndarray, "h w"], rng: np.random.Generator, rule: PolygonRule = "filled"
) -> SimulatedPrompt:
    """Draw a polygon.

    FILLED traces the outline of the largest piece (of all pieces together when none holds most of the object) roughly,
    along the edges of its pixels, and covers those whose centres lie inside. CURVE puts 1 to 9 points anywhere on the
    object and draws the smooth closed curve through them, one pixel wide; the curve may leave the object.
    """
    import cv2

    mask = np.zeros(truth.shape, np.uint8)
    if rule == "curve":
        outline = _loop(truth, rng)
        cv2.polylines(mask, [_fixed(outline)], True, 1, 1, shift=_SHIFT)
    else:
        outline = _rough_outline(truth, rng)
        edges = polyline_segments([(x, y) for x, y in (*outline.tolist(), outline[0].tolist())])
        rows, columns = (np.arange(side, dtype=np.float64) for side in truth.shape)
        mask |= inside_polygon(edges, columns[None, :], rows[:, None])
        if len(outline) < 3:  # too thin to have an inside
            cv2.polylines(mask, [_fixed(outline)], True, 1, 1, shift=_SHIFT)
    if not mask.any():  # a curve that left the canvas, an outline between the centres of pixels
        mask.flat[int(rng.choice(_inside(truth)))] = 1
    return SimulatedPrompt(PromptKind.POLYGON, mask.view(bool), paths=(outline,))


def draw_box(truth: Bool[np.ndarray, "h w"], rng: np.random.Generator, *, jitter: float = 0.0) -> SimulatedPrompt:
    """Draw the bounding box, filled; `jitter` moves each side by up to that fraction of the box's size either way."""
    height, width = truth.shape
    corners = np.array(_bounds(truth), np.float64)
    if jitter > 0:
        size = np.tile(corners[2:] - corners[:2], 2)
        corners = np.rint(corners + rng.uniform(-jitter, jitter, 4) * size)
        corners[:2] = np.clip(corners[:2], 0, [width - 1, height - 1])
        corners[2:] = np.clip(corners[2:], corners[:2] + 1, [width, height])
    x0, y0, x1, y1 = corners.astype(int).tolist()
    mask = np.zeros(truth.shape, bool)
    mask[y0:y1, x0:x1] = True
    return SimulatedPrompt(PromptKind.BOX, mask, paths=(corners.reshape(2, 2).astype(np.float32),))


# ---------------------------------------------------------------------------------------------------------------------

_SHIFT = 4  # OpenCV draws in sixteenths of a pixel
_FINER = 2  # it follows the corners of pixels, and cuts them where an edge is a staircase: those of small parts


def _painted(
    kind: PromptKind, truth: Bool[np.ndarray, "h w"], rng: np.random.Generator, brush: _Brush
) -> SimulatedPrompt:
    import cv2

    pixels = _inside(truth)
    scale = max(truth.shape) / 1024
    widest = max(1.0, 0.6 * len(pixels) ** 0.5)  # nobody paints a spoon with a broom
    width = max(1, round(min(rng.uniform(*brush.width) * scale, widest)))
    count = int(rng.integers(1, 6))
    starts = _xy(rng.choice(pixels, count), truth.shape[1])
    reach = max(scale, len(pixels) ** 0.5 / 256)  # and a large object is crossed in longer strokes
    paths = tuple(_wander(start, rng, brush, reach) for start in starts)
    canvas = np.zeros(truth.shape, np.uint8)
    for path in paths:
        cv2.polylines(canvas, [_fixed(path)], False, 1, width, shift=_SHIFT)
    xs, ys = starts.T.astype(int)
    canvas[ys, xs] = 1
    return SimulatedPrompt(kind, canvas.view(bool) & truth, paths=paths, width=width)


def _wander(
    start: Float32[np.ndarray, " 2"], rng: np.random.Generator, brush: _Brush, scale: float
) -> Float32[np.ndarray, "p 2"]:
    """Walk from `start` with a heading that drifts, so that the path is smooth without being straight."""
    count = int(rng.integers(brush.vertices[0], brush.vertices[1] + 1))
    drift = rng.normal(0.0, brush.turn / 3)  # a steady bend: circles curl, lines sway
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(drift, brush.turn, count))
    steps = rng.uniform(0.3, 1.0, count) * brush.step * scale
    path = np.cumsum(steps[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    return np.concatenate([start[None], start + path]).astype(np.float32)


def _loop(truth: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "p 2"]:
    """Go around up to nine random points of the object on one smooth closed curve."""
    pixels = _inside(truth)
    count = int(rng.integers(1, min(9, len(pixels)) + 1))
    knots = _xy(rng.choice(pixels, count, replace=False), truth.shape[1]).astype(np.float64)
    if count == 1:
        return knots.astype(np.float32)
    around = knots - knots.mean(axis=0)
    knots = knots[np.argsort(np.arctan2(around[:, 1], around[:, 0]), kind="stable")]
    # A cubic between neighbours whose tangents are parallel to the chord that skips each knot (Catmull and Rom, 1974).
    tangent = (np.roll(knots, -1, axis=0) - np.roll(knots, 1, axis=0)) / 2
    after, tangent_after = np.roll(knots, -1, axis=0), np.roll(tangent, -1, axis=0)
    t = np.linspace(0, 1, 12, endpoint=False)[None, :, None]
    bend = 3 * (after - knots)[:, None] - (2 * tangent + tangent_after)[:, None]
    fold = (tangent + tangent_after)[:, None] - 2 * (after - knots)[:, None]
    curve = knots[:, None] + t * (tangent[:, None] + t * (bend + t * fold))
    return curve.reshape(-1, 2).astype(np.float32)


def _rough_outline(truth: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "p 2"]:
    import cv2

    x0, y0, x1, y1 = _bounds(truth)
    finer = np.pad(truth[y0:y1, x0:x1], 1).view(np.uint8).repeat(_FINER, axis=0).repeat(_FINER, axis=1)
    piece = cv2.dilate(finer, np.ones((2, 2), np.uint8), anchor=(1, 1))  # the corners of its parts of a pixel
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    sizes = [max(cv2.contourArea(outline), 1.0) for outline in outlines]
    outline = outlines[int(np.argmax(sizes))]
    if max(sizes) < 0.6 * sum(sizes):
        outline = cv2.convexHull(np.concatenate(outlines))
    extent = float(max(x1 - x0, y1 - y0))
    rough = cv2.approxPolyDP(outline, rng.uniform(0.008, 0.04) * extent * _FINER, True).reshape(-1, 2)
    corners = rough / _FINER + rng.normal(0.0, 0.012 * extent, rough.shape) + np.array([x0, y0]) - 1.5
    kept: Float[np.ndarray, "p 2"] = np.clip(corners, -0.5, np.array(truth.shape[::-1]) - 0.5)
    return kept.astype(np.float32)


def _clicks(pixels: Int64[np.ndarray, " k"], shape: tuple[int, ...], radius: int, *, positive: bool) -> SimulatedPrompt:
    mask = np.zeros(shape, bool)
    points = _xy(pixels, shape[1])
    for x, y in points.astype(int).tolist():
        mask[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1] = True
    return SimulatedPrompt(PromptKind.POINT, mask, positive, tuple(point[None] for point in points), 2 * radius + 1)


def _inside(truth: Bool[np.ndarray, "h w"]) -> Int64[np.ndarray, " k"]:
    pixels = np.flatnonzero(truth)
    if not pixels.size:
        raise ValueError(f"A prompt needs an object, but the mask of {truth.shape} pixels is empty; leave it out.")
    return pixels


def _bounds(truth: Bool[np.ndarray, "h w"]) -> tuple[int, int, int, int]:
    """Find the bounding box, xyxy with exclusive maxima."""
    rows, columns = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    if not rows.size:
        raise ValueError(f"A prompt needs an object, but the mask of {truth.shape} pixels is empty; leave it out.")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _xy(pixels: Int64[np.ndarray, " k"], width: int) -> Float32[np.ndarray, "k 2"]:
    return np.stack([pixels % width, pixels // width], axis=1).astype(np.float32)


def _fixed(path: Float[np.ndarray, "p 2"]) -> Int32[np.ndarray, "p 1 2"]:
    """Turn points into OpenCV's fixed-point integers."""
    return np.asarray(np.rint(path * (1 << _SHIFT)).astype(np.int32)[:, None])
