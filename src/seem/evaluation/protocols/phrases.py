"""Phrases: class names, names of absent classes, and sentences that refer to one object.

**Class names.** For every (image, countable class with an object of at least 0.5% of the image, neither crowd nor
group): truth is the union of all instances, crowds and groups too. There are two predictions: `find(name)`, the union
of all that matches, and `phrase-best`, the one best mask of `segment(Text(name))`, in which several instances are found
only as far as one mask covers them. For every image whose annotation is complete also one absent class, drawn with the
image's id as seed: the correct prediction is empty.

**Referring.** The first sentence of every expression, `segment(Text(sentence))`. On RefCOCO to the letter of the
official evaluator: there is always a prediction, whatever its score; on the photo pack it may be empty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import Dataset
from seem.data.object_selection import MIN_AREA_FRACTION, objects_by_name
from seem.data.pack import Pack
from seem.data.records import DataError, ImageRecord, ObjectRecord, ReferringExpression
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.interfaces import union_mask
from seem.evaluation.metrics.overlap import IouRule, Overlap, OverlapScores
from seem.evaluation.metrics.refusal import RefusalRate
from seem.prompts import Text

FIND = "phrases: class names, find"
BEST = "phrases: class names, phrase-best"
MISSED = "refused although present"
ABSENT = "refused because absent"
REFERRING = "phrases: referring"
AREA_RULE = f"classes with an object of {MIN_AREA_FRACTION:.1%} of the photo"

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class NamedImage:
    """The names that an image is prompted with.

    Attributes:
        image: the image.
        present: names of its classes, each with its instances.
        absent: a name of which there is no instance; None where the annotation does not say.
    """

    image: ImageRecord
    present: tuple[tuple[str, tuple[ObjectRecord, ...]], ...]
    absent: str | None


# --- Class names ------------------------------------------------------------------------------------------------------


def class_name_benchmark(dataset: Dataset) -> Benchmark:
    """Score the masks of the classes of every image, and the refusal of an absent one."""

    def items(image: ImageRecord) -> Sequence[NamedImage]:
        named = named_image(dataset, image)
        if named.present or named.absent is not None:
            return [named]
        return []

    return Benchmark(
        title="phrases: class names",
        specs=(*_class_name_specs(FIND), *_class_name_specs(BEST)),
        items=items,
        evaluate=_evaluate_class_names,
    )


def _class_name_specs(protocol: str) -> tuple[EntrySpec, EntrySpec, EntrySpec]:
    return (
        EntrySpec(protocol, "model", OverlapScores, (AREA_RULE,)),
        EntrySpec(f"{protocol}, {MISSED}", "model", RefusalRate, (AREA_RULE,)),
        EntrySpec(f"{protocol}, {ABSENT}", "model", RefusalRate),
    )


def _evaluate_class_names(
    context: EvaluationContext,
    items: Sequence[NamedImage],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    for named in items:
        _evaluate_names(context, named, _predict_all, *accumulators[:3])
        _evaluate_names(context, named, _predict_best, *accumulators[3:])


def _evaluate_names(
    context: EvaluationContext,
    named: NamedImage,
    predict: Callable[[EvaluationContext, str, ScoreAccumulator], MaskArray],
    present: ScoreAccumulator,
    missed: ScoreAccumulator,
    absent: ScoreAccumulator,
) -> None:
    for name, instances in named.present:
        predicted, truth = predict(context, name, present), instance_union(instances)
        overlap = Overlap.of(predicted, truth)
        present.metric.update(overlap)
        missed.metric.update(not predicted.any())
        context.record_item(present, name)
        context.record_item(missed, name)
        present.add_case(
            context.image_index, context.image, name, overlap.iou, predicted, truth, name
        )
    if named.absent is not None:
        predicted = predict(context, named.absent, absent)
        absent.metric.update(not predicted.any())
        context.record_item(absent, named.absent)


def _predict_all(context: EvaluationContext, name: str, accumulator: ScoreAccumulator) -> MaskArray:
    with context.timing(accumulator, "find"):
        return union_mask(context.encoded.find(name))


def _predict_best(
    context: EvaluationContext, name: str, accumulator: ScoreAccumulator
) -> MaskArray:
    with context.timing(accumulator, "phrase"):
        return union_mask(context.encoded.segment(Text(name)))


def named_image(dataset: Dataset, image: ImageRecord) -> NamedImage:
    """Return the names that an image is prompted with."""
    present = []
    for name, records in objects_by_name(dataset, image).items():
        present.append((name, tuple(records)))
    return NamedImage(image, tuple(present), absent=_absent_name(dataset, image))


def _absent_name(dataset: Dataset, image: ImageRecord) -> str | None:
    """Draw a class of which an image surely has no instance, however small; None where there is none."""
    absent = absent_names(dataset, image)
    if not absent:
        return None
    rng = np.random.default_rng(image.id)
    return absent[int(rng.integers(len(absent)))]


def absent_names(dataset: Dataset, image: ImageRecord) -> list[str]:
    """Return the countable classes of which an image surely has no instance, however small."""
    annotated = {record.category.text for record in dataset.objects[image.id]}
    countable = {category.text for category in dataset.categories.values() if category.is_thing}
    return sorted(dataset.complete_names(image) & countable - annotated)


def instance_union(instances: Sequence[ObjectRecord]) -> MaskArray:
    """Return the union of the masks of one or more instances."""
    return np.asarray(np.logical_or.reduce([record.mask() for record in instances]))


# --- Referring expressions --------------------------------------------------------------------------------------------


def referring_benchmark(dataset: Dataset) -> Benchmark:
    """Score the object of every expression from its first sentence."""
    is_official = not isinstance(dataset, Pack)
    iou_rule, refusal_rule = IouRule.EXACT, "may be refused"
    text_threshold: float | None = None
    if is_official:
        iou_rule, refusal_rule = IouRule.OFFICIAL, "always an answer"
        text_threshold = 0.0
    rules = (f"IoU: {iou_rule.value}", "first sentence", refusal_rule)
    by_image: dict[int, list[ReferringExpression]] = {}
    for expression in dataset.expressions:
        by_image.setdefault(expression.image_id, []).append(expression)
    return Benchmark(
        title=REFERRING,
        specs=(EntrySpec(REFERRING, "model", lambda: OverlapScores(iou_rule), rules),),
        items=lambda image: by_image.get(image.id, []),
        evaluate=_ReferringEvaluation(text_threshold).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _ReferringEvaluation:
    text_threshold: float | None

    def evaluate(
        self,
        context: EvaluationContext,
        expressions: Sequence[ReferringExpression],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (accumulator,) = accumulators
        for expression in expressions:
            truth = object_of(context.dataset, expression).mask()
            sentence = expression.sentences[0]
            with context.timing(accumulator, "phrase"):
                result = context.encoded.segment(Text(sentence), text_threshold=self.text_threshold)
                predicted = union_mask(result)
            overlap = Overlap.of(predicted, truth)
            accumulator.metric.update(overlap)
            context.record_item(accumulator, f"{expression.object_id}: {sentence}")
            accumulator.add_case(
                context.image_index,
                context.image,
                expression.id,
                overlap.iou,
                predicted,
                truth,
                sentence,
            )


def object_of(dataset: Dataset, expression: ReferringExpression) -> ObjectRecord:
    """Return the object that an expression refers to."""
    for record in dataset.objects[expression.image_id]:
        if record.id == expression.object_id:
            return record
    raise DataError(
        f"Expression {expression.id} means object {expression.object_id}, which its photo does not have."
    )
