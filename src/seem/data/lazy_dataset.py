"""`LazyDataset`: the data set that every reader returns; single images are read when they are asked for."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from seem.data.classes import share_texts
from seem.data.dataset import AnnotatedPolygons, Dataset, ParsedObjects
from seem.data.frames import AnnotationFrame, ImageHeader
from seem.data.image_files import read_header, read_rgb_and_notes
from seem.data.label_map import LabelMap, segment_records
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
    categories_by_id,
)
from seem.vocabulary import spelling_key

if TYPE_CHECKING:
    _ObjectsById = Mapping[int, tuple[ObjectRecord, ...]]
else:  # with its types given, a run-time type checker would read the first image to check them
    _ObjectsById = Mapping

Value = TypeVar("Value")

READ_ERRORS = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, OSError)
"""What readers raise over files that are not what their format says; `DataError` is among them."""

_CACHED_IMAGES = 128  # images whose parsed objects are cached
_CACHED_MAPS = 2
_CHECK_HINT = "`seem data check` lists everything that is wrong"


def _no_label_map(image: ImageRecord) -> None:  # noqa: ARG001
    return


def _no_polygons(image: ImageRecord) -> Sequence[AnnotatedPolygons]:  # noqa: ARG001
    return ()


def _no_names(image: ImageRecord) -> frozenset[str]:  # noqa: ARG001
    return frozenset()


@dataclass(frozen=True, eq=False)
class LazyDataset:
    """A data set as a reader describes it: lists of what there is, and functions that read one image. A `Dataset`.

    Args:
        name: what the set is called; `kind` is the format.
        split: which part it is.
        path: where it lies.
        category_list: its classes.
        images: its images.
        read_map: reads the label map of an image.
        read_objects: reads the objects of an image; None = the segments of the label map are all there is.
        complete: which names an image's annotation is complete for.
        read_polygons: returns the polygons of an image as they are written.
        expressions: referring expressions.
        flaws: what is wrong with the set as a whole; `notes`: what a reader left out, and may be meant so.
        files: files that describe more than one image.
        searched: folders whose photos, masks and annotations should all belong to the set; `data check` names others.
        read_file: reads the stored bytes of an image that does not lie in a file of its own.
        tolerant: leave out what cannot be read instead of raising.
    """

    name: str
    kind: str
    split: str
    path: Path
    category_list: tuple[CategoryRecord, ...]
    images: tuple[ImageRecord, ...]
    read_map: Callable[[ImageRecord], LabelMap | None] = _no_label_map
    read_objects: Callable[[ImageRecord], ParsedObjects] | None = None
    complete: Callable[[ImageRecord], frozenset[str]] = _no_names
    read_polygons: Callable[[ImageRecord], Sequence[AnnotatedPolygons]] = _no_polygons
    expressions: tuple[ReferringExpression, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    notes: tuple[Flaw, ...] = ()
    files: tuple[Path, ...] = ()
    searched: tuple[Path, ...] = ()
    read_file: Callable[[ImageRecord], bytes] | None = None
    tolerant: bool = False
    _cached_maps: LruCache[LabelMap | None] = field(init=False, repr=False)
    _cached_objects: LruCache[ParsedObjects] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "category_list", share_texts(self.category_list))
        object.__setattr__(self, "_cached_maps", LruCache(self._read_map, _CACHED_MAPS))
        object.__setattr__(self, "_cached_objects", LruCache(self._read_objects, _CACHED_IMAGES))

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.images)

    @cached_property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Classes by their id."""
        return categories_by_id(self.category_list)

    @cached_property
    def _texts(self) -> Mapping[str, None]:
        return dict.fromkeys(category.text for category in self.category_list)

    @property
    def objects(self) -> LazyObjects:
        """Objects by image id, read image by image."""
        return LazyObjects(self)

    def pixels(self, image: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode an image to RGB."""
        pixels, _ = self.pixels_and_notes(image)
        return pixels

    def pixels_and_notes(
        self, image: ImageRecord
    ) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[str, ...]]:
        """Decode an image to RGB; also return notes on what was lost or left out."""
        content = None
        if self.read_file is not None and not image.path.is_file():
            content = io.BytesIO(self.read_file(image))
        pixels, notes = read_rgb_and_notes(image.path, content, image.hw, image.image_frame)
        if pixels.shape[:2] != image.hw:
            raise DataError(
                f"{image.path} is {pixels.shape[:2]} (h, w), but its annotation says {image.hw}."
            )
        return pixels, notes

    def read_encoded(self, image: ImageRecord) -> bytes:
        """Read an image's file as it is stored, byte for byte."""
        if self.read_file is None:
            return image.path.read_bytes()
        return self.read_file(image)

    def panoptic(self, image: ImageRecord) -> PanopticTruth | None:
        """Read the complete partition of an image; None where there is none."""
        labels = self._checked_map(image)
        if labels is None or not labels.is_partition:
            return None
        return PanopticTruth(labels.ids, labels.segments)

    def semantic(self, image: ImageRecord) -> Int32[np.ndarray, "h w"] | None:
        """Read the map of category ids, 0 = nothing of them; None where there is none."""
        labels = self._checked_map(image)
        if labels is None:
            return None
        return labels.category_ids()

    def void(self, image: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Return the mask of unlabelled pixels; None = there are none."""
        labels = self._checked_map(image)
        if labels is None:
            return None
        return labels.void

    def complete_names(self, image: ImageRecord) -> frozenset[str]:
        """Names for which the image's annotation is complete."""
        names = self.complete(image) - {""}
        if names <= self._texts.keys():
            return names
        text_of_key = {spelling_key(text): text for text in self._texts}
        return frozenset(text_of_key.get(spelling_key(name), name) for name in names)

    def parse_objects(self, image: ImageRecord) -> ParsedObjects:
        """Read an image's objects; those that cannot be read become flaws."""
        return self._cached_objects(image)

    def polygons(self, image: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons of an image as they are written."""
        return self.read_polygons(image)

    def checked(self) -> LazyDataset:
        """Return the set itself, or raise `DataError` with the first of its flaws."""
        if self.flaws and not self.tolerant:
            raise DataError(f"{self.flaws[0]} ({len(self.flaws)} in all); {_CHECK_HINT}.")
        return self

    def as_tolerant(self) -> LazyDataset:
        """Return the set so that it leaves out what cannot be read."""
        return replace(self, tolerant=True)

    def in_frame(self, frame: AnnotationFrame) -> LazyDataset:
        """Return the set with all annotations read in one frame, whatever size its records give turned images."""
        return replace(
            self, images=tuple(self._image_in_frame(image, frame) for image in self.images)
        )

    def _image_in_frame(self, image: ImageRecord, frame: AnnotationFrame) -> ImageRecord:
        try:
            header = read_image_header(self, image)
        except (DataError, OSError):  # an image that is missing or damaged, which others report
            return replace(image, image_frame=frame)
        hw = header.hw(frame) if header.is_turned else image.hw
        return replace(image, hw=hw, image_frame=frame)

    def _checked_map(self, image: ImageRecord) -> LabelMap | None:
        labels = self._cached_maps(image)
        if labels is not None and labels.flaws and not self.tolerant:
            raise DataError(f"{labels.flaws[0]}; {_CHECK_HINT}.", labels.flaws[0].kind)
        return labels

    def _read_map(self, image: ImageRecord) -> LabelMap | None:
        try:
            labels = self.read_map(image)
            return labels if labels is None else _with_classes_of(labels, self.categories)
        except READ_ERRORS as error:
            return LabelMap(
                ids=np.zeros(image.hw, np.int32),
                segments=(),
                void=np.ones(image.hw, bool),
                flaws=(_flaw_of(error, image, FlawKind.UNREADABLE_MASK_FILE),),
            )

    def _read_objects(self, image: ImageRecord) -> ParsedObjects:
        if self.read_objects is None:
            return self._objects_of_map(image)
        try:
            parsed = self.read_objects(image)
            return _objects_with_classes_of(parsed, self.categories)
        except READ_ERRORS as error:
            return ParsedObjects((), (_flaw_of(error, image, FlawKind.UNREADABLE_ROW),))

    def _objects_of_map(self, image: ImageRecord) -> ParsedObjects:
        labels = self._cached_maps(image)
        if labels is None:
            return ParsedObjects(())
        return ParsedObjects(segment_records(labels, image), labels.flaws, labels.notes)


class LazyObjects(_ObjectsById):
    """Objects by image id, looked up when they are asked for."""

    def __init__(self, dataset: LazyDataset) -> None:
        self._dataset = dataset
        self._images = {image.id: image for image in dataset.images}

    def __getitem__(self, image_id: int) -> tuple[ObjectRecord, ...]:
        parsed = self._dataset.parse_objects(self._images[image_id])
        if parsed.flaws and not self._dataset.tolerant:
            raise DataError(f"{parsed.flaws[0]}; {_CHECK_HINT}.", parsed.flaws[0].kind)
        return parsed.objects

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


class LruCache(Generic[Value]):
    """A function of images whose `size` most recently used values are cached; safe in several threads."""

    def __init__(self, read: Callable[[ImageRecord], Value], size: int) -> None:
        self._read = read
        self._size = size
        self._values: OrderedDict[int, Value] = OrderedDict()
        self._lock = Lock()

    def __call__(self, image: ImageRecord) -> Value:
        """Return the value of an image."""
        with self._lock:
            if image.id in self._values:
                self._values.move_to_end(image.id)
                return self._values[image.id]
        value = self._read(image)
        with self._lock:
            self._values[image.id] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value


def read_image_header(dataset: Dataset, image: ImageRecord) -> ImageHeader:
    """Read the header of an image, also of one that lies inside of another file; `DataError` if it is no image."""
    if image.path.is_file() or not image.path.parent.is_file():
        return read_header(image.path)
    return read_header(image.path, io.BytesIO(dataset.read_encoded(image)))


def _objects_with_classes_of(
    parsed: ParsedObjects, categories: Mapping[int, CategoryRecord]
) -> ParsedObjects:
    """Return objects whose classes are those of the set, spelled as there."""
    records = []
    for record in parsed.objects:
        category = categories.get(record.category.id, record.category)
        is_same = category.text == record.category.text
        records.append(record if is_same else replace(record, category=category))
    return replace(parsed, objects=tuple(records))


def _with_classes_of(labels: LabelMap, categories: Mapping[int, CategoryRecord]) -> LabelMap:
    """Return a label map whose classes are those of the set, spelled as there."""
    segments = []
    for segment in labels.segments:
        category = categories.get(segment.category.id, segment.category)
        segments.append(replace(segment, category=category))
    return replace(labels, segments=tuple(segments))


def _flaw_of(error: Exception, image: ImageRecord, default_kind: FlawKind) -> Flaw:
    where = f"photo {image.id}"
    if isinstance(error, DataError):
        return Flaw(error.kind, where, str(error))
    return Flaw(
        default_kind, where, f"{type(error).__name__} {error}; it is not what its format says"
    )
