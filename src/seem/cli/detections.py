"""What a detector found, from a file as COCO's detectors write it: boxes by photo, with their classes and scores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError


@dataclass(frozen=True, slots=True)
class Detected:
    """The boxes of one photo, in the columns that `segment_boxes` reads: xyxy, class ids from 0, scores 0-1."""

    xyxy: NDArray[np.float64]
    class_id: NDArray[np.int64]
    confidence: NDArray[np.float64] | None
    data: Mapping[str, list[str]]
    tracker_id: None = field(default=None)


def read_detections(path: Path) -> dict[str, Detected]:
    """Read a COCO file (images, annotations with a bbox xywh, category_id and perhaps a score, categories).

    Returns the boxes by the photo's file name, folders left out. Raises `SeemError` for a file that cannot be read,
    `ValueError` for one that is laid out otherwise.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SeemError(f"{path} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON file ({error}); --boxes takes detections in COCO's format.") from None
    if isinstance(told, list):
        raise ValueError(
            f"{path} is a bare list of results, which names no photos; put it under annotations, beside images (id, "
            "file_name) and categories."
        )
    try:
        names = {row["id"]: Path(row["file_name"]).name for row in told["images"]}
        called = {row["id"]: str(row["name"]) for row in told.get("categories", ())}
        rows: dict[Any, list[Any]] = {number: [] for number in names}
        for annotation in told["annotations"]:
            if annotation["image_id"] not in rows:
                raise ValueError(f"image_id {annotation['image_id']!r} is not among images")
            rows[annotation["image_id"]].append(annotation)
        found = {name: detected(rows[number], called) for number, name in names.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is not laid out as COCO's detections are ({wrong(error)}); it needs images with "
            "id and file_name, annotations with image_id, bbox (x, y, width, height) and category_id, and categories."
        ) from None
    if len(found) < len(names):
        twice = next(name for name in found if list(names.values()).count(name) > 1)
        raise ValueError(f"{path} has several photos called {twice}; give every photo a name of its own.")
    return found


def wrong(error: Exception) -> str:
    """Word what does not fit the layout."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def detected(rows: list[Any], called: Mapping[int, str]) -> Detected:
    """Put the annotations of a photo into columns."""
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    categories = np.array([row["category_id"] for row in rows], dtype=np.int64)
    if strange := sorted(set(categories.tolist()) - set(called)) if called else ():
        raise ValueError(f"category_id {strange[0]} is not among categories")
    scores = [row["score"] for row in rows if "score" in row]
    return Detected(
        boxes,
        categories - 1,
        np.array(scores, dtype=np.float64) if rows and len(scores) == len(rows) else None,
        {"class_name": [called[number] for number in categories.tolist()]} if called else {},
    )
