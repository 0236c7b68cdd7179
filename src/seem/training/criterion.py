"""What one training step is charged for: three groups of queries, three terms each, at every prediction head.

    objects of the photo   class       + mask BCE + mask dice
    phrases                which query + mask BCE + mask dice
    visual prompts         which query + mask BCE + mask dice

Names and weights are those of SEEM v1. Known difference: the official weight table also lists `openimage` terms, which
no released recipe computes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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
from seem.training.matcher import Costs, Match, match_objects, match_phrases, match_visual

# ------------------------------------------------------------------------------------------------ what is compared


@dataclass(frozen=True, slots=True)
class ObjectPrediction:
    """What the object queries say: class logits (the last is "no object") and mask logits."""

    class_logits: Float[Tensor, "b q k"]
    mask_logits: Float[Tensor, "b q h w"]


@dataclass(frozen=True, slots=True)
class PhrasePrediction:
    """What the phrase queries say: vectors in the text space (not normalised) and mask logits.

    `scale` multiplies cosines: exp(logit_scale), at most 100.
    """

    vectors: Float[Tensor, "b q d"]
    mask_logits: Float[Tensor, "b q h w"]
    scale: Float[Tensor, ""] | float


@dataclass(frozen=True, slots=True)
class VisualPrediction:
    """What the visual queries say, object-major, and the vectors of the prompts that they answer."""

    mask_embeddings: Float[Tensor, "b q c"]
    mask_logits: Float[Tensor, "b q h w"]
    prompt_vectors: Float[Tensor, "b n c"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one prediction head says; a group that was not asked is None, but one at least must be there."""

    objects: ObjectPrediction | None = None
    phrases: PhrasePrediction | None = None
    visual: VisualPrediction | None = None

    def __post_init__(self) -> None:
        if self.objects is None and self.phrases is None and self.visual is None:
            raise ValueError("This head answers for no group; give it objects, phrases or visual.")

    @property
    def device(self) -> torch.device:
        """Where the predictions are."""
        return next(said.mask_logits.device for said in (self.objects, self.phrases, self.visual) if said is not None)


@dataclass(frozen=True, slots=True)
class ObjectTargets:
    """The objects of one photo. Masks cover the same (padded) area as the predicted ones, at any resolution."""

    classes: Int[Tensor, " n"]
    masks: Bool[Tensor, "n H W"]


@dataclass(frozen=True, slots=True)
class PhraseTargets:
    """The phrases of one photo, with what each means.

    Phrases that say the same have equal hashes. `weight` multiplies this photo's cross-entropy: 2.0 for referring
    expressions, 0.5 for class names in SEEM.
    """

    vectors: Float[Tensor, "n d"]
    masks: Bool[Tensor, "n H W"]
    hashes: Int[Tensor, " n"]
    weight: float = 2.0


@dataclass(frozen=True, slots=True)
class VisualTargets:
    """The objects of one photo that were prompted visually; one with an empty mask is not judged."""

    masks: Bool[Tensor, "n H W"]


@dataclass(frozen=True, slots=True)
class Targets:
    """The truth about one photo."""

    objects: ObjectTargets | None = None
    phrases: PhraseTargets | None = None
    visual: VisualTargets | None = None


# ------------------------------------------------------------------------------------------------ options and result


@dataclass(frozen=True, slots=True)
class Judgement:
    """How strictly to look: the points at which masks are compared and the prices of matching. Defaults are SEEM's."""

    num_points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75
    no_object_weight: float = 0.1
    costs: Costs = field(default_factory=Costs)


@dataclass(frozen=True, slots=True)
class GroupWeights:
    """How much each term of one group of queries counts."""

    ce: float
    bce: float
    dice: float


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each group counts, equal at all heads. Defaults are SEEM's."""

    objects: GroupWeights = GroupWeights(ce=2.0, bce=5.0, dice=5.0)
    phrases: GroupWeights = GroupWeights(ce=0.4, bce=1.0, dice=1.0)
    visual: GroupWeights = GroupWeights(ce=0.4, bce=1.0, dice=1.0)


@dataclass(frozen=True, slots=True)
class GroupTerms:
    """Unweighted losses of one group of queries at one head, and who was judged by what: a match a photo."""

    ce: Float[Tensor, ""]
    bce: Float[Tensor, ""]
    dice: Float[Tensor, ""]
    matches: tuple[Match, ...] = ()

    def total(self, weights: GroupWeights) -> Float[Tensor, ""]:
        """Add up, weighted."""
        return weights.ce * self.ce + weights.bce * self.bce + weights.dice * self.dice


@dataclass(frozen=True, slots=True)
class HeadTerms:
    """Unweighted losses of one prediction head; None for a group that was not asked."""

    objects: GroupTerms | None = None
    phrases: GroupTerms | None = None
    visual: GroupTerms | None = None

    def total(self, weights: Weights) -> Float[Tensor, ""]:
        """Add up the groups, weighted."""
        pairs = (
            (self.objects, weights.objects),
            (self.phrases, weights.phrases),
            (self.visual, weights.visual),
        )
        return torch.stack([terms.total(weight) for terms, weight in pairs if terms is not None]).sum()


@dataclass(frozen=True, slots=True)
class Terms:
    """Unweighted losses of all heads: the final one first, then backwards to the one before the first layer."""

    heads: tuple[HeadTerms, ...]

    def total(self, weights: Weights = Weights()) -> Float[Tensor, ""]:
        """Add up everything, weighted: the number to minimise; 0 without a head."""
        totals = [head.total(weights) for head in self.heads]
        return torch.stack(totals).sum() if totals else torch.zeros(())

    def named(self) -> Iterator[tuple[str, Float[Tensor, ""]]]:
        """Go through all terms under their official names, for logs: `loss_mask_ce_0` is the final head's class CE."""
        for i, head in enumerate(self.heads):
            for name, terms in (("mask", head.objects), ("spatial", head.visual), ("grounding", head.phrases)):
                if terms is not None:
                    yield f"loss_{name}_ce_{i}", terms.ce
                    yield f"loss_{name}_bce_{i}", terms.bce
                    yield f"loss_{name}_dice_{i}", terms.dice


# ------------------------------------------------------------------------------------------------ the criterion


def criterion(
    heads: Sequence[Prediction],
    targets: Sequence[Targets],
    draw: Draw,
    *,
    judgement: Judgement = Judgement(),
    num_objects: float | None = None,
) -> Terms:
    """Charge every head for every group that it answers: match queries with truth, then compare.

    `heads` start with the final one and go back to the one before the first layer; each is matched anew. `num_objects`
    divides the object masks' losses: the true objects of a batch, and their mean over processes when training on
    several. By default those of this batch.
    """
    return Terms(tuple(head_terms(head, targets, draw, judgement, num_objects) for head in heads))


def head_terms(
    head: Prediction,
    targets: Sequence[Targets],
    draw: Draw,
    judgement: Judgement,
    num_objects: float | None,
) -> HeadTerms:
    """Charge one head, outside autocast: its products would fall back to half precision.

    A group that the head answers needs that group's truth for every photo (empty where there is none).
    """
    objects = [truth.objects for truth in targets if truth.objects is not None]
    phrases = [truth.phrases for truth in targets if truth.phrases is not None]
    visual = [truth.visual for truth in targets if truth.visual is not None]
    with torch.autocast(head.device.type, enabled=False):
        return HeadTerms(
            objects=object_terms(head.objects, objects, draw, judgement, num_objects) if head.objects else None,
            phrases=phrase_terms(head.phrases, phrases, draw, judgement) if head.phrases else None,
            visual=visual_terms(head.visual, visual, draw, judgement) if head.visual else None,
        )


def object_terms(
    predicted: ObjectPrediction,
    targets: Sequence[ObjectTargets],
    draw: Draw,
    judgement: Judgement,
    num_objects: float | None = None,
) -> GroupTerms:
    """Judge the object queries: matched ones by class and mask, the rest by saying "no object"."""
    class_logits = in_full(predicted.class_logits)
    check_photos(len(class_logits), len(targets))
    matches = [
        match_objects(
            class_logits[b],
            predicted.mask_logits[b],
            truth.classes,
            truth.masks,
            draw,
            num_points=judgement.num_points,
            costs=judgement.costs,
        )
        for b, truth in enumerate(targets)
    ]
    no_object = class_logits.shape[-1] - 1
    classes = torch.full(class_logits.shape[:2], no_object, device=class_logits.device)
    for b, (truth, match) in enumerate(zip(targets, matches, strict=True)):
        classes[b, match.queries] = truth.classes[match.objects]

    count = sum(len(truth.classes) for truth in targets) if num_objects is None else num_objects
    masks = [truth.masks for truth in targets]
    bce, dice = mask_terms(predicted.mask_logits, masks, matches, draw, judgement, max(float(count), 1.0))
    return GroupTerms(class_cross_entropy(class_logits, classes, judgement.no_object_weight), bce, dice, tuple(matches))


def phrase_terms(
    predicted: PhrasePrediction, targets: Sequence[PhraseTargets], draw: Draw, judgement: Judgement
) -> GroupTerms:
    """Judge the phrase queries. Photos without phrases do not count in the mean over photos."""
    check_photos(len(predicted.vectors), len(targets))
    vectors = in_full(predicted.vectors)
    similarities = [
        phrase_similarity(vectors[b], truth.vectors.to(vectors.dtype), predicted.scale)
        for b, truth in enumerate(targets)
    ]
    matches = [
        match_phrases(
            similarities[b],
            predicted.mask_logits[b],
            truth.masks,
            draw,
            num_points=judgement.num_points,
            costs=judgement.costs,
        )
        for b, truth in enumerate(targets)
    ]
    per_photo = [
        truth.weight * phrase_cross_entropy(similarity, match.queries, match.objects, truth.hashes)
        for similarity, match, truth in zip(similarities, matches, targets, strict=True)
    ]
    num_speaking = sum(len(truth.hashes) > 0 for truth in targets)
    bce, dice = mask_terms(predicted.mask_logits, [truth.masks for truth in targets], matches, draw, judgement)
    return GroupTerms(torch.stack(per_photo).sum() / max(num_speaking, 1), bce, dice, tuple(matches))


def visual_terms(
    predicted: VisualPrediction, targets: Sequence[VisualTargets], draw: Draw, judgement: Judgement
) -> GroupTerms:
    """Judge the visual queries, over all non-empty objects of the batch alike."""
    check_photos(len(predicted.mask_embeddings), len(targets))
    similarity = in_full(predicted.mask_embeddings) @ in_full(predicted.prompt_vectors).mT
    matches = [
        match_visual(
            similarity[b],
            predicted.mask_logits[b],
            truth.masks,
            draw,
            num_points=judgement.num_points,
            costs=judgement.costs,
        )
        for b, truth in enumerate(targets)
    ]
    asked = torch.cat([similarity[b].T[match.objects] for b, match in enumerate(matches)])
    ce = visual_cross_entropy(asked, torch.cat([match.queries for match in matches]))
    bce, dice = mask_terms(predicted.mask_logits, [truth.masks for truth in targets], matches, draw, judgement)
    return GroupTerms(ce, bce, dice, tuple(matches))


def mask_terms(
    mask_logits: Float[Tensor, "b q h w"],
    masks: Sequence[Bool[Tensor, "_n _H _W"]],
    matches: Sequence[Match],
    draw: Draw,
    judgement: Judgement,
    count: float | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Compare all matched masks of a batch where they hesitate: BCE and dice, each divided by `count`."""
    matched = torch.cat([mask_logits[b, match.queries] for b, match in enumerate(matches)])
    points = uncertain_points(
        matched, draw, judgement.num_points, oversample=judgement.oversample, importance=judgement.importance
    )
    logits = sample_at(matched[:, None], points, align_corners=False)[:, 0]
    points_of = torch.split(points, [len(match.queries) for match in matches])
    wanted = torch.cat(
        [
            sample_at(truth[match.objects, None].to(logits.dtype), own, align_corners=False)[:, 0]
            for truth, match, own in zip(masks, matches, points_of, strict=True)
        ]
    )
    return mask_bce(logits, wanted, count), mask_dice(logits, wanted, count)


def in_full(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Widen half precision: sums over thousands of points and exponentials need float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def check_photos(num_predicted: int, num_true: int) -> None:
    """Every photo of the batch needs its truth."""
    if num_predicted != num_true:
        raise ValueError(f"Got predictions for {num_predicted} photos but the truth about {num_true}.")
