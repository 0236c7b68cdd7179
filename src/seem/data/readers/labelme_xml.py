"""LabelMe, the web tool of MIT, and what CVAT and Datumaro write for it: an XML file of objects for each image.

    Images/<folder>/a.jpg  Annotations/<folder>/a.xml  Masks/<folder>/a_mask_0.png
    a.jpg  a.xml                                                      or side by side

Folders of annotations that are called train, val, test or the like are the parts, with the folders in them. A deleted
object is none, a part of an object of the same name belongs to it. (The desktop tool labelme writes JSON:
see `labelme.py`.)
"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import suppress
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
from jaxtyping import Bool

from seem.data.dataset import ALL_SPLIT
from seem.data.image_files import existing_files, first_file, path_inside
from seem.data.layout import Layout, incomplete_layout_error, sort_splits, standard_split
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
from seem.data.readers.shapes import FullBitmap, PolygonShape, Shape, decode_bitmap
from seem.data.readers.tool_files import (
    ImageIndex,
    has_text_file,
    home_of,
    list_text_files,
    read_xml_file,
    text_sample,
)
from seem.data.records import DataError, Flaw, FlawKind

_NUMBERS_OF_BOX = 8  # four corners
_MAX_DEPTH = 5  # folders from an annotation up to that of the set


def read_labelme_xml(path: Path, split: str) -> LazyDataset:
    """Open one part of a LabelMe folder."""
    parts = _find_parts(path)
    if split not in parts:
        raise incomplete_layout_error("LabelMe folder", path, "XML files with objects and polygons")
    index = ImageIndex(_home_of(path))
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    mask_files: list[Path] = []
    for file in parts[split]:
        results.append(read_or_flaw(file.name, _read_file, file, index, unread, mask_files))
    files = (*parts[split], *mask_files)
    return open_shape_set(path, split, "labelme_xml", results, unread=unread, files=files)


def _read_file(
    file: Path, index: ImageIndex, unread: UnreadCounts, mask_files: list[Path]
) -> ShapeImage:
    """Read the objects of an image; the files of their masks are added to `mask_files`."""
    root = read_xml_file(file)
    folder = _text(root, "folder")
    name = _text(root, "filename") or f"{file.stem}.jpg"
    path = index.find(f"Images/{folder}/{name}") or index.find(f"{folder}/{name}")
    path = path or index.find(name, file.parent) or index.expected(name)
    objects = [element for element in root.iterfind("object") if _text(element, "deleted") != "1"]
    names = {}
    for element in objects:
        names[_text(element, "id")] = _text(element, "name")
    rows: list[tuple[Hashable, ShapeRow | Flaw]] = []
    for number, element in enumerate(objects, 1):
        where = f"{file.name}, object {_text(element, 'id') or number}"
        row = read_or_flaw(where, _read_object, element, where, file, folder, unread)
        if row is not None:
            rows.append((_owner_of(element, names), row))
    with suppress(DataError):  # a name that leads out of the set, which is the flaw of its object
        for element in root.iterfind("object/segm/mask"):
            mask_files += existing_files(_mask_candidates(element.text or "", file, folder))
    return ShapeImage(path, _recorded_hw(root), join_groups(rows))


def _owner_of(element: Element, names: dict[str, str]) -> Hashable:
    """Return the id of the object that an element is, or is a part of; parts of another name are objects themselves."""
    own, owner = _text(element, "id"), _text(element, "parts/ispartof")
    is_part = bool(owner) and names.get(owner) == _text(element, "name")
    if is_part:
        return owner
    return own or None


def _read_object(
    element: Element, where: str, file: Path, folder: str, unread: UnreadCounts
) -> ShapeRow | None:
    drawn = _draw(element, file, folder, unread)
    if drawn is None:
        return None
    if _text(element, "occluded") == "yes":
        unread.attributes["occluded"] += 1
    is_crowd = _read_attributes(_text(element, "attributes"), unread)
    return ShapeRow(where, _text(element, "name"), (drawn,), is_crowd)


def _read_attributes(text: str, unread: UnreadCounts) -> bool:
    """Return whether an object is a crowd; its other attributes are counted."""
    is_crowd = False
    for attribute in text.split(","):
        name, _, value = attribute.strip().partition("=")
        if name == "is_crowd":
            is_crowd = is_true(value)
        elif name:
            unread.attributes[name] += 1
    return is_crowd


def _draw(element: Element, file: Path, folder: str, unread: UnreadCounts) -> Shape | None:
    """Return the shape of an object; None if it has no area."""
    polygon = element.find("polygon")
    if polygon is not None:
        ring = []
        for point in polygon.iterfind("pt"):
            ring += [float(_text(point, "x")), float(_text(point, "y"))]
        is_box = _text(element, "type") == "bounding_box" and len(ring) == _NUMBERS_OF_BOX
        return PolygonShape((ring,), is_box=is_box)
    name = _text(element, "segm/mask")
    if name:
        return FullBitmap(lambda: _read_mask(name, file, folder))
    unread.shapes["objects without an outline"] += 1
    return None


def _read_mask(name: str, file: Path, folder: str) -> Bool[np.ndarray, "h w"]:
    """Read the file of a mask, from the folder of masks or beside its annotation."""
    path = first_file(*_mask_candidates(name, file, folder))
    if path is None:
        raise DataError(f"its mask {name} is missing", FlawKind.MISSING_MASK_FILE)
    return np.asarray(decode_bitmap(path.read_bytes()) > 0)


def _mask_candidates(name: str, file: Path, folder: str) -> list[Path]:
    """Return where a mask may be; `DataError` if its name leads out of the set."""
    candidates = []
    for parent in list(file.parents)[:_MAX_DEPTH]:
        candidates.append(path_inside(parent, f"Masks/{folder}/{name}"))
    candidates.append(path_inside(file.parent, name))
    candidates.append(path_inside(file.parent, f"Masks/{name}"))
    return candidates


def _recorded_hw(root: Element) -> tuple[int, int] | None:
    height, width = _text(root, "imagesize/nrows"), _text(root, "imagesize/ncols")
    if not height or not width:
        return None
    return int(height), int(width)


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


# --- Layout -----------------------------------------------------------------------------------------------------------


def _home_of(path: Path) -> Path:
    """Return the folder that holds the images too, if only a file or the folder of annotations is given."""
    folder = home_of(path)
    if folder.name == "Annotations":
        return folder.parent
    if folder.parent.name == "Annotations":
        return folder.parent.parent
    return folder


def _find_parts(path: Path) -> dict[str, list[Path]]:
    own = list_text_files(path, ".xml", _looks_like_labelme)
    if path.is_file() and _looks_like_labelme(text_sample(path)):
        own = [path]
    parts: dict[str, list[Path]] = {}
    for file in own:
        parts.setdefault(_part_of(file, path), []).append(file)
    if own and not all(map(standard_split, parts)):
        return {ALL_SPLIT: own}
    return parts


def _part_of(file: Path, path: Path) -> str:
    """Return the first folder of a file, from the set down, that is called like a part; else its own folder."""
    folders = file.relative_to(path).parts[:-1] if path.is_dir() else ()
    return next(filter(standard_split, folders), file.parent.name)


def _looks_like_labelme(text: bytes) -> bool:
    """Whether an XML file is LabelMe's; Pascal VOC's detection files have the same root, but boxes called bndbox."""
    is_annotation = b"<annotation>" in text and b"<filename>" in text and b"<bndbox>" not in text
    has_objects = b"<pt>" in text or b"<segm>" in text
    return is_annotation and (has_objects or b"<sourceAnnotation>" in text)


LABELME_XML = Layout(
    kind="labelme_xml",
    title="LabelMe folder (XML)",
    expects="Annotations/<folder>/*.xml and Images/<folder>/, or both side by side",
    fits=lambda path: has_text_file(path, ".xml", _looks_like_labelme),
    splits=lambda path: sort_splits(_find_parts(path).keys() - {ALL_SPLIT}),
    read=read_labelme_xml,
)
