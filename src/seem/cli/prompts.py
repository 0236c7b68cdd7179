"""Prompts as they are written on a command line, read in the order in which they stand there.

    --point 410,220 --not-point 80,40 --object --stroke "10,10 60,80" --width 12

describes two objects: a click with a correction, then a stroke 12 pixels wide. The prompts between two `--object`
describe one object; `--width` is the brush width of its strokes and scribbles.

    --reference other.jpg --reference-box 30,40,300,400

is the object marked in another photo: options that begin with `--reference-` mark it there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from typer.core import TyperCommand

from seem.cli.options import PromptOptions, flag_of, typed_option
from seem.data.frames import undo_array_orientation
from seem.data.mask_pixels import object_pixels
from seem.images import (
    HIGH_BIT_DEPTH_MODES,
    decode_pixels,
    exif_orientation,
    open_image,
    read_shown_hw,
)
from seem.inference.object_prompts import ObjectPrompts, check_supported
from seem.models.decoder.policy import Policy
from seem.prompts import (
    DEFAULT_WIDTH,
    Audio,
    Box,
    Mask,
    Point,
    Polygon,
    Prompt,
    Reference,
    Scribble,
    Stroke,
    Text,
    VisualPrompt,
)

NamedValue: TypeAlias = "tuple[str, str]"  # the name of an option, and a value given to it
PromptReader: TypeAlias = Callable[[str], Prompt]

NEXT_OBJECT, WIDTH, REFERENCE, REFERENCE_PREFIX = "object", "width", "reference", "reference_"
ORDER_KEY = "seem.order"  # where a context keeps the names of its options as they were given
INTEGER = re.compile(r"[+-]?[0-9]+")
MAX_QUOTED_CHARACTERS = 60  # of a value in an error


class OrderedCommand(TyperCommand):
    """A verb that records in which order its options were given, each as often as it was."""

    context_class = typer.Context

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, and record the order, which is not part of the values."""
        _, _, parameters = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[ORDER_KEY] = [str(parameter.name).rstrip("_") for parameter in parameters]
        return super().parse_args(ctx, args)


def objects_from_options(ctx: Any, options: PromptOptions) -> tuple[tuple[Prompt, ...], ...]:
    """Read the prompts of every object from the options of a call to an `OrderedCommand`."""
    return read_objects(options_in_order(ctx.meta[ORDER_KEY], options.values()))


def typed_prompts(ctx: Any, options: PromptOptions) -> list[str]:
    """Return the prompts of a call to an `OrderedCommand` as they are typed, in their order."""
    typed = []
    for name, value in options_in_order(ctx.meta[ORDER_KEY], options.values()):
        typed += typed_option(name, value)
    return typed


def check_marks(prompts: Iterable[Prompt], image_hw: tuple[int, int]) -> None:
    """Raise `ValueError` for marks outside of an image of this height and width, or outside of a reference photo."""
    for prompt in prompts:
        if isinstance(prompt, VisualPrompt):
            prompt.check_inside(image_hw)
        if isinstance(prompt, Reference) and isinstance(prompt.image, str):
            check_reference_marks(prompt.image, prompt.prompts)


def check_objects_supported(objects: Iterable[Sequence[Prompt]], name: str, policy: Policy) -> None:
    """Raise `ValueError` for prompts that a model of a policy was not made for."""
    for prompts in objects:
        check_supported(ObjectPrompts.of(prompts), name, policy)


def check_reference_marks(photo: str, marks: Iterable[Prompt]) -> None:
    """Raise `ValueError` for marks outside of a reference photo."""
    image_hw = read_shown_hw(photo)
    try:
        check_marks(marks, image_hw)
    except ValueError as error:
        raise ValueError(f"In the reference, {Path(photo).name}: {error}") from None


def options_in_order(order: Sequence[str], values: Mapping[str, Sequence[str]]) -> list[NamedValue]:
    """Return the options of `values` as they stand on the command line, each with one of its values."""
    remaining = {name: iter(given) for name, given in values.items()}
    options = []
    for name in order:
        if name in remaining:
            options.append((name, next(remaining[name])))
    return options


def read_objects(options: Sequence[NamedValue]) -> tuple[tuple[Prompt, ...], ...]:
    """Read the prompts of every object; no options give no objects.

    Raises `ValueError` for a value that is no prompt, and for an object without prompts.
    """
    groups: list[list[NamedValue]] = [[]]
    for name, value in options:
        if name == NEXT_OBJECT:
            groups.append([])
        else:
            groups[-1].append((name, value))
    if not groups[0]:  # --object may stand before the first object too
        groups = groups[1:]
    return tuple(read_object(group, number) for number, group in enumerate(groups, 1))


def read_object(options: Sequence[NamedValue], number: int) -> tuple[Prompt, ...]:
    """Read the prompts of one object; `number` counts objects from 1, for errors."""
    check_prompt_options(options, number)
    check_reference(options, number)
    readers = object_readers(brush_width(options), read_reference_marks(options))
    prompts = []
    for name, value in options:
        if name in readers:
            prompts.append(read_option(name, value, readers[name]))
    return tuple(prompts)


def check_prompt_options(options: Sequence[NamedValue], number: int) -> None:
    """Raise `ValueError` for an object without prompts, and for widths without effect."""
    widths = values_of(options, WIDTH)
    if widths and not values_of(options, *BRUSH_READERS):
        raise ValueError(
            f"--width {widths[0]} has no effect: object {number} has no --stroke and no --scribble."
        )
    if len(widths) > 1:
        raise ValueError(
            f"Object {number} has {len(widths)} widths ({', '.join(widths)}); give --width once."
        )
    if not options:
        raise ValueError(
            f"Object {number} has no prompt; put a --point, --box, --text or the like after --object."
        )


def check_reference(options: Sequence[NamedValue], number: int) -> None:
    """Raise `ValueError` unless an object has at most one reference photo, with marks; `SeemError` for a bad photo."""
    photos = values_of(options, REFERENCE)
    marks = [(name, value) for name, value in options if name in REFERENCE_MARK_OPTIONS]
    if marks and not photos:
        name, value = marks[0]
        raise ValueError(
            f"{flag_of(name)} {value} has no effect: object {number} has no --reference PHOTO."
        )
    if len(photos) > 1:
        raise ValueError(
            f"Object {number} has {len(photos)} references ({', '.join(photos)}); give --reference once."
        )
    if photos and not marks:
        flags = ", ".join(map(flag_of, REFERENCE_MARK_OPTIONS))
        raise ValueError(
            f"--reference {photos[0]} does not mark the object in that photo; add one of {flags}."
        )
    for photo in photos:
        open_image(Path(photo), photo).close()


def values_of(options: Sequence[NamedValue], *names: str) -> list[str]:
    """Return the values of these options."""
    return [value for name, value in options if name in names]


def brush_width(options: Sequence[NamedValue]) -> float:
    """Return the brush width of an object's strokes and scribbles."""
    widths = values_of(options, WIDTH)
    if not widths:
        return DEFAULT_WIDTH
    width: float = read_option(WIDTH, widths[0], read_number)
    return width


def read_reference_marks(options: Sequence[NamedValue]) -> tuple[Prompt, ...]:
    """Read the prompts that mark the object in the reference photo."""
    marks = []
    for name, value in options:
        if name in REFERENCE_MARK_OPTIONS:
            reader = SHAPE_READERS[name.removeprefix(REFERENCE_PREFIX)]
            marks.append(read_option(name, value, reader))
    return tuple(marks)


def object_readers(width: float, reference_marks: tuple[Prompt, ...]) -> dict[str, PromptReader]:
    """Return the reader of every prompt option of an object with this brush width and these reference marks."""
    readers = dict(SHAPE_READERS)
    for name, reader_of_width in BRUSH_READERS.items():
        readers[name] = reader_of_width(width)
    readers[REFERENCE] = lambda file: Reference(file, *reference_marks)
    return readers


def read_option(name: str, value: str, reader: Callable[[str], Any]) -> Any:
    """Read the value of an option; an error names both."""
    try:
        return reader(value)
    except ValueError as error:
        quoted = value
        if len(value) > MAX_QUOTED_CHARACTERS:
            quoted = f"{value[:MAX_QUOTED_CHARACTERS]}..."
        raise ValueError(f"{flag_of(name)} {quoted!r}: {error}") from None


def read_number(text: str) -> int | float:
    """Read a number as int or float, as it was written."""
    try:
        if INTEGER.fullmatch(text.strip()):
            return int(text)
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number.") from None


def read_numbers(text: str, form: str) -> list[Any]:
    """Read as many numbers as `form` ("X,Y") has, with commas between them."""
    parts = text.split(",")
    if len(parts) != len(form.split(",")):
        raise ValueError(f"{text!r} is not of the form {form} (pixels of the photo).")
    return list(map(read_number, parts))


def read_point(text: str) -> Point:
    """Read "X,Y" as a positive click."""
    return Point(*read_numbers(text, "X,Y"))


def read_box(text: str) -> Box:
    """Read "X0,Y0,X1,Y1"."""
    return Box(*read_numbers(text, "X0,Y0,X1,Y1"))


def read_points(text: str) -> list[list[int | float]]:
    """Read "X,Y X,Y ..."."""
    return [read_numbers(point, "X,Y") for point in text.split()]


def read_strokes(text: str) -> list[list[list[int | float]]]:
    """Read "X,Y X,Y; X,Y X,Y"; a semicolon at the end is allowed."""
    strokes = text.split(";")
    if not strokes[-1].strip():
        strokes.pop()
    return list(map(read_points, strokes))


def read_mask(file: str) -> Mask:
    """Read a mask from an image file as shown: every pixel that is neither black nor transparent is inside.

    In an image with a palette the indices count, as in the masks of VOC and COCO: all but 0 are inside. Grey edges of a
    white mask, as resizing and JPEG make them, are cut at their half.
    """
    with open_image(Path(file), file) as image:
        decode_pixels(image, file)
        inside = mask_of_image(image)
        return Mask(undo_array_orientation(inside, exif_orientation(image)))


def mask_of_image(image: Image.Image) -> NDArray[np.bool_]:
    """Return the pixels of a decoded mask that are inside, not turned."""
    if image.mode == "P" and "transparency" not in image.info:
        return np.asarray(np.asarray(image) > 0)
    if image.mode == "1" or image.mode.startswith(HIGH_BIT_DEPTH_MODES):
        return np.asarray(np.asarray(image) != 0)
    is_lossy = image.format in ("JPEG", "MPO")
    return object_pixels(np.asarray(image.convert("RGBA")), is_lossy=is_lossy)


def read_audio(file: str) -> Audio:
    """Read a spoken phrase and transcribe it at once, before any image is opened."""
    audio = Audio(file)
    _ = audio.phrase
    return audio


def stroke_reader(width: float, *, positive: bool) -> PromptReader:
    """Return a reader of strokes of one width."""
    return lambda text: Stroke(read_points(text), width, positive=positive)


def scribble_reader(width: float, *, positive: bool) -> PromptReader:
    """Return a reader of scribbles of one width."""
    return lambda text: Scribble(read_strokes(text), width, positive=positive)


SHAPE_READERS: dict[str, PromptReader] = {
    "point": read_point,
    "not_point": lambda text: replace(read_point(text), positive=False),
    "box": read_box,
    "polygon": lambda text: Polygon(read_points(text)),
    "mask": read_mask,
    "text": Text,
    "audio": read_audio,
}
REFERENCE_MARK_OPTIONS = ("reference_point", "reference_box", "reference_mask", "reference_text")
BRUSH_READERS: dict[str, Callable[[float], PromptReader]] = {  # by brush width
    "stroke": lambda width: stroke_reader(width, positive=True),
    "not_stroke": lambda width: stroke_reader(width, positive=False),
    "scribble": lambda width: scribble_reader(width, positive=True),
    "not_scribble": lambda width: scribble_reader(width, positive=False),
}
