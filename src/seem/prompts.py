"""What a user may say about one object: frozen, self-checking, and able to draw itself for the network.

Coordinates are pixels of the photo as shown, (x, y), x to the right. Pixel i covers [i, i + 1). For points (of a
click, a stroke, a polygon) an *integer* means the centre of that pixel, x = 4 is the position 4.5; a *float* is the
position itself, x = 4.0 is the left edge of pixel 4. The sides of a box are always positions, its maxima exclusive.

Every visual prompt becomes a mask at network resolution (the photo after resizing, before padding):

- Point: the 3 x 3 network pixels around the one that holds it, cut at the border.
- Stroke, Scribble: all pixels whose centre is within width / 2 of the line, so ends and corners are round. The width
  is in photo pixels, but never below one network pixel.
- Polygon, rule "filled": all pixels whose centre is inside (even-odd) or on the outline; a sliver that holds no centre
  is drawn as its outline. Rule "curve": the closed outline, one network pixel wide, not filled; the official models
  were trained with the pixels of the curve alone.
- Box: all pixels whose centre is inside, at least one.
- Mask(array): sampled bilinearly at the network's pixel centres, then > 0, as the official demo does. Only where that
  would leave nothing, the pixels that hold the mask's own pixels.
- Mask(logits=...): bilinear to the network's padded input, the padding cut off, then > 0.

What lies partly outside the photo is cut at its border; what lies outside altogether is an error.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import ClassVar, Literal, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PolygonRule: TypeAlias = Literal["filled", "curve"]
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Coordinates: TypeAlias = "tuple[float, float]"
Points: TypeAlias = "Sequence[Sequence[float]] | NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]"

DEFAULT_WIDTH = 8.0  # of a stroke, in photo pixels
LOGITS_STRIDE = 4  # network pixels per pixel of low-resolution mask logits
MAX_PHRASE = 100_000  # characters; the tokenizer reads far fewer, this only stops nonsense
_FAR_AWAY = 1e9  # no photo is that large; keeps arithmetic on coordinates finite
_TOUCHES = 1e-9  # pixels; a centre this near to an outline lies on it

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Frame:
    """Where prompts are drawn: the size of the photo, and of the photo as the network sees it before padding.

    `polygon_rule` is how this network was taught to read a polygon.
    """

    photo_hw: tuple[int, int]
    network_hw: tuple[int, int]
    polygon_rule: PolygonRule = "filled"

    def __post_init__(self) -> None:
        if min(*self.photo_hw, *self.network_hw) < 1:
            raise ValueError(
                f"A frame needs sizes of at least 1, got photo {self.photo_hw}, network {self.network_hw}."
            )

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Network pixels per photo pixel, along x and along y."""
        return self.network_hw[1] / self.photo_hw[1], self.network_hw[0] / self.photo_hw[0]

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


@dataclass(frozen=True, slots=True)
class Point:
    """A click at (x, y). `positive=False` says "not this"."""

    x: float
    y: float
    positive: bool = True
    position: Coordinates = field(init=False, repr=False)  # with integers resolved to centres

    def __post_init__(self) -> None:
        x, y = _coordinates((self.x, self.y), "Point")
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "position", _position((x, y)))
        object.__setattr__(self, "positive", bool(self.positive))

    def check_inside(self, photo_hw: tuple[int, int]) -> None:
        """Raise `ValueError` unless the point is inside the photo (height, width)."""
        height, width = photo_hw
        x, y = self.position
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"Point({self.x:g}, {self.y:g}) lies outside the photo of {width} x {height} pixels; "
                f"x must be at least 0 and below {width}, y below {height}."
            )

    def rasterise(self, frame: Frame) -> NDArray[np.bool_]:
        """Draw 3 x 3 network pixels; H x W bool."""
        self.check_inside(frame.photo_hw)
        column, row = frame.pixel_at(*self.position)
        drawing = frame.empty()
        drawing[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
        return drawing

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "point", "x": self.x, "y": self.y, "positive": self.positive}


@dataclass(frozen=True, slots=True)
class Stroke:
    """One brush stroke along `points`, `width` photo pixels wide. `positive=False` says "not this"."""

    points: Points
    width: float = DEFAULT_WIDTH
    positive: bool = True
    positions: tuple[Coordinates, ...] = field(init=False, repr=False)  # the points with integers resolved to centres

    def __post_init__(self) -> None:
        points = _polyline(self.points, "stroke")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "positions", _positions(points))
        object.__setattr__(self, "width", _width(self.width, "stroke"))
        object.__setattr__(self, "positive", bool(self.positive))

    def check_inside(self, photo_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if no part of the line is inside the photo (height, width)."""
        _check_lines_touch(_segments(self.positions), photo_hw, "This stroke", _kept(self.points))

    def rasterise(self, frame: Frame) -> NDArray[np.bool_]:
        """Draw the line with round ends; H x W bool."""
        self.check_inside(frame.photo_hw)
        return _draw_lines(_segments(self.positions), self.width, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "stroke", "points": _kept(self.points), "width": self.width, "positive": self.positive}


@dataclass(frozen=True, slots=True)
class Scribble:
    """Several free strokes that are one prompt, each a list of at least two points."""

    strokes: Sequence[Points]
    width: float = DEFAULT_WIDTH
    positive: bool = True
    positions: tuple[tuple[Coordinates, ...], ...] = field(init=False, repr=False)  # integers resolved to centres

    def __post_init__(self) -> None:
        strokes = tuple(_polyline(points, "scribble's stroke") for points in _listed(self.strokes, "scribble"))
        if not strokes:
            raise ValueError("A scribble needs at least one stroke, got none.")
        object.__setattr__(self, "strokes", strokes)
        object.__setattr__(self, "positions", tuple(_positions(points) for points in strokes))
        object.__setattr__(self, "width", _width(self.width, "scribble"))
        object.__setattr__(self, "positive", bool(self.positive))

    def check_inside(self, photo_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if no part of any stroke is inside the photo (height, width)."""
        _check_lines_touch(self._all_segments(), photo_hw, "This scribble", _kept(self.strokes[0]))

    def rasterise(self, frame: Frame) -> NDArray[np.bool_]:
        """Draw all strokes into one mask; H x W bool."""
        self.check_inside(frame.photo_hw)
        return _draw_lines(self._all_segments(), self.width, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        strokes = [_kept(points) for points in self.strokes]
        return {"kind": "scribble", "strokes": strokes, "width": self.width, "positive": self.positive}

    def _all_segments(self) -> NDArray[np.float64]:
        return np.concatenate([_segments(points) for points in self.positions])


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline through at least three points that are not on one line; it may cross itself."""

    positive: ClassVar[bool] = True

    points: Points
    positions: tuple[Coordinates, ...] = field(init=False, repr=False)  # the points with integers resolved to centres

    def __post_init__(self) -> None:
        points = _points(self.points, "polygon")
        if len(points) < 3:
            raise ValueError(f"A polygon needs at least 3 points, got {len(points)}; use Stroke or Point.")
        if not _span_an_area(_positions(points)):
            raise ValueError(f"The {len(points)} points of this polygon lie on one line, it is empty; use Stroke.")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "positions", _positions(points))

    def check_inside(self, photo_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if the polygon and the photo (height, width) have nothing in common."""
        middle_y, middle_x = np.array(photo_hw, dtype=np.float64).reshape(2, 1, 1) / 2
        if not _inside_polygon(self._outline(), middle_x, middle_y).any():
            _check_lines_touch(self._outline(), photo_hw, "This polygon", _kept(self.points))

    def rasterise(self, frame: Frame) -> NDArray[np.bool_]:
        """Draw the area or the outline, as `frame.polygon_rule` says; H x W bool.

        Raises `ValueError` too when only the outline counts and the photo lies wholly inside it.
        """
        self.check_inside(frame.photo_hw)
        if frame.polygon_rule == "filled":
            filled = self._fill(frame)
            if filled.any():
                return filled
        _check_lines_touch(self._outline(), frame.photo_hw, "The outline of this polygon", _kept(self.points))
        return _draw_lines(self._outline(), 0.0, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "polygon", "points": _kept(self.points)}

    def _outline(self) -> NDArray[np.float64]:
        return _segments((*self.positions, self.positions[0]))

    def _fill(self, frame: Frame) -> NDArray[np.bool_]:
        rows, columns = frame.network_hw
        outline = frame.to_network(self._outline())
        x, y = np.arange(columns, dtype=np.float64) + 0.5, np.arange(rows, dtype=np.float64) + 0.5
        return _inside_polygon(outline, x[None, :], y[:, None])


@dataclass(frozen=True, slots=True)
class Box:
    """The box from (x0, y0) to (x1, y1): positions of its sides, maxima exclusive."""

    positive: ClassVar[bool] = True

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            object.__setattr__(self, name, _number(getattr(self, name), f"{name} of a box"))
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            what = "empty" if self.x1 == self.x0 or self.y1 == self.y0 else "inverted"
            raise ValueError(f"{self._name} is {what}; give the left top corner, then the right bottom one.")

    def check_inside(self, photo_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if the box and the photo (height, width) have nothing in common."""
        height, width = photo_hw
        if self.x0 >= width or self.y0 >= height or self.x1 <= 0 or self.y1 <= 0:
            raise ValueError(f"{self._name} lies outside the photo of {width} x {height} pixels.")

    def rasterise(self, frame: Frame) -> NDArray[np.bool_]:
        """Fill the box; H x W bool."""
        self.check_inside(frame.photo_hw)
        scale_x, scale_y = frame.scale_xy
        drawing = frame.empty()
        rows = _covered(self.y0 * scale_y, self.y1 * scale_y, frame.network_hw[0])
        drawing[rows, _covered(self.x0 * scale_x, self.x1 * scale_x, frame.network_hw[1])] = True
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

    `array`: H x W of the photo as shown, bool or uint8, where anything but 0 is inside.
    `logits`: h x w (or 1 x h x w) floats, as `result.logits` gives them: one for every 4 x 4 pixels of the network's
    padded input, inside where positive. The mask keeps a read-only copy of either, the array as bool.
    """

    positive: ClassVar[bool] = True

    array: NDArray[np.bool_] | NDArray[np.uint8] | None = None
    logits: NDArray[np.float32] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if (self.array is None) == (self.logits is None):
            raise ValueError("Mask takes either an array (H x W, bool or uint8) or logits=..., exactly one of the two.")
        if self.array is not None:
            object.__setattr__(self, "array", _region(self.array))
        if self.logits is not None:
            object.__setattr__(self, "logits", _logits(self.logits))

    def check_inside(self, photo_hw: tuple[int, int]) -> None:
        """Raise `ValueError` unless the array has the photo's size (height, width); logits fit any photo."""
        if self.array is not None and self.array.shape != photo_hw:
            (height, width), (photo_height, photo_width) = self.array.shape, photo_hw
            raise ValueError(
                f"The mask is {width} x {height} pixels, the photo {photo_width} x {photo_height}; "
                "resize the mask to the photo as shown."
            )

    def rasterise(self, frame: Frame) -> NDArray[np.bool_]:
        """Resize the region; H x W bool. Raises `ValueError` too for logits that do not cover the network's picture."""
        self.check_inside(frame.photo_hw)
        if self.array is not None:
            return _resize_region(self.array.astype(np.bool_, copy=False), frame)
        assert self.logits is not None
        return _resize_logits(self.logits, frame.network_hw)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file: size (height, width) and area in its own pixels, not the pixels."""
        if self.array is not None:
            return {"kind": "mask", "size": list(self.array.shape), "area": int(np.count_nonzero(self.array))}
        assert self.logits is not None
        return {"kind": "mask_logits", "size": list(self.logits.shape), "area": int(np.count_nonzero(self.logits > 0))}


@dataclass(frozen=True, slots=True)
class Text:
    """A phrase that names the object, in English; emoji are fine.

    White space is collapsed. What the text encoder cannot hold (77 tokens) is cut off there, not here.
    Raises `ValueError` for an empty phrase, for control characters and for more than 100,000 characters.
    """

    phrase: str

    def __post_init__(self) -> None:
        if not isinstance(self.phrase, str):
            raise ValueError(f"Text takes a phrase, got {type(self.phrase).__name__}: {str(self.phrase)[:60]!r}.")
        if len(self.phrase) > MAX_PHRASE:
            raise ValueError(f"A phrase has at most {MAX_PHRASE:,} characters, got {len(self.phrase):,}; shorten it.")
        categories = {character: unicodedata.category(character) for character in set(self.phrase)}
        control = sorted(c for c, category in categories.items() if category in ("Cc", "Cs") and not c.isspace())
        if control:
            raise ValueError(f"The phrase holds the control character U+{ord(control[0]):04X}; remove it.")
        if all(category[0] in "ZC" for category in categories.values()):
            raise ValueError(f"The phrase {self.phrase[:20]!r} is empty; say what to look for.")
        object.__setattr__(self, "phrase", " ".join(self.phrase.split()))

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "text", "phrase": self.phrase}


VisualPrompt: TypeAlias = Point | Stroke | Scribble | Polygon | Box | Mask
Prompt: TypeAlias = VisualPrompt | Text


def rasterisation_rule(prompt: VisualPrompt, polygon_rule: PolygonRule) -> str:
    """Name the rule by which a prompt is drawn, for the record that goes with a result."""
    match prompt:
        case Point():
            return "point: 3 x 3 network pixels"
        case Stroke() | Scribble():
            return f"{type(prompt).__name__.lower()}: round line, {prompt.width:g} photo pixels wide"
        case Polygon() if polygon_rule == "curve":
            return "polygon: closed curve, one network pixel wide"
        case Polygon():
            return "polygon: filled"
        case Box():
            return "box: filled"
        case Mask():
            return "mask: resized bilinearly, then > 0"


# --- Reading what was given -------------------------------------------------------------------------------------------


def _number(value: float, what: str) -> float:
    """Return a plain int or float; which of the two it was is kept, for it decides what a coordinate means."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise ValueError(f"The {what} is {value!r}; it must be a number.")
    number = int(value) if isinstance(value, Integral) else float(value)
    if not math.isfinite(number):
        raise ValueError(f"The {what} is {number}; it must be a finite number.")
    if abs(number) > _FAR_AWAY:
        raise ValueError(f"The {what} is {number:g}, further away than any photo reaches; check its unit (pixels).")
    return number


def _coordinates(value: Sequence[float], what: str) -> Coordinates:
    try:
        x, y = value
    except (TypeError, ValueError):
        raise ValueError(f"{what} holds {value!r} where a pair (x, y) is needed.") from None
    return _number(x, f"x of a {what.lower()}"), _number(y, f"y of a {what.lower()}")


def _listed(values: Iterable[Item], what: str) -> list[Item]:
    """Turn a list, a tuple or an N x 2 array into a list; numpy integers stay integers."""
    try:
        return cast("list[Item]", values.tolist()) if isinstance(values, np.ndarray) else list(values)
    except TypeError:
        raise ValueError(f"A {what} takes a list of points, got {values!r}.") from None


def _points(points: Points, what: str) -> tuple[Coordinates, ...]:
    return tuple(_coordinates(point, what.capitalize()) for point in _listed(points, what))


def _kept(points: Points) -> tuple[Coordinates, ...]:
    """Return the points of a prompt that has checked itself: whatever was given, it keeps tuples of plain numbers."""
    return cast("tuple[Coordinates, ...]", points)


def _polyline(points: Points, what: str) -> tuple[Coordinates, ...]:
    checked = _points(points, what)
    if len(checked) < 2:
        raise ValueError(f"A {what} needs at least 2 points, got {len(checked)}; use Point for a single click.")
    return checked


def _width(width: float, what: str) -> float:
    number = float(_number(width, f"width of a {what}"))
    if number <= 0:
        raise ValueError(f"The width of a {what} is {number:g}; it must be above 0 photo pixels.")
    return number


def _region(array: NDArray[np.bool_] | NDArray[np.uint8]) -> NDArray[np.bool_]:
    given = np.asarray(array)
    if given.ndim != 2:
        raise ValueError(f"A mask is H x W, got shape {given.shape}; pick one channel.")
    if given.dtype not in (np.dtype(np.bool_), np.dtype(np.uint8)):
        raise ValueError(f"A mask is bool or uint8, got {given.dtype}; compare it first, for example mask > 0.5.")
    region: NDArray[np.bool_] = np.not_equal(given, 0)  # a copy: the prompt stays what it is
    if not region.any():
        raise ValueError(f"The mask of {region.shape[1]} x {region.shape[0]} pixels is empty; mark at least one pixel.")
    region.setflags(write=False)
    return region


def _logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    values = np.array(logits)
    if values.ndim == 3 and len(values) == 1:
        values = values[0]
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"Mask logits are h x w floats of one object, got {values.dtype} of shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError("Mask logits hold NaN or infinite values; pass result.logits unchanged.")
    if not (values > 0).any():
        raise ValueError("Mask logits are nowhere above 0, the mask is empty; pass a result that found something.")
    values = values.astype(np.float32)
    values.setflags(write=False)
    return values


# --- Geometry, in the photo -------------------------------------------------------------------------------------------


def _position(point: Coordinates) -> Coordinates:
    """Return the position that a coordinate means: an integer is the centre of its pixel."""
    x, y = point
    return (x + 0.5 if isinstance(x, int) else x), (y + 0.5 if isinstance(y, int) else y)


def _positions(points: Sequence[Coordinates]) -> tuple[Coordinates, ...]:
    return tuple(_position(point) for point in points)


def _segments(positions: Sequence[Coordinates]) -> NDArray[np.float64]:
    """Cut a polyline into its pieces: (S, 2 ends, xy)."""
    ends = np.array(positions, dtype=np.float64)
    return np.stack([ends[:-1], ends[1:]], axis=1)


def _span_an_area(positions: Sequence[Coordinates]) -> bool:
    """Say whether points are not all on one line; an error of rounding is no area."""
    offsets = np.array(positions, dtype=np.float64)
    offsets -= offsets[0]
    far = offsets[np.argmax(np.hypot(*offsets.T))]
    return bool((np.abs(offsets[:, 0] * far[1] - offsets[:, 1] * far[0]) > 1e-9 * (far @ far)).any())


def _clip(segments: NDArray[np.float64], photo_hw: tuple[int, int]) -> NDArray[np.float64]:
    """Keep what lies inside the photo: (S', 2, xy), without the pieces that lie outside altogether.

    A piece is start + t * direction; each border of the photo bounds t from below or from above.
    """
    start, direction = segments[:, 0], segments[:, 1] - segments[:, 0]
    size = np.array([photo_hw[1], photo_hw[0]], dtype=np.float64)
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


def _check_lines_touch(
    segments: NDArray[np.float64], photo_hw: tuple[int, int], what: str, points: Sequence[Coordinates]
) -> None:
    if len(_clip(segments, photo_hw)) == 0:
        (x, y), (height, width) = points[0], photo_hw
        raise ValueError(
            f"{what}, which begins at ({x:g}, {y:g}), lies outside the photo of {width} x {height} pixels."
        )


# --- Drawing, in the network's pixels ---------------------------------------------------------------------------------


def _draw_lines(segments: NDArray[np.float64], width: float, frame: Frame) -> NDArray[np.bool_]:
    """Mark the pixels whose centres are within half a width of a segment; distances are measured in the photo."""
    drawing = frame.empty()
    clipped = frame.to_network(_clip(segments, frame.photo_hw))
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
            drawing[top:bottom, left:right] |= _squared_distance(segment, x, y) <= radius * radius + 1e-9
    return drawing


def _squared_distance(
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


def _inside_polygon(outline: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Even-odd test of the grid of columns x (1, W) and rows y (H, 1); what lies on the outline is inside.

    A ray to the right of a point crosses an edge if the edge spans the row and passes to the right of the point.
    """
    odd = np.zeros((len(y), x.shape[1]), dtype=np.bool_)
    on_outline = np.zeros_like(odd)
    for (x0, y0), (x1, y1) in outline.tolist():
        spanned = ((y0 <= y) != (y1 <= y))[:, 0]
        if spanned.any():
            odd[spanned] ^= x < x0 + (y[spanned] - y0) / (y1 - y0) * (x1 - x0)
        touched = ((y >= min(y0, y1) - _TOUCHES) & (y <= max(y0, y1) + _TOUCHES))[:, 0]
        if touched.any():
            level = abs(y1 - y0) <= _TOUCHES
            along = 0.0 if level else np.clip((y[touched] - y0) / (y1 - y0), 0.0, 1.0)
            low, high = (min(x0, x1), max(x0, x1)) if level else (x0 + along * (x1 - x0),) * 2
            on_outline[touched] |= (x >= low - _TOUCHES) & (x <= high + _TOUCHES)
    return odd | on_outline


def _covered(low: float, high: float, size: int) -> slice:
    """Return the pixels of a row whose centres are in [low, high); where there are none, the one in the middle."""
    low, high = max(low, 0.0), min(high, float(size))
    first, last = math.ceil(low - 0.5), math.ceil(high - 0.5)
    if last <= first:
        first = min(int((low + high) / 2), size - 1)
        last = first + 1
    return slice(first, last)


def _resize_region(region: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """Sample a mask bilinearly at the network's pixel centres and keep what is above 0: any neighbour with weight."""
    rows_low, rows_high = _neighbours(region.shape[0], frame.network_hw[0])
    columns_low, columns_high = _neighbours(region.shape[1], frame.network_hw[1])
    in_rows = region[rows_low] | region[rows_high]
    drawing = in_rows[:, columns_low] | in_rows[:, columns_high]
    if not drawing.any():
        rows, columns = np.nonzero(region)
        scale_x, scale_y = frame.scale_xy
        drawing[((rows + 0.5) * scale_y).astype(np.int64), ((columns + 0.5) * scale_x).astype(np.int64)] = True
    return drawing


def _neighbours(source: int, target: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return for each target pixel the two source pixels between whose centres its own centre falls."""
    position = np.clip((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0, source - 1.0)
    return np.floor(position).astype(np.int64), np.ceil(position).astype(np.int64)


def _resize_logits(logits: NDArray[np.float32], network_hw: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = logits.shape[0] * LOGITS_STRIDE, logits.shape[1] * LOGITS_STRIDE
    if height < network_hw[0] or width < network_hw[1]:
        raise ValueError(
            f"Mask logits of {logits.shape} do not cover the network's picture of {network_hw} (height, width); "
            f"one logit stands for {LOGITS_STRIDE} x {LOGITS_STRIDE} pixels. Pass the logits of a result on this photo."
        )
    enlarged = np.asarray(Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR))
    return enlarged[: network_hw[0], : network_hw[1]] > 0
