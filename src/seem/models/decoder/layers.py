"""One decoder layer, and the heads that look at queries between layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seem.models.ops.attention import Attention, KeysValues
from seem.models.structures import QueryOutputs


class DecoderLayer(nn.Module):
    """Image attention, group attention, feed-forward; residual sums are normalised afterwards (post-norm)."""

    def __init__(self, dim: int, num_heads: int, ffn: int) -> None:
        super().__init__()
        self.image_attention = Attention(dim, num_heads)
        self.image_norm = nn.LayerNorm(dim)
        self.group_attention = Attention(dim, num_heads)
        self.group_norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, ffn)
        self.fc2 = nn.Linear(ffn, dim)
        self.ffn_norm = nn.LayerNorm(dim)

    def look(self, keys: Float[Tensor, "b d h w"], values: Float[Tensor, "b d h w"]) -> KeysValues:
        """Project a feature map, once per photo."""
        return self.image_attention.project(keys.flatten(2).transpose(1, 2), values.flatten(2).transpose(1, 2))

    def read_image(
        self,
        x: Float[Tensor, "b r d"],
        positions: Float[Tensor, "b r d"],
        image: KeysValues,
        seen: Bool[Tensor, "b r k"],
    ) -> Float[Tensor, "b r d"]:
        """Let rows gather from the pixels that they may see."""
        return self.image_norm(x + self.image_attention(x + positions, image, seen))  # type: ignore[no-any-return]

    def discuss(
        self, x: Float[Tensor, "b s d"], positions: Float[Tensor, "b s d"], visible: Bool[Tensor, "b s s"] | None
    ) -> Float[Tensor, "b s d"]:
        """Let rows gather from each other under the policy."""
        placed = x + positions
        heard = self.group_attention(placed, self.group_attention.project(placed, x), visible)
        return self.group_norm(x + heard)  # type: ignore[no-any-return]

    def think(self, x: Float[Tensor, "b s d"]) -> Float[Tensor, "b s d"]:
        """Transform every row by itself."""
        return self.ffn_norm(x + self.fc2(F.relu(self.fc1(x))))  # type: ignore[no-any-return]


class Heads(nn.Module):
    """From query to class vector and mask embedding."""

    def __init__(self, dim: int, mask_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.class_projection = nn.Parameter(torch.randn(dim, dim) * dim**-0.5)
        self.mask_layers = nn.ModuleList((nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, mask_dim)))

    def forward(self, normed: Float[Tensor, "b q d"]) -> QueryOutputs:
        """Look at queries that went through `norm`."""
        first, second, third = self.mask_layers
        return QueryOutputs(normed @ self.class_projection, third(F.relu(second(F.relu(first(normed))))))


class CaptionHead(nn.Module):
    """From caption row to a vector to compare with word embeddings; and where in the caption a row stands."""

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(context, dim))
        self.projection = nn.Parameter(torch.randn(dim, dim) * dim**-0.5)
