"""VGG Image Annotator 2: one JSON or CSV file, as saved (a project) or as exported.

    via_region_data.json  a.jpg              beside the photos, or in train/ and val/ with them

The class of a region is its attribute called class, label, name, type, category or object, or the only one that the set
has. Of check boxes the first that is ticked. Points and polylines have no area and are not read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.shape_sets import (
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    find_part_folders,
    named_parts,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import Ellipse, PolygonShape, Shape, box_outline
from seem.data.readers.tool_files import (
    Fields,
    ImageIndex,
    has_text_file,
    list_text_files,
    read_json_file,
)
from seem.data.records import DataError, Flaw
from seem.data.text_files import TextFile

_CLASS_ATTRIBUTES = ("class", "label", "name", "type", "category", "object")


@dataclass(frozen=True, slots=True)
class _Region:
    shape: Fields
    attributes: Fields


def read_via(path: Path, split: str) -> LazyDataset:
    """Open one part of a set of the VGG Image Annotator."""
    parts = find_part_folders(path, is_via)
    if split not in parts:
        raise incomplete_layout_error("VIA project", path, "a JSON or CSV file of VIA 2")
    folder = parts[split]
    files = [folder] if folder.is_file() else _own_files(folder)
    index = ImageIndex(folder)
    unread = UnreadCounts()
    regions = _read_regions(files, unread)
    class_attribute = _class_attribute(regions.values())
    results: list[ShapeImage | Flaw] = []
    for name, found in regions.items():
        rows = []
        for number, region in enumerate(found, 1):
            where = f"{name}, region {number}"
            row = read_or_flaw(where, _read_region, region, where, class_attribute, unread)
            if row is not None:
                rows.append(row)
        image_path = index.find(name) or index.expected(name)
        results.append(ShapeImage(image_path, None, tuple(rows)))
    return open_shape_set(path, split, "via", results, unread=unread, files=files)


def _read_regions(files: Iterable[Path], unread: UnreadCounts) -> dict[str, list[_Region]]:
    """Return the regions of every image by its name; what a second file repeats is read once."""
    regions: dict[str, list[_Region]] = {}
    for file in files:
        regions_of_file: dict[str, list[_Region]] = {}
        for name, found in _regions_of(file):
            regions_of_file.setdefault(name, []).extend(found)
        for name, found in regions_of_file.items():
            known = regions.setdefault(name, [])
            new = [region for region in found if region not in known]
            unread.others["regions that two files hold"] += len(found) - len(new)
            known += new
    return regions


def _regions_of(file: Path) -> Iterator[tuple[str, list[_Region]]]:
    """Yield the name of every image of a file, and regions on it."""
    if file.suffix.lower() == ".csv":
        yield from _regions_of_table(file)
        return
    content = read_json_file(file)
    metadata = content.get("_via_img_metadata", content)
    for entry in metadata.values():
        regions = entry.get("regions") or []
        if isinstance(regions, Mapping):  # version 1 numbers them
            regions = list(regions.values())
        yield str(entry["filename"]), list(map(_region_of, regions))


def _region_of(row: Fields) -> _Region:
    return _Region(row["shape_attributes"], row.get("region_attributes") or {})


def _regions_of_table(file: Path) -> Iterator[tuple[str, list[_Region]]]:
    for number, row in enumerate(TextFile.read(file).records(), 2):
        try:
            shape = json.loads(row["region_shape_attributes"] or "{}")
            attributes = json.loads(row["region_attributes"] or "{}")
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}, line {number} is no row of VIA ({error}).") from error
        name = row.get("filename") or row.get("#filename", "")  # as older versions write it
        yield name, [_Region(shape, attributes)] if shape else []


def _class_attribute(regions: Iterable[list[_Region]]) -> str | None:
    """Return the attribute that names the class: by its own name, else the only one, else the first."""
    used: dict[str, None] = {}
    for region in chain.from_iterable(regions):
        used.update(dict.fromkeys(region.attributes))
    for name in _CLASS_ATTRIBUTES:
        for attribute in used:
            if attribute.lower() == name:
                return attribute
    return next(iter(used), None)


def _read_region(
    region: _Region, where: str, class_attribute: str | None, unread: UnreadCounts
) -> ShapeRow | None:
    drawn = _draw(region.shape, unread)
    if drawn is None:
        return None
    for name, value in region.attributes.items():
        if value and name != class_attribute:
            unread.attributes[name] += 1
    value = region.attributes.get(class_attribute or "", "")
    if isinstance(value, Mapping):  # check boxes
        ticked = [option for option, is_ticked in value.items() if is_ticked]
        unread.others["further ticked classes of one region"] += len(ticked[1:])
        value = next(iter(ticked), "")
    return ShapeRow(where, str(value).strip(), (drawn,))


def _draw(shape: Fields, unread: UnreadCounts) -> Shape | None:
    """Return the shape of a region; None if it has no area."""
    match shape.get("name"):
        case "polygon":
            return PolygonShape((_flat(shape["all_points_x"], shape["all_points_y"]),))
        case "rect":
            x, y = shape["x"], shape["y"]
            return box_outline(x, y, x + shape["width"], y + shape["height"])
        case "circle":
            return Ellipse(shape["cx"], shape["cy"], shape["r"], shape["r"])
        case "ellipse":
            degrees = math.degrees(shape.get("theta") or 0.0)
            return Ellipse(shape["cx"], shape["cy"], shape["rx"], shape["ry"], degrees)
        case kind:
            unread.shapes[str(kind)] += 1
            return None


def _flat(xs: Sequence[float], ys: Sequence[float]) -> list[float]:
    corners = zip(xs, ys, strict=True)
    return list(map(float, chain.from_iterable(corners)))


# --- Layout -----------------------------------------------------------------------------------------------------------


def is_via(path: Path) -> bool:
    """Whether a path holds a file of VIA 2, going by its text."""
    is_json = has_text_file(path, ".json", _looks_like_via_json)
    return is_json or has_text_file(path, ".csv", _looks_like_via_table)


def _own_files(folder: Path) -> list[Path]:
    """Return the JSON files of VIA in a folder; without one its tables, which hold the same once more."""
    files = list_text_files(folder, ".json", _looks_like_via_json)
    return files or list_text_files(folder, ".csv", _looks_like_via_table)


def _looks_like_via_json(text: bytes) -> bool:
    return b'"shape_attributes"' in text or b'"_via_img_metadata"' in text


def _looks_like_via_table(text: bytes) -> bool:
    return b"region_shape_attributes" in text and b"filename" in text


VIA = Layout(
    kind="via",
    title="VGG Image Annotator 2",
    expects="a JSON or CSV file of VIA 2 beside the photos",
    fits=lambda path: bool(find_part_folders(path, is_via)),
    splits=lambda path: sort_splits(named_parts(find_part_folders(path, is_via))),
    read=read_via,
)
