"""DaViT: attention over windows of pixels, then attention over groups of channels, in turn.

Ding et al., "DaViT: Dual Attention Vision Transformers" (ECCV 2022), in the variant of the official X-Decoder: a 3x3
depthwise convolution before each attention and each MLP, no normalisation of the outputs. Channel attention is scaled
by the number of pixels, so the output at a pixel depends on the padded size of the image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import DaViTConfig
from seem.models.backbones.focalnet import channels_last
from seem.models.structures import Pyramid


class DaViT(nn.Module):
    """Photo to four feature maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: DaViTConfig) -> None:
        super().__init__()
        self.dims = config.dims
        ins = (3, *config.dims[:-1])
        strides = [4] + [2] * (len(config.dims) - 1)
        self.embeddings = nn.ModuleList()
        for in_dim, dim, kernel, stride, padding in zip(
            ins, config.dims, config.kernels, strides, config.paddings, strict=True
        ):
            is_first = not self.embeddings
            self.embeddings.append(
                ConvEmbedding(in_dim, dim, kernel, stride, padding, norm_first=not is_first)
            )
        self.stages = nn.ModuleList()
        for dim, heads, depth in zip(config.dims, config.heads, config.depths, strict=True):
            blocks = [DualBlock(dim, heads, config.window) for _ in range(depth)]
            self.stages.append(nn.ModuleList(blocks))

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """Return features with channels `config.dims`."""
        x = pixels.permute(0, 2, 3, 1)
        maps = []
        for embedding, stage in zip(self.embeddings, self.stages, strict=True):
            x = embedding(x)
            for block in stage:  # type: ignore[attr-defined]
                x = block(x)
            maps.append(x.permute(0, 3, 1, 2))
        return Pyramid(tuple(maps))


class ConvEmbedding(nn.Module):
    """Strided convolution with layer normalisation, before it in all stages but the first."""

    def __init__(
        self, in_dim: int, out_dim: int, kernel: int, stride: int, padding: int, norm_first: bool
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.proj = nn.Conv2d(in_dim, out_dim, kernel, stride, padding)
        self.norm = nn.LayerNorm(in_dim if norm_first else out_dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b ho wo d"]:
        """Shrink the map."""
        if self.norm_first:
            return channels_last(self.proj, self.norm(x))
        return self.norm(channels_last(self.proj, x))  # type: ignore[no-any-return]


class DualBlock(nn.Module):
    """A window block, then a channel block."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.spatial = AttentionBlock(dim, WindowAttention(dim, heads, window))
        self.channel = AttentionBlock(dim, ChannelAttention(dim, heads))

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Map features to features of the same shape."""
        return self.channel(self.spatial(x))  # type: ignore[no-any-return]


class AttentionBlock(nn.Module):
    """Convolution, attention, convolution, MLP; each added to its input, attention and MLP after normalisation."""

    def __init__(self, dim: int, attention: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm1 = nn.LayerNorm(dim)
        self.attention = attention
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm2 = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Map features to features of the same shape."""
        x = x + channels_last(self.conv1, x)
        x = x + self.attention(self.norm1(x))
        x = x + channels_last(self.conv2, x)
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Attention inside windows; padding at the right and bottom is zero *before* the projection and takes part."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Let pixels of one window look at each other."""
        size = self.window
        batch, height, width, dim = x.shape
        x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
        rows, columns = x.shape[1] // size, x.shape[2] // size
        windows = (
            x.view(batch, rows, size, columns, size, dim)
            .transpose(2, 3)
            .reshape(-1, size * size, dim)
        )
        query, key, value = split_heads(self.qkv(windows), self.heads)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        joined: Tensor = (
            self.proj(attended).view(batch, rows, columns, size, size, dim).transpose(2, 3)
        )
        return joined.reshape(batch, rows * size, columns * size, dim)[:, :height, :width]


class ChannelAttention(nn.Module):
    """Attention between the channels of a group, each described by its values at all pixels."""

    def __init__(self, dim: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Let channels of one group look at each other."""
        query, key, value = split_heads(self.qkv(x.flatten(1, 2)), self.groups)
        num_pixels = query.shape[-2]
        attended = F.scaled_dot_product_attention(
            query.mT, key.mT, value.mT, scale=num_pixels**-0.5
        )
        return self.proj(attended.permute(0, 3, 1, 2).reshape(x.shape))  # type: ignore[no-any-return]


def split_heads(qkv: Float[Tensor, "b s c3"], heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split packed projections into query, key and value, (B, heads, S, E) each."""
    parts = torch.unflatten(qkv, -1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return parts[0], parts[1], parts[2]
