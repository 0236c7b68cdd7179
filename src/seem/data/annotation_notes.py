"""Notes on the annotations of a whole set: objects that it holds twice, and repeated notes as one line with a count."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer

from seem.data.dataset import AnnotatedPolygons
from seem.data.polygons import is_rectangle, is_upright
from seem.data.records import Flaw, FlawKind, ImageRecord, ObjectRecord

_SUMMARIES = {
    FlawKind.AREA_UNLIKE_MASK: "the masks count; ",
    FlawKind.BOX_UNLIKE_MASK: "the masks count; ",
    FlawKind.INNER_RING: "",
}
"""Notes of which one line is written for all objects, and how it begins."""

_SAME_MASK_IOU = 0.9  # of one object drawn as polygon and as run-length code; below are two objects
_MIN_DOUBLED_SET = 6  # objects of a set that is said to be there twice
_MAX_AREA_RATIO = 1 / _SAME_MASK_IOU


@dataclass(slots=True)
class AnnotationNotes:
    """Notes on the annotations of a set, collected image by image."""

    num_objects: int = 0
    num_outlines: int = 0
    num_boxes: int = 0
    num_turned_boxes: int = 0
    duplicates: list[str] = field(default_factory=list)
    notes: dict[FlawKind, list[Flaw]] = field(default_factory=dict)

    def add(
        self,
        image: ImageRecord,
        objects: Sequence[ObjectRecord],
        notes: Sequence[Flaw],
        outlines: Sequence[AnnotatedPolygons],
    ) -> None:
        """Add the objects of an image, what its reader noted, and the outlines as they are written."""
        self.num_objects += len(objects)
        for outline in outlines:
            self._count_boxes(outline)
        self.duplicates += _describe_duplicates(image, objects)
        for note in notes:
            self.notes.setdefault(note.kind, []).append(note)

    def _count_boxes(self, outline: AnnotatedPolygons) -> None:
        self.num_outlines += 1
        if all(map(is_rectangle, outline.polygons)):
            self.num_boxes += 1
            self.num_turned_boxes += not all(map(is_upright, outline.polygons))

    def lines(self) -> Iterator[Flaw]:
        """Return the notes; of those that a tool causes at every object one, with their number."""
        for kind, notes in self.notes.items():
            if kind in _SUMMARIES and len(notes) > 1:
                what = f"{_SUMMARIES[kind]}{notes[0].where}: {notes[0].what}"
                yield Flaw(kind, f"{len(notes)} of {self.num_objects} objects", what)
            else:
                yield from notes
        if self.duplicates:
            what = f"same class, same mask; {self.duplicates[0]}"
            if 2 * len(self.duplicates) >= max(self.num_objects, _MIN_DOUBLED_SET):
                what = f"the whole set is there twice (as polygons and as codes?); {self.duplicates[0]}"
            where = f"{len(self.duplicates)} of {self.num_objects} objects"
            yield Flaw(FlawKind.DUPLICATE_OBJECT, where, what)
        if self.num_turned_boxes and self.num_boxes == self.num_outlines == self.num_objects:
            what = "each is a rectangle, some are turned: if they are boxes around objects, export polygons or masks"
            yield Flaw(FlawKind.TURNED_BOXES, f"all {self.num_objects} objects", what)


def note_repeated_files(images: Iterable[ImageRecord]) -> Iterator[Flaw]:
    """Note files that several photos of the set are."""
    ids_by_path: dict[Path, list[int]] = {}
    for image in images:
        ids_by_path.setdefault(image.path, []).append(image.id)
    for path, ids in ids_by_path.items():
        if len(ids) > 1:
            what = f"photos {', '.join(map(str, ids[:5]))} are this file, each with its own annotations alone"
            yield Flaw(FlawKind.DUPLICATE_IMAGE, path.name, what)


def _describe_duplicates(image: ImageRecord, objects: Sequence[ObjectRecord]) -> Iterator[str]:
    """Name the objects of an image that an earlier one of their class covers almost exactly."""
    by_class: dict[int, list[ObjectRecord]] = {}
    for record in objects:
        if record.area and record.hw == image.hw:
            by_class.setdefault(record.category.id, []).append(record)
    for records in by_class.values():
        for first, second in _find_duplicates(records):
            yield f"in photo {image.id} annotation {second.id} is annotation {first.id} once more"


def _find_duplicates(
    records: Sequence[ObjectRecord],
) -> Iterator[tuple[ObjectRecord, ObjectRecord]]:
    """Find objects of one class that an earlier object covers, each with the first such object."""
    areas = np.array([record.area for record in records], np.float64)
    boxes = np.array([record.box for record in records], np.float64)
    for index in range(1, len(records)):
        earlier = _similar_indices(boxes, areas, index)
        if not len(earlier):
            continue
        ious = _mask_ious([records[i] for i in earlier], records[index])
        covering = earlier[ious >= _SAME_MASK_IOU].tolist()
        if covering:
            yield records[covering[0]], records[index]


def _similar_indices(
    boxes: Float[np.ndarray, "n 4"], areas: Float[np.ndarray, " n"], index: int
) -> Integer[np.ndarray, " k"]:
    """Return the indices of earlier objects of about the same box and area."""
    sides = boxes[index, 2:] - boxes[index, :2]
    tolerance = 2.0 + (1 - _SAME_MASK_IOU) * float(sides.max())
    distances = np.abs(boxes[:index] - boxes[index]).max(axis=1)
    is_near = distances <= tolerance
    larger = np.maximum(areas[:index], areas[index])
    smaller = np.minimum(areas[:index], areas[index])
    ratios = larger / smaller
    return np.flatnonzero(is_near & (ratios <= _MAX_AREA_RATIO))


def _mask_ious(earlier: Sequence[ObjectRecord], record: ObjectRecord) -> Float[np.ndarray, " k"]:
    from pycocotools import mask as rle

    codes = list(map(_code, earlier))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        ious = rle.iou(codes, [_code(record)], [0])
    return np.asarray(ious, np.float64)[:, 0]


def _code(record: ObjectRecord) -> dict[str, object]:
    return {"size": list(record.hw), "counts": record.counts.encode()}
