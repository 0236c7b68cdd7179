"""COCO's panoptic format, by the rules that panopticapi checks: an RGB map an image, and one JSON file.

    annotations/panoptic_all.json     images, annotations (file_name, segments_info), categories with isthing
    annotations/panoptic_all/a.png    the id of the segment at each pixel, id = R + 256 G + 65536 B, 0 for none
    images/                           copies of the images, if that was asked for

A pixel belongs to one segment: where masks overlap, to that of the highest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.annotation_formats.coco_ids import is_stored_frame
from seem.annotation_formats.coco_instances import unturned
from seem.annotation_formats.writer import WriterSettings, to_json
from seem.coco_format import to_panoptic_png, to_xywh
from seem.mask_codec import PackedMask
from seem.writing import png_writer

NAME = "annotations/panoptic_all"


class CocoPanopticWriter:
    """Writes panoptic maps and their segments."""

    def __init__(self, settings: WriterSettings) -> None:
        self._settings = settings
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._num_contested = 0

    @property
    def notes(self) -> list[str]:
        """What a given file of ids does not have, and how many pixels several masks shared."""
        notes = list(self._settings.ids.notes)
        if self._num_contested:
            notes.append(
                f"coco-panoptic: {self._num_contested} pixels were in several masks; "
                "the one of the highest score has them."
            )
        return notes

    def add(self, image: AnnotatedImage) -> None:
        """Write the map of an image."""
        row = self._settings.ids.image_row(image)
        if row is None:
            return
        category_ids = {
            one.id: self._settings.ids.category_id(one.class_name) for one in image.objects
        }
        known = [one for one in image.objects if category_ids[one.id] is not None]
        ids, num_contested = flat_map(known, image.hw)
        self._num_contested += num_contested
        if is_stored_frame(row, image):
            ids = unturned(ids, image.orientation)
        if self._settings.copies_images:
            image.copy_to(self._settings.folder / "images")
            row = {**row, "file_name": image.copy_name}
        name = Path(f"{image.stem}.png")
        self._settings.write(
            f"{NAME}/{name.parent.as_posix()}",
            {name.name: png_writer(lambda: to_panoptic_png(ids))},
        )
        self._images.append(dict(row))
        self._annotations.append(
            {
                "image_id": row["id"],
                "file_name": name.as_posix(),
                "segments_info": [
                    _segment_row(one.id, ids, category_ids[one.id])
                    for one in known
                    if (ids == one.id).any()
                ],
            }
        )

    def finish(self) -> tuple[Path, ...]:
        """Write the JSON file."""
        content = {
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"isthing": 1, **row} for row in self._settings.ids.categories],
        }
        folder, name = NAME.split("/")
        return self._settings.write_texts(folder, {f"{name}.json": to_json(content)})


def _segment_row(number: int, ids: NDArray[np.int32], category_id: int | None) -> dict[str, Any]:
    mask = PackedMask.pack(ids == number, ids.shape)
    return {
        "id": number,
        "category_id": category_id,
        "area": mask.area,
        "bbox": to_xywh(mask.box),
        "iscrowd": 0,
    }


def flat_map(
    objects: Sequence[AnnotatedObject], hw: tuple[int, int]
) -> tuple[NDArray[np.int32], int]:
    """Return (H, W) with the id of the object at each pixel, 0 for none, and how many pixels several masks have.

    Of several masks the one of the highest score has a pixel.
    """
    ids = np.zeros(hw, dtype=np.int32)
    num_contested = 0
    for one in sorted(objects, key=lambda each: -each.score):
        window, mask = ids[one.mask.window], one.mask.crop()
        num_contested += int(np.count_nonzero(window[mask]))
        window[mask & (window == 0)] = one.id
    return ids, num_contested
