"""A name for a mask that nobody named."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST_OVERLAP = 0.4  # IoU below which an object query speaks of something else
LEAST_SCORE = 0.15  # IoU times class score below which nothing is said
LEAST_PROBABILITY = 0.2  # of a class, where the mask's own places are asked


@dataclass(frozen=True, slots=True)
class MaskCategories:
    """The category index of each mask (None = no name) and its score, 0-1."""

    categories: tuple[int | None, ...]
    scores: tuple[float, ...]


def categories_from_queries(
    masks: Float[Tensor, "n h w"], query_masks: Float[Tensor, "q h4 w4"], class_logits: Float[Tensor, "q k1"]
) -> MaskCategories:
    """Give each mask the class of the object query whose own mask fits it best.

    Both kinds are mask logits in the padded network frame. The score is IoU times the probability of the class, which
    is the best one that is not "no object".
    """
    if not len(masks):
        return MaskCategories((), ())
    if masks.shape[-2:] != query_masks.shape[-2:]:
        masks = F.interpolate(masks[None], size=query_masks.shape[-2:], mode="bilinear", align_corners=False)[0]
    mine, theirs = (masks.flatten(1) > 0).float(), (query_masks.flatten(1) > 0).float()
    shared = mine @ theirs.T
    union = mine.sum(1)[:, None] + theirs.sum(1)[None] - shared
    overlap, best = (shared / union.clamp(min=1)).max(dim=1)
    probability, category = class_logits.softmax(dim=-1)[best, :-1].max(dim=-1)
    scores = overlap * probability
    named = [
        int(c) if o >= LEAST_OVERLAP and s >= LEAST_SCORE else None
        for c, o, s in zip(category, overlap, scores, strict=True)
    ]
    return MaskCategories(tuple(named), tuple(0.0 if c is None else float(s) for c, s in zip(named, scores, strict=True)))


def categories_from_text_map(class_logits: Float[Tensor, "n k1"]) -> MaskCategories:
    """Give each mask the class that its own places mean together, with its probability; for models that know that.

    What was marked is something: the background, last, is no answer.
    """
    probability, category = class_logits[:, :-1].softmax(dim=-1).max(dim=-1)
    sure = probability >= LEAST_PROBABILITY
    names = tuple(int(c) if s else None for c, s in zip(category, sure, strict=True))
    return MaskCategories(names, tuple(float(p) if s else 0.0 for p, s in zip(probability, sure, strict=True)))
