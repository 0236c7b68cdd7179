"""Mask logits: from embeddings to maps, and from maps to attention masks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def dot(
    mask_embeddings: Float[Tensor, "b q c"], mask_features: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b q h w"]:
    """Return mask logits: the product of each query's embedding with every pixel's features.

    In bfloat16 the pixels are the rows of the product: behind the published backbones they lie so in memory.
    """
    pixels = mask_features.flatten(2)
    if pixels.dtype is torch.bfloat16:
        products = (pixels.mT @ mask_embeddings.mT).mT.contiguous()
    else:
        products = mask_embeddings @ pixels
    return torch.unflatten(products, -1, mask_features.shape[-2:])


def resize(
    maps: Float[Tensor, "b q h w"], hw: tuple[int, int]
) -> Float[Tensor, "b q {hw[0]} {hw[1]}"]:
    """Resize by bilinear interpolation, half-pixel centres, no antialiasing (SEEM's rule for mask logits)."""
    return F.interpolate(maps, size=hw, mode="bilinear", align_corners=False)


def shrink_or_grow(
    maps: Float[Tensor, "b q h w"], hw: tuple[int, int], resampling: Literal["bilinear", "bicubic"]
) -> Float[Tensor, "b q {hw[0]} {hw[1]}"]:
    """Resize by a version's rule: bilinear as above, or antialiased bicubic (X-Decoder).

    The latter in float32 at least: PyTorch has it in half precision on some devices only.
    """
    if resampling == "bilinear":
        return resize(maps, hw)
    wide = maps.to(torch.promote_types(maps.dtype, torch.float32))
    return F.interpolate(wide, size=hw, mode="bicubic", align_corners=False, antialias=True).to(
        maps.dtype
    )


def visible_pixels(logits: Float[Tensor, "b q h w"]) -> Bool[Tensor, "b q hw"]:
    """Return the pixels that a query attends to: the foreground of its mask logits, or all if there is none."""
    inside = logits.flatten(2) >= 0
    return inside | ~inside.any(dim=-1, keepdim=True)


def cell_means(
    maps: Float[Tensor, "b q h w"], hw: tuple[int, int]
) -> Float[Tensor, "b q {hw[0]} {hw[1]}"]:
    """Average maps over the cells of a coarser grid."""
    window = _even_window(maps, hw)
    return F.adaptive_avg_pool2d(maps, hw) if window is None else F.avg_pool2d(maps, window)


def cell_maxima(
    maps: Float[Tensor, "b q h w"], hw: tuple[int, int]
) -> Float[Tensor, "b q {hw[0]} {hw[1]}"]:
    """Take the maximum of maps over the cells of a coarser grid."""
    window = _even_window(maps, hw)
    return F.adaptive_max_pool2d(maps, hw) if window is None else F.max_pool2d(maps, window)


def _even_window(maps: Tensor, hw: tuple[int, int]) -> tuple[int, int] | None:
    """Return the pixels of a cell where all cells have equally many; such windows can be exported."""
    height, width = maps.shape[-2:]
    if height % hw[0] or width % hw[1]:
        return None
    return int(height // hw[0]), int(width // hw[1])


def map_hw(maps: Tensor) -> tuple[int, int]:
    """Return height and width of a batch of maps."""
    return maps.shape[-2], maps.shape[-1]
