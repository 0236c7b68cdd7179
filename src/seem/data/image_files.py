"""Photos, label maps and folders of them on disk, in the stored frame.

An EXIF rotation is applied only where a photo's record gives its size as shown, not as stored.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
from jaxtyping import Int32, Integer, UInt8
from PIL import Image

from seem.data.records import DataError, FlawKind
from seem.errors import SeemError
from seem.images import TRANSPOSE_OF_ORIENTATION, decode_pixels, exif_orientation, open_image, to_rgb

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
SIDEWAYS = {turn for number, turn in TRANSPOSE_OF_ORIENTATION.items() if number >= 5}


def image_hw(path: Path) -> tuple[int, int]:
    """Read height and width from a file's header.

    Raises:
        DataError: the file is missing or no picture.
    """
    try:
        with open_image(path, str(path)) as picture:
            return picture.height, picture.width
    except (SeemError, ValueError, OSError) as error:
        raise DataError(str(error)) from error


def read_rgb(
    path: Path, content: io.BytesIO | None = None, hw: tuple[int, int] | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Decode a photo: the file, or the `content` that was read from inside another one.

    With `hw`, its size as annotated, a photo is turned as EXIF says if that gives it this size.

    Raises:
        DataError: the file is missing, damaged or no picture.
    """
    try:
        with open_image(content or path, str(path)) as picture:
            decode_pixels(picture, str(path))
            rgb, turn = to_rgb(picture)[0], TRANSPOSE_OF_ORIENTATION.get(exif_orientation(picture))
            if hw is not None and turn in SIDEWAYS and (rgb.height, rgb.width) == hw[::-1] != hw:
                rgb = rgb.transpose(turn)
            return np.asarray(rgb)
    except (SeemError, ValueError, OSError) as error:
        raise DataError(str(error)) from error


def read_channels(path: Path) -> Integer[np.ndarray, "h w c"]:
    """Read the numbers of a PNG, TIFF or BMP as they are stored, palette indices and all, channels last.

    Raises:
        DataError: the file is missing, damaged or no picture.
    """
    try:
        with open_image(path, str(path)) as picture:
            decode_pixels(picture, str(path))
            values = np.asarray(picture)
    except (SeemError, ValueError, OSError) as error:
        if not path.exists():
            raise DataError(f"{path} is missing", FlawKind.MISSING_MASK_FILE) from error
        raise DataError(str(error), FlawKind.UNREADABLE_MASK_FILE) from error
    if values.dtype.kind not in "uib":
        message = f"{path} holds {values.dtype} numbers; a label map is a PNG of whole numbers."
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return values[:, :, None] if values.ndim == 2 else values


def read_labels(path: Path) -> Int32[np.ndarray, "h w"]:
    """Read a map of whole numbers; a colour picture will do if its channels are equal.

    Raises:
        DataError: the file cannot be read, or holds colours.
    """
    values = read_channels(path)
    colours = values[:, :, :3] if values.shape[2] > 2 else values[:, :, :1]
    if not (colours == colours[:, :, :1]).all():
        message = f"{path} holds colours; a label map has one number a pixel, save it as an indexed or grey PNG."
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
    return colours[:, :, 0].astype(np.int32)


def read_colour_ids(path: Path) -> Int32[np.ndarray, "h w"]:
    """Read a COCO panoptic map: id = R + 256 G + 65536 B."""
    values = read_channels(path).astype(np.int32)
    if values.shape[2] < 3:
        message = f"{path} has {values.shape[2]} channel(s); a panoptic map is an RGB picture, R + 256 G + 65536 B."
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
    return np.asarray(values[:, :, 0] + 256 * values[:, :, 1] + 65536 * values[:, :, 2])


def wrong_size(path: Path, stored_hw: tuple[int, ...], hw: tuple[int, int]) -> NoReturn:
    """Raise `DataError` for a mask file that does not have the size of its photo."""
    turned = " (turned: does the photo carry an EXIF rotation?)" if tuple(stored_hw) == hw[::-1] else ""
    message = f"{path} is {stored_hw[0]} x {stored_hw[1]} (h, w), its photo {hw[0]} x {hw[1]}{turned}"
    raise DataError(message, FlawKind.WRONG_SIZE)


def exact_labels(path: Path, hw: tuple[int, int]) -> Int32[np.ndarray, "h w"]:
    """Read a map of whole numbers that must have the photo's size; `DataError` otherwise."""
    labels = read_labels(path)
    if labels.shape != hw:
        wrong_size(path, labels.shape, hw)
    return labels


def in_frame(labels: Int32[np.ndarray, "h w"], hw: tuple[int, int], path: Path) -> Int32[np.ndarray, "h2 w2"]:
    """Bring a map that was stored at another size to the photo's, without inventing values.

    Raises:
        DataError: its shape is another one, so that it cannot belong to this photo.
    """
    if labels.shape == hw:
        return labels
    if abs(labels.shape[0] * hw[1] - labels.shape[1] * hw[0]) > max(*labels.shape, *hw):
        wrong_size(path, labels.shape, hw)
    rows, columns = (
        np.minimum(((np.arange(length) + 0.5) * stored / length).astype(np.int64), stored - 1)
        for length, stored in zip(hw, labels.shape, strict=True)
    )
    return np.asarray(labels[rows[:, None], columns])


def is_sideways(path: Path) -> bool:
    """Whether EXIF turns a photo by a quarter."""
    return orientation(path) >= 5


def orientation(path: Path) -> int:
    """Return the EXIF orientation of a photo, 1 = upright or unknown."""
    try:
        with Image.open(path) as picture:
            return exif_orientation(picture)
    except Exception:  # no picture, which others report
        return 1


def photos_in(folder: Path, *, deep: bool = False) -> list[Path]:
    """List the pictures of a folder by name (`deep`: of its sub-folders too); hidden files are passed over."""
    if not folder.is_dir():
        return []
    found: Iterable[Path] = folder.rglob("*") if deep else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith("."))


def by_stem(folder: Path, *, deep: bool = False) -> Mapping[str, Path]:
    """Index the pictures of a folder by name without ending."""
    return {path.stem: path for path in photos_in(folder, deep=deep)}


def folders_in(folder: Path) -> list[Path]:
    """List sub-folders by name; hidden ones are passed over."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def first_folder(*candidates: Path) -> Path | None:
    """Return the first of several places that is a folder."""
    return next((place for place in candidates if place.is_dir()), None)


def inside(path: Path, folder: Path) -> str:
    """Word a path from a folder on, for messages."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else os.fspath(path)
