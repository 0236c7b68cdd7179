"""`BankedImage`: a training image shrunk to the bank's size, ready to be cropped, with soft masks of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from seem.data.dataset import Dataset
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord


@dataclass(frozen=True, slots=True)
class BankedObject:
    """One object at the bank's image size: its soft mask (0-255, 128 and more is inside) cut to `box` (xyxy)."""

    record: ObjectRecord
    box: tuple[int, int, int, int]
    soft_mask: UInt8[np.ndarray, "bh bw"]
    area: float

    @property
    def name(self) -> str:
        """The class name to prompt with; empty for class-agnostic masks."""
        return self.record.category.text


@dataclass(frozen=True, slots=True)
class BankedImage:
    """One training image at the bank's size, with what was annotated on it.

    `objects` are single objects and stuff regions; `ignored` are soft masks (with their boxes) of what is annotated as
    neither object nor background: crowds, groups, the unlabelled part of a panoptic map.
    """

    record: ImageRecord
    image: UInt8[np.ndarray, "h w 3"]
    objects: tuple[BankedObject, ...]
    ignored: tuple[BankedObject, ...]
    complete_names: frozenset[str]

    @property
    def object_names(self) -> set[str]:
        """Class names of the objects."""
        return {entry.name for entry in self.objects}


@dataclass(frozen=True, slots=True)
class SoftRegion:
    """A soft mask cut to its box (xyxy); empty where nothing of it is left."""

    record: ObjectRecord
    box: tuple[int, int, int, int]
    soft_mask: UInt8[np.ndarray, "bh bw"]


def shrink_image(dataset: Dataset, image: ImageRecord, longest_side: int) -> BankedImage:
    """Decode an image of any data set and shrink it, with everything that is annotated on it.

    Raises:
        DataError: the image or one of its annotations cannot be read.
    """
    return shrink_decoded(dataset, image, dataset.pixels(image), dataset.void(image), longest_side)


def shrink_decoded(
    dataset: Dataset,
    image: ImageRecord,
    pixels: UInt8[np.ndarray, "h w 3"],
    void: Bool[np.ndarray, "h w"] | None,
    longest_side: int,
) -> BankedImage:
    """Shrink decoded pixels to at most `longest_side`, with everything that is annotated on the image."""
    scale = min(1.0, longest_side / max(image.hw))
    height, width = image.hw
    shrunk_height = max(1, round(height * scale))
    shrunk_width = max(1, round(width * scale))
    hw = shrunk_height, shrunk_width
    regions = []
    for record in dataset.objects[image.id]:
        regions.append(_soft_region(record, record.mask(), hw))
    if void is not None:
        regions.append(_soft_region(void_record(image), void, hw))
    return assemble_image(dataset, image, _resize(pixels, hw), regions)


def assemble_image(
    dataset: Dataset,
    image: ImageRecord,
    pixels: UInt8[np.ndarray, "h w 3"],
    regions: Sequence[SoftRegion],
) -> BankedImage:
    """Make a banked image of shrunk pixels and regions; regions of which nothing is left are left out."""
    objects, ignored = [], []
    for region in regions:
        if region.soft_mask.size == 0:
            continue
        area = float(region.soft_mask.sum(dtype=np.int64)) / 255.0
        banked = BankedObject(region.record, region.box, region.soft_mask, area)
        if region.record.is_group:
            ignored.append(banked)
        else:
            objects.append(banked)
    return BankedImage(
        record=image,
        image=pixels,
        objects=tuple(objects),
        ignored=tuple(ignored),
        complete_names=dataset.complete_names(image),
    )


def void_record(image: ImageRecord) -> ObjectRecord:
    """Make the record that stands for the unlabelled part of a panoptic image: a group without a name."""
    height, width = image.hw
    return ObjectRecord(
        id=-1,
        image_id=image.id,
        category=CategoryRecord(0, "void", "", is_thing=False),
        counts="",
        hw=image.hw,
        box=(0.0, 0.0, float(width), float(height)),
        area=0,
        is_crowd=True,
        quality="void",
        phrases=(),
        phrase_source="",
        track_id=None,
    )


def _soft_region(
    record: ObjectRecord, mask: Bool[np.ndarray, "h w"], hw: tuple[int, int]
) -> SoftRegion:
    """Shrink a mask and cut it to its box."""
    import cv2

    soft = _resize(mask.view(np.uint8) * np.uint8(255), hw)
    x, y, width, height = cv2.boundingRect(soft)
    right, bottom = x + width, y + height
    crop = np.ascontiguousarray(soft[y:bottom, x:right])
    return SoftRegion(record, (x, y, right, bottom), crop)


def _resize(
    pixels: UInt8[np.ndarray, "h w *c"], hw: tuple[int, int]
) -> UInt8[np.ndarray, "h2 w2 *c"]:
    import cv2

    if pixels.shape[:2] == hw:
        return pixels
    height, width = hw
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA))
