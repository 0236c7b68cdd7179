"""Semantic segmentation: a class for every pixel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.tasks.postprocess import PhotoFrame, to_input, to_output, to_photo

LARGEST = 1 << 28  # values of all queries at photo size that are still resized before they are summed


@dataclass(frozen=True, slots=True)
class BestClasses:
    """The winning class of every pixel, and its score (a sum over queries, about 0-1).

    With a background, class K (one behind the last) is none of them.
    """

    classes: Int[Tensor, "H W"]
    scores: Float[Tensor, "H W"]


def class_scores(class_logits: Float[Tensor, "q k1"], mask_logits: Float[Tensor, "q H W"]) -> Float[Tensor, "k H W"]:
    """Sum over queries of class score times mask probability (official `semantic_inference`)."""
    classes = class_logits.softmax(dim=-1)[:, :-1]
    return torch.einsum("qk,qhw->khw", classes, mask_logits.sigmoid())


def best_classes(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q h w"],
    frame: PhotoFrame,
    background: bool = False,
) -> BestClasses:
    """Answer at photo size, one class at a time, so that memory does not grow with the number of classes.

    The official order resizes masks, then sums them. For photos so large that all masks do not fit (2.6 megapixels with
    101 queries) class scores are summed at network size and resized instead. `background`: "no object" competes too, as
    in the official evaluation of data sets that have one (`keep_sem_bgd`).
    """
    height, width = frame.output_hw
    if len(mask_logits) * height * width <= LARGEST:
        probability, resized = to_photo(mask_logits, frame).sigmoid(), True
    else:
        probability, resized = to_input(mask_logits, frame).sigmoid(), False
    weights = class_logits.softmax(dim=-1)
    weights = weights if background else weights[:, :-1]
    best = torch.full(frame.output_hw, -1.0, dtype=mask_logits.dtype, device=mask_logits.device)
    winner = torch.zeros(frame.output_hw, dtype=torch.int64, device=mask_logits.device)
    for category in range(weights.shape[1]):
        score = torch.einsum("q,qhw->hw", weights[:, category], probability)
        score = score if resized else to_output(score[None], frame)[0]
        larger = score > best
        best = torch.where(larger, score, best)
        winner.masked_fill_(larger, category)
    return BestClasses(winner, best)
