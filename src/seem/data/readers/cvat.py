"""CVAT for images 1.1: one XML file of shapes, or one a part.

    annotations.xml  images/a.jpg  images/train/b.jpg
    train.xml  val.xml  images/train/a.jpg           one file a part

Parts are the `subset` of the images; those without one are in a part called like their file, as all are if no image has
one and there are several files. A rotated box turns clockwise
about its centre. A mask counts its pixels row by row inside of its box. Shapes of one label and one group are one
object, as in what CVAT itself exports to COCO. Polylines, points, cuboids and skeletons have no area and are not read.
"""

from __future__ import annotations

import html
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from seem.data.dataset import ALL_SPLIT
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.shape_sets import (
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    is_true,
    join_groups,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import (
    Bitmap,
    Ellipse,
    PolygonShape,
    Shape,
    rotated_outline,
    row_major_runs_to_mask,
)
from seem.data.readers.tool_files import ImageIndex, has_text_file, list_files, read_xml_file
from seem.data.records import DataError, Flaw
from seem.data.text_files import TextFile

_IMAGE_TAG = re.compile(r"<image\s[^>]*>")
_SUBSET = re.compile(r"\bsubset=(?:\"([^\"]*)\"|'([^']*)')")
_UNDIVIDED = ("annotations", "default", "")


def read_cvat(path: Path, split: str) -> LazyDataset:
    """Open one part of a CVAT export."""
    parts = _find_parts(path)
    if split not in parts:
        raise incomplete_layout_error("CVAT export", path, "annotations.xml with images and shapes")
    files = parts[split]
    index = ImageIndex(path)
    class_names: dict[str, None] = {}
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    for file in files:
        root = read_xml_file(file)
        if root.find("track") is not None and root.find("image") is None:
            raise DataError(
                f"{file} is CVAT for video, whose shapes move; export CVAT for images 1.1 instead."
            )
        unread.others["tracks of videos"] += len(root.findall("track"))
        class_names.update(dict.fromkeys(_class_names(root)))
        for element in root.iter("image"):
            subset = element.get("subset", "").strip() or file.stem
            if split in (ALL_SPLIT, subset):
                where = f"{file.name}, image {element.get('name') or element.get('id')}"
                results.append(read_or_flaw(where, _read_image, element, index, unread))
    return open_shape_set(
        path,
        split,
        "cvat",
        results,
        class_names=list(class_names),
        unread=unread,
        files=files,
    )


def _class_names(root: Element) -> list[str]:
    """Return the labels that the file lists, without the joints of skeletons."""
    names = []
    for label in root.iterfind(".//labels/label"):
        if label.find("parent") is None:
            names.append((label.findtext("name") or "").strip())
    return list(filter(None, names))


def _read_image(element: Element, index: ImageIndex, unread: UnreadCounts) -> ShapeImage:
    name, subset = element.get("name") or "", element.get("subset")
    path = index.find(f"{subset}/{name}") if subset else None
    path = path or index.find(name) or index.expected(name)
    rows: list[tuple[Hashable, ShapeRow | Flaw]] = []
    for number, shape in enumerate(element, 1):
        where = f"{name}, {shape.tag} {number}"
        row = read_or_flaw(where, _read_shape, shape, where, unread)
        if row is not None:
            rows.append((_group_of(shape), row))
    return ShapeImage(path, _recorded_hw(element), join_groups(rows))


def _group_of(shape: Element) -> Hashable:
    """Return what the shapes of one object share; None for one that is an object by itself."""
    group = shape.get("group_id", "0")
    if group == "0":
        return None
    return shape.get("label"), group


def _read_shape(shape: Element, where: str, unread: UnreadCounts) -> ShapeRow | None:
    """Read a shape; None if it has no area."""
    drawn = _draw(shape, unread)
    if drawn is None:
        return None
    label = (shape.get("label") or "").strip()
    return ShapeRow(where, label, (drawn,), _read_attributes(shape, unread))


def _draw(shape: Element, unread: UnreadCounts) -> Shape | None:
    """Return the shape of an element; None if it has no area."""
    match shape.tag:
        case "polygon":
            return PolygonShape((_points(shape),))
        case "box":
            x0, y0, x1, y1 = _numbers(shape, "xtl", "ytl", "xbr", "ybr")
            centre = (x0 + x1) / 2, (y0 + y1) / 2
            degrees = float(shape.get("rotation", "0"))
            return rotated_outline(x0, y0, x1 - x0, y1 - y0, degrees, centre)
        case "ellipse":
            x, y, rx, ry = _numbers(shape, "cx", "cy", "rx", "ry")
            return Ellipse(x, y, rx, ry, float(shape.get("rotation", "0")))
        case "mask":
            counts = [int(count) for count in shape.attrib["rle"].split(",")]
            numbers = _numbers(shape, "left", "top", "width", "height")
            left, top, width, height = map(int, numbers)
            return Bitmap(lambda: row_major_runs_to_mask(counts, width, height), left, top)
        case "tag":
            unread.others["tags of whole photos"] += 1
        case kind:
            unread.shapes[kind] += 1
    return None


def _points(shape: Element) -> list[float]:
    corners = shape.attrib["points"].replace(";", ",")
    return [float(number) for number in corners.split(",") if number.strip()]


def _numbers(shape: Element, *names: str) -> list[float]:
    return [float(shape.attrib[name]) for name in names]


def _read_attributes(shape: Element, unread: UnreadCounts) -> bool:
    """Return whether an object is a crowd; its other attributes are counted."""
    is_crowd = False
    if shape.get("occluded") == "1":
        unread.attributes["occluded"] += 1
    for attribute in shape.iterfind("attribute"):
        name = attribute.get("name", "")
        if name in ("is_crowd", "iscrowd"):
            is_crowd = is_true(attribute.text)
        else:
            unread.attributes[name] += 1
    return is_crowd


def _recorded_hw(element: Element) -> tuple[int, int] | None:
    height = int(element.get("height") or 0)
    width = int(element.get("width") or 0)
    if min(height, width) <= 0:
        return None
    return height, width


# --- Layout -----------------------------------------------------------------------------------------------------------


def _find_parts(path: Path) -> dict[str, Sequence[Path]]:
    """Return the files of every part; one part called `ALL_SPLIT` if nothing divides the set."""
    files = [path] if path.is_file() else list_files(path, ".xml")
    parts: dict[str, list[Path]] = {}
    for file in files:
        text = TextFile.read(file).text
        if not _looks_like_cvat(text.encode(errors="replace")):
            continue
        for subset in _subsets_of(text) or {file.stem}:
            parts.setdefault(subset or file.stem, []).append(file)
    if len(parts) == 1 and next(iter(parts)).lower() in _UNDIVIDED:
        return {ALL_SPLIT: next(iter(parts.values()))}
    return dict(parts)


def _subsets_of(text: str) -> set[str]:
    """Return the subsets of the images in an XML text; images without one are in the one with an empty name."""
    subsets = set()
    for tag in _IMAGE_TAG.findall(text):
        match = _SUBSET.search(tag)
        subset = "" if match is None else match[1] or match[2] or ""
        subsets.add(html.unescape(subset).strip())
    return subsets


def _looks_like_cvat(content: bytes) -> bool:
    return b"<annotations>" in content and (b"<image " in content or b"<track " in content)


CVAT = Layout(
    kind="cvat",
    title="CVAT for images",
    expects="annotations.xml (CVAT for images 1.1) and images/",
    fits=lambda path: has_text_file(path, ".xml", _looks_like_cvat),
    splits=lambda path: sort_splits(_find_parts(path).keys() - {ALL_SPLIT}),
    read=read_cvat,
)
