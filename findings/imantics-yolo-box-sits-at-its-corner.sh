#!/usr/bin/env bash
# Versions: imantics 0.1.12, Python 3.11.
#
# Expected: a YOLO row is class, centre, width and height, all in parts of the image.
# What happens: `Image.yolo()` and `Annotation.yolo()` write the upper left corner where the centre belongs, so every
# box is read half its width too far left and half its height too far up. The same object in COCO is right.
# Why it matters: sizes, classes and counts are right and every number lies between 0 and 1, so no check of the format
# finds it; a large object is off by more than half of itself, and training learns the shift.
# Instead: take the COCO export, or add half of the width and of the height to the row.
#
# Seen:
#   drawn: x 50 to 90, y 20 to 60
#   read from YOLO: x 30 to 70, y 0 to 40, overlap of the two (IoU) 0.14
#   read from COCO: x 50 to 90, y 20 to 60
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    imantics==0.1.12 numpy==2.2.6 opencv-python-headless==4.12.0.88 lxml==6.1.3 xmljson==0.2.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from imantics import Annotation, Category, Image

width, height = 200, 100
image = Image(np.zeros((height, width, 3), np.uint8))
image.add(Annotation.from_bbox([50, 20, 90, 60], image=image, category=Category("cat")))
[row] = image.yolo()
x, y, w, h = (float(part) * side for part, side in zip(row.split()[1:], (width, height, width, height)))
of_yolo = [round(value) for value in (x - w / 2, x + w / 2, y - h / 2, y + h / 2)]
x, y, w, h = image.coco()["annotations"][0]["bbox"]
of_coco = [x, x + w, y, y + h]
drawn = [50, 90, 20, 60]


def area(box):
    return max(0, box[1] - box[0]) * max(0, box[3] - box[2])


shared = area([f(a, b) for f, a, b in zip((max, min, max, min), drawn, of_yolo)])
overlap = shared / (area(drawn) + area(of_yolo) - shared)
print("drawn: x %d to %d, y %d to %d" % tuple(drawn))
print("read from YOLO: x %d to %d, y %d to %d, overlap of the two (IoU) %.2f" % (*of_yolo, overlap))
print("read from COCO: x %d to %d, y %d to %d" % tuple(of_coco))
assert of_yolo == [30, 70, 0, 40] and of_coco == drawn, (of_yolo, of_coco)
PY
