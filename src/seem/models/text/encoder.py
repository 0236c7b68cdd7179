"""Causal text encoder: byte-pair token ids to vectors in the space that queries and masks share.

The official text tower (UniCL/CLIP layout): 12 pre-norm layers, QuickGELU, causal mask. Padding is not masked: nothing
before the end token can see it, so phrases may be trimmed to the longest of a batch without changing any answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.config import TextConfig
from seem.models.initialization import normal_parameter
from seem.models.ops.attention import Attention, KeysValues
from seem.models.structures import TextFeatures

START_SCALE = math.log(
    1 / 0.07
)  # CLIP's: with the official code's 1.0, cosines hardly separate 134 classes
NORM_EPS = 1e-12  # the official tower's own LayerNorm, in the manner of TensorFlow


@dataclass(frozen=True, slots=True)
class TextPrefixes:
    """Encoded tokens that phrases begin with: keys and values of every block, one row a prefix.

    Of a row only the first `lengths` tokens count.
    """

    blocks: tuple[KeysValues, ...]
    lengths: Int[Tensor, " p"]

    @property
    def width(self) -> int:
        """Tokens of a row."""
        return self.blocks[0].keys.shape[2]


class TextEncoder(nn.Module):
    """Token ids in, one vector a token and one a phrase out; not normalised."""

    def __init__(self, config: TextConfig, out_dim: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary_size, config.width)
        self.word_shortcut = config.word_shortcut
        self.positions = normal_parameter(config.context, config.width, std=0.02)
        self.blocks = nn.ModuleList(
            TextBlock(config.width, config.num_heads, config.ffn) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.projection = normal_parameter(config.width, out_dim, std=config.width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(START_SCALE))

    def encode_prefixes(self, ids: Int[Tensor, "p t"], lengths: Int[Tensor, " p"]) -> TextPrefixes:
        """Encode the tokens that phrases begin with, up to `lengths`; no later token changes them."""
        x = self.tokens(ids) + self.positions[: ids.shape[1]]
        contexts = []
        for block in self.blocks:
            assert isinstance(block, TextBlock)
            contexts.append(block.context(x))
            x = block(x)
        return TextPrefixes(tuple(contexts), lengths)

    def continue_prefixes(
        self, ids: Int[Tensor, "n t"], prefixes: TextPrefixes, rows: Int[Tensor, " n"]
    ) -> Float[Tensor, "n d"]:
        """Encode what follows the prefixes to one vector a phrase; `rows` says which prefix a phrase has.

        Not for encoders with `word_shortcut`, which average all words of a phrase.
        """
        assert not self.word_shortcut
        steps = torch.arange(ids.shape[1], device=ids.device)
        x = self.tokens(ids) + self.positions[prefixes.lengths[rows, None] + steps]
        visible = visible_after(prefixes, rows, ids.shape[1])
        for block, context in zip(self.blocks, prefixes.blocks, strict=True):
            x = block(x, KeysValues(context.keys[rows], context.values[rows]), visible)
        end = (ids == self.tokens.num_embeddings - 1).long().argmax(dim=1)
        vectors: Tensor = self.norm(x[torch.arange(len(x), device=x.device), end])
        return vectors @ self.projection

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

    def context(self, x: Float[Tensor, "n t d"]) -> KeysValues:
        """Return the keys and values of tokens."""
        normed = self.norm1(x)
        return self.attention.project(normed, normed)

    def forward(
        self,
        x: Float[Tensor, "n t d"],
        prefix: KeysValues | None = None,
        visible: Bool[Tensor, "n t k"] | None = None,
    ) -> Float[Tensor, "n t d"]:
        """Map tokens to tokens; tokens see those before them, or what is `visible` of a prefix and themselves."""
        normed = self.norm1(x)
        context = self.attention.project(normed, normed)
        if prefix is not None:
            context = KeysValues(
                torch.cat([prefix.keys, context.keys], dim=2),
                torch.cat([prefix.values, context.values], dim=2),
            )
        x = x + self.attention(normed, context, visible, causal=visible is None)
        hidden = self.fc1(self.norm2(x))
        return x + self.fc2(hidden * torch.sigmoid(1.702 * hidden))  # type: ignore[no-any-return]


def visible_after(
    prefixes: TextPrefixes, rows: Int[Tensor, " n"], num_tokens: int
) -> Bool[Tensor, "n t k"]:
    """Let every token see its prefix, itself and what stands between."""
    device = rows.device
    in_prefix = torch.arange(prefixes.width, device=device) < prefixes.lengths[rows, None]
    causal = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=device).tril()
    return torch.cat(
        [
            in_prefix[:, None].expand(-1, num_tokens, -1),
            causal.expand(len(rows), -1, -1),
        ],
        dim=2,
    )
