#!/usr/bin/env bash
# Versions: supervision 0.31.2, pycocotools 2.0.11, Python 3.11.
#
# Expected: a wire one pixel wide is written as a thin polygon, as RLE, or is refused.
# What happens: its outline has two corners, so the polygon is dropped without a word. COCO gets `segmentation: []` with
# the true `area`; pycocotools then raises IndexError in annToMask for that row, in the middle of a set. YOLO gets a row of
# five numbers, which is a box, of height 0, in a file of polygons.
# Why it matters: one thin object (wire, crack, mast) ends a training run long after the export, or is left out in silence;
# a YOLO file that mixes boxes and polygons is ambiguous.
# Instead: widen such masks by a pixel before the export or export RLE; look for empty segmentations after it.
#
# Seen:
#   COCO: {'segmentation': [], 'area': 20.0, 'bbox': [5, 58, 19, 0], 'iscrowd': 0}
#   YOLO: ['0', '0.22656', '0.90625', '0.29688', '0.00000']
#   pycocotools: IndexError('list index out of range')
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
wire = np.zeros((1, 64, 64), bool)
wire[0, 58, 5:25] = True
objects = sv.Detections(xyxy=sv.mask_to_xyxy(wire), mask=wire, class_id=np.zeros(1, int))
folder = sv.DetectionDataset(["wire"], ["a.png"], {"a.png": objects})
with contextlib.redirect_stdout(io.StringIO()):
    folder.as_coco(annotations_path="a.json")
    folder.as_yolo(annotations_directory_path="labels")
    coco = COCO("a.json")
row = json.load(open("a.json"))["annotations"][0]
print("COCO:", {key: row[key] for key in ("segmentation", "area", "bbox", "iscrowd")})
yolo = open("labels/a.txt").read().split()
print("YOLO:", yolo)
try:
    coco.annToMask(row)
    error = None
except IndexError as caught:
    error = caught
print("pycocotools:", repr(error))
assert row["segmentation"] == [] and row["area"] == 20 and row["bbox"][3] == 0, row
assert len(yolo) == 5 and float(yolo[4]) == 0, yolo
assert error is not None
PY
