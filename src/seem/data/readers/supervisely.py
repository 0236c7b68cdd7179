"""Supervisely: a project folder.

    meta.json  ds0/img/a.jpg  ds0/ann/a.jpg.json          ds0 is a data set of the project; there may be several
    ds0/datasets/sub/img ...                              a data set may hold others

Data sets that are called train, val, test or the like are the parts; otherwise all of them are one. The files hold
whole pixels: corners of a polygon are pixels that belong to it, and so are the last column and row of a rectangle.
Coordinates with a fraction, as the labeling tool itself has them, run along the edges of pixels. Bitmaps lie at their
origin; of alpha masks the pixels that are at least half opaque count.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer

from seem.data.coco_rle import RleMask
from seem.data.dataset import ALL_SPLIT
from seem.data.image_files import existing_files
from seem.data.layout import Layout, incomplete_layout_error, sort_splits, standard_split
from seem.data.lazy_dataset import LazyDataset
from seem.data.mask_pixels import HALF
from seem.data.polygons import check_polygon
from seem.data.readers.shape_sets import (
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    join_groups,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import (
    MAX_BITMAP_PIXELS,
    Bitmap,
    PolygonShape,
    Ring,
    Shape,
    box_outline,
    crop_to_rle,
    decode_base64,
    decode_bitmap,
    rotated_outline,
)
from seem.data.readers.tool_files import Fields, ImageIndex, list_files, read_json_file, text_sample
from seem.data.records import Flaw
from seem.rasterize import inside_polygon

_MAX_PNG_BYTES = 8 * MAX_BITMAP_PIXELS
_FOLDERS_OF_ANNOTATIONS = ("ann", "*/ann", "**/datasets/*/ann")


def read_supervisely(path: Path, split: str) -> LazyDataset:
    """Open one part of a Supervisely project."""
    parts = _find_parts(path)
    meta_file = path / "meta.json"
    if split not in parts:
        raise incomplete_layout_error("Supervisely project", path, "meta.json and <data set>/ann/")
    class_names = []
    if meta_file.is_file():
        classes = read_json_file(meta_file).get("classes", [])
        class_names = [str(row["title"]) for row in classes]
    index = ImageIndex(path)
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    files = list(chain.from_iterable(list_files(folder, ".json") for folder in parts[split]))
    for file in files:
        where = file.relative_to(path).as_posix()
        results.append(read_or_flaw(where, _read_file, file, index, unread))
    return open_shape_set(
        path,
        split,
        "supervisely",
        results,
        class_names=class_names,
        unread=unread,
        files=(*files, *existing_files([meta_file])),
    )


def _read_file(file: Path, index: ImageIndex, unread: UnreadCounts) -> ShapeImage:
    content = read_json_file(file)
    size = content["size"]
    unread.others["tags of whole photos"] += len(content.get("tags") or ())
    rows: list[tuple[Hashable, ShapeRow | Flaw]] = []
    for number, figure in enumerate(content["objects"], 1):
        where = f"{file.name}, object {number}"
        row = read_or_flaw(where, _read_figure, figure, where, unread)
        if row is not None:
            rows.append((_instance_of(figure), row))
    hw = int(size["height"]), int(size["width"])
    return ShapeImage(_image_path(file, index), hw, join_groups(rows))


def _instance_of(figure: Fields) -> Hashable:
    """Return what the figures of one object share; None for one that is an object by itself."""
    instance = figure.get("instance")
    if instance is None:
        return None
    return figure.get("classTitle"), instance


def _read_figure(figure: Fields, where: str, unread: UnreadCounts) -> ShapeRow | None:
    drawn = _draw(figure, unread)
    if not drawn:
        return None
    for tag in figure.get("tags") or ():
        unread.attributes[str(tag.get("name"))] += 1
    return ShapeRow(where, str(figure.get("classTitle") or ""), drawn)


def _draw(figure: Fields, unread: UnreadCounts) -> tuple[Shape, ...]:
    """Return the shapes of a figure; none if it has no area."""
    match figure.get("geometryType"):
        case "polygon":
            return (_polygon(figure["points"]),)
        case "multipolygon":
            return tuple(_polygon(part) for part in figure["parts"])
        case "rectangle":
            return (box_outline(*_rectangle_corners(figure)),)
        case "oriented_bbox":
            x0, y0, x1, y1 = _rectangle_corners(figure)
            degrees = math.degrees(figure.get("angle") or 0.0)
            centre = (x0 + x1) / 2, (y0 + y1) / 2
            return (rotated_outline(x0, y0, x1 - x0, y1 - y0, degrees, centre),)
        case "bitmap" | "alpha_mask" as kind:
            return (_bitmap(figure["bitmap"], HALF if kind == "alpha_mask" else 1),)
        case kind:
            unread.shapes[str(kind)] += 1
            return ()


def _bitmap(bitmap: Fields, threshold: int) -> Bitmap:
    """Return the pixels of a bitmap from a value on."""
    left, top = map(int, bitmap["origin"])
    return Bitmap(lambda: _decode_data(bitmap["data"]) >= threshold, left, top)


# --- Outlines ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PixelPolygon:
    """A polygon between the centres of pixels, which belong to it; those of the outlines of holes do not."""

    exterior: Ring
    interiors: tuple[Ring, ...] = ()

    def to_rle(self, hw: tuple[int, int]) -> RleMask:
        """Fill the polygon, its outline included."""
        mask = _fill_with_outline(self.exterior, hw)
        for ring in self.interiors:
            mask &= ~_fill_with_outline(ring, hw)
        return crop_to_rle(mask, 0, 0, hw)

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The outlines, exterior first."""
        return (self.exterior, *self.interiors)


def _fill_with_outline(ring: Ring, hw: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    check_polygon(ring)
    height, width = hw
    low, high = (-width, -height), (2 * width, 2 * height)
    corners = np.reshape(ring, (-1, 2)).clip(low, high) + 0.5
    ends = np.roll(corners, -1, axis=0)
    segments = np.stack([corners, ends], axis=1)
    columns = np.arange(width, dtype=np.float64) + 0.5
    rows = np.arange(height, dtype=np.float64) + 0.5
    return inside_polygon(segments, columns[None, :], rows[:, None])


def _polygon(points: Fields) -> Shape:
    exterior = _flat(points["exterior"])
    interiors = tuple(map(_flat, points.get("interior") or ()))
    if all(map(_has_whole_numbers, (exterior, *interiors))):
        return PixelPolygon(exterior, interiors)
    return PolygonShape((exterior, *interiors))


def _has_whole_numbers(ring: Sequence[float]) -> bool:
    return all(float(number).is_integer() for number in ring)


def _rectangle_corners(figure: Fields) -> tuple[float, float, float, float]:
    """Return the corners of a rectangle along the edges of pixels; a turned one has its corners without exterior."""
    points = figure["points"]
    if isinstance(points, Mapping):
        points = points["exterior"]
    xs, ys = zip(*points, strict=True)
    x0, x1 = sorted(xs)
    y0, y1 = sorted(ys)
    if _has_whole_numbers((x0, y0, x1, y1)):
        return x0, y0, x1 + 1, y1 + 1
    return x0, y0, x1, y1


def _flat(points: Sequence[Sequence[float]]) -> list[float]:
    return list(map(float, chain.from_iterable(points)))


def _decode_data(text: object) -> Integer[np.ndarray, "h w"]:
    """Decode a bitmap: base64 of a PNG, compressed or not."""
    content = decode_base64(text)
    if not content.startswith(b"\x89PNG"):
        try:
            content = zlib.decompressobj().decompress(content, _MAX_PNG_BYTES)
        except zlib.error as error:
            raise ValueError(f"its bitmap cannot be decompressed ({error})") from error
    return decode_bitmap(content)


# --- Files ------------------------------------------------------------------------------------------------------------


def _image_path(file: Path, index: ImageIndex) -> Path:
    """Return the image of an annotation file: img/a.jpg of ann/a.jpg.json, or of ann/a.json."""
    folder = file.parent.parent / "img"
    recorded = (folder / file.stem).relative_to(index.root).as_posix()
    return index.find(recorded) or index.find_stem(recorded) or folder / file.stem


def _find_parts(path: Path) -> dict[str, list[Path]]:
    """Return the folders of annotations of every part; one part called `ALL_SPLIT` if data sets are not called so."""
    if not path.is_dir():
        return {}
    listed = chain.from_iterable(map(path.glob, _FOLDERS_OF_ANNOTATIONS))
    folders = sorted(filter(_is_folder_of_annotations, listed))
    parts: dict[str, list[Path]] = {}
    for folder in folders:
        parts.setdefault(folder.parent.name, []).append(folder)
    if folders and not all(map(standard_split, parts)):
        return {ALL_SPLIT: folders}
    return parts


def _is_folder_of_annotations(folder: Path) -> bool:
    return (folder.parent / "img").is_dir() or _has_annotation(folder)


def _has_annotation(folder: Path) -> bool:
    return any(b'"objects"' in text_sample(file) for file in list_files(folder, ".json")[:1])


SUPERVISELY = Layout(
    kind="supervisely",
    title="Supervisely project",
    expects="meta.json, <data set>/img/ and <data set>/ann/",
    fits=lambda path: bool(_find_parts(path)),
    splits=lambda path: sort_splits(_find_parts(path).keys() - {ALL_SPLIT}),
    read=read_supervisely,
)
