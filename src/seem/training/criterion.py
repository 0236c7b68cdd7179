"""The training loss of masks: three groups of queries, three terms each, at every prediction head.

    objects of the image   class    + mask BCE + mask dice
    phrases                query    + mask BCE + mask dice
    visual prompts         query    + mask BCE + mask dice

Names and weights are those of SEEM v1. Known difference: the official weight table also lists `openimage` terms, which
no released recipe computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.models.ops.points import Draw, sample_at, uncertain_points
from seem.training.losses import (
    class_cross_entropy,
    mask_bce,
    mask_dice,
    phrase_cross_entropy,
    phrase_similarity,
    visual_cross_entropy,
)
from seem.training.matcher import (
    Match,
    MatchCosts,
    match_object_queries,
    match_phrase_queries,
    match_visual_queries,
)

# --- Predictions and targets ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectPrediction:
    """Predictions of object queries: class logits (the last is "no object") and mask logits."""

    class_logits: Float[Tensor, "b q k"]
    mask_logits: Float[Tensor, "b q h w"]


@dataclass(frozen=True, slots=True)
class PhrasePrediction:
    """Predictions of phrase queries: vectors in the text space (not normalised) and mask logits.

    `scale` multiplies cosines: exp(logit_scale), at most 100.
    """

    vectors: Float[Tensor, "b q d"]
    mask_logits: Float[Tensor, "b q h w"]
    scale: Float[Tensor, ""] | float


@dataclass(frozen=True, slots=True)
class VisualPrediction:
    """Predictions of visual queries, object-major, and the vectors of the prompts that they answer."""

    mask_embeddings: Float[Tensor, "b q c"]
    mask_logits: Float[Tensor, "b q h w"]
    prompt_vectors: Float[Tensor, "b n c"]


@dataclass(frozen=True, slots=True)
class HeadPrediction:
    """Predictions of one head; None for groups that are not trained, but one at least must be there."""

    objects: ObjectPrediction | None = None
    phrases: PhrasePrediction | None = None
    visual: VisualPrediction | None = None

    def __post_init__(self) -> None:
        if self.objects is None and self.phrases is None and self.visual is None:
            raise ValueError(
                "This head predicts no group of queries; give it objects, phrases or visual."
            )

    @property
    def device(self) -> torch.device:
        """The device of the predictions."""
        group = self.objects or self.phrases or self.visual
        assert group is not None
        return group.mask_logits.device


@dataclass(frozen=True, slots=True)
class ObjectTargets:
    """The objects of one image. Masks cover the same (padded) area as the predicted ones, at any resolution."""

    classes: Int[Tensor, " n"]
    masks: Bool[Tensor, "n H W"]


@dataclass(frozen=True, slots=True)
class PhraseTargets:
    """The phrases of one image, with the mask that each means.

    Phrases that mean the same have equal hashes. `weight` multiplies this image's cross-entropy: 2.0 for referring
    expressions, 0.5 for class names in SEEM.
    """

    vectors: Float[Tensor, "n d"]
    masks: Bool[Tensor, "n H W"]
    hashes: Int[Tensor, " n"]
    weight: float = 2.0


@dataclass(frozen=True, slots=True)
class VisualTargets:
    """The visually prompted objects of one image; one with an empty mask is not judged."""

    masks: Bool[Tensor, "n H W"]


@dataclass(frozen=True, slots=True)
class ImageTargets:
    """The truth about one image."""

    objects: ObjectTargets | None = None
    phrases: PhraseTargets | None = None
    visual: VisualTargets | None = None


# --- Options and terms ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CriterionOptions:
    """The points at which masks are compared, and the costs of matching. Defaults are SEEM's."""

    num_points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75
    no_object_weight: float = 0.1
    costs: MatchCosts = field(default_factory=MatchCosts)


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """Weights of the terms of one group of queries."""

    ce: float
    bce: float
    dice: float


@dataclass(frozen=True, slots=True)
class CriterionWeights:
    """Weights of all groups, equal at all heads. Defaults are SEEM's."""

    objects: GroupWeights = GroupWeights(ce=2.0, bce=5.0, dice=5.0)
    phrases: GroupWeights = GroupWeights(ce=0.4, bce=1.0, dice=1.0)
    visual: GroupWeights = GroupWeights(ce=0.4, bce=1.0, dice=1.0)


@dataclass(frozen=True, slots=True)
class GroupTerms:
    """Unweighted losses of one group of queries at one head, and the match of each image."""

    ce: Float[Tensor, ""]
    bce: Float[Tensor, ""]
    dice: Float[Tensor, ""]
    matches: tuple[Match, ...] = ()

    def total(self, weights: GroupWeights) -> Float[Tensor, ""]:
        """Return the weighted sum of the terms."""
        return weights.ce * self.ce + weights.bce * self.bce + weights.dice * self.dice


@dataclass(frozen=True, slots=True)
class HeadTerms:
    """Unweighted losses of one prediction head; None for groups that are not trained."""

    objects: GroupTerms | None = None
    phrases: GroupTerms | None = None
    visual: GroupTerms | None = None

    def weighted_groups(self, weights: CriterionWeights) -> Iterator[tuple[str, Float[Tensor, ""]]]:
        """Iterate over the names of the groups that are trained, and the weighted sum of each one's terms."""
        if self.objects is not None:
            yield "objects", self.objects.total(weights.objects)
        if self.phrases is not None:
            yield "phrases", self.phrases.total(weights.phrases)
        if self.visual is not None:
            yield "visual", self.visual.total(weights.visual)

    def total(self, weights: CriterionWeights) -> Float[Tensor, ""]:
        """Return the weighted sum of the groups."""
        return torch.stack([total for _, total in self.weighted_groups(weights)]).sum()


@dataclass(frozen=True, slots=True)
class CriterionTerms:
    """Unweighted losses of all heads: the final one first, then backwards to the one before the first layer."""

    heads: tuple[HeadTerms, ...]

    def total(self, weights: CriterionWeights = CriterionWeights()) -> Float[Tensor, ""]:
        """Return the weighted sum of all heads: the number to minimise; 0 without a head."""
        if not self.heads:
            return torch.zeros(())
        return torch.stack([head.total(weights) for head in self.heads]).sum()

    def named(self) -> Iterator[tuple[str, Float[Tensor, ""]]]:
        """Iterate over all terms under their official names: `loss_mask_ce_0` is the final head's class CE."""
        for i, head in enumerate(self.heads):
            groups = (("mask", head.objects), ("spatial", head.visual), ("grounding", head.phrases))
            for name, terms in groups:
                if terms is not None:
                    yield f"loss_{name}_ce_{i}", terms.ce
                    yield f"loss_{name}_bce_{i}", terms.bce
                    yield f"loss_{name}_dice_{i}", terms.dice


# --- The criterion ----------------------------------------------------------------------------------------------------


def criterion(
    heads: Sequence[HeadPrediction],
    targets: Sequence[ImageTargets],
    draw: Draw,
    *,
    options: CriterionOptions = CriterionOptions(),
    num_objects: float | None = None,
) -> CriterionTerms:
    """Return the losses of every group of queries at every head: match queries with truth, then compare.

    `heads` start with the final one and go back to the one before the first layer; each is matched anew. `num_objects`
    divides the losses of object masks: the true objects of a batch, and their mean over processes when training on
    several. By default those of this batch.
    """
    return CriterionTerms(
        tuple(head_terms(head, targets, draw, options, num_objects) for head in heads)
    )


def head_terms(
    head: HeadPrediction,
    targets: Sequence[ImageTargets],
    draw: Draw,
    options: CriterionOptions,
    num_objects: float | None,
) -> HeadTerms:
    """Return the losses of one head, outside autocast: its products would fall back to half precision.

    A group that the head predicts needs its truth for every image (empty where there is none).
    """
    objects = [truth.objects for truth in targets if truth.objects is not None]
    phrases = [truth.phrases for truth in targets if truth.phrases is not None]
    visual = [truth.visual for truth in targets if truth.visual is not None]
    terms = HeadTerms()
    with torch.autocast(head.device.type, enabled=False):
        if head.objects is not None:
            terms = replace(
                terms, objects=object_terms(head.objects, objects, draw, options, num_objects)
            )
        if head.phrases is not None:
            terms = replace(terms, phrases=phrase_terms(head.phrases, phrases, draw, options))
        if head.visual is not None:
            terms = replace(terms, visual=visual_terms(head.visual, visual, draw, options))
    return terms


def object_terms(
    predicted: ObjectPrediction,
    targets: Sequence[ObjectTargets],
    draw: Draw,
    options: CriterionOptions,
    num_objects: float | None = None,
) -> GroupTerms:
    """Return the losses of object queries: of class and mask if matched, else of the class "no object"."""
    class_logits = at_least_float32(predicted.class_logits)
    _check_image_count(len(class_logits), len(targets))
    no_object = class_logits.shape[-1] - 1
    classes = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
    matches = []
    for b, truth in enumerate(targets):
        match = match_object_queries(
            class_logits[b],
            predicted.mask_logits[b],
            truth.classes,
            truth.masks,
            draw,
            num_points=options.num_points,
            costs=options.costs,
        )
        classes[b, match.queries] = truth.classes[match.objects]
        matches.append(match)
    if num_objects is None:
        num_objects = sum(len(truth.classes) for truth in targets)
    count = max(float(num_objects), 1.0)
    bce, dice = matched_mask_losses(predicted.mask_logits, targets, matches, draw, options, count)
    ce = class_cross_entropy(class_logits, classes, options.no_object_weight)
    return GroupTerms(ce, bce, dice, tuple(matches))


def phrase_terms(
    predicted: PhrasePrediction,
    targets: Sequence[PhraseTargets],
    draw: Draw,
    options: CriterionOptions,
) -> GroupTerms:
    """Return the losses of phrase queries. Images without phrases do not count in the mean over images."""
    _check_image_count(len(predicted.vectors), len(targets))
    vectors = at_least_float32(predicted.vectors)
    matches = []
    costs = []
    for b, truth in enumerate(targets):
        similarity = phrase_similarity(vectors[b], truth.vectors.to(vectors.dtype), predicted.scale)
        match = match_phrase_queries(
            similarity,
            predicted.mask_logits[b],
            truth.masks,
            draw,
            num_points=options.num_points,
            costs=options.costs,
        )
        cost = phrase_cross_entropy(similarity, match.queries, match.objects, truth.hashes)
        costs.append(truth.weight * cost)
        matches.append(match)
    num_with_phrases = sum(len(truth.hashes) > 0 for truth in targets)
    ce = torch.stack(costs).sum() / max(num_with_phrases, 1)
    bce, dice = matched_mask_losses(predicted.mask_logits, targets, matches, draw, options)
    return GroupTerms(ce, bce, dice, tuple(matches))


def visual_terms(
    predicted: VisualPrediction,
    targets: Sequence[VisualTargets],
    draw: Draw,
    options: CriterionOptions,
) -> GroupTerms:
    """Return the losses of visual queries, over all non-empty objects of the batch alike."""
    _check_image_count(len(predicted.mask_embeddings), len(targets))
    embeddings = at_least_float32(predicted.mask_embeddings)
    similarity = embeddings @ at_least_float32(predicted.prompt_vectors).mT
    matches = []
    by_object = []
    for b, truth in enumerate(targets):
        match = match_visual_queries(
            similarity[b],
            predicted.mask_logits[b],
            truth.masks,
            draw,
            num_points=options.num_points,
            costs=options.costs,
        )
        by_object.append(similarity[b].T[match.objects])
        matches.append(match)
    queries = torch.cat([match.queries for match in matches])
    ce = visual_cross_entropy(torch.cat(by_object), queries)
    bce, dice = matched_mask_losses(predicted.mask_logits, targets, matches, draw, options)
    return GroupTerms(ce, bce, dice, tuple(matches))


def matched_mask_losses(
    mask_logits: Float[Tensor, "b q h w"],
    targets: Sequence[ObjectTargets | PhraseTargets | VisualTargets],
    matches: Sequence[Match],
    draw: Draw,
    options: CriterionOptions,
    count: float | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return BCE and dice of all matched masks of a batch at uncertain points, each divided by `count`."""
    matched = torch.cat([mask_logits[b, match.queries] for b, match in enumerate(matches)])
    points = uncertain_points(
        matched,
        draw,
        options.num_points,
        oversample=options.oversample,
        importance=options.importance,
    )
    logits = sample_at(matched[:, None], points, align_corners=False)[:, 0]
    points_by_image = torch.split(points, [len(match.queries) for match in matches])
    sampled_truths = []
    for truth, match, image_points in zip(targets, matches, points_by_image, strict=True):
        masks = truth.masks[match.objects, None].to(logits.dtype)
        sampled = sample_at(masks, image_points, align_corners=False)
        sampled_truths.append(sampled[:, 0])
    truths = torch.cat(sampled_truths)
    return mask_bce(logits, truths, count), mask_dice(logits, truths, count)


def at_least_float32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Widen half precision: sums over thousands of points and exponentials need float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _check_image_count(num_predicted: int, num_true: int) -> None:
    """Raise `ValueError` unless every image of the batch has its truth."""
    if num_predicted != num_true:
        raise ValueError(
            f"Got predictions for {num_predicted} images but the truth about {num_true}."
        )
