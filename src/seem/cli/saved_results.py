"""Saved results of images, read back for data sets: those of an interrupted call count as well as new ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from seem.annotation_formats.annotated_image import AnnotatedImage, AnnotatedObject
from seem.cli.image_files import ImageJob
from seem.coco_format import UNLABELLED, CocoCategory
from seem.data.coco_rle import parse_rle, rle_to_mask
from seem.errors import SeemError
from seem.images import read_image
from seem.mask_codec import PackedMask


def read_annotated_image(job: ImageJob) -> AnnotatedImage:
    """Return what the JSON file of an image says, as writers of annotation files take it.

    Raises `OSError` for a file that cannot be read, `SeemError` for one that `Results.save` did not write.
    """
    content = job.record_file.read_bytes()
    try:
        return _to_annotated_image(job, json.loads(content))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SeemError(
            f"{job.record_file} holds no result ({type(error).__name__}: {error}); remove it, and --resume makes it "
            "anew."
        ) from error


def _to_annotated_image(job: ImageJob, record: Mapping[str, Any]) -> AnnotatedImage:
    image, origin = record["images"][0], record["seem"]
    hw = (int(image["height"]), int(image["width"]))
    return AnnotatedImage(
        file_name=job.file_name,
        stem=job.name.as_posix(),
        hw=hw,
        objects=[_to_object(annotation, hw) for annotation in record["annotations"]],
        classes=[_to_category(row) for row in record["categories"] if row["id"]],
        draw=lambda: read_image(job.image.open()).rgb,
        file=job.image.file,
        orientation=int(origin["orientation"]),
        model=str(origin["model"]),
    )


def _to_object(annotation: Mapping[str, Any], hw: tuple[int, int]) -> AnnotatedObject:
    mask = rle_to_mask(parse_rle(annotation["segmentation"], hw).counts, hw)
    return AnnotatedObject(
        id=int(annotation["id"]),
        mask=PackedMask.pack(mask, hw),
        class_name=annotation["label"] or UNLABELLED,
        score=float(annotation["score"]),
    )


def _to_category(row: Mapping[str, Any]) -> CocoCategory:
    return CocoCategory(
        id=int(row["id"]),
        name=str(row["name"]),
        isthing=int(row["isthing"]),
        color=list(row["color"]),
    )
