"""Phrases: class names, names of what is not there, and sentences that single out an object.

**Class names.** For every (photo, countable class that it shows by an object of at least 0.5% of it, neither crowd nor
group): truth = the union of all instances, crowds and groups too.
Asked in two ways: `find(name)`, all that fits joined, and `phrase-best`, the one best answer of `segment(Text(name))`,
in which several instances can be found only as far as one mask covers them. For every photo whose annotation is
complete also one class that is not in it, drawn with the photo's id as seed: right is an empty result.

**Referring.** Every expression's first sentence, `segment(Text(sentence))`. On RefCOCO to the letter of the official
evaluator: there is always an answer, whatever its score; on the photo pack the model may answer that there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import MIN_AREA_FRACTION, Dataset, objects_by_name
from seem.data.pack import Pack
from seem.data.records import DataError, ImageRecord, ObjectRecord, ReferringExpression
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.interfaces import region
from seem.evaluation.metrics.overlap import IouRule, Overlap, OverlapScores
from seem.evaluation.metrics.refusal import RefusalShare
from seem.prompts import Text

FIND = "phrases: class names, find"
BEST = "phrases: class names, phrase-best"
MISSED = "refused although present"
ABSENT = "refused because absent"
REFERRING = "phrases: referring"
SHOWN = f"classes with an object of {MIN_AREA_FRACTION:.1%} of the photo"


@dataclass(frozen=True, slots=True)
class NamedPhoto:
    """What a photo is asked: `present` names with their instances, and one that is `absent` (None: unknown)."""

    photo: ImageRecord
    present: tuple[tuple[str, tuple[ObjectRecord, ...]], ...]
    absent: str | None


# --- Class names ------------------------------------------------------------------------------------------------------


def class_names(dataset: Dataset) -> Measure:
    """Ask every photo for its names, and for one that is not there."""
    lines = [
        line
        for way in (FIND, BEST)
        for line in (
            Line(way, "model", OverlapScores, (SHOWN,)),
            Line(f"{way}, {MISSED}", "model", RefusalShare, (SHOWN,)),
            Line(f"{way}, {ABSENT}", "model", RefusalShare),
        )
    ]

    def items(photo: ImageRecord) -> Sequence[NamedPhoto]:
        named = named_photo(dataset, photo)
        return [named] if named.present or named.absent is not None else []

    return Measure("phrases: class names", tuple(lines), items, _ask_for_names)


def _ask_for_names(look: Look, named: Sequence[NamedPhoto], tallies: Sequence[Tally]) -> None:
    for photo in named:
        for way, (present, missed, absent) in zip((_find, _best), (tallies[:3], tallies[3:]), strict=True):
            for name, instances in photo.present:
                predicted, truth = way(look, name, present), union(instances)
                overlap = Overlap.of(predicted, truth)
                present.metric.update(overlap)
                missed.metric.update(not predicted.any())
                present.note(look.place, look.photo, name)
                missed.note(look.place, look.photo, name)
                present.show(look.place, look.photo, name, overlap.iou, predicted, truth, name)
            if photo.absent is not None:
                absent.metric.update(not way(look, photo.absent, absent).any())
                absent.note(look.place, look.photo, photo.absent)


def _find(look: Look, name: str, tally: Tally) -> Bool[np.ndarray, "h w"]:
    with look.asking(tally, "find"):
        return region(look.seen.find(name))


def _best(look: Look, name: str, tally: Tally) -> Bool[np.ndarray, "h w"]:
    with look.asking(tally, "phrase"):
        return region(look.seen.segment(Text(name)))


def named_photos(dataset: Dataset) -> list[NamedPhoto]:
    """List what each photo of a split is asked; photos that hold no named class are asked for the absent one alone."""
    return [named_photo(dataset, photo) for photo in dataset.images]


def named_photo(dataset: Dataset, photo: ImageRecord) -> NamedPhoto:
    """Say what a photo is asked."""
    shown = objects_by_name(dataset, photo)
    hinted = {record.category.text for record in dataset.objects[photo.id]}  # however small
    countable = {category.text for category in dataset.categories.values() if category.is_thing}
    known = sorted(dataset.complete_names(photo) & countable - hinted)
    absent = known[int(np.random.default_rng(photo.id).integers(len(known)))] if known else None
    return NamedPhoto(photo, tuple((name, tuple(records)) for name, records in shown.items()), absent)


def union(instances: Sequence[ObjectRecord]) -> Bool[np.ndarray, "h w"]:
    """Join the masks of one or more instances."""
    return np.asarray(np.logical_or.reduce([record.mask() for record in instances]))


# --- Referring expressions --------------------------------------------------------------------------------------------


def referring(dataset: Dataset) -> Measure:
    """Ask for the object of every expression by its first sentence."""
    official = not isinstance(dataset, Pack)
    rule = IouRule.OFFICIAL if official else IouRule.EXACT
    rules = (f"IoU: {rule.value}", "first sentence", "always an answer" if official else "may be refused")
    by_photo: dict[int, list[ReferringExpression]] = {}
    for expression in dataset.expressions:
        by_photo.setdefault(expression.image_id, []).append(expression)
    return Measure(
        REFERRING,
        (Line(REFERRING, "model", lambda: OverlapScores(rule), rules),),
        lambda photo: by_photo.get(photo.id, []),
        _Referring(official).play,
    )


@dataclass(frozen=True, slots=True)
class _Referring:
    official: bool

    def play(self, look: Look, expressions: Sequence[ReferringExpression], tallies: Sequence[Tally]) -> None:
        (tally,) = tallies
        for expression in expressions:
            truth, sentence = object_of(look.dataset, expression).mask(), expression.sentences[0]
            with look.asking(tally, "phrase"):
                least = 0.0 if self.official else None
                predicted = region(look.seen.segment(Text(sentence), text_threshold=least))
            overlap = Overlap.of(predicted, truth)
            tally.metric.update(overlap)
            tally.note(look.place, look.photo, f"{expression.object_id}: {sentence}")
            tally.show(look.place, look.photo, expression.id, overlap.iou, predicted, truth, sentence)


def object_of(dataset: Dataset, expression: ReferringExpression) -> ObjectRecord:
    """Return the object that an expression means."""
    for record in dataset.objects[expression.image_id]:
        if record.id == expression.object_id:
            return record
    raise DataError(f"Expression {expression.id} means object {expression.object_id}, which its photo does not have.")
