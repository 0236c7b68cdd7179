"""The objective that the published models were trained with, on the batches of our sampler.

Every object and stuff region, up to four phrases an image, and visual prompts in several rounds: all rounds but the
last run without gradient, each adds a click on what is still wrong and hands its mask on. X-Decoder takes no visual
prompts and learns captions, their nouns and retrieval instead. Sources: SEEM (arXiv 2304.06718, sections 3 and 4),
X-Decoder (arXiv 2212.11270) and the released settings.

Marks are those of the published strokes (`seem.simulation.strokes.PUBLISHED`) on up to ten objects an image.
Known differences: class names are those that the images of a batch are annotated for, not one fixed list; captions are
learned on the images of the batch that have one, not on another set of images of their own size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.models.decoder.decoder import ImageEncoding
from seem.models.decoder.draws import RandomDraws
from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter, unit_vectors
from seem.models.structures import (
    CaptionPrefix,
    DecoderOutput,
    DecoderQuery,
    QueryOutputs,
    VisualTokens,
)
from seem.training.batches import StepBatch, TrainingBatch
from seem.training.captions import TOP_HEADS, CaptionPrediction, caption_terms
from seem.training.criterion import (
    CriterionWeights,
    HeadPrediction,
    HeadTerms,
    ImageTargets,
    ObjectPrediction,
    PhrasePrediction,
    VisualPrediction,
    criterion,
)
from seem.training.objectives.click_rounds import simulate_rounds
from seem.training.objectives.published_config import Ablation, PublishedConfig
from seem.training.objectives.published_texts import (
    EncodedTexts,
    PublishedTexts,
    TemplatedTokenizer,
    caption_targets,
    image_targets,
    noun_targets,
    phrase_tokens,
)

CAPTION_KINDS = frozenset(
    {RowKind.CAPTION, RowKind.IMAGE}
)  # query groups that answer for captions and retrieval


class QueryObjective:
    """The loss of a query model's training steps; implements `seem.training.objectives.Objective`.

    `count_objects` turns the number of objects of a batch into what the losses of their masks are divided by: with
    several processes, the mean over them.
    """

    def __init__(
        self,
        tokenizer: TemplatedTokenizer,
        config: PublishedConfig = PublishedConfig(),
        count_objects: Callable[[int], float] = float,
    ) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.count_objects = count_objects

    def loss(self, model: Segmenter, batch: StepBatch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, and its weighted terms with their `total` for the log."""
        assert batch.full is not None
        return published_loss(
            model, batch.full, self.tokenizer, self.config, batch.rng, self.count_objects
        )


def published_loss(
    model: Segmenter,
    batch: TrainingBatch,
    tokenizer: TemplatedTokenizer,
    config: PublishedConfig,
    rng: np.random.Generator,
    count_objects: Callable[[int], float] = float,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch, and the weighted terms of each group of queries with their `total`."""
    kinds = trained_kinds(model, config.ablation)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator).to(batch.truth.device)

    image = model.encode_image(batch.images, many_masks=True)
    kinds, texts = draw_texts(batch, kinds, config, tokenizer, rng)
    encoded = texts.encode(model, tokenizer, rng)
    targets = [image_targets(batch, b, texts, encoded, kinds) for b in range(len(batch.samples))]
    captions = None
    if texts.captions:
        captions = caption_targets(model, image, encoded, texts.captions, tokenizer)
        if texts.nouns:
            captions = replace(captions, nouns=noun_targets(encoded, texts, targets))

    visual, previous = None, None
    if RowKind.VISUAL in kinds:
        prompts, previous = simulate_rounds(model, image, batch, config.ablation, rng, generator)
        visual = model.encode_prompts(prompts, image, RandomDraws(generator))
    question = DecoderQuery(
        visual=visual,
        phrases=phrase_tokens(encoded, texts) if RowKind.PHRASE in kinds else None,
        caption=None if captions is None else CaptionPrefix(captions.tokens),
        previous=previous if config.ablation.memory else None,
        num_objects=0 if visual is None else batch.truth.shape[1],
    )
    output = model.decode(image, question, kinds, RandomDraws(generator), intermediate=True)
    outputs = [
        replace(output, intermediate=()),
        *reversed(output.intermediate),
    ]  # of all heads, the final one first

    heads = head_predictions(model, outputs, image, encoded, visual, kinds)
    terms = criterion(
        heads,
        targets,
        draw,
        options=config.criterion,
        num_objects=count_objects(count_true_objects(targets)),
    )
    total = terms.total(config.weights)
    sums = sum_by_group(terms.heads, config.weights)
    if captions is not None:
        matches = [head.objects.matches for head in terms.heads if head.objects is not None]
        caption_loss = caption_terms(
            [caption_prediction(each) for each in outputs], captions, matches
        ).total(config.caption_weights)
        total = total + caption_loss
        sums["captions"] = float(caption_loss.detach())
    return total, {**sums, "total": float(total.detach())}


# --- What is trained --------------------------------------------------------------------------------------------------


def trained_kinds(model: Segmenter, ablation: Ablation) -> frozenset[RowKind]:
    """Return the query groups that a step trains.

    Raises:
        ValueError: none is left, or the model's visual prompts have no query group of their own.
    """
    policy = model.decoder.policy
    if policy.visual is RowKind.OBJECT:
        raise ValueError(
            f"{model.config.name} is v0's weights under another policy; train seem-...-v0 instead."
        )
    switches = {
        RowKind.OBJECT: ablation.objects,
        RowKind.PHRASE: ablation.phrases,
        RowKind.VISUAL: ablation.visual,
        RowKind.CAPTION: ablation.captions,
        RowKind.IMAGE: ablation.captions,
    }
    kinds = set()
    for group in policy.groups:
        if switches.get(group.kind, False):
            kinds.add(group.kind)
    if not kinds:
        raise ValueError(
            f"Nothing is left to train {model.config.name} on; switch objects, phrases, visual or captions on."
        )
    return frozenset(kinds)


def draw_texts(
    batch: TrainingBatch,
    kinds: frozenset[RowKind],
    config: PublishedConfig,
    tokenizer: TemplatedTokenizer,
    rng: np.random.Generator,
) -> tuple[frozenset[RowKind], PublishedTexts]:
    """Draw the texts of a step; return those of `kinds` that can be trained with them, and the texts.

    Captions are left out where no image has one, unless there is nothing else to train.
    """
    texts = PublishedTexts.draw(
        batch.samples,
        tokenizer,
        rng,
        max_phrases=config.max_phrases,
        phrase_weight=config.phrase_weight,
        name_weight=config.name_weight,
        with_captions=kinds >= CAPTION_KINDS,
        with_nouns=RowKind.OBJECT in kinds,
    )
    if any(texts.captions) or kinds == CAPTION_KINDS:
        return kinds, texts
    return kinds - CAPTION_KINDS, replace(texts, captions=(), nouns=())


def count_true_objects(targets: Sequence[ImageTargets]) -> int:
    """Return the number of objects on all images of a batch."""
    count = 0
    for truth in targets:
        if truth.objects is not None:
            count += len(truth.objects.classes)
    return count


def judged_kinds(model: Segmenter, kinds: frozenset[RowKind], head: int) -> frozenset[RowKind]:
    """Return the query groups whose masks one head (0 = the final one) is trained on.

    X-Decoder trains phrases at its top heads alone, SEEM at all.
    """
    is_xdecoder = model.decoder.captions is not None
    if is_xdecoder and head >= TOP_HEADS:
        return kinds - CAPTION_KINDS - {RowKind.PHRASE}
    return kinds - CAPTION_KINDS


# --- What the heads predict -------------------------------------------------------------------------------------------


def head_predictions(
    model: Segmenter,
    outputs: Sequence[DecoderOutput],
    image: ImageEncoding,
    encoded: EncodedTexts,
    visual: VisualTokens | None,
    kinds: frozenset[RowKind],
) -> list[HeadPrediction]:
    """Return the predictions of all heads that are trained on masks, the final one first."""
    classes = unit_vectors(encoded.class_names.float())
    prompt_vectors = None if visual is None else visual.positive_vectors
    predictions = []
    for head, output in enumerate(outputs):
        judged = judged_kinds(model, kinds, head)
        if judged:
            predictions.append(
                head_prediction(model, output, image, classes, prompt_vectors, judged)
            )
    return predictions


def head_prediction(
    model: Segmenter,
    output: DecoderOutput,
    image: ImageEncoding,
    classes: Float[Tensor, "k d"],
    prompt_vectors: Float[Tensor, "b n c"] | None,
    kinds: frozenset[RowKind],
) -> HeadPrediction:
    """Return what one prediction head predicts for the given query groups."""

    def masks(answers: QueryOutputs) -> Tensor:
        return image.pixels.mask_features.logits(answers.mask_embeddings).float()

    objects = phrases = visual = None
    if output.object is not None and RowKind.OBJECT in kinds:
        with torch.autocast(classes.device.type, enabled=False):
            logits = model.class_logits(output.object.class_vectors.float(), classes)
        objects = ObjectPrediction(logits, masks(output.object))
    if output.phrase is not None and RowKind.PHRASE in kinds:
        scale = model.text.logit_scale.exp().clamp(max=100)
        phrases = PhrasePrediction(output.phrase.class_vectors, masks(output.phrase), scale)
    if output.visual is not None:
        assert prompt_vectors is not None
        visual = VisualPrediction(
            output.visual.mask_embeddings, masks(output.visual), prompt_vectors
        )
    return HeadPrediction(objects, phrases, visual)


def caption_prediction(output: DecoderOutput) -> CaptionPrediction:
    """Return what one prediction head predicts about captions."""
    assert output.caption is not None
    assert output.object is not None
    assert output.image is not None
    return CaptionPrediction(
        words=output.caption,
        regions=output.object.class_vectors,
        image=output.image.class_vectors[:, 0],
    )


def sum_by_group(heads: Sequence[HeadTerms], weights: CriterionWeights) -> dict[str, float]:
    """Add up the weighted terms of all heads for each group of queries, for the log."""
    totals: dict[str, list[Tensor]] = {}
    for head in heads:
        for group, total in head.weighted_groups(weights):
            totals.setdefault(group, []).append(total)
    return {group: float(torch.stack(parts).sum().detach()) for group, parts in totals.items()}
