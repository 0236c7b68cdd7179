"""Darwin JSON 2.0 of V7: a file for each item.

    releases/latest/annotations/a.json  images/a.jpg          as `darwin dataset pull` lays it out
    a.json  images/a.jpg                                       or the files of an export anywhere beside the photos

A polygon's paths count even-odd, so that a path in a path is a hole. Masks lie in the raster layer of their slot: pairs
of value and length, row by row. Annotations of one class and one instance id are one object. Tags, lines, keypoints,
skeletons, cuboids and the rest have no area and are not read, nor are videos.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer

from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.shape_sets import (
    Rows,
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    find_part_folders,
    join_groups,
    named_parts,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import (
    MAX_BITMAP_PIXELS,
    Ellipse,
    FullBitmap,
    PolygonShape,
    Shape,
    box_outline,
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

_KEYS = (b'"item"', b'"slots"', b'"annotations"')
_LABEL_FIELDS = (
    "id", "name", "slot_names", "bounding_box", "annotators", "reviewers", "updated_at", "hidden_areas",
)  # fmt: skip
_ATTRIBUTE_FIELDS = ("attributes", "text", "properties", "inference", "directional_vector")


def read_darwin(path: Path, split: str) -> LazyDataset:
    """Open one part of a set of Darwin files."""
    parts = find_part_folders(path, is_darwin)
    if split not in parts:
        raise incomplete_layout_error("Darwin export", path, "JSON files with item and annotations")
    folder = parts[split]
    files = [folder]
    if folder.is_dir():
        files = list_text_files(folder, ".json", _looks_like_darwin)
    index = ImageIndex(_home_of(folder))
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    for file in files:
        images = read_or_flaw(file.name, _read_file, file, index, unread)
        results += [images] if isinstance(images, Flaw) else images
    return open_shape_set(path, split, "darwin", results, unread=unread, files=files)


def _read_file(file: Path, index: ImageIndex, unread: UnreadCounts) -> list[ShapeImage]:
    """Read an item: an image for each of its slots."""
    content = read_json_file(file)
    item = content["item"]
    images = []
    for slot in item["slots"]:
        if slot.get("type") != "image":
            unread.others[f"items of type {slot.get('type')}"] += 1
            continue
        path = _image_path(item, slot, index)
        hw = None
        if slot.get("width"):
            hw = int(slot["height"]), int(slot["width"])
        annotations = [row for row in content["annotations"] if _is_in_slot(row, slot)]
        rows = _read_rows(annotations, file.name, hw, unread)
        images.append(ShapeImage(path, hw, rows))
    return images


def _read_rows(
    annotations: Sequence[Fields],
    file_name: str,
    hw: tuple[int, int] | None,
    unread: UnreadCounts,
) -> Rows:
    """Read the annotations of an image, those of one class and instance as one row."""
    layers = [row["raster_layer"] for row in annotations if "raster_layer" in row]
    rows: list[tuple[Hashable, ShapeRow | Flaw]] = []
    for number, row in enumerate(annotations, 1):
        if "raster_layer" in row:
            continue
        where = f"{file_name}, annotation {row.get('id', number)}"
        result = read_or_flaw(where, _read_row, row, where, layers, hw, unread)
        if result is not None:
            rows.append((_instance_of(row), result))
    return join_groups(rows)


def _is_in_slot(row: Fields, slot: Fields) -> bool:
    names = row.get("slot_names") or []
    return not names or slot.get("slot_name") in names


def _instance_of(row: Fields) -> Hashable:
    """Return what the annotations of one object share; None for one that is an object by itself."""
    instance = row.get("instance_id")
    if isinstance(instance, Mapping):
        instance = instance.get("value")
    if instance is None:
        return None
    return row["name"], instance


def _read_row(
    row: Fields,
    where: str,
    layers: Sequence[Fields],
    hw: tuple[int, int] | None,
    unread: UnreadCounts,
) -> ShapeRow | None:
    drawn = _draw(row, layers, hw)
    if drawn is None:
        kind = _kind_of(row)
        if kind == "tag":
            unread.others["tags of whole photos"] += 1
        else:
            unread.shapes[kind] += 1
        return None
    unread.attributes.update(field for field in _ATTRIBUTE_FIELDS if row.get(field))
    return ShapeRow(where, str(row["name"]).strip(), (drawn,))


def _kind_of(row: Fields) -> str:
    """Return the first field of an annotation that is no label and no attribute."""
    for key in row:
        if key not in (*_LABEL_FIELDS, *_ATTRIBUTE_FIELDS):
            return key
    return "annotations without a shape"


def _draw(row: Fields, layers: Sequence[Fields], hw: tuple[int, int] | None) -> Shape | None:
    """Return the shape of an annotation; None if it has no area."""
    if "polygon" in row:
        paths = _paths_of(row["polygon"])
        return PolygonShape(tuple(map(_flat, paths)))
    if "ellipse" in row:
        return _ellipse(row["ellipse"])
    if "mask" in row:
        if hw is None:
            raise DataError("its file tells no size of the photo", FlawKind.WRONG_SIZE)
        return FullBitmap(lambda: _decode_layers(str(row["id"]), layers, hw))
    others = row.keys() - {*_LABEL_FIELDS, *_ATTRIBUTE_FIELDS, "instance_id"}
    if "bounding_box" in row and not others:
        box = row["bounding_box"]
        x, y = box["x"], box["y"]
        return box_outline(x, y, x + box["w"], y + box["h"])
    return None


def _ellipse(ellipse: Fields) -> Ellipse:
    centre, radius = ellipse["center"], ellipse["radius"]
    degrees = math.degrees(ellipse.get("angle") or 0.0)
    return Ellipse(centre["x"], centre["y"], radius["x"], radius["y"], degrees)


def _paths_of(polygon: Fields) -> Sequence[Any]:
    """Return the paths of a polygon; older files have one path, and further ones elsewhere."""
    if "paths" in polygon:
        return list(polygon["paths"])
    return [polygon["path"], *(polygon.get("additional_paths") or ())]


def _flat(path: Sequence[Fields]) -> list[float]:
    ring = []
    for point in path:
        ring += [float(point["x"]), float(point["y"])]
    return ring


def _decode_layers(
    mask_id: str, layers: Sequence[Fields], hw: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Return the pixels of a mask by its id in the raster layers of an image."""
    for layer in layers:
        value = layer["mask_annotation_ids_mapping"].get(mask_id)
        if value is not None:
            return np.asarray(_decode_layer(layer["dense_rle"], hw) == int(value))
    raise DataError("no raster layer names its mask", FlawKind.EMPTY_MASK)


def _decode_layer(pairs: Sequence[int], hw: tuple[int, int]) -> Integer[np.ndarray, "h w"]:
    height, width = hw
    values = np.asarray(pairs[::2], np.int64)
    lengths = np.asarray(pairs[1::2], np.int64)
    num_pixels = -1
    if len(values) == len(lengths) and (lengths >= 0).all():
        num_pixels = int(lengths.sum())
    if num_pixels != height * width or num_pixels > MAX_BITMAP_PIXELS:
        message = f"its raster layer has {num_pixels} pixels, the photo {height * width}"
        raise DataError(message, FlawKind.WRONG_SIZE)
    return np.asarray(np.repeat(values, lengths).reshape(height, width))


# --- Files ------------------------------------------------------------------------------------------------------------


def _image_path(item: Fields, slot: Fields, index: ImageIndex) -> Path:
    """Return the image of a slot: by the item's folder and name, else by the name of the file that was uploaded."""
    names = [source.get("file_name") or "" for source in slot.get("source_files") or ()]
    folder = str(item.get("path") or "/").strip("/")
    if len(item["slots"]) == 1:
        names.insert(0, str(item["name"]))
    for name in names:
        path = index.find(f"{folder}/{name}") or index.find(name)
        if path is not None:
            return path
    return index.expected(str(item["name"]))


def _home_of(folder: Path) -> Path:
    """Return the folder that holds the images too, if only a file or the folder of annotations is given."""
    home = home_of(folder)
    if home.name == "annotations" and (home.parent / "images").is_dir():
        return home.parent
    return home


def is_darwin(path: Path) -> bool:
    """Whether a path holds Darwin files, going by their text."""
    return has_text_file(path, ".json", _looks_like_darwin)


def _looks_like_darwin(text: bytes) -> bool:
    return all(key in text for key in _KEYS)


DARWIN = Layout(
    kind="darwin",
    title="Darwin export of V7",
    expects="a JSON file (Darwin JSON 2.0) for each photo",
    fits=lambda path: bool(find_part_folders(path, is_darwin)),
    splits=lambda path: sort_splits(named_parts(find_part_folders(path, is_darwin))),
    read=read_darwin,
)
