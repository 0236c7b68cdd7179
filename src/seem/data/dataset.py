"""What a data set is to everybody who evaluates or trains: one interface, whichever format lies on disk.

`Dataset` is what they ask for. `Pack` implements it for the photo pack, `LazyDataset` for every other format: a reader
is a function that finds the files of its layout and returns a `LazyDataset`. Annotations and pixels of single images
are read on first access.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

import numpy as np
from jaxtyping import Bool, Int8, Int32, Integer, UInt8

from seem import vocabulary
from seem.data import coco_rle
from seem.data.image_files import read_rgb
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
    SegmentRecord,
    ValidationObject,
)

if TYPE_CHECKING:
    _ByPhoto = Mapping[int, tuple[ObjectRecord, ...]]
else:  # told what it holds, a run-time type checker would read the first photo to see
    _ByPhoto = Mapping

Found = TypeVar("Found")

ALL_SPLIT = "all"
"""The split of a set that is not divided."""

KEPT = 128  # photos whose records are kept; the next ones push them out

MIN_AREA_FRACTION = 0.005
"""Share of the photo from which an object is scored on."""

UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, OSError)
"""What readers stumble with over files that are not what their format says; `DataError` is among them."""

CHECK = "`seem data check` lists everything that is wrong"


class Dataset(Protocol):
    """One split of one data set.

    `images` come in the set's order, frames of a video in order of time. `files` are those that describe more than one
    photo: who keeps something made from the set looks at them to see whether it is still true.
    """

    @property
    def name(self) -> str:
        """What the set is called."""

    @property
    def split(self) -> str:
        """Which part of it this is; `ALL` for a set that is not divided."""

    @property
    def path(self) -> Path:
        """The folder that it lies in."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that describe more than one photo."""

    @property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Classes by their id in this set."""

    @property
    def images(self) -> tuple[ImageRecord, ...]:
        """The photos."""

    @property
    def objects(self) -> Mapping[int, tuple[ObjectRecord, ...]]:
        """Objects, groups and stuff regions by photo id; `DataError` where an annotation cannot be read."""

    @property
    def expressions(self) -> tuple[ReferringExpression, ...]:
        """Referring expressions; empty where a set has none."""

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """What is wrong with the set as a whole; what is wrong on a photo tells `examine`."""

    def pixels(self, photo: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode a photo to RGB; `DataError` if it is missing, damaged or of another size than its record says."""

    def read_encoded(self, photo: ImageRecord) -> bytes:
        """Read a photo as it is stored, byte for byte."""

    def panoptic(self, photo: ImageRecord) -> PanopticTruth | None:
        """Read the complete partition of a photo; None where the set has none."""

    def semantic(self, photo: ImageRecord) -> Integer[np.ndarray, "h w"] | None:
        """Read the map of category ids, 0 = nothing of them; None where the set has none."""

    def void(self, photo: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Tell which pixels nobody labelled, neither object nor background; None = there are none."""

    def complete_names(self, photo: ImageRecord) -> frozenset[str]:
        """Names for which the photo's annotation is complete: one of them without a mask is truly absent."""

    def parse_objects(self, photo: ImageRecord) -> ParsedObjects:
        """Read a photo's objects, and say of those that cannot be read why, instead of raising."""

    def polygons(self, photo: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons that a photo's masks are drawn from; empty where they are no polygons."""


@dataclass(frozen=True, slots=True)
class WeightedDataset:
    """A data set of a mixture, and how often it is drawn, relative to the others."""

    dataset: Dataset
    weight: float


@dataclass(frozen=True, slots=True)
class ParsedObjects:
    """The objects of a photo that can be read, and what is wrong with the others."""

    objects: tuple[ObjectRecord, ...]
    flaws: tuple[Flaw, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnotatedPolygons:
    """The polygons of one annotation as they are written, corners x, y in pixels; `where` names the annotation."""

    where: str
    rings: tuple[Sequence[float], ...]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A photo cut into segments.

    `ids` holds segment ids (0 = none). `semantic` is the map of category ids where it is more than the segments tell.
    `void` are pixels that nobody labelled. `is_partition` says that everything is labelled: a panoptic truth.
    `qualities`: what a segment is that is no single object, by its id ("group": several that nobody told apart).
    """

    ids: Int32[np.ndarray, "h w"]
    segments: tuple[SegmentRecord, ...]
    semantic: Int32[np.ndarray, "h w"] | None = None
    void: Bool[np.ndarray, "h w"] | None = None
    is_partition: bool = False
    qualities: Mapping[int, str] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()

    def classes(self) -> Int32[np.ndarray, "h w"]:
        """Draw the category of every pixel, 0 where there is none."""
        if self.semantic is not None:
            return self.semantic
        known = np.array([0, *sorted(segment.id for segment in self.segments)], np.int32)
        category = {segment.id: segment.category.id for segment in self.segments}
        table = np.array([0, *(category[number] for number in known[1:].tolist())], np.int32)
        places = np.minimum(np.searchsorted(known, self.ids), len(known) - 1)
        return np.asarray(np.where(known[places] == self.ids, table[places], 0), np.int32)


def nothing(photo: ImageRecord) -> None:  # noqa: ARG001
    """Say that a photo has no label map."""
    return


def no_outlines(photo: ImageRecord) -> Sequence[AnnotatedPolygons]:  # noqa: ARG001
    """Say that a photo has no polygons."""
    return ()


def no_names(photo: ImageRecord) -> frozenset[str]:  # noqa: ARG001
    """Say that no class is complete on a photo."""
    return frozenset()


@dataclass(frozen=True, eq=False)
class LazyDataset:
    """A data set as a reader describes it.

    Args:
        name: what the set is called; `kind` is the format.
        split: which part it is.
        path: where it lies.
        category_list: its classes.
        images: its photos.
        read_map: reads the label map of a photo.
        read_objects: reads the objects of a photo; None = the segments of the label map are all there is.
        complete: which names a photo's annotation is complete for.
        read_outlines: returns the polygons of a photo as they are written.
        expressions: referring expressions.
        flaws: what is wrong with the set as a whole.
        files: files that describe more than one photo.
        read_pixels: decodes a photo that does not lie in a file of its own.
        read_file: reads such a photo as it is stored.
        tolerant: leave out what cannot be read instead of raising.
    """

    name: str
    kind: str
    split: str
    path: Path
    category_list: tuple[CategoryRecord, ...]
    images: tuple[ImageRecord, ...]
    read_map: Callable[[ImageRecord], LabelMap | None] = nothing
    read_objects: Callable[[ImageRecord], ParsedObjects] | None = None
    complete: Callable[[ImageRecord], frozenset[str]] = no_names
    read_outlines: Callable[[ImageRecord], Sequence[AnnotatedPolygons]] = no_outlines
    expressions: tuple[ReferringExpression, ...] = ()
    flaws: tuple[Flaw, ...] = ()
    files: tuple[Path, ...] = ()
    read_pixels: Callable[[ImageRecord], UInt8[np.ndarray, "h w 3"]] | None = None
    read_file: Callable[[ImageRecord], bytes] | None = None
    tolerant: bool = False
    _maps: Recent[LabelMap | None] = field(init=False, repr=False)
    _examined: Recent[ParsedObjects] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_maps", Recent(self._map, 2))
        object.__setattr__(self, "_examined", Recent(self._read, KEPT))

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.images)

    @property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Classes by their id."""
        return {category.id: category for category in self.category_list}

    @property
    def objects(self) -> Objects:
        """Objects by photo id, read photo by photo."""
        return Objects(self)

    def pixels(self, photo: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode a photo to RGB."""
        pixels = read_rgb(photo.path, hw=photo.hw) if self.read_pixels is None else self.read_pixels(photo)
        if pixels.shape[:2] != photo.hw:
            raise DataError(f"{photo.path} is {pixels.shape[:2]} (h, w), but its annotation says {photo.hw}.")
        return pixels

    def read_encoded(self, photo: ImageRecord) -> bytes:
        """Read a photo as it is stored, byte for byte."""
        return photo.path.read_bytes() if self.read_file is None else self.read_file(photo)

    def panoptic(self, photo: ImageRecord) -> PanopticTruth | None:
        """Read the complete partition of a photo; None where there is none."""
        found = self._sound_map(photo)
        return PanopticTruth(found.ids, found.segments) if found is not None and found.is_partition else None

    def semantic(self, photo: ImageRecord) -> Int32[np.ndarray, "h w"] | None:
        """Read the map of category ids, 0 = nothing of them; None where there is none."""
        found = self._sound_map(photo)
        return None if found is None else found.classes()

    def void(self, photo: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Tell which pixels nobody labelled; None = there are none."""
        found = self._sound_map(photo)
        return None if found is None else found.void

    def complete_names(self, photo: ImageRecord) -> frozenset[str]:
        """Names for which the photo's annotation is complete."""
        return self.complete(photo) - {""}

    def parse_objects(self, photo: ImageRecord) -> ParsedObjects:
        """Read a photo's objects, and say of those that cannot be read why."""
        return self._examined(photo)

    def polygons(self, photo: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons of a photo as they are written."""
        return self.read_outlines(photo)

    def sound(self) -> LazyDataset:
        """Return the set itself, or raise what is wrong with it; `DataError` names the first flaw."""
        if self.flaws and not self.tolerant:
            raise DataError(f"{self.flaws[0]} ({len(self.flaws)} in all); {CHECK}.")
        return self

    def lenient(self) -> LazyDataset:
        """Return the set so that it leaves out what cannot be read."""
        return replace(self, tolerant=True)

    def _sound_map(self, photo: ImageRecord) -> LabelMap | None:
        found = self._maps(photo)
        if found is not None and found.flaws and not self.tolerant:
            raise DataError(f"{found.flaws[0]}; {CHECK}.", found.flaws[0].kind)
        return found

    def _map(self, photo: ImageRecord) -> LabelMap | None:
        try:
            return self.read_map(photo)
        except UNREADABLE as error:
            flaw = _told(error, photo, FlawKind.UNREADABLE_MASK_FILE)
            return LabelMap(np.zeros(photo.hw, np.int32), (), void=np.ones(photo.hw, bool), flaws=(flaw,))

    def _read(self, photo: ImageRecord) -> ParsedObjects:
        if self.read_objects is None:
            found = self._maps(photo)
            return ParsedObjects(()) if found is None else ParsedObjects(segment_records(found, photo), found.flaws)
        try:
            return self.read_objects(photo)
        except UNREADABLE as error:
            return ParsedObjects((), (_told(error, photo, FlawKind.UNREADABLE_ROW),))


def _told(error: Exception, photo: ImageRecord, otherwise: FlawKind) -> Flaw:
    if isinstance(error, DataError):
        return Flaw(error.kind, f"photo {photo.id}", str(error))
    return Flaw(otherwise, f"photo {photo.id}", f"{type(error).__name__} {error}; it is not what its format says")


class Objects(_ByPhoto):
    """Objects by photo id, looked up when asked."""

    def __init__(self, dataset: LazyDataset) -> None:
        self._dataset = dataset
        self._photos = {photo.id: photo for photo in dataset.images}

    def __getitem__(self, image_id: int) -> tuple[ObjectRecord, ...]:
        examined = self._dataset.parse_objects(self._photos[image_id])
        if examined.flaws and not self._dataset.tolerant:
            raise DataError(f"{examined.flaws[0]}; {CHECK}.", examined.flaws[0].kind)
        return examined.objects

    def __iter__(self) -> Iterator[int]:
        return iter(self._photos)

    def __len__(self) -> int:
        return len(self._photos)


class Recent(Generic[Found]):
    """A function of photos that remembers its last answers."""

    def __init__(self, read: Callable[[ImageRecord], Found], kept: int) -> None:
        self._read = read
        self._kept = kept
        self._found: OrderedDict[int, Found] = OrderedDict()
        self._lock = Lock()

    def __call__(self, photo: ImageRecord) -> Found:
        """Answer for a photo."""
        with self._lock:
            if photo.id in self._found:
                self._found.move_to_end(photo.id)
                return self._found[photo.id]
        found = self._read(photo)
        with self._lock:
            self._found[photo.id] = found
            while len(self._found) > self._kept:
                self._found.popitem(last=False)
        return found


def segment_records(found: LabelMap, photo: ImageRecord) -> tuple[ObjectRecord, ...]:
    """Turn the segments of a label map into records, in their order; those without a pixel are left out.

    In a video a segment's id is that of its track.
    """
    coded = coco_rle.label_map_to_rles(found.ids)
    return tuple(
        object_record(
            photo.id * 10_000 + number,
            photo,
            segment.category,
            coded[segment.id],
            is_crowd=segment.is_crowd,
            quality=found.qualities.get(segment.id, ""),
            track_id=segment.id if photo.sequence else None,
        )
        for number, segment in enumerate(found.segments, 1)
        if segment.id in coded
    )


def object_record(
    number: int,
    photo: ImageRecord,
    category: CategoryRecord,
    coded: coco_rle.RleMask,
    *,
    is_crowd: bool = False,
    quality: str = "",
    phrases: Sequence[str] = (),
    phrase_source: str = "",
    track_id: int | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> ObjectRecord:
    """Make the record of a mask; the box is the mask's own unless another is given."""
    return ObjectRecord(
        id=number,
        image_id=photo.id,
        category=category,
        counts=coded.counts,
        hw=coded.hw,
        box=box or coded.box,
        area=coded.area,
        is_crowd=is_crowd,
        quality=quality,
        phrases=tuple(phrases),
        phrase_source=phrase_source or ("written" if phrases else ""),
        track_id=track_id,
    )


def image_record(
    number: int,
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
    """Make the record of a photo; what is not said is empty."""
    return ImageRecord(
        id=number,
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


def video_frames(dataset: Dataset) -> Mapping[str, tuple[ImageRecord, ...]]:
    """List the frames of every video of a set in order of time; photos that belong to none are left out."""
    found: dict[str, list[ImageRecord]] = {}
    for photo in dataset.images:
        if photo.sequence:
            found.setdefault(photo.sequence, []).append(photo)
    return {name: tuple(sorted(frames, key=lambda photo: photo.frame or 0)) for name, frames in found.items()}


def click_truth(dataset: Dataset, item: ValidationObject) -> Int8[np.ndarray, "h w"]:
    """Draw what a click protocol scores against: 1 = the object, 0 = not, -1 = does not count."""
    truth = item.truth.mask().astype(np.int8)
    void = dataset.void(item.image)
    if void is not None:
        truth[void & (truth == 0)] = -1
    return truth


def validation_objects(
    dataset: Dataset, min_area: float = MIN_AREA_FRACTION, things_only: bool = True
) -> list[ValidationObject]:
    """List the objects that scores are taken on, in the order of the set.

    Things (and stuff where `things_only` is false) that are neither crowd nor group and cover at least `min_area` of
    their photo: 427 on the validation split of coco_full, 535 with stuff. Click benchmarks take all: `min_area=0`.
    """
    return [
        ValidationObject(photo, truth)
        for photo in dataset.images
        for truth in scored_objects(photo, dataset.objects[photo.id], min_area, things_only)
    ]


def promptable_objects(dataset: Dataset, photo: ImageRecord, min_area: float = MIN_AREA_FRACTION) -> list[ObjectRecord]:
    """Choose the objects of a photo that are asked for one by one: things, or regions where a set knows no things."""
    things = any(category.is_thing for category in dataset.categories.values())
    return scored_objects(photo, dataset.objects[photo.id], min_area, things_only=things)


def scored_objects(
    photo: ImageRecord, objects: Sequence[ObjectRecord], min_area: float, things_only: bool = True
) -> list[ObjectRecord]:
    """Choose the objects of a photo that scores are taken on."""
    return [
        truth
        for truth in objects
        if not truth.is_group
        and (truth.category.is_thing or not things_only)
        and truth.area >= max(1, min_area * photo.hw[0] * photo.hw[1])
    ]


def objects_by_name(
    dataset: Dataset, photo: ImageRecord, min_area: float = MIN_AREA_FRACTION
) -> dict[str, list[ObjectRecord]]:
    """Return the names of the things that a photo shows, in order, each with all that is called so.

    A name is shown by at least one object that scores are taken on; then smaller ones, crowds and groups are its too.
    """
    shown = {truth.category.text for truth in scored_objects(photo, dataset.objects[photo.id], min_area)} - {""}
    found: dict[str, list[ObjectRecord]] = {name: [] for name in sorted(shown)}
    for record in dataset.objects[photo.id]:
        if record.category.is_thing and record.area and record.category.text in found:
            found[record.category.text].append(record)
    return found


def vocabulary_from_categories(categories: Iterable[CategoryRecord]) -> vocabulary.Vocabulary:
    """Make a vocabulary of a set's classes, with their ids; ids that begin at 0 are moved up by one.

    Raises:
        ValueError: no class has a name, or two are called the same.
    """
    named = [category for category in categories if category.text]
    first = min((category.id for category in named), default=1)
    colours = vocabulary.distinct_colours(len(named))
    return vocabulary.Vocabulary(
        tuple(
            vocabulary.Category(each.id + max(0, 1 - first), each.name, each.text, each.is_thing, colour)
            for each, colour in zip(named, colours, strict=True)
        )
    )
