"""FocalNet: convolutions that look at a growing neighbourhood, gated by the pixel itself.

Yang et al., "Focal Modulation Networks" (NeurIPS 2022), in the two variants of the official checkpoints. Focal-T: two
3x3 depthwise convolutions a block, layer scale on the branches, normalisation after the residual sum. Focal-L: no
convolutions, each branch normalised, then scaled.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import FocalNetConfig
from seem.models.structures import Pyramid


class FocalNet(nn.Module):
    """Photo to four feature maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: FocalNetConfig) -> None:
        super().__init__()
        self.dims = config.dims
        block_class, stem_padding = VARIANTS[config.variant]
        self.stem = PatchConv(3, config.dims[0], kernel=7, stride=4, padding=stem_padding)
        self.stages = nn.ModuleList()
        for dim, depth in zip(config.dims, config.depths, strict=True):
            self.stages.append(nn.ModuleList(block_class(dim, config) for _ in range(depth)))
        self.downsamples = nn.ModuleList(
            PatchConv(dim, 2 * dim, kernel=3, stride=2, padding=1) for dim in config.dims[:-1]
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for dim in config.dims)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """Return features with channels `config.dims`; outputs are normalised, what flows on is not."""
        x = self.stem(pixels)
        maps = []
        for i, stage in enumerate(self.stages):
            if i > 0:
                x = self.downsamples[i - 1](x.permute(0, 3, 1, 2))
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            maps.append(self.norms[i](x).permute(0, 3, 1, 2))
        return Pyramid(tuple(maps))


class PatchConv(nn.Module):
    """Strided convolution followed by layer normalisation over channels; answers channels-last."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(in_dim, out_dim, kernel, stride, padding)
        self.norm = nn.LayerNorm(out_dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b ho wo d"]:
        """Pad the right and bottom to a multiple of the stride first."""
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.stride, 0, -height % self.stride))
        return self.norm(self.proj(x).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class FocalBlock(nn.Module):
    """Depthwise convolution, modulation, depthwise convolution, MLP; each with its residual sum."""

    def __init__(self, dim: int, config: FocalNetConfig) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.modulation = FocalModulation(dim, config.focal_levels, config.focal_window)
        self.norm1 = nn.LayerNorm(dim)
        self.scale1 = nn.Parameter(torch.full((dim,), 1e-4))
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.fc1 = nn.Linear(dim, config.mlp_ratio * dim)
        self.fc2 = nn.Linear(config.mlp_ratio * dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.scale2 = nn.Parameter(torch.full((dim,), 1e-4))

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Map features to features of the same shape."""
        x = x + channels_last(self.conv1, x)
        x = self.norm1(x + self.scale1 * self.modulation(x))
        x = x + channels_last(self.conv2, x)
        return self.norm2(x + self.scale2 * self.fc2(F.gelu(self.fc1(x))))  # type: ignore[no-any-return]


class PlainFocalBlock(nn.Module):
    """Modulation and MLP, each branch normalised and scaled before its residual sum."""

    def __init__(self, dim: int, config: FocalNetConfig) -> None:
        super().__init__()
        self.modulation = FocalModulation(dim, config.focal_levels, config.focal_window)
        self.norm1 = nn.LayerNorm(dim)
        self.scale1 = nn.Parameter(torch.full((dim,), 1e-4))
        self.fc1 = nn.Linear(dim, config.mlp_ratio * dim)
        self.fc2 = nn.Linear(config.mlp_ratio * dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.scale2 = nn.Parameter(torch.full((dim,), 1e-4))

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Map features to features of the same shape."""
        x = x + self.scale1 * self.norm1(self.modulation(x))
        return x + self.scale2 * self.norm2(self.fc2(F.gelu(self.fc1(x))))  # type: ignore[no-any-return]


VARIANTS: dict[str, tuple[type[FocalBlock] | type[PlainFocalBlock], int]] = {
    "depthwise": (FocalBlock, 3),
    "plain": (PlainFocalBlock, 2),
}
"""Block and padding of the first convolution of each variant."""


class FocalModulation(nn.Module):
    """Multiply a pixel's query by a gated sum of its contexts, from the near neighbourhood to the whole map.

    Section 3.2 of the paper. The sum is divided by the number of contexts (levels + 1), as in every official
    configuration.
    """

    def __init__(self, dim: int, levels: int, window: int) -> None:
        super().__init__()
        self.levels = levels
        self.split = nn.Linear(dim, 2 * dim + levels + 1)
        kernels = [window + 2 * level for level in range(levels)]
        self.contexts = nn.ModuleList(
            nn.Conv2d(dim, dim, k, padding=k // 2, groups=dim, bias=False) for k in kernels
        )
        self.mix = nn.Conv2d(dim, dim, 1)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Map features to features of the same shape."""
        dim = x.shape[-1]
        query, context, gates = (
            self.split(x).permute(0, 3, 1, 2).split((dim, dim, self.levels + 1), dim=1)
        )
        total = torch.zeros_like(query)
        for level, convolution in enumerate(self.contexts):
            context = F.gelu(convolution(context))
            total = total + context * gates[:, level : level + 1]
        everywhere = F.gelu(context.mean(dim=(2, 3), keepdim=True))
        total = (total + everywhere * gates[:, self.levels :]) / (self.levels + 1)
        return self.proj((query * self.mix(total)).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


def channels_last(
    convolution: nn.Module, x: Float[Tensor, "b h w c"]
) -> Float[Tensor, "b ho wo d"]:
    """Apply a channels-first convolution to channels-last features."""
    return convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)  # type: ignore[no-any-return]
