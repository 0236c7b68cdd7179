"""Instance segmentation: scored masks of things, which may overlap."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class QueryClassPairs:
    """The best pairs of query and class, before masks are known; one query may stand for several classes."""

    queries: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]
    classes: Int[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class Instances:
    """Scored masks, best first."""

    scores: Float[Tensor, " n"]
    classes: Int[Tensor, " n"]
    masks: Bool[Tensor, "n H W"]


def top_query_classes(
    class_logits: Float[Tensor, "q k1"], is_thing: Bool[Tensor, " k"], top: int = 100
) -> QueryClassPairs:
    """Take the `top` pairs of query and class by softmax score, then keep things (official order of the two)."""
    scores = class_logits.softmax(dim=-1)[:, :-1]
    num_classes = scores.shape[1]
    best = scores.flatten().topk(min(top, scores.numel()), sorted=True)
    classes = best.indices % num_classes
    keep = is_thing.to(classes.device)[classes]
    return QueryClassPairs((best.indices // num_classes)[keep], best.values[keep], classes[keep])


def top_instances(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q H W"],
    is_thing: Bool[Tensor, " k"],
    top: int = 100,
) -> Instances:
    """Answer instances at the size of `mask_logits`, best first.

    Score = class score times mean foreground probability (official `instance_inference`).
    """
    found = top_query_classes(class_logits, is_thing, top)
    masks = mask_logits[found.queries] > 0
    quality = torch.stack([foreground_probability(mask_logits[q]) for q in found.queries.tolist()] or [torch.zeros(())])
    scores = found.scores * quality[: len(found.scores)]
    order = scores.argsort(descending=True)
    return Instances(scores[order], found.classes[order], masks[order])


def foreground_probability(logits: Float[Tensor, "H W"]) -> Float[Tensor, ""]:
    """Return the mean probability inside the mask: how sure a mask is of itself. 0 for an empty mask."""
    inside = logits > 0
    return (logits.sigmoid() * inside).sum() / (inside.sum() + 1e-6)
