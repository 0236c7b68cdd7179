"""What a data set is to everybody who evaluates or trains: one interface, whichever format lies on disk.

`Dataset` is what they ask for. `Pack` implements it for the photo pack, `LazyDataset` for every other format: a reader
is a function that finds the files of its layout and returns a `LazyDataset`. Annotations and pixels of single images
are read on first access.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from seem.data.records import (
    CategoryRecord,
    Flaw,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
)

ALL_SPLIT = "all"
"""The split of a set that is not divided."""


class Dataset(Protocol):
    """One split of one data set.

    `images` come in the set's order, frames of a video in order of time. `files` are those that describe more than one
    image: caches made from the set are compared with them.
    """

    @property
    def name(self) -> str:
        """What the set is called."""

    @property
    def split(self) -> str:
        """Which part of it this is; `ALL_SPLIT` for a set that is not divided."""

    @property
    def path(self) -> Path:
        """The folder that it lies in."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that describe more than one image."""

    @property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Classes by their id in this set."""

    @property
    def images(self) -> tuple[ImageRecord, ...]:
        """The images."""

    @property
    def objects(self) -> Mapping[int, tuple[ObjectRecord, ...]]:
        """Objects, groups and stuff regions by image id; `DataError` where an annotation cannot be read."""

    @property
    def expressions(self) -> tuple[ReferringExpression, ...]:
        """Referring expressions; empty where a set has none."""

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """What is wrong with the set as a whole; for single images see `parse_objects`."""

    def pixels(self, image: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode an image to RGB; `DataError` if it is missing, damaged or of another size than its record says."""

    def read_encoded(self, image: ImageRecord) -> bytes:
        """Read an image's file as it is stored, byte for byte."""

    def panoptic(self, image: ImageRecord) -> PanopticTruth | None:
        """Read the complete partition of an image; None where the set has none."""

    def semantic(self, image: ImageRecord) -> Integer[np.ndarray, "h w"] | None:
        """Read the map of category ids, 0 = nothing of them; None where the set has none."""

    def void(self, image: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Return the mask of unlabelled pixels, neither object nor background; None = there are none."""

    def complete_names(self, image: ImageRecord) -> frozenset[str]:
        """Names for which the image's annotation is complete: one of them without a mask is truly absent."""

    def parse_objects(self, image: ImageRecord) -> ParsedObjects:
        """Read an image's objects; those that cannot be read become flaws instead of errors."""

    def polygons(self, image: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons that an image's masks are drawn from; empty where they are no polygons."""


@dataclass(frozen=True, slots=True)
class WeightedDataset:
    """A data set of a mixture, and how often its images are sampled, relative to the others."""

    dataset: Dataset
    weight: float


@dataclass(frozen=True, slots=True)
class ParsedObjects:
    """The objects of an image that can be read, what is wrong with the others, and notes about those that are read."""

    objects: tuple[ObjectRecord, ...]
    flaws: tuple[Flaw, ...] = ()
    notes: tuple[Flaw, ...] = ()

    @classmethod
    def collect(cls, results: Iterable[ObjectRecord | Flaw]) -> ParsedObjects:
        """Separate the objects from the flaws that a reader returns in their place."""
        objects: list[ObjectRecord] = []
        flaws: list[Flaw] = []
        for result in results:
            if isinstance(result, Flaw):
                flaws.append(result)
            else:
                objects.append(result)
        return cls(tuple(objects), tuple(flaws))


@dataclass(frozen=True, slots=True)
class AnnotatedPolygons:
    """The polygons of one annotation as they are written, corners x, y in pixels; `where` names the annotation."""

    where: str
    polygons: tuple[Sequence[float], ...]
