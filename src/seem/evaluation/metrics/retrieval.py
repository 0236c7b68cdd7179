"""Recall of retrieval in both directions: captions for an image, and the image for a caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Integer

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent

RECALL_AT = (1, 5, 10)

_BLOCK_ROWS = 1024  # of the similarity matrix that exist at once

VectorArray: TypeAlias = Float[np.ndarray, "_ d"]
RankArray: TypeAlias = Integer[np.ndarray, " _"]


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """Recall at 1, 5 and 10 (0-100) among `photos` images and their `captions` captions.

    `text`: images with one of their own captions among the best; `image`: captions with their image among the best.
    """

    photos: int
    captions: int
    text: Mapping[int, float]
    image: Mapping[int, float]


class RetrievalRecall:
    """Collects embeddings of images and of their captions; the similarity is the product of the two.

    Embeddings come as the model compares them: of length one for a cosine. Where a model takes the mean of two cosines,
    the mean of the two unit vectors of the image is its embedding.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._images: list[Float[np.ndarray, " d"]] = []
        self._captions: list[VectorArray] = []

    def update(self, image: Float[np.ndarray, " d"], captions: Float[np.ndarray, "n d"]) -> None:
        """Add one image and its captions, at least one."""
        if not len(captions):
            raise ValueError("A photo without any caption can be found by nothing; leave it out.")
        if not (np.isfinite(image).all() and np.isfinite(captions).all()):
            raise ValueError("A vector holds NaN or infinity; nothing can be ranked by it.")
        self._images.append(np.array(image))
        self._captions.append(np.array(captions))

    def merge(self, other: RetrievalRecall) -> None:
        """Add what another process collected: every image is then ranked among all."""
        self._images += other._images
        self._captions += other._captions

    def compute(self) -> RetrievalResult:
        """Rank everything so far, in any order: a wrong candidate that is equally similar comes first."""
        num_captions = list(map(len, self._captions))
        owner = np.repeat(np.arange(len(self._images)), num_captions)
        text_ranks = image_ranks = owner
        if self._images:
            images, captions = np.stack(self._images), np.concatenate(self._captions)
            text_ranks = ranks_of_captions(images, captions, owner)
            image_ranks = ranks_of_images(images, captions, owner)
        return RetrievalResult(
            photos=len(self._images),
            captions=len(owner),
            text=_recalls(text_ranks),
            image=_recalls(image_ranks),
        )

    def state(self) -> State:
        """Return what was collected."""
        return {"photos": list(self._images), "captions": list(self._captions)}

    @classmethod
    def from_state(cls, state: State) -> RetrievalRecall:
        """Restore the metric from its `state`."""
        metric = cls()
        for image, captions in zip(state["photos"], state["captions"], strict=True):
            metric.update(np.asarray(image), np.asarray(captions))
        return metric


def _recalls(ranks: RankArray) -> dict[int, float]:
    """Return the percentage of ranks below each number of candidates."""
    return {k: mean_percent((ranks < k).tolist()) for k in RECALL_AT}


def ranks_of_captions(images: VectorArray, captions: VectorArray, owner: RankArray) -> RankArray:
    """Count for every image the captions of others that are at least as similar as the best of its own.

    `owner` is the index of the image of every caption.
    """
    ranks = np.empty(len(images), np.int64)
    for start in range(0, len(images), _BLOCK_ROWS):
        rows = np.arange(start, min(start + _BLOCK_ROWS, len(images)))
        similarity = images[rows] @ captions.T
        is_own = owner == rows[:, None]
        best = np.where(is_own, similarity, -np.inf).max(axis=1, keepdims=True)
        ranks[rows] = np.count_nonzero((similarity >= best) & ~is_own, axis=1)
    return ranks


def ranks_of_images(images: VectorArray, captions: VectorArray, owner: RankArray) -> RankArray:
    """Count for every caption the other images that are at least as similar as its own.

    `owner` is the index of the image of every caption.
    """
    ranks = np.empty(len(captions), np.int64)
    for start in range(0, len(captions), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        similarity = captions[rows] @ images.T
        own = np.take_along_axis(similarity, owner[rows, None], axis=1)
        ranks[rows] = np.count_nonzero(similarity >= own, axis=1) - 1
    return ranks
