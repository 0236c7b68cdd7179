"""Full images: panoptic quality, mask AP and semantic mIoU, each on the images whose truth is complete for it.

A data set whose classes are COCO's is scored over the 133 COCO categories, matched by COCO id. For any other data set
the model is prompted with its class names: an open vocabulary, and the report says whether with all names or only with
those in the image. Pixels of no class do not count in the semantic score; crowds give their pixels their class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int64, Integer

from seem.data.coco_rle import distinct_values, find_runs
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord, ObjectRecord, PanopticTruth
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.label_space import LabelSpace
from seem.evaluation.metrics.instances import Detection, GroundTruthObject, ImageGroundTruth, MaskAp
from seem.evaluation.metrics.metric import Metric
from seem.evaluation.metrics.open_vocabulary import ImageMetric, LabelMode, OpenVocabulary
from seem.evaluation.metrics.panoptic import (
    VOID,
    PanopticQuality,
    PanopticSegmentation,
    SegmentInfo,
)
from seem.evaluation.metrics.semantic import IGNORED, SemanticIou
from seem.results import Results
from seem.vocabulary import Vocabulary

PANOPTIC, INSTANCE, SEMANTIC = "panoptic", "instance", "semantic"

ClassMap: TypeAlias = Int64[np.ndarray, "h w"]
"""The index of a class in a vocabulary at each pixel, or `IGNORED`."""


def _spec(
    protocol: str,
    labels: LabelSpace,
    metric: Callable[[], ImageMetric[Any, Any, Any]],
    *rules: str,
) -> EntrySpec:
    def new_metric() -> Metric[Any]:
        if labels.is_closed:
            return metric()
        return OpenVocabulary(labels.mode, metric())

    return EntrySpec(protocol, "model", new_metric, (labels.rule, *rules))


def _images_with(
    has_truth: Callable[[Dataset, ImageRecord, LabelSpace], bool],
    dataset: Dataset,
    labels: LabelSpace,
) -> Callable[[ImageRecord], list[ImageRecord]]:
    """Return the items of a benchmark: an image itself if it has the truth that is scored."""

    def items(image: ImageRecord) -> list[ImageRecord]:
        if has_truth(dataset, image, labels):
            return [image]
        return []

    return items


# --- Panoptic ---------------------------------------------------------------------------------------------------------


def panoptic_benchmark(dataset: Dataset, labels: LabelSpace) -> Benchmark:
    """Score the panoptic quality of images with a complete partition into things and stuff."""
    return Benchmark(
        title=PANOPTIC,
        specs=(_spec(PANOPTIC, labels, lambda: PanopticQuality(labels.is_thing)),),
        items=_images_with(_has_partition, dataset, labels),
        evaluate=_PanopticEvaluation(labels).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _PanopticEvaluation:
    labels: LabelSpace

    def evaluate(
        self,
        context: EvaluationContext,
        images: Sequence[ImageRecord],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (accumulator,) = accumulators
        stored = context.dataset.panoptic(images[0])
        assert stored is not None
        truth = true_segmentation(stored, self.labels.class_ids)
        vocabulary = self.labels.prompted_vocabulary(segment.category for segment in truth.segments)
        encoded = context.encoded
        with context.timing(accumulator, "panoptic"):
            predicted = predicted_segmentation(encoded.panoptic(vocabulary))
        accumulator.metric.update(predicted, truth)
        context.record_item(accumulator, "panoptic")


def predicted_segmentation(result: Results) -> PanopticSegmentation:
    """Convert a panoptic result; segments without any pixel are dropped."""
    segments = []
    rows = zip(
        result.ids.tolist(), result.category_ids.tolist(), result.areas.tolist(), strict=True
    )
    for segment_id, category, area in rows:
        if area:
            segments.append(SegmentInfo(segment_id, category))
    return PanopticSegmentation(result.panoptic_map(), tuple(segments))


def true_segmentation(truth: PanopticTruth, class_ids: Mapping[int, int]) -> PanopticSegmentation:
    """Convert a stored partition; segments whose category is not scored become void."""
    segments = []
    for segment in truth.segments:
        class_id = class_ids.get(segment.category.id)
        if class_id is not None:
            segments.append(SegmentInfo(segment.id, class_id, segment.is_crowd))
    ids = truth.ids
    if len(segments) < len(truth.segments):
        is_scored = np.isin(ids, [segment.id for segment in segments])
        ids = np.where(is_scored, ids, VOID).astype(np.int32)
    return PanopticSegmentation(ids, tuple(segments))


def _has_partition(dataset: Dataset, image: ImageRecord, labels: LabelSpace) -> bool:
    """Whether an image has a partition with anything to score in it."""
    if image.panoptic_path is not None and labels.mode is LabelMode.FULL:
        return True
    stored = dataset.panoptic(image)
    if stored is None:
        return False
    return any(segment.category.id in labels.class_ids for segment in stored.segments)


# --- Semantic ---------------------------------------------------------------------------------------------------------


def semantic_benchmark(dataset: Dataset, labels: LabelSpace) -> Benchmark:
    """Score the classes of the pixels of images with a class map."""
    rule = "pixels of no class do not count"
    return Benchmark(
        title=SEMANTIC,
        specs=(_spec(SEMANTIC, labels, lambda: SemanticIou(len(labels.vocabulary)), rule),),
        items=_images_with(_has_classes, dataset, labels),
        evaluate=_SemanticEvaluation(labels).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _SemanticEvaluation:
    labels: LabelSpace

    def evaluate(
        self,
        context: EvaluationContext,
        images: Sequence[ImageRecord],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (accumulator,) = accumulators
        truth = dataset_class_map(context.dataset, images[0], self.labels)
        assert truth is not None
        ids = self.labels.vocabulary.ids
        indices = set(distinct_values(truth).tolist()) - {IGNORED}
        vocabulary = self.labels.prompted_vocabulary(ids[index] for index in indices)
        encoded = context.encoded
        with context.timing(accumulator, "semantic"):
            predicted = result_class_map(encoded.semantic(vocabulary), self.labels.vocabulary)
        accumulator.metric.update(predicted, truth)
        context.record_item(accumulator, "semantic")


def result_class_map(result: Results, vocabulary: Vocabulary) -> ClassMap:
    """Convert a semantic result to indices of classes."""
    index_of_id = _index_of_id(vocabulary)
    class_map = np.full(result.image_hw, IGNORED, np.int64)
    for class_id, mask in zip(result.category_ids.tolist(), result.iter_masks(), strict=True):
        class_map[mask] = index_of_id[class_id]
    return class_map


def _index_of_id(vocabulary: Vocabulary) -> dict[int, int]:
    return {class_id: index for index, class_id in enumerate(vocabulary.ids)}


def dataset_class_map(dataset: Dataset, image: ImageRecord, labels: LabelSpace) -> ClassMap | None:
    """Return the truth of an image as indices of classes; None where it has none."""
    index_of_id = _index_of_id(labels.vocabulary)
    index_of_category = {}
    for category, class_id in labels.class_ids.items():
        index_of_category[category] = index_of_id[class_id]
    stored = dataset.panoptic(image)
    if stored is not None:
        index_of_segment = {}
        for segment in stored.segments:
            index_of_segment[segment.id] = index_of_category.get(segment.category.id, IGNORED)
        return map_values(stored.ids, index_of_segment)
    categories = dataset.semantic(image)
    if categories is None:
        return None
    truth = map_values(categories, index_of_category)
    void = dataset.void(image)
    if void is None:
        return truth
    return np.where(void, IGNORED, truth)


def map_values(values: Integer[np.ndarray, "h w"], index: Mapping[int, int]) -> ClassMap:
    """Replace the values of a map by their indices; unknown values become `IGNORED`."""
    flat = values.ravel()
    starts, lengths = find_runs(flat)
    indices = np.array([index.get(value, IGNORED) for value in flat[starts].tolist()], np.int64)
    return np.repeat(indices, lengths).reshape(values.shape)


def _has_classes(dataset: Dataset, image: ImageRecord, labels: LabelSpace) -> bool:
    """Whether an image has pixels of a scored class."""
    if image.panoptic_path is not None and labels.mode is LabelMode.FULL:
        return True
    truth = dataset_class_map(dataset, image, labels)
    return truth is not None and bool((truth != IGNORED).any())


# --- Instances --------------------------------------------------------------------------------------------------------


def instance_benchmark(dataset: Dataset, labels: LabelSpace) -> Benchmark:
    """Score the mask AP of things on images in which all things of the data set are annotated."""
    rules = ("at most 100 answers a photo", "no least score")
    return Benchmark(
        title=INSTANCE,
        specs=(_spec(INSTANCE, labels, MaskAp, *rules),),
        items=_images_with(_has_things, dataset, labels),
        evaluate=_InstanceEvaluation(labels).evaluate,
    )


@dataclass(frozen=True, slots=True)
class _InstanceEvaluation:
    labels: LabelSpace

    def evaluate(
        self,
        context: EvaluationContext,
        images: Sequence[ImageRecord],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        (accumulator,) = accumulators
        records = context.dataset.objects[context.image.id]
        truth = true_objects(records, self.labels.class_ids)
        vocabulary = self.labels.prompted_vocabulary(each.category for each in truth)
        encoded = context.encoded
        with context.timing(accumulator, "instance"):
            result = encoded.instances(vocabulary, threshold=0.0, mask_nms_threshold=1.0)
        rows = zip(
            result.category_ids.tolist(), result.scores.tolist(), result.iter_masks(), strict=True
        )
        detections = list(starmap(Detection, rows))
        accumulator.metric.update(detections, ImageGroundTruth(images[0].id, truth))
        context.record_item(accumulator, "instance")


def true_objects(
    records: Iterable[ObjectRecord], class_ids: Mapping[int, int]
) -> tuple[GroundTruthObject, ...]:
    """Convert the stored objects of an image that are scored."""
    objects = []
    for record in records:
        if _is_scored(record, class_ids):
            true = GroundTruthObject(
                category=class_ids[record.category.id],
                mask=record.mask(),
                is_crowd=record.is_group,
                area=float(record.area),
            )
            objects.append(true)
    return tuple(objects)


def _has_things(dataset: Dataset, image: ImageRecord, labels: LabelSpace) -> bool:
    """Whether the annotation of all scored things of an image is complete."""
    scored = set()
    for key, category in dataset.categories.items():
        if key in labels.class_ids and category.is_thing:
            scored.add(category.text)
    if not scored or not scored <= dataset.complete_names(image):
        return False
    if labels.mode is LabelMode.FULL:
        return True
    return any(_is_scored(record, labels.class_ids) for record in dataset.objects[image.id])


def _is_scored(record: ObjectRecord, class_ids: Mapping[int, int]) -> bool:
    return record.category.is_thing and record.category.id in class_ids
