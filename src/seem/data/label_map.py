"""An image cut into numbered segments, and the object records of those segments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Int32

from seem.data.coco_rle import label_map_to_rles
from seem.data.records import Flaw, ImageRecord, ObjectRecord, SegmentRecord, object_record

MAX_OBJECTS_PER_IMAGE = 10_000
"""Objects without an id in their file get image id x this + their number from 1."""


@dataclass(frozen=True, slots=True)
class LabelMap:
    """An image cut into segments.

    `ids` holds segment ids (0 = none). `semantic` is the map of category ids where it says more than the segments.
    `void` are unlabelled pixels. `is_partition` says that everything is labelled: a panoptic truth.
    `qualities`: what a segment is that is no single object, by its id ("group": several that nobody told apart).
    """

    ids: Int32[np.ndarray, "h w"]
    segments: tuple[SegmentRecord, ...]
    semantic: Int32[np.ndarray, "h w"] | None = None
    void: Bool[np.ndarray, "h w"] | None = None
    is_partition: bool = False
    qualities: Mapping[int, str] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()
    notes: tuple[Flaw, ...] = ()

    def category_ids(self) -> Int32[np.ndarray, "h w"]:
        """Draw the category id of every pixel, 0 where there is none."""
        if self.semantic is not None:
            return self.semantic
        table = {segment.id: segment.category.id for segment in self.segments}
        table[0] = 0
        segment_ids, category_ids = np.array(sorted(table.items()), np.int32).T
        indices = np.searchsorted(segment_ids, self.ids)
        indices = np.minimum(indices, len(segment_ids) - 1)
        is_listed = segment_ids[indices] == self.ids
        return np.asarray(np.where(is_listed, category_ids[indices], 0), np.int32)


def segment_records(labels: LabelMap, image: ImageRecord) -> tuple[ObjectRecord, ...]:
    """Turn the segments of a label map into object records, in their order; those without a pixel are left out.

    In a video a segment's id is that of its track.
    """
    rles = label_map_to_rles(labels.ids)
    records = []
    for number, segment in enumerate(labels.segments, 1):
        if segment.id in rles:
            record = object_record(
                numbered_object_id(image, number),
                image,
                segment.category,
                rles[segment.id],
                is_crowd=segment.is_crowd,
                quality=labels.qualities.get(segment.id, ""),
                track_id=_track_id(segment, image),
            )
            records.append(record)
    return tuple(records)


def _track_id(segment: SegmentRecord, image: ImageRecord) -> int | None:
    if not image.sequence:
        return None
    return segment.id


def numbered_object_id(image: ImageRecord, number: int) -> int:
    """Return the id of the `number`-th object of an image (from 1) where its file gives none."""
    return image.id * MAX_OBJECTS_PER_IMAGE + number
