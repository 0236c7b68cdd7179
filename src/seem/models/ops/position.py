"""Sine positions for two-dimensional maps."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sine_position(
    hw: tuple[int, int], dim: int, device: torch.device, dtype: torch.dtype
) -> Float[Tensor, "1 {dim} h w"]:
    """Encode the position of every pixel by sines and cosines of its normalized coordinates.

    The first half of the channels encodes y, the second x; within each, sine and cosine of one frequency are
    neighbours. Coordinates start at 1 and are scaled to 2 pi at the far edge (official behaviour, eps 1e-6).
    """
    half = dim // 2
    axes = []
    for size in hw:
        coordinate = torch.arange(1, size + 1, device=device, dtype=dtype) * (
            2 * math.pi / (size + 1e-6)
        )
        wavelength = 10000 ** (2 * (torch.arange(half, device=device) // 2).to(dtype) / half)
        angle = coordinate[:, None] / wavelength
        axes.append(torch.stack((angle[:, 0::2].sin(), angle[:, 1::2].cos()), dim=2).flatten(1))
    y, x = axes
    height, width = hw
    grid = torch.cat((y[:, None].expand(-1, width, -1), x[None].expand(height, -1, -1)), dim=-1)
    return grid.permute(2, 0, 1)[None]
