"""Loss of several masks an object, of which the best one learns.

Source: Kirillov et al. 2023, "Segment Anything", section 3 and appendix A ("resolving ambiguity"): of three masks a
prompt only the one of the lowest loss gets a gradient. Here a small share goes to the mean of all, so that no mask is
left behind.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.mask_refiner import CandidateMasks
from seem.training.batches import TrainingBatch, mask_coverage
from seem.training.objectives.dense_masks import BCE_WEIGHT, EMPTY_LOGIT

TO_ALL = 0.05  # share of the loss that goes to the mean of all candidates


def ambiguous_targets(batch: TrainingBatch) -> Bool[Tensor, "b n"]:
    """Return which targets may mean several things: marks on the photo without a box, an outline or words."""
    marked = batch.positive.flatten(2).any(dim=-1)
    bounded = batch.bounds.flatten(2).any(dim=-1)
    referenced = batch.reference.flatten(2).any(dim=-1)
    return marked & ~bounded & ~referenced & ~batch.has_phrase


def candidate_losses(
    candidates: CandidateMasks, batch: TrainingBatch, rows: Bool[Tensor, "b n"]
) -> tuple[Tensor, Tensor]:
    """Return the mask loss of the candidates of `rows`, and the loss of what they predict of their IoU.

    The mask loss is that of `mask_loss` (weighted BCE and dice), for every object that of its best candidate.
    """
    if not rows.any():
        return candidates.logits.sum() * 0, candidates.quality_logits.sum() * 0
    logits = candidates.logits[rows].float().flatten(2)
    truth = mask_coverage(batch.truth, 2)[rows].flatten(1)[:, None]
    ignored = (
        mask_coverage(batch.ignore[:, None], 2)
        .expand(-1, rows.shape[1], -1, -1)[rows]
        .flatten(1)[:, None]
    )
    void = (ignored > 0.5) & (truth == 0)
    logits = logits.masked_fill(void, EMPTY_LOGIT)
    losses = mask_losses(logits, truth)
    mask_loss = (1 - TO_ALL) * losses.min(dim=1).values + TO_ALL * losses.mean(dim=1)
    predicted = candidates.quality_logits[rows].float()
    quality_loss = F.binary_cross_entropy_with_logits(predicted, iou_of(logits, truth))
    return mask_loss.mean(), quality_loss


def mask_losses(
    logits: Float[Tensor, "r k p"], truth: Float[Tensor, "r 1 p"]
) -> Float[Tensor, "r k"]:
    """Return the weighted binary cross-entropy plus the dice loss of every mask."""
    truth = truth.expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=-1)
    probability = logits.sigmoid()
    dice = 1 - (2 * (probability * truth).sum(dim=-1) + 1) / (
        probability.sum(dim=-1) + truth.sum(dim=-1) + 1
    )
    return BCE_WEIGHT * entropy + dice


@torch.no_grad()
def iou_of(logits: Float[Tensor, "r k p"], truth: Float[Tensor, "r 1 p"]) -> Float[Tensor, "r k"]:
    """Return the IoU of every mask with its truth; 0 where both are empty."""
    inside, target = logits > 0, truth > 0.5
    union = (inside | target).sum(dim=-1)
    return (inside & target).sum(dim=-1) / union.clamp(min=1)
