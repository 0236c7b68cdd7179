"""The objective of dense models (nano): every prompt kind, class names and several rounds in one step.

The published losses (class, mask and dice on matched object queries) with two additions for a small model that is
trained from random weights: the mask refiner answers every prompt, and it predicts how good its mask is.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.data.training_sample import TrainingSample
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.policy import RowKind
from seem.models.mask_features import MaskFeatures
from seem.models.mask_refiner import RefinedMasks, outline_logits, prompt_maps
from seem.models.ops.masks import resize
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import (
    DecoderOutput,
    DecoderQuery,
    PhraseTokens,
    PixelFeatures,
    TextFeatures,
    VisualPrompts,
    VisualTokens,
)
from seem.models.text_embedding_head import pooled_text_vectors, text_similarity_maps
from seem.training.batches import StepBatch, TrainingBatch, normalize_images
from seem.training.objectives.candidates import ambiguous_targets, candidate_losses
from seem.training.objectives.class_names import (
    ClassNames,
    cell_name_loss,
    choose_class_names,
    object_name_loss,
    prompt_name_loss,
)
from seem.training.objectives.dense_config import DenseConfig
from seem.training.objectives.dense_masks import (
    add_correction_clicks,
    coarse_mask_loss,
    refined_mask_losses,
)
from seem.training.objectives.imagenet import ImageNetClasses, imagenet_class_loss
from seem.training.objectives.object_queries import object_query_loss
from seem.training.phrases import PhraseTokenizer, phrase_tokens_by_object

VISUAL = frozenset({RowKind.VISUAL})
VISUAL_AND_OBJECT = frozenset({RowKind.VISUAL, RowKind.OBJECT})


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The weighted terms of one step; `total` is what is minimised. `iou` is the mean IoU of the last round."""

    total: Tensor
    refined: float
    coarse: float
    quality: float
    names: float
    cell_names: float
    objects: float
    iou: float
    candidates: float

    def terms(self) -> dict[str, float]:
        """Return the terms by their names in the log."""
        return {
            "refined": self.refined,
            "coarse": self.coarse,
            "quality": self.quality,
            "names": self.names,
            "cell_names": self.cell_names,
            "objects": self.objects,
            "iou": self.iou,
            "candidates": self.candidates,
        }


class DenseObjective:
    """The loss of a dense model's training steps; implements `seem.training.objectives.Objective`."""

    def __init__(self, tokenizer: PhraseTokenizer, config: DenseConfig = DenseConfig()) -> None:
        self.tokenizer = tokenizer
        self.config = config

    def loss(self, model: Segmenter, batch: StepBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, and its weighted terms with their `total` for the log."""
        losses: list[Tensor] = []
        terms: dict[str, float] = {}
        if batch.full is not None:
            full = full_step_loss(model, batch.full, self.tokenizer, self.config, batch.rng)
            losses.append(full.total)
            terms = full.terms()
        if batch.naming:
            naming = naming_loss(model, batch.naming, self.tokenizer, self.config, batch.rng)
            losses.append(batch.naming_weight * naming)  # every image counts alike
            terms["naming"] = float(naming.detach())
        total = torch.stack(losses).sum()
        return total, {**terms, "total": float(total.detach())}


# --- The three kinds of steps -----------------------------------------------------------------------------------------


def full_step_loss(
    model: Segmenter,
    batch: TrainingBatch,
    tokenizer: PhraseTokenizer,
    config: DenseConfig,
    rng: np.random.Generator,
) -> StepLoss:
    """Return the loss of a batch with prompted targets, over several rounds of simulated clicks."""
    image = model.encode_image(batch.images)
    texts = encode_texts(model, batch, tokenizer, config, rng)
    prompts = encode_semantic_prompts(model, image, batch, texts)
    trains_objects = bool(config.objects or config.object_names)
    num_rounds = 1 + int(rng.choice(len(config.rounds), p=config.rounds))

    positive, negative = batch.positive.clone(), batch.negative.clone()
    previous = initial_masks(batch)
    losses: list[_RoundLosses] = []
    object_loss = candidate_loss = torch.zeros((), device=positive.device)
    ambiguous = ambiguous_targets(batch)
    for number in range(num_rounds):
        is_last = number == num_rounds - 1
        has_gradient = number == 0 or is_last
        kinds = VISUAL_AND_OBJECT if number == 0 and trains_objects else VISUAL
        with torch.set_grad_enabled(has_gradient):
            marks = VisualPrompts(positive, negative, batch.bounds)
            output = run_round(
                model, image, marks, prompts, previous, kinds, with_candidates=number == 0
            )
        if output.refined.candidates is not None:
            masks, qualities = candidate_losses(output.refined.candidates, batch, ambiguous)
            candidate_loss = config.candidates * masks + config.quality * qualities
        if has_gradient:
            losses.append(_round_losses(model, output, batch, texts.names))
            if output.decoder.object is not None:
                object_loss = object_query_loss(
                    model, image, output.decoder.object, batch, texts.names, config, rng
                )
        if not is_last:
            previous = output.refined.best(ambiguous).logits.detach().float()
            add_correction_clicks(previous, batch, positive, negative)

    assert image.text_map is not None
    weighted = [
        config.refined * torch.stack([loss.refined for loss in losses]).mean(),
        config.coarse * torch.stack([loss.coarse for loss in losses]).mean(),
        config.quality * torch.stack([loss.quality for loss in losses]).mean(),
        config.names * torch.stack([loss.names for loss in losses]).mean(),
        config.cell_names * cell_name_loss(model, image.text_map, batch.samples, texts.names),
    ]
    total = torch.stack(weighted).sum() + object_loss + candidate_loss
    values = torch.stack((*weighted, object_loss, losses[-1].iou, candidate_loss)).detach().tolist()
    return StepLoss(total, *values)


def text_prompt_loss(
    model: Segmenter,
    batch: TrainingBatch,
    tokenizer: PhraseTokenizer,
    config: DenseConfig,
    rng: np.random.Generator,
    classes: ImageNetClasses | None = None,
) -> Tensor:
    """Return the loss of a batch prompted by phrases and references alone, in one round.

    A part of the cost of a full step, and text needs many images: names of cells and objects, and the masks of prompts.
    With `classes`, objects that have a phrase among these are told apart from all other ones.
    """
    image = model.encode_image(batch.images)
    assert image.text_map is not None
    texts = encode_texts(model, batch, tokenizer, config, rng)
    prompts = encode_semantic_prompts(model, image, batch, texts)
    marks = VisualPrompts(batch.positive, batch.negative, batch.bounds)
    output = run_round(model, image, marks, prompts, initial_masks(batch), VISUAL)
    refined = refined_mask_losses(output.refined, batch)
    coarse = coarse_mask_loss(output.coarse, batch)
    masks = (
        config.refined * refined.mask + config.coarse * coarse + config.quality * refined.quality
    )
    naming = _cell_and_object_name_loss(model, image.text_map, batch.samples, texts.names, config)
    total = config.text_prompts * masks + naming
    if classes is not None:
        total = total + config.imagenet * imagenet_class_loss(
            model, image.text_map, batch.samples, classes
        )
    return total


def naming_loss(
    model: Segmenter,
    samples: Sequence[TrainingSample],
    tokenizer: PhraseTokenizer,
    config: DenseConfig,
    rng: np.random.Generator,
) -> Tensor:
    """Return the loss of images asked for the class names of cells and objects; runs backbone and text map alone."""
    assert model.text_embedding_head is not None
    device = model.decoder.query_features.device
    images = normalize_images(samples, model.config.image).to(device)
    text_map = model.text_embedding_head(model.backbone(images.pixels).maps)
    names = choose_class_names(samples, config.num_negatives, rng)
    encoded = ClassNames.of(names, tokenizer.encode(model, names).phrases)
    return _cell_and_object_name_loss(model, text_map, samples, encoded, config)


def _cell_and_object_name_loss(
    model: Segmenter,
    text_map: Float[Tensor, "b d h4 w4"],
    samples: Sequence[TrainingSample],
    names: ClassNames,
    config: DenseConfig,
) -> Tensor:
    cells = cell_name_loss(model, text_map, samples, names)
    objects = object_name_loss(model, text_map, samples, names)
    return config.naming * (cells + objects) / 2


# --- What is asked ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepTexts:
    """The encoded texts of a step: class names first, then phrases; `rows` gives the row of each text."""

    features: TextFeatures
    rows: Mapping[str, int]
    names: ClassNames


def encode_texts(
    model: Segmenter,
    batch: TrainingBatch,
    tokenizer: PhraseTokenizer,
    config: DenseConfig,
    rng: np.random.Generator,
) -> StepTexts:
    """Encode the class names and phrases of a step, each once."""
    names = choose_class_names(batch.samples, config.num_negatives, rng)
    phrases = set(itertools.chain.from_iterable(batch.phrases())) - {""}
    texts = [*names, *sorted(phrases - set(names))]
    features = tokenizer.encode(model, texts)
    rows = {text: row for row, text in enumerate(texts)}
    return StepTexts(features, rows, ClassNames.of(names, features.phrases[: len(names)]))


@dataclass(frozen=True, slots=True)
class SemanticPrompts:
    """What phrases and references say about the objects of a batch: decoder tokens, and one text vector an object."""

    phrases: PhraseTokens | None
    reference: VisualTokens | None
    vectors: Float[Tensor, "b n d"]


def encode_semantic_prompts(
    model: Segmenter, image: ImageEncoding, batch: TrainingBatch, texts: StepTexts
) -> SemanticPrompts:
    """Encode the phrases of a batch, and the regions of partner images that are references."""
    assert image.text_map is not None
    phrases = batch.phrases()
    tokens = phrase_tokens_by_object(phrases, texts.features, texts.rows)
    vectors = _phrase_vectors(phrases, texts)
    if not batch.reference.any():
        return SemanticPrompts(tokens, None, vectors)
    partners = _partner_indices(len(phrases), batch.reference.device)
    pixels = PixelFeatures(
        MaskFeatures(image.pixels.mask_features.maps[partners]),
        tuple(level[partners] for level in image.pixels.levels),
    )
    regions = VisualPrompts(batch.reference, torch.zeros_like(batch.reference))
    reference = model.encode_prompts(regions, replace(image, pixels=pixels))
    reference_vectors = pooled_text_vectors(image.text_map[partners], batch.reference.float())
    return SemanticPrompts(tokens, reference, vectors + reference_vectors)


def _phrase_vectors(phrases: Sequence[Sequence[str]], texts: StepTexts) -> Float[Tensor, "b n d"]:
    """Return the unit vector of each object's phrase, 0 without one."""
    vectors = unit_vectors(texts.features.phrases)
    no_phrase = vectors.new_zeros(vectors.shape[1])
    images = []
    for image in phrases:
        rows = [vectors[texts.rows[text]] if text else no_phrase for text in image]
        images.append(torch.stack(rows))
    return torch.stack(images)


def _partner_indices(count: int, device: torch.device) -> Tensor:
    """Return the index of each image's partner; the last of an odd number is its own."""
    indices = torch.arange(count, device=device)
    partners = indices ^ 1
    return torch.where(partners < count, partners, indices)


def initial_masks(batch: TrainingBatch) -> Float[Tensor, "b n h4 w4"] | None:
    """Return the previous masks of a first round: the areas of polygons, 0 for other prompts; None without polygons."""
    outlines = batch.outlines
    has_outline = outlines.flatten(2).any(dim=-1)[..., None, None]
    if not has_outline.any():
        return None
    return torch.where(has_outline, outline_logits(outlines), 0)


# --- Rounds -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RoundOutput:
    """What the model predicts in one round: decoder output, final masks, and coarse masks (logits at stride 4)."""

    decoder: DecoderOutput
    refined: RefinedMasks
    coarse: Float[Tensor, "b n h w"]


def run_round(
    model: Segmenter,
    image: ImageEncoding,
    marks: VisualPrompts,
    prompts: SemanticPrompts,
    previous: Float[Tensor, "b n h2 w2"] | None,
    kinds: frozenset[RowKind],
    *,
    with_candidates: bool = False,
) -> RoundOutput:
    """Run one round: decoder, coarse masks, mask refiner. `previous` are the final masks of the round before."""
    tokens = model.encode_prompts(marks, image)
    question = DecoderQuery(
        visual=tokens,
        phrases=prompts.phrases,
        reference=prompts.reference,
        num_objects=marks.positive.shape[1],
    )
    output = model.decode(image, question, kinds)
    assert output.visual is not None
    assert model.mask_refiner is not None
    assert image.text_map is not None
    coarse = image.pixels.mask_features.logits(output.visual.mask_embeddings)
    if previous is not None:
        previous = resize(previous, (coarse.shape[-2], coarse.shape[-1]))
    maps = prompt_maps(
        marks, coarse, previous, text_similarity_maps(image.text_map, prompts.vectors)
    )
    refined = model.mask_refiner(
        image.pixels.mask_features.maps,
        maps,
        output.visual.class_vectors,
        with_candidates=with_candidates,
    )
    return RoundOutput(output, refined, coarse)


@dataclass(frozen=True, slots=True)
class _RoundLosses:
    """Unweighted losses of one round, and the mean IoU of its final masks."""

    refined: Tensor
    coarse: Tensor
    quality: Tensor
    names: Tensor
    iou: Tensor


def _round_losses(
    model: Segmenter, output: RoundOutput, batch: TrainingBatch, names: ClassNames
) -> _RoundLosses:
    assert output.decoder.visual is not None
    refined = refined_mask_losses(output.refined, batch)
    return _RoundLosses(
        refined=refined.mask,
        coarse=coarse_mask_loss(output.coarse, batch),
        quality=refined.quality,
        names=prompt_name_loss(model, output.decoder.visual.class_vectors, batch, names),
        iou=refined.iou,
    )
