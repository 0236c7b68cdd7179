"""What is known about photos: the records that every data set reader returns.

Frames: pixels of the stored photo (an EXIF rotation is applied only where a record gives the size as shown), boxes
xyxy with exclusive ends, masks bool H x W.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32

from seem.data import coco_rle


class FlawKind(enum.Enum):
    """What can be wrong with a data set."""

    MISSING_IMAGE = "missing photo"
    UNREADABLE_IMAGE = "unreadable photo"
    WRONG_SIZE = "wrong size"
    DUPLICATE_ID = "duplicate id"
    UNKNOWN_CATEGORY = "unknown category"
    UNKNOWN_IMAGE = "annotation of an unknown photo"
    UNREADABLE_ROW = "unreadable annotation"
    NO_MASK = "annotation without a mask"
    EMPTY_MASK = "empty mask"
    OUTSIDE = "mask or box outside the photo"
    CROSSING = "self-crossing polygon"
    BAD_BOX = "bad box"
    MISSING_MASK_FILE = "missing mask file"
    UNREADABLE_MASK_FILE = "unreadable mask file"
    NO_ANNOTATION = "photo without annotation"
    TURNED = "photo with an EXIF rotation"
    UNUSED_CLASS = "class without an object"
    SAME_NAME = "classes that share a name"
    NAMELESS = "objects without a class"


class DataError(ValueError):
    """A data set that is not laid out as its format says; the message is one line, names the place and the way out.

    `kind` says what is wrong where the error is about one photo.
    """

    def __init__(self, message: str, kind: FlawKind = FlawKind.UNREADABLE_ROW) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong: `where` names the file, photo or annotation, `what` says it in a few words."""

    kind: FlawKind
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.kind.value}, {self.what}" if self.what else f"{self.where}: {self.kind.value}"


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """A class of one set; `text` is the name to prompt with, empty for class-agnostic sets."""

    id: int
    name: str
    text: str
    is_thing: bool


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One photo. `labelled` says what is complete on it; `source` is its origin inside the set (sequence, sub-set)."""

    id: int
    set_name: str
    path: Path
    hw: tuple[int, int]
    split: str
    labelled: str
    source: str
    licence_group: str
    captions: tuple[str, ...]
    panoptic_path: Path | None
    semantic_path: Path | None
    sequence: str
    frame: int | None


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One annotated object, group or stuff region.

    `counts` is a compressed COCO run-length code of the whole photo (`hw`), `box` is xyxy, `area` counts mask pixels.
    `phrases` single the object out in its photo; `phrase_source` tells template phrases from written ones.
    """

    id: int
    image_id: int
    category: CategoryRecord
    counts: str
    hw: tuple[int, int]
    box: tuple[float, float, float, float]
    area: int
    is_crowd: bool
    quality: str
    phrases: tuple[str, ...]
    phrase_source: str
    track_id: int | None

    @property
    def is_group(self) -> bool:
        """Whether the mask covers several objects that nobody told apart, so that it is no single object's truth."""
        return self.is_crowd or self.quality == "group"

    def mask(self) -> Bool[np.ndarray, "h w"]:
        """Decode the mask at the photo's stored size."""
        return coco_rle.rle_to_mask(self.counts, self.hw)


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment of a panoptic map."""

    id: int
    category: CategoryRecord
    area: int
    is_crowd: bool


@dataclass(frozen=True, slots=True)
class PanopticTruth:
    """A complete partition of a photo: `ids` holds segment ids, 0 where nothing is labelled."""

    ids: Int32[np.ndarray, "h w"]
    segments: tuple[SegmentRecord, ...]


@dataclass(frozen=True, slots=True)
class ReferringExpression:
    """Sentences that each single out one object of a photo (a "ref" of RefCOCO)."""

    id: int
    image_id: int
    object_id: int
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValidationObject:
    """One object that a validation score is taken on."""

    image: ImageRecord
    truth: ObjectRecord
