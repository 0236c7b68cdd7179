"""What X-Decoder is charged for about whole photos: the next word of a caption, and whose caption it is.

    words      every word of a caption asks for the next one
    retrieval  the photo as the image query sees it and its caption ask for each other, and so do regions and words
    backbone   the photo as the backbone alone sees it and its caption ask for each other

X-Decoder (arXiv 2212.11270). Known differences: photos are compared within the batch of one process; the
noun phrases of captions are not matched with regions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.segmenter import unit
from seem.training.criterion import in_full
from seem.training.losses import (
    next_word_cross_entropy,
    pair_cross_entropy,
    phrase_similarity,
    word_pair_cross_entropy,
)

TOP_HEADS = 3
"""Prediction heads that are charged for words and phrases, counted from the final one (X-Decoder's configuration)."""

FINE_WEIGHT = 0.5  # of regions against words, beside photos against captions (official behaviour)


@dataclass(frozen=True, slots=True)
class CaptionPrediction:
    """What one prediction head says about B photos with captions.

    `words` are compared with word embeddings; `regions` (object queries) and `image` live in the text space.
    """

    words: Float[Tensor, "b t d"]
    regions: Float[Tensor, "b q d"]
    image: Float[Tensor, "b d"]


@dataclass(frozen=True, slots=True)
class Captions:
    """One caption a photo: its word ids, start to end token (`valid`), with a vector for every word and for the whole.

    A photo of which nothing is valid has no caption and is not judged. `table` are the embeddings of all V words.
    `scale` multiplies cosines: exp(logit_scale), at most 100. `backbone` are the backbone's vectors of the photos.
    """

    ids: Int[Tensor, "b t"]
    valid: Bool[Tensor, "b t"]
    tokens: Float[Tensor, "b t d"]
    vectors: Float[Tensor, "b d"]
    table: Float[Tensor, "v d"]
    scale: Float[Tensor, ""] | float
    backbone: Float[Tensor, "b d"] | None = None

    @property
    def there(self) -> Bool[Tensor, " b"]:
        """Which photos have a caption."""
        return self.valid.any(dim=1)


@dataclass(frozen=True, slots=True)
class CaptionWeights:
    """How much each term counts, equal at all charged heads. Defaults are those of X-Decoder's configuration.

    The authors' training command counts words and retrieval 8 each.
    """

    words: float = 2.0
    retrieval: float = 2.0
    backbone: float = 8.0


@dataclass(frozen=True, slots=True)
class CaptionTerms:
    """Unweighted losses: words and retrieval of each charged head, the final one first, and the backbone's."""

    words: tuple[Float[Tensor, ""], ...]
    retrieval: tuple[Float[Tensor, ""], ...]
    backbone: Float[Tensor, ""] | None = None

    def total(self, weights: CaptionWeights = CaptionWeights()) -> Float[Tensor, ""]:
        """Add up everything, weighted."""
        costs = [weights.words * cost for cost in self.words] + [weights.retrieval * cost for cost in self.retrieval]
        return torch.stack([*costs, *([] if self.backbone is None else [weights.backbone * self.backbone])]).sum()

    def named(self) -> Iterator[tuple[str, Float[Tensor, ""]]]:
        """Go through all terms under their official names."""
        for i, (words, retrieval) in enumerate(zip(self.words, self.retrieval, strict=True)):
            yield f"loss_captioning_{i}", words
            yield f"loss_retrieval_decoder_{i}", retrieval
        if self.backbone is not None:
            yield "loss_retrieval_backbone_0", self.backbone


def caption_terms(heads: Sequence[CaptionPrediction], captions: Captions) -> CaptionTerms:
    """Charge the top heads (final one first), outside autocast: exponentials of half precision are too rough."""
    with torch.autocast(captions.tokens.device.type, enabled=False):
        charged = heads[:TOP_HEADS]
        return CaptionTerms(
            words=tuple(word_term(head, captions) for head in charged),
            retrieval=tuple(retrieval_term(head, captions) for head in charged),
            backbone=None if captions.backbone is None else photo_term(captions.backbone, captions),
        )


def word_term(head: CaptionPrediction, captions: Captions) -> Float[Tensor, ""]:
    """Ask for the next words."""
    logits = in_full(head.words) @ in_full(captions.table).T
    return next_word_cross_entropy(logits, captions.ids, captions.valid)


def retrieval_term(head: CaptionPrediction, captions: Captions) -> Float[Tensor, ""]:
    """Let photos and captions ask for each other, as wholes and by regions and words."""
    regions = unit(in_full(head.regions[captions.there])).mean(dim=1)  # the mean of cosines is linear in them
    words = unit(in_full(captions.tokens[captions.valid]))
    fine = word_pair_cross_entropy(captions.scale * regions @ words.T, captions.valid[captions.there])
    return photo_term(head.image, captions) + FINE_WEIGHT * fine


def photo_term(photos: Float[Tensor, "b d"], captions: Captions) -> Float[Tensor, ""]:
    """Let photos and captions ask for each other, as wholes."""
    there = captions.there
    return pair_cross_entropy(
        phrase_similarity(in_full(photos[there]), in_full(captions.vectors[there]), captions.scale)
    )
