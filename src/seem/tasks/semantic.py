"""Semantic segmentation: a class for every pixel.

Two rules. The published models add up what their object queries say (`best_classes`). A model that knows what every
place of a photo means (nano) compares each place with the class names (`nearest_names`), and asks first
which of them the photo shows at all (`shown`): among 133 names some are a little like any place.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seem.tasks.postprocess import ImageFrame, to_image_size, to_input_size, to_output_size

THERE = 0.7  # how surely a class must be in the photo to be named anywhere (`docs/nano/`)
SURE = 0.35  # probability of a class, mean of its surest places, below which none of them shows it
SUREST_PLACES = 0.01  # share of the photo that is asked: a pole is small
LARGEST = 1 << 28  # values of all queries at photo size that are still resized before they are summed


@dataclass(frozen=True, slots=True)
class SemanticPrediction:
    """The winning class of every pixel, and its score: a sum over queries (about 0-1), or a probability.

    With a background, class K (one behind the last) is none of them.
    """

    classes: Int[Tensor, "H W"]
    scores: Float[Tensor, "H W"]


def class_scores(class_logits: Float[Tensor, "q k1"], mask_logits: Float[Tensor, "q H W"]) -> Float[Tensor, "k H W"]:
    """Sum over queries of class score times mask probability (official `semantic_inference`)."""
    classes = class_logits.softmax(dim=-1)[:, :-1]
    return torch.einsum("qk,qhw->khw", classes, mask_logits.sigmoid())


def classify_by_queries(
    class_logits: Float[Tensor, "q k1"],
    mask_logits: Float[Tensor, "q h w"],
    frame: ImageFrame,
    background: bool = False,
) -> SemanticPrediction:
    """Answer at photo size, one class at a time, so that memory does not grow with the number of classes.

    The official order resizes masks, then sums them. For photos so large that all masks do not fit (2.6 megapixels with
    101 queries) class scores are summed at network size and resized instead. `background`: "no object" competes too, as
    in the official evaluation of data sets that have one (`keep_sem_bgd`).
    """
    height, width = frame.output_hw
    if len(mask_logits) * height * width <= LARGEST:
        probability, resized = to_image_size(mask_logits, frame).sigmoid(), True
    else:
        probability, resized = to_input_size(mask_logits, frame).sigmoid(), False
    weights = class_logits.softmax(dim=-1)
    weights = weights if background else weights[:, :-1]
    scores = (torch.einsum("q,qhw->hw", weight, probability) for weight in weights.T)
    return best_class_per_pixel(score if resized else to_output_size(score[None], frame)[0] for score in scores)


def classify_by_text_map(
    logits: Float[Tensor, "k1 h w"], frame: ImageFrame, background: bool = False
) -> SemanticPrediction:
    """Give every pixel the class that its place is most like, at photo size.

    `logits` compare every place (stride 4) with every class, the background last, which competes only if `background`.
    Probabilities grow to the photo, one class at a time.
    """
    probability = (logits if background else logits[:-1]).softmax(dim=0)
    return best_class_per_pixel(to_image_size(each[None], frame)[0] for each in probability)


def classes_in_image(logits: Float[Tensor, "k h w"], there: Float[Tensor, " k"]) -> tuple[Int[Tensor, " m"], bool]:
    """Return which classes a photo surely shows, in their order; where there are none the likeliest, and False.

    `logits` compare every place with every class (no background), `there` says how surely each is in the photo (0-1).
    """
    places = logits.flatten(1).softmax(dim=0)
    surest = places.topk(max(1, round(SUREST_PLACES * places.shape[1])), dim=1).values.mean(dim=1)
    sure = (there >= THERE) & (surest >= SURE)
    return (sure.nonzero()[:, 0], True) if sure.any() else ((there * surest).argmax()[None], False)


def best_class_per_pixel(scores: Iterable[Float[Tensor, "H W"]]) -> SemanticPrediction:
    """Choose the highest of some maps at every pixel, the first of equals; they are looked at one after the other."""
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
