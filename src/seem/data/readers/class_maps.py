"""Maps of classes or objects that hold numbers, or colours that a list of classes explains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Int32

from seem.data.image_files import read_labels_of_size, read_rgb, rgb_to_ids, wrong_size_error
from seem.data.readers.label_maps import remap_values
from seem.data.records import DataError, FlawKind, ImageRecord
from seem.errors import SeemError
from seem.images import open_image

Colour: TypeAlias = "tuple[int, int, int]"
"""Red, green, blue."""

VOID_VALUE = 255

_GREY_MODES, _PALETTE_MODES = ("1", "L", "I", "I;16"), ("P", "PA")
_VOID_COLOUR = (224, 224, 192)  # that of 255 in the palette of Pascal VOC
_BLACK = (0, 0, 0)
_MAX_LISTED_COLOURS = 4
_MANY_COLOURS = 256  # that no one draws by hand: JPEG and resizing make them


@dataclass(frozen=True, slots=True)
class Legend:
    """The class number of each colour; `title` is what says so.

    `explains_palettes`: whether of a map with a palette the colours count rather than the indices.
    """

    title: str
    number_of_colour: Mapping[Colour, int]
    explains_palettes: bool = True


def read_class_numbers(file: Path, image: ImageRecord, legend: Legend) -> Int32[np.ndarray, "h w"]:
    """Read the class numbers of a map, written as numbers or as the colours of a legend; 255 is void.

    Raises:
        DataError: the file cannot be read, has another size than its image, or colours that the legend lacks.
    """
    mode = _mode_of(file)
    has_numbers = mode in _GREY_MODES or (mode in _PALETTE_MODES and not legend.explains_palettes)
    if has_numbers or not legend.number_of_colour:
        return read_labels_of_size(file, image.hw, image.image_frame)
    values = _read_colours(file, image)
    numbers = {_code(_BLACK): 0, _code(_VOID_COLOUR): VOID_VALUE}
    numbers |= {_code(colour): number for colour, number in legend.number_of_colour.items()}
    unknown = sorted(set(np.unique(values).tolist()) - numbers.keys())
    if not unknown:
        return remap_values(values, numbers)
    if mode in _PALETTE_MODES or _is_grey(values):
        return read_labels_of_size(file, image.hw, image.image_frame)
    message = f"{file} has {describe_colours(unknown)}, which {legend.title} does not name"
    raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)


def read_object_numbers(file: Path, image: ImageRecord) -> Int32[np.ndarray, "h w"]:
    """Read the object numbers of a map; in one of colours every colour is an object."""
    if _mode_of(file) in (*_GREY_MODES, *_PALETTE_MODES):
        return read_labels_of_size(file, image.hw, image.image_frame)
    values = _read_colours(file, image)
    codes = np.unique(values).tolist()
    numbers = {code: number for number, code in enumerate(codes, VOID_VALUE + 1)}
    numbers |= {_code(_BLACK): 0, _code(_VOID_COLOUR): VOID_VALUE}
    return remap_values(values, numbers)


def voc_colour(number: int) -> Colour:
    """Return Pascal VOC's colour of a class number: its bits, three at a time, from the highest bit of R, G, B down."""
    channels = [0, 0, 0]
    for source in range(8):
        target, channel = divmod(source, 3)
        bit = number >> source & 1
        channels[channel] |= bit << (7 - target)
    red, green, blue = channels
    return red, green, blue


def describe_colours(codes: list[int]) -> str:
    """Name some colours, R + 256 G + 65536 B each: "the colours 128,0,0 and 0,128,0"."""
    if len(codes) > _MANY_COLOURS:
        return f"{len(codes):,} colours, as JPEG or resizing makes them (save it as PNG)"
    listed = " and ".join(map(_describe_colour, codes[:_MAX_LISTED_COLOURS]))
    if len(codes) > _MAX_LISTED_COLOURS:
        listed += f" and {len(codes) - _MAX_LISTED_COLOURS} more"
    noun = "colour" if len(codes) == 1 else "colours"
    return f"the {noun} {listed}"


def _describe_colour(code: int) -> str:
    return f"{code & 255},{code >> 8 & 255},{code >> 16}"


def _read_colours(file: Path, image: ImageRecord) -> Int32[np.ndarray, "h w"]:
    """Read the colours of a map, or of its palette, as R + 256 G + 65536 B."""
    channels = read_rgb(file, hw=image.hw, frame=image.image_frame).astype(np.int32)
    if channels.shape[:2] != image.hw:
        raise wrong_size_error(file, channels.shape[:2], image.hw)
    return rgb_to_ids(channels)


def _is_grey(values: Int32[np.ndarray, "h w"]) -> bool:
    """Whether red, green and blue of all colours are equal, so that a map may hold numbers all the same."""
    red, green, blue = values & 255, values >> 8 & 255, values >> 16
    return bool((red == green).all() and (green == blue).all())


def _mode_of(file: Path) -> str:
    """Return Pillow's mode of an image, or grey for a file that is none, which the reader of numbers reports."""
    try:
        with open_image(file, str(file)) as image:
            return str(image.mode)
    except (SeemError, ValueError, OSError):
        return "L"


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return red + 256 * green + 65536 * blue
