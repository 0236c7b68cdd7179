"""Save a result, and read it back with pycocotools."""

import os
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO

import seem

PHOTO = Path(__file__).parent / "photos" / "coffee.jpg"

model = seem.load(os.environ.get("SEEM_EXAMPLE_MODEL", "nano"))
result = model.encode(PHOTO).segment_many([[seem.Point(130, 290)], [seem.Box(320, 62, 428, 330)]])
result.save("seem-out", stem="save_coco", overwrite=True)

coco = COCO("seem-out/save_coco.json")
for annotation, mask in zip(coco.loadAnns(coco.getAnnIds()), result.masks, strict=True):
    assert np.array_equal(coco.annToMask(annotation).astype(bool), mask)
    x, y, width, height = annotation["bbox"]
    print(
        f"object {annotation['id']}: {width} x {height} pixels at ({x}, {y}), score {annotation['score']:.2f}"
    )
