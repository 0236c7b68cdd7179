"""Mask logits from the network's frame back to the image's.

Sizes of one image: `padded_hw` is what the network saw, `input_hw` the part of it that holds the image, `output_hw` the
size of the result (usually the image's own).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.ops.masks import shrink_or_grow


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """The three sizes of one image, (height, width) each, and the version's rule for the first step back."""

    padded_hw: tuple[int, int]
    input_hw: tuple[int, int]
    output_hw: tuple[int, int]
    resampling: Literal["bilinear", "bicubic"] = "bilinear"
    """How masks grow to the padded size: bilinear (SEEM), or antialiased bicubic (X-Decoder)."""


def to_image_size(logits: Float[Tensor, "n h w"], frame: ImageFrame) -> Float[Tensor, "n H W"]:
    """Resize mask logits to the image: bilinear to the padded size, crop, antialiased bicubic to the output.

    Official behaviour of every SEEM evaluation (`sem_seg_postprocess`).
    """
    return to_output_size(to_input_size(logits, frame), frame)


def to_input_size(logits: Float[Tensor, "n h w"], frame: ImageFrame) -> Float[Tensor, "n hi wi"]:
    """Resize mask logits to the padded size and cut off the padding."""
    height, width = frame.input_hw
    if not len(logits):
        return logits.new_zeros(0, height, width)
    padded = shrink_or_grow(logits[None], frame.padded_hw, frame.resampling)[0]
    return padded[:, :height, :width]


def to_output_size(logits: Float[Tensor, "n hi wi"], frame: ImageFrame) -> Float[Tensor, "n H W"]:
    """Resize unpadded mask logits to the image."""
    if not len(logits):
        return logits.new_zeros(0, *frame.output_hw)
    if logits.shape[-2:] == frame.output_hw:
        return logits
    return F.interpolate(
        logits[None], size=frame.output_hw, mode="bicubic", align_corners=False, antialias=True
    )[0]


def each_to_image_size(
    logits: Float[Tensor, "n h w"], frame: ImageFrame
) -> Iterator[Float[Tensor, "H W"]]:
    """Resize one mask after the other: many masks of a large image are never in memory together."""
    return (to_image_size(one[None], frame)[0] for one in logits)


def to_image_masks(
    logits: Float[Tensor, "n h w"], frame: ImageFrame, threshold: float = 0.0
) -> Bool[Tensor, "n H W"]:
    """Resize and threshold, one mask at a time."""
    masks = torch.empty((len(logits), *frame.output_hw), dtype=torch.bool, device=logits.device)
    for mask, resized in zip(masks, each_to_image_size(logits, frame), strict=True):
        torch.gt(resized, threshold, out=mask)
    return masks
