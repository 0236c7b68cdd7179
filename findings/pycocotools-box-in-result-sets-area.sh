#!/usr/bin/env bash
# Versions: pycocotools 2.0.11, Python 3.11.
#
# Expected: results for segmentation are sorted into small, medium and large by the area of their masks, or by the `area`
# that they bring.
# What happens: if the first result has a `bbox`, `loadRes` overwrites every `area` with width x height of the box. The
# same masks with and without boxes get other AP small / medium / large: here a false alarm, a diagonal cable of 200
# pixels, counts as 10,100 pixels, is held for large, is left out of "small", and AP small doubles from 0.5 to 1.0.
# Why it matters: results of a segmentation model nearly always bring both, nothing is said, and the AP of all sizes is
# right, so the table looks sound. Thin and diagonal objects suffer most.
# Instead: drop `bbox` from rows that are scored with iouType "segm" (and keep it for "bbox").
#
# Seen:
#   masks alone:    area 200, AP small 0.500
#   masks and boxes: area 10100, AP small 1.000
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    pycocotools==2.0.11 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib, io
import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def encode(mask):
    code = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": code["size"], "counts": code["counts"].decode()}


def cable(shift):
    mask = np.zeros((200, 200), bool)
    for step in range(100):
        mask[50 + step, 30 + shift + step : 32 + shift + step] = True
    return mask  # two pixels wide, diagonal: 200 pixels in a box of 101 x 100


def evaluate(with_box):
    truth = {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 200, "bbox": [30, 50, 101, 100]}
    truth["segmentation"] = encode(cable(0))
    results = []
    for shift, score in ((0, 0.9), (50, 0.95)):  # the second is a false alarm
        row = {"image_id": 1, "category_id": 1, "segmentation": encode(cable(shift)), "score": score, "area": 200}
        if with_box:
            row["bbox"] = [30 + shift, 50, 101, 100]
        results.append(row)
    coco = COCO()
    coco.dataset = {"info": {}, "images": [{"id": 1, "width": 200, "height": 200, "file_name": "a.png"}]}
    coco.dataset |= {"categories": [{"id": 1, "name": "cable"}], "annotations": [truth]}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        loaded = coco.loadRes(results)
        run = COCOeval(coco, loaded, "segm")
        run.evaluate(), run.accumulate(), run.summarize()
    return int(loaded.anns[1]["area"]), round(float(run.stats[3]), 3)


without, with_box = evaluate(False), evaluate(True)
print("masks alone:    area %d, AP small %.3f" % without)
print("masks and boxes: area %d, AP small %.3f" % with_box)
assert without == (200, 0.5), without
assert with_box == (101 * 100, 1.0), with_box
PY
