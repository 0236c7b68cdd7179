#!/usr/bin/env bash
# Versions: sahi 0.12.8, pycocotools 2.0.11, Python 3.11.
#
# Expected: the COCO result of an object with a hole draws the same mask, or the tool says that polygons have no holes.
# What happens: the prediction's own mask has the hole (4,800 pixels), the row it writes has the outer outline alone, which
# pycocotools fills (6,241 pixels), and an `area` without the hole (4,562), so the row contradicts itself.
# Why it matters: rings, windows and fences score worse than the model is, and only where results go through the file.
# Instead: take `mask.bool_mask` and encode it as RLE yourself.
#
# Seen:
#   mask: 4800 pixels; in the result: 1 outline, `area` 4562
#   pixels that pycocotools draws from the result: 6241
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    sahi==0.12.8 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 \
    shapely==2.2.0 tqdm==4.70.1 pyyaml==6.0.4 click==8.5.1 requests==2.34.2 certifi==2026.10.19.post1 \
    charset-normalizer==3.5.3 idna==3.20 urllib3==2.8.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numpy as np
from pycocotools import mask as rle
from sahi.prediction import ObjectPrediction
from sahi.annotation import get_coco_segmentation_from_bool_mask

ring = np.zeros((200, 200), bool)
ring[10:90, 10:90] = True
ring[30:70, 30:70] = False
outlines = get_coco_segmentation_from_bool_mask(ring)
found = ObjectPrediction(
    bbox=[10, 10, 90, 90], segmentation=outlines, category_id=0, category_name="tyre", score=0.9, full_shape=[200, 200]
)
row = found.to_coco_prediction(image_id=1).json
area = int(rle.area(rle.merge(rle.frPyObjects(row["segmentation"], 200, 200))))
inside = int(found.mask.bool_mask.sum())
print("mask: %d pixels; in the result: %d outline, `area` %s" % (inside, len(row["segmentation"]), row["area"]))
print("pixels that pycocotools draws from the result: %d" % area)
assert (inside, len(row["segmentation"]), row["area"], area) == (4800, 1, 4562, 6241), row
PY
