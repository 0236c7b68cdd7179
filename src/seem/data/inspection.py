"""What is in a data set, and what is wrong with it: every photo and every annotation is looked at once."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seem.data import coco_rle
from seem.data.dataset import Dataset, LazyDataset
from seem.data.image_files import image_hw, is_sideways, orientation
from seem.data.records import DataError, Flaw, FlawKind, ImageRecord, ObjectRecord

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"

SLACK = 1.0  # pixels that a corner may lie outside: rounding of the tools that draw
SHOWN = 10  # flaws of one kind that the text lists
MASKS = "in its masks 0 is nothing, 255 does not count, and 1, 2, ... are the lines of classes.txt"


@dataclass(frozen=True, slots=True)
class ClassCount:
    """A class with how many objects it has and on how many photos; groups and stuff regions count as objects."""

    id: int
    name: str
    is_thing: bool
    objects: int
    images: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What `inspect` found.

    `flaws` must be put right, `notes` may be meant: photos without annotation, classes that never occur or share a
    name, objects without a class, EXIF rotation.
    `sizes_hw`: the smallest, the median and the largest photo by area, height and width. `groups` are annotations of
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
    """Ids of photos that are missing, damaged or of another size than their record says."""

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
            "classes": [
                {"id": c.id, "name": c.name, "is_thing": c.is_thing, "objects": c.objects, "photos": c.images}
                for c in self.classes
            ],
            "flaws": [_flaw_json(flaw) for flaw in self.flaws],
            "notes": [_flaw_json(note) for note in self.notes],
        }

    def lines(self) -> Iterator[str]:
        """Write the report for people."""
        yield f"{self.name}, part {self.split}: {self.path}"
        yield "  " + ", ".join(
            _counted(count, word)
            for count, word in (
                (self.images, "photo"), (self.objects, "object"), (self.groups, "group"), (self.captions, "caption"),
                (self.expressions, "referring expression"), (self.videos, "video"),
            )
            if count or word in ("photo", "object")
        )  # fmt: skip
        if self.sizes_hw:
            small, median, large = (f"{height} x {width}" for height, width in self.sizes_hw)
            yield f"  photos (h x w): smallest {small}, median {median}, largest {large}"
        yield from self._class_lines()
        yield from _grouped("Problems", self.flaws)
        yield from _grouped("To know", self.notes)
        yield "Nothing is wrong." if self.ok else f"{_counted(len(self.flaws), 'problem')}."

    def _class_lines(self) -> Iterator[str]:
        used = sorted((c for c in self.classes if c.objects), key=lambda c: (-c.objects, c.name))
        if not used:
            return
        width = max(len(c.name) for c in used)
        yield f"  {'class':<{width}}  objects  photos"
        for each in used:
            yield f"  {each.name:<{width}}  {each.objects:>7}  {each.images:>6}{'' if each.is_thing else '  stuff'}"


def inspect_dataset(
    dataset: Dataset, *, pixels: bool = True, step: Callable[[], object] = lambda: None
) -> DatasetReport:
    """Look at every photo and every annotation of one part of a data set.

    Args:
        dataset: any data set, best opened with `tolerant=True`.
        pixels: decode every photo; otherwise only its header is read, which does not see files that are cut short.
        step: called after each photo.

    Returns:
        What is there and what is wrong. Nothing is raised for what is wrong with a photo or an annotation.
    """
    flaws, notes = list(dataset.flaws), []
    objects: Counter[int] = Counter()
    photos: Counter[int] = Counter()
    groups = 0
    unusable = set()
    for photo in dataset.images:
        photo_flaws, photo_notes = _look_at_photo(dataset, photo, pixels)
        if photo_flaws:
            unusable.add(photo.id)
        examined = dataset.parse_objects(photo)
        flaws += [*photo_flaws, *examined.flaws, *_look_at_objects(dataset, photo, examined.objects)]
        notes += photo_notes
        if not examined.objects and not examined.flaws:
            notes.append(Flaw(FlawKind.NO_ANNOTATION, photo.path.name, ""))
        objects.update(record.category.id for record in examined.objects)
        photos.update({record.category.id for record in examined.objects})
        groups += sum(record.is_group for record in examined.objects)
        step()
    told = objects.total() or dataset.expressions or any(photo.captions for photo in dataset.images)
    if dataset.images and not told and not flaws:
        hint = f"; {MASKS}" if _has_masks(dataset) else ""
        flaws.append(Flaw(FlawKind.NO_ANNOTATION, "all photos", f"nothing is said about any of them{hint}"))
    classes = tuple(
        ClassCount(c.id, c.name, c.is_thing, objects[c.id], photos[c.id]) for c in dataset.categories.values()
    )
    unused = [c.name for c in classes if not c.objects]
    if unused:
        listed = ", ".join(unused[:SHOWN]) + (f" and {len(unused) - SHOWN} more" if len(unused) > SHOWN else "")
        notes.append(Flaw(FlawKind.UNUSED_CLASS, f"{len(unused)} of {len(classes)}", listed))
    notes += _look_at_names(dataset, objects)
    return DatasetReport(
        name=dataset.name,
        split=dataset.split,
        path=str(dataset.path),
        images=len(dataset.images),
        objects=objects.total(),
        groups=groups,
        captions=sum(len(photo.captions) for photo in dataset.images),
        expressions=len(dataset.expressions),
        videos=len({photo.sequence for photo in dataset.images if photo.sequence}),
        sizes_hw=_sizes(dataset.images),
        classes=classes,
        flaws=tuple(flaws),
        notes=tuple(notes),
        unusable_images=frozenset(unusable),
    )


def _look_at_names(dataset: Dataset, objects: Counter[int]) -> Iterator[Flaw]:
    """Tell what a model that knows classes by their names will make of them."""
    ids: dict[str, list[int]] = {}
    for category in dataset.categories.values():
        ids.setdefault(category.text, []).append(category.id)
    for name, shared in ids.items():
        if name and len(shared) > 1:
            yield Flaw(FlawKind.SAME_NAME, repr(name), f"ids {', '.join(map(str, shared))} count as one class")
    nameless = sum(objects[number] for number in ids.get("", ()))
    if nameless:
        told = "they are shown, never named (in a folder of maps classes.txt tells names)"
        yield Flaw(FlawKind.NAMELESS, f"{nameless} of {objects.total()}", told)


def _has_masks(dataset: Dataset) -> bool:
    """Whether a set is a folder of photos and masks."""
    return isinstance(dataset, LazyDataset) and dataset.kind == "folder"


def _look_at_photo(dataset: Dataset, photo: ImageRecord, pixels: bool) -> tuple[list[Flaw], list[Flaw]]:
    where = f"photo {photo.id} ({photo.path.name})"
    if photo.path.parent.is_file():  # inside of an archive
        try:
            dataset.pixels(photo)
        except DataError as error:
            return [Flaw(FlawKind.UNREADABLE_IMAGE, where, str(error))], []
        return [], []
    if not photo.path.is_file():
        return [Flaw(FlawKind.MISSING_IMAGE, where, f"there is no {photo.path}")], []
    try:
        hw = image_hw(photo.path)
        as_shown = hw != photo.hw and hw == photo.hw[::-1] and is_sideways(photo.path)
        if hw != photo.hw and not as_shown:
            turned = "; turned, though it carries no EXIF rotation" if hw == photo.hw[::-1] else ""
            told = f"the file is {hw[0]} x {hw[1]} (h, w), its record says {photo.hw[0]} x {photo.hw[1]}{turned}"
            return [Flaw(FlawKind.WRONG_SIZE, where, told)], []
        if pixels:
            dataset.pixels(photo)
    except DataError as error:
        return [Flaw(FlawKind.UNREADABLE_IMAGE, where, str(error))], []
    if orientation(photo.path) != 1:
        kind = "shown, as its record gives its size" if as_shown else "stored, not as shown"
        told = f"masks are taken to be drawn on the photo as {kind}"
        return [], [Flaw(FlawKind.TURNED, where, told)]
    return [], []


def _look_at_objects(dataset: Dataset, photo: ImageRecord, objects: Sequence[ObjectRecord]) -> Iterator[Flaw]:
    for record in objects:
        where = f"annotation {record.id} of photo {photo.id}"
        if record.hw != photo.hw:
            told = f"its mask is {record.hw[0]} x {record.hw[1]} (h, w), the photo {photo.hw[0]} x {photo.hw[1]}"
            yield Flaw(FlawKind.WRONG_SIZE, where, told)
        if record.area == 0:
            yield Flaw(FlawKind.EMPTY_MASK, where, "no pixel is inside")
        if _outside(record.box[:2], photo.hw) or _outside(record.box[2:], photo.hw):
            corners = ", ".join(f"{value:g}" for value in record.box)
            yield Flaw(
                FlawKind.OUTSIDE,
                where,
                f"its box is {corners} (xyxy), the photo {photo.hw[1]} wide, {photo.hw[0]} high",
            )
        if record.category.id not in dataset.categories:
            yield Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {record.category.id}")
    for outline in dataset.polygons(photo):
        if any(_outside(ring, photo.hw) for ring in outline.rings):
            yield Flaw(FlawKind.OUTSIDE, outline.where, "a corner of its polygon lies outside of the photo")
        if any(coco_rle.is_self_intersecting(ring) for ring in outline.rings):
            yield Flaw(FlawKind.CROSSING, outline.where, "two edges of its polygon cross")


def _outside(corners: Sequence[float], hw: tuple[int, int]) -> bool:
    """Whether a corner of x, y, x, y, ... lies outside of the photo."""
    return any(not -SLACK <= value <= hw[1 - place % 2] + SLACK for place, value in enumerate(corners))


def _sizes(photos: Sequence[ImageRecord]) -> tuple[tuple[int, int], ...]:
    if not photos:
        return ()
    by_area = sorted((photo.hw for photo in photos), key=lambda hw: (hw[0] * hw[1], hw))
    return by_area[0], statistics.median_low(by_area), by_area[-1]


def _flaw_json(flaw: Flaw) -> dict[str, Json]:
    return {"kind": flaw.kind.value, "where": flaw.where, "what": flaw.what}


def _grouped(title: str, flaws: Sequence[Flaw]) -> Iterator[str]:
    if not flaws:
        return
    yield f"{title}:"
    for kind in dict.fromkeys(flaw.kind for flaw in flaws):
        group = [flaw for flaw in flaws if flaw.kind is kind]
        yield f"  {kind.value}: {len(group)}"
        yield from (f"    {flaw.where}" + (f": {flaw.what}" if flaw.what else "") for flaw in group[:SHOWN])
        if len(group) > SHOWN:
            yield f"    ... and {len(group) - SHOWN} more"


def _counted(count: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count:,} {word if count == 1 else plural}"
