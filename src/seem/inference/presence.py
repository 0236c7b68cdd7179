"""Whether something that was only said or shown is in a photo at all.

A mask answers where a thing would be; whether it is there is asked of the map of meaning, where a model has one: how
sure are the places that show it best that they show it rather than anything else that has a name?
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SAME_MEANING = 0.5  # cosine above which two names do not compete
SAME_CLASS = 0.99  # the same where all names are classes of one list, of which each excludes the others
SMALLEST = torch.finfo(torch.float32).tiny
BEST_PLACES = 0.05  # share of the photo that is asked: its best places


def presence(
    meaning: Float[Tensor, "d h w"],
    meant: Float[Tensor, "n d"],
    named: Float[Tensor, "k d"],
    scale: float,
    even: float,
    same: float = SAME_MEANING,
) -> Float[Tensor, " n"]:
    """Return how surely each of N things is in the photo, 0-1.

    `meaning` are the photo's own places (no padding), `meant` the vectors of what was said or shown, `named` those of
    all that has a name and competes for the places; all of length 1 except that zeros mean nothing, which is nowhere.
    `scale` is the model's temperature. Among so many names even what is there gets little of a place: `even` is the
    probability, mean of the best places, that counts as a half. Names whose cosine is above `same` do not compete.
    """
    likely = _likely(meaning, meant, named, scale, same)
    surest = likely.topk(max(1, round(BEST_PLACES * likely.shape[1])), dim=1).values.mean(dim=1)
    return surest / (surest + even)


def likelihoods(meaning: Float[Tensor, "d h w"], named: Float[Tensor, "k d"], scale: float) -> Float[Tensor, " k"]:
    """Return how likely the best places are to show each of K names rather than another of them, 0-1: a first sieve."""
    places = meaning.flatten(1).float().mT
    probability = (places @ named.float().mT * scale).softmax(dim=1)
    return probability.topk(max(1, round(BEST_PLACES * len(places))), dim=0).values.mean(dim=0)


def presence_within(
    meaning: Float[Tensor, "d h w"],
    meant: Float[Tensor, "n d"],
    named: Float[Tensor, "k d"],
    scale: float,
    even: float,
    regions: Float[Tensor, "n h w"],
    same: float = SAME_MEANING,
) -> Float[Tensor, " n"]:
    """Return how surely each of N regions (its share of every place) is the thing that was meant by it, 0-1.

    As `presence`, but asked of the better half of the region's own places.
    """
    scores = []
    for likely, region in zip(_likely(meaning, meant, named, scale, same), regions.flatten(1), strict=True):
        own = likely[region >= min(0.5, float(region.max()))]
        surest = own.topk(-(-len(own) // 2)).values.mean()
        scores.append(surest / (surest + even))
    return torch.stack(scores) if scores else meaning.new_zeros(0)


def _likely(
    meaning: Float[Tensor, "d h w"], meant: Float[Tensor, "n d"], named: Float[Tensor, "k d"], scale: float, same: float
) -> Float[Tensor, "n p"]:
    """Say of each thing, at every place, how likely it is that it shows that and nothing else with a name.

    A softmax over the thing and its rivals, for all things at once: what names have in common is raised to e once.
    """
    places = meaning.flatten(1).float().mT
    mine, theirs = places @ meant.float().mT * scale, places @ named.float().mT * scale
    rivals = (meant.float() @ named.float().mT < same).float()
    most = torch.cat((mine, theirs), dim=1).amax(dim=1, keepdim=True)
    own, others = (mine - most).exp(), (theirs - most).exp() @ rivals.mT
    said = meant.any(dim=1, keepdim=True)
    return (own / (own + others).clamp(min=SMALLEST)).mT * said
