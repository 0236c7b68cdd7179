"""SAM's image encoder with a simple pyramid in place of its neck.

Kirillov et al., "Segment Anything" (ICCV 2023), section 3 and appendix A; the pyramid follows Li et al., "Exploring
Plain Vision Transformer Backbones for Object Detection" (ECCV 2022). The position table is added as it is, so the
padded image must be 1024 x 1024.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.config import SamViTConfig
from seem.models.backbones.davit import split_heads
from seem.models.structures import Pyramid

NORM_EPS = 1e-6
PATCH = 16


class SamViT(nn.Module):
    """Photo to four feature maps at strides 4, 8, 16 and 32."""

    def __init__(self, config: SamViTConfig) -> None:
        super().__init__()
        self.dims = config.dims
        self.patches = nn.Conv2d(3, config.dim, PATCH, PATCH)
        self.positions = nn.Parameter(torch.zeros(1, config.grid, config.grid, config.dim))
        self.blocks = nn.ModuleList()
        for number in range(config.depth):
            window = None if number in config.global_blocks else config.window
            self.blocks.append(ViTBlock(config.dim, config.heads, window, config.grid))
        self.neck = SimplePyramid(config.dim, config.dims)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Pyramid:
        """Return features with channels `config.dims`. Raises `ValueError` for another padded size than the table's."""
        x = self.patches(pixels).permute(0, 2, 3, 1)
        if x.shape[1:3] != self.positions.shape[1:3]:
            side = PATCH * self.positions.shape[1]
            raise ValueError(
                f"This backbone takes images padded to {side} x {side}, got {tuple(pixels.shape[-2:])}."
            )
        x = x + self.positions
        for block in self.blocks:
            x = block(x)
        return self.neck(x.permute(0, 3, 1, 2))  # type: ignore[no-any-return]


class ViTBlock(nn.Module):
    """Pre-norm transformer block; `window` None = attention over the whole map."""

    def __init__(self, dim: int, heads: int, window: int | None, grid: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attention = PlacedAttention(dim, heads, window or grid)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        """Map features to features of the same shape; windows are zero-padded and padding takes part."""
        normed = self.norm1(x)
        if self.window is None:
            attended = self.attention(normed)
        else:
            batch, height, width, dim = x.shape
            size = self.window
            padded = F.pad(normed, (0, 0, 0, -width % size, 0, -height % size))
            rows, columns = padded.shape[1] // size, padded.shape[2] // size
            cut = (
                padded.view(batch, rows, size, columns, size, dim)
                .transpose(2, 3)
                .reshape(-1, size, size, dim)
            )
            joined = self.attention(cut).view(batch, rows, columns, size, size, dim).transpose(2, 3)
            attended = joined.reshape(batch, rows * size, columns * size, dim)[:, :height, :width]
        x = x + attended
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))  # type: ignore[no-any-return]


class PlacedAttention(nn.Module):
    """Attention with relative positions, one table for rows and one for columns.

    The score of a pair gains q . R_y[y - y'] + q . R_x[x - x'] with the unscaled q. Since each part depends on the key
    through one coordinate alone, it is written as extra components: the query brings its products with all offsets,
    the key a one-hot of its coordinate. No table of pairs is ever built.
    """

    def __init__(self, dim: int, heads: int, size: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.rows = nn.Parameter(torch.zeros(2 * size - 1, dim // heads))
        self.columns = nn.Parameter(torch.zeros(2 * size - 1, dim // heads))

    def forward(self, x: Float[Tensor, "b s s c"]) -> Float[Tensor, "b s s c"]:
        """Let all pixels of a square map look at each other."""
        size = x.shape[1]
        query, key, value = split_heads(self.qkv(x.flatten(1, 2)), self.heads)
        index = torch.arange(size, device=x.device)
        offsets = index[:, None] - index[None, :] + size - 1
        grid = torch.unflatten(query, 2, (size, size))
        by_row = torch.einsum("bnyxe,yke->bnyxk", grid, self.rows[offsets]).flatten(2, 3)
        by_column = torch.einsum("bnyxe,xke->bnyxk", grid, self.columns[offsets]).flatten(2, 3)
        one_hot = torch.eye(size, dtype=x.dtype, device=x.device)
        at = torch.cat((one_hot.repeat_interleave(size, 0), one_hot.repeat(size, 1)), dim=1)
        placed_query = torch.cat((query * query.shape[-1] ** -0.5, by_row, by_column), dim=-1)
        placed_key = torch.cat((key, at.expand(*key.shape[:2], -1, -1)), dim=-1)
        attended = F.scaled_dot_product_attention(placed_query, placed_key, value, scale=1.0)
        return self.proj(attended.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class SimplePyramid(nn.Module):
    """One stride-16 map to four, by transposed and strided convolutions; normalised over the whole map (one group)."""

    def __init__(self, dim: int, dims: tuple[int, ...]) -> None:
        super().__init__()
        fine = max(256, dim // 2)
        coarse = max(1024, 2 * dim)
        self.stride4 = nn.Sequential(
            nn.ConvTranspose2d(dim, fine, 2, 2), nn.GroupNorm(1, fine), nn.GELU(),
            nn.ConvTranspose2d(fine, fine // 2, 2, 2), nn.GroupNorm(1, fine // 2),
            nn.Conv2d(fine // 2, dims[0], 1), nn.GroupNorm(1, dims[0]), nn.GELU(),
        )  # fmt: skip
        self.stride8 = nn.Sequential(
            nn.ConvTranspose2d(dim, fine, 2, 2), nn.GroupNorm(1, fine),
            nn.Conv2d(fine, dims[1], 1), nn.GroupNorm(1, dims[1]), nn.GELU(),
        )  # fmt: skip
        self.stride16 = nn.Sequential(
            nn.Conv2d(dim, dims[2], 1), nn.GroupNorm(1, dims[2]), nn.GELU()
        )
        self.stride32 = nn.Sequential(
            nn.Conv2d(dim, coarse, 2, 2), nn.GroupNorm(1, coarse),
            nn.Conv2d(coarse, dims[3], 1), nn.GroupNorm(1, dims[3]), nn.GELU(),
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "b c h w"]) -> Pyramid:
        """Return maps at strides 4, 8, 16 and 32."""
        return Pyramid((self.stride4(x), self.stride8(x), self.stride16(x), self.stride32(x)))
