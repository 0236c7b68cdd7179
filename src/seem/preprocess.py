"""From an image to the network's input: resized, normalised, padded."""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from seem.config import ImageConfig
from seem.images import InputImage
from seem.models.structures import ImageBatch

MIN_SHORT_SIDE = 32  # network pixels: one pixel of the coarsest feature map


def preprocess_image(image: InputImage, config: ImageConfig, size: int | None = None) -> ImageBatch:
    """Resize (antialiased bicubic), normalise and pad an image.

    `size` is the short side in network pixels, None for the network's own; `ValueError` for one that cannot be.
    """
    height, width = network_size(image.hw, config, check_short_side(size, config))
    resized = image.rgb.resize((width, height), Image.Resampling.BICUBIC)
    return normalize_and_pad(np.asarray(resized), config)


def check_short_side(size: object, config: ImageConfig) -> int | None:
    """Return a short side (network pixels) that an image can be resized to, None for the network's own."""
    if size is None:
        return None
    if isinstance(size, Integral) and MIN_SHORT_SIDE <= int(size) <= config.largest:
        return int(size)
    raise ValueError(
        f"size is {size!r}; the short side is a whole number of pixels, "
        f"at least {MIN_SHORT_SIDE}, at most {config.largest}."
    )


def network_size(
    hw: tuple[int, int], config: ImageConfig, size: int | None = None
) -> tuple[int, int]:
    """Return the network size of an image: short side as configured unless the long side would pass its limit."""
    height, width = hw
    short_side = size or config.short_side
    long_side = config.long_side * short_side / config.short_side
    scale = min(short_side / min(hw), long_side / max(hw))
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))


def normalize_and_pad(pixels: NDArray[np.uint8], config: ImageConfig) -> ImageBatch:
    """Normalise H x W x 3 pixels at network size, and pad them with zeros to a multiple of `config.divisor`."""
    height, width = pixels.shape[:2]
    rgb = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    mean = torch.tensor(config.mean)[:, None, None]
    std = torch.tensor(config.std)[:, None, None]
    pad_right, pad_bottom = -width % config.divisor, -height % config.divisor
    padded = F.pad((rgb - mean) / std, (0, pad_right, 0, pad_bottom))
    return ImageBatch(padded, ((height, width),))
