"""What X-Decoder is charged for about captions: the next word, what the nouns mean, and whose caption it is.

    words      every word of a caption asks for the next one
    nouns      regions ask for the noun or class name that means them, nouns and names for their regions
    retrieval  the photo as the image query sees it and its caption ask for each other, and so do regions and words
    backbone   the photo as the backbone alone sees it and its caption ask for each other

X-Decoder (arXiv 2212.11270). Known differences: photos are compared within the batch of one process; nouns are found in
word lists (`nouns.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.segmenter import unit_vectors
from seem.training.criterion import in_full
from seem.training.losses import (
    meaning_cross_entropy,
    next_word_cross_entropy,
    pair_cross_entropy,
    phrase_similarity,
    word_pair_cross_entropy,
)
from seem.training.matcher import Match, match_nouns

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
class Nouns:
    """What can be said of the regions of B photos: K texts, and what each means; those of equal meaning are one.

    `spoken[b]` are the rows of what the caption of photo b speaks of, its nouns and itself, none without a caption.
    `called[b]` are the rows of its objects' names.
    """

    vectors: Float[Tensor, "k d"]
    meanings: Int[Tensor, " k"]
    spoken: tuple[Int[Tensor, " _n"], ...]
    called: tuple[Int[Tensor, " _m"], ...]


@dataclass(frozen=True, slots=True)
class Captions:
    """One caption a photo: its word ids, start to end token (`valid`), with a vector for every word and for the whole.

    A photo of which nothing is valid has no caption and is not judged. `table` are the embeddings of all V words.
    `scale` multiplies cosines: exp(logit_scale), at most 100. `backbone` are the backbone's vectors of the photos.
    `nouns` are what regions are called by.
    """

    ids: Int[Tensor, "b t"]
    valid: Bool[Tensor, "b t"]
    tokens: Float[Tensor, "b t d"]
    vectors: Float[Tensor, "b d"]
    table: Float[Tensor, "v d"]
    scale: Float[Tensor, ""] | float
    backbone: Float[Tensor, "b d"] | None = None
    nouns: Nouns | None = None

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
    nouns: float = 1.0
    retrieval: float = 2.0
    backbone: float = 8.0


@dataclass(frozen=True, slots=True)
class CaptionTerms:
    """Unweighted losses: words, retrieval and nouns of each charged head, the final one first, and the backbone's."""

    words: tuple[Float[Tensor, ""], ...]
    retrieval: tuple[Float[Tensor, ""], ...]
    backbone: Float[Tensor, ""] | None = None
    nouns: tuple[Float[Tensor, ""], ...] = ()

    def total(self, weights: CaptionWeights = CaptionWeights()) -> Float[Tensor, ""]:
        """Add up everything, weighted."""
        backbone = () if self.backbone is None else (self.backbone,)
        kinds = (
            (weights.words, self.words), (weights.nouns, self.nouns), (weights.retrieval, self.retrieval),
            (weights.backbone, backbone),
        )  # fmt: skip
        return torch.stack([weight * cost for weight, costs in kinds for cost in costs]).sum()

    def named(self) -> Iterator[tuple[str, Float[Tensor, ""]]]:
        """Go through all terms under their official names."""
        for i, (words, retrieval) in enumerate(zip(self.words, self.retrieval, strict=True)):
            yield f"loss_captioning_{i}", words
            yield f"loss_retrieval_decoder_{i}", retrieval
        for i, nouns in enumerate(self.nouns):
            yield f"loss_caption_{i}", nouns
        if self.backbone is not None:
            yield "loss_retrieval_backbone_0", self.backbone


def caption_terms(
    heads: Sequence[CaptionPrediction], captions: Captions, matches: Sequence[Sequence[Match]] = ()
) -> CaptionTerms:
    """Charge the top heads (final one first), outside autocast: exponentials of half precision are too rough.

    `matches` say for every head and photo which regions answer for which objects; without them nouns are not charged.
    """
    with torch.autocast(captions.tokens.device.type, enabled=False):
        charged = heads[:TOP_HEADS]
        return CaptionTerms(
            words=tuple(word_term(head, captions) for head in charged),
            retrieval=tuple(retrieval_term(head, captions) for head in charged),
            backbone=None if captions.backbone is None else photo_term(captions.backbone, captions),
            nouns=()
            if captions.nouns is None
            else tuple(
                noun_term(head.regions, captions.nouns, captions.scale, match)
                for head, match in zip(charged, matches, strict=False)
            ),
        )


def word_term(head: CaptionPrediction, captions: Captions) -> Float[Tensor, ""]:
    """Ask for the next words."""
    logits = in_full(head.words) @ in_full(captions.table).T
    return next_word_cross_entropy(logits, captions.ids, captions.valid)


def noun_term(
    regions: Float[Tensor, "b q d"], nouns: Nouns, scale: Float[Tensor, ""] | float, matches: Sequence[Match]
) -> Float[Tensor, ""]:
    """Let regions and what they are called by ask for each other, over all photos.

    A region that answers for an object is called by the object's name. What a caption speaks of calls one each of the
    photo's other regions, those that are most like it.
    """
    count = regions.shape[1]
    similarity = phrase_similarity(in_full(regions).flatten(0, 1), in_full(nouns.vectors), scale)
    all_spoken = torch.cat(nouns.spoken)
    spoken, called = [], []
    first = 0
    for b, (match, words, names) in enumerate(zip(matches, nouns.spoken, nouns.called, strict=True)):
        free = torch.arange(count, device=regions.device)
        free = b * count + free[~torch.isin(free, match.queries)]
        own = torch.arange(first, first + len(words), device=regions.device)
        first += len(words)
        found = match_nouns(similarity[free][:, all_spoken], own)
        spoken.append((free[found.queries], words[found.objects]))
        called.append((b * count + match.queries, names[match.objects]))
    rows, texts = (torch.cat(each) for each in zip(*spoken, *called, strict=True))
    meanings, meant = torch.unique(nouns.meanings[texts], return_inverse=True)
    earliest = torch.full_like(meanings, len(texts)).scatter_reduce(
        0, meant, torch.arange(len(texts), device=texts.device), "amin"
    )  # of texts that mean the same the first one speaks (official behaviour)
    return meaning_cross_entropy(similarity[rows][:, texts[earliest]], meant)


def retrieval_term(head: CaptionPrediction, captions: Captions) -> Float[Tensor, ""]:
    """Let photos and captions ask for each other, as wholes and by regions and words."""
    regions = unit_vectors(in_full(head.regions[captions.there])).mean(dim=1)  # the mean of cosines is linear in them
    words = unit_vectors(in_full(captions.tokens[captions.valid]))
    fine = word_pair_cross_entropy(captions.scale * regions @ words.T, captions.valid[captions.there])
    return photo_term(head.image, captions) + FINE_WEIGHT * fine


def photo_term(photos: Float[Tensor, "b d"], captions: Captions) -> Float[Tensor, ""]:
    """Let photos and captions ask for each other, as wholes."""
    there = captions.there
    return pair_cross_entropy(
        phrase_similarity(in_full(photos[there]), in_full(captions.vectors[there]), captions.scale)
    )
