"""Prompts that mark pixels of the image: clicks, strokes, scribbles, polygons, boxes and masks.

The rules of coordinates and of drawing are at the top of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seem.prompts.arguments import (
    Json,
    Points,
    check_coordinates,
    check_flag,
    check_logits,
    check_number,
    check_points,
    check_polyline,
    check_region,
    check_width,
    checked_points,
    to_list,
)
from seem.rasterize import (
    Coordinates,
    PolygonRule,
    RasterFrame,
    check_lines_touch,
    covered,
    draw_lines,
    inside_polygon,
    polyline_segments,
    resize_logits,
    resize_region,
    span_an_area,
)

DEFAULT_WIDTH = 8.0  # of a stroke, in image pixels


def _pixel_centre(point: Coordinates) -> Coordinates:
    """Return the position (edge coordinates) of the pixel that a point names."""
    x, y = point
    return x + 0.5, y + 0.5


def _pixel_centres(points: Points) -> tuple[Coordinates, ...]:
    return tuple(_pixel_centre(point) for point in checked_points(points))


@dataclass(frozen=True, slots=True)
class Point:
    """A click on pixel (x, y). `positive=False` says "not this"."""

    x: float
    y: float
    positive: bool = True

    def __post_init__(self) -> None:
        x, y = check_coordinates((self.x, self.y), "Point")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "positive", check_flag(self.positive, "positive"))

    @property
    def position(self) -> Coordinates:
        """The centre of the pixel, in edge coordinates."""
        return _pixel_centre((self.x, self.y))

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` unless the point is inside the image (height, width)."""
        height, width = image_hw
        if not (-0.5 <= self.x < width and -0.5 <= self.y < height):
            raise ValueError(
                f"Point({self.x:g}, {self.y:g}) lies outside the image of {width} x {height} pixels; "
                f"x must be at least 0 and below {width}, y below {height}."
            )

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw 3 x 3 network pixels; H x W bool."""
        self.check_inside(frame.image_hw)
        column, row = frame.pixel_at(*self.position)
        drawing = frame.empty()
        drawing[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
        return drawing

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "point", "x": self.x, "y": self.y, "positive": self.positive}


@dataclass(frozen=True, slots=True)
class Stroke:
    """One brush stroke through the pixels `points`, `width` image pixels wide. `positive=False` says "not this"."""

    points: Points
    width: float = DEFAULT_WIDTH
    positive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", check_polyline(self.points, "stroke"))
        object.__setattr__(self, "width", check_width(self.width, "stroke"))
        object.__setattr__(self, "positive", check_flag(self.positive, "positive"))

    @property
    def positions(self) -> tuple[Coordinates, ...]:
        """The centres of the pixels, in edge coordinates."""
        return _pixel_centres(self.points)

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if no part of the line is inside the image (height, width)."""
        start = checked_points(self.points)[0]
        check_lines_touch(polyline_segments(self.positions), image_hw, "This stroke", start)

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw the line with round ends; H x W bool."""
        self.check_inside(frame.image_hw)
        return draw_lines(polyline_segments(self.positions), self.width, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        points = checked_points(self.points)
        return {"kind": "stroke", "points": points, "width": self.width, "positive": self.positive}


@dataclass(frozen=True, slots=True)
class Scribble:
    """Several free strokes that are one prompt, each through at least two pixels."""

    strokes: Sequence[Points]
    width: float = DEFAULT_WIDTH
    positive: bool = True

    def __post_init__(self) -> None:
        strokes = to_list(self.strokes, "scribble")
        if not strokes:
            raise ValueError("A scribble needs at least one stroke, got none.")
        checked = tuple(check_polyline(points, "scribble's stroke") for points in strokes)
        object.__setattr__(self, "strokes", checked)
        object.__setattr__(self, "width", check_width(self.width, "scribble"))
        object.__setattr__(self, "positive", check_flag(self.positive, "positive"))

    @property
    def positions(self) -> tuple[tuple[Coordinates, ...], ...]:
        """The centres of the pixels of every stroke, in edge coordinates."""
        return tuple(_pixel_centres(points) for points in self.strokes)

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if no part of any stroke is inside the image (height, width)."""
        start = checked_points(self.strokes[0])[0]
        check_lines_touch(self._all_segments(), image_hw, "This scribble", start)

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw all strokes into one mask; H x W bool."""
        self.check_inside(frame.image_hw)
        return draw_lines(self._all_segments(), self.width, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        strokes = [checked_points(points) for points in self.strokes]
        return {
            "kind": "scribble",
            "strokes": strokes,
            "width": self.width,
            "positive": self.positive,
        }

    def _all_segments(self) -> NDArray[np.float64]:
        return np.concatenate([polyline_segments(points) for points in self.positions])


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline with at least three corners that are not on one line; it may cross itself.

    Corners lie on the edges of pixels, as those of a box do. To nano it is the outline of the object, which is followed
    closely; several about one object are parts of it. To the published models it is a curve drawn on the object.
    """

    positive: ClassVar[bool] = True

    points: Points

    def __post_init__(self) -> None:
        points = check_points(self.points, "polygon")
        if len(points) < 3:
            raise ValueError(
                f"A polygon needs at least 3 points, got {len(points)}; use Stroke or Point."
            )
        if not span_an_area(points):
            raise ValueError(
                f"The {len(points)} points of this polygon lie on one line, it is empty; use Stroke."
            )
        object.__setattr__(self, "points", points)

    @property
    def positions(self) -> tuple[Coordinates, ...]:
        """The corners, in edge coordinates."""
        return checked_points(self.points)

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if the polygon and the image (height, width) have nothing in common."""
        middle_y, middle_x = np.array(image_hw, dtype=np.float64).reshape(2, 1, 1) / 2
        if not inside_polygon(self._outline(), middle_x, middle_y).any():
            check_lines_touch(self._outline(), image_hw, "This polygon", self.positions[0])

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw the area or the outline, as `frame.polygon_rule` says; H x W bool.

        Raises `ValueError` too when only the outline counts and the image lies wholly inside it.
        """
        self.check_inside(frame.image_hw)
        if frame.polygon_rule == "filled":
            filled = self._fill(frame)
            if filled.any():
                return filled
        check_lines_touch(
            self._outline(), frame.image_hw, "The outline of this polygon", self.positions[0]
        )
        return draw_lines(self._outline(), 0.0, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "polygon", "points": checked_points(self.points)}

    def _outline(self) -> NDArray[np.float64]:
        return polyline_segments((*self.positions, self.positions[0]))

    def _fill(self, frame: RasterFrame) -> NDArray[np.bool_]:
        rows, columns = frame.network_hw
        outline = frame.to_network(self._outline())
        x = np.arange(columns, dtype=np.float64) + 0.5
        y = np.arange(rows, dtype=np.float64) + 0.5
        return inside_polygon(outline, x[None, :], y[:, None])


@dataclass(frozen=True, slots=True)
class Box:
    """The box from (x0, y0) to (x1, y1), the edges of its pixels; maxima are exclusive."""

    positive: ClassVar[bool] = True

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            object.__setattr__(self, name, check_number(getattr(self, name), f"{name} of a box"))
        if self.x1 == self.x0 or self.y1 == self.y0:
            raise ValueError(
                f"{self._name} is empty; give the left top corner, then the right bottom one."
            )
        if self.x1 < self.x0 or self.y1 < self.y0:
            raise ValueError(
                f"{self._name} is inverted; give the left top corner, then the right bottom one (not width and height)."
            )

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if the box and the image (height, width) have nothing in common."""
        height, width = image_hw
        if self.x0 >= width or self.y0 >= height or self.x1 <= 0 or self.y1 <= 0:
            raise ValueError(f"{self._name} lies outside the image of {width} x {height} pixels.")

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Fill the box; H x W bool."""
        self.check_inside(frame.image_hw)
        scale_x, scale_y = frame.scale_xy
        height, width = frame.network_hw
        rows = covered(self.y0 * scale_y, self.y1 * scale_y, height)
        columns = covered(self.x0 * scale_x, self.x1 * scale_x, width)
        drawing = frame.empty()
        drawing[rows, columns] = True
        return drawing

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "box", "x0": self.x0, "y0": self.y0, "x1": self.x1, "y1": self.y1}

    @property
    def _name(self) -> str:
        return f"Box({self.x0:g}, {self.y0:g}, {self.x1:g}, {self.y1:g})"


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A region drawn pixel by pixel: either `array` or `logits`. Two masks are equal only if they are the same object.

    `array`: H x W of the image as shown, bool or uint8, where anything but 0 is inside.
    `logits`: h x w (or 1 x h x w) floats, as `result.logits` gives them: one for every 4 x 4 pixels of the network's
    padded input, inside where positive. The mask keeps a read-only copy of either, the array as bool.

    An array is a mark: its pixels are of the object, which may be larger. For nano, an outline of the whole object is
    better given as a `Polygon`, and an earlier result as its logits (measured in `docs/nano/`).
    """

    positive: ClassVar[bool] = True

    array: NDArray[np.bool_] | NDArray[np.uint8] | None = None
    logits: NDArray[np.float32] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.array is None) == (self.logits is None):
            raise ValueError(
                "Mask takes either an array (H x W, bool or uint8) or logits=..., exactly one of the two."
            )
        if self.array is not None:
            object.__setattr__(self, "array", check_region(self.array))
        if self.logits is not None:
            object.__setattr__(self, "logits", check_logits(self.logits))

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` unless the array has the image's size (height, width); logits fit any image."""
        if self.array is not None and self.array.shape != image_hw:
            (height, width), (image_height, image_width) = self.array.shape, image_hw
            raise ValueError(
                f"The mask is {width} x {height} pixels, the image {image_width} x {image_height}; "
                "resize the mask to the image as shown."
            )

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Resize the region; H x W bool. Raises `ValueError` too for logits that do not cover the network's input."""
        self.check_inside(frame.image_hw)
        if self.array is not None:
            return resize_region(self.array.astype(np.bool_, copy=False), frame)
        assert self.logits is not None
        return resize_logits(self.logits, frame.network_hw)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file: size (height, width) and area in its own pixels, not the pixels."""
        if self.array is not None:
            return {
                "kind": "mask",
                "size": list(self.array.shape),
                "area": int(np.count_nonzero(self.array)),
            }
        assert self.logits is not None
        area = int(np.count_nonzero(self.logits > 0))
        return {"kind": "mask_logits", "size": list(self.logits.shape), "area": area}


VisualPrompt: TypeAlias = Point | Stroke | Scribble | Polygon | Box | Mask


def rasterization_rule(
    prompt: VisualPrompt, polygon_rule: PolygonRule, *, is_outline: bool = False
) -> str:
    """Name the rule by which a mark is drawn, for the record that goes with a result.

    `is_outline`: the polygon is also the outline of its object, which bounds the mask.
    """
    match prompt:
        case Point():
            return "point: 3 x 3 network pixels"
        case Stroke() | Scribble():
            return (
                f"{type(prompt).__name__.lower()}: round line, {prompt.width:g} photo pixels wide"
            )
        case Polygon() if polygon_rule == "curve":
            return "polygon: closed curve, one network pixel wide"
        case Polygon() if is_outline:
            return "polygon: filled, bounds the object and is its mask so far"
        case Polygon():
            return "polygon: filled"
        case Box():
            return "box: filled"
        case Mask():
            return "mask: resized bilinearly, then > 0"
