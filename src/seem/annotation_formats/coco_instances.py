"""COCO: one file of annotations for all images, and the list of results that `pycocotools.COCO.loadRes` reads.

    annotations/instances_all.json    images, annotations, categories, as ground truth has them; no object is a crowd
    results.json                      rows of image_id, category_id, segmentation, score
    images/                           copies of the images, if that was asked for

Results have no `bbox`: beside one, pycocotools takes the area of an object from its box, and with it the sizes small,
medium and large (`loadRes`, pycocotools 2.0.11); it computes the boxes itself from the masks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.coco_ids import ImageRow, is_stored_frame
from seem.annotation_formats.outlines import trace_outlines
from seem.annotation_formats.writer import WriterSettings, to_json
from seem.coco_format import packed_to_rle, to_xywh
from seem.images import apply_orientation
from seem.mask_codec import PackedMask
from seem.version import __version__

SCORE_DECIMALS = 6


class CocoWriter:
    """Writes run-length codes, or polygons that give the same masks."""

    def __init__(self, settings: WriterSettings, *, as_polygons: bool = False) -> None:
        self._settings = settings
        self._as_polygons = as_polygons
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._results: list[dict[str, Any]] = []

    @property
    def notes(self) -> list[str]:
        """What a given file of ids does not have."""
        return self._settings.ids.notes

    def add(self, image: AnnotatedImage) -> None:
        """Add the rows of an image; an image that a given file does not list has none."""
        row = self._settings.ids.image_row(image)
        if row is None:
            return
        if self._settings.copies_images:
            image.copy_to(self._settings.folder / "images")
            row = {**row, "file_name": image.copy_name}
        self._images.append(dict(row))
        for one in image.objects:
            category_id = self._settings.ids.category_id(one.class_name)
            if one.mask.area and category_id is not None:
                self._add_object(one, row["id"], category_id, mask_in_frame(one.mask, row, image))

    def finish(self) -> tuple[Path, ...]:
        """Write both files."""
        annotations = {
            "info": {"description": f"Written by Seem {__version__}"},
            "images": self._images,
            "annotations": self._annotations,
            "categories": list(self._settings.ids.categories),
        }
        texts = {"instances_all.json": to_json(annotations)}
        paths = self._settings.write_texts("annotations", texts)
        if self._as_polygons:
            return paths
        results = {"results.json": to_json(self._results)}
        return paths + self._settings.write_texts("", results)

    def _add_object(
        self, one: AnnotatedObject, image_id: Any, category_id: int, mask: PackedMask
    ) -> None:
        code = packed_to_rle(mask)
        score = round(one.score, SCORE_DECIMALS)
        self._annotations.append(
            {
                "id": len(self._annotations) + 1,
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": to_polygons(mask) if self._as_polygons else code,
                "bbox": to_xywh(mask.box),
                "area": mask.area,
                "iscrowd": 0,
                "score": score,
            }
        )
        self._results.append(
            {
                "image_id": image_id,
                "category_id": category_id,
                "segmentation": code,
                "score": score,
            }
        )


def to_polygons(mask: PackedMask) -> list[list[float]]:
    """Return polygons x, y, x, y, ..., one a part, which COCO's rule fills with the pixels of the mask."""
    return [outline.corners.ravel().tolist() for outline in trace_outlines(mask)]


def mask_in_frame(mask: PackedMask, row: ImageRow, image: AnnotatedImage) -> PackedMask:
    """Return the mask in the frame that an image's row describes: as shown, or as stored where its size says so."""
    if not is_stored_frame(row, image):
        return mask
    stored = unturned(mask.decode().view(np.uint8), image.orientation)
    return PackedMask.pack(stored.view(np.bool_), stored.shape)


def unturned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn pixels (H, W) of an image as shown back to the frame in which the file stores it."""
    return np.asarray(apply_orientation(Image.fromarray(pixels), orientation))
