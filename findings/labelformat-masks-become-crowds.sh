#!/usr/bin/env bash
# Versions: labelformat 0.1.17, pycocotools 2.0.11, Python 3.11.
#
# Expected: mask images converted to COCO with `segmentation_type="rle"`, which the package recommends for holes, are
# objects that COCO's own tool loads and scores.
# What happens: annotations have neither `id` nor `area`, so pycocotools cannot load the file; and every one is a crowd,
# because the package takes run-length codes and `iscrowd` for the same thing. Reading, it does so too: an RLE of an
# ordinary object is refused with a ValueError.
# Why it matters: ids and areas are soon added by hand, which makes the error go away; crowds are left out of training,
# and with nothing but crowds perfect detections have an AP of -1.
# Instead: set `iscrowd` to 0 besides, and compute ids and areas.
#
# Seen:
#   loading: KeyError 'id'
#   2 objects, iscrowd: True, True
#   AP of perfect detections once ids and areas are added: -1.00; with `iscrowd` 0: 1.00
#   reading the file with `iscrowd` 0: ValueError
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    labelformat==0.1.17 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 fsspec==2026.9.0 pydantic==2.14.4 \
    pydantic-core==2.50.5 pydantic-xml==2.22.0 annotated-types==0.8.0 typing-inspection==0.4.5 \
    typing-extensions==4.16.0 pyyaml==6.0.4 tqdm==4.70.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import contextlib, copy, io, json, os
from pathlib import Path

import numpy as np
from labelformat.formats import (
    COCOInstanceSegmentationInput, COCOInstanceSegmentationOutput, MaskPairInstanceSegmentationInput
)
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

pixels = np.zeros((64, 64), np.uint8)
pixels[10:30, 10:30] = 255
pixels[15:20, 15:20] = 0
pixels[40:60, 40:60] = 255
os.makedirs("images")
os.makedirs("masks")
Image.fromarray(pixels).save("masks/a.png")
Image.fromarray(pixels).save("images/a.jpg")
source = MaskPairInstanceSegmentationInput(
    image_glob="images/*.jpg", mask_glob="masks/*.png", base_path=Path("."), category_names="cell", threshold=128,
    segmentation_type="rle"
)
COCOInstanceSegmentationOutput(Path("out.json")).save(source)
content = json.loads(Path("out.json").read_text())
rows = content["annotations"]
crowds = [row["iscrowd"] for row in rows]


def score(rows):
    """AP of detections that are the objects themselves."""
    found = []
    for row in rows:
        mask = rle.frPyObjects(row["segmentation"], 64, 64)
        found.append(dict(image_id=row["image_id"], category_id=row["category_id"], score=0.9, segmentation=mask))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dict(content, info={}, annotations=rows))
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(found), "segm")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats[0]


with contextlib.redirect_stdout(io.StringIO()):
    try:
        failure = COCO("out.json") and "none"
    except KeyError as error:
        failure = "KeyError %s" % error
print("loading: %s" % failure)
print("%d objects, iscrowd: %s" % (len(rows), ", ".join(map(str, crowds))))

for number, row in enumerate(rows, 1):
    row.update(id=number, area=sum(row["segmentation"]["counts"][1::2]))
single = [dict(row, iscrowd=0) for row in rows]
as_written, as_meant = score(rows), score(single)
print("AP of perfect detections once ids and areas are added: %.2f; with `iscrowd` 0: %.2f" % (as_written, as_meant))
Path("meant.json").write_text(json.dumps(dict(content, annotations=single)))
try:
    read = list(COCOInstanceSegmentationInput("meant.json").get_labels()) and "none"
except Exception as error:
    read = type(error).__name__
print("reading the file with `iscrowd` 0: %s" % read)
assert failure == "KeyError 'id'" and crowds == [True, True], (failure, crowds)
assert round(as_written) == -1 and round(as_meant, 2) == 1 and read != "none", (as_written, as_meant, read)
PY
