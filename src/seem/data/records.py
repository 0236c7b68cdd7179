"""What is known about images: the records that every data set reader returns.

Frames: pixels of the image in the frame of its record (`seem.data.frames`), as shown unless its size says otherwise,
boxes xyxy with exclusive ends, masks bool H x W.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32

from seem.data.coco_rle import RleMask, rle_to_mask
from seem.data.frames import AnnotationFrame
from seem.errors import UnusableFileError


class FlawKind(enum.Enum):
    """What can be wrong with a data set; values are the words of reports."""

    MISSING_IMAGE = "missing photo"
    UNREADABLE_IMAGE = "unreadable photo"
    WRONG_SIZE = "wrong size"
    DUPLICATE_ID = "duplicate id"
    UNKNOWN_CATEGORY = "unknown category"
    UNKNOWN_IMAGE = "annotation of an unknown photo"
    UNREADABLE_ROW = "unreadable annotation"
    NO_MASK = "annotation without a mask"
    EMPTY_MASK = "empty mask"
    OUT_OF_BOUNDS = "mask or box outside the photo"
    SELF_INTERSECTION = "self-crossing polygon"
    REPEATED_OUTLINE = "outline that goes round twice"
    BAD_BOX = "bad box"
    MISSING_MASK_FILE = "missing mask file"
    UNREADABLE_MASK_FILE = "unreadable mask file"
    NO_ANNOTATION = "photo without annotation"
    NO_OBJECT = "photo annotated as showing nothing"
    MISSING_PART = "part without photos"
    UNUSED_FILE = "file that is not used"
    ENCODING = "text that is not UTF-8"
    BACKGROUND_CLASS = "class called background"
    ASSUMED_CLASSES = "class names that nothing tells"
    CONVERSION = "photo that loses something as it is read"
    EXIF_ROTATION = "photo with an EXIF rotation"
    UNUSED_CLASS = "class without an object"
    DUPLICATE_NAME = "classes that share a name"
    SHARED_COLOUR = "classes that share a colour"
    UNNAMED_OBJECTS = "objects without a class"
    UNREAD = "not read"
    GREY_EDGES = "mask with grey edges"
    LOST_RING = "ring left out"
    INNER_RING = "polygon inside of another one of its object"
    BOX_UNLIKE_MASK = "bbox unlike its mask"
    AREA_UNLIKE_MASK = "area unlike its mask"
    DUPLICATE_OBJECT = "object listed twice"
    TURNED_BOXES = "outlines that are boxes"
    DUPLICATE_IMAGE = "photo listed twice"
    NEW_ID = "annotation without an id of its own"
    CROWD = "objects marked as crowds"
    STUFF = "classes marked as stuff"
    FRACTIONS = "coordinates as fractions of the photo"


class DataError(UnusableFileError):
    """A data set that is not laid out as its format says; the message is one line, names the path and the way out.

    `kind` says what is wrong where the error is about one image.
    """

    def __init__(self, message: str, kind: FlawKind = FlawKind.UNREADABLE_ROW) -> None:
        super().__init__(message)
        self.kind = kind


class DatasetRequestError(DataError):
    """What was asked of a data set is wrong: a specification that cannot be read, a part that it does not have."""

    is_wrong_call = True


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong: `where` names the file, image or annotation, `what` says it in a few words."""

    kind: FlawKind
    where: str
    what: str

    def __str__(self) -> str:
        title = f"{self.where}: {self.kind.value}"
        if not self.what:
            return title
        return f"{title}, {self.what}"


def unmatched_flaw(where: str) -> Flaw:
    """Return the flaw of an annotation file whose image was not found."""
    return Flaw(FlawKind.UNKNOWN_IMAGE, where, "there is no photo of that name")


@dataclass(frozen=True, slots=True)
class CategoryRecord:
    """A class of one set; `text` is the name to prompt with, empty for class-agnostic sets."""

    id: int
    name: str
    text: str
    is_thing: bool


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image. `labelled` says what is complete on it; `source` is its origin inside the set (sequence, sub-set).

    `hw` is its size as annotated. `image_frame` is the frame of its annotations where `hw` fits both.
    """

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
    image_frame: AnnotationFrame = AnnotationFrame.SHOWN


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One annotated object, group or stuff region.

    `counts` is a compressed COCO run-length code of the full image (`hw`), `box` is xyxy, `area` counts mask pixels.
    `phrases` single the object out in its image; `phrase_source` tells template phrases from written ones.
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
        """Decode the mask at the image's stored size."""
        return rle_to_mask(self.counts, self.hw)


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """One segment of an annotated label map: its id there, its class, its pixels."""

    id: int
    category: CategoryRecord
    area: int
    is_crowd: bool


@dataclass(frozen=True, slots=True)
class PanopticTruth:
    """A complete partition of an image: `ids` holds segment ids, 0 where nothing is labelled."""

    ids: Int32[np.ndarray, "h w"]
    segments: tuple[SegmentRecord, ...]


@dataclass(frozen=True, slots=True)
class ReferringExpression:
    """Sentences that each single out one object of an image (a "ref" of RefCOCO)."""

    id: int
    image_id: int
    object_id: int
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValidationObject:
    """One object that a validation score is taken on."""

    image: ImageRecord
    truth: ObjectRecord


def categories_by_id(categories: Iterable[CategoryRecord]) -> dict[int, CategoryRecord]:
    """Index classes by their id."""
    return {category.id: category for category in categories}


def category_names(categories: Iterable[CategoryRecord]) -> frozenset[str]:
    """Return the names to prompt with, the empty one included where a class has none."""
    return frozenset(category.text for category in categories)


def things_of(categories: Iterable[CategoryRecord]) -> tuple[CategoryRecord, ...]:
    """Return the classes that are things rather than stuff."""
    return tuple(category for category in categories if category.is_thing)


def image_record(
    image_id: int,
    set_name: str,
    path: Path,
    hw: tuple[int, int],
    split: str,
    labelled: str,
    *,
    source: str = "",
    captions: Sequence[str] = (),
    panoptic_path: Path | None = None,
    semantic_path: Path | None = None,
    sequence: str = "",
    frame: int | None = None,
) -> ImageRecord:
    """Make the record of an image; its source is its sequence or its set unless another is given."""
    return ImageRecord(
        id=image_id,
        set_name=set_name,
        path=path,
        hw=hw,
        split=split,
        labelled=labelled,
        source=source or sequence or set_name,
        licence_group="",
        captions=tuple(captions),
        panoptic_path=panoptic_path,
        semantic_path=semantic_path,
        sequence=sequence,
        frame=frame,
    )


def object_record(
    object_id: int,
    image: ImageRecord,
    category: CategoryRecord,
    rle: RleMask,
    *,
    is_crowd: bool = False,
    quality: str = "",
    phrases: Sequence[str] = (),
    phrase_source: str = "",
    track_id: int | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> ObjectRecord:
    """Make the record of a mask; the box is the mask's own unless another is given."""
    if phrases and not phrase_source:
        phrase_source = "written"
    return ObjectRecord(
        id=object_id,
        image_id=image.id,
        category=category,
        counts=rle.counts,
        hw=rle.hw,
        box=box or rle.box,
        area=rle.area,
        is_crowd=is_crowd,
        quality=quality,
        phrases=tuple(phrases),
        phrase_source=phrase_source,
        track_id=track_id,
    )
