"""Loss functions: pure functions, one term each, unweighted.

Masks are compared at points (`models.ops.points`), so logits and targets come as rows of P values. `count` is what a
sum over masks is divided by, normally the number of masks and at least 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor


def mask_bce(
    logits: Float[Tensor, "n p"], targets: Float[Tensor, "n p"], count: float | None = None
) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over the points of a mask, summed over masks and divided by `count` (default N)."""
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return _average(bce.mean(dim=-1), count)


def mask_dice(
    logits: Float[Tensor, "n p"], targets: Float[Tensor, "n p"], count: float | None = None
) -> Float[Tensor, ""]:
    """One minus the soft dice coefficient of every mask, summed over masks and divided by `count` (default N).

    V-Net (arXiv 1606.04797) with plain sums in the denominator and 1 added on both sides: an empty mask that is rightly
    predicted costs nothing. Official behaviour.
    """
    scores = logits.sigmoid()
    overlap = 2 * (scores * targets).sum(dim=-1)
    total = scores.sum(dim=-1) + targets.sum(dim=-1)
    return _average(1 - (overlap + 1) / (total + 1), count)


def _average(costs: Float[Tensor, " n"], count: float | None) -> Float[Tensor, ""]:
    """Sum the costs of all masks and divide by `count`, by default their number (at least 1)."""
    if count is None:
        count = max(costs.shape[0], 1)
    return costs.sum() / count


def class_cross_entropy(
    logits: Float[Tensor, "b q k"], classes: Int[Tensor, "b q"], no_object_weight: float = 0.1
) -> Float[Tensor, ""]:
    """Cross-entropy of every query's class; the last of the K classes is "no object".

    Queries without an object weigh `no_object_weight`, and the mean is the weighted one (DETR, arXiv 2005.12872,
    section 3.1; official behaviour).
    """
    weight = logits.new_ones(logits.shape[-1])
    weight[-1] = no_object_weight
    return F.cross_entropy(logits.flatten(0, 1), classes.flatten(), weight)


def phrase_similarity(
    queries: Float[Tensor, "q d"], phrases: Float[Tensor, "n d"], scale: Float[Tensor, ""] | float
) -> Float[Tensor, "q n"]:
    """Cosine of every query with every phrase, times `scale`.

    `scale` is exp(logit_scale), at most 100; 1e-7 is added to the norms (official behaviour).
    """
    queries = queries / (queries.norm(dim=-1, keepdim=True) + 1e-7)
    phrases = phrases / (phrases.norm(dim=-1, keepdim=True) + 1e-7)
    return scale * queries @ phrases.T


def phrase_cross_entropy(
    similarity: Float[Tensor, "q n"],
    queries: Int[Tensor, " m"],
    phrases: Int[Tensor, " m"],
    hashes: Int[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Cross-entropy of the query of every phrase: softmax over the Q queries, mean over the N phrases.

    Query `queries[i]` is matched to phrase `phrases[i]`. Phrases of equal hash mean the same, so the queries matched to
    any of them share the target equally (official behaviour). No phrase: 0.
    """
    is_equal = (hashes[:, None] == hashes).to(similarity.dtype)
    matched = torch.zeros_like(similarity)
    matched[queries, phrases] = 1
    targets = matched @ (is_equal / is_equal.sum(dim=-1, keepdim=True))
    return -(targets * similarity.log_softmax(dim=0)).sum() / max(similarity.shape[1], 1)


def visual_cross_entropy(
    similarity: Float[Tensor, "n q"], queries: Int[Tensor, " n"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the query of every visually prompted object: softmax over Q queries, mean over N objects.

    `similarity` is the plain product of the prompt's vector with the mask embeddings of all queries of its image, those
    of other objects too (SEEM v1, official behaviour). `queries` holds the matched one. No object: 0.
    """
    return F.cross_entropy(similarity, queries, reduction="sum") / max(similarity.shape[0], 1)


def next_word_cross_entropy(
    logits: Float[Tensor, "b t v"], ids: Int[Tensor, "b t"], valid: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Cross-entropy of the next of V words after every word of a caption; `valid` marks start to end token.

    The sum over all captions, divided by the number of predicted words plus 1 (official behaviour). No caption: 0.
    """
    is_predicted = valid[:, 1:]
    costs = F.cross_entropy(logits[:, :-1][is_predicted], ids[:, 1:][is_predicted], reduction="sum")
    return costs / (is_predicted.sum() + 1)


def contrastive_cross_entropy(similarity: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Cross-entropy of the caption (column) of every image (row), and of the image of every caption.

    Pairs are on the diagonal. The mean of both directions (CLIP, arXiv 2103.00020, figure 3). No pair: 0.
    """
    pairs = torch.arange(len(similarity), device=similarity.device)
    captions = F.cross_entropy(similarity, pairs, reduction="sum")
    images = F.cross_entropy(similarity.T, pairs, reduction="sum")
    return (captions + images) / (2 * max(len(similarity), 1))


def image_word_cross_entropy(
    similarity: Float[Tensor, "b n"], valid: Bool[Tensor, "b t"], image_share: float = 0.7
) -> Float[Tensor, ""]:
    """Cross-entropy of the words of every image's caption, and of the image of every word.

    The N columns are the valid words of all captions, one caption after the other. The target of an image grows with
    the position of a word in its caption, 1, 2, 3, ..., and sums to 1; the share of a word is also the weight of its
    own cross-entropy. `image_share` is the weight of the first direction, the rest that of the second (official
    behaviour). No caption: 0.
    """
    positions = valid.cumsum(dim=1) * valid
    totals = positions.sum(dim=1, keepdim=True).clamp(min=1)
    shares = (positions / totals).to(similarity.dtype)
    own_image = torch.eye(len(valid), dtype=shares.dtype, device=shares.device)
    targets = (own_image[:, :, None] * shares)[:, valid]
    images = _soft_cross_entropy(similarity, targets, dim=1)
    words = _soft_cross_entropy(similarity, targets, dim=0)
    return image_share * images + (1 - image_share) * words


def region_text_cross_entropy(
    similarity: Float[Tensor, "n m"], columns: Int[Tensor, " n"], region_share: float = 0.7
) -> Float[Tensor, ""]:
    """Cross-entropy of the text of every region among M texts, and of the regions of every text.

    Region i has the text of column `columns[i]`; regions with the same text share its target equally. `region_share` is
    the weight of the first direction, the rest that of the second (official behaviour). No region: 0.
    """
    pairs = torch.zeros_like(similarity).scatter(1, columns[:, None], 1.0)
    regions = _soft_cross_entropy(similarity, pairs, dim=1)
    texts = _soft_cross_entropy(similarity, pairs / pairs.sum(dim=0).clamp(min=1), dim=0)
    return region_share * regions + (1 - region_share) * texts


def _soft_cross_entropy(
    similarity: Float[Tensor, "n m"], targets: Float[Tensor, "n m"], dim: int
) -> Float[Tensor, ""]:
    """Cross-entropy with soft targets: softmax over `dim`, mean over the other dimension (at least 1)."""
    count = max(similarity.shape[1 - dim], 1)
    return -(targets * similarity.log_softmax(dim=dim)).sum() / count
