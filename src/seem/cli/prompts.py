"""Prompts as they are written on a command line, in the order in which they stand there.

    --point 410,220 --not-point 80,40 --object --stroke "10,10 60,80" --width 12

are two objects: a click with a correction, then a stroke 12 pixels wide. What stands between two `--object` is about
one object; `--width` is that of its strokes and scribbles. Coordinates follow the rule of `seem.prompts`.

    --reference other.jpg --reference-box 30,40,300,400

is "this, as in the other photo": what begins with `--reference-` marks what is meant there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray
from typer.core import TyperCommand

from seem.images import HIGH_BIT_DEPTH_MODES, decode_pixels, open_image
from seem.prompts import DEFAULT_WIDTH, Audio, Box, Mask, Point, Polygon, Prompt, Reference, Scribble, Stroke, Text

Given: TypeAlias = "tuple[str, str]"  # an option and its value

NEXT_OBJECT, WIDTH, REFERENCE, THERE = "object", "width", "reference", "reference_"
ORDER = "seem.order"  # where a context keeps the names of the parameters as they were given
INTEGER = re.compile(r"[+-]?[0-9]+")
LONGEST = 60  # characters of a value in an error


class InOrder(TyperCommand):
    """A verb that knows in which order its options were given, each as often as it was."""

    context_class = typer.Context  # what verbs say they take

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as usual, and keep the order, which the values alone do not tell."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[ORDER] = [str(parameter.name).rstrip("_") for parameter in order]
        return super().parse_args(ctx, args)


def in_order(ctx: Any, values: Mapping[str, Sequence[str]]) -> list[Given]:
    """Return the options named in `values` as they stand on the command line, each with its value."""
    waiting = {name: iter(given) for name, given in values.items()}
    return [(name, next(waiting[name])) for name in ctx.meta[ORDER] if name in waiting]


def read_objects(given: Sequence[Given]) -> tuple[tuple[Prompt, ...], ...]:
    """Read the prompts of every object; nothing given means no objects.

    Raises `ValueError` for what is no prompt, and for an object without any.
    """
    groups: list[list[Given]] = [[]]
    for name, value in given:
        if name == NEXT_OBJECT:
            groups.append([])
        else:
            groups[-1].append((name, value))
    if not groups[0]:  # --object may stand before the first one too
        groups = groups[1:]
    return tuple(read_object(group, number) for number, group in enumerate(groups, 1))


def read_object(given: Sequence[Given], number: int) -> tuple[Prompt, ...]:
    """Read the prompts of one object."""
    widths = [value for name, value in given if name == WIDTH]
    prompts = [(name, value) for name, value in given if name != WIDTH]
    if widths and not any(name in LINES for name, _ in prompts):
        raise ValueError(f"--width {widths[0]} has no effect: object {number} has no --stroke and no --scribble.")
    if not prompts:
        raise ValueError(f"Object {number} has no prompt; put a --point, --box, --text or the like after --object.")
    check_reference(prompts, number)
    if len(widths) > 1:
        raise ValueError(f"Object {number} has {len(widths)} widths ({', '.join(widths)}); give --width once.")
    width = read(WIDTH, widths[0], number_in) if widths else DEFAULT_WIDTH
    readers: dict[str, Callable[[str], Prompt]] = {**SHAPES, **{name: line(width) for name, line in LINES.items()}}
    there = tuple(read(name, value, SHAPES[name.removeprefix(THERE)]) for name, value in prompts if name in MARKS_THERE)
    readers[REFERENCE] = lambda file: Reference(file, *there)
    return tuple(read(name, value, readers[name]) for name, value in prompts if name not in MARKS_THERE)


def check_reference(given: Sequence[Given], number: int) -> None:
    """Raise `ValueError` unless a reference has one photo and what is meant in it; `SeemError` if it is no photo."""
    photos = [value for name, value in given if name == REFERENCE]
    marks = [f"--{name.replace('_', '-')} {value}" for name, value in given if name in MARKS_THERE]
    if marks and not photos:
        raise ValueError(f"{marks[0]} has no effect: object {number} has no --reference PHOTO.")
    if len(photos) > 1:
        raise ValueError(f"Object {number} has {len(photos)} references ({', '.join(photos)}); give --reference once.")
    if photos and not marks:
        ways = ", ".join(f"--{name.replace('_', '-')}" for name in MARKS_THERE)
        raise ValueError(f"--reference {photos[0]} does not say what is meant there; add one of {ways}.")
    for photo in photos:
        open_image(Path(photo), photo).close()


def read(name: str, value: str, reader: Callable[[str], Any]) -> Any:
    """Read the value of an option; an error names both."""
    try:
        return reader(value)
    except ValueError as error:
        shown = value if len(value) <= LONGEST else f"{value[:LONGEST]}..."
        raise ValueError(f"--{name.replace('_', '-')} {shown!r}: {error}") from None


def number_in(text: str) -> int | float:
    """Read a number; a whole one stays an int, as JSON files then show it."""
    try:
        return int(text) if INTEGER.fullmatch(text.strip()) else float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number.") from None


def numbers_in(text: str, form: str) -> list[Any]:
    """Read as many numbers as `form` ("X,Y") has, with commas between them."""
    parts = text.split(",")
    if len(parts) != len(form.split(",")):
        raise ValueError(f"{text!r} is not of the form {form} (pixels of the photo).")
    return [number_in(part) for part in parts]


def box_in(text: str) -> Box:
    """Read "X0,Y0,X1,Y1"."""
    return Box(*numbers_in(text, "X0,Y0,X1,Y1"))


def points_in(text: str) -> list[list[int | float]]:
    """Read "X,Y X,Y ..."."""
    return [numbers_in(point, "X,Y") for point in text.split()]


def strokes_in(text: str) -> list[list[list[int | float]]]:
    """Read "X,Y X,Y; X,Y X,Y"; a semicolon at the end is allowed."""
    strokes = text.split(";")
    return [points_in(stroke) for stroke in (strokes if strokes[-1].strip() else strokes[:-1])]


def mask_in(file: str) -> Mask:
    """Read a mask from a picture file: every pixel that is neither black nor transparent is inside.

    Of a picture with a palette the numbers count, as in the masks of VOC and COCO: all but 0 are inside.
    """
    with open_image(Path(file), file) as picture:
        decode_pixels(picture, file)
        if picture.mode == "P" and "transparency" not in picture.info:
            return Mask(np.asarray(picture) > 0)
        if picture.mode == "1" or picture.mode.startswith(HIGH_BIT_DEPTH_MODES):
            return Mask(np.asarray(picture) != 0)
        pixels: NDArray[np.uint8] = np.asarray(picture.convert("RGBA"))
        return Mask(pixels[..., :3].any(axis=-1) & (pixels[..., 3] > 0))


def heard(file: str) -> Audio:
    """Read a spoken phrase and write it down at once, before any photo is looked at."""
    audio = Audio(file)
    _ = audio.phrase
    return audio


SHAPES: dict[str, Callable[[str], Prompt]] = {
    "point": lambda text: Point(*numbers_in(text, "X,Y")),
    "not_point": lambda text: replace(Point(*numbers_in(text, "X,Y")), positive=False),
    "box": box_in,
    "polygon": lambda text: Polygon(points_in(text)),
    "mask": mask_in,
    "text": Text,
    "audio": heard,
}
MARKS_THERE = ("reference_point", "reference_box", "reference_mask", "reference_text")
LINES: dict[str, Callable[[float], Callable[[str], Prompt]]] = {  # what has a width
    "stroke": lambda width: lambda text: Stroke(points_in(text), width),
    "not_stroke": lambda width: lambda text: Stroke(points_in(text), width, positive=False),
    "scribble": lambda width: lambda text: Scribble(strokes_in(text), width),
    "not_scribble": lambda width: lambda text: Scribble(strokes_in(text), width, positive=False),
}
