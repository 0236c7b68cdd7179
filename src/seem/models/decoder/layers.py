"""One decoder layer, and the heads that predict classes and masks from queries between layers."""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seem.models.initialization import normal_parameter
from seem.models.ops.attention import Attention, KeysValues
from seem.models.structures import QueryOutputs

Rows: TypeAlias = Float[Tensor, "b r d"]


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

    def project_image(
        self, keys: Float[Tensor, "b d h w"], values: Float[Tensor, "b d h w"]
    ) -> KeysValues:
        """Project a feature map to keys and values, once per image."""
        return self.image_attention.project(
            keys.flatten(2).transpose(1, 2), values.flatten(2).transpose(1, 2)
        ).by_head()

    def attend_to_image(
        self,
        x: Rows,
        positions: Rows,
        image: KeysValues,
        visible: Bool[Tensor, "b r k"],
    ) -> Rows:
        """Apply image attention; `visible` are the cells that each row attends to."""
        attended = self.image_attention(x + positions, image, visible)
        return self.image_norm(x + attended)  # type: ignore[no-any-return]

    def attend_to_rows(
        self,
        x: Rows,
        positions: Rows,
        tokens: Float[Tensor, "b p d"],
        visible: Bool[Tensor, "b r s"] | None,
    ) -> Rows:
        """Apply group attention; `visible` are the rows, then the tokens, that each row attends to, None = all.

        Tokens are attended to and attend to nothing; they are their own positions.
        """
        positioned = x + positions
        context = self.group_attention.project(
            torch.cat((positioned, 2 * tokens), dim=1), torch.cat((x, tokens), dim=1)
        )
        return self.group_norm(x + self.group_attention(positioned, context, visible))  # type: ignore[no-any-return]

    def feed_forward(self, x: Rows) -> Rows:
        """Transform every row by itself."""
        hidden = F.relu(self.fc1(x))
        return self.ffn_norm(x + self.fc2(hidden))  # type: ignore[no-any-return]


class Heads(nn.Module):
    """Maps queries to class vectors and mask embeddings."""

    def __init__(self, dim: int, mask_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.class_projection = normal_parameter(dim, dim, std=dim**-0.5)
        self.mask_layers = nn.ModuleList(
            (nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, mask_dim))
        )

    def forward(self, normed: Float[Tensor, "b q d"]) -> QueryOutputs:
        """Predict from queries that went through `norm`."""
        first, second, third = self.mask_layers
        hidden = F.relu(second(F.relu(first(normed))))
        return QueryOutputs(normed @ self.class_projection, third(hidden))


class CaptionHead(nn.Module):
    """Maps caption rows to vectors that are compared with word embeddings; holds the position of each row."""

    def __init__(self, dim: int, context: int) -> None:
        super().__init__()
        self.positions = normal_parameter(context, dim)
        self.projection = normal_parameter(dim, dim, std=dim**-0.5)
