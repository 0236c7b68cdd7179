"""The caption losses of X-Decoder: next words, nouns of regions, and retrieval of images and captions.

    words      cross-entropy of the next word, for every word of a caption
    nouns      region-text contrast: regions with nouns and class names, in both directions
    retrieval  image-text contrast: image queries with captions, and regions with words, in both directions
    backbone   image-text contrast: the backbone's image vectors with captions, in both directions

X-Decoder (arXiv 2212.11270). Known differences: images are compared within the batch of one process; nouns are found in
word lists (`nouns.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.segmenter import unit_vectors
from seem.training.criterion import at_least_float32
from seem.training.losses import (
    contrastive_cross_entropy,
    image_word_cross_entropy,
    next_word_cross_entropy,
    phrase_similarity,
    region_text_cross_entropy,
)
from seem.training.matcher import Match, match_nouns

TOP_HEADS = 3
"""Number of prediction heads that are trained on words and phrases, from the final one (X-Decoder's configuration)."""

FINE_WEIGHT = 0.5  # of regions with words, beside images with captions (official behaviour)


@dataclass(frozen=True, slots=True)
class CaptionPrediction:
    """What one prediction head predicts about B images with captions.

    `words` are compared with word embeddings; `regions` (object queries) and `image` live in the text space.
    """

    words: Float[Tensor, "b t d"]
    regions: Float[Tensor, "b q d"]
    image: Float[Tensor, "b d"]


@dataclass(frozen=True, slots=True)
class NounTargets:
    """Texts that name regions of B images: K vectors, and the number of each one's stem, equal for equal meaning.

    `by_caption[b]` are the rows of the nouns of image b's caption and of the caption itself, none without a caption.
    `by_object[b]` are the rows of its objects' class names.
    """

    vectors: Float[Tensor, "k d"]
    stems: Int[Tensor, " k"]
    by_caption: tuple[Int[Tensor, " _n"], ...]
    by_object: tuple[Int[Tensor, " _m"], ...]


@dataclass(frozen=True, slots=True)
class CaptionTargets:
    """One caption an image: its word ids and vectors.

    Attributes:
        ids: of words, padded.
        valid: start to end token; nothing for an image without a caption, which is not judged.
        tokens: a vector for every word.
        vectors: a vector for every caption.
        table: embeddings of all V words of the vocabulary.
        scale: multiplies cosines: exp(logit_scale), at most 100.
        backbone: the backbone's vectors of the images; None leaves out their loss.
        nouns: texts that name regions; None leaves out their loss.
    """

    ids: Int[Tensor, "b t"]
    valid: Bool[Tensor, "b t"]
    tokens: Float[Tensor, "b t d"]
    vectors: Float[Tensor, "b d"]
    table: Float[Tensor, "v d"]
    scale: Float[Tensor, ""] | float
    backbone: Float[Tensor, "b d"] | None = None
    nouns: NounTargets | None = None

    @property
    def has_caption(self) -> Bool[Tensor, " b"]:
        """Which images have a caption."""
        return self.valid.any(dim=1)


@dataclass(frozen=True, slots=True)
class CaptionWeights:
    """Weights of the terms, equal at all heads that are trained. Defaults are those of X-Decoder's configuration.

    The authors' training command weighs words and retrieval 8 each.
    """

    words: float = 2.0
    nouns: float = 1.0
    retrieval: float = 2.0
    backbone: float = 8.0


@dataclass(frozen=True, slots=True)
class CaptionTerms:
    """Unweighted losses: words, retrieval and nouns of each trained head, the final one first, and the backbone's."""

    words: tuple[Float[Tensor, ""], ...]
    retrieval: tuple[Float[Tensor, ""], ...]
    backbone: Float[Tensor, ""] | None = None
    nouns: tuple[Float[Tensor, ""], ...] = ()

    def total(self, weights: CaptionWeights = CaptionWeights()) -> Float[Tensor, ""]:
        """Return the weighted sum of all terms."""
        weighted = []
        for weight, losses in (
            (weights.words, self.words),
            (weights.nouns, self.nouns),
            (weights.retrieval, self.retrieval),
        ):
            weighted += [weight * loss for loss in losses]
        if self.backbone is not None:
            weighted.append(weights.backbone * self.backbone)
        return torch.stack(weighted).sum()

    def named(self) -> Iterator[tuple[str, Float[Tensor, ""]]]:
        """Iterate over all terms under their official names."""
        for i, (words, retrieval) in enumerate(zip(self.words, self.retrieval, strict=True)):
            yield f"loss_captioning_{i}", words
            yield f"loss_retrieval_decoder_{i}", retrieval
        for i, nouns in enumerate(self.nouns):
            yield f"loss_caption_{i}", nouns
        if self.backbone is not None:
            yield "loss_retrieval_backbone_0", self.backbone


def caption_terms(
    heads: Sequence[CaptionPrediction],
    captions: CaptionTargets,
    matches: Sequence[Sequence[Match]] = (),
) -> CaptionTerms:
    """Return the losses of the top heads (final one first), outside autocast: half precision is too rough for exp.

    `matches[head][image]` pairs regions with objects; without matches the losses of nouns are left out.
    """
    with torch.autocast(captions.tokens.device.type, enabled=False):
        top_heads = heads[:TOP_HEADS]
        backbone = None
        if captions.backbone is not None:
            backbone = image_caption_loss(captions.backbone, captions)
        nouns = []
        if captions.nouns is not None:
            for head, head_matches in zip(top_heads, matches, strict=False):
                nouns.append(noun_loss(head.regions, captions.nouns, captions.scale, head_matches))
        words, retrieval = [], []
        for head in top_heads:
            words.append(next_word_loss(head, captions))
            retrieval.append(retrieval_loss(head, captions))
        return CaptionTerms(tuple(words), tuple(retrieval), backbone, tuple(nouns))


def next_word_loss(head: CaptionPrediction, captions: CaptionTargets) -> Float[Tensor, ""]:
    """Return the cross-entropy of the next words."""
    logits = at_least_float32(head.words) @ at_least_float32(captions.table).T
    return next_word_cross_entropy(logits, captions.ids, captions.valid)


def noun_loss(
    regions: Float[Tensor, "b q d"],
    nouns: NounTargets,
    scale: Float[Tensor, ""] | float,
    matches: Sequence[Match],
) -> Float[Tensor, ""]:
    """Return the contrast of regions with the texts that name them, in both directions, over all images.

    A region that is matched with an object is named by the object's class name. The texts of a caption name one each of
    the image's other regions, those that are most similar to them.
    """
    num_regions = regions.shape[1]
    similarity = phrase_similarity(
        at_least_float32(regions).flatten(0, 1), at_least_float32(nouns.vectors), scale
    )
    caption_texts = torch.cat(nouns.by_caption)
    rows_by_caption: list[Tensor] = []
    texts_by_caption: list[Tensor] = []
    rows_by_object: list[Tensor] = []
    texts_by_object: list[Tensor] = []
    first_text = 0
    for b, match in enumerate(matches):
        texts = nouns.by_caption[b]
        own_texts = torch.arange(first_text, first_text + len(texts), device=regions.device)
        first_text += len(texts)
        all_regions = torch.arange(num_regions, device=regions.device)
        free = b * num_regions + all_regions[~torch.isin(all_regions, match.queries)]
        noun_match = match_nouns(similarity[free][:, caption_texts], own_texts)
        rows_by_caption.append(free[noun_match.queries])
        texts_by_caption.append(texts[noun_match.objects])
        rows_by_object.append(b * num_regions + match.queries)
        texts_by_object.append(nouns.by_object[b][match.objects])
    rows = torch.cat([*rows_by_caption, *rows_by_object])
    texts = torch.cat([*texts_by_caption, *texts_by_object])
    columns, column_of_row = _first_of_each_stem(nouns.stems[texts])
    return region_text_cross_entropy(similarity[rows][:, texts[columns]], column_of_row)


def _first_of_each_stem(stems: Int[Tensor, " n"]) -> tuple[Int[Tensor, " m"], Int[Tensor, " n"]]:
    """Return the first position of each different stem, and which of these each text has (official behaviour)."""
    different, inverse = torch.unique(stems, return_inverse=True)
    positions = torch.arange(len(stems), device=stems.device)
    first = torch.full_like(different, len(stems)).scatter_reduce(0, inverse, positions, "amin")
    return first, inverse


def retrieval_loss(head: CaptionPrediction, captions: CaptionTargets) -> Float[Tensor, ""]:
    """Return the contrast of images with captions, and of regions with words, in both directions."""
    regions = unit_vectors(at_least_float32(head.regions[captions.has_caption])).mean(
        dim=1
    )  # cosines are linear in regions
    words = unit_vectors(at_least_float32(captions.tokens[captions.valid]))
    similarity = captions.scale * regions @ words.T
    fine = image_word_cross_entropy(similarity, captions.valid[captions.has_caption])
    return image_caption_loss(head.image, captions) + FINE_WEIGHT * fine


def image_caption_loss(images: Float[Tensor, "b d"], captions: CaptionTargets) -> Float[Tensor, ""]:
    """Return the contrast of images with captions, in both directions."""
    has_caption = captions.has_caption
    similarity = phrase_similarity(
        at_least_float32(images[has_caption]),
        at_least_float32(captions.vectors[has_caption]),
        captions.scale,
    )
    return contrastive_cross_entropy(similarity)
