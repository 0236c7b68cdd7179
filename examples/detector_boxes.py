"""Segment the object in each box of a detector; classes, scores and track ids are kept."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"


@dataclass
class Detections:
    """The columns of supervision.Detections that are read; pass your own supervision.Detections as it is."""

    xyxy: np.ndarray
    confidence: np.ndarray
    class_id: np.ndarray
    tracker_id: np.ndarray | None = None
    data: dict = field(default_factory=dict)


boxes = np.array([[170, 15, 412, 308], [355, 62, 428, 330]], dtype=np.float32)  # x0, y0, x1, y1
# Class ids of COCO's cup and spoon, counted from 0.
detections = Detections(boxes, np.array([0.92, 0.71]), np.array([41, 44]))

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)
# Or boxes alone: photo.segment_boxes(boxes)
result = photo.segment_boxes(detections, classes="coco")
for segment in result:
    print(f"{segment.label} {segment.score:.2f}: {segment.area} pixels")
result.save("seem-out", stem="detector_boxes", overwrite=True)
# result.to_supervision() is what supervision's annotators and trackers read; pip install "seem[supervision]"
