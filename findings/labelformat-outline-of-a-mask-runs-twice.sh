#!/usr/bin/env bash
# Versions: labelformat 0.1.17, pycocotools 2.0.11, opencv-python-headless 4.12.0.88, Python 3.11.
#
# Expected: mask images that are converted to COCO polygons, as the README shows, draw the same masks again.
# What happens: the tracer stops at its second return to the first pixel, so each polygon goes round its object twice.
# Where a tool fills by even and odd crossings, the second round undoes the first: pycocotools draws nothing at all,
# OpenCV and Pillow the border alone. The box is right. `approx_epsilon` changes the points, not the second round.
# Why it matters: the JSON looks right, counts and boxes too, and viewers that draw outlines show what one expects;
# masks for training are empty or one pixel wide.
# Instead: cut each polygon at the second occurrence of its first point, or trace the masks with OpenCV.
#
# Seen:
#   circle: 696 pixels in the mask, outline of 160 points that starts at pixel 21,10 twice
#   circle: drawn by pycocotools 0 pixels, by OpenCV 80, by Pillow 80
#   circle, cut at the second start: drawn by pycocotools 655 pixels, by OpenCV 696, by Pillow 696
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    labelformat==0.1.17 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 \
    fsspec==2026.9.0 pydantic==2.14.4 pydantic-core==2.50.5 pydantic-xml==2.22.0 annotated-types==0.8.0 \
    typing-inspection==0.4.5 typing-extensions==4.16.0 pyyaml==6.0.4 tqdm==4.70.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json
import os
from pathlib import Path

import cv2
import numpy as np
from labelformat.formats import COCOInstanceSegmentationOutput, MaskPairInstanceSegmentationInput
from PIL import Image, ImageDraw
from pycocotools import mask as rle

size = 64
picture = Image.new("L", (size, size))
ImageDraw.Draw(picture).ellipse([10, 10, 39, 39], fill=255)
os.makedirs("images")
os.makedirs("masks")
picture.save("masks/a.png")
picture.convert("RGB").save("images/a.jpg")
source = MaskPairInstanceSegmentationInput(
    image_glob="images/*.jpg", mask_glob="masks/*.png", base_path=Path("."), category_names="circle",
    threshold=128, segmentation_type="polygon"
)
COCOInstanceSegmentationOutput(Path("out.json")).save(source)
with open("out.json") as file:
    [[polygon]] = [row["segmentation"] for row in json.load(file)["annotations"]]


def drawn(polygon):
    filled = np.zeros((size, size), np.uint8)
    cv2.fillPoly(filled, [np.array(polygon, np.int32).reshape(-1, 2)], 1)
    painted = Image.new("L", (size, size))
    ImageDraw.Draw(painted).polygon(polygon, fill=1)
    codes = rle.frPyObjects([polygon], size, size)
    return int(rle.area(codes)[0]), int(filled.sum()), int(np.array(painted).sum())


points = list(zip(polygon[::2], polygon[1::2]))
first = "%d,%d" % points[0]
inside = int((np.array(picture) > 0).sum())
times = {1: "once", 2: "twice"}[points.count(points[0])]
start = "that starts at pixel %s %s" % (first, times)
print("circle: %d pixels in the mask, outline of %d points %s" % (inside, len(points), start))
twice = drawn(polygon)
print("circle: drawn by pycocotools %d pixels, by OpenCV %d, by Pillow %d" % twice)
once = drawn(polygon[: 2 * points.index(points[0], 1)])
print("circle, cut at the second start: drawn by pycocotools %d pixels, by OpenCV %d, by Pillow %d" % once)
assert twice[0] == 0 and max(twice) < inside / 5 and once[1:] == (inside, inside), (inside, twice, once)
PY
