"""The weights of the recordings: every tensor follows from its official key and its shape alone.

Each side of the comparison fills its network by this rule, so nobody needs a checkpoint. A key seeds normal noise, and
what the tensor is for decides how much of it: around one for scales, around zero for biases, by fan-in for matrices.
Rule: `design/behaviour.md`, section 2, of the recordings' authors.
"""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

PREDICTOR = "sem_seg_head.predictor."

FIXED = ("dilation_kernel", "empty_weight")
"""Buffers that stay as the official network builds them; ours has no use for them."""

EMBEDDINGS = (
    "token_embedding.weight",
    "positional_embedding",
    "pos_embed",
    "pos_embed_caping.weight",
    "query_feat.weight",
    "query_embed.weight",
    "spatial_featured.weight",
    "spatial_embed.weight",
    "pn_indicator.weight",
)
"""Endings of tensors that are looked up rather than multiplied with: noise of full size."""


def official_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the float32 tensor that stands under an official key."""
    assert not key.endswith(FIXED), key
    if key.endswith("logit_scale"):
        return torch.full(shape, -math.log(0.07))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    middle, spread = around(key, shape)
    if key.endswith(".running_var"):
        noise = noise.abs()
    if spread is not None:
        return middle + spread * noise
    matrix = noise / math.sqrt(math.prod(shape[1:]))
    if key.endswith(".in_proj_weight"):
        queries_and_keys = 2 * (shape[0] // 3)
        matrix[:queries_and_keys] *= sharpness(key)
    if key.startswith(f"{PREDICTOR}transformer_") and key.endswith("attn.out_proj.weight"):
        matrix *= 0.25
    return matrix


def around(key: str, shape: tuple[int, ...]) -> tuple[float, float | None]:
    """Return the value that a tensor varies around, and by how much; no spread means "by fan-in"."""
    match key.rpartition(".")[2]:
        case "gamma" | "gamma_1" | "gamma_2":
            return 0.5, 0.1
        case "running_var":
            return 1.0, 0.1
        case "weight" if len(shape) < 2:
            return 1.0, 0.1
    if key.endswith(EMBEDDINGS) and len(shape) >= 2:
        return 0.0, 1.0
    if len(shape) < 2 or key.endswith(("level_embed", "level_embed.weight")):
        return 0.0, 0.1
    return 0.0, None


def sharpness(key: str) -> float:
    """Return how much queries and keys of a packed attention are enlarged, so that attention picks something."""
    if ".lang_encoder." in key:
        return 2.0
    return 1.5 if key.startswith(PREDICTOR) else 1.0
