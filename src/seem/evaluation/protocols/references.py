"""Reference prompts: an object that is marked in one image is segmented in another.

**Pairs** (images). For every image and every countable class that it shows: another image that shows it, sampled with
the seed from all that do. The reference is the largest single instance there, as a mask; truth is the union of the
class in the first image, crowds and groups too; the prediction is that of `segment(Reference(...))`. An image shows a
class if it has an object of at least 0.5% of the image, neither crowd nor group. Where the annotation of an image says
which classes it does not show, one of those is a reference too, which has to be refused: an empty prediction.

**In context** (videos; SEEM's zero-shot in-context prompting). The masks of the objects in the first frame are the
references; every other annotated frame is segmented from them alone, without memory from frame to frame.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from seem.data.dataset import Dataset
from seem.data.object_selection import objects_by_name
from seem.data.records import ImageRecord, ObjectRecord
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.interfaces import union_mask
from seem.evaluation.metrics.in_context import InContextScores
from seem.evaluation.metrics.overlap import Overlap, OverlapScores
from seem.evaluation.metrics.refusal import RefusalRate
from seem.evaluation.protocols.phrases import (
    ABSENT,
    AREA_RULE,
    MISSED,
    absent_names,
    instance_union,
)
from seem.evaluation.protocols.videos import VideoIndex, VideoObject
from seem.prompts import Mask, Reference

PAIRS = "reference: pairs"
IN_CONTEXT = "reference: in context"


# --- Pairs of images --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ReferencePair:
    """A class in an image, with its reference in another image.

    Attributes:
        name: name of the class.
        truth: its instances in the image; none of a class that the image does not show.
        reference_image: the other image.
        reference: the instance there that is the reference.
    """

    name: str
    truth: tuple[ObjectRecord, ...]
    reference_image: ImageRecord
    reference: ObjectRecord


def reference_pair_benchmark(dataset: Dataset, seed: int = 0) -> Benchmark:
    """Score the classes of every image from references in other images."""
    sampler = _PairSampler(dataset, seed)
    rules = (
        "reference: the largest instance in the other photo",
        "truth: all of the class",
        AREA_RULE,
        f"pairs by seed {seed}",
    )
    return Benchmark(
        title=PAIRS,
        specs=(
            EntrySpec(PAIRS, "model", OverlapScores, rules),
            EntrySpec(f"{PAIRS}, {MISSED}", "model", RefusalRate, rules),
            EntrySpec(f"{PAIRS}, {ABSENT}", "model", RefusalRate, rules),
        ),
        items=sampler.pairs,
        evaluate=_evaluate_pairs,
    )


@dataclass
class _PairSampler:
    dataset: Dataset
    seed: int

    def pairs(self, image: ImageRecord) -> list[ReferencePair]:
        """Sample a reference for every class of an image that another image shows, and for one that it lacks."""
        pairs = []
        for name, records in objects_by_name(self.dataset, image).items():
            ranked = self._ranked(name, image)
            if ranked:
                pairs.append(ReferencePair(name, tuple(records), *ranked[min(ranked)]))
        return [*pairs, *self._absent_pair(image)]

    def _absent_pair(self, image: ImageRecord) -> list[ReferencePair]:
        """Sample a class that an image surely does not show, with its reference in another image."""
        ranked = {}
        for name in absent_names(self.dataset, image):
            for rank, instance in self._ranked(name, image).items():
                ranked[rank] = (name, instance)
        if not ranked:
            return []
        name, instance = ranked[min(ranked)]
        return [ReferencePair(name, (), *instance)]

    def _ranked(
        self, name: str, image: ImageRecord
    ) -> dict[bytes, tuple[ImageRecord, ObjectRecord]]:
        """Return the instances of a class in other images, by a rank that the seed draws."""
        ranked = {}
        for other_image, reference in self._instances.get(name, ()):
            if other_image.id != image.id:
                ranked[self._rank(name, image, other_image)] = (other_image, reference)
        return ranked

    @cached_property
    def _instances(self) -> dict[str, list[tuple[ImageRecord, ObjectRecord]]]:
        """List the images that show each class, each with its largest single instance."""
        instances: dict[str, list[tuple[ImageRecord, ObjectRecord]]] = {}
        for image in self.dataset.images:
            for name, records in objects_by_name(self.dataset, image).items():
                single = [record for record in records if not record.is_group]
                largest = max(single, key=lambda record: (record.area, -record.id))
                instances.setdefault(name, []).append((image, largest))
        return instances

    def _rank(self, name: str, image: ImageRecord, other: ImageRecord) -> bytes:
        return hashlib.sha256(f"{self.seed}:{name}:{image.id}:{other.id}".encode()).digest()


def _evaluate_pairs(
    context: EvaluationContext,
    pairs: Sequence[ReferencePair],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    overlaps, missed, absent = accumulators
    for pair in pairs:
        label = f"{pair.name} as in {pair.reference_image.id}/{pair.reference.id}"
        encoded_reference = context.encode_reference(pair.reference_image, overlaps)
        encoded = context.encoded
        with context.timing(overlaps, "reference"):
            reference = Reference(encoded_reference, Mask(pair.reference.mask()))
            predicted = union_mask(encoded.segment(reference))
        if not pair.truth:
            absent.metric.update(not predicted.any())
            context.record_item(absent, label)
            continue
        truth = instance_union(pair.truth)
        overlap = Overlap.of(predicted, truth)
        overlaps.metric.update(overlap)
        missed.metric.update(not predicted.any())
        for accumulator in (overlaps, missed):
            context.record_item(accumulator, label)
        overlaps.add_case(
            context.image_index, context.image, label, overlap.iou, predicted, truth, label
        )


# --- In context: videos -----------------------------------------------------------------------------------------------


def in_context_benchmark(dataset: Dataset) -> Benchmark:
    """Score every frame of a video from the masks in its first one."""
    rules = (
        "reference: the first frame",
        "all other annotated frames count",
        "each frame by itself",
    )
    return Benchmark(
        title=IN_CONTEXT,
        specs=(EntrySpec(IN_CONTEXT, "model", InContextScores, rules),),
        items=VideoIndex(dataset).items,
        evaluate=_evaluate_frames,
    )


def _evaluate_frames(
    context: EvaluationContext,
    items: Sequence[tuple[VideoObject, ...]],
    accumulators: Sequence[ScoreAccumulator],
) -> None:
    (accumulator,) = accumulators
    (objects,) = items
    videos = VideoIndex(context.dataset)
    sequence = context.image.sequence
    references = {
        each.number: Reference(context.encoded, Mask(each.first_mask)) for each in objects
    }
    for frame_index, frame in enumerate(videos.frames(context.image)):
        if frame_index == 0 or not videos.is_annotated(frame):
            continue
        encoded = context.encode_reference(frame, accumulator)
        for each in objects:
            with context.timing(accumulator, "reference"):
                predicted = union_mask(encoded.segment(references[each.number]))
            truth = videos.mask(frame, each.number)
            void = context.dataset.void(frame)
            if void is not None:
                predicted = predicted & ~void
            accumulator.metric.update(
                sequence, each.number, frame_index, predicted, truth, reference=0
            )
            context.record_item(accumulator, f"{sequence}/{frame.id}/{each.number}")
