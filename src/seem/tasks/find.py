"""Everything that a phrase fits: the object queries, asked with phrases in place of class names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import distinct

SAME_OBJECT = 0.5  # IoU above which two masks are one object


@dataclass(frozen=True, slots=True)
class Fitting:
    """Queries, best first: the phrase that each fits best, how well (0-1), and the score of the object (0-1)."""

    queries: Int[Tensor, " n"]
    phrases: Int[Tensor, " n"]
    phrase_scores: Float[Tensor, " n"]
    scores: Float[Tensor, " n"]


def everything_that_fits(
    phrase_logits: Float[Tensor, "q k1"], mask_logits: Float[Tensor, "q h w"], threshold: float
) -> Fitting:
    """Keep queries that fit a phrase, each object once.

    The last column of `phrase_logits` is the background, the alternative to all phrases. Score = softmax probability of
    the best phrase times mean mask probability (official score of instances). An object has one phrase: of masks whose
    IoU is above `SAME_OBJECT`, the best stays.
    """
    fits, phrases = phrase_logits.softmax(dim=-1)[:, :-1].max(dim=-1)
    likely = (fits >= threshold).nonzero()[:, 0]  # a product is no larger than its first factor
    sure = torch.stack([foreground_probability(mask) for mask in mask_logits[likely]]) if len(likely) else fits[likely]
    scores = fits[likely] * sure
    order = scores.argsort(descending=True, stable=True)
    order = order[(scores[order] >= threshold) & (sure[order] > 0)]
    order = order[distinct(mask_logits[likely[order]] > 0, SAME_OBJECT)]
    queries = likely[order]
    return Fitting(queries, phrases[queries], fits[queries], scores[order])
