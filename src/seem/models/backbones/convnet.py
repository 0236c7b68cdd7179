"""ConvNet: a residual network of dense 3x3 convolutions, nano's backbone.

Dense convolutions are what a CPU runs fastest for what they learn. Batch normalisation folds into the convolutions for
inference and keeps training from nothing stable.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import ConvNetConfig
from seem.models.structures import Pyramid


class ConvNet(nn.Module):
    """Photo to four feature maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        self.dims = config.dims
        self.stem = ConvUnit(3, config.stem_dim, stride=2)
        ins = (config.stem_dim, *config.dims[:-1])
        self.downsamples = nn.ModuleList(
            ConvUnit(in_dim, dim, stride=2) for in_dim, dim in zip(ins, config.dims, strict=True)
        )
        self.stages = nn.ModuleList()
        for dim, depth in zip(config.dims, config.depths, strict=True):
            self.stages.append(nn.Sequential(*(ResidualBlock(dim) for _ in range(depth))))

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """Return features with channels `config.dims`."""
        x = F.relu(self.stem(pixels))
        maps = []
        for downsample, stage in zip(self.downsamples, self.stages, strict=True):
            x = stage(F.relu(downsample(x)))
            maps.append(x)
        return Pyramid(tuple(maps))


class ConvUnit(nn.Module):
    """A 3x3 convolution and its batch normalisation."""

    def __init__(self, in_dim: int, out_dim: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(out_dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d ho wo"]:
        """Convolve and normalise."""
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.first = ConvUnit(dim, dim)
        self.second = ConvUnit(dim, dim)
        nn.init.zeros_(self.second.norm.weight)  # every block starts as the identity

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Keep shape."""
        return F.relu(x + self.second(F.relu(self.first(x))))
