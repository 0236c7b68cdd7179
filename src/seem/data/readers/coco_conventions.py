"""How a COCO file as a whole departs from COCO's conventions: crowds, coordinates as fractions, stuff.

In COCO a crowd (`iscrowd` 1) is one region for all further objects of a class in a photo, too many to draw one by one:
of 486 photos of COCO 2017 with 4,861 objects 40 are crowds, never two of one class in a photo. Tools that cannot write
a hole or a second part as polygons write such an object as a run-length code and mark it a crowd (datumaro 1.13.12 and
CVAT, supervision 0.31.2, darwin-py 3.6.3); it is one object all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seem.data.polygons import is_polygon
from seem.data.readers.coco_masks import list_rings
from seem.data.readers.coco_rows import CocoDocument, Row, is_crowd_row
from seem.data.records import CategoryRecord, Flaw, FlawKind, ImageRecord

_MIN_CROWD_SHARE = 0.1  # of objects, above which an exporter's crowds are taken for objects
_MIN_REPEATED_SHARE = 0.2  # of crowds, beside another one of their class and photo
_LARGEST_FRACTION = 1.05  # a coordinate that is a share of the photo may overshoot it a little
_TOOL_LICENCES: Mapping[str, Any] = {
    "CVAT or datumaro": [{"name": "", "id": 0, "url": ""}],
    "supervision": [
        {"id": 1, "url": "https://creativecommons.org/licenses/by/4.0/", "name": "CC BY 4.0"}
    ],
}
"""What tools write as the licences of a set that has none; none of them can tell a crowd from an object."""


@dataclass(frozen=True, slots=True)
class Conventions:
    """How the annotations of a file are read, and notes that say so."""

    crowds_are_objects: bool
    has_fractions: bool
    notes: tuple[Flaw, ...]

    @classmethod
    def of(cls, document: CocoDocument) -> Conventions:
        """Find out how a file is meant from all of its annotations."""
        reason, notes = _read_crowds(document)
        has_fractions = _has_fractions(document.annotations)
        if has_fractions:
            what = "every polygon lies between 0 and 1; multiplied by width and height"
            notes.append(Flaw(FlawKind.FRACTIONS, document.file.name, what))
        return cls(bool(reason), has_fractions, tuple(notes))

    def apply(self, rows: Iterable[Row], image: ImageRecord) -> list[Row]:
        """Return the annotations of an image in COCO's own conventions."""
        changed = []
        for row in rows:
            if self.crowds_are_objects and is_crowd_row(row):
                row = {**row, "iscrowd": 0}
            if self.has_fractions and isinstance(row.get("segmentation"), list):
                row = {**row, "segmentation": _scale_polygons(row["segmentation"], image.hw)}
            changed.append(row)
        return changed


# --- Crowds -----------------------------------------------------------------------------------------------------------


def _read_crowds(document: CocoDocument) -> tuple[str, list[Flaw]]:
    """Return why crowds are taken for single objects, empty if they are not, and what is to be said about them."""
    crowds = list(filter(is_crowd_row, document.annotations))
    if not crowds:
        return "", []
    num_objects = len(document.annotations)
    where = f"{len(crowds)} of {num_objects} objects"
    if len(crowds) == num_objects:
        where = f"all {num_objects} objects" if num_objects > 1 else "the only object"
    reason = _why_objects(document, crowds)
    if reason:
        what = f"{reason}: each is read as one object, not as a group (iscrowd 1)"
    else:
        what = (
            "iscrowd is 1: groups that are neither learnt nor scored as single objects; "
            "set it to 0 where a tool has marked single objects so"
        )
    return reason, [Flaw(FlawKind.CROWD, where, what)]


def _why_objects(document: CocoDocument, crowds: Sequence[Row]) -> str:
    num_objects = len(document.annotations)
    if 2 * len(crowds) >= num_objects:
        return "there are as many crowds as other objects, or more, while COCO has one in a hundred"
    crowds_of: Counter[tuple[str, str]] = Counter()
    for row in crowds:
        crowds_of[str(row.get("image_id")), str(row.get("category_id"))] += 1
    num_repeated = sum(count for count in crowds_of.values() if count > 1)
    if num_repeated >= _MIN_REPEATED_SHARE * len(crowds):
        return "a photo has several of one class, where COCO has one crowd at most"
    tool = _tool_of(document)
    if tool == "supervision" or (tool and len(crowds) >= _MIN_CROWD_SHARE * num_objects):
        return f"{tool} marks single objects so that have a hole or several parts"
    return ""


def _tool_of(document: CocoDocument) -> str:
    """Return the tool that a file's licences are those of; empty if it is unknown."""
    for tool, licences in _TOOL_LICENCES.items():
        if document.licences == licences:
            return tool
    return ""


# --- Coordinates ------------------------------------------------------------------------------------------------------


def _has_fractions(rows: Iterable[Row]) -> bool:
    """Whether all polygons of a file, one at least, lie between 0 and 1, so that none of them has a pixel."""
    rings = _well_formed_rings(rows)
    first = next(rings, None)
    if first is None or not _is_in_unit_square(first):
        return False
    return all(map(_is_in_unit_square, rings))


def _well_formed_rings(rows: Iterable[Row]) -> Iterator[Sequence[float]]:
    for row in rows:
        segmentation = row.get("segmentation")
        if isinstance(segmentation, list) and segmentation:
            try:
                yield from filter(is_polygon, list_rings(segmentation))
            except ValueError:
                continue


def _is_in_unit_square(ring: Sequence[float]) -> bool:
    return max(ring) <= _LARGEST_FRACTION and min(ring) >= 1 - _LARGEST_FRACTION


def _scale_polygons(segmentation: list[Any], hw: tuple[int, int]) -> list[Any]:
    """Multiply the corners of polygons by width and height; malformed polygons stay as they are."""
    height, width = hw
    scaled = []
    for ring in list_rings(segmentation):
        if is_polygon(ring):
            corners = np.reshape(ring, (-1, 2)) * (width, height)
            ring = corners.ravel().tolist()
        scaled.append(ring)
    return scaled


# --- Things and stuff -------------------------------------------------------------------------------------------------


def restore_things(
    categories: Sequence[CategoryRecord], instances: CocoDocument | None
) -> tuple[tuple[CategoryRecord, ...], list[Flaw]]:
    """Make things of the classes that are marked as stuff although the instances file holds objects of them.

    Also notes a set all of whose classes are stuff.
    """
    used_ids = set()
    if instances is not None:
        used_ids = {row.get("category_id") for row in instances.annotations if _is_hashable_id(row)}
    restored = []
    corrected = []
    for category in categories:
        if not category.is_thing and category.id in used_ids:
            corrected.append(replace(category, is_thing=True))
            restored.append(corrected[-1].name)
        else:
            corrected.append(category)
    notes = []
    if restored:
        what = f"{_listed(restored)}: isthing is 0, but the instances file holds objects of them; read as things"
        notes.append(Flaw(FlawKind.STUFF, f"{len(restored)} of {len(categories)} classes", what))
    elif categories and not any(category.is_thing for category in categories):
        what = "isthing is 0 everywhere: regions, of which no single objects are learnt or scored"
        notes.append(Flaw(FlawKind.STUFF, f"all {len(categories)} classes", what))
    return tuple(corrected), notes


def _is_hashable_id(row: Row) -> bool:
    return isinstance(row.get("category_id"), (int, str))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
