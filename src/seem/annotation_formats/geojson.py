"""GeoJSON (RFC 7946): a FeatureCollection an image, an object a Feature with its polygons and their holes.

Without a transform the coordinates are pixels of the image as shown, x to the right and y down, corners of pixels whole
numbers, as viewers of large images have them; the class is a `classification` with its colour, as in QuPath's files.
With the transform of a georeferenced image they are in its reference system; RFC 7946 means WGS 84 unless readers agree
otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.classes import ClassTable
from seem.annotation_formats.outlines import PolygonWithHoles, trace_polygons
from seem.annotation_formats.writer import WriterSettings, to_json
from seem.mask_codec import PackedMask

GeoTransform: TypeAlias = Sequence[float]
"""(a, b, c, d, e, f): x = a column + b row + c, y = d column + e row + f, as rasterio's `Affine` begins."""

PIXELS: GeoTransform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
NUM_COEFFICIENTS = 6


class GeoJsonWriter:
    """Writes a file an image, at once."""

    def __init__(self, settings: WriterSettings) -> None:
        self.notes: list[str] = []
        self._settings = settings
        self._classes = ClassTable()
        self._paths: list[Path] = []

    def add(self, image: AnnotatedImage) -> None:
        """Write the file of an image."""
        self._classes.add_all(image.classes)
        content = to_feature_collection(image.objects, self._classes)
        if self._settings.copies_images:
            image.copy_to(self._settings.folder)
        name = Path(f"{image.stem}.geojson")
        texts = {name.name: to_json(content)}
        self._paths += self._settings.write_texts(name.parent.as_posix(), texts)

    def finish(self) -> tuple[Path, ...]:
        """Return the files, which are there."""
        return tuple(self._paths)


def to_feature_collection(
    objects: Iterable[AnnotatedObject], classes: ClassTable, transform: GeoTransform = PIXELS
) -> dict[str, Any]:
    """Return objects as a FeatureCollection; classes have the colours of a table."""
    features = []
    for one in objects:
        description = FeatureDescription(one.id, one.class_name, one.score, one.mask.area)
        features.append(to_feature(description, to_geometry(one.mask, transform), classes))
    return {"type": "FeatureCollection", "features": features}


@dataclass(frozen=True, slots=True)
class FeatureDescription:
    """What a Feature says about an object beside its geometry; `area` is in pixels."""

    id: int
    class_name: str
    score: float
    area: int


def to_feature(
    one: FeatureDescription, geometry: dict[str, Any] | None, classes: ClassTable
) -> dict[str, Any]:
    """Return an object as a Feature; the geometry of an empty mask is null."""
    return {
        "type": "Feature",
        "id": one.id,
        "geometry": geometry,
        "properties": {
            "objectType": "annotation",
            "classification": {
                "name": one.class_name,
                "color": list(classes.named(one.class_name)["color"]),
            },
            "score": round(one.score, 6),
            "area_pixels": one.area,
        },
    }


def polygons_geometry(polygons: list[Any]) -> dict[str, Any] | None:
    """Return polygons, each a list of rings, as a Polygon or a MultiPolygon; None for none."""
    if not polygons:
        return None
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def to_geometry(mask: PackedMask, transform: GeoTransform = PIXELS) -> dict[str, Any] | None:
    """Return a mask as a Polygon or a MultiPolygon, None for an empty one."""
    return polygons_geometry([_rings(polygon, transform) for polygon in trace_polygons(mask)])


def checked_transform(transform: Sequence[float]) -> GeoTransform:
    """Return the six coefficients of a transform, also of one that has a last row (0, 0, 1).

    Raises `ValueError` for another number of values, values that are not finite, and a transform that is flat.
    """
    values = [float(value) for value in transform]
    if values[NUM_COEFFICIENTS:] not in ([], [0.0, 0.0, 1.0]):
        raise ValueError(_transform_message(transform, "it has six values: a, b, c, d, e, f"))
    if len(values) < NUM_COEFFICIENTS or not all(map(math.isfinite, values)):
        raise ValueError(
            _transform_message(transform, "it has six finite values: a, b, c, d, e, f")
        )
    a, b, _, d, e, _ = values[:NUM_COEFFICIENTS]
    if a * e == b * d:
        raise ValueError(_transform_message(transform, "it maps every image to a line"))
    return tuple(values[:NUM_COEFFICIENTS])


def _transform_message(transform: Sequence[float], fault: str) -> str:
    return f"transform is {tuple(transform)}; {fault} (x = a column + b row + c, y = d column + e row + f)."


def _rings(polygon: PolygonWithHoles, transform: GeoTransform) -> list[list[list[float]]]:
    """Return the rings of a polygon, the exterior first and counterclockwise, holes clockwise, each closed."""
    a, b, _, d, e, _ = transform
    is_mirrored = a * e < b * d
    rings = []
    for ring in (polygon.exterior, *polygon.holes):
        corners = _transformed(ring, transform)
        if is_mirrored:
            corners = corners[::-1]
        rings.append([*corners.tolist(), corners[0].tolist()])
    return rings


def _transformed(ring: NDArray[np.float64], transform: GeoTransform) -> NDArray[np.float64]:
    a, b, c, d, e, f = transform
    columns, rows = ring.T
    x = a * columns + b * rows + c
    y = d * columns + e * rows + f
    return np.stack([x, y], axis=1)
