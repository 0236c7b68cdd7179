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
- Reference: nothing in this photo. Its prompts mark a region of the other one, where a Polygon counts as its area.

What lies partly outside the photo is cut at its border; what lies outside altogether is an error.
"""

from __future__ import annotations

import math
import os
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, cast, runtime_checkable
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem import sounds
from seem.rasterize import (
    Coordinates,
    PolygonRule,
    RasterFrame,
    check_lines_touch,
    covered,
    draw_lines,
    inside_polygon,
    polyline_segments,
    position_of,
    positions_of,
    resize_logits,
    resize_region,
    span_an_area,
)
from seem.sounds import Sound

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
Points: TypeAlias = "Sequence[Sequence[float]] | NDArray[np.float64] | NDArray[np.float32] | NDArray[np.int64]"

DEFAULT_WIDTH = 8.0  # of a stroke, in photo pixels
MAX_PHRASE = 100_000  # characters; the tokenizer reads far fewer, this only stops nonsense
_FAR_AWAY = 1e9  # no photo is that large; keeps arithmetic on coordinates finite

Item = TypeVar("Item")
Kept = TypeVar("Kept")


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
        object.__setattr__(self, "position", position_of((x, y)))
        object.__setattr__(self, "positive", bool(self.positive))

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` unless the point is inside the photo (height, width)."""
        height, width = image_hw
        x, y = self.position
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"Point({self.x:g}, {self.y:g}) lies outside the photo of {width} x {height} pixels; "
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
    """One brush stroke along `points`, `width` photo pixels wide. `positive=False` says "not this"."""

    points: Points
    width: float = DEFAULT_WIDTH
    positive: bool = True
    positions: tuple[Coordinates, ...] = field(init=False, repr=False)  # the points with integers resolved to centres

    def __post_init__(self) -> None:
        points = _polyline(self.points, "stroke")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "positions", positions_of(points))
        object.__setattr__(self, "width", _width(self.width, "stroke"))
        object.__setattr__(self, "positive", bool(self.positive))

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if no part of the line is inside the photo (height, width)."""
        check_lines_touch(polyline_segments(self.positions), image_hw, "This stroke", _kept(self.points))

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw the line with round ends; H x W bool."""
        self.check_inside(frame.image_hw)
        return draw_lines(polyline_segments(self.positions), self.width, frame)

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
        object.__setattr__(self, "positions", tuple(positions_of(points) for points in strokes))
        object.__setattr__(self, "width", _width(self.width, "scribble"))
        object.__setattr__(self, "positive", bool(self.positive))

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if no part of any stroke is inside the photo (height, width)."""
        check_lines_touch(self._all_segments(), image_hw, "This scribble", _kept(self.strokes[0]))

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw all strokes into one mask; H x W bool."""
        self.check_inside(frame.image_hw)
        return draw_lines(self._all_segments(), self.width, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        strokes = [_kept(points) for points in self.strokes]
        return {"kind": "scribble", "strokes": strokes, "width": self.width, "positive": self.positive}

    def _all_segments(self) -> NDArray[np.float64]:
        return np.concatenate([polyline_segments(points) for points in self.positions])


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed outline through at least three points that are not on one line; it may cross itself.

    To nano it is the outline of the object, which is followed closely; several about one object are parts of it. To the
    published models it is a curve drawn on the object.
    """

    positive: ClassVar[bool] = True

    points: Points
    positions: tuple[Coordinates, ...] = field(init=False, repr=False)  # the points with integers resolved to centres

    def __post_init__(self) -> None:
        points = _points(self.points, "polygon")
        if len(points) < 3:
            raise ValueError(f"A polygon needs at least 3 points, got {len(points)}; use Stroke or Point.")
        if not span_an_area(positions_of(points)):
            raise ValueError(f"The {len(points)} points of this polygon lie on one line, it is empty; use Stroke.")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "positions", positions_of(points))

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if the polygon and the photo (height, width) have nothing in common."""
        middle_y, middle_x = np.array(image_hw, dtype=np.float64).reshape(2, 1, 1) / 2
        if not inside_polygon(self._outline(), middle_x, middle_y).any():
            check_lines_touch(self._outline(), image_hw, "This polygon", _kept(self.points))

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Draw the area or the outline, as `frame.polygon_rule` says; H x W bool.

        Raises `ValueError` too when only the outline counts and the photo lies wholly inside it.
        """
        self.check_inside(frame.image_hw)
        if frame.polygon_rule == "filled":
            filled = self._fill(frame)
            if filled.any():
                return filled
        check_lines_touch(self._outline(), frame.image_hw, "The outline of this polygon", _kept(self.points))
        return draw_lines(self._outline(), 0.0, frame)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file."""
        return {"kind": "polygon", "points": _kept(self.points)}

    def _outline(self) -> NDArray[np.float64]:
        return polyline_segments((*self.positions, self.positions[0]))

    def _fill(self, frame: RasterFrame) -> NDArray[np.bool_]:
        rows, columns = frame.network_hw
        outline = frame.to_network(self._outline())
        x, y = np.arange(columns, dtype=np.float64) + 0.5, np.arange(rows, dtype=np.float64) + 0.5
        return inside_polygon(outline, x[None, :], y[:, None])


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

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` if the box and the photo (height, width) have nothing in common."""
        height, width = image_hw
        if self.x0 >= width or self.y0 >= height or self.x1 <= 0 or self.y1 <= 0:
            raise ValueError(f"{self._name} lies outside the photo of {width} x {height} pixels.")

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Fill the box; H x W bool."""
        self.check_inside(frame.image_hw)
        scale_x, scale_y = frame.scale_xy
        drawing = frame.empty()
        rows = covered(self.y0 * scale_y, self.y1 * scale_y, frame.network_hw[0])
        drawing[rows, covered(self.x0 * scale_x, self.x1 * scale_x, frame.network_hw[1])] = True
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

    An array is a mark: its pixels are of the object, which may be larger. To nano, an outline of the whole object is
    better said with a `Polygon`, and an earlier answer with its logits (measured in `docs/nano.md`).
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

    def check_inside(self, image_hw: tuple[int, int]) -> None:
        """Raise `ValueError` unless the array has the photo's size (height, width); logits fit any photo."""
        if self.array is not None and self.array.shape != image_hw:
            (height, width), (photo_height, photo_width) = self.array.shape, image_hw
            raise ValueError(
                f"The mask is {width} x {height} pixels, the photo {photo_width} x {photo_height}; "
                "resize the mask to the photo as shown."
            )

    def rasterize(self, frame: RasterFrame) -> NDArray[np.bool_]:
        """Resize the region; H x W bool. Raises `ValueError` too for logits that do not cover the network's picture."""
        self.check_inside(frame.image_hw)
        if self.array is not None:
            return resize_region(self.array.astype(np.bool_, copy=False), frame)
        assert self.logits is not None
        return resize_logits(self.logits, frame.network_hw)

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file: size (height, width) and area in its own pixels, not the pixels."""
        if self.array is not None:
            return {"kind": "mask", "size": list(self.array.shape), "area": int(np.count_nonzero(self.array))}
        assert self.logits is not None
        return {"kind": "mask_logits", "size": list(self.logits.shape), "area": int(np.count_nonzero(self.logits > 0))}


@dataclass(frozen=True, slots=True)
class Text:
    """A phrase that names the object, in English; emoji are fine.

    White space is collapsed. What the text encoder cannot hold (77 tokens, of nano 32) is cut off there,
    and a note of the result says so.
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


@dataclass(frozen=True, slots=True, eq=False)
class Audio:
    """A spoken phrase: it is written down once, and then it is a `Text` with that phrase.

    `sound`: a file, or an (N,) or (N, channels) array of floats in -1 to 1 or of int16, int32 or uint8 samples with its
    `rate` (samples a second). `transcribe` takes a `Sound` and returns its words; None = the speech package that
    `pip install "seem[audio]"` brings.

    Raises `ValueError` for a sound that is empty, silent, shorter than 0.1 s or longer than 60 s, for NaN and for a
    rate that no sound has (formats other than WAV are checked when they are heard), `SeemError` for a missing file.
    """

    sound: str | os.PathLike[str] | NDArray[np.generic]
    rate: int | None = None
    transcribe: Callable[[Sound], str] | None = field(default=None, kw_only=True, repr=False)
    _heard: Heard = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.sound, (str, os.PathLike)):
            if self.rate is not None:
                raise ValueError(f"rate={self.rate} is for arrays, {self.sound} says its own; leave it out.")
            read = sounds.read_wav(Path(self.sound))
        elif isinstance(self.sound, (np.ndarray, list, tuple)):
            read = sounds.sound_from_array(np.asarray(self.sound), self.rate)
        else:
            raise ValueError(f"Audio takes a sound file or an array of samples, got {self.sound!r}.")
        object.__setattr__(self, "_heard", Heard(read))

    def __reduce__(self) -> tuple[Callable[..., Audio], tuple[object, ...]]:
        """To another process goes what was said, not what would have to hear it again."""
        return _heard_before, (self.sound, self.rate, self._heard.sound, self._heard.phrase)

    @property
    def phrase(self) -> str:
        """What is said, in the words of `Text`; the first look listens, at most once.

        Raises `SeemError` where nobody can listen, `ValueError` where no words are heard.
        """
        with self._heard.lock:
            if self._heard.phrase is None:
                self._heard.phrase = self._listen()
            return self._heard.phrase

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file; the phrase is None as long as nobody has listened."""
        return {"kind": "audio", "phrase": self._heard.phrase, "file": self._file}

    @property
    def _file(self) -> str | None:
        return Path(self.sound).name if isinstance(self.sound, (str, os.PathLike)) else None

    def _listen(self) -> str:
        from seem.adapters import speech

        sound = self._heard.sound
        if sound is None:
            assert isinstance(self.sound, (str, os.PathLike))
            sound = speech.decode_sound(Path(self.sound))
        words = (self.transcribe or speech.transcribe)(sound)
        try:
            return Text(words).phrase
        except ValueError:
            raise ValueError(
                f"No words were heard in {self._file or 'the sound'} ({sound.seconds:.1f} s); repeat it, or use Text."
            ) from None


@dataclass(slots=True, eq=False)
class Heard:
    """What an `Audio` knows of its sound: the samples (None = not read yet), and the words (None = not heard yet)."""

    sound: Sound | None
    phrase: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


def _heard_before(given: object, rate: int | None, sound: Sound | None, phrase: str | None) -> Audio:
    """Put an `Audio` together again whose file may be gone by now."""
    audio = object.__new__(Audio)
    for name, value in (("sound", given), ("rate", rate), ("transcribe", None), ("_heard", Heard(sound, phrase))):
        object.__setattr__(audio, name, value)
    return audio


@runtime_checkable
class EncodedImageLike(Protocol):
    """A photo that a model has looked at, as far as prompts must know it: `EncodedImage` is one."""

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width as shown."""
        ...

    @property
    def name(self) -> str | None:
        """The file's name."""
        ...

    @property
    def image(self) -> Image.Image:
        """The image itself, upright."""
        ...


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Reference:
    """The thing in another photo that `prompts` mean there: `Reference("other.jpg", Box(30, 40, 300, 400))`.

    `photo` is an encoded photo, or whatever `Model.encode` takes; the model that is asked then encodes it, once. A Box,
    Polygon, Mask, Stroke or Scribble marks the region itself (negative strokes cut out of it); with a Point or a phrase
    among the prompts, the other photo is segmented first.

    Raises `ValueError` for no prompt, negative prompts alone, a reference in a reference, and prompts outside an
    encoded photo.
    """

    photo: object
    prompts: tuple[Prompt, ...]
    _kept: WeakKeyDictionary[Any, Any] = field(repr=False)
    _lock: threading.Lock = field(repr=False)

    def __init__(self, photo: object, *prompts: Prompt) -> None:
        _check_reference(photo, prompts)
        object.__setattr__(self, "photo", photo)
        object.__setattr__(self, "prompts", prompts)
        object.__setattr__(self, "_kept", WeakKeyDictionary())
        object.__setattr__(self, "_lock", threading.Lock())

    def __reduce__(self) -> tuple[type[Reference], tuple[object, ...]]:
        """To another process goes the picture, not what a model here has seen in it."""
        photo = self.photo
        return Reference, (photo.image if isinstance(photo, EncodedImageLike) else photo, *self.prompts)

    @property
    def marks_region(self) -> bool:
        """Whether the prompts are the region themselves; else the other photo has to be segmented first."""
        return all(isinstance(prompt, (Stroke, Scribble, Polygon, Box, Mask)) for prompt in self.prompts)

    def kept(self, owner: Any, make: Callable[[], Kept]) -> Kept:
        """Return what `owner` (a model) makes of this reference; it is made once and goes when the owner goes."""
        with self._lock:
            if owner not in self._kept:
                self._kept[owner] = make()
            return cast("Kept", self._kept[owner])

    def to_dict(self) -> dict[str, Json]:
        """Describe the prompt for a JSON file: the other photo's name, and what was marked there."""
        return {
            "kind": "reference",
            "photo": _photo_name(self.photo),
            "prompts": [prompt.to_dict() for prompt in self.prompts],
        }


VisualPrompt: TypeAlias = Point | Stroke | Scribble | Polygon | Box | Mask
Prompt: TypeAlias = VisualPrompt | Text | Reference | Audio


def _check_reference(photo: object, prompts: Sequence[object]) -> None:
    if isinstance(photo, Prompt):
        raise ValueError(f"A Reference begins with the other photo, got {photo!r}; write Reference(photo, prompt).")
    if not prompts:
        raise ValueError("A Reference needs prompts that say which region of the other photo is meant, e.g. a Box.")
    for prompt in prompts:
        if not isinstance(prompt, Prompt):
            raise ValueError(f"{prompt!r} is no prompt; a Reference is a photo, then Box(...), Point(...) or the like.")
        if isinstance(prompt, Reference):
            raise ValueError("A Reference holds no other Reference; mark the region in its own photo.")
    marks = [prompt for prompt in prompts if isinstance(prompt, VisualPrompt)]
    if len(marks) == len(prompts) and not any(mark.positive for mark in marks):
        raise ValueError("All prompts of the Reference are negative; add at least one that says what is meant.")
    if isinstance(photo, EncodedImageLike):
        for mark in marks:
            mark.check_inside(photo.hw)


def _photo_name(photo: object) -> str | None:
    if isinstance(photo, EncodedImageLike):
        return photo.name
    source = getattr(photo, "filename", None) if isinstance(photo, Image.Image) else photo
    return Path(source).name if isinstance(source, (str, os.PathLike)) and source else None


def rasterization_rule(prompt: VisualPrompt, polygon_rule: PolygonRule, *, is_outline: bool = False) -> str:
    """Name the rule by which a prompt is drawn, for the record that goes with a result.

    A polygon may count as the outline of its object, too (`Asked.outlined_for`).
    """
    match prompt:
        case Point():
            return "point: 3 x 3 network pixels"
        case Stroke() | Scribble():
            return f"{type(prompt).__name__.lower()}: round line, {prompt.width:g} photo pixels wide"
        case Polygon() if polygon_rule == "curve":
            return "polygon: closed curve, one network pixel wide"
        case Polygon():
            return "polygon: filled, bounds the object and is its mask so far" if is_outline else "polygon: filled"
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
    if given.ndim == 0:
        raise ValueError(
            f"A mask is an H x W array, got {array!r}; read a file first, np.asarray(Image.open(file)) > 0."
        )
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
