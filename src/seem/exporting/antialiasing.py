"""Antialiased bicubic shrinking as convolutions.

`Resize` of ONNX has it, but OpenVINO 2026.4 ignores its attribute `antialias` without a word.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SHARPNESS = -0.5  # of the cubic kernel, as in Pillow and in PyTorch's antialiased resizing
REACH = 2  # cells of the shrunk map that the kernel reaches to either side


def shrink_bicubic(maps: Float[Tensor, "1 c h w"], factor: int) -> Float[Tensor, "1 c h2 w2"]:
    """Shrink maps by an even factor that divides their sides, as `F.interpolate` does with `antialias=True`."""
    kernel = cubic_kernel(factor).to(maps)
    channels = maps.transpose(0, 1)
    shrunk = shrink_rows(shrink_rows(channels, kernel, factor).mT, kernel, factor).mT
    return shrunk.transpose(0, 1)


def shrink_rows(
    maps: Float[Tensor, "c 1 h w"], kernel: Float[Tensor, " k"], factor: int
) -> Float[Tensor, "c 1 h2 w"]:
    """Shrink the height of maps; at the border the kernel is divided by its part inside."""
    weight, padding = kernel[None, None, :, None], (3 * factor // 2, 0)
    inside = torch.ones_like(maps[:1, :, :, :1])
    sums, parts = (
        F.conv2d(each, weight, stride=(factor, 1), padding=padding) for each in (maps, inside)
    )
    return sums / parts


def cubic_kernel(factor: int) -> Float[Tensor, " k"]:
    """Return the weights of the cells that one cell of the shrunk map is made of."""
    num_cells = 2 * REACH * factor
    distance = ((torch.arange(num_cells) + 0.5) / factor - REACH).abs()
    near = (SHARPNESS + 2) * distance**3 - (SHARPNESS + 3) * distance**2 + 1
    far = SHARPNESS * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return torch.where(distance < 1, near, far)
