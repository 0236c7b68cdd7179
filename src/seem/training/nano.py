"""Nano's objective: every prompt kind, class names and several rounds in one step.

The published losses (class, mask and dice on matched object queries) with two additions for a small model that learns
from nothing: the dense prompt head answers every prompt, and it says how good its answer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.models.decoder.decoder import ImageMemory
from seem.models.decoder.policy import Kind
from seem.models.mask_refiner import RefinedMasks, fit, prompt_maps
from seem.models.ops.masks import dot
from seem.models.segmenter import Segmenter, unit
from seem.models.structures import Answers, DecoderOutput, PhraseTokens, Question, TextFeatures, VisualPrompts
from seem.simulation.next_click import ritm_click
from seem.training.losses import mask_bce, mask_dice
from seem.training.matcher import match_objects
from seem.training.targets import PhraseBook, TrainingBatch, phrase_rows, shrink

BACKGROUND = "background"
VISUAL = frozenset({Kind.VISUAL})
EVERYTHING = frozenset({Kind.VISUAL, Kind.OBJECT})


@dataclass(frozen=True, slots=True)
class Objective:
    """What a step counts. Weights are of the terms' means."""

    refined: float = 2.0
    coarse: float = 0.5
    quality: float = 0.3
    names: float = 0.3
    objects: float = 1.0
    object_names: float = 0.5
    object_every: int = 3
    num_negatives: int = 40
    num_points: int = 1024
    rounds: tuple[float, ...] = (0.35, 0.4, 0.15, 0.1)
    """Chances of one, two, three, ... rounds; the first and the last have a gradient."""


@dataclass(frozen=True, slots=True)
class StepLoss:
    """The terms of one step, weighted; `total` is what is minimised. `iou` is the mean IoU of the last round."""

    total: Tensor
    refined: float
    coarse: float
    quality: float
    names: float
    objects: float
    iou: float


@dataclass(frozen=True, slots=True)
class Names:
    """The class names of a step, encoded: `vectors` normalised, background last."""

    index: dict[str, int]
    vectors: Float[Tensor, "k d"]


def step_loss(
    model: Segmenter,
    batch: TrainingBatch,
    book: PhraseBook,
    objective: Objective,
    rng: np.random.Generator,
    with_objects: bool,
) -> StepLoss:
    """Ask everything about one batch and price the answers."""
    image = model.encode_image(batch.images)
    text, rows = encode_texts(model, batch, book, objective, rng)
    names = Names({name: i for i, name in enumerate(rows.names)}, unit(text.phrases[: len(rows.names)]))
    phrases = phrase_rows(batch.texts(), text, rows.rows)
    num_rounds = 1 + int(rng.choice(len(objective.rounds), p=objective.rounds))

    positive, negative = batch.positive.clone(), batch.negative.clone()
    previous: Tensor | None = None
    refined_loss, coarse_loss, quality_loss, names_loss = [], [], [], []
    object_loss = torch.zeros(())
    iou = torch.zeros(())
    for turn in range(num_rounds):
        counted = turn in (0, num_rounds - 1)
        prompts = VisualPrompts(positive, negative)
        asked = EVERYTHING if with_objects and turn == 0 else VISUAL
        with torch.set_grad_enabled(counted):
            output, refined, coarse = answer(model, image, prompts, phrases, previous, asked)
        if counted:
            loss, iou, good = refined_terms(refined, batch)
            refined_loss.append(loss)
            quality_loss.append(good)
            coarse_loss.append(coarse_terms(coarse, batch))
            assert output.visual is not None
            names_loss.append(name_terms(model, output.visual, batch, names))
            if output.object is not None:
                object_loss = object_terms(model, image, output, batch, names, objective, rng)
        if turn < num_rounds - 1:
            previous = refined.logits.detach().float()
            add_clicks(previous, batch, positive, negative)
    terms = [torch.stack(t).mean() for t in (refined_loss, coarse_loss, quality_loss, names_loss)]
    weights = (objective.refined, objective.coarse, objective.quality, objective.names)
    weighted = [weight * term for weight, term in zip(weights, terms, strict=True)]
    total = torch.stack(weighted).sum() + object_loss
    refined_value, coarse_value, quality_value, names_value = (float(term.detach()) for term in weighted)
    return StepLoss(
        total, refined_value, coarse_value, quality_value, names_value, float(object_loss.detach()), float(iou)
    )


@dataclass(frozen=True, slots=True)
class TextRows:
    """Which row of the encoded texts holds what: class names first, then phrases."""

    names: tuple[str, ...]
    rows: dict[str, int]


def encode_texts(
    model: Segmenter, batch: TrainingBatch, book: PhraseBook, objective: Objective, rng: np.random.Generator
) -> tuple[TextFeatures, TextRows]:
    """Encode the names and phrases of a step once: what is present, some of what is not, and the background."""
    present = {name for sample in batch.samples for name in sample.names if name}
    candidates = sorted({name for sample in batch.samples for name in sample.complete_names} - present)
    take = min(objective.num_negatives, len(candidates))
    negatives = [candidates[i] for i in rng.choice(len(candidates), take, replace=False)] if take else []
    names = (*sorted(present), *negatives, BACKGROUND)
    texts = list(names) + sorted({text for photo in batch.texts() for text in photo if text} - set(names))
    encoded = model.encode_text(*book(texts))
    return encoded, TextRows(names, {text: i for i, text in enumerate(texts)})


def answer(
    model: Segmenter,
    image: ImageMemory,
    prompts: VisualPrompts,
    phrases: PhraseTokens | None,
    previous: Float[Tensor, "b n h2 w2"] | None,
    asked: frozenset[Kind],
) -> tuple[DecoderOutput, RefinedMasks, Float[Tensor, "b n h w"]]:
    """Run one round: decoder, coarse mask, dense prompt head. `previous` is the final mask of the round before."""
    tokens = model.encode_prompts(prompts, image)
    question = Question(visual=tokens, phrases=phrases, num_objects=prompts.positive.shape[1])
    output = model.decode(image, question, asked)
    assert output.visual is not None
    assert model.mask_refiner is not None
    coarse = dot(output.visual.mask_embeddings, image.pixels.mask_features)
    before = None if previous is None else fit(previous, (coarse.shape[-2], coarse.shape[-1]))
    maps = prompt_maps(prompts, coarse, before)
    refined = model.mask_refiner(image.pixels.mask_features, maps, output.visual.class_vectors)
    return output, refined, coarse


def asked_about(batch: TrainingBatch) -> Bool[Tensor, "b n"]:
    """Return which requests ask anything (short photos are filled up with empty ones)."""
    spoken = torch.tensor([[bool(text) for text in photo] for photo in batch.texts()])
    return batch.positive.flatten(2).any(-1) | spoken


def refined_terms(refined: RefinedMasks, batch: TrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Price final masks (BCE + dice over the whole map), and what the head says of their quality."""
    real = asked_about(batch)
    logits = refined.logits.float()[real].flatten(1)
    truth = shrink(batch.truth, 2)[real].flatten(1)
    loss = mask_bce(logits, truth) * 2 + mask_dice(logits, truth)
    with torch.no_grad():
        inside, wanted = logits > 0, truth > 0.5
        union = (inside | wanted).sum(1)
        iou = torch.where(union > 0, (inside & wanted).sum(1) / union.clamp(min=1), 0.0)
    said = refined.quality_logits.float()[real]
    quality = F.binary_cross_entropy_with_logits(said, iou, reduction="sum") / max(len(iou), 1)
    present = iou[wanted.any(1)] if wanted.any() else iou
    return loss, present.sum() / max(len(present), 1), quality


def coarse_terms(coarse: Float[Tensor, "b n h w"], batch: TrainingBatch) -> Tensor:
    """Price coarse masks at stride 4."""
    real = asked_about(batch)
    logits, truth = coarse.float()[real].flatten(1), shrink(batch.truth, 4)[real].flatten(1)
    return mask_bce(logits, truth) * 2 + mask_dice(logits, truth)


def name_terms(model: Segmenter, answers: Answers, batch: TrainingBatch, names: Names) -> Tensor:
    """Ask the query of every visual prompt without text for the object's class name."""
    rows, targets, allowed = [], [], []
    for b, (photo, sample) in enumerate(zip(batch.requests, batch.samples, strict=True)):
        known = known_names(sample.complete_names | set(sample.names), names)
        for n, request in enumerate(photo):
            if request.name and not request.phrase:
                rows.append((b, n))
                targets.append(names.index[request.name])
                allowed.append(known)
    if not rows:
        return torch.zeros(())
    index = torch.tensor(rows)
    vectors = answers.class_vectors.float()[index[:, 0], index[:, 1]]
    logits = model.class_logits(vectors[None], names.vectors.float())[0]
    logits = logits.masked_fill(~torch.stack(allowed), -1e4)
    return F.cross_entropy(logits, torch.tensor(targets))


def known_names(allowed: Sequence[str] | set[str] | frozenset[str], names: Names) -> Bool[Tensor, " k"]:
    """Return which of a step's names may be said of a photo: those it is annotated for, and the background."""
    allowed = set(allowed)
    return torch.tensor([name in allowed or name == BACKGROUND for name in names.index])


def object_terms(
    model: Segmenter,
    image: ImageMemory,
    output: DecoderOutput,
    batch: TrainingBatch,
    names: Names,
    objective: Objective,
    rng: np.random.Generator,
) -> Tensor:
    """Match object queries with every object of the photos that are annotated completely, and price names and masks."""
    assert output.object is not None
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator)

    losses = []
    masks = dot(output.object.mask_embeddings, image.pixels.mask_features).float()
    logits = model.class_logits(output.object.class_vectors.float(), names.vectors.float())
    for b, sample in enumerate(batch.samples):
        if not sample.complete_names:
            continue
        objects = [i for i, name in enumerate(sample.names) if name in sample.complete_names][: logits.shape[1]]
        scores = logits[b].masked_fill(~known_names(sample.complete_names, names), -1e4)
        targets = torch.full((len(scores),), len(names.index) - 1)
        weights = torch.full((len(scores),), 0.1)
        mask_loss = torch.zeros(())
        if objects:
            truth = torch.from_numpy(sample.masks[objects])
            classes = torch.tensor([names.index[sample.names[i]] for i in objects])
            match = match_objects(scores, masks[b], classes, truth, draw, num_points=objective.num_points)
            targets[match.queries] = classes[match.objects]
            weights[match.queries] = 1.0
            wanted = shrink(truth[match.objects][None], 4)[0].flatten(1)
            said = masks[b, match.queries].flatten(1)
            mask_loss = mask_bce(said, wanted) * 2 + mask_dice(said, wanted)
        name_loss = (F.cross_entropy(scores, targets, reduction="none") * weights).sum() / weights.sum()
        losses.append(objective.objects * mask_loss + objective.object_names * name_loss)
    return torch.stack(losses).mean() if losses else torch.zeros(())


def add_clicks(
    logits: Float[Tensor, "b n h w"],
    batch: TrainingBatch,
    positive: Bool[Tensor, "b n s s"],
    negative: Bool[Tensor, "b n s s"],
) -> None:
    """Let the invented user click once more on every object, at the middle of the larger error; in place."""
    truth = shrink(batch.truth, 2) > 0.5
    spoken = ~batch.truth.flatten(2).any(-1)
    for b, photo in enumerate(batch.samples):
        height, width = photo.valid_hw
        for n in range(truth.shape[1]):
            if spoken[b, n]:
                continue
            window = (slice(0, (height + 1) // 2), slice(0, (width + 1) // 2))
            wanted, said = truth[b, n][window].numpy(), (logits[b, n][window] > 0).numpy()
            click = ritm_click(wanted, said, np.zeros_like(wanted))
            if click is None:
                continue
            marks = positive if click.positive else negative
            y, x = 2 * click.y, 2 * click.x
            marks[b, n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
