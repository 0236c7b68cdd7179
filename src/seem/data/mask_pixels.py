"""What the pixels of a mask file mean: numbers of few bits, objects in an alpha channel, edges that were smoothed.

Nothing here knows about data sets: arrays come in, arrays go out.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Integer
from PIL import Image

HALF = 128
LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".jfif", ".jpe"})

_SCALE_OF_BITS = {"2": 85, "4": 17}  # by which Pillow multiplies grey of 2 and 4 bits
_EDGE_WIDTH = 8  # pixels that a smoothed edge is wide at most
_MAX_FLAT_SHARE = 0.05  # of the pixels of smoothed edges, those within an area of one value
_MIN_NEAR_SHARE = 0.9

Values: TypeAlias = 'Integer[np.ndarray, "h w"]'
Channels: TypeAlias = 'Integer[np.ndarray, "h w c"]'


# --- Decoding ---------------------------------------------------------------------------------------------------------


def grey_scale_factor(image: Image.Image) -> int:
    """Return by what Pillow multiplies the numbers of an opened image as it decodes them: 1 but for 2 and 4 bits."""
    tiles = getattr(image, "tile", None)
    if image.mode != "L" or not tiles:
        return 1
    arguments = tiles[0][3]
    raw_mode = arguments
    if not isinstance(arguments, str):
        raw_mode = next(iter(arguments or ()), "")
    kind, _, bits = str(raw_mode).partition(";")
    if kind != "L":
        return 1
    return _SCALE_OF_BITS.get(bits[:1], 1)


def stored_numbers(image: Image.Image, factor: int) -> np.ndarray:
    """Return the numbers of a decoded image as its file holds them: palette indices, grey of any depth, colours.

    A GIF has a palette whatever was saved: where that is grey, its greys are the numbers.
    """
    values = np.asarray(image)
    if factor > 1:
        return np.asarray(values // np.uint8(factor))
    if image.format == "GIF" and image.mode == "P":
        colours = np.asarray(image.convert("RGB"))
        if (colours == colours[:, :, :1]).all():
            return np.asarray(colours[:, :, 0])
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        return np.asarray(values.astype(np.int64))
    return values


# --- One object -------------------------------------------------------------------------------------------------------


def alpha_object(channels: Channels) -> Bool[np.ndarray, "h w"] | None:
    """Return the opaque pixels if an object is held in alpha; None for channels without alpha, or with a flat one.

    A mask of black and one other colour that is drawn on a transparent image is what is opaque and not black.
    """
    if channels.shape[2] not in (2, 4):
        return None
    alpha = channels[:, :, -1]
    is_opaque = np.asarray(alpha > np.iinfo(channels.dtype).max // 2)
    if is_opaque.all() or not is_opaque.any():
        return None
    colours = channels[is_opaque][:, :-1]
    is_black = (colours == 0).all(axis=1)
    if is_black.any() and len(np.unique(colours, axis=0)) == 2:
        is_opaque[is_opaque] = ~is_black
    return is_opaque


def object_pixels(channels: Channels, *, is_lossy: bool) -> Bool[np.ndarray, "h w"]:
    """Return the object of a file that shows one: what is opaque, or not black; a smoothed edge is cut at its half."""
    opaque = alpha_object(channels)
    if opaque is not None:
        return opaque
    grey = without_alpha(channels).max(axis=2)
    if is_smoothed(grey) or (is_lossy and grey.max() >= HALF):
        return np.asarray(grey >= HALF)
    return np.asarray(grey > 0)


def without_alpha(channels: Channels) -> Integer[np.ndarray, "h w c2"]:
    """Return red, green and blue, or the one grey channel."""
    num_colours = 3 if channels.shape[2] > 2 else 1
    return channels[:, :, :num_colours]


def is_smoothed(values: Values) -> bool:
    """Whether a map is a mask of 0 and a bright value with grey edges, as resizing makes it, and no map of numbers.

    Between the two are values that lie near the bright ones and form no area of their own.
    """
    peak = int(values.max(initial=0))
    if peak < HALF or peak >= 2 * HALF:
        return False
    is_between = (values > 0) & (values < peak)
    is_peak = values == peak
    if not is_between.any():
        return False
    is_flat = _has_equal_neighbours(values)
    if not (is_flat & is_peak).any() or is_flat[is_between].mean() > _MAX_FLAT_SHARE:
        return False
    return bool(_grow(is_peak, _EDGE_WIDTH)[is_between].mean() >= _MIN_NEAR_SHARE)


def _has_equal_neighbours(values: Values) -> Bool[np.ndarray, "h w"]:
    """Return the pixels whose neighbours above, below, left and right have the same value."""
    is_flat = np.ones(values.shape, bool)
    is_changed = values[1:] != values[:-1]
    is_flat[1:] &= ~is_changed
    is_flat[:-1] &= ~is_changed
    is_changed = values[:, 1:] != values[:, :-1]
    is_flat[:, 1:] &= ~is_changed
    is_flat[:, :-1] &= ~is_changed
    return is_flat


def _grow(mask: Bool[np.ndarray, "h w"], width: int) -> Bool[np.ndarray, "h w"]:
    """Grow a mask by `width` pixels, along rows and columns alike."""
    grown: Bool[np.ndarray, "h w"] = np.array(mask)
    for _ in range(width):
        before = np.array(grown)
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown
