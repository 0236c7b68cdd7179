"""labelme: a JSON file of shapes for each image, versions 3 to 6.

    a.jpg  a.json      the same folder, or images/ and annotations/, or train/ and val/ of either

Shapes of one label and one `group_id` are one object. A mask covers the pixels from its first point on. Lines and
points have no area and are not read. An image that is not beside its file may be inside of it (`imageData`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.shape_sets import (
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    find_part_folders,
    is_true,
    join_groups,
    named_parts,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import (
    Bitmap,
    Ellipse,
    PolygonShape,
    Shape,
    box_outline,
    decode_base64,
    decode_bitmap,
)
from seem.data.readers.tool_files import (
    Fields,
    ImageIndex,
    has_text_file,
    list_files,
    read_json_file,
)
from seem.data.records import Flaw, ImageRecord

_KEYS = (b'"shapes"', b'"imagePath"')
_NUMBERS_OF_TWO_POINTS = 4


def read_labelme(path: Path, split: str) -> LazyDataset:
    """Open one part of a folder of labelme files."""
    parts = find_part_folders(path, is_labelme)
    if split not in parts:
        raise incomplete_layout_error(
            "labelme folder", path, "JSON files with shapes and imagePath"
        )
    folder = parts[split]
    index = ImageIndex(folder)
    files = [folder] if folder.is_file() else list_files(folder, ".json")
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    for file in files:
        result = read_or_flaw(file.name, _read_file, file, index, unread)
        if result is not None:
            results.append(result)
    if not folder.is_file():
        annotated = {result.path for result in results if isinstance(result, ShapeImage)}
        num_without = len(set(index.files) - annotated)
        if num_without:
            unread.others["photos without a JSON file"] = num_without
    return open_shape_set(
        path,
        split,
        "labelme",
        results,
        unread=unread,
        files=files,
        read_content=_read_embedded_image,
    )


def _read_file(file: Path, index: ImageIndex, unread: UnreadCounts) -> ShapeImage | None:
    """Read the shapes of one image, those of one label and group as one row; None if the file is not labelme's."""
    content = read_json_file(file)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        unread.others["JSON files that are not labelme's"] += 1
        return None
    rows: list[tuple[Hashable, ShapeRow | Flaw]] = []
    for number, shape in enumerate(content["shapes"], 1):
        where = f"{file.name}, shape {number}"
        row = read_or_flaw(where, _read_shape, shape, where, unread)
        if isinstance(row, Flaw):
            rows.append((None, row))
        elif row is not None:
            rows.append((_group_of(shape, row.label), row))
    return ShapeImage(_image_path(file, content, index), _recorded_hw(content), join_groups(rows))


def _group_of(shape: Fields, label: str) -> Hashable:
    """Return what the shapes of one object share; None for one that is an object by itself."""
    group = shape.get("group_id")
    if group is None:
        return None
    return label, str(group)


def _read_shape(shape: Fields, where: str, unread: UnreadCounts) -> ShapeRow | None:
    """Read one shape; None if it has no area."""
    drawn = _draw(shape, unread)
    if drawn is None:
        return None
    flags = shape.get("flags") or {}
    is_crowd = any(is_true(flags.get(name)) for name in ("iscrowd", "is_crowd", "crowd"))
    label = str(shape.get("label") or "").strip()
    return ShapeRow(where, label, (drawn,), is_crowd)


def _draw(shape: Fields, unread: UnreadCounts) -> Shape | None:
    points = shape["points"]
    ring = [float(number) for point in points for number in point]
    match shape.get("shape_type") or "polygon":
        case "polygon" | "oriented_rectangle" | "rotation":  # the last one of X-AnyLabeling
            return PolygonShape((ring,))
        case "rectangle":
            if len(points) > 2:  # version 3 wrote its four corners
                return PolygonShape((ring,), is_box=True)
            x0, y0, x1, y1 = _two_points(ring)
            return box_outline(x0, y0, x1, y1)
        case "circle":
            x, y, edge_x, edge_y = _two_points(ring)
            radius = math.hypot(edge_x - x, edge_y - y)
            return Ellipse(x, y, radius, radius)
        case "mask":
            text = shape["mask"]
            left, top = int(ring[0]), int(ring[1])
            return Bitmap(lambda: _decode_mask(text), left, top)
        case kind:
            unread.shapes[str(kind)] += 1
            return None


def _two_points(ring: list[float]) -> list[float]:
    """Return the coordinates of two points; `ValueError` if there are more or fewer."""
    if len(ring) != _NUMBERS_OF_TWO_POINTS:
        raise ValueError(f"it has {len(ring) // 2} point(s); it needs two")
    return ring


def _decode_mask(text: object) -> Bool[np.ndarray, "h w"]:
    return decode_bitmap(decode_base64(text)) > 0


# --- Images -----------------------------------------------------------------------------------------------------------


def _image_path(file: Path, content: Fields, index: ImageIndex) -> Path:
    """Return where the image lies: as recorded, under the file's own name, or inside of the file."""
    recorded = str(content.get("imagePath") or "")
    path = index.find(recorded, file.parent) or index.find_stem(file.stem)
    if path is not None:
        return path
    if content.get("imageData"):
        return file / (Path(recorded.replace("\\", "/")).name or f"{file.stem}.png")
    return index.expected(recorded or f"{file.stem}.jpg")


def _read_embedded_image(image: ImageRecord) -> bytes:
    return decode_base64(read_json_file(image.path.parent)["imageData"])


def _recorded_hw(content: Fields) -> tuple[int, int] | None:
    """Return height and width as the file says; None if it does not, as version 3."""
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0:
        return height, width
    return None


# --- Layout -----------------------------------------------------------------------------------------------------------


def is_labelme(path: Path) -> bool:
    """Whether a path holds labelme's files, going by the text of the first of them."""
    return has_text_file(path, ".json", lambda text: all(key in text for key in _KEYS))


LABELME = Layout(
    kind="labelme",
    title="labelme folder",
    expects="a JSON file of shapes beside each photo",
    fits=lambda path: bool(find_part_folders(path, is_labelme)),
    splits=lambda path: sort_splits(named_parts(find_part_folders(path, is_labelme))),
    read=read_labelme,
)
