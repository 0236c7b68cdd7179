"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def class_scores(class_logits: Float[Tensor, "q k1"], mask_logits: Float[Tensor, "q H W"]) -> Float[Tensor, "k H W"]:
    """Sum over queries of class score times mask probability (official `semantic_inference`)."""
    classes = class_logits.softmax(dim=-1)[:, :-1]
    return torch.einsum("qk,qhw->khw", classes, mask_logits.sigmoid())
