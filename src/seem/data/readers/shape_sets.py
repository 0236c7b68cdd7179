"""What readers of annotation tools share: images with their rows of shapes, as a data set.

A row is one object: a label and the shapes that it is made of. For the frame of its coordinates see `seem.data.frames`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import ParamSpec, TypeAlias, TypeVar

import numpy as np

from seem.data.classes import numbered_categories
from seem.data.coco_rle import RleMask
from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, ParsedObjects
from seem.data.image_files import list_folders, read_image_hw
from seem.data.label_map import numbered_object_id
from seem.data.layout import standard_split
from seem.data.lazy_dataset import READ_ERRORS, LazyDataset
from seem.data.polygons import is_polygon
from seem.data.readers.shapes import PolygonShape, Shape, unite_rles
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    category_names,
    image_record,
    object_record,
)

Arguments = ParamSpec("Arguments")
Value = TypeVar("Value")

NAMELESS = "object"
"""The class of an object without a label."""

_BOX_TOLERANCE = 1.0  # pixels between a box and the outline that it was computed from
_MAX_LISTED = 8


@dataclass(frozen=True, slots=True)
class ShapeRow:
    """One object: `where` names it in messages, `label` is empty where it has none."""

    where: str
    label: str
    shapes: tuple[Shape, ...]
    is_crowd: bool = False


Bounds: TypeAlias = "tuple[float, float, float, float]"
"""A bounding box, xyxy."""

Rows: TypeAlias = "tuple[ShapeRow | Flaw, ...]"


@dataclass(frozen=True, slots=True)
class ShapeImage:
    """One image: its file, height and width as recorded (None: its file tells), its objects.

    An image that is not annotated is one about which nothing is known; annotated without a row it shows no object.
    """

    path: Path
    hw: tuple[int, int] | None
    rows: Rows
    is_annotated: bool = True

    @property
    def sound_rows(self) -> list[ShapeRow]:
        """The objects that could be read."""
        return [row for row in self.rows if isinstance(row, ShapeRow)]


@dataclass(slots=True)
class UnreadCounts:
    """What a reader leaves out: kinds of shapes, attributes of objects, and anything else, each with its number."""

    shapes: Counter[str] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)

    def notes(self) -> tuple[Flaw, ...]:
        """Return one note that names everything; none if nothing was left out."""
        listed = []
        for title, counter in (("shapes", self.shapes), ("attributes", self.attributes)):
            if counter:
                listed.append(f"{title}: {_list_counts(counter)}")
        for text, number in self.others.items():
            if number:
                listed.append(f"{text}: {number}")
        if not listed:
            return ()
        counters = self.shapes, self.attributes, self.others
        total = sum(counter.total() for counter in counters)
        return (Flaw(FlawKind.UNREAD, str(total), "; ".join(listed)),)


def open_shape_set(
    path: Path,
    split: str,
    kind: str,
    results: Iterable[ShapeImage | Flaw],
    *,
    class_names: Sequence[str] = (),
    unread: UnreadCounts | None = None,
    files: Iterable[Path] = (),
    name: str = "",
    read_content: Callable[[ImageRecord], bytes] | None = None,
) -> LazyDataset:
    """Make a data set of images and their rows.

    Args:
        path: the set; `split`: which part of it this is; `kind`: its format.
        results: the images in the order of the set, and flaws in place of those that cannot be read.
        class_names: the classes in the order of the set's own list; labels that it lacks come behind them.
        unread: what was left out.
        files: the files that hold the annotations, and all others that are read.
        name: what the set is called, if not like its folder or file.
        read_content: reads the file of an image that lies inside of another file, `image.path.parent`.
    """
    unread = unread or UnreadCounts()
    images, flaws = [], []
    for result in results:
        if isinstance(result, Flaw):
            flaws.append(result)
        else:
            images.append(_without_doubled_boxes(result, unread))
    categories = _categories(class_names, images)
    by_label = {category.name if category.text else "": category for category in categories}
    records, size_flaws = _image_records(images, name or _set_name(path), split)
    rows = {record.id: images[record.id - 1].rows for record in records}
    names = category_names(categories)

    def complete(image: ImageRecord) -> frozenset[str]:
        return names if image.labelled else frozenset()

    def read_file(image: ImageRecord) -> bytes:
        if read_content is None or image.path.is_file():
            return image.path.read_bytes()
        return read_content(image)

    return LazyDataset(
        name=name or _set_name(path),
        kind=kind,
        split=split,
        path=path,
        category_list=categories,
        images=records,
        read_objects=lambda image: _parse_rows(rows[image.id], image, by_label),
        complete=complete,
        read_polygons=lambda image: _row_polygons(rows[image.id]),
        flaws=(*flaws, *size_flaws),
        notes=(*unread.notes(), *_note_duplicates(images)),
        files=tuple(files),
        searched=(path,) if path.is_dir() else (),
        read_file=read_file,
    )


def read_or_flaw(
    where: str, read: Callable[Arguments, Value], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Value | Flaw:
    """Call what reads something that a file holds; return a flaw at `where` if it is not what its format says."""
    try:
        return read(*args, **kwargs)
    except DataError as error:
        return Flaw(error.kind, where, str(error))
    except KeyError as error:
        return Flaw(FlawKind.UNREADABLE_ROW, where, f"it has no {error}")
    except ValueError as error:
        return Flaw(FlawKind.UNREADABLE_ROW, where, str(error))
    except READ_ERRORS as error:
        return Flaw(FlawKind.UNREADABLE_ROW, where, f"it cannot be read ({error})")


def join_groups(rows: Iterable[tuple[Hashable, ShapeRow | Flaw]]) -> Rows:
    """Join rows that have the same key into one object, where the first of them stands; a key of None joins nothing."""
    joined: list[ShapeRow | Flaw] = []
    index_of_key: dict[Hashable, int] = {}
    for key, row in rows:
        if isinstance(row, Flaw) or key is None:
            joined.append(row)
        elif key not in index_of_key:
            index_of_key[key] = len(joined)
            joined.append(row)
        else:
            first = joined[index_of_key[key]]
            assert isinstance(first, ShapeRow)
            is_crowd = first.is_crowd or row.is_crowd
            shapes = first.shapes + row.shapes
            joined[index_of_key[key]] = ShapeRow(first.where, first.label, shapes, is_crowd)
    return tuple(joined)


# --- Parts ------------------------------------------------------------------------------------------------------------


def find_part_folders(path: Path, fits: Callable[[Path], bool]) -> dict[str, Path]:
    """Return the folders of a set that are called train, val, test or the like and fit; else the set as one part."""
    parts = {}
    for folder in list_folders(path):
        if standard_split(folder.name) and fits(folder):
            parts[folder.name] = folder
    if parts:
        return parts
    return {ALL_SPLIT: path} if fits(path) else {}


def named_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of parts without the one of a set that is not divided."""
    return tuple(name for name in parts if name != ALL_SPLIT)


# --- Images -----------------------------------------------------------------------------------------------------------


def _image_records(
    images: Sequence[ShapeImage], set_name: str, split: str
) -> tuple[tuple[ImageRecord, ...], list[Flaw]]:
    """Make the records of images, numbered from 1; those whose size nobody knows are flaws."""
    records, flaws = [], []
    for number, image in enumerate(images, 1):
        try:
            hw = image.hw or read_image_hw(image.path)
        except DataError as error:
            is_there = image.path.exists()
            kind = FlawKind.UNREADABLE_IMAGE if is_there else FlawKind.MISSING_IMAGE
            flaws.append(Flaw(kind, image.path.name, str(error)))
            continue
        labelled = "instances" if image.is_annotated else ""
        records.append(image_record(number, set_name, image.path, hw, split, labelled))
    return tuple(records), flaws


def _note_duplicates(images: Iterable[ShapeImage]) -> Iterator[Flaw]:
    """Name images that are listed more than once."""
    for path, count in Counter(image.path for image in images).items():
        if count > 1:
            what = f"the photo is listed {count} times, each with its own objects"
            yield Flaw(FlawKind.DUPLICATE_ID, path.name, what)


def _set_name(path: Path) -> str:
    return path.stem if path.is_file() else path.resolve().name


# --- Objects ----------------------------------------------------------------------------------------------------------


def _categories(
    class_names: Sequence[str], images: Iterable[ShapeImage]
) -> tuple[CategoryRecord, ...]:
    """Return the classes of a set: its own list, then the labels that only occur."""
    labels: set[str] = set()
    for image in images:
        labels.update(row.label for row in image.sound_rows)
    listed = dict.fromkeys(class_names)
    unlisted = sorted(labels - listed.keys() - {""})
    named = numbered_categories([*listed, *unlisted])
    if "" not in labels:
        return named
    return (*named, CategoryRecord(len(named) + 1, NAMELESS, "", is_thing=True))


def _parse_rows(
    rows: Rows, image: ImageRecord, by_label: Mapping[str, CategoryRecord]
) -> ParsedObjects:
    objects: list[ObjectRecord] = []
    flaws: list[Flaw] = []
    notes: list[Flaw] = []
    for number, row in enumerate(rows, 1):
        if isinstance(row, Flaw):
            flaws.append(row)
            continue
        sound_row = _without_bad_rings(row, notes)
        rles = _draw_row(sound_row, image.hw, flaws)
        if rles:
            category = by_label.get(row.label) or by_label[""]
            object_id = numbered_object_id(image, number)
            rle = unite_rles(rles)
            objects.append(object_record(object_id, image, category, rle, is_crowd=row.is_crowd))
    return ParsedObjects(tuple(objects), tuple(flaws), tuple(notes))


def _without_bad_rings(row: ShapeRow, notes: list[Flaw]) -> ShapeRow:
    """Leave out malformed rings with a note, as long as the object has another ring or shape."""
    shapes: list[Shape] = []
    num_lost = 0
    for shape in row.shapes:
        if not isinstance(shape, PolygonShape):
            shapes.append(shape)
            continue
        rings = tuple(filter(is_polygon, shape.rings))
        num_lost += len(shape.rings) - len(rings)
        if rings:
            shapes.append(replace(shape, rings=rings))
    if not num_lost or not shapes:
        return row  # sound, or nothing but bad rings: drawing it says what is wrong
    what = f"{num_lost}, of fewer than three corners or with one that is no number"
    notes.append(Flaw(FlawKind.LOST_RING, row.where, what))
    return replace(row, shapes=tuple(shapes))


def _draw_row(row: ShapeRow, hw: tuple[int, int], flaws: list[Flaw]) -> list[RleMask]:
    """Draw the shapes of a row; those that cannot be drawn become flaws."""
    rles = []
    for shape in row.shapes:
        drawn = read_or_flaw(row.where, shape.to_rle, hw)
        if isinstance(drawn, Flaw):
            flaws.append(drawn)
        else:
            rles.append(drawn)
    return rles


def _row_polygons(rows: Rows) -> tuple[AnnotatedPolygons, ...]:
    """Return the outlines of an image, as far as they are well formed."""
    annotated = []
    for row in rows:
        if isinstance(row, Flaw):
            continue
        rings = chain.from_iterable(shape.rings for shape in row.shapes)
        polygons = tuple(filter(is_polygon, rings))
        if polygons:
            annotated.append(AnnotatedPolygons(row.where, polygons))
    return tuple(annotated)


def _without_doubled_boxes(image: ShapeImage, unread: UnreadCounts) -> ShapeImage:
    """Leave out boxes that were computed from an outline of the same label: they are that object once more."""
    outlines: dict[str, list[Bounds]] = {}
    for outline in image.sound_rows:
        if not _is_box(outline):
            outlines.setdefault(outline.label, []).extend(_bounds(outline))
    if not outlines:
        return image
    rows = []
    for row in image.rows:
        if _repeats_an_outline(row, outlines):
            unread.others["boxes around an outline of the same label"] += 1
        else:
            rows.append(row)
    return replace(image, rows=tuple(rows))


def _repeats_an_outline(row: ShapeRow | Flaw, outlines: Mapping[str, Sequence[Bounds]]) -> bool:
    """Whether a row is a box around an outline of its label."""
    if isinstance(row, Flaw) or not _is_box(row):
        return False
    return _is_around_any(row, outlines.get(row.label, ()))


def _is_box(row: ShapeRow) -> bool:
    return all(isinstance(shape, PolygonShape) and shape.is_box for shape in row.shapes)


def _bounds(row: ShapeRow) -> list[Bounds]:
    """Return the bounding box of a row that is one outline; none for others."""
    if len(row.shapes) != 1 or not isinstance(row.shapes[0], PolygonShape):
        return []
    outline = row.shapes[0]
    return [outline.bounds()] if all(map(is_polygon, outline.rings)) else []


def _is_around_any(row: ShapeRow, outlines: Sequence[Bounds]) -> bool:
    """Whether the box of a row is that of an outline."""
    for box in _bounds(row):
        for bounds in outlines:
            if np.abs(np.subtract(box, bounds)).max() <= _BOX_TOLERANCE:
                return True
    return False


def is_true(value: object) -> bool:
    """Whether an attribute says yes: true, 1, "yes", "true"."""
    return str(value).strip().lower() in ("true", "1", "yes")


def _list_counts(counter: Counter[str]) -> str:
    ordered = counter.most_common()
    listed = ", ".join(f"{number} {name}" for name, number in ordered[:_MAX_LISTED])
    if len(ordered) > _MAX_LISTED:
        listed += f" and {len(ordered) - _MAX_LISTED} more kinds"
    return listed
