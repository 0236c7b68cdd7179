"""What a model with a dense head finds unasked: the answers to clicks on a grid, each with what its places mean.

Object queries need far more photos than a small model sees before they find anything. Its dense head answers a click
anywhere, and its map of meaning says what an answer shows, so that masks and class vectors come from there: in the form
of object queries, so that everything that reads those (panoptic, instances, semantic, `find`, labels) reads these.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.segmenter import Segmenter
from seem.models.structures import VisualPrompts
from seem.models.text_embedding_head import pooled_text_vectors
from seem.tasks.interactive import coarse_logits, distinct, segment_objects

PER_SIDE = 7  # clicks along a side of the photo
TOGETHER = 25  # clicks answered in one pass, which bounds memory
LEAST_QUALITY = 0.3  # predicted IoU below which an answer is no region
SAME_REGION = 0.7  # IoU above which two answers are one region


@dataclass(frozen=True, slots=True)
class Proposals:
    """Regions, best first: mask logits at stride 4 in the padded frame, class vectors, predicted quality (0-1)."""

    mask_logits: Float[Tensor, "n h w"]
    class_vectors: Float[Tensor, "n d"]
    quality: Float[Tensor, " n"]


def propose(model: Segmenter, image: ImageEncoding, input_hw: tuple[int, int], draws: Draws) -> Proposals:
    """Click everywhere on the photo, which fills `input_hw` (upper left) of the padded frame; keep what differs."""
    height, width = (4 * side for side in image.pixels.mask_features.shape[-2:])
    logits, quality = [], []
    for marks in torch.split(grid_clicks(input_hw, (height, width), PER_SIDE), TOGETHER):
        prompts = VisualPrompts(marks[None].to(image.pixels.mask_features.device), torch.zeros_like(marks)[None])
        answer = segment_objects(model, image, prompts, draws)
        assert answer.quality is not None
        logits.append(coarse_logits(answer.logits[0], (height, width)))
        quality.append(answer.quality[0].float())
    masks, sure = torch.cat(logits), torch.cat(quality)
    order = sure.argsort(descending=True, stable=True)
    order = order[(sure[order] >= LEAST_QUALITY) & (masks[order] > 0).flatten(1).any(dim=1)]
    order = order[distinct(masks[order] > 0, SAME_REGION)] if len(order) else order
    return Proposals(masks[order], meant(image, masks[order]), sure[order])


def grid_clicks(input_hw: tuple[int, int], padded_hw: tuple[int, int], per_side: int) -> Bool[Tensor, "n h w"]:
    """Draw clicks of 3 x 3 pixels in the middles of `per_side` x `per_side` fields of the photo, one a map."""
    middles = [[int((i + 0.5) * side / per_side) for i in range(per_side)] for side in input_hw]
    marks = torch.zeros(per_side * per_side, *padded_hw, dtype=torch.bool)
    for row, (y, x) in enumerate(torch.cartesian_prod(*(torch.tensor(m) for m in middles)).tolist()):
        marks[row, max(y - 1, 0) : min(y + 2, input_hw[0]), max(x - 1, 0) : min(x + 2, input_hw[1])] = True
    return marks


def meant(image: ImageEncoding, mask_logits: Float[Tensor, "n h w"]) -> Float[Tensor, "n d"]:
    """Return what the places of masks (logits, padded frame, any stride) mean together, in the text space."""
    assert image.text_map is not None
    return pooled_text_vectors(image.text_map, (mask_logits > 0).float()[None])[0].float()
