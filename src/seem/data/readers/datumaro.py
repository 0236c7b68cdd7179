"""Datumaro's own JSON: one file a part.

    annotations/train.json  annotations/val.json  images/train/a.jpg  (or images/a.jpg)

Annotations of one `group` (but 0) and one label are one object, and a box in such a group only bounds it. Polylines,
points, skeletons and cuboids have no area and are not read.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from seem.data.coco_rle import parse_rle, rle_to_mask
from seem.data.dataset import ALL_SPLIT
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.shape_sets import (
    Rows,
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    is_true,
    join_groups,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import (
    Ellipse,
    FullBitmap,
    PolygonShape,
    Shape,
    box_outline,
    rotated_outline,
)
from seem.data.readers.tool_files import (
    Fields,
    ImageIndex,
    has_text_file,
    home_of,
    list_text_files,
    read_json_file,
)
from seem.data.records import DataError, Flaw, FlawKind

_KEYS = (b'"items"', b'"categories"', b'"label_id"')
_EMPTY_KEYS = (b'"dm_format_version"', b'"items"')
_AREAS = ("polygon", "mask", "bbox", "rotated_bbox", "ellipse")
_OF_WHOLE_IMAGES = ("label", "caption", "hash_key")


def read_datumaro(path: Path, split: str) -> LazyDataset:
    """Open one part of a set in Datumaro's own format."""
    parts = _find_parts(path)
    if split not in parts:
        raise incomplete_layout_error("Datumaro set", path, "annotations/<part>.json with items")
    file = parts[split]
    index = ImageIndex(_home_of(path))
    content = read_json_file(file)
    class_names = _class_names(content.get("categories", {}))
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    for item in content["items"]:
        where = f"{file.name}, item {item.get('id')}"
        results.append(read_or_flaw(where, _read_item, item, file.stem, class_names, index, unread))
    return open_shape_set(
        path,
        split,
        "datumaro",
        results,
        class_names=class_names,
        unread=unread,
        files=[file],
    )


def _class_names(categories: Fields) -> list[str]:
    labels = categories.get("label", {}).get("labels", [])
    return [str(label["name"]) for label in labels]


def _read_item(
    item: Fields,
    part: str,
    class_names: Sequence[str],
    index: ImageIndex,
    unread: UnreadCounts,
) -> ShapeImage:
    image = item.get("image") or {}
    recorded = str(image.get("path") or item["id"])
    path = index.find(f"images/{part}/{recorded}") or index.find(recorded)
    path = path or index.find_stem(f"{part}/{item['id']}") or index.expected(recorded)
    hw = None
    if image.get("size"):
        height, width = image["size"]
        hw = int(height), int(width)
    rows = _read_annotations(item, class_names, unread)
    return ShapeImage(path, hw, rows)


def _read_annotations(item: Fields, class_names: Sequence[str], unread: UnreadCounts) -> Rows:
    rows: list[tuple[Hashable, ShapeRow | Flaw]] = []
    annotations = item["annotations"]
    outlined = {_group_key(row) for row in annotations if row["type"] in ("polygon", "mask")}
    for number, row in enumerate(annotations, 1):
        kind, key = str(row["type"]), _group_key(row)
        where = f"{item['id']}, annotation {number} ({kind})"
        if kind in _OF_WHOLE_IMAGES:
            unread.others[f"{kind}s of whole photos"] += 1
        elif kind not in _AREAS:
            unread.shapes[kind] += 1
        elif kind == "bbox" and key is not None and key in outlined:
            unread.others["boxes around the outline of their group"] += 1
        else:
            rows.append((key, read_or_flaw(where, _read_row, row, where, class_names, unread)))
    return join_groups(rows)


def _group_key(row: Fields) -> Hashable:
    """Return what the annotations of one object share; None for one that is an object by itself."""
    if not row.get("group"):
        return None
    return row["group"], row.get("label_id")


def _read_row(
    row: Fields, where: str, class_names: Sequence[str], unread: UnreadCounts
) -> ShapeRow:
    label = ""
    label_id = row.get("label_id")
    if label_id is not None:
        if label_id not in range(len(class_names)):
            what = f"its label_id is {label_id}, there are {len(class_names)} labels"
            raise DataError(what, FlawKind.UNKNOWN_CATEGORY)
        label = class_names[label_id]
    attributes = dict(row.get("attributes") or {})
    is_crowd = is_true(attributes.pop("is_crowd", False))
    unread.attributes.update(name for name, value in attributes.items() if value is not False)
    return ShapeRow(where, label, (_draw(row),), is_crowd)


def _draw(row: Fields) -> Shape:
    match row["type"]:
        case "polygon":
            return PolygonShape((row["points"],))
        case "bbox":
            x, y, width, height = row["bbox"]
            return box_outline(x, y, x + width, y + height)
        case "rotated_bbox":
            x, y, width, height, degrees = row.get("bbox") or row["points"]
            left, top = x - width / 2, y - height / 2
            return rotated_outline(left, top, width, height, degrees, (x, y))
        case "ellipse":
            x0, y0, x1, y1 = row["points"]
            rx, ry = (x1 - x0) / 2, (y1 - y0) / 2
            return Ellipse(x0 + rx, y0 + ry, rx, ry)
        case _:
            code = row["rle"]
            return FullBitmap(lambda: _decode_rle(code))


def _decode_rle(code: Fields) -> Bool[np.ndarray, "h w"]:
    height, width = code["size"]
    hw = height, width
    return rle_to_mask(parse_rle(dict(code), hw).counts, hw)


# --- Layout -----------------------------------------------------------------------------------------------------------


def _home_of(path: Path) -> Path:
    """Return the folder that holds the images of a file or folder of annotations."""
    folder = home_of(path)
    return folder.parent if folder.name == "annotations" else folder


def _find_parts(path: Path) -> dict[str, Path]:
    if path.is_file():
        return {ALL_SPLIT: path}
    folder = path / "annotations" if (path / "annotations").is_dir() else path
    files = list_text_files(folder, ".json", _looks_like_datumaro)
    if len(files) == 1 and files[0].stem in ("default", "annotations"):
        return {ALL_SPLIT: files[0]}
    return {file.stem: file for file in files}


def _looks_like_datumaro(text: bytes) -> bool:
    return all(key in text for key in _KEYS) or all(key in text for key in _EMPTY_KEYS)


DATUMARO = Layout(
    kind="datumaro",
    title="Datumaro set",
    expects="annotations/<part>.json with items, and images/<part>/",
    fits=lambda path: has_text_file(path, ".json", _looks_like_datumaro),
    splits=lambda path: sort_splits(_find_parts(path).keys() - {ALL_SPLIT}),
    read=read_datumaro,
)
