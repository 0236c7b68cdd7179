"""A phrase to the mask that fits it best."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor


def best_queries(similarity: Float[Tensor, "q n"]) -> Int[Tensor, " n"]:
    """Return the query that fits each phrase best (official `evaluate_grounding`)."""
    return similarity.argmax(dim=0)
