"""Everything that a phrase fits: the object queries, asked with phrases in place of class names.

A model with a dense head answers a phrase with one mask of all that it means; that mask is divided into objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import distinct
from seem.tasks.regions import islands

SAME_OBJECT = 0.5  # IoU above which two masks are one object
INSIDE = 0.7  # share of a region that has to be meant for it to be one of the objects
TAKEN = 0.5  # share of a region that better ones may have taken already
REST = 0.1  # share of the whole mask that an island without a region of its own needs
OUTSIDE = -20.0  # logit of what belongs to another object


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


def divide(meant: Float[Tensor, "h w"], regions: Bool[Tensor, "n h w"]) -> list[Float[Tensor, "h w"]]:
    """Divide the mask of all that a phrase means into objects, largest first: mask logits each.

    `meant` are its logits, `regions` what the photo consists of, best first. A region that lies in the mask is an
    object, unless better ones have taken it; what no region covers is divided into its islands, of which specks are
    left out unless there is nothing else. Objects do not overlap, and together they are the mask but for specks.
    """
    whole = meant > 0
    free = whole.clone()
    parts = []
    for region in regions:
        area = int(region.sum())
        mine = region & free
        if area and int((region & whole).sum()) >= INSIDE * area and int(mine.sum()) >= (1 - TAKEN) * area:
            parts.append(mine)
            free &= ~region
    least = REST * int(whole.sum())
    rest = [torch.from_numpy(island).to(meant.device) for island in islands(np.asarray(free.cpu()))]
    parts += [island for island in rest if int(island.sum()) >= least]
    parts.sort(key=lambda part: -int(part.sum()))
    return [meant.masked_fill(~part, OUTSIDE) for part in parts or rest[:1]]  # nothing meant: no island, no object
