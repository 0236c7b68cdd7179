#!/usr/bin/env bash
# Versions: supervision 0.31.2, pycocotools 2.0.11, Python 3.11.
#
# Expected: a mask written as COCO and read by pycocotools is the same mask, give or take rounding.
# What happens: outlines go through the centres of the border pixels (as OpenCV's findContours gives them), while COCO's
# corners lie on the edges between pixels. Every object comes back one row and one column smaller, a mask of 2 x 2 pixels
# as one pixel; `bbox` is short by one pixel a side too. `area` holds the true count, so the row contradicts itself.
# supervision's own reader draws the border in again, so a round trip inside the tool shows nothing.
# Why it matters: small objects lose a fifth to three quarters of their pixels, in one direction; IoU against such a truth
# cannot reach 1 (0.81 for 10 x 10 pixels) however good the model.
# Instead: export RLE, or trace the outline of a mask enlarged so that corners lie on pixel edges; compare `area` with the
# pixels that pycocotools draws before a set is used.
#
# Seen:
#   mask 4 px, `area` 4, pixels in pycocotools 1, box [1, 1, 1, 1]
#   mask 9 px, `area` 9, pixels in pycocotools 4, box [11, 1, 2, 2]
#   mask 100 px, `area` 100, pixels in pycocotools 81, box [21, 1, 9, 9]
#   mask 900 px, `area` 900, pixels in pycocotools 841, box [31, 1, 29, 29]
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    supervision==0.31.2 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 \
    opencv-python-headless==4.12.0.88 scipy==1.17.1 pyyaml==6.0.4 defusedxml==0.7.1 pydeprecate==0.13.0 \
    tqdm==4.70.1 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 idna==3.20 \
    urllib3==2.8.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib, io, json
import cv2
import numpy as np
import supervision as sv
from pycocotools.coco import COCO

cv2.imwrite("a.png", np.zeros((64, 64, 3), np.uint8))
masks = np.zeros((4, 64, 64), bool)
for number, side in enumerate((2, 3, 10, 30)):
    masks[number, 1 : 1 + side, 1 + 10 * number : 1 + 10 * number + side] = True
objects = sv.Detections(xyxy=sv.mask_to_xyxy(masks), mask=masks, class_id=np.zeros(4, int))
folder = sv.DetectionDataset(["thing"], ["a.png"], {"a.png": objects})
with contextlib.redirect_stdout(io.StringIO()):
    folder.as_coco(annotations_path="a.json")
    coco = COCO("a.json")
seen = []
for row in json.load(open("a.json"))["annotations"]:
    seen.append((int(row["area"]), int(coco.annToMask(row).sum()), row["bbox"][2:]))
    print("mask %d px, `area` %d, pixels in pycocotools %d, box %s" % (row["area"], *seen[-1][:2], row["bbox"]))
assert seen == [(4, 1, [1, 1]), (9, 4, [2, 2]), (100, 81, [9, 9]), (900, 841, [29, 29])], seen
PY
