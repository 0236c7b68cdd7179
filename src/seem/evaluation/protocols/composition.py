"""Composed prompts: a phrase and a visual prompt about one object, beside each of them alone.

SEEM's table 1, last rows: referring expressions with a stroke on the same object (the generator of circle strokes,
seeded with the annotation id), by the rules of the official referring evaluator. Data sets without expressions use the
class name as the phrase. And clicks (rule `ritm`) with the class name as a text prompt, beside the clicks alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seem.data.dataset import Dataset
from seem.data.object_selection import promptable_objects
from seem.data.records import ImageRecord, ObjectRecord
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.click_methods import MODEL_IN_SESSION, MODEL_WITH_CLASS_NAME
from seem.evaluation.interfaces import union_mask
from seem.evaluation.metrics.composition import CompositionScores
from seem.evaluation.metrics.overlap import IouRule, Overlap
from seem.evaluation.protocols.clicks import click_benchmark
from seem.evaluation.protocols.phrases import object_of
from seem.evaluation.protocols.prompt_kinds import prompt_drawers
from seem.prompts import Text
from seem.simulation.strokes import PromptKind

PROTOCOL = "composition: phrase and stroke"
NAMED_CLICKS = "composition: clicks and the class name"
MAX_NAMED_CLICKS = 10
"""Greatest number of clicks on an object with a name: where a name helps, it helps at once."""


@dataclass(frozen=True, slots=True)
class DescribedObject:
    """An object and a phrase about it."""

    phrase: str
    truth: ObjectRecord


def phrase_and_stroke_benchmark(dataset: Dataset) -> Benchmark:
    """Score the masks of objects from a phrase, from a stroke, and from both."""
    phrases = "phrases: written, first sentence" if dataset.expressions else "phrases: class names"
    rules = (
        phrases,
        "stroke: circle, drawn with the annotation id as seed",
        f"IoU: {IouRule.OFFICIAL.value}",
    )
    return Benchmark(
        title=PROTOCOL,
        specs=(EntrySpec(PROTOCOL, "model", CompositionScores, rules),),
        items=lambda image: described_objects(dataset, image),
        evaluate=_evaluate,
    )


def described_objects(dataset: Dataset, image: ImageRecord) -> list[DescribedObject]:
    """List the objects of an image that have a phrase: an expression, or else the name of their class."""
    described = []
    if not dataset.expressions:
        for record in _with_class_name(promptable_objects(dataset, image)):
            described.append(DescribedObject(record.category.text, record))
    for expression in dataset.expressions:
        if expression.image_id == image.id:
            truth = object_of(dataset, expression)
            described.append(DescribedObject(expression.sentences[0], truth))
    return described


def _with_class_name(records: Iterable[ObjectRecord]) -> list[ObjectRecord]:
    return [record for record in records if record.category.text]


def _evaluate(
    context: EvaluationContext,
    objects: Sequence[DescribedObject],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    (accumulator,) = accumulators
    draw_stroke = prompt_drawers("filled")[PromptKind.CIRCLE]
    for described in objects:
        record = described.truth
        truth = record.mask()
        text, stroke = Text(described.phrase), draw_stroke(truth, record.id)
        encoded = context.encoded
        masks, overlaps = [], []
        for step, prompts in (("both", (text, stroke)), ("phrase", (text,)), ("stroke", (stroke,))):
            with context.timing(accumulator, step):
                predicted = union_mask(encoded.segment(*prompts, text_threshold=0.0))
            masks.append(predicted)
            overlaps.append(Overlap.of(predicted, truth))
        accumulator.metric.update(*overlaps)
        context.record_item(accumulator, f"{record.id}: {described.phrase}")
        accumulator.add_case(
            context.image_index,
            context.image,
            record.id,
            overlaps[0].iou,
            masks[0],
            truth,
            described.phrase,
        )


def named_click_benchmark(dataset: Dataset, max_clicks: int = MAX_NAMED_CLICKS) -> Benchmark:
    """Score clicks on objects that have a name, with and without the name as a text prompt.

    There are `max_clicks` clicks, `MAX_NAMED_CLICKS` at most.
    """
    benchmark = click_benchmark(
        dataset,
        methods=(MODEL_WITH_CLASS_NAME, MODEL_IN_SESSION),
        max_clicks=min(max_clicks, MAX_NAMED_CLICKS),
        protocol=NAMED_CLICKS,
    )
    return Benchmark(
        title=NAMED_CLICKS,
        specs=benchmark.specs,
        items=lambda image: _with_class_name(benchmark.items(image)),
        evaluate=benchmark.evaluate,
    )
