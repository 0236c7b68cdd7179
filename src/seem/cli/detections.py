"""Boxes of a detector, read from a file in COCO's format: boxes by image, with classes and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError

LAYOUT = (
    "images with id and file_name, annotations with image_id, bbox (x, y, width, height) and category_id, and "
    "categories"
)


@dataclass(frozen=True, slots=True)
class ImageDetections:
    """The boxes of one image, in the columns that `segment_boxes` reads: xyxy, class ids from 0, scores 0-1."""

    xyxy: NDArray[np.float64]
    class_id: NDArray[np.int64]
    confidence: NDArray[np.float64] | None
    data: Mapping[str, list[str]]
    tracker_id: None = field(default=None)


def read_detections(path: Path) -> dict[str, ImageDetections]:
    """Read a COCO file (images, annotations with a bbox xywh, category_id and perhaps a score, categories).

    Returns the boxes by the image's file name without folders. Raises `SeemError` for a file that cannot be read,
    `ValueError` for another layout.
    """
    content = read_json(path)
    if isinstance(content, list):
        raise ValueError(
            f"{path} is a bare list of results, which names no photos; put it under annotations, beside images (id, "
            "file_name) and categories."
        )
    try:
        image_names = {row["id"]: Path(row["file_name"]).name for row in content["images"]}
        class_names = {row["id"]: str(row["name"]) for row in content.get("categories", ())}
        detections = {}
        for image_id, rows in group_by_image(content["annotations"], image_names).items():
            detections[image_names[image_id]] = image_detections(rows, class_names)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error)
        if isinstance(error, KeyError):
            reason += " is missing"
        raise ValueError(
            f"{path} is not laid out as COCO's detections are ({reason}); it needs {LAYOUT}."
        ) from None
    if len(detections) < len(image_names):
        names = list(image_names.values())
        repeated = next(name for name in detections if names.count(name) > 1)
        raise ValueError(
            f"{path} has several photos called {repeated}; give every photo a name of its own."
        )
    return detections


def read_json(path: Path) -> Any:
    """Read the JSON file of a detector."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SeemError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise ValueError(
            f"{path} is no JSON file ({error}); --boxes takes detections in COCO's format."
        ) from None


def group_by_image(
    annotations: Sequence[Any], image_names: Mapping[Any, str]
) -> dict[Any, list[Any]]:
    """Return the annotations of every image id; `ValueError` for an id that no image has."""
    rows_of: dict[Any, list[Any]] = {image_id: [] for image_id in image_names}
    for annotation in annotations:
        image_id = annotation["image_id"]
        if image_id not in rows_of:
            raise ValueError(f"image_id {image_id!r} is not among images")
        rows_of[image_id].append(annotation)
    return rows_of


def image_detections(rows: Sequence[Any], class_names: Mapping[int, str]) -> ImageDetections:
    """Put the annotations of an image into columns."""
    boxes = np.array(list(map(itemgetter("bbox"), rows)), dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]  # xywh to xyxy
    categories = np.array(list(map(itemgetter("category_id"), rows)), dtype=np.int64)
    return ImageDetections(
        xyxy=boxes,
        class_id=categories - 1,
        confidence=score_column(rows),
        data=name_column(categories.tolist(), class_names),
    )


def score_column(rows: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return the scores of annotations; None if there are no annotations, or some have no score."""
    scores = []
    for row in rows:
        if "score" not in row:
            return None
        scores.append(row["score"])
    if not scores:
        return None
    return np.array(scores, dtype=np.float64)


def name_column(categories: Sequence[int], class_names: Mapping[int, str]) -> dict[str, list[str]]:
    """Return the class name of every category id; nothing if the file names no classes."""
    if not class_names:
        return {}
    unknown = sorted(set(categories) - set(class_names))
    if unknown:
        raise ValueError(f"category_id {unknown[0]} is not among categories")
    return {"class_name": [class_names[category] for category in categories]}
