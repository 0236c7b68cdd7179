"""What is in a data set, and what is wrong with it: every image and every annotation is checked once."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from seem.data.annotation_notes import AnnotationNotes
from seem.data.dataset import AnnotatedPolygons, Dataset
from seem.data.frame_evidence import compare_frames
from seem.data.frames import AnnotationFrame, ImageHeader
from seem.data.lazy_dataset import LazyDataset, read_image_header
from seem.data.polygons import goes_round_twice, is_self_intersecting
from seem.data.records import DataError, Flaw, FlawKind, ImageRecord, ObjectRecord

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

CORNER_SLACK_PIXELS = 1.0  # how far a corner may lie outside: rounding of the tools that draw
MAX_LISTED_FLAWS = 10  # of one kind, in the text

_MASK_HINT = (
    "in its masks 0 is nothing, 255 does not count, and 1, 2, ... are the lines of classes.txt"
)


@dataclass(frozen=True, slots=True)
class ClassCount:
    """A class with its objects and the images that show them; groups and stuff regions count as objects."""

    id: int
    name: str
    is_thing: bool
    objects: int
    images: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What `inspect_dataset` counted and what is wrong.

    `flaws` must be put right, `notes` may be meant: images without annotation, classes that never occur or share a
    name, objects without a class, EXIF rotation.
    `sizes_hw`: the smallest, the median and the largest image by area, height and width. `groups` are annotations of
    several objects at once (crowds).
    """

    name: str
    split: str
    path: str
    images: int
    objects: int
    groups: int
    captions: int
    expressions: int
    videos: int
    sizes_hw: tuple[tuple[int, int], ...]
    classes: tuple[ClassCount, ...]
    flaws: tuple[Flaw, ...]
    notes: tuple[Flaw, ...]
    unusable_images: frozenset[int] = frozenset()
    """Ids of images that are missing, damaged or of another size than their record says."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.flaws

    def to_json(self) -> dict[str, Json]:
        """Describe the report for a JSON file."""
        return {
            "name": self.name,
            "split": self.split,
            "path": self.path,
            "ok": self.ok,
            "photos": self.images,
            "objects": self.objects,
            "groups": self.groups,
            "captions": self.captions,
            "expressions": self.expressions,
            "videos": self.videos,
            "sizes_hw": list(map(list, self.sizes_hw)),
            "classes": list(map(_class_json, self.classes)),
            "flaws": list(map(_flaw_json, self.flaws)),
            "notes": list(map(_flaw_json, self.notes)),
        }

    def lines(self) -> Iterator[str]:
        """Write the report for people."""
        yield f"{self.name}, part {self.split}: {self.path}"
        yield f"  {', '.join(self._counts())}"
        if self.sizes_hw:
            small, median, large = map(_size_text, self.sizes_hw)
            yield f"  photos (h x w): smallest {small}, median {median}, largest {large}"
        yield from self._class_lines()
        yield from _flaw_lines("Problems", self.flaws)
        yield from _flaw_lines("To know", self.notes)
        if self.ok:
            yield "Nothing is wrong."
        else:
            yield f"{_counted(len(self.flaws), 'problem')}."

    def _counts(self) -> Iterator[str]:
        """Yield how many there are of what: images and objects always, the rest if there are any."""
        yield _counted(self.images, "photo")
        yield _counted(self.objects, "object")
        optional = {
            "group": self.groups,
            "caption": self.captions,
            "referring expression": self.expressions,
            "video": self.videos,
        }
        for word, count in optional.items():
            if count:
                yield _counted(count, word)

    def _class_lines(self) -> Iterator[str]:
        used = [row for row in self.classes if row.objects]
        if not used:
            return
        width = max(len(row.name) for row in used)
        yield f"  {'class':<{width}}  objects  photos"
        for row in sorted(used, key=lambda row: (-row.objects, row.name)):
            line = f"  {row.name:<{width}}  {row.objects:>7}  {row.images:>6}"
            if not row.is_thing:
                line += "  stuff"
            yield line


@dataclass(slots=True)
class _Counts:
    """What was counted so far."""

    objects_by_class: Counter[int] = field(default_factory=Counter)
    images_by_class: Counter[int] = field(default_factory=Counter)
    groups: int = 0
    unusable_images: set[int] = field(default_factory=set)

    def add(self, objects: Sequence[ObjectRecord]) -> None:
        category_ids = [record.category.id for record in objects]
        self.objects_by_class.update(category_ids)
        self.images_by_class.update(set(category_ids))
        self.groups += sum(record.is_group for record in objects)


def inspect_dataset(
    dataset: Dataset,
    *,
    pixels: bool = True,
    step: Callable[[], object] = lambda: None,
) -> DatasetReport:
    """Check every image and every annotation of one part of a data set.

    Args:
        dataset: any data set, best opened with `tolerant=True`.
        pixels: decode every image; otherwise only its header is read, which does not show files that are cut short.
        step: called after each image.

    Returns:
        What is there and what is wrong. Nothing is raised for what is wrong with an image or an annotation.
    """
    counts = _Counts()
    flaws: list[Flaw] = list(dataset.flaws)
    notes: list[Flaw] = list(dataset.notes) if isinstance(dataset, LazyDataset) else []
    annotation_notes = AnnotationNotes()
    for image in dataset.images:
        image_flaws, image_notes = _check_image(dataset, image, decode=pixels)
        if image_flaws:
            counts.unusable_images.add(image.id)
        parsed = dataset.parse_objects(image)
        outlines = dataset.polygons(image)
        flaws += [*image_flaws, *parsed.flaws]
        flaws += _check_objects(dataset, image, parsed.objects, outlines)
        notes += image_notes
        if not parsed.objects and not parsed.flaws:
            notes.append(_note_empty(dataset, image))
        counts.add(parsed.objects)
        annotation_notes.add(image, parsed.objects, parsed.notes, outlines)
        step()
    notes += annotation_notes.lines()
    if not flaws:
        flaws += _check_annotated(dataset, counts)
    if pixels:
        notes += compare_frames(dataset)
    classes = _count_classes(dataset, counts)
    notes += _check_unused(classes)
    notes += _check_names(dataset, counts)
    return DatasetReport(
        name=dataset.name,
        split=dataset.split,
        path=str(dataset.path),
        images=len(dataset.images),
        objects=counts.objects_by_class.total(),
        groups=counts.groups,
        captions=_count_captions(dataset.images),
        expressions=len(dataset.expressions),
        videos=_count_videos(dataset.images),
        sizes_hw=_size_range(dataset.images),
        classes=classes,
        flaws=tuple(flaws),
        notes=tuple(notes),
        unusable_images=frozenset(counts.unusable_images),
    )


def _note_empty(dataset: Dataset, image: ImageRecord) -> Flaw:
    """Report an image without an object: one that is known to show none, or about which nothing is known."""
    has_names = any(category.text for category in dataset.categories.values())
    if dataset.complete_names(image) or (image.labelled and not has_names):
        return Flaw(FlawKind.NO_OBJECT, image.path.name, "")
    return Flaw(FlawKind.NO_ANNOTATION, image.path.name, "")


# --- The set ----------------------------------------------------------------------------------------------------------


def _check_annotated(dataset: Dataset, counts: _Counts) -> Iterator[Flaw]:
    """Report a set of images without a single annotation."""
    num_captions = _count_captions(dataset.images)
    is_annotated = counts.objects_by_class.total() or dataset.expressions or num_captions
    if dataset.images and not is_annotated:
        what = "nothing is said about any of them"
        if _is_folder_of_masks(dataset):
            what += f"; {_MASK_HINT}"
        yield Flaw(FlawKind.NO_ANNOTATION, "all photos", what)


def _check_unused(classes: Sequence[ClassCount]) -> Iterator[Flaw]:
    """Report classes without an object."""
    unused = [row.name for row in classes if not row.objects]
    if not unused:
        return
    listed = ", ".join(unused[:MAX_LISTED_FLAWS])
    if len(unused) > MAX_LISTED_FLAWS:
        listed += f" and {len(unused) - MAX_LISTED_FLAWS} more"
    yield Flaw(FlawKind.UNUSED_CLASS, f"{len(unused)} of {len(classes)}", listed)


def _check_names(dataset: Dataset, counts: _Counts) -> Iterator[Flaw]:
    """Report classes that a model cannot tell apart by their names, and objects without a name."""
    ids_by_name: dict[str, list[int]] = {}
    for category in dataset.categories.values():
        ids_by_name.setdefault(category.text, []).append(category.id)
    for name, ids in ids_by_name.items():
        if name and len(ids) > 1:
            yield Flaw(
                FlawKind.DUPLICATE_NAME,
                repr(name),
                f"ids {', '.join(map(str, ids))} count as one class",
            )
    num_unnamed = 0
    for category_id in ids_by_name.get("", ()):
        num_unnamed += counts.objects_by_class[category_id]
    if num_unnamed:
        where = f"{num_unnamed} of {counts.objects_by_class.total()}"
        what = "they are shown, never named (in a folder of maps classes.txt tells names)"
        yield Flaw(FlawKind.UNNAMED_OBJECTS, where, what)


def _is_folder_of_masks(dataset: Dataset) -> bool:
    return isinstance(dataset, LazyDataset) and dataset.kind == "folder"


def _count_classes(dataset: Dataset, counts: _Counts) -> tuple[ClassCount, ...]:
    classes = []
    for category in dataset.categories.values():
        row = ClassCount(
            id=category.id,
            name=category.name,
            is_thing=category.is_thing,
            objects=counts.objects_by_class[category.id],
            images=counts.images_by_class[category.id],
        )
        classes.append(row)
    return tuple(classes)


def _count_captions(images: Sequence[ImageRecord]) -> int:
    return sum(len(image.captions) for image in images)


def _count_videos(images: Sequence[ImageRecord]) -> int:
    names = {image.sequence for image in images}
    return len(names - {""})


def _size_range(images: Sequence[ImageRecord]) -> tuple[tuple[int, int], ...]:
    """Return the smallest, the median and the largest size by area."""
    if not images:
        return ()
    sizes_hw = [image.hw for image in images]
    sizes_hw.sort(key=lambda hw: (hw[0] * hw[1], hw))
    return sizes_hw[0], statistics.median_low(sizes_hw), sizes_hw[-1]


# --- Single images ----------------------------------------------------------------------------------------------------


def _check_image(
    dataset: Dataset, image: ImageRecord, decode: bool
) -> tuple[list[Flaw], list[Flaw]]:
    """Return flaws and notes of an image's file; one inside of an archive is always decoded."""
    where = f"photo {image.id} ({image.path.name})"
    is_in_archive = image.path.parent.is_file()
    if not is_in_archive and not image.path.is_file():
        return [Flaw(FlawKind.MISSING_IMAGE, where, f"there is no {image.path}")], []
    try:
        header = read_image_header(dataset, image)
        size_flaws = list(_check_size(header, image, where))
        if size_flaws:
            return size_flaws, []
        notes = _decode(dataset, image, where) if is_in_archive or decode else []
    except DataError as error:
        return [Flaw(FlawKind.UNREADABLE_IMAGE, where, str(error))], []
    if header.is_turned:
        notes.append(_note_rotation(header, image, where))
    return [], notes


def _decode(dataset: Dataset, image: ImageRecord, where: str) -> list[Flaw]:
    """Decode an image; return what is lost by that."""
    if not isinstance(dataset, LazyDataset):
        dataset.pixels(image)
        return []
    _, notes = dataset.pixels_and_notes(image)
    return [Flaw(FlawKind.CONVERSION, where, note) for note in notes]


def _check_size(header: ImageHeader, image: ImageRecord, where: str) -> Iterator[Flaw]:
    """Report a file of another size than its record says, as stored and as shown by its EXIF orientation."""
    if image.hw in map(header.hw, AnnotationFrame):
        return
    what = (
        f"the file is {_size_text(header.stored_hw)} (h, w), its record says {_size_text(image.hw)}"
    )
    if image.hw == header.stored_hw[::-1]:
        what += "; turned, though it carries no EXIF rotation"
    yield Flaw(FlawKind.WRONG_SIZE, where, what)


def _note_rotation(header: ImageHeader, image: ImageRecord, where: str) -> Flaw:
    """Return a note on an EXIF orientation, and in which frame the annotations are read."""
    sizes = f"{_size_text(header.stored_hw)} (h, w) as stored, {_size_text(header.hw(AnnotationFrame.SHOWN))} as shown"
    frame = header.frame_of(image.hw, image.image_frame)
    what = f"orientation {header.orientation}, {sizes}; annotations are read on the photo as {frame.value}"
    return Flaw(FlawKind.EXIF_ROTATION, where, what)


def _check_objects(
    dataset: Dataset,
    image: ImageRecord,
    objects: Sequence[ObjectRecord],
    outlines: Sequence[AnnotatedPolygons],
) -> Iterator[Flaw]:
    for record in objects:
        yield from _check_object(dataset, image, record)
    for annotation in outlines:
        if any(_is_outside(polygon, image.hw) for polygon in annotation.polygons):
            what = "a corner of its polygon lies outside of the photo"
            yield Flaw(FlawKind.OUT_OF_BOUNDS, annotation.where, what)
        if any(map(is_self_intersecting, annotation.polygons)):
            what = "two edges of its polygon cross"
            yield Flaw(FlawKind.SELF_INTERSECTION, annotation.where, what)
        if any(map(goes_round_twice, annotation.polygons)):
            what = "its polygon goes round its area more than once, and little of it is drawn"
            yield Flaw(FlawKind.REPEATED_OUTLINE, annotation.where, what)


def _check_object(dataset: Dataset, image: ImageRecord, record: ObjectRecord) -> Iterator[Flaw]:
    where = f"annotation {record.id} of photo {image.id}"
    if record.hw != image.hw:
        what = f"its mask is {_size_text(record.hw)} (h, w), the photo {_size_text(image.hw)}"
        yield Flaw(FlawKind.WRONG_SIZE, where, what)
    if record.area == 0:
        yield Flaw(FlawKind.EMPTY_MASK, where, "no pixel is inside")
    if _is_outside(record.box, image.hw):
        height, width = image.hw
        corners = ", ".join(f"{value:g}" for value in record.box)
        what = f"its box is {corners} (xyxy), the photo {width} wide, {height} high"
        yield Flaw(FlawKind.OUT_OF_BOUNDS, where, what)
    if record.category.id not in dataset.categories:
        yield Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {record.category.id}")


def _is_outside(corners: Sequence[float], hw: tuple[int, int]) -> bool:
    """Whether a corner of x, y, x, y, ... lies outside of the image."""
    height, width = hw
    return _is_beyond(corners[::2], width) or _is_beyond(corners[1::2], height)


def _is_beyond(coordinates: Sequence[float], length: int) -> bool:
    """Whether a coordinate lies outside of an image's width or height; NaN does."""
    values = np.asarray(coordinates, np.float64)
    is_inside = (values >= -CORNER_SLACK_PIXELS) & (values <= length + CORNER_SLACK_PIXELS)
    return not is_inside.all()


# --- Output -----------------------------------------------------------------------------------------------------------


def _class_json(row: ClassCount) -> dict[str, Json]:
    return {
        "id": row.id,
        "name": row.name,
        "is_thing": row.is_thing,
        "objects": row.objects,
        "photos": row.images,
    }


def _flaw_json(flaw: Flaw) -> dict[str, Json]:
    return {"kind": flaw.kind.value, "where": flaw.where, "what": flaw.what}


def _flaw_lines(title: str, flaws: Sequence[Flaw]) -> Iterator[str]:
    if not flaws:
        return
    yield f"{title}:"
    flaws_by_kind: dict[FlawKind, list[Flaw]] = {}
    for flaw in flaws:
        flaws_by_kind.setdefault(flaw.kind, []).append(flaw)
    for kind, of_kind in flaws_by_kind.items():
        yield f"  {kind.value}: {len(of_kind)}"
        for flaw in of_kind[:MAX_LISTED_FLAWS]:
            yield _flaw_line(flaw)
        if len(of_kind) > MAX_LISTED_FLAWS:
            yield f"    ... and {len(of_kind) - MAX_LISTED_FLAWS} more"


def _flaw_line(flaw: Flaw) -> str:
    if not flaw.what:
        return f"    {flaw.where}"
    return f"    {flaw.where}: {flaw.what}"


def _size_text(hw: tuple[int, int]) -> str:
    return f"{hw[0]} x {hw[1]}"


def _counted(count: int, word: str) -> str:
    if count == 1:
        return f"1 {word}"
    word += "es" if word.endswith("s") else "s"
    return f"{count:,} {word}"
