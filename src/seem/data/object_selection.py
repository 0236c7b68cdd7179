"""Which objects of an image are scored, prompted one by one, or asked for by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int8

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord, ObjectRecord, ValidationObject, things_of

MIN_AREA_FRACTION = 0.005
"""Fraction of the image from which an object is scored on."""


def video_frames(dataset: Dataset) -> Mapping[str, tuple[ImageRecord, ...]]:
    """Return the frames of every video of a set in order of time; images that belong to none are left out."""
    frames: dict[str, list[ImageRecord]] = {}
    for image in dataset.images:
        if image.sequence:
            frames.setdefault(image.sequence, []).append(image)
    ordered = {}
    for name, images in frames.items():
        ordered[name] = tuple(sorted(images, key=_frame_number))
    return ordered


def _frame_number(image: ImageRecord) -> int:
    return image.frame or 0


def click_truth(dataset: Dataset, item: ValidationObject) -> Int8[np.ndarray, "h w"]:
    """Draw what a click protocol scores against: 1 = the object, 0 = not, -1 = does not count."""
    truth = item.truth.mask().astype(np.int8)
    void = dataset.void(item.image)
    if void is not None:
        truth[void & (truth == 0)] = -1
    return truth


def validation_objects(
    dataset: Dataset,
    min_area: float = MIN_AREA_FRACTION,
    things_only: bool = True,
) -> list[ValidationObject]:
    """List the objects that scores are taken on, in the order of the set.

    Things (and stuff where `things_only` is false) that are neither crowd nor group and cover at least `min_area` of
    their image: 427 on the validation split of coco_full, 535 with stuff. Click benchmarks take all: `min_area=0`.
    """
    items: list[ValidationObject] = []
    for image in dataset.images:
        objects = scored_objects(image, dataset.objects[image.id], min_area, things_only)
        for truth in objects:
            items.append(ValidationObject(image, truth))
    return items


def promptable_objects(
    dataset: Dataset, image: ImageRecord, min_area: float = MIN_AREA_FRACTION
) -> list[ObjectRecord]:
    """Return the objects of an image that are prompted one by one: things, or regions where a set has no things."""
    has_things = bool(things_of(dataset.categories.values()))
    return scored_objects(image, dataset.objects[image.id], min_area, things_only=has_things)


def scored_objects(
    image: ImageRecord,
    objects: Sequence[ObjectRecord],
    min_area: float,
    things_only: bool = True,
) -> list[ObjectRecord]:
    """Return the objects of an image that scores are taken on: see `validation_objects`."""
    height, width = image.hw
    min_pixels = max(1, min_area * height * width)
    scored = []
    for truth in objects:
        is_counted = truth.category.is_thing or not things_only
        if is_counted and not truth.is_group and truth.area >= min_pixels:
            scored.append(truth)
    return scored


def objects_by_name(
    dataset: Dataset,
    image: ImageRecord,
    min_area: float = MIN_AREA_FRACTION,
) -> dict[str, list[ObjectRecord]]:
    """Return the things of an image by class name, names in alphabetical order.

    A name needs at least one object that scores are taken on; smaller ones, crowds and groups are then listed too.
    """
    records = dataset.objects[image.id]
    scored = scored_objects(image, records, min_area)
    names = {truth.category.text for truth in scored} - {""}
    by_name: dict[str, list[ObjectRecord]] = {}
    for name in sorted(names):
        by_name[name] = []
    for record in records:
        if record.category.is_thing and record.area and record.category.text in by_name:
            by_name[record.category.text].append(record)
    return by_name
