"""Whether something that was only said or shown is in a photo at all.

A mask answers where a thing would be; whether it is there is asked of the map of meaning, where a model has one: how
sure are the places that show it best that they show it rather than anything else that has a name?
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SAME_MEANING = 0.5  # cosine above which two names do not compete
BEST_PLACES = 0.05  # share of the photo that is asked: its best places


def presence(
    meaning: Float[Tensor, "d h w"],
    meant: Float[Tensor, "n d"],
    named: Float[Tensor, "k d"],
    scale: float,
    even: float,
) -> Float[Tensor, " n"]:
    """Return how surely each of N things is in the photo, 0-1.

    `meaning` are the photo's own places (no padding), `meant` the vectors of what was said or shown, `named` those of
    all that has a name and competes for the places; all of length 1 except that zeros mean nothing, which is nowhere.
    `scale` is the model's temperature. Among so many names even what is there gets little of a place: `even` is the
    probability, mean of the best places, that counts as a half.
    """
    places = meaning.flatten(1).float().mT
    mine, theirs = places @ meant.float().mT * scale, places @ named.float().mT * scale
    competes = meant.float() @ named.float().mT < SAME_MEANING
    scores = []
    for row, rivals in enumerate(competes):
        against = torch.cat((mine[:, row, None], theirs[:, rivals]), dim=1)
        surest = against.softmax(dim=1)[:, 0].topk(max(1, round(BEST_PLACES * len(places)))).values
        likely = surest.mean() * meant[row].any()
        scores.append(likely / (likely + even))
    return torch.stack(scores) if scores else places.new_zeros(0)
