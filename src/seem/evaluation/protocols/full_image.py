"""Whole photos: panoptic quality, mask AP and semantic mIoU, each on the photos whose truth is complete for it.

A set whose classes are COCO's is scored over the 133 COCO categories, matched by COCO id. Any other set is asked for by
its own names: an open vocabulary, and the report says whether all names were given or only those in the photo.
Pixels of no class do not count in the semantic score; crowds give their pixels their class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, Integer

from seem.data.coco_rle import distinct_values, find_runs
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord, ObjectRecord, PanopticTruth
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.label_space import Names
from seem.evaluation.metrics.instances import Detection, MaskAp, PhotoObjects, TrueObject
from seem.evaluation.metrics.metric import Metric
from seem.evaluation.metrics.open_vocabulary import Comparison, OpenVocabulary
from seem.evaluation.metrics.panoptic import VOID, PanopticMap, PanopticQuality, Region
from seem.evaluation.metrics.semantic import IGNORED, SemanticIou
from seem.results import Results
from seem.vocabulary import Vocabulary

PANOPTIC, INSTANCE, SEMANTIC = "panoptic", "instance", "semantic"


def _line(protocol: str, names: Names, metric: Callable[[], Comparison[Any, Any, Any]], *rules: str) -> Line:
    def wrapped() -> Metric[Any]:
        return metric() if names.is_closed else OpenVocabulary(names.mode, metric())

    return Line(protocol, "model", wrapped, (names.rule, *rules))


# --- Panoptic ---------------------------------------------------------------------------------------------------------


def panoptic(dataset: Dataset, names: Names) -> Measure:
    """Segment photos that have a complete partition into things and stuff."""
    return Measure(
        PANOPTIC,
        (_line(PANOPTIC, names, lambda: PanopticQuality(names.is_thing)),),
        lambda photo: _partition(dataset, photo, names),
        _Panoptic(names).play,
    )


@dataclass(frozen=True, slots=True)
class _Panoptic:
    names: Names

    def play(self, look: Look, photos: Sequence[ImageRecord], tallies: Sequence[Tally]) -> None:
        (tally,) = tallies
        whole = look.dataset.panoptic(photos[0])
        assert whole is not None
        truth = true_map(whole, self.names.number)
        vocabulary = self.names.asked(region.category for region in truth.regions)
        seen = look.seen
        with look.asking(tally, "panoptic"):
            told = told_map(seen.panoptic(vocabulary))
        tally.metric.update(told, truth)
        tally.note(look.place, look.photo, "panoptic")


def told_map(result: Results) -> PanopticMap:
    """Read a panoptic result; regions of which no pixel is left are dropped."""
    rows = zip(result.ids.tolist(), result.category_ids.tolist(), result.areas.tolist(), strict=True)
    return PanopticMap(
        result.panoptic_map(), tuple(Region(number, category) for number, category, area in rows if area)
    )


def true_map(truth: PanopticTruth, number: Mapping[int, int]) -> PanopticMap:
    """Read a stored partition; what is not scored is void."""
    kept = [segment for segment in truth.segments if segment.category.id in number]
    ids = truth.ids
    if len(kept) < len(truth.segments):
        ids = np.where(np.isin(ids, [segment.id for segment in kept]), ids, VOID).astype(np.int32)
    return PanopticMap(ids, tuple(Region(s.id, number[s.category.id], s.is_crowd) for s in kept))


def _partition(dataset: Dataset, photo: ImageRecord, names: Names) -> list[ImageRecord]:
    """Return the photo, if it has a partition with anything to score in it."""
    if photo.panoptic_path is None or names.mode is not names.mode.FULL:
        whole = dataset.panoptic(photo)
        if whole is None or not any(segment.category.id in names.number for segment in whole.segments):
            return []
    return [photo]


# --- Semantic ---------------------------------------------------------------------------------------------------------


def semantic(dataset: Dataset, names: Names) -> Measure:
    """Give every pixel a class on photos that have a map of classes."""
    rule = "pixels of no class do not count"
    return Measure(
        SEMANTIC,
        (_line(SEMANTIC, names, lambda: SemanticIou(len(names.vocabulary)), rule),),
        lambda photo: [photo] if _has_classes(dataset, photo, names) else [],
        _Semantic(names).play,
    )


@dataclass(frozen=True, slots=True)
class _Semantic:
    names: Names

    def play(self, look: Look, photos: Sequence[ImageRecord], tallies: Sequence[Tally]) -> None:
        (tally,) = tallies
        truth = stored_classes(look.dataset, photos[0], self.names)
        assert truth is not None
        ids = self.names.vocabulary.ids
        vocabulary = self.names.asked(ids[k] for k in distinct_values(truth).tolist() if k != IGNORED)
        seen = look.seen
        with look.asking(tally, "semantic"):
            told = told_classes(seen.semantic(vocabulary), self.names.vocabulary)
        tally.metric.update(told, truth)
        tally.note(look.place, look.photo, "semantic")


def told_classes(result: Results, vocabulary: Vocabulary) -> Int64[np.ndarray, "h w"]:
    """Draw a semantic result as class indices."""
    index = {number: k for k, number in enumerate(vocabulary.ids)}
    drawn = np.full(result.image_hw, IGNORED, np.int64)
    for number, mask in zip(result.category_ids.tolist(), result.iter_masks(), strict=True):
        drawn[mask] = index[number]
    return drawn


def stored_classes(dataset: Dataset, photo: ImageRecord, names: Names) -> Int64[np.ndarray, "h w"] | None:
    """Draw the truth of a photo as class indices; None where it has none."""
    index = {number: k for k, number in enumerate(names.vocabulary.ids)}
    whole = dataset.panoptic(photo)
    if whole is not None:
        known = {s.id: index[names.number[s.category.id]] for s in whole.segments if s.category.id in names.number}
        return looked_up(whole.ids, known)
    classes = dataset.semantic(photo)
    if classes is None:
        return None
    truth = looked_up(classes, {key: index[number] for key, number in names.number.items()})
    void = dataset.void(photo)
    return truth if void is None else np.where(void, IGNORED, truth)


def looked_up(numbers: Integer[np.ndarray, "h w"], index: Mapping[int, int]) -> Int64[np.ndarray, "h w"]:
    """Replace the numbers of a map; those that are not known become `IGNORED`."""
    flat = numbers.ravel()
    starts, lengths = find_runs(flat)
    found = np.array([index.get(number, IGNORED) for number in flat[starts].tolist()], np.int64)
    return np.repeat(found, lengths).reshape(numbers.shape)


def _has_classes(dataset: Dataset, photo: ImageRecord, names: Names) -> bool:
    if photo.panoptic_path is not None and names.mode is names.mode.FULL:
        return True
    truth = stored_classes(dataset, photo, names)
    return truth is not None and bool((truth != IGNORED).any())


# --- Instances --------------------------------------------------------------------------------------------------------


def instance(dataset: Dataset, names: Names) -> Measure:
    """Segment every thing on photos on which all things of the set are annotated."""
    rules = ("at most 100 answers a photo", "no least score")
    return Measure(
        INSTANCE,
        (_line(INSTANCE, names, MaskAp, *rules),),
        lambda photo: _things(dataset, photo, names),
        _Instances(names).play,
    )


@dataclass(frozen=True, slots=True)
class _Instances:
    names: Names

    def play(self, look: Look, photos: Sequence[ImageRecord], tallies: Sequence[Tally]) -> None:
        (tally,) = tallies
        number = self.names.number
        records = [r for r in look.dataset.objects[look.photo.id] if _is_scored(r, number)]
        true = tuple(
            TrueObject(number[record.category.id], record.mask(), record.is_group, float(record.area))
            for record in records
        )
        vocabulary = self.names.asked(each.category for each in true)
        seen = look.seen
        with look.asking(tally, "instance"):
            found = seen.instances(vocabulary, threshold=0.0, mask_nms_thresh=1.0)
        rows = zip(found.category_ids.tolist(), found.scores.tolist(), found.iter_masks(), strict=True)
        tally.metric.update([Detection(*row) for row in rows], PhotoObjects(photos[0].id, true))
        tally.note(look.place, look.photo, "instance")


def _things(dataset: Dataset, photo: ImageRecord, names: Names) -> list[ImageRecord]:
    """Return the photo, if the annotation of all its things is complete."""
    wanted = {
        category.text for key, category in dataset.categories.items() if key in names.number and category.is_thing
    }
    if not wanted or not wanted <= dataset.complete_names(photo):
        return []
    if names.mode is names.mode.FULL:
        return [photo]
    return [photo] if _any_scored(dataset.objects[photo.id], names) else []


def _any_scored(records: Iterable[ObjectRecord], names: Names) -> bool:
    return any(_is_scored(record, names.number) for record in records)


def _is_scored(record: ObjectRecord, number: Mapping[int, int]) -> bool:
    return record.category.is_thing and record.category.id in number
