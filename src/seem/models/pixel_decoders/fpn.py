"""FPN-transformer pixel decoder: a transformer on the coarsest map, then a pyramid down to stride 4.

The official `transformer_encoder_fpn`, used with every FocalNet and DaViT backbone.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import PixelDecoderConfig
from seem.models.mask_features import MaskFeatures
from seem.models.ops.attention import Attention
from seem.models.ops.position import sine_position
from seem.models.structures import PixelFeatures, Pyramid


class FPNPixelDecoder(nn.Module):
    """Pyramid in, mask features at stride 4 and three levels (strides 32, 16, 8) out.

    `level_dim` is the width of the levels; where it differs from the pyramid's own width a 1x1 convolution adapts each
    level (absent in the published models, whose widths agree).
    """

    def __init__(
        self, config: PixelDecoderConfig, in_dims: tuple[int, ...], level_dim: int
    ) -> None:
        super().__init__()
        dim, groups = config.dim, config.num_norm_groups
        self.input_proj = nn.Conv2d(in_dims[-1], dim, 1)
        self.encoder = nn.ModuleList(
            EncoderLayer(dim, config.num_heads, config.encoder_ffn)
            for _ in range(config.encoder_layers)
        )
        self.laterals = nn.ModuleList(ConvNorm(in_dim, dim, 1, groups) for in_dim in in_dims[:-1])
        self.outputs = nn.ModuleList(ConvNorm(dim, dim, 3, groups) for _ in in_dims)
        self.mask_features = nn.Conv2d(
            dim, config.mask_dim, config.mask_kernel, padding=config.mask_kernel // 2
        )
        adapters = [nn.Conv2d(dim, level_dim, 1) for _ in range(3)] if level_dim != dim else []
        self.level_adapters = nn.ModuleList(adapters)

    def forward(self, pyramid: Pyramid) -> PixelFeatures:
        """Encode the coarsest map, then add finer maps one by one."""
        *finer, coarsest = pyramid.maps
        y = F.relu(self.outputs[-1](self.encode(self.input_proj(coarsest))))
        levels = [y]
        for lateral, output, fine in zip(
            self.laterals[::-1], self.outputs[-2::-1], finer[::-1], strict=True
        ):
            y = lateral(fine) + F.interpolate(y, size=fine.shape[-2:], mode="nearest")
            y = F.relu(output(y))
            levels.append(y)
        coarse_levels = levels[:3]
        if self.level_adapters:
            coarse_levels = [
                adapter(level)
                for adapter, level in zip(self.level_adapters, coarse_levels, strict=True)
            ]
        return PixelFeatures(MaskFeatures(y, self.mask_features), tuple(coarse_levels))

    def encode(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        """Let every pixel of the coarsest map attend to every other."""
        position = sine_position((x.shape[-2], x.shape[-1]), x.shape[1], x.device, x.dtype)
        position = position.flatten(2).transpose(1, 2)
        tokens = x.flatten(2).transpose(1, 2)
        for layer in self.encoder:
            tokens = layer(tokens, position)
        return tokens.transpose(1, 2).reshape(x.shape)


class ConvNorm(nn.Module):
    """Convolution without bias, then group normalisation."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(groups, out_dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        """Keep the spatial size."""
        return self.norm(self.conv(x))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Post-norm transformer layer; positions are added to queries and keys, not to values."""

    def __init__(self, dim: int, num_heads: int, ffn: int) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ffn)
        self.fc2 = nn.Linear(ffn, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(
        self, x: Float[Tensor, "b s d"], position: Float[Tensor, "1 s d"]
    ) -> Float[Tensor, "b s d"]:
        """Map tokens to tokens."""
        positioned = x + position
        x = self.norm1(x + self.attention(positioned, self.attention.project(positioned, x)))
        return self.norm2(x + self.fc2(F.relu(self.fc1(x))))  # type: ignore[no-any-return]
