"""Nano's objective: every prompt kind, class names and several rounds in one step.

The published losses (class, mask and dice on matched object queries) with two additions for a small model that learns
from nothing: the dense prompt head answers every prompt, and it says how good its answer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seem.data.transforms import TrainingSample
from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.policy import RowKind
from seem.models.mask_refiner import RefinedMasks, outline_logits, prompt_maps
from seem.models.ops.masks import dot, resize
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import (
    DecoderOutput,
    DecoderQuery,
    PhraseTokens,
    PixelFeatures,
    QueryOutputs,
    TextFeatures,
    VisualPrompts,
    VisualTokens,
)
from seem.models.text_embedding_head import pooled_text_vectors, text_similarity_maps
from seem.simulation.next_click import ritm_click
from seem.training.candidates import ambiguous_requests, candidate_terms
from seem.training.imagenet import ImageNetClasses, imagenet_terms
from seem.training.losses import mask_bce, mask_dice
from seem.training.matcher import match_objects
from seem.training.targets import PhraseBook, TrainingBatch, normalised, phrase_rows, shrink

BACKGROUND = "background"
VISUAL = frozenset({RowKind.VISUAL})
EVERYTHING = frozenset({RowKind.VISUAL, RowKind.OBJECT})
IMPOSSIBLE = -1e4  # logit of a name that may not be said


@dataclass(frozen=True, slots=True)
class Objective:
    """What a step counts. Weights are of the terms' means."""

    refined: float = 2.0
    coarse: float = 0.5
    quality: float = 0.5
    names: float = 0.3
    meaning: float = 0.5
    naming: float = 1.0
    """Of the photos that are asked by words alone: what places and objects are called."""
    spoken: float = 0.5
    """Of the same photos: the masks that phrases get, beside the weights of masks."""
    objects: float = 1.0
    object_names: float = 0.5
    num_negatives: int = 64
    num_points: int = 1024
    imagenet: float = 0.5
    """Of the classes of ImageNet that objects of the photos asked by words alone have."""
    candidates: float = 1.0
    """Of the masks that answer what may mean several things, where a model has them."""
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
    meaning: float
    objects: float
    iou: float
    candidates: float = 0.0


@dataclass(frozen=True, slots=True)
class Names:
    """The class names of a step, encoded: `vectors` normalised, background last."""

    index: dict[str, int]
    vectors: Float[Tensor, "k d"]


@dataclass(frozen=True, slots=True)
class Meant:
    """What is said and shown about the objects of a batch, apart from marks on the photos themselves."""

    phrases: PhraseTokens | None
    reference: VisualTokens | None
    vectors: Float[Tensor, "b n d"]


def step_loss(
    model: Segmenter, batch: TrainingBatch, book: PhraseBook, objective: Objective, rng: np.random.Generator
) -> StepLoss:
    """Ask everything about one batch and price the answers."""
    image = model.encode_image(batch.images)
    text, rows = encode_texts(model, batch, book, objective, rng)
    names = Names({name: i for i, name in enumerate(rows.names)}, unit_vectors(text.phrases[: len(rows.names)].float()))
    meant = gather_meant(model, image, batch, text, rows)
    first = EVERYTHING if objective.objects or objective.object_names else VISUAL
    num_rounds = 1 + int(rng.choice(len(objective.rounds), p=objective.rounds))

    positive, negative = batch.positive.clone(), batch.negative.clone()
    previous = begun(batch)
    refined_loss, coarse_loss, quality_loss, names_loss = [], [], [], []
    object_loss = iou = candidate_loss = torch.zeros((), device=positive.device)
    ambiguous = ambiguous_requests(batch)
    for turn in range(num_rounds):
        counted = turn in (0, num_rounds - 1)
        prompts = VisualPrompts(positive, negative, batch.bounds)
        with torch.set_grad_enabled(counted):
            output, refined, coarse = answer(
                model, image, prompts, meant, previous, VISUAL if turn else first, turn == 0
            )
        if counted:
            loss, iou, good = refined_terms(refined, batch)
            refined_loss.append(loss)
            quality_loss.append(good)
            coarse_loss.append(coarse_terms(coarse, batch))
            assert output.visual is not None
            names_loss.append(name_terms(model, output.visual, batch, names))
            if output.object is not None:
                object_loss = object_terms(model, image, output, batch, names, objective, rng)
        if refined.candidates is not None:
            masks, judged_masks = candidate_terms(refined.candidates, batch, ambiguous)
            candidate_loss = objective.candidates * masks + objective.quality * judged_masks
        if turn < num_rounds - 1:
            answered = refined.best(ambiguous) if turn == 0 else refined
            previous = answered.logits.detach().float()
            add_clicks(previous, batch, positive, negative)
    terms = [torch.stack(t).mean() for t in (refined_loss, coarse_loss, quality_loss, names_loss)]
    assert image.text_map is not None
    terms.append(meaning_terms(model, image.text_map, batch.samples, names))
    weights = (objective.refined, objective.coarse, objective.quality, objective.names, objective.meaning)
    weighted = [weight * term for weight, term in zip(weights, terms, strict=True)]
    total = torch.stack(weighted).sum() + object_loss + candidate_loss
    shares = torch.stack((*weighted, object_loss, iou, candidate_loss)).detach().tolist()
    return StepLoss(total, *shares)


def gather_meant(
    model: Segmenter, image: ImageEncoding, batch: TrainingBatch, text: TextFeatures, rows: TextRows
) -> Meant:
    """Lay out phrases, and regions of the partner photos, as rows of their objects and as one vector an object."""
    texts = batch.texts()
    assert image.text_map is not None
    vectors = unit_vectors(text.phrases)
    silent = vectors.new_zeros(vectors.shape[1])
    said = torch.stack([
        torch.stack([vectors[rows.rows[text]] if text else silent for text in photo]) for photo in texts
    ])  # fmt: skip
    phrases = phrase_rows(texts, text, rows.rows)
    if not batch.reference.any():
        return Meant(phrases, None, said)
    partners = torch.arange(len(texts), device=batch.reference.device) ^ 1
    partners = torch.where(partners < len(texts), partners, partners ^ 1)
    pixels = image.pixels
    theirs = PixelFeatures(pixels.mask_features[partners], tuple(level[partners] for level in pixels.levels))
    regions = VisualPrompts(batch.reference, torch.zeros_like(batch.reference))
    tokens = model.encode_prompts(regions, replace(image, pixels=theirs))
    return Meant(phrases, tokens, said + pooled_text_vectors(image.text_map[partners], batch.reference.float()))


@dataclass(frozen=True, slots=True)
class TextRows:
    """Which row of the encoded texts holds what: class names first, then phrases."""

    names: tuple[str, ...]
    rows: dict[str, int]


def encode_texts(
    model: Segmenter, batch: TrainingBatch, book: PhraseBook, objective: Objective, rng: np.random.Generator
) -> tuple[TextFeatures, TextRows]:
    """Encode the names and phrases of a step once: what is present, some of what is not, and the background."""
    names = choose_names(batch.samples, objective, rng)
    texts = list(names) + sorted({text for photo in batch.texts() for text in photo if text} - set(names))
    return book.encode(model, texts), TextRows(names, {text: i for i, text in enumerate(texts)})


def choose_names(samples: Sequence[TrainingSample], objective: Objective, rng: np.random.Generator) -> tuple[str, ...]:
    """Return the class names of a step: all that are present, some that are not, and the background last."""
    present = {name for sample in samples for name in sample.names if name}
    candidates = sorted({name for sample in samples for name in sample.complete_names} - present)
    take = min(objective.num_negatives, len(candidates))
    negatives = [candidates[i] for i in rng.choice(len(candidates), take, replace=False)] if take else []
    return (*sorted(present), *negatives, BACKGROUND)


def naming_loss(
    model: Segmenter,
    samples: Sequence[TrainingSample],
    book: PhraseBook,
    objective: Objective,
    rng: np.random.Generator,
) -> Tensor:
    """Ask photos for nothing but names, of places and of objects: only the backbone and the map of meaning run."""
    assert model.text_embedding_head is not None
    device = model.decoder.query_features.device
    meaning = model.text_embedding_head(model.backbone(normalised(samples, model.config.image).to(device).pixels).maps)
    said = choose_names(samples, objective, rng)
    vectors = unit_vectors(book.encode(model, said).phrases.float())
    names = Names({name: i for i, name in enumerate(said)}, vectors)
    return named_terms(model, meaning, samples, names, objective)


def named_terms(
    model: Segmenter,
    meaning: Float[Tensor, "b d h4 w4"],
    samples: Sequence[TrainingSample],
    names: Names,
    objective: Objective,
) -> Tensor:
    """Price what the places and the objects of photos are called."""
    places, things = meaning_terms(model, meaning, samples, names), thing_terms(model, meaning, samples, names)
    return objective.naming * (places + things) / 2


def spoken_loss(
    model: Segmenter,
    batch: TrainingBatch,
    book: PhraseBook,
    objective: Objective,
    rng: np.random.Generator,
    classes: ImageNetClasses | None = None,
) -> Tensor:
    """Ask photos by words alone, once: a part of the cost of a whole step, and words need to see many photos.

    Places say their names, objects say theirs, and a phrase about each photo is answered with a mask. With `classes`
    objects whose phrase is a class of ImageNet say it among all of these.
    """
    image = model.encode_image(batch.images)
    assert image.text_map is not None
    text, rows = encode_texts(model, batch, book, objective, rng)
    names = Names({name: i for i, name in enumerate(rows.names)}, unit_vectors(text.phrases[: len(rows.names)].float()))
    meant = gather_meant(model, image, batch, text, rows)
    prompts = VisualPrompts(batch.positive, batch.negative, batch.bounds)
    _, refined, coarse = answer(model, image, prompts, meant, begun(batch), VISUAL)
    mask, _, quality = refined_terms(refined, batch)
    masks = objective.refined * mask + objective.coarse * coarse_terms(coarse, batch) + objective.quality * quality
    total = objective.spoken * masks + named_terms(model, image.text_map, batch.samples, names, objective)
    if classes is not None:
        total = total + objective.imagenet * imagenet_terms(model, image.text_map, batch.samples, classes)
    return total


def answer(
    model: Segmenter,
    image: ImageEncoding,
    prompts: VisualPrompts,
    meant: Meant,
    previous: Float[Tensor, "b n h2 w2"] | None,
    asked: frozenset[RowKind],
    with_candidates: bool = False,
) -> tuple[DecoderOutput, RefinedMasks, Float[Tensor, "b n h w"]]:
    """Run one round: decoder, coarse mask, dense prompt head. `previous` is the final mask of the round before."""
    tokens = model.encode_prompts(prompts, image)
    num_objects = prompts.positive.shape[1]
    question = DecoderQuery(visual=tokens, phrases=meant.phrases, reference=meant.reference, num_objects=num_objects)
    output = model.decode(image, question, asked)
    assert output.visual is not None
    assert model.mask_refiner is not None
    assert image.text_map is not None
    coarse = dot(output.visual.mask_embeddings, image.pixels.mask_features)
    before = None if previous is None else resize(previous, (coarse.shape[-2], coarse.shape[-1]))
    maps = prompt_maps(prompts, coarse, before, text_similarity_maps(image.text_map, meant.vectors))
    refined = model.mask_refiner(
        image.pixels.mask_features, maps, output.visual.class_vectors, with_candidates=with_candidates
    )
    return output, refined, coarse


def begun(batch: TrainingBatch) -> Float[Tensor, "b n h4 w4"] | None:
    """Return the masks so far of a first round: the areas of outlines, nothing (0) for other requests."""
    outlines = batch.outlines
    drawn = outlines.flatten(2).any(dim=-1)[..., None, None]
    return torch.where(drawn, outline_logits(outlines), 0) if drawn.any() else None


def asked_about(batch: TrainingBatch) -> Bool[Tensor, "b n"]:
    """Return which requests ask anything (short photos are filled up with empty ones)."""
    spoken = torch.tensor([[bool(text) for text in photo] for photo in batch.texts()], device=batch.truth.device)
    return (batch.positive | batch.bounds | batch.reference).flatten(2).any(-1) | spoken


def judged(
    logits: Float[Tensor, "b n h w"], batch: TrainingBatch, factor: int
) -> tuple[Float[Tensor, "k p"], Float[Tensor, "k p"]]:
    """Return logits and truth, at a stride, of all that was asked; pixels to ignore are rightly empty in both."""
    real = asked_about(batch)
    truth = shrink(batch.truth, factor)
    void = (shrink(batch.ignore[:, None], factor) > 0.5) & (truth == 0)
    return logits.float().masked_fill(void, -20.0)[real].flatten(1), truth[real].flatten(1)


def mask_terms(logits: Float[Tensor, "k p"], truth: Float[Tensor, "k p"]) -> Tensor:
    """Price the masks of what is there (BCE + dice over the whole map).

    Of what is not there no mask is asked: a mask answers where a thing would be, its quality whether it is.
    """
    there = truth.any(dim=1)
    if not there.any():
        return logits.sum() * 0
    return mask_bce(logits[there], truth[there]) * 2 + mask_dice(logits[there], truth[there])


def refined_terms(refined: RefinedMasks, batch: TrainingBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Price final masks, and what the head says of their quality: the IoU, 0 for what is not there."""
    logits, truth = judged(refined.logits, batch, 2)
    loss = mask_terms(logits, truth)
    with torch.no_grad():
        inside, wanted = logits > 0, truth > 0.5
        union = (inside | wanted).sum(1)
        iou = torch.where(union > 0, (inside & wanted).sum(1) / union.clamp(min=1), 0.0)
    said = refined.quality_logits.float()[asked_about(batch)]
    quality = F.binary_cross_entropy_with_logits(said, iou, reduction="sum") / max(len(iou), 1)
    present = iou[wanted.any(1)] if wanted.any() else iou
    return loss, present.sum() / max(len(present), 1), quality


def coarse_terms(coarse: Float[Tensor, "b n h w"], batch: TrainingBatch) -> Tensor:
    """Price coarse masks at stride 4."""
    return mask_terms(*judged(coarse, batch, 4))


def name_terms(model: Segmenter, answers: QueryOutputs, batch: TrainingBatch, names: Names) -> Tensor:
    """Ask the query of every visual prompt without text for the object's class name."""
    rows, targets, allowed = [], [], []
    for b, (photo, sample) in enumerate(zip(batch.requests, batch.samples, strict=True)):
        known = known_names(sample.complete_names | set(sample.names), names)
        for n, request in enumerate(photo):
            if request.name and not request.phrase:
                rows.append((b, n))
                targets.append(names.index[request.name])
                allowed.append(known)
    device = answers.class_vectors.device
    if not rows:
        return torch.zeros((), device=device)
    index = torch.tensor(rows, device=device)
    logits = name_logits(model, answers.class_vectors[index[:, 0], index[:, 1]][None], names)[0]
    logits = logits.masked_fill(~torch.stack(allowed).to(device), IMPOSSIBLE)
    return F.cross_entropy(logits, torch.tensor(targets, device=device))


def name_logits(model: Segmenter, vectors: Float[Tensor, "b q d"], names: Names) -> Float[Tensor, "b q k"]:
    """Compare vectors with the names of the step, in float32 whatever the arithmetic around."""
    with torch.autocast(vectors.device.type, enabled=False):
        return model.class_logits(vectors.float(), names.vectors)


def meaning_terms(
    model: Segmenter, meaning: Float[Tensor, "b d h4 w4"], samples: Sequence[TrainingSample], names: Names
) -> Tensor:
    """Ask every place of the photos that are annotated completely for its name.

    The weight of a class in its photo grows with the root of its area, so that small things count.
    """
    device = meaning.device
    photos = [b for b, sample in enumerate(samples) if sample.complete_names]
    if not photos:
        return torch.zeros((), device=device)
    stride = samples[0].ignore.shape[-1] // meaning.shape[-1]
    labelled = [place_names(samples[b], names, stride) for b in photos]
    labels, weights = (torch.stack(part).to(device) for part in zip(*labelled, strict=True))
    allowed = torch.stack([known_names(samples[b].complete_names, names) for b in photos])
    allowed[:, -1] = (labels == len(names.index) - 1).flatten(1).any(dim=1).cpu()  # else all that is there has a name
    logits = name_logits(model, meaning[photos].flatten(2).mT, names)
    logits = logits.masked_fill(~allowed.to(device)[:, None], IMPOSSIBLE)
    loss = F.cross_entropy(logits.mT, labels.flatten(1), ignore_index=-1, reduction="none")
    return (loss * weights.flatten(1)).sum() / len(photos)


def thing_terms(
    model: Segmenter, meaning: Float[Tensor, "b d h4 w4"], samples: Sequence[TrainingSample], names: Names
) -> Tensor:
    """Ask what the places of every object mean together for its name, each class of a photo once."""
    device = meaning.device
    losses = []
    for b, sample in enumerate(samples):
        rows = {name: i for i, name in enumerate(sample.names) if name in sample.complete_names}
        if rows:
            masks = torch.from_numpy(sample.masks[list(rows.values())]).to(device)
            vectors = unit_vectors(pooled_text_vectors(meaning[b : b + 1], masks[None].float()))
            known = known_names(sample.complete_names, names)
            known[-1] = False
            logits = name_logits(model, vectors, names)[0].masked_fill(~known.to(device), IMPOSSIBLE)
            losses.append(F.cross_entropy(logits, torch.tensor([names.index[name] for name in rows], device=device)))
    return torch.stack(losses).mean() if losses else torch.zeros((), device=device)


def place_names(sample: TrainingSample, names: Names, stride: int) -> tuple[Int[Tensor, "h w"], Float[Tensor, "h w"]]:
    """Return the name at the middle of every cell (-1 = unknown), and how much the cell counts (1 in all, or 0)."""
    middle = (slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    labels = np.full(sample.ignore.shape, len(names.index) - 1)
    labels[sample.valid_hw[0] :], labels[:, sample.valid_hw[1] :] = -1, -1
    labels[sample.ignore] = -1
    labels = labels[middle]
    for i in np.argsort(-sample.areas):
        name = sample.names[i]
        labels[sample.masks[i][middle]] = names.index[name] if name in sample.complete_names else -1
    found, where, counts = np.unique(labels, return_inverse=True, return_counts=True)
    share = np.where(found >= 0, 1 / np.sqrt(counts), 0.0)
    weights = share[where].reshape(labels.shape)
    return torch.from_numpy(labels), torch.from_numpy(weights / max(weights.sum(), 1e-6)).float()


def known_names(allowed: Sequence[str] | set[str] | frozenset[str], names: Names) -> Bool[Tensor, " k"]:
    """Return which of a step's names may be said of a photo: those it is annotated for, and the background."""
    allowed = set(allowed)
    return torch.tensor([name in allowed or name == BACKGROUND for name in names.index])


def object_terms(
    model: Segmenter,
    image: ImageEncoding,
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
        return torch.rand(shape, generator=generator).to(device)

    losses = []
    masks = dot(output.object.mask_embeddings, image.pixels.mask_features).float()
    device = masks.device
    logits = name_logits(model, output.object.class_vectors, names)
    for b, sample in enumerate(batch.samples):
        if not sample.complete_names:
            continue
        objects = [i for i, name in enumerate(sample.names) if name in sample.complete_names][: logits.shape[1]]
        scores = logits[b].masked_fill(~known_names(sample.complete_names, names).to(device), IMPOSSIBLE)
        targets = torch.full((len(scores),), len(names.index) - 1, device=device)
        weights = torch.full((len(scores),), 0.1, device=device)
        mask_loss = torch.zeros((), device=device)
        if objects:
            truth = torch.from_numpy(sample.masks[objects]).to(device)
            classes = torch.tensor([names.index[sample.names[i]] for i in objects], device=device)
            match = match_objects(scores, masks[b], classes, truth, draw, num_points=objective.num_points)
            targets[match.queries] = classes[match.objects]
            weights[match.queries] = 1.0
            wanted = shrink(truth[match.objects][None], 4)[0].flatten(1)
            void = (shrink(batch.ignore[b][None, None], 4)[0].flatten(1) > 0.5) & (wanted == 0)
            said = masks[b, match.queries].flatten(1).masked_fill(void, -20.0)
            mask_loss = mask_bce(said, wanted) * 2 + mask_dice(said, wanted)
        name_loss = (F.cross_entropy(scores, targets, reduction="none") * weights).sum() / weights.sum()
        losses.append(objective.objects * mask_loss + objective.object_names * name_loss)
    return torch.stack(losses).mean() if losses else torch.zeros((), device=device)


def add_clicks(
    logits: Float[Tensor, "b n h w"],
    batch: TrainingBatch,
    positive: Bool[Tensor, "b n s s"],
    negative: Bool[Tensor, "b n s s"],
) -> None:
    """Let the invented user click once more on every object, at the middle of the larger error; in place."""
    truth = (shrink(batch.truth, 2) > 0.5).cpu()
    spoken = ~batch.truth.flatten(2).any(-1).cpu()
    void = shrink(batch.ignore[:, None], 2).cpu() > 0.5
    inside = (logits > 0).cpu() & ~(void & ~truth)
    for b, photo in enumerate(batch.samples):
        height, width = photo.valid_hw
        for n in range(truth.shape[1]):
            if spoken[b, n]:
                continue
            window = (slice(0, (height + 1) // 2), slice(0, (width + 1) // 2))
            wanted, said = truth[b, n][window].numpy(), inside[b, n][window].numpy()
            click = ritm_click(wanted, said, np.zeros_like(wanted))
            if click is None:
                continue
            marks = positive if click.positive else negative
            y, x = 2 * click.y, 2 * click.x
            marks[b, n, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
