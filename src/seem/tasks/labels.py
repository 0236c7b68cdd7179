"""A category for a mask that has no label of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

MIN_QUERY_IOU = 0.4  # below which an object query is about something else
MIN_QUERY_SCORE = 0.15  # IoU times class probability below which a mask gets no category
MIN_TEXT_MAP_PROBABILITY = 0.2  # of a class, below which a mask gets no category


@dataclass(frozen=True, slots=True)
class MaskCategories:
    """The category index of each mask (None = no category) and its score, 0-1."""

    categories: tuple[int | None, ...]
    scores: tuple[float, ...]


def categories_from_queries(
    masks: Float[Tensor, "n h w"],
    query_masks: Float[Tensor, "q h4 w4"],
    class_logits: Float[Tensor, "q k1"],
) -> MaskCategories:
    """Give each mask the class of the object query whose own mask overlaps it most.

    Both are mask logits in the padded network frame. The score is IoU times the probability of the class, which is the
    best one that is not "no object".
    """
    if not len(masks):
        return MaskCategories((), ())
    if masks.shape[-2:] != query_masks.shape[-2:]:
        masks = F.interpolate(
            masks[None], size=query_masks.shape[-2:], mode="bilinear", align_corners=False
        )[0]
    inside = (masks.flatten(1) > 0).float()
    query_inside = (query_masks.flatten(1) > 0).float()
    intersection = inside @ query_inside.T
    union = inside.sum(1)[:, None] + query_inside.sum(1)[None] - intersection
    iou, best_query = (intersection / union.clamp(min=1)).max(dim=1)
    probability, category = class_logits.softmax(dim=-1)[best_query, :-1].max(dim=-1)
    scores = iou * probability
    return _with_minimum(category, scores, (iou >= MIN_QUERY_IOU) & (scores >= MIN_QUERY_SCORE))


def categories_from_text_map(class_logits: Float[Tensor, "n k1"]) -> MaskCategories:
    """Give each mask its most probable class, given the logits of its mean text vector.

    A marked object is something: the background, last, is no category.
    """
    probability, category = class_logits[:, :-1].softmax(dim=-1).max(dim=-1)
    return _with_minimum(category, probability, probability >= MIN_TEXT_MAP_PROBABILITY)


def _with_minimum(category: Tensor, scores: Tensor, is_certain: Tensor) -> MaskCategories:
    """Leave out the categories of masks that are not certain enough."""
    categories: list[int | None] = []
    category_scores = []
    for index, score, certain in zip(
        category.tolist(), scores.tolist(), is_certain.tolist(), strict=True
    ):
        if certain:
            categories.append(index)
            category_scores.append(score)
        else:
            categories.append(None)
            category_scores.append(0.0)
    return MaskCategories(tuple(categories), tuple(category_scores))
