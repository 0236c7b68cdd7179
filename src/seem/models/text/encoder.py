"""Causal text encoder: byte-pair token ids to vectors in the space that queries and masks share.

The official text tower (UniCL/CLIP layout): 12 pre-norm layers, QuickGELU, causal mask. Padding is not masked: nothing
before the end token can see it, so phrases may be trimmed to the longest of a batch without changing any answer.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.config import TextConfig
from seem.models.ops.attention import Attention
from seem.models.structures import TextFeatures

START_SCALE = math.log(
    1 / 0.07
)  # CLIP's: with the official code's 1.0, cosines hardly separate 134 classes
NORM_EPS = 1e-12  # the official tower's own LayerNorm, in the manner of TensorFlow


class TextEncoder(nn.Module):
    """Token ids in, one vector a token and one a phrase out; not normalised."""

    def __init__(self, config: TextConfig, out_dim: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary_size, config.width)
        self.word_shortcut = config.word_shortcut
        self.positions = nn.Parameter(torch.randn(config.context, config.width) * 0.02)
        self.blocks = nn.ModuleList(
            TextBlock(config.width, config.num_heads, config.ffn) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.projection = nn.Parameter(torch.randn(config.width, out_dim) * config.width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(START_SCALE))

    def forward(self, ids: Int[Tensor, "n t"], valid: Bool[Tensor, "n t"]) -> TextFeatures:
        """Encode phrases.

        `valid` marks start to end token. The phrase vector is taken at the first end token, which is the last entry
        of every vocabulary; a user who types the end token cuts the phrase there (official behaviour).
        """
        words = self.tokens(ids)
        x = words + self.positions[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        before_end = (ids == self.tokens.num_embeddings - 1).cumsum(dim=1) == 0
        end = before_end.sum(dim=1).clamp(
            max=ids.shape[1] - 1
        )  # an incomplete caption has no end yet
        rows = torch.arange(ids.shape[0], device=ids.device)
        if self.word_shortcut:
            is_word = before_end[:, 1:, None] & valid[:, 1:, None]  # without the start token
            mean = (words[:, 1:] * is_word).sum(dim=1) / is_word.sum(dim=1).clamp(min=1)
            x = x.index_put((rows, end), mean, accumulate=True)
        vectors = self.norm(x) @ self.projection
        phrases = vectors[rows, end]
        return TextFeatures(vectors, valid, phrases)


class TextBlock(nn.Module):
    """Pre-norm transformer block with causal attention."""

    def __init__(self, dim: int, num_heads: int, ffn: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attention = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.fc1 = nn.Linear(dim, ffn)
        self.fc2 = nn.Linear(ffn, dim)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """Map tokens to tokens."""
        normed = self.norm1(x)
        x = x + self.attention(normed, self.attention.project(normed, normed), causal=True)
        hidden = self.fc1(self.norm2(x))
        return x + self.fc2(hidden * torch.sigmoid(1.702 * hidden))  # type: ignore[no-any-return]
