"""Everything that a phrase fits: the object queries, asked with phrases in place of class names.

An object query of the published models was taught to tell COCO's names apart, not to say how well a phrase fits: asked
"red car or background?" it answers by whichever is a little less unlike a dog. So a phrase competes with the names
that a query might say instead. Of those, its kin stay away: what it is a kind of and what are kinds of it.

A model with a dense head answers a phrase with one mask of all that it means; that mask is divided into objects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.tasks.components import MIN_OBJECT_COMPONENT_RATIO, connected_components
from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import distinct

SAME_OBJECT = 0.5  # IoU above which two masks are one object
LIKELIER = 0.5  # score above which a phrase is likelier than everything else together
ARTICLES = frozenset({"a", "an", "the"})


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


def divide(meant: Float[Tensor, "h w"]) -> list[Float[Tensor, "h w"]]:
    """Divide the mask of all that a phrase means into its islands, largest first: mask logits each.

    Specks are nobody's. Things of one kind that touch stay one: the parts of a close-up look much like several things.
    """
    inside = meant > 0
    parts = [
        torch.from_numpy(part).to(meant.device)
        for part in connected_components(inside.cpu().numpy(), least=MIN_OBJECT_COMPONENT_RATIO)
    ]
    return [torch.where(part | ~inside, meant, -meant) for part in parts]  # what is nobody's says how edges run


def competing(
    phrases: Sequence[str],
    phrase_vectors: Float[Tensor, "p d"],
    names: Sequence[str],
    name_vectors: Float[Tensor, "n d"],
) -> Bool[Tensor, " n"]:
    """Tell which names speak against the phrases: all but their kin. Vectors are class embeddings, normalised.

    Kin of a phrase are the name that is most like it ("red car": car; "kitten": cat) and names that hold all of its
    words ("wall": wall-brick, wall-tile).
    """
    speaks = torch.ones(len(names), dtype=torch.bool, device=name_vectors.device)
    speaks[(phrase_vectors @ name_vectors.T).argmax(dim=1)] = False
    for row, name in enumerate(names):
        if any(words(phrase) <= words(name) for phrase in phrases):
            speaks[row] = False
    return speaks


def words(text: str) -> frozenset[str]:
    """Return the words of a phrase or name, articles apart."""
    return frozenset(re.findall(r"[^\W_]+", text.casefold())) - ARTICLES


def with_rivals(phrase_logits: Float[Tensor, "q k1"], rivals: Float[Tensor, "q r"]) -> Float[Tensor, "q k1"]:
    """Let the last column, the alternative to all phrases, stand for rivals too: their probabilities add up in it."""
    against = torch.cat((phrase_logits[:, -1:], rivals), dim=1).logsumexp(dim=1, keepdim=True)
    return torch.cat((phrase_logits[:, :-1], against), dim=1)
