"""Regions of an image without any prompt, for dense models: the answers to clicks on a grid.

Object queries need far more training images than nano has. Its mask head answers a click anywhere, and its text map
gives each answer a class vector, so that proposals have the form of object queries.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.inference.prediction import ImageRegions
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import Draws
from seem.models.segmenter import Segmenter
from seem.models.structures import VisualPrompts
from seem.models.text_embedding_head import pooled_text_vectors
from seem.tasks.interactive import distinct_masks, segment_objects, to_stride4

POINTS_PER_SIDE = 7
POINTS_PER_PASS = 25  # bounds memory
MIN_QUALITY = 0.3  # predicted IoU below which an answer is no region
SAME_REGION_IOU = 0.7  # above which two answers are one region


def propose_regions(
    model: Segmenter, image: ImageEncoding, input_hw: tuple[int, int], draws: Draws
) -> ImageRegions:
    """Click on a grid over the image, which fills `input_hw` (upper left) of the padded frame.

    Returns the answers that differ, those of the best predicted quality first.
    """
    mask_logits, quality = answer_grid_clicks(model, image, input_hw, draws)
    order = quality.argsort(descending=True, stable=True)
    inside = mask_logits[order] > 0
    is_region = (quality[order] >= MIN_QUALITY) & inside.flatten(1).any(dim=1)
    order = order[is_region]
    if len(order):
        order = order[distinct_masks(mask_logits[order] > 0, SAME_REGION_IOU)]
    vectors = masked_text_vectors(image, mask_logits[order])
    return ImageRegions(vectors, mask_logits[order])


def answer_grid_clicks(
    model: Segmenter, image: ImageEncoding, input_hw: tuple[int, int], draws: Draws
) -> tuple[Float[Tensor, "n h w"], Float[Tensor, " n"]]:
    """Return the mask logits (stride 4, padded frame) and predicted quality (0-1) of every click of the grid."""
    features = image.pixels.mask_features
    padded_hw = (4 * features.hw[0], 4 * features.hw[1])
    logits, qualities = [], []
    for marks in torch.split(grid_clicks(input_hw, padded_hw, POINTS_PER_SIDE), POINTS_PER_PASS):
        positive = marks[None].to(features.device)
        masks = segment_objects(
            model, image, VisualPrompts(positive, torch.zeros_like(positive)), draws
        )
        assert masks.quality is not None
        logits.append(to_stride4(masks.logits[0], padded_hw))
        qualities.append(masks.quality[0].float())
    return torch.cat(logits), torch.cat(qualities)


def grid_clicks(
    input_hw: tuple[int, int], padded_hw: tuple[int, int], per_side: int
) -> Bool[Tensor, "n h w"]:
    """Draw clicks of 3 x 3 pixels at the centres of `per_side` x `per_side` equal parts of the image, one a map."""
    height, width = input_hw
    marks = torch.zeros(per_side * per_side, *padded_hw, dtype=torch.bool)
    for index in range(per_side * per_side):
        row, column = divmod(index, per_side)
        y = int((row + 0.5) * height / per_side)
        x = int((column + 0.5) * width / per_side)
        marks[index, max(y - 1, 0) : min(y + 2, height), max(x - 1, 0) : min(x + 2, width)] = True
    return marks


def masked_text_vectors(
    image: ImageEncoding, mask_logits: Float[Tensor, "n h w"]
) -> Float[Tensor, "n d"]:
    """Return the mean text vector inside each mask (logits, padded frame, any stride)."""
    assert image.text_map is not None
    inside = (mask_logits > 0).float()
    return pooled_text_vectors(image.text_map, inside[None])[0].float()
