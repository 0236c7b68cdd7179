"""COCO's objects with LVIS's finer masks: where the boxes of an object agree, the mask is replaced, as SEEM did."""

from __future__ import annotations

from dataclasses import replace

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord, ObjectRecord
from seem.finetuning.datasets import UsableDataset

AGREES = 0.7
"""Least IoU of the two boxes."""


def with_finer_masks(dataset: Dataset, finer: Dataset) -> UsableDataset:
    """Return the data set with masks from another one of the same photos (equal ids).

    Class, id and phrases stay; the mask and its area are the other's, whichever of its boxes agrees best. Regions of
    stuff and groups stay as they are.
    """
    masks = {photo.id: photo for photo in finer.images}

    def improve(photo: ImageRecord, record: ObjectRecord) -> ObjectRecord:
        other = masks.get(photo.id)
        if other is None or other.hw != photo.hw or not record.category.is_thing or record.is_group:
            return record
        found = [(box_iou(record.box, candidate.box), candidate) for candidate in finer.objects[photo.id]]
        best = max(found, key=lambda row: row[0], default=None)
        if best is None or best[0] <= AGREES:
            return record
        return replace(record, counts=best[1].counts, area=best[1].area)

    return UsableDataset(dataset, tuple(dataset.images), improve)


def box_iou(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (xyxy); 0 where both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, width) * max(0.0, height)
    either = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / either if either > 0 else 0.0
