"""labelme (version 5 and later): a JSON file an image, which names the image by its path from there.

An object in one part is a polygon, in several parts a polygon each with one `group_id`; an object with holes is a mask.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.outlines import Outline, trace_outlines
from seem.annotation_formats.writer import WriterSettings, to_json

VERSION = "5.5.0"  # of the format: the first major version that has masks


class LabelmeWriter:
    """Writes a JSON file an image, at once."""

    def __init__(self, settings: WriterSettings) -> None:
        self.notes: list[str] = []
        self._settings = settings
        self._paths: list[Path] = []

    def add(self, image: AnnotatedImage) -> None:
        """Write the file of an image."""
        name = Path(f"{image.stem}.json")
        folder = self._settings.folder / name.parent
        if self._settings.copies_images:
            image_path = image.copy_to(self._settings.folder).name
        else:
            image_path = image.path_seen_from(folder)
        height, width = image.hw
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape for one in image.objects for shape in to_labelme_shapes(one)],
            "imagePath": image_path,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        texts = {name.name: to_json(content)}
        self._paths += self._settings.write_texts(name.parent.as_posix(), texts)

    def finish(self) -> tuple[Path, ...]:
        """Return the files, which are there."""
        return tuple(self._paths)


def to_labelme_shapes(one: AnnotatedObject) -> list[dict[str, Any]]:
    """Return the shapes of an object; none for an empty mask."""
    outlines = trace_outlines(one.mask)
    if any(outline.num_holes for outline in outlines):
        return [_mask_shape(one)]
    group = None
    if len(outlines) > 1:
        group = one.id
    return [_polygon_shape(one, outline, group) for outline in outlines]


def _polygon_shape(one: AnnotatedObject, outline: Outline, group: int | None) -> dict[str, Any]:
    return _shape(one, "polygon", outline.corners.tolist(), group, None)


def _mask_shape(one: AnnotatedObject) -> dict[str, Any]:
    """Return a mask: a PNG of its box, whose lower right corner is the last pixel inside."""
    x0, y0, x1, y1 = one.mask.box
    buffer = io.BytesIO()
    Image.fromarray(one.mask.crop()).save(buffer, format="PNG")
    png = base64.b64encode(buffer.getvalue()).decode("ascii")
    corners: list[list[float]] = [[x0, y0], [x1 - 1, y1 - 1]]
    return _shape(one, "mask", corners, None, png)


def _shape(
    one: AnnotatedObject,
    shape_type: str,
    points: list[list[float]],
    group: int | None,
    mask: str | None,
) -> dict[str, Any]:
    return {
        "label": one.class_name,
        "points": points,
        "group_id": group,
        "description": f"score {one.score:.3f}",
        "shape_type": shape_type,
        "flags": {},
        "mask": mask,
    }
