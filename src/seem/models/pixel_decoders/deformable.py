"""Deformable pixel decoder: three maps attend to a few points of each other.

The official `transformer_encoder_deform`, used with SAM's backbones; Zhu et al., "Deformable DETR" (ICLR 2021),
section 4.1. Plain PyTorch, no extension to build.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import DeformableConfig
from seem.models.initialization import normal_parameter
from seem.models.mask_features import MaskFeatures
from seem.models.ops.masks import map_hw, resize
from seem.models.ops.position import sine_position
from seem.models.pixel_decoders.fpn import ConvNorm
from seem.models.structures import PixelFeatures, Pyramid

NUM_LEVELS = 3


class DeformablePixelDecoder(nn.Module):
    """Pyramid in, mask features at stride 4 and three levels (strides 32, 16, 8) out."""

    def __init__(self, config: DeformableConfig, in_dims: tuple[int, ...]) -> None:
        super().__init__()
        dim, groups = config.dim, config.num_norm_groups
        coarse_first = in_dims[:0:-1]
        self.inputs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_dim, dim, 1), nn.GroupNorm(groups, dim))
            for in_dim in coarse_first
        )
        self.level_embedding = normal_parameter(NUM_LEVELS, dim)
        self.encoder = nn.ModuleList(DeformableLayer(config) for _ in range(config.encoder_layers))
        self.lateral = ConvNorm(in_dims[0], dim, 1, groups)
        self.output = ConvNorm(dim, dim, 3, groups)
        self.mask_features = nn.Conv2d(dim, config.mask_dim, 1)

    def forward(self, pyramid: Pyramid) -> PixelFeatures:
        """Encode the three coarser maps together, then add the finest."""
        finest, *coarser = pyramid.maps
        maps = [project(level) for project, level in zip(self.inputs, coarser[::-1], strict=True)]
        sizes = [map_hw(level) for level in maps]
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1)
        positions = self.positions(sizes, tokens)
        centres = torch.cat([pixel_centres(hw, tokens) for hw in sizes])
        for layer in self.encoder:
            tokens = layer(tokens, positions, centres, sizes)
        levels = []
        for part, hw in zip(split_levels(tokens, sizes), sizes, strict=True):
            levels.append(part.transpose(1, 2).reshape(len(part), -1, *hw))
        y = self.lateral(finest) + resize(levels[-1], map_hw(finest))
        return PixelFeatures(
            MaskFeatures(F.relu(self.output(y)), self.mask_features), tuple(levels)
        )

    def positions(
        self, sizes: list[tuple[int, int]], tokens: Float[Tensor, "b s d"]
    ) -> Float[Tensor, "1 s d"]:
        """Return the position of every token: that of its pixel, and the embedding of its level."""
        positions = []
        for hw, embedding in zip(sizes, self.level_embedding, strict=True):
            position = sine_position(hw, tokens.shape[-1], tokens.device, tokens.dtype)
            positions.append(position.flatten(2).transpose(1, 2) + embedding)
        return torch.cat(positions, dim=1)


class DeformableLayer(nn.Module):
    """Deformable attention and MLP, each normalised after its residual sum."""

    def __init__(self, config: DeformableConfig) -> None:
        super().__init__()
        self.sampling = DeformableAttention(config.dim, config.num_heads, config.num_points)
        self.norm1 = nn.LayerNorm(config.dim)
        self.fc1 = nn.Linear(config.dim, config.encoder_ffn)
        self.fc2 = nn.Linear(config.encoder_ffn, config.dim)
        self.norm2 = nn.LayerNorm(config.dim)

    def forward(
        self,
        x: Float[Tensor, "b s d"],
        positions: Float[Tensor, "1 s d"],
        centres: Float[Tensor, "s 2"],
        sizes: list[tuple[int, int]],
    ) -> Float[Tensor, "b s d"]:
        """Map the tokens of all levels to tokens."""
        x = self.norm1(x + self.sampling(x + positions, x, centres, sizes))
        return self.norm2(x + self.fc2(F.relu(self.fc1(x))))  # type: ignore[no-any-return]


class DeformableAttention(nn.Module):
    """Every token samples a few points on every level, at offsets and with weights that it predicts."""

    def __init__(self, dim: int, num_heads: int, num_points: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.num_points = num_points
        self.offsets = nn.Linear(dim, num_heads * NUM_LEVELS * num_points * 2)
        self.weights = nn.Linear(dim, num_heads * NUM_LEVELS * num_points)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        queries: Float[Tensor, "b q d"],
        tokens: Float[Tensor, "b s d"],
        centres: Float[Tensor, "q 2"],
        sizes: list[tuple[int, int]],
    ) -> Float[Tensor, "b q d"]:
        """Sample from the maps that `tokens` hold one after the other.

        `centres` are unit (x, y); offsets count pixels of the sampled level; outside a map is zero.
        """
        shape = (self.num_heads, NUM_LEVELS, self.num_points)
        offsets = torch.unflatten(self.offsets(queries), -1, (*shape, 2))
        weights = torch.unflatten(self.weights(queries), -1, (self.num_heads, -1)).softmax(-1)
        weights = torch.unflatten(weights, -1, shape[1:])
        values = split_levels(self.value(tokens), sizes)
        attended = []
        for level, (value, (height, width)) in enumerate(zip(values, sizes, strict=True)):
            maps = torch.unflatten(value, -1, (self.num_heads, -1)).permute(0, 2, 3, 1)
            maps = maps.flatten(0, 1).unflatten(2, (height, width))  # type: ignore[no-untyped-call]
            offset = offsets[:, :, :, level] / offsets.new_tensor([width, height])
            points = (centres[:, None, None] + offset).transpose(1, 2).flatten(0, 1)
            sampled = F.grid_sample(
                maps, 2 * points - 1, mode="bilinear", padding_mode="zeros", align_corners=False
            )
            weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]
            attended.append((sampled * weight).sum(-1))
        total = torch.stack(attended).sum(0)
        heads = torch.unflatten(total, 0, (-1, self.num_heads))
        return self.out(heads.flatten(1, 2).transpose(1, 2))  # type: ignore[no-any-return]


def split_levels(
    tokens: Float[Tensor, "b s d"], sizes: list[tuple[int, int]]
) -> tuple[Tensor, ...]:
    """Split the tokens of all levels by level."""
    return torch.split(tokens, [height * width for height, width in sizes], dim=1)


def pixel_centres(hw: tuple[int, int], like: Tensor) -> Float[Tensor, "s 2"]:
    """Return the unit (x, y) of every pixel's centre, row by row."""
    height, width = hw
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width
    grid = torch.stack((x.expand(height, -1), y[:, None].expand(-1, width)), dim=-1)
    return grid.flatten(0, 1)
