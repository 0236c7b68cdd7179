"""A result about a georeferenced image as a GeoTIFF of ids and as GeoJSON, both in the image's own reference system.

RFC 7946 would have longitude and latitude of WGS 84. The file's own system keeps polygons on the edges of its pixels;
a `crs` member names it, as GeoJSON had it before, which GDAL and QGIS read. `ogr2ogr -lco RFC7946=YES` converts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seem.adapters.raster import GeoReference, polygons_of, write_label_raster
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.geojson import FeatureDescription, polygons_geometry, to_feature
from seem.annotation_formats.writer import to_json
from seem.coco_format import CocoCategory
from seem.mask_codec import PackedMask
from seem.rasterize import PixelBox

RASTER_SUFFIX = "segments.tif"
GEOJSON_SUFFIX = "geojson"
WGS84 = "EPSG:4326"  # whose longitude and latitude need no name in GeoJSON
MAX_UINT16 = 65535

FileWriters: TypeAlias = "dict[str, Callable[[Path], None]]"


def map_files(
    stem: str,
    hw: tuple[int, int],
    read: Callable[[PixelBox], NDArray[np.int32]],
    segments: Sequence[FeatureDescription],
    categories: Iterable[CocoCategory],
    georeference: GeoReference,
) -> FileWriters:
    """Return how the files of a map of ids are written; `read` returns the ids of a window."""
    classes = ClassTable()
    classes.add_all(categories)
    written: list[Path] = []

    def write_raster(path: Path) -> None:
        write_label_raster(path, hw, read, id_dtype(one.id for one in segments), georeference)
        written.append(path)

    def write_polygons(path: Path) -> None:
        polygons: dict[int, list[Any]] = {}
        for number, rings in polygons_of(written[0]):
            polygons.setdefault(number, []).append(wound(rings))
        features = []
        for one in segments:
            geometry = polygons_geometry(polygons.get(one.id, []))
            features.append(to_feature(one, geometry, classes))
        collection = {"type": "FeatureCollection", "features": features}
        write_collection(path, collection, georeference)

    return {f"{stem}.{RASTER_SUFFIX}": write_raster, f"{stem}.{GEOJSON_SUFFIX}": write_polygons}


def object_files(
    stem: str,
    hw: tuple[int, int],
    objects: Iterable[tuple[int, PackedMask]],
    make_collection: Callable[[], Mapping[str, Any]],
    georeference: GeoReference,
) -> FileWriters:
    """Return how the files of masks with ids are written; in the GeoTIFF smaller ones lie on larger ones."""
    by_area = sorted(objects, key=lambda one: -one[1].area)

    def write_raster(path: Path) -> None:
        dtype = id_dtype(number for number, _ in by_area)
        write_label_raster(path, hw, lambda box: drawn_ids(box, by_area), dtype, georeference)

    def write_polygons(path: Path) -> None:
        write_collection(path, make_collection(), georeference)

    return {f"{stem}.{RASTER_SUFFIX}": write_raster, f"{stem}.{GEOJSON_SUFFIX}": write_polygons}


def write_collection(path: Path, collection: Mapping[str, Any], georeference: GeoReference) -> None:
    """Write a FeatureCollection that names its reference system."""
    path.write_text(to_json({**crs_member(georeference), **collection}), encoding="utf-8")


def crs_member(georeference: GeoReference) -> dict[str, Any]:
    """Return the member that names a reference system; nothing for WGS 84 and for one without a number."""
    code = georeference.authority_code
    if code is None or code == WGS84:
        return {}
    name = f"urn:ogc:def:crs:{code.replace(':', '::')}"
    return {"crs": {"type": "name", "properties": {"name": name}}}


def id_dtype(ids: Iterable[int]) -> str:
    """Return the smallest type of numbers that GIS programs read and that holds all ids."""
    return "uint16" if max(ids, default=0) <= MAX_UINT16 else "int32"


def drawn_ids(box: PixelBox, objects: Iterable[tuple[int, PackedMask]]) -> NDArray[np.int32]:
    """Draw masks into a window of the image one after the other, each with its id; 0 where there is none."""
    x0, y0, x1, y1 = box
    ids = np.zeros((y1 - y0, x1 - x0), dtype=np.int32)
    for number, mask in objects:
        u0, v0, u1, v1 = mask.box
        left, top, right, bottom = max(x0, u0), max(y0, v0), min(x1, u1), min(y1, v1)
        if left < right and top < bottom:
            part = mask.crop()[top - v0 : bottom - v0, left - u0 : right - u0]
            ids[top - y0 : bottom - y0, left - x0 : right - x0][part] = number
    return ids


def wound(rings: Sequence[Sequence[Sequence[float]]]) -> list[list[list[float]]]:
    """Return the closed rings of a polygon, the exterior counterclockwise and holes clockwise."""
    ordered = []
    for index, ring in enumerate(rings):
        corners = [list(corner) for corner in ring]
        is_counterclockwise = _signed_area(corners) > 0
        ordered.append(corners if is_counterclockwise == (index == 0) else corners[::-1])
    return ordered


def _signed_area(corners: Sequence[Sequence[float]]) -> float:
    x, y = (np.array(corners) - np.array(corners[0])).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
