"""A phrase and a visual prompt about one object, beside the same run with one of them alone.

SEEM's table 1, last rows: referring expressions with a stroke on the same object (the generator of circle strokes,
seeded with the annotation id), by the rules of the official referring evaluator. Sets without expressions use the class
name as the phrase. And clicks (rule `ritm`) with the class name said beside the first, against the clicks alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seem.data.dataset import Dataset, promptable_objects
from seem.data.records import ImageRecord, ObjectRecord
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.click_methods import CONTESTANTS, TOLD
from seem.evaluation.interfaces import region
from seem.evaluation.metrics.composition import CompositionScores
from seem.evaluation.metrics.overlap import IouRule, Overlap
from seem.evaluation.protocols.clicks import clicks
from seem.evaluation.protocols.phrases import object_of
from seem.evaluation.protocols.prompt_kinds import prompt_drawers
from seem.prompts import Text
from seem.simulation.strokes import PromptKind

PROTOCOL = "composition: phrase and stroke"
CLICKS = "composition: clicks and the class name"
CLICKED = 10
"""Clicks on each object, at most: where a name helps, it helps at once."""


@dataclass(frozen=True, slots=True)
class Described:
    """One object and what is said about it."""

    phrase: str
    truth: ObjectRecord


def phrase_and_stroke(dataset: Dataset) -> Measure:
    """Ask for each described object by its phrase, by a stroke, and by both."""
    phrases = "phrases: written, first sentence" if dataset.expressions else "phrases: class names"
    rules = (phrases, "stroke: circle, drawn with the annotation id as seed", f"IoU: {IouRule.OFFICIAL.value}")
    return Measure(
        PROTOCOL, (Line(PROTOCOL, "model", CompositionScores, rules),), lambda photo: described(dataset, photo), _ask
    )


def described(dataset: Dataset, photo: ImageRecord) -> list[Described]:
    """List the objects of a photo that something is said about."""
    if dataset.expressions:
        return [
            Described(each.sentences[0], object_of(dataset, each))
            for each in dataset.expressions
            if each.image_id == photo.id
        ]
    objects = promptable_objects(dataset, photo)
    return [Described(each.category.text, each) for each in objects if each.category.text]


def _ask(look: Look, asked: Sequence[Described], tallies: Sequence[Tally]) -> None:
    (tally,) = tallies
    stroke = prompt_drawers("filled")[PromptKind.CIRCLE]
    for each in asked:
        truth = each.truth.mask()
        words, mark = Text(each.phrase), stroke(truth, each.truth.id)
        seen = look.seen
        found = []
        for step, prompts in (("both", (words, mark)), ("phrase", (words,)), ("stroke", (mark,))):
            with look.asking(tally, step):
                found.append(region(seen.segment(*prompts, text_threshold=0.0)))
        together, phrase, prompt = (Overlap.of(predicted, truth) for predicted in found)
        tally.metric.update(together, phrase, prompt)
        tally.note(look.place, look.photo, f"{each.truth.id}: {each.phrase}")
        tally.show(look.place, look.photo, each.truth.id, together.iou, found[0], truth, each.phrase)


def named_clicks(dataset: Dataset, count: int = CLICKED) -> Measure:
    """Click on each object that has a name `count` times (`CLICKED` at most), with and without saying it."""
    whole = clicks(dataset, (TOLD, CONTESTANTS[0]), min(count, CLICKED), CLICKS)
    return Measure(
        CLICKS,
        whole.lines,
        lambda photo: [item for item in whole.items(photo) if item.category.text],
        whole.play,
    )
