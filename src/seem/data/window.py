"""The window of an image that a training sample shows: one affine map for pixels and masks, so that they agree.

Frames: bank pixels are those of a `BankedImage`, canvas pixels those of the square sample; both by index, that is, with
pixel centres at whole numbers. The upper left part of the canvas, `valid_hw`, holds the window, the rest is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from seem.data.augmentation import Augmentation
from seem.data.banked_image import BankedImage, BankedObject

PAD_RGB = (124, 116, 104)
"""Colour of padding: the mean colour that image normalisation subtracts, so that padding is zero to the network."""

_AVERAGE_BELOW_SCALE = 0.8  # from here down pixels are averaged before they are resampled
_INSIDE_FROM = 127  # soft masks hold 0 to 255; above this is inside


@dataclass(frozen=True, slots=True)
class ImageWindow:
    """A window: `to_canvas` maps bank pixel indices (x, y, 1) to canvas ones, `scale` is its mean enlargement."""

    to_canvas: Float64[np.ndarray, "3 3"]
    valid_hw: tuple[int, int]
    scale: float
    is_flipped: bool
    image_fraction: float  # of the image's area that is in the window
    is_quarter_turned: bool = False  # left and right, above and below no longer hold


@dataclass(frozen=True, slots=True)
class MaskPatch:
    """A mask inside its bounding rectangle on the canvas, whose upper left pixel is (x, y)."""

    x: int
    y: int
    inside: Bool[np.ndarray, "h w"]
    visible_fraction: float  # of the object that the window shows

    @property
    def area(self) -> int:
        """Mask pixels."""
        return int(np.count_nonzero(self.inside))


def choose_window(
    image: BankedImage,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    preferred_name: str | None = None,
) -> ImageWindow:
    """Draw the window of one sample with a canvas of `size` pixels.

    It keeps an object of the class `preferred_name` inside, if the image has one, else any object.
    """
    height, width = image.image.shape[:2]
    target = _choose_target(image, rng, preferred_name)
    side = _choose_side(max(height, width), target, rng, augmentation)
    side = max(side, size / augmentation.max_enlargement)
    window_wh = _stretch(side, max(height, width), rng, augmentation)
    x0, y0, x1, y1 = (0, 0, width, height) if target is None else target.box
    left, right = _choose_span(window_wh[0], width, x0, x1, rng)
    top, bottom = _choose_span(window_wh[1], height, y0, y1, rng)
    scale_x, scale_y = size / window_wh[0], size / window_wh[1]
    valid_hw = (
        _num_pixels((bottom - top) * scale_y, size),
        _num_pixels((right - left) * scale_x, size),
    )
    to_canvas = np.array(
        [
            [scale_x, 0, (0.5 - left) * scale_x - 0.5],
            [0, scale_y, (0.5 - top) * scale_y - 0.5],
            [0, 0, 1.0],
        ]
    )
    if rng.random() < augmentation.p_rotate:
        degrees = rng.uniform(-augmentation.degrees, augmentation.degrees)
        to_canvas = _rotation(valid_hw, np.deg2rad(degrees)) @ to_canvas
    is_flipped = bool(rng.random() < augmentation.p_flip)
    if is_flipped:
        to_canvas = _mirroring(valid_hw[1]) @ to_canvas
    is_quarter_turned = augmentation.p_quarter > 0 and bool(rng.random() < augmentation.p_quarter)
    if is_quarter_turned:
        to_canvas = _quarter_turn(valid_hw, rng) @ to_canvas
        valid_hw = valid_hw[::-1]
    return ImageWindow(
        to_canvas=to_canvas,
        valid_hw=valid_hw,
        scale=(scale_x * scale_y) ** 0.5,
        is_flipped=is_flipped,
        image_fraction=(right - left) * (bottom - top) / (width * height),
        is_quarter_turned=is_quarter_turned,
    )


def warp_pixels(
    pixels: UInt8[np.ndarray, "h w 3"], window: ImageWindow
) -> UInt8[np.ndarray, "vh vw 3"]:
    """Resample the image; a strong reduction is averaged first, as at inference, so that nothing flickers."""
    import cv2

    to_canvas = window.to_canvas
    if window.scale < _AVERAGE_BELOW_SCALE:
        height, width = pixels.shape[:2]
        reduced_width = max(1, round(width * window.scale))
        reduced_height = max(1, round(height * window.scale))
        reduced_wh = reduced_width, reduced_height
        pixels = cv2.resize(pixels, reduced_wh, interpolation=cv2.INTER_AREA)
        to_canvas = to_canvas @ _from_reduced(reduced_width / width, reduced_height / height)
    # The image's own border pixels go on over the half pixel where the window ends; a rotation shows padding beyond.
    is_upright = 0.0 in to_canvas[0, :2].tolist()
    border = cv2.BORDER_REPLICATE if is_upright else cv2.BORDER_CONSTANT
    return np.asarray(
        cv2.warpAffine(
            pixels,
            to_canvas[:2],
            window.valid_hw[::-1],
            flags=cv2.INTER_LINEAR,
            borderMode=border,
            borderValue=PAD_RGB,
        )
    )


def warp_object(entry: BankedObject, window: ImageWindow) -> MaskPatch | None:
    """Resample the mask of one object, touching only the pixels around it; None when it is out of the window."""
    import cv2

    x0, y0, x1, y1 = entry.box
    corners = np.array([[x0, x1, x0, x1], [y0, y0, y1, y1]])
    linear, shift = window.to_canvas[:2, :2], window.to_canvas[:2, 2:]
    canvas_corners = linear @ corners + shift
    low = np.floor(canvas_corners.min(axis=1)).astype(int) - 1
    high = np.ceil(canvas_corners.max(axis=1)).astype(int) + 1
    valid_height, valid_width = window.valid_hw
    left, top = np.maximum(low, 0).tolist()
    right, bottom = np.minimum(high, (valid_width, valid_height)).tolist()
    if right <= left or bottom <= top:
        return None
    to_patch = window.to_canvas[:2].copy()
    to_patch[:, 2] += to_patch[:, :2] @ (x0, y0) - (left, top)
    soft_mask = cv2.warpAffine(
        entry.soft_mask, to_patch, (right - left, bottom - top), flags=cv2.INTER_LINEAR
    )
    inside = np.asarray(soft_mask) > _INSIDE_FROM
    area = int(np.count_nonzero(inside))
    if area == 0:
        return None
    full_area = max(1.0, entry.area * window.scale**2)
    return MaskPatch(left, top, inside, visible_fraction=area / full_area)


def draw_patches(patches: Sequence[MaskPatch], size: int) -> Bool[np.ndarray, "n s s"]:
    """Draw each patch as a mask of the canvas."""
    masks = np.zeros((len(patches), size, size), bool)
    for mask, patch in zip(masks, patches, strict=True):
        height, width = patch.inside.shape
        mask[patch.y : patch.y + height, patch.x : patch.x + width] = patch.inside
    return masks


def _choose_target(
    image: BankedImage, rng: np.random.Generator, preferred_name: str | None
) -> BankedObject | None:
    """Draw the object that the window keeps: first a class (the preferred one, if it is there), then an object."""
    if not image.objects:
        return None
    by_name: dict[str, list[BankedObject]] = {}
    for entry in image.objects:
        by_name.setdefault(entry.name, []).append(entry)
    if preferred_name in by_name:
        entries = by_name[preferred_name]
    else:
        entries = list(by_name.values())[int(rng.integers(len(by_name)))]
    return entries[int(rng.integers(len(entries)))]


def _choose_side(
    longest_side: int,
    target: BankedObject | None,
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> float:
    """Draw the side of the window in bank pixels: around the target, the full image, or a fraction of it."""
    choice = rng.random()
    if augmentation.jitter is not None:
        return float(longest_side / rng.uniform(*augmentation.jitter))
    if target is not None and choice < augmentation.p_zoom:
        x0, y0, x1, y1 = target.box
        zoom = float(np.exp(rng.uniform(*np.log(augmentation.zoom))))
        target_side = max(x1 - x0, y1 - y0)
        return min(target_side * zoom, longest_side * augmentation.window[1])
    if target is not None:
        choice -= augmentation.p_zoom
    if choice < augmentation.p_whole:
        return float(longest_side)
    return float(longest_side * rng.uniform(*augmentation.window))


def _stretch(
    side: float,
    longest_side: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> tuple[float, float]:
    """Draw the aspect of a window that is smaller than the image; returns width and height."""
    log_aspect = rng.uniform(-augmentation.aspect, augmentation.aspect)
    stretch = float(np.exp(log_aspect)) ** 0.5
    if side >= longest_side:
        return side, side
    return side * stretch, side / stretch


def _choose_span(
    window: float, length: int, low: float, high: float, rng: np.random.Generator
) -> tuple[float, float]:
    """Draw where a window lies on 0..length so that low..high stays inside, or is crossed when it is longer."""
    if window >= length:
        return 0.0, float(length)
    first, last = sorted((high - window, low))
    latest = max(0.0, min(length - window, last), first)
    start = rng.uniform(max(0.0, first), latest)
    start = min(max(start, 0.0), length - window)
    return start, start + window


def _rotation(valid_hw: tuple[int, int], angle: float) -> Float64[np.ndarray, "3 3"]:
    """Rotate about the middle of the valid rectangle."""
    height, width = valid_hw
    cx, cy = (width - 1) / 2, (height - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    shift_x = cx - cos * cx + sin * cy
    shift_y = cy - sin * cx - cos * cy
    return np.array(
        [
            [cos, -sin, shift_x],
            [sin, cos, shift_y],
            [0, 0, 1.0],
        ]
    )


def _mirroring(width: int) -> Float64[np.ndarray, "3 3"]:
    """Exchange left and right of the valid rectangle."""
    return np.array(
        [
            [-1, 0, width - 1],
            [0, 1, 0],
            [0, 0, 1.0],
        ]
    )


def _quarter_turn(
    valid_hw: tuple[int, int], rng: np.random.Generator
) -> Float64[np.ndarray, "3 3"]:
    """Turn to either side; the canvas is square: rows become columns, mirrored along one of the two."""
    height, width = valid_hw
    clockwise = ((0, -1, height - 1), (1, 0, 0), (0, 0, 1.0))
    anticlockwise = ((0, 1, 0), (-1, 0, width - 1), (0, 0, 1.0))
    return np.array((clockwise, anticlockwise)[int(rng.integers(2))])


def _from_reduced(scale_x: float, scale_y: float) -> Float64[np.ndarray, "3 3"]:
    """Map pixel indices of an image that was reduced by these factors to those of the image."""
    return np.array(
        [
            [1 / scale_x, 0, 0.5 / scale_x - 0.5],
            [0, 1 / scale_y, 0.5 / scale_y - 0.5],
            [0, 0, 1.0],
        ]
    )


def _num_pixels(length: float, size: int) -> int:
    return min(max(1, round(length)), size)
