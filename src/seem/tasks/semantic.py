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

from seem.tasks.postprocess import ImageFrame, to_image_size, to_input_size, to_output_size

PRESENCE_THRESHOLD = 0.7  # presence score of a class that is named anywhere (`docs/nano/`)
CELL_THRESHOLD = (
    0.35  # mean probability of a class in its best cells, below which none of them shows it
)
BEST_CELLS_RATIO = 0.01  # of the cells of the image, over which that mean is taken: a pole is small
MAX_RESIZED_VALUES = (
    1 << 28
)  # values of all queries at image size that are still resized before they are summed


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
    """Classify pixels at image size, one class at a time, so that memory does not grow with the number of classes.

    The official order resizes masks, then sums them. For images so large that all masks do not fit (2.6 megapixels with
    101 queries) class scores are summed at network size and resized instead. `background`: "no object" competes too, as
    in the official evaluation of data sets that have one (`keep_sem_bgd`).
    """
    height, width = frame.output_hw
    if len(mask_logits) * height * width <= MAX_RESIZED_VALUES:
        masks = to_image_size(mask_logits, frame)
        return best_class_per_pixel(class_scores(class_logits, masks, background))
    small_masks = to_input_size(mask_logits, frame)
    scores = class_scores(class_logits, small_masks, background)
    return best_class_per_pixel(to_output_size(score[None], frame)[0] for score in scores)


def class_scores(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q H W"],
    background: bool = False,
) -> Iterator[Float[Tensor, "H W"]]:
    """Sum over queries class probability times mask probability, one class after the other.

    Source: official `semantic_inference`. `background`: the last class, "no object", is among them.
    """
    mask_probability = mask_logits.sigmoid()
    class_probability = class_logits.softmax(dim=-1)
    if not background:
        class_probability = class_probability[:, :-1]
    return (torch.einsum("q,qhw->hw", weight, mask_probability) for weight in class_probability.T)


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
