"""Random colours, blur and compression of training images."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from seem.data.augmentation import Augmentation

_MAX_HUE_STEPS = 13  # of 256: 18 degrees


def jitter_colours(
    pixels: UInt8[np.ndarray, "h w 3"],
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> UInt8[np.ndarray, "h w 3"]:
    """Change colours, blur and compress an image, each by its probability."""
    colour, hue, grey, blur, jpeg = rng.random(5)
    if colour < augmentation.p_colour:
        pixels = _jitter_tone(pixels, rng)
    if hue < augmentation.p_hue:
        pixels = _rotate_hue(pixels, rng)
    if grey < augmentation.p_grey:
        pixels = _to_grey(pixels)
    if blur < augmentation.p_blur:
        pixels = _blur(pixels, rng)
    if jpeg < augmentation.p_jpeg:
        pixels = _compress_as_jpeg(pixels, rng)
    return pixels


def _jitter_tone(
    pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    """Change saturation, then gamma, contrast, brightness and white balance in one table a channel."""
    import cv2

    saturation = rng.uniform(0.6, 1.4)
    pixels = cv2.addWeighted(pixels, saturation, _to_grey(pixels), 1 - saturation, 0)
    gamma = np.exp(rng.uniform(-0.25, 0.25))
    tone = np.linspace(0, 1, 256) ** gamma
    contrast = rng.uniform(0.75, 1.25)
    brightness = rng.uniform(-0.12, 0.12)
    tone = (tone - 0.45) * contrast + 0.45 + brightness
    table = tone[:, None] * (1 + rng.uniform(-0.06, 0.06, 3))
    levels = np.rint(table * 255).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, levels[None]))


def _rotate_hue(
    pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    hsv = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL))
    num_steps = int(rng.integers(-_MAX_HUE_STEPS, _MAX_HUE_STEPS + 1))
    rotated = (np.arange(256) + num_steps) % 256
    hue = np.ascontiguousarray(hsv[..., 0])
    hsv[..., 0] = cv2.LUT(hue, rotated.astype(np.uint8))
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL))


def _to_grey(pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB))


def _blur(
    pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    sigma = rng.uniform(0.4, 1.4)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma))


def _compress_as_jpeg(
    pixels: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"]:
    import cv2

    quality = int(rng.integers(30, 85))
    _, code = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
