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

OVERLAP_THRESHOLD = 0.8  # share of its mask that a query has to keep
PHRASE_OVERLAP_THRESHOLD = 0.6  # the same of a phrase: phrases overlap more than queries


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

    This needs no masks: they are computed for these queries alone.
    """
    scores, categories = class_logits.softmax(dim=-1).max(dim=-1)
    no_object = class_logits.shape[-1] - 1
    keep = (categories != no_object) & (scores > threshold)
    queries = keep.nonzero()[:, 0]
    return ConfidentQueries(queries, scores[queries], categories[queries])


def merge_masks(
    confident: ConfidentQueries,
    mask_logits: Iterable[Float[Tensor, "H W"]],
    output_hw: tuple[int, int],
    is_thing: Bool[Tensor, " k"],
    overlap_threshold: float = OVERLAP_THRESHOLD,
) -> PanopticPrediction:
    """Merge the masks of confident queries, which may come one after the other: each is read once.

    A pixel goes to the query with the largest score times probability, if its own probability is at least a half. A
    query keeps its pixels when they are at least `overlap_threshold` of its whole mask. Stuff of one class is one
    segment.
    """
    ids = torch.zeros(output_hw, dtype=torch.int32, device=confident.scores.device)
    owner, masks = assign_pixels(confident.scores, mask_logits, output_hw)
    segments: list[PredictedSegment] = []
    stuff_ids: dict[int, int] = {}
    for index, mask in enumerate(masks):
        owned = owner == index
        pixels = owned & mask
        if not pixels.any() or int(owned.sum()) / int(mask.sum()) < overlap_threshold:
            continue
        category = int(confident.categories[index])
        if category in stuff_ids:
            ids[pixels] = stuff_ids[category]
            continue
        segment = PredictedSegment(
            id=len(segments) + 1,
            category=category,
            is_thing=bool(is_thing[category]),
            score=float(confident.scores[index]),
            query=int(confident.queries[index]),
        )
        ids[pixels] = segment.id
        segments.append(segment)
        if not segment.is_thing:
            stuff_ids[category] = segment.id
    return PanopticPrediction(ids, tuple(segments))


def assign_pixels(
    scores: Float[Tensor, " m"],
    mask_logits: Iterable[Float[Tensor, "H W"]],
    output_hw: tuple[int, int],
) -> tuple[Int[Tensor, "H W"], list[Bool[Tensor, "H W"]]]:
    """Return the row with the largest score times probability at every pixel, the first of equals, and every mask.

    A running maximum over one mask at a time: what stays in memory of each is a byte a pixel.
    """
    best = torch.full(output_hw, -1.0, dtype=scores.dtype, device=scores.device)
    owner = torch.zeros(output_hw, dtype=torch.int16, device=scores.device)
    masks = []
    for index, (score, logits) in enumerate(zip(scores, mask_logits, strict=True)):
        probability = logits.sigmoid()
        masks.append(probability >= 0.5)
        claim = probability * score
        owner.masked_fill_(claim > best, index)
        best = torch.maximum(claim, best)
    return owner, masks
