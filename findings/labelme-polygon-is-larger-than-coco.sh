#!/usr/bin/env bash
# Versions: labelme 6.3.1, pycocotools 2.0.11, Python 3.11.
#
# Expected: a square of side 10 covers 100 pixels in both.
# What happens: labelme's `shape_to_mask`, from which its label maps are made, draws the border pixels on all sides, 121 pixels;
# COCO's rule gives 100. For a square of side 2 it is 9 against 4.
# Why it matters: a set exported from the same JSON once as label maps and once as COCO has two truths; training on one and
# evaluating on the other costs up to half of the IoU of small objects.
# Instead: draw both with one function, best COCO's; state the rule beside the set.
#
# Seen:
#   square of side 2: labelme 9 pixels, COCO 4
#   square of side 4: labelme 25 pixels, COCO 16
#   square of side 10: labelme 121 pixels, COCO 100
#   square of side 100: labelme 10201 pixels, COCO 10000
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    labelme==6.3.1 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 \
    pyqt5==5.15.11 pyqt5-sip==12.20.0 pyqt5-qt5==5.15.19 cmap==0.8.0 imgviz==2.1.0 loguru==0.7.3 \
    onnxruntime==1.32.0 flatbuffers==25.12.19 protobuf==7.36.2 packaging==26.4 tifffile==2026.3.3 \
    natsort==8.4.0 pyyaml==6.0.4
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from labelme.utils import shape_to_mask
from pycocotools import mask as rle

seen = []
for side in (2, 4, 10, 100):
    corners = [[5.0, 5.0], [5.0 + side, 5.0], [5.0 + side, 5.0 + side], [5.0, 5.0 + side]]
    drawn = int(shape_to_mask((128, 128), corners, "polygon").sum())
    coco = int(rle.area(rle.frPyObjects([np.ravel(corners).tolist()], 128, 128))[0])
    seen.append((side, drawn, coco))
    print("square of side %d: labelme %d pixels, COCO %d" % seen[-1])
assert seen == [(2, 9, 4), (4, 25, 16), (10, 121, 100), (100, 10201, 10000)], seen
PY
