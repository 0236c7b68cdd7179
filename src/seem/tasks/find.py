"""Everything that a phrase fits: the object queries of the published models, compared with phrases.

Their training told COCO's names apart; it did not tell how well a phrase fits. Asked "red car or background?" a query
answers by whichever is a little less unlike a dog. So a phrase competes with the names that a query might have instead,
except those that the phrase is a kind of, and those that are kinds of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.tasks.instance import foreground_probability
from seem.tasks.interactive import distinct_masks

SAME_OBJECT_IOU = 0.5  # above which two masks are one object
FIND_THRESHOLD = 0.5  # score above which a phrase is likelier than all alternatives together
ARTICLES = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class PhraseMatches:
    """Queries, best first: the phrase that each fits best, its probability, and the score of the object (0-1)."""

    queries: Int[Tensor, " n"]
    phrases: Int[Tensor, " n"]
    phrase_scores: Float[Tensor, " n"]
    scores: Float[Tensor, " n"]


def likely_queries(phrase_logits: Float[Tensor, "q k1"], threshold: float) -> Int[Tensor, " n"]:
    """Return the queries whose best phrase is probable enough for any mask: a product is no larger than a factor."""
    probability = phrase_logits.softmax(dim=-1)[:, :-1].max(dim=-1).values
    return (probability >= threshold).nonzero()[:, 0]


def match_phrases(
    phrase_logits: Float[Tensor, "q k1"], mask_logits: Float[Tensor, "q h w"], threshold: float
) -> PhraseMatches:
    """Keep the queries that fit a phrase, each object once.

    The last column of `phrase_logits` is the background, the alternative to all phrases. Score = softmax probability of
    the best phrase times mean mask probability (official score of instances). An object has one phrase: of masks whose
    IoU is above `SAME_OBJECT_IOU`, the best stays.
    """
    probability, phrases = phrase_logits.softmax(dim=-1)[:, :-1].max(dim=-1)
    likely = likely_queries(phrase_logits, threshold)
    mask_scores = [foreground_probability(mask) for mask in mask_logits[likely]]
    mask_score = torch.stack(mask_scores) if mask_scores else probability[likely]
    scores = probability[likely] * mask_score
    order = scores.argsort(descending=True, stable=True)
    order = order[(scores[order] >= threshold) & (mask_score[order] > 0)]
    order = order[distinct_masks(mask_logits[likely[order]] > 0, SAME_OBJECT_IOU)]
    queries = likely[order]
    return PhraseMatches(queries, phrases[queries], probability[queries], scores[order])


def rival_names(
    phrases: Sequence[str],
    phrase_vectors: Float[Tensor, "p d"],
    names: Sequence[str],
    name_vectors: Float[Tensor, "n d"],
) -> Bool[Tensor, " n"]:
    """Tell which class names compete with the phrases; vectors are class embeddings, normalised.

    All compete but, for each phrase, the name that is most like it ("red car": car; "kitten": cat) and names that hold
    all of its words ("wall": wall-brick, wall-tile).
    """
    competes = torch.ones(len(names), dtype=torch.bool, device=name_vectors.device)
    competes[(phrase_vectors @ name_vectors.T).argmax(dim=1)] = False
    words_of_phrases = [content_words(phrase) for phrase in phrases]
    for row, name in enumerate(names):
        words_of_name = content_words(name)
        if any(required <= words_of_name for required in words_of_phrases):
            competes[row] = False
    return competes


def content_words(text: str) -> frozenset[str]:
    """Return the words of a phrase or name without articles, in lower case."""
    return frozenset(re.findall(r"[^\W_]+", text.casefold())) - ARTICLES


def add_rival_logits(
    phrase_logits: Float[Tensor, "q k1"], rivals: Float[Tensor, "q r"]
) -> Float[Tensor, "q k1"]:
    """Add the probabilities of rivals to the last column, the alternative to all phrases."""
    alternatives = torch.cat((phrase_logits[:, -1:], rivals), dim=1)
    combined = alternatives.logsumexp(dim=1, keepdim=True)
    return torch.cat((phrase_logits[:, :-1], combined), dim=1)
