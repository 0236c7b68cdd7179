"""Matching of queries with objects: the one-to-one assignment of least cost (DETR, arXiv 2005.12872, section 3.1).

The cost of a pair is that of its masks, at random points that all queries and objects of an image share, and that of
class name or phrase. Nothing here has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.ops.points import Draw, sample_at


@dataclass(frozen=True, slots=True)
class Match:
    """Pairs of one image: query `queries[i]` is matched with object `objects[i]`. Queries ascend."""

    queries: Int[Tensor, " m"]
    objects: Int[Tensor, " m"]


@dataclass(frozen=True, slots=True)
class MatchCosts:
    """Weights of names and masks in the cost of a pair, for all three kinds of matching.

    The defaults are SEEM's. Its configuration also has costs for visual prompts, but the official matcher ignores them.
    """

    name: float = 2.0
    bce: float = 5.0
    dice: float = 5.0


@torch.no_grad()
def match_object_queries(
    class_logits: Float[Tensor, "q k"],
    mask_logits: Float[Tensor, "q h w"],
    classes: Int[Tensor, " n"],
    masks: Bool[Tensor, "n H W"],
    draw: Draw,
    *,
    num_points: int = 12544,
    costs: MatchCosts = MatchCosts(),
) -> Match:
    """Match object queries with the objects of an image, by class score and mask."""
    scores = class_logits.softmax(dim=-1)[:, classes]
    return assign(costs.name * -scores + mask_costs(mask_logits, masks, draw, num_points, costs))


@torch.no_grad()
def match_phrase_queries(
    similarity: Float[Tensor, "q n"],
    mask_logits: Float[Tensor, "q h w"],
    masks: Bool[Tensor, "n H W"],
    draw: Draw,
    *,
    num_points: int = 12544,
    costs: MatchCosts = MatchCosts(),
) -> Match:
    """Match phrase queries with phrases, by similarity (softmax over *queries*) and mask."""
    scores = similarity.softmax(dim=0)
    return assign(costs.name * -scores + mask_costs(mask_logits, masks, draw, num_points, costs))


@torch.no_grad()
def match_visual_queries(
    similarity: Float[Tensor, "q n"],
    mask_logits: Float[Tensor, "q h w"],
    masks: Bool[Tensor, "m H W"],
    draw: Draw,
    *,
    num_points: int = 12544,
    costs: MatchCosts = MatchCosts(),
) -> Match:
    """Match every visually prompted object with the best of its own queries (SEEM v1: three each, object-major).

    The scores are a softmax over those own queries. An image may have fewer true objects than the batch has rows
    (M <= N); rows without an object, and objects whose mask is empty, are left out of the match.
    """
    num_queries, num_objects = similarity.shape
    if num_objects == 0 or num_queries % num_objects or len(masks) > num_objects:
        raise ValueError(
            f"Every object needs the same number of queries, and every mask an object; "
            f"got {num_queries} queries, {num_objects} objects and {len(masks)} masks."
        )
    objects = masks.flatten(1).any(dim=1).nonzero()[:, 0]
    per_object = num_queries // num_objects
    own_similarity = similarity.reshape(num_objects, per_object, num_objects)[objects, :, objects]
    own_masks = mask_logits.reshape(num_objects, per_object, *mask_logits.shape[1:])[objects]

    points = draw((1, num_points, 2)).to(mask_logits.device).expand(len(objects), -1, -1)
    predicted = sample_at(own_masks, points, align_corners=False)
    truth = sample_at(masks[objects, None].to(predicted.dtype), points, align_corners=False)
    cost = costs.bce * bce_costs(predicted, truth) + costs.dice * dice_costs(predicted, truth)
    best = (cost[..., 0] - costs.name * own_similarity.softmax(dim=-1)).argmin(dim=-1)
    return Match(queries=objects * per_object + best, objects=objects)


@torch.no_grad()
def match_nouns(similarity: Float[Tensor, "q n"], own: Int[Tensor, " m"]) -> Match:
    """Match queries with the nouns of their image by similarity alone: the truth holds no masks of these objects.

    The softmax runs over the *nouns* of all images; columns `own` are those of this one.
    """
    return assign(-similarity.softmax(dim=-1)[:, own])


def mask_costs(
    mask_logits: Float[Tensor, "q h w"],
    masks: Bool[Tensor, "n H W"],
    draw: Draw,
    num_points: int,
    costs: MatchCosts,
) -> Float[Tensor, "q n"]:
    """Return the cost of every pair of masks, at points that all of them share; resolutions may differ."""
    points = draw((1, num_points, 2)).to(mask_logits.device)
    predicted = sample_at(mask_logits[None], points, align_corners=False)[0]
    truth = sample_at(masks[None].to(predicted.dtype), points, align_corners=False)[0]
    return costs.bce * bce_costs(predicted, truth) + costs.dice * dice_costs(predicted, truth)


def bce_costs(
    logits: Float[Tensor, "*b q p"], targets: Float[Tensor, "*b n p"]
) -> Float[Tensor, "*b q n"]:
    """Binary cross-entropy of every pair, mean over points: softplus(x) - x t, so one product serves all pairs."""
    return (F.softplus(logits).sum(dim=-1, keepdim=True) - logits @ targets.mT) / logits.shape[-1]


def dice_costs(
    logits: Float[Tensor, "*b q p"], targets: Float[Tensor, "*b n p"]
) -> Float[Tensor, "*b q n"]:
    """One minus the soft dice coefficient of every pair, smoothed as in `losses.mask_dice`."""
    scores = logits.sigmoid()
    total = scores.sum(dim=-1)[..., :, None] + targets.sum(dim=-1)[..., None, :]
    return 1 - (2 * scores @ targets.mT + 1) / (total + 1)


def assign(cost: Float[Tensor, "q n"]) -> Match:
    """Assign rows to columns one to one at the least total cost (Hungarian algorithm, on the CPU)."""
    from scipy.optimize import linear_sum_assignment

    if not torch.isfinite(cost).all():
        raise ValueError(
            "Matching costs hold NaN or infinity: the network's outputs have overflowed. "
            "Lower the learning rate or check the inputs."
        )
    queries, objects = linear_sum_assignment(cost.cpu().numpy())
    return Match(
        torch.as_tensor(queries, device=cost.device), torch.as_tensor(objects, device=cost.device)
    )
