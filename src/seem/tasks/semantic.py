"""Semantic segmentation: a class for every pixel.

Two rules. The published models add up the classes of their object queries (`classify_by_queries`). A model with a text
embedding for every cell of the image (nano) compares each cell with the class names (`classify_by_text_map`), and first
decides which of them are in the image at all (`classes_in_image`): among 133 names some are a little like any cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.tasks.postprocess import (
    ImageFrame,
    each_to_image_size,
    to_image_size,
    to_input_size,
    to_output_size,
)

PRESENCE_THRESHOLD = 0.7  # presence score of a class that is named anywhere (`docs/nano/`)
CELL_THRESHOLD = (
    0.35  # mean probability of a class in its best cells, below which none of them shows it
)
BEST_CELLS_RATIO = 0.01  # of the cells of the image, over which that mean is taken: a pole is small
MAX_RESIZED_VALUES = (
    1 << 28
)  # values of all queries at image size that are still resized before they are summed
PIXELS_OF_BLOCK = 8192  # whose scores of all classes are computed together
CLASSES_OF_BLOCK = 16  # whose maps are computed together


@dataclass(frozen=True, slots=True)
class SemanticPrediction:
    """The winning class of every pixel, and its score: a sum over queries (about 0-1), or a probability.

    With a background, class K (one behind the last) is none of them.
    """

    classes: Int[Tensor, "H W"]
    scores: Float[Tensor, "H W"]


def classify_by_queries(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q h w"],
    frame: ImageFrame,
    background: bool = False,
) -> SemanticPrediction:
    """Sum over queries class probability times mask probability; the class with the highest sum wins a pixel.

    Source: official `semantic_inference`, which resizes masks, then sums them. For images so large that all masks do
    not fit (2.6 megapixels with 101 queries) sums at network size are resized instead. `background`: "no object"
    competes too, as in the official evaluation of data sets that have one (`keep_sem_bgd`).
    """
    class_probability = class_logits.softmax(dim=-1).T
    if not background:
        class_probability = class_probability[:-1]
    height, width = frame.output_hw
    if len(mask_logits) * height * width > MAX_RESIZED_VALUES:
        mask_probability = to_input_size(mask_logits, frame).sigmoid()
        small_scores = class_scores(class_probability, mask_probability)
        return best_class_per_pixel(to_output_size(score[None], frame)[0] for score in small_scores)
    masks = mask_logits.new_empty(len(mask_logits), height, width)
    for mask, resized in zip(masks, each_to_image_size(mask_logits, frame), strict=True):
        torch.sigmoid(resized, out=mask)
    scores, classes = best_class_in_blocks(class_probability, masks.flatten(1))
    return SemanticPrediction(classes.view(height, width), scores.view(height, width))


def best_class_in_blocks(
    class_probability: Float[Tensor, "k q"], mask_probability: Float[Tensor, "q p"]
) -> tuple[Float[Tensor, " p"], Int[Tensor, " p"]]:
    """Return the highest score of every pixel and its class, the first of equals.

    Block by block of pixels: the scores of all classes stay in the processor's cache, and masks are read once.
    """
    scores, classes = [], []
    for block in torch.split(mask_probability, PIXELS_OF_BLOCK, dim=1):
        best = (class_probability @ block).max(dim=0)
        scores.append(best.values)
        classes.append(best.indices)
    return torch.cat(scores), torch.cat(classes)


def class_scores(
    class_probability: Float[Tensor, "k q"], mask_probability: Float[Tensor, "q h w"]
) -> Iterator[Float[Tensor, "h w"]]:
    """Yield the scores of one class after the other, so that memory does not grow with the number of classes."""
    for few in torch.split(class_probability, CLASSES_OF_BLOCK):
        yield from torch.einsum("kq,qhw->khw", few, mask_probability)


def classify_by_text_map(
    logits: Float[Tensor, "k1 h w"], frame: ImageFrame, background: bool = False
) -> SemanticPrediction:
    """Give every pixel the class that its cell is most similar to, at image size.

    `logits` compare every cell (stride 4) with every class, the background last, which competes only if `background`.
    Probabilities are resized to the image, one class at a time.
    """
    if not background:
        logits = logits[:-1]
    probability = logits.softmax(dim=0)
    return best_class_per_pixel(
        to_image_size(one_class[None], frame)[0] for one_class in probability
    )


def classes_in_image(
    logits: Float[Tensor, "k h w"], presence: Float[Tensor, " k"]
) -> tuple[Int[Tensor, " m"], bool]:
    """Return the classes that are surely in the image, in their order; if there is none the likeliest, and False.

    `logits` compare every cell with every class (no background), `presence` is the score (0-1) that a class is in the
    image.
    """
    probability = logits.flatten(1).softmax(dim=0)
    num_best = max(1, round(BEST_CELLS_RATIO * probability.shape[1]))
    best_cells = probability.topk(num_best, dim=1).values.mean(dim=1)
    is_shown = (presence >= PRESENCE_THRESHOLD) & (best_cells >= CELL_THRESHOLD)
    if is_shown.any():
        return is_shown.nonzero()[:, 0], True
    return (presence * best_cells).argmax()[None], False


def best_class_per_pixel(scores: Iterable[Float[Tensor, "H W"]]) -> SemanticPrediction:
    """Choose the class with the highest score at every pixel, the first of equals; maps may come one by one."""
    best: Tensor | None = None
    winner = torch.zeros(0, dtype=torch.int64)
    for category, score in enumerate(scores):
        if best is None:
            best, winner = score, torch.zeros_like(score, dtype=torch.int64)
            continue
        larger = score > best
        best = torch.where(larger, score, best)
        winner.masked_fill_(larger, category)
    assert best is not None  # a vocabulary holds a class
    return SemanticPrediction(winner, best)
