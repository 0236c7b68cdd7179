"""Whether something named or shown is in an image at all, by the image's text embedding map.

A mask answers where a thing would be; whether it is there is asked of the cells that fit it best: how probable is it
that they show it rather than anything else that has a name?
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SYNONYM_COSINE = 0.5  # above which two names do not compete
SAME_CLASS_COSINE = (
    0.99  # the same where all names are classes of one list, of which each excludes the others
)
BEST_CELLS_SHARE = 0.05  # of the image's cells: those that are asked
_SMALLEST = torch.finfo(torch.float32).tiny


def presence_scores(
    text_map: Float[Tensor, "d h w"],
    vectors: Float[Tensor, "n d"],
    names: Float[Tensor, "k d"],
    scale: float,
    midpoint: float,
    synonym_cosine: float = SYNONYM_COSINE,
) -> Float[Tensor, " n"]:
    """Score how surely each of N things is in the image, 0-1.

    Args:
        text_map: the image's own cells, without padding.
        vectors: text vectors of the things, of length 1; zeros are nothing, which is nowhere.
        names: text vectors of all names that compete for the cells, of length 1.
        scale: the model's temperature.
        midpoint: the mean probability of the best cells that scores 0.5. Among so many names even what is there gets
            little of a cell.
        synonym_cosine: names whose cosine with a thing is above it do not compete with it.
    """
    return presence_and_limit(text_map, vectors, names, scale, midpoint, synonym_cosine)[0]


def presence_and_limit(
    text_map: Float[Tensor, "d h w"],
    vectors: Float[Tensor, "n d"],
    names: Float[Tensor, "k d"],
    scale: float,
    midpoint: float,
    synonym_cosine: float = SYNONYM_COSINE,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return `presence_scores`, and the score of the best cell, which no region passes in `region_presence_scores`."""
    probability = _cell_probabilities(text_map, vectors, names, scale, synonym_cosine)
    best = _mean_of_best(probability)
    highest = probability.amax(dim=1)
    return best / (best + midpoint), highest / (highest + midpoint)


def region_presence_scores(
    text_map: Float[Tensor, "d h w"],
    vectors: Float[Tensor, "n d"],
    names: Float[Tensor, "k d"],
    scale: float,
    midpoint: float,
    regions: Float[Tensor, "n h w"],
    synonym_cosine: float = SYNONYM_COSINE,
) -> Float[Tensor, " n"]:
    """Score how surely each of N regions (its share of every cell, 0-1) shows the thing with the same index, 0-1.

    As `presence_scores`, but asked of the better half of the region's own cells.
    """
    probabilities = _cell_probabilities(text_map, vectors, names, scale, synonym_cosine)
    scores = []
    for probability, region in zip(probabilities, regions.flatten(1), strict=True):
        own = probability[region >= min(0.5, float(region.max()))]
        count = (len(own) + 1) // 2
        best = own.topk(count, sorted=False).values.mean()
        scores.append(best / (best + midpoint))
    return torch.stack(scores) if scores else text_map.new_zeros(0)


def name_likelihoods(
    text_map: Float[Tensor, "d h w"], names: Float[Tensor, "k d"], scale: float
) -> Float[Tensor, " k"]:
    """Return how likely the best cells are to show each of K names rather than another, 0-1: to make a shortlist."""
    cells = text_map.flatten(1).float().mT
    return _mean_of_best((cells @ names.float().mT * scale).softmax(dim=1).mT.contiguous())


def _mean_of_best(probability: Float[Tensor, "n p"]) -> Float[Tensor, " n"]:
    """Return the mean probability of the cells that show each thing best."""
    count = max(1, round(BEST_CELLS_SHARE * probability.shape[1]))
    return probability.topk(count, dim=1, sorted=False).values.mean(dim=1)


def _cell_probabilities(
    text_map: Float[Tensor, "d h w"],
    vectors: Float[Tensor, "n d"],
    names: Float[Tensor, "k d"],
    scale: float,
    synonym_cosine: float,
) -> Float[Tensor, "n p"]:
    """Return the probability of each thing at each cell: a softmax over the thing and its rivals.

    All things share the exponentials of the names.
    """
    cells = text_map.flatten(1).float().mT
    thing_logits = cells @ vectors.float().mT * scale
    name_logits = cells @ names.float().mT * scale
    competes = (vectors.float() @ names.float().mT < synonym_cosine).float()
    largest = torch.cat((thing_logits, name_logits), dim=1).amax(dim=1, keepdim=True)
    thing = (thing_logits - largest).exp()
    rivals = (name_logits - largest).exp() @ competes.mT
    is_something = vectors.any(dim=1, keepdim=True)
    return (thing / (thing + rivals).clamp(min=_SMALLEST)).mT * is_something
