"""Panoptic quality and semantic mIoU on photos with a complete partition, over the 133 COCO panoptic categories.

Truth is the panoptic map as stored; categories of model and truth are matched by COCO id. For the semantic score every
segment, crowds too, gives its pixels its class; unlabelled pixels do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from seem.data.pack import Pack, PanopticTruth, PhotoRecord
from seem.evaluation.metrics.panoptic import PanopticMap, PanopticQuality, Region
from seem.evaluation.metrics.semantic import IGNORED, SemanticIou
from seem.evaluation.report import Entry, Stopwatch
from seem.evaluation.selection import Selection
from seem.evaluation.subject import Scored
from seem.results import Results
from seem.vocabulary import Vocabulary


def panoptic_photos(pack: Pack) -> list[PhotoRecord]:
    """List the photos of a split that have a panoptic map."""
    return [photo for photo in pack.photos if photo.panoptic_path is not None]


def score_whole_photos(
    model: Scored, pack: Pack, photos: Sequence[PhotoRecord], step: Callable[[], object] = lambda: None
) -> list[Entry]:
    """Segment photos that have a panoptic map completely, in both ways; `step` is called after each photo."""
    vocabulary = Vocabulary.coco_panoptic()
    panoptic = PanopticQuality({category.id: category.is_thing for category in vocabulary})
    semantic = SemanticIou(len(vocabulary))
    encoding, merging, labelling = Stopwatch(), Stopwatch(), Stopwatch()
    for photo in photos:
        truth = pack.panoptic(photo)
        if truth is None:
            raise ValueError(f"Photo {photo.id} of {pack.name} has no panoptic map; pass panoptic_photos(pack).")
        pixels = pack.image(photo)
        with encoding.running():
            seen = model.encode(pixels)
        with merging.running():
            regions = seen.panoptic()
        with labelling.running():
            classes = seen.semantic()
        panoptic.update(told_map(regions), true_map(truth))
        semantic.update(told_classes(classes, vocabulary), true_classes(truth, vocabulary))
        step()
    selection = Selection.of(pack.name, pack.split, ((photo, "panoptic") for photo in photos))
    timings = {"encode": encoding.read()}
    return [
        Entry("panoptic", "model", selection, panoptic.compute(), timings | {"panoptic": merging.read()}),
        Entry("semantic", "model", selection, semantic.compute(), timings | {"semantic": labelling.read()}),
    ]


def told_map(result: Results) -> PanopticMap:
    """Read a panoptic result; regions of which no pixel is left are dropped."""
    rows = zip(result.ids.tolist(), result.category_ids.tolist(), result.areas.tolist(), strict=True)
    return PanopticMap(
        result.panoptic_map(), tuple(Region(number, category) for number, category, area in rows if area)
    )


def true_map(truth: PanopticTruth) -> PanopticMap:
    """Read a stored partition."""
    return PanopticMap(truth.ids, tuple(Region(s.id, s.category.id, s.is_crowd) for s in truth.segments))


def told_classes(result: Results, vocabulary: Vocabulary) -> Int64[np.ndarray, "h w"]:
    """Draw a semantic result as class indices."""
    index = {number: k for k, number in enumerate(vocabulary.ids)}
    drawn = np.full(result.photo_hw, IGNORED, np.int64)
    for number, mask in zip(result.category_ids.tolist(), result.iter_masks(), strict=True):
        drawn[mask] = index[number]
    return drawn


def true_classes(truth: PanopticTruth, vocabulary: Vocabulary) -> Int64[np.ndarray, "h w"]:
    """Draw a stored partition as class indices."""
    index = {number: k for k, number in enumerate(vocabulary.ids)}
    segments = {segment.id: index[segment.category.id] for segment in truth.segments}
    numbers, places = np.unique(truth.ids, return_inverse=True)
    classes = np.array([segments.get(number, IGNORED) for number in numbers.tolist()], np.int64)
    return classes[places.reshape(truth.ids.shape)]
