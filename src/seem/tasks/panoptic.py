"""Panoptic segmentation: every pixel belongs to at most one thing or stuff region.

The published merge (Mask2Former, section 3; official `panoptic_inference`): confident queries compete for pixels by
score times mask probability; a query that loses most of its mask to others is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PHRASE_OVERLAP_THRESHOLD = 0.6  # share of its mask that a phrase has to keep: phrases overlap more than queries


@dataclass(frozen=True, slots=True)
class PredictedSegment:
    """One region. `category` indexes the vocabulary, `query` is the first query that it came from."""

    id: int
    category: int
    is_thing: bool
    score: float
    query: int


@dataclass(frozen=True, slots=True)
class PanopticPrediction:
    """Segment ids of every pixel, 0 = none, and what the segments are."""

    ids: Int[Tensor, "H W"]
    segments: tuple[PredictedSegment, ...]


@dataclass(frozen=True, slots=True)
class ConfidentQueries:
    """Queries that passed the threshold: their rows, best scores and categories."""

    queries: Int[Tensor, " m"]
    scores: Float[Tensor, " m"]
    categories: Int[Tensor, " m"]


def select_confident(class_logits: Float[Tensor, "q k1"], threshold: float) -> ConfidentQueries:
    """Keep queries whose best class is not "no object" (the last) and scores above `threshold`.

    Known before any mask is computed: only survivors need one.
    """
    scores, categories = class_logits.softmax(dim=-1).max(dim=-1)
    keep = (categories != class_logits.shape[-1] - 1) & (scores > threshold)
    queries = keep.nonzero()[:, 0]
    return ConfidentQueries(queries, scores[queries], categories[queries])


def merge(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q H W"],
    is_thing: Bool[Tensor, " k"],
    threshold: float = 0.8,
    overlap: float = 0.8,
) -> PanopticPrediction:
    """Merge all queries into one map. `mask_logits` are at the answered size."""
    sure = select_confident(class_logits, threshold)
    height, width = mask_logits.shape[-2:]
    return merge_masks(sure, mask_logits[sure.queries], (height, width), is_thing, overlap)


def merge_masks(
    sure: ConfidentQueries,
    mask_logits: Iterable[Float[Tensor, "H W"]],
    output_hw: tuple[int, int],
    is_thing: Bool[Tensor, " k"],
    overlap: float = 0.8,
) -> PanopticPrediction:
    """Merge the masks of confident queries, which may come one after the other: each is looked at once.

    A pixel goes to the query with the largest score times probability, if its own probability is at least a half. A
    query keeps its pixels when they are at least `overlap` of its whole mask. Stuff of one class is one segment.
    """
    ids = torch.zeros(output_hw, dtype=torch.int32, device=sure.scores.device)
    owner, wholes = compete(sure.scores, mask_logits, output_hw)
    segments: list[PredictedSegment] = []
    stuff: dict[int, int] = {}
    for index, whole in enumerate(wholes):
        owned = owner == index
        mine = owned & whole
        owned_area, area = int(owned.sum()), int(whole.sum())
        if not mine.any() or owned_area / area < overlap:
            continue
        category = int(sure.categories[index])
        thing = bool(is_thing[category])
        if not thing and category in stuff:
            ids[mine] = stuff[category]
            continue
        number = len(segments) + 1
        ids[mine] = number
        segments.append(PredictedSegment(number, category, thing, float(sure.scores[index]), int(sure.queries[index])))
        if not thing:
            stuff[category] = number
    return PanopticPrediction(ids, tuple(segments))


def compete(
    scores: Float[Tensor, " m"], mask_logits: Iterable[Float[Tensor, "H W"]], output_hw: tuple[int, int]
) -> tuple[Int[Tensor, "H W"], list[Bool[Tensor, "H W"]]]:
    """Return the row with the largest score times probability at every pixel, the first of equals, and every mask.

    A running maximum over one mask at a time: all that is kept of each is a byte a pixel.
    """
    best = torch.full(output_hw, -1.0, dtype=scores.dtype, device=scores.device)
    owner = torch.zeros(output_hw, dtype=torch.int16, device=scores.device)
    wholes = []
    for index, (score, logits) in enumerate(zip(scores, mask_logits, strict=True)):
        probability = logits.sigmoid()
        wholes.append(probability >= 0.5)
        claim = probability * score
        owner.masked_fill_(claim > best, index)
        best = torch.maximum(claim, best)
    return owner, wholes
