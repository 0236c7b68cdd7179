"""A data set without the images and annotations that cannot be trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, Dataset, ParsedObjects
from seem.data.records import (
    CategoryRecord,
    Flaw,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
)

if TYPE_CHECKING:
    _ObjectsByImage = Mapping[int, tuple[ObjectRecord, ...]]
else:  # a run-time type checker would read the first image to see what it holds
    _ObjectsByImage = Mapping

Improvement: TypeAlias = "Callable[[ImageRecord, ObjectRecord], ObjectRecord]"


def _as_it_is(_image: ImageRecord, record: ObjectRecord) -> ObjectRecord:
    return record


class UsableDataset:
    """Some images of a data set, without the annotations that cannot be trained on; implements `Dataset`.

    `improve` may return another record in place of that of an object.
    """

    def __init__(
        self, full: Dataset, images: tuple[ImageRecord, ...], improve: Improvement = _as_it_is
    ) -> None:
        self.full = full
        self.images = images
        self.objects = UsableObjects(full, images, improve)

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.full.name

    @property
    def split(self) -> str:
        """The part of the data set that the images are from."""
        if self.full.split == ALL_SPLIT:
            return "all"
        return self.full.split

    @property
    def path(self) -> Path:
        """The folder of the data set."""
        return self.full.path

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that describe more than one image."""
        return self.full.files

    @property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Classes by their id in this data set."""
        return self.full.categories

    @property
    def expressions(self) -> tuple[ReferringExpression, ...]:
        """Referring expressions of the images."""
        ids = {image.id for image in self.images}
        return tuple(
            expression for expression in self.full.expressions if expression.image_id in ids
        )

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """None: what is wrong has been left out."""
        return ()

    def pixels(self, photo: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode an image to RGB."""
        return self.full.pixels(photo)

    def read_encoded(self, photo: ImageRecord) -> bytes:
        """Read the file of an image, byte for byte."""
        return self.full.read_encoded(photo)

    def panoptic(self, photo: ImageRecord) -> PanopticTruth | None:
        """Read the complete partition of an image into segments."""
        return self.full.panoptic(photo)

    def semantic(self, photo: ImageRecord) -> Integer[np.ndarray, "h w"] | None:
        """Read the map of category ids."""
        return self.full.semantic(photo)

    def void(self, photo: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Read which pixels are not labelled."""
        return self.full.void(photo)

    def complete_names(self, photo: ImageRecord) -> frozenset[str]:
        """Names for which the annotation of an image is complete.

        Where an object has been left out, its class is unknown: then only the names of objects that are there.
        """
        complete = self.full.complete_names(photo)
        examined = self.full.parse_objects(photo)
        usable = self.objects[photo.id]
        if not examined.flaws and len(usable) == len(examined.objects):
            return complete
        return complete & {record.category.text for record in usable}

    def parse_objects(self, photo: ImageRecord) -> ParsedObjects:
        """Read the usable objects of an image."""
        return ParsedObjects(self.objects[photo.id])

    def polygons(self, photo: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons of an image as they are written."""
        return self.full.polygons(photo)


class UsableObjects(_ObjectsByImage):
    """The usable objects of images by image id, read on request."""

    def __init__(
        self, dataset: Dataset, images: Sequence[ImageRecord], improve: Improvement
    ) -> None:
        self._dataset = dataset
        self._images = {image.id: image for image in images}
        self._improve = improve

    def __getitem__(self, image_id: int) -> tuple[ObjectRecord, ...]:
        image = self._images[image_id]
        records = self._dataset.parse_objects(image).objects
        usable = []
        for record in records:
            if is_usable(record, image, self._dataset.categories):
                usable.append(self._improve(image, record))
        return tuple(usable)

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def is_usable(
    record: ObjectRecord, image: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> bool:
    """Return whether an object can be trained on: a mask of the image's size, not empty, of a known class, in a box."""
    return (
        record.hw == image.hw
        and record.area > 0
        and record.category.id in categories
        and bool(np.isfinite(record.box).all())
    )


def without_images(dataset: Dataset, ids: Iterable[int]) -> UsableDataset:
    """Return a data set without the images with these ids."""
    excluded = frozenset(ids)
    return UsableDataset(
        dataset, tuple(image for image in dataset.images if image.id not in excluded)
    )
