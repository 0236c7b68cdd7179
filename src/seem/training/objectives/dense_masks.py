"""Losses of the masks of prompted objects for dense models, and the simulated clicks between rounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.mask_refiner import RefinedMasks
from seem.simulation.next_click import ritm_click
from seem.training.batches import TrainingBatch, mask_coverage
from seem.training.losses import mask_bce, mask_dice

EMPTY_LOGIT = (
    -20.0
)  # given to pixels that are not judged: there prediction and truth are both empty
BCE_WEIGHT = 2.0  # beside dice


@dataclass(frozen=True, slots=True)
class RefinedMaskLosses:
    """Losses of final masks and of their predicted IoU, and the mean IoU of the objects that are there."""

    mask: Tensor
    quality: Tensor
    iou: Tensor


def refined_mask_losses(refined: RefinedMasks, batch: TrainingBatch) -> RefinedMaskLosses:
    """Compare final masks with the truth, and predicted with true IoU (0 for what is not in the image)."""
    logits, truth = prompted_masks(refined.logits, batch, 2)
    mask = present_mask_loss(logits, truth)
    with torch.no_grad():
        predicted, target = logits > 0, truth > 0.5
        intersection = (predicted & target).sum(1)
        union = (predicted | target).sum(1)
        iou = torch.where(union > 0, intersection / union.clamp(min=1), 0.0)
    quality_logits = refined.quality_logits.float()[has_prompt(batch)]
    quality = F.binary_cross_entropy_with_logits(quality_logits, iou, reduction="sum") / max(
        len(iou), 1
    )
    is_present = target.any(1)
    present = iou[is_present] if is_present.any() else iou
    return RefinedMaskLosses(mask, quality, present.sum() / max(len(present), 1))


def coarse_mask_loss(coarse: Float[Tensor, "b n h w"], batch: TrainingBatch) -> Tensor:
    """Compare coarse masks (logits at stride 4) with the truth."""
    logits, truth = prompted_masks(coarse, batch, 4)
    return present_mask_loss(logits, truth)


def present_mask_loss(logits: Float[Tensor, "k p"], truth: Float[Tensor, "k p"]) -> Tensor:
    """Return BCE + dice, over the whole map, of the masks of objects that are in the image.

    For an absent object the mask is not judged: a mask answers where an object would be, its quality whether it is.
    """
    is_present = truth.any(dim=1)
    if not is_present.any():
        return logits.sum() * 0
    return mask_loss(logits[is_present], truth[is_present])


def mask_loss(logits: Float[Tensor, "k p"], truth: Float[Tensor, "k p"]) -> Tensor:
    """Return weighted BCE + dice of masks, mean over masks."""
    return mask_bce(logits, truth) * BCE_WEIGHT + mask_dice(logits, truth)


def prompted_masks(
    logits: Float[Tensor, "b n h w"], batch: TrainingBatch, stride: int
) -> tuple[Float[Tensor, "k p"], Float[Tensor, "k p"]]:
    """Return logits and truth at a stride, for the objects with a prompt; both are empty on pixels to ignore."""
    prompted = has_prompt(batch)
    truth = mask_coverage(batch.truth, stride)
    ignored = (mask_coverage(batch.ignore[:, None], stride) > 0.5) & (truth == 0)
    return logits.float().masked_fill(ignored, EMPTY_LOGIT)[prompted].flatten(1), truth[
        prompted
    ].flatten(1)


def has_prompt(batch: TrainingBatch) -> Bool[Tensor, "b n"]:
    """Return which targets have a prompt (images with few objects are filled up with targets without one)."""
    has_mark = (batch.positive | batch.bounds | batch.reference).flatten(2).any(-1)
    return has_mark | batch.has_phrase


def add_correction_clicks(
    logits: Float[Tensor, "b n h w"],
    batch: TrainingBatch,
    positive: Bool[Tensor, "b n s s"],
    negative: Bool[Tensor, "b n s s"],
) -> None:
    """Add a simulated click to every object that is there, at the middle of the larger error; changes the marks.

    `logits` are masks at stride 2.
    """
    is_absent = ~batch.truth.flatten(2).any(-1).cpu()
    truth = (mask_coverage(batch.truth, 2) > 0.5).cpu()
    ignored = mask_coverage(batch.ignore[:, None], 2).cpu() > 0.5
    predicted = (logits > 0).cpu() & ~(ignored & ~truth)
    for b, sample in enumerate(batch.samples):
        height, width = sample.valid_hw
        pixels = (slice(0, (height + 1) // 2), slice(0, (width + 1) // 2))
        for n in range(truth.shape[1]):
            if is_absent[b, n]:
                continue
            target = truth[b, n][pixels].numpy()
            click = ritm_click(target, predicted[b, n][pixels].numpy(), np.zeros_like(target))
            if click is not None:
                marks = positive if click.positive else negative
                _mark_square(marks[b, n], x=2 * click.x, y=2 * click.y)


def _mark_square(marks: Bool[Tensor, "s s"], *, x: int, y: int) -> None:
    """Mark the 3 x 3 pixels around a pixel."""
    marks[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
