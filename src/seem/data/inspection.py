"""What is in a data set, and what is wrong with it: every image and every annotation is checked once."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from seem.data.dataset import Dataset
from seem.data.image_files import has_exif_quarter_turn, read_exif_orientation, read_image_hw
from seem.data.lazy_dataset import LazyDataset
from seem.data.polygons import is_self_intersecting
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
            "sizes_hw": [list(hw) for hw in self.sizes_hw],
            "classes": [_class_json(row) for row in self.classes],
            "flaws": [_flaw_json(flaw) for flaw in self.flaws],
            "notes": [_flaw_json(note) for note in self.notes],
        }

    def lines(self) -> Iterator[str]:
        """Write the report for people."""
        yield f"{self.name}, part {self.split}: {self.path}"
        yield f"  {', '.join(self._counts())}"
        if self.sizes_hw:
            small, median, large = (f"{height} x {width}" for height, width in self.sizes_hw)
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
            suffix = "" if row.is_thing else "  stuff"
            yield f"  {row.name:<{width}}  {row.objects:>7}  {row.images:>6}{suffix}"


@dataclass(slots=True)
class _Counts:
    """What was counted so far."""

    objects_by_class: Counter[int] = field(default_factory=Counter)
    images_by_class: Counter[int] = field(default_factory=Counter)
    groups: int = 0
    unusable_images: set[int] = field(default_factory=set)

    def add(self, objects: Sequence[ObjectRecord]) -> None:
        self.objects_by_class.update(record.category.id for record in objects)
        self.images_by_class.update({record.category.id for record in objects})
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
    for image in dataset.images:
        image_flaws, image_notes = _check_image(dataset, image, decode=pixels)
        if image_flaws:
            counts.unusable_images.add(image.id)
        parsed = dataset.parse_objects(image)
        flaws += [*image_flaws, *parsed.flaws, *_check_objects(dataset, image, parsed.objects)]
        notes += image_notes
        if not parsed.objects and not parsed.flaws:
            notes.append(Flaw(FlawKind.NO_ANNOTATION, image.path.name, ""))
        counts.add(parsed.objects)
        step()
    if not flaws:
        flaws += _check_annotated(dataset, counts)
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
        captions=sum(len(image.captions) for image in dataset.images),
        expressions=len(dataset.expressions),
        videos=len({image.sequence for image in dataset.images if image.sequence}),
        sizes_hw=_size_range(dataset.images),
        classes=classes,
        flaws=tuple(flaws),
        notes=tuple(notes),
        unusable_images=frozenset(counts.unusable_images),
    )


# --- The set ----------------------------------------------------------------------------------------------------------


def _check_annotated(dataset: Dataset, counts: _Counts) -> Iterator[Flaw]:
    """Report a set of images without a single annotation."""
    has_captions = any(image.captions for image in dataset.images)
    is_annotated = counts.objects_by_class.total() or dataset.expressions or has_captions
    if dataset.images and not is_annotated:
        hint = f"; {_MASK_HINT}" if _is_folder_of_masks(dataset) else ""
        yield Flaw(FlawKind.NO_ANNOTATION, "all photos", f"nothing is said about any of them{hint}")


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
    num_unnamed = sum(
        counts.objects_by_class[category_id] for category_id in ids_by_name.get("", ())
    )
    if num_unnamed:
        where = f"{num_unnamed} of {counts.objects_by_class.total()}"
        what = "they are shown, never named (in a folder of maps classes.txt tells names)"
        yield Flaw(FlawKind.UNNAMED_OBJECTS, where, what)


def _is_folder_of_masks(dataset: Dataset) -> bool:
    return isinstance(dataset, LazyDataset) and dataset.kind == "folder"


def _count_classes(dataset: Dataset, counts: _Counts) -> tuple[ClassCount, ...]:
    return tuple(
        ClassCount(
            id=category.id,
            name=category.name,
            is_thing=category.is_thing,
            objects=counts.objects_by_class[category.id],
            images=counts.images_by_class[category.id],
        )
        for category in dataset.categories.values()
    )


def _size_range(images: Sequence[ImageRecord]) -> tuple[tuple[int, int], ...]:
    """Return the smallest, the median and the largest size by area."""
    if not images:
        return ()
    by_area = sorted((image.hw for image in images), key=lambda hw: (hw[0] * hw[1], hw))
    return by_area[0], statistics.median_low(by_area), by_area[-1]


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
        size_flaws = [] if is_in_archive else list(_check_size(image, where))
        if is_in_archive or (decode and not size_flaws):
            dataset.pixels(image)
    except DataError as error:
        return [Flaw(FlawKind.UNREADABLE_IMAGE, where, str(error))], []
    if is_in_archive or size_flaws:
        return size_flaws, []
    return [], list(_note_rotation(image, where))


def _check_size(image: ImageRecord, where: str) -> Iterator[Flaw]:
    """Report a file of another size than its record says, as stored or as shown by its EXIF rotation."""
    hw = read_image_hw(image.path)
    if hw == image.hw:
        return
    is_turned = hw == image.hw[::-1]
    if is_turned and has_exif_quarter_turn(image.path):
        return
    hint = "; turned, though it carries no EXIF rotation" if is_turned else ""
    what = (
        f"the file is {hw[0]} x {hw[1]} (h, w), its record says {image.hw[0]} x {image.hw[1]}{hint}"
    )
    yield Flaw(FlawKind.WRONG_SIZE, where, what)


def _note_rotation(image: ImageRecord, where: str) -> Iterator[Flaw]:
    """Report an EXIF rotation, and in which frame the masks are taken to be."""
    if read_exif_orientation(image.path) == 1:
        return
    is_as_stored = read_image_hw(image.path) == image.hw
    frame = "stored, not as shown" if is_as_stored else "shown, as its record gives its size"
    yield Flaw(
        FlawKind.EXIF_ROTATION, where, f"masks are taken to be drawn on the photo as {frame}"
    )


def _check_objects(
    dataset: Dataset, image: ImageRecord, objects: Sequence[ObjectRecord]
) -> Iterator[Flaw]:
    for record in objects:
        yield from _check_object(dataset, image, record)
    for annotation in dataset.polygons(image):
        if any(_is_outside(polygon, image.hw) for polygon in annotation.polygons):
            what = "a corner of its polygon lies outside of the photo"
            yield Flaw(FlawKind.OUT_OF_BOUNDS, annotation.where, what)
        if any(is_self_intersecting(polygon) for polygon in annotation.polygons):
            yield Flaw(
                FlawKind.SELF_INTERSECTION, annotation.where, "two edges of its polygon cross"
            )


def _check_object(dataset: Dataset, image: ImageRecord, record: ObjectRecord) -> Iterator[Flaw]:
    where = f"annotation {record.id} of photo {image.id}"
    height, width = image.hw
    if record.hw != image.hw:
        what = f"its mask is {record.hw[0]} x {record.hw[1]} (h, w), the photo {height} x {width}"
        yield Flaw(FlawKind.WRONG_SIZE, where, what)
    if record.area == 0:
        yield Flaw(FlawKind.EMPTY_MASK, where, "no pixel is inside")
    if _is_outside(record.box, image.hw):
        corners = ", ".join(f"{value:g}" for value in record.box)
        what = f"its box is {corners} (xyxy), the photo {width} wide, {height} high"
        yield Flaw(FlawKind.OUT_OF_BOUNDS, where, what)
    if record.category.id not in dataset.categories:
        yield Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {record.category.id}")


def _is_outside(corners: Sequence[float], hw: tuple[int, int]) -> bool:
    """Whether a corner of x, y, x, y, ... lies outside of the image."""
    height, width = hw
    xs_inside = all(-CORNER_SLACK_PIXELS <= x <= width + CORNER_SLACK_PIXELS for x in corners[::2])
    ys_inside = all(
        -CORNER_SLACK_PIXELS <= y <= height + CORNER_SLACK_PIXELS for y in corners[1::2]
    )
    return not (xs_inside and ys_inside)


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
    for kind in dict.fromkeys(flaw.kind for flaw in flaws):
        of_kind = [flaw for flaw in flaws if flaw.kind is kind]
        yield f"  {kind.value}: {len(of_kind)}"
        for flaw in of_kind[:MAX_LISTED_FLAWS]:
            yield f"    {flaw.where}: {flaw.what}" if flaw.what else f"    {flaw.where}"
        if len(of_kind) > MAX_LISTED_FLAWS:
            yield f"    ... and {len(of_kind) - MAX_LISTED_FLAWS} more"


def _counted(count: int, word: str) -> str:
    if count != 1:
        word += "es" if word.endswith("s") else "s"
    return f"{count:,} {word}"
