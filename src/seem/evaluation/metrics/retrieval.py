"""Recall of retrieval in both directions: captions for a photo, and the photo for a caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent

RECALL_AT = (1, 5, 10)

_ROWS = 1024  # of the table of scores that exist at once


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """Recall at 1, 5 and 10 (0-100) among `photos` photos and their `captions` captions.

    `text`: photos that have one of their own captions among the best; `image`: captions that have their photo there.
    """

    photos: int
    captions: int
    text: Mapping[int, float]
    image: Mapping[int, float]


class Retrieval:
    """Collects vectors of photos and of their captions; fit is the product of the two.

    Vectors come as the model compares them: of length one for a cosine. Where a model takes the mean of two cosines,
    the mean of the two unit vectors of the photo is its vector.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._photos: list[Float[np.ndarray, " d"]] = []
        self._captions: list[Float[np.ndarray, "_ d"]] = []

    def update(self, photo: Float[np.ndarray, " d"], captions: Float[np.ndarray, "n d"]) -> None:
        """Add one photo and its captions, at least one."""
        if not len(captions):
            raise ValueError("A photo without any caption can be found by nothing; leave it out.")
        if not (np.isfinite(photo).all() and np.isfinite(captions).all()):
            raise ValueError("A vector holds NaN or infinity; nothing can be ranked by it.")
        self._photos.append(np.array(photo))
        self._captions.append(np.array(captions))

    def merge(self, other: Retrieval) -> None:
        """Add what another process collected: every photo is then ranked among all."""
        self._photos += other._photos
        self._captions += other._captions

    def compute(self) -> RetrievalResult:
        """Rank everything so far, in any order: a wrong candidate that fits equally well comes first."""
        owner = np.repeat(np.arange(len(self._photos)), [len(some) for some in self._captions])
        if self._photos:
            photos, captions = np.stack(self._photos), np.concatenate(self._captions)
            text, image = ranks_of_captions(photos, captions, owner), ranks_of_photos(photos, captions, owner)
        else:
            text = image = owner
        return RetrievalResult(
            photos=len(self._photos),
            captions=len(owner),
            text={k: mean_percent((text < k).tolist()) for k in RECALL_AT},
            image={k: mean_percent((image < k).tolist()) for k in RECALL_AT},
        )

    def state(self) -> State:
        """Return what was collected."""
        return {"photos": [*self._photos], "captions": [*self._captions]}

    @classmethod
    def from_state(cls, state: State) -> Retrieval:
        """Go on from what was collected."""
        metric = cls()
        for photo, captions in zip(state["photos"], state["captions"], strict=True):
            metric.update(np.asarray(photo), np.asarray(captions))
        return metric


def ranks_of_captions(
    photos: Float[np.ndarray, "p d"], captions: Float[np.ndarray, "c d"], owner: Integer[np.ndarray, " c"]
) -> Integer[np.ndarray, " p"]:
    """Count for every photo the foreign captions that fit at least as well as the best of its own."""
    ranks = np.empty(len(photos), np.int64)
    for start in range(0, len(photos), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(photos)))
        fits, own = photos[rows] @ captions.T, owner == rows[:, None]
        best = np.where(own, fits, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = np.count_nonzero((fits >= best) & ~own, axis=1)
    return ranks


def ranks_of_photos(
    photos: Float[np.ndarray, "p d"], captions: Float[np.ndarray, "c d"], owner: Integer[np.ndarray, " c"]
) -> Integer[np.ndarray, " c"]:
    """Count for every caption the foreign photos that fit at least as well as its own."""
    ranks = np.empty(len(captions), np.int64)
    for start in range(0, len(captions), _ROWS):
        rows = slice(start, start + _ROWS)
        fits = captions[rows] @ photos.T
        own = np.take_along_axis(fits, owner[rows, None], axis=1)
        ranks[rows] = np.count_nonzero(fits >= own, axis=1) - 1
    return ranks
