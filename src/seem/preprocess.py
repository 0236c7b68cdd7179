"""From a photo to what a network sees: resized, normalised, padded."""

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

MIN_SHORT_SIDE = 32  # short side in network pixels: one pixel of the coarsest feature map


def preprocess_image(photo: InputImage, config: ImageConfig, size: int | None = None) -> ImageBatch:
    """Resize (antialiased bicubic), normalise and pad a photo; `ValueError` for a size that cannot be."""
    height, width = network_size(photo.hw, config, check_short_side(size, config))
    resized = photo.picture.resize((width, height), Image.Resampling.BICUBIC)
    return normalize_and_pad(np.asarray(resized), config)


def check_short_side(size: object, config: ImageConfig) -> int | None:
    """Return a short side that a network can be asked to see, None for its own."""
    if size is None:
        return None
    if isinstance(size, Integral) and MIN_SHORT_SIDE <= int(size) <= config.largest:
        return int(size)
    raise ValueError(
        f"size is {size!r}; the short side is a whole number of pixels, "
        f"at least {MIN_SHORT_SIDE}, at most {config.largest}."
    )


def network_size(hw: tuple[int, int], config: ImageConfig, size: int | None = None) -> tuple[int, int]:
    """Return the network size of a photo: short side as configured unless the long side would pass its limit."""
    short = size or config.short_side
    long = config.long_side * short / config.short_side
    scale = min(short / min(hw), long / max(hw))
    return max(1, int(hw[0] * scale + 0.5)), max(1, int(hw[1] * scale + 0.5))


def normalize_and_pad(pixels: NDArray[np.uint8], config: ImageConfig) -> ImageBatch:
    """Normalise an H x W x 3 picture that has its network size, and pad it with zeros."""
    raw = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))
    height, width = pixels.shape[:2]
    padding = (0, -width % config.divisor, 0, -height % config.divisor)
    return ImageBatch(F.pad((raw - mean) / std, padding), ((height, width),))
