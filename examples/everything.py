"""Segment everything without a prompt, and convert the masks to the format of segment-anything."""

import os
from pathlib import Path

import seem

PHOTO = Path(__file__).parent / "photos" / "astronaut.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
photo = model.encode(PHOTO)

masks = photo.everything(
    points_per_side=8,  # clicks where there is no mask yet; 0 = object queries alone
    pred_iou_threshold=0.5,  # lower finds more
    stability_score_threshold=0.5,
    min_mask_region_area=50,  # pixels; smaller connected components and holes are removed
)
print(f"{len(masks)} masks")

for record in masks.to_records("coco_rle")[
    :5
]:  # dictionaries as SamAutomaticMaskGenerator returns them
    x, y, width, height = record["bbox"]
    print(
        f"{width} x {height} at ({x}, {y}): IoU {record['predicted_iou']:.2f}, click {record['point_coords']}"
    )

masks.overlay(labels=False).save("everything.png")
