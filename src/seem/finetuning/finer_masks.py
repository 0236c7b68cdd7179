"""COCO's objects with LVIS's finer masks: where the boxes of two objects match, the mask is replaced, as SEEM did."""

from __future__ import annotations

from dataclasses import replace

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord, ObjectRecord
from seem.finetuning.usable_dataset import UsableDataset

MIN_BOX_IOU = 0.7  # of matching boxes


def with_finer_masks(dataset: Dataset, finer: Dataset) -> UsableDataset:
    """Return a data set with masks from another one of the same images (equal ids).

    Class, id and phrases stay; mask and area are those of the other object with the best matching box. Stuff and groups
    stay as they are.
    """
    finer_images = {image.id: image for image in finer.images}

    def improve(image: ImageRecord, record: ObjectRecord) -> ObjectRecord:
        other = finer_images.get(image.id)
        if other is None or other.hw != image.hw or not record.category.is_thing or record.is_group:
            return record
        candidates = finer.objects[image.id]
        if not candidates:
            return record
        best = max(candidates, key=lambda candidate: box_iou(record.box, candidate.box))
        if box_iou(record.box, best.box) <= MIN_BOX_IOU:
            return record
        return replace(record, counts=best.counts, area=best.area)

    return UsableDataset(dataset, tuple(dataset.images), improve)


def box_iou(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> float:
    """Return the intersection over union of two boxes (x0, y0, x1, y1); 0 where both are empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    intersection = max(0.0, width) * max(0.0, height)
    union = _box_area(one) + _box_area(other) - intersection
    if union <= 0:
        return 0.0
    return intersection / union


def _box_area(box: tuple[float, float, float, float]) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)
