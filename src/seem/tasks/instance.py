"""Instance segmentation: scored masks of things, which may overlap."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class QueryClassPairs:
    """The best pairs of query and class, before masks are computed; one query may stand for several classes."""

    queries: Int[Tensor, " n"]
    scores: Float[Tensor, " n"]
    classes: Int[Tensor, " n"]

    def above(self, threshold: float) -> QueryClassPairs:
        """Return the pairs that may score `threshold` or more with a mask: a product is no larger than a factor."""
        likely = self.scores >= threshold
        return QueryClassPairs(self.queries[likely], self.scores[likely], self.classes[likely])


def top_query_classes(
    class_logits: Float[Tensor, "q k1"], is_thing: Bool[Tensor, " k"], top: int = 100
) -> QueryClassPairs:
    """Take the `top` pairs of query and class by softmax score, then keep things (official order of the two).

    The score of an instance is that of its pair times `foreground_probability` of its mask (`instance_inference`).
    """
    scores = class_logits.softmax(dim=-1)[:, :-1]
    num_classes = scores.shape[1]
    best = scores.flatten().topk(min(top, scores.numel()), sorted=True)
    queries, classes = best.indices // num_classes, best.indices % num_classes
    keep = is_thing.to(classes.device)[classes]
    return QueryClassPairs(queries[keep], best.values[keep], classes[keep])


def foreground_probability(logits: Float[Tensor, "H W"]) -> Float[Tensor, ""]:
    """Return the mean probability inside a mask; 0 for an empty mask."""
    inside = logits > 0
    return (logits.sigmoid() * inside).sum() / (inside.sum() + 1e-6)
