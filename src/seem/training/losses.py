"""What a prediction is charged for: pure functions, one term each, unweighted.

Masks are judged at points (`models.ops.points`), so logits and targets come as rows of P values. `count` is the number
that a sum over masks is divided by, normally the number of masks and at least 1.
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
    return per_mask(F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=-1), count)


def mask_dice(
    logits: Float[Tensor, "n p"], targets: Float[Tensor, "n p"], count: float | None = None
) -> Float[Tensor, ""]:
    """One minus the soft dice coefficient of every mask, summed over masks and divided by `count` (default N).

    V-Net (arXiv 1606.04797) with plain sums below the line and 1 added on both sides: an empty mask rightly predicted
    costs nothing. Official behaviour.
    """
    scores = logits.sigmoid()
    overlap = 2 * (scores * targets).sum(dim=-1)
    total = scores.sum(dim=-1) + targets.sum(dim=-1)
    return per_mask(1 - (overlap + 1) / (total + 1), count)


def mask_focal_bce(
    logits: Float[Tensor, "n p"],
    targets: Float[Tensor, "n p"],
    count: float | None = None,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
) -> Float[Tensor, ""]:
    """Binary cross-entropy in which a point counts by how wrong it is: (1 - score of the truth) to the power `gamma`.

    Foreground has weight `alpha`, background 1 - `alpha`; mean over points, then as `mask_bce`. Focal loss, arXiv
    1708.02002, equation 5 and its values.
    """
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    scores = logits.sigmoid()
    wrong = scores + targets - 2 * scores * targets  # 1 - score of the truth, also where a target lies between 0 and 1
    balance = 1 - alpha + (2 * alpha - 1) * targets
    return per_mask((balance * wrong**gamma * bce).mean(dim=-1), count)


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
    """Compare every query with every phrase: cosine times `scale`.

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
    """Ask every phrase which of the Q queries is meant: softmax over queries, mean over the N phrases.

    Query `queries[i]` is matched to phrase `phrases[i]`. Phrases of equal hash say the same, so the queries matched to
    any of them share the target equally (official behaviour). No phrase: 0.
    """
    said_alike = (hashes[:, None] == hashes).to(similarity.dtype)
    matched = torch.zeros_like(similarity)
    matched[queries, phrases] = 1
    targets = matched @ (said_alike / said_alike.sum(dim=-1, keepdim=True))
    return -(targets * similarity.log_softmax(dim=0)).sum() / max(similarity.shape[1], 1)


def visual_cross_entropy(similarity: Float[Tensor, "n q"], queries: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """Ask every visually prompted object which of the Q queries is its own: softmax over queries, mean over objects.

    `similarity` is the plain product of the prompt's vector with the mask embeddings of all queries of its photo, those
    of other objects too (SEEM v1, official behaviour). `queries` holds the matched one. No object: 0.
    """
    return F.cross_entropy(similarity, queries, reduction="sum") / max(similarity.shape[0], 1)


def next_word_cross_entropy(
    logits: Float[Tensor, "b t v"], ids: Int[Tensor, "b t"], valid: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Ask every word of a caption for the next of the V words, up to the end token; `valid` marks start to end token.

    The sum over all captions, divided by the number of words asked for plus 1 (official behaviour). No caption: 0.
    """
    wanted = valid[:, 1:]
    costs = F.cross_entropy(logits[:, :-1][wanted], ids[:, 1:][wanted], reduction="sum")
    return costs / (wanted.sum() + 1)


def pair_cross_entropy(similarity: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """Ask every photo (row) for its caption and every caption (column) for its photo: pairs stand on the diagonal.

    The mean of both directions (CLIP, arXiv 2103.00020, figure 3). No pair: 0.
    """
    pairs = torch.arange(len(similarity), device=similarity.device)
    both = F.cross_entropy(similarity, pairs, reduction="sum") + F.cross_entropy(similarity.T, pairs, reduction="sum")
    return both / (2 * max(len(similarity), 1))


def word_pair_cross_entropy(
    similarity: Float[Tensor, "b n"], valid: Bool[Tensor, "b t"], photo_share: float = 0.7
) -> Float[Tensor, ""]:
    """Ask every photo for the words of its caption, and every word for its photo.

    The N columns are the valid words of all captions, one caption after the other. What a photo should find grows with
    the place of a word in its caption, 1, 2, 3, ..., and sums to 1; the share of a word is also the weight with which
    it asks for its photo. `photo_share` is how much the photos' question counts, the rest is the words' (official
    behaviour). No caption: 0.
    """
    places = valid.cumsum(dim=1) * valid
    shares = (places / places.sum(dim=1, keepdim=True).clamp(min=1)).to(similarity.dtype)
    targets = (torch.eye(len(valid), dtype=shares.dtype, device=shares.device)[:, :, None] * shares)[:, valid]
    photos, words = (
        -(targets * similarity.log_softmax(dim=asked)).sum() / max(similarity.shape[1 - asked], 1) for asked in (1, 0)
    )
    return photo_share * photos + (1 - photo_share) * words


def meaning_cross_entropy(
    similarity: Float[Tensor, "n m"], meanings: Int[Tensor, " n"], region_share: float = 0.7
) -> Float[Tensor, ""]:
    """Ask every region which of the M things said means it, and everything said for its regions.

    Region i is meant by column `meanings[i]`; regions that one column means share its target equally. `region_share` is
    how much the regions' question counts, the rest is that of what is said (official behaviour). No region: 0.
    """
    meant = torch.zeros_like(similarity).scatter(1, meanings[:, None], 1.0)
    regions, said = (
        -(targets * similarity.log_softmax(dim=asked)).sum() / max(similarity.shape[1 - asked], 1)
        for asked, targets in ((1, meant), (0, meant / meant.sum(dim=0).clamp(min=1)))
    )
    return region_share * regions + (1 - region_share) * said


def per_mask(costs: Float[Tensor, " n"], count: float | None) -> Float[Tensor, ""]:
    """Sum the cost of all masks and divide by `count`, by default their number (at least 1)."""
    return costs.sum() / (max(costs.shape[0], 1) if count is None else count)
