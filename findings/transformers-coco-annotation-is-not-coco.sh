#!/usr/bin/env bash
# Versions: transformers 5.24.0, torch 2.13.0, pycocotools 2.0.11, numpy 2.2.6, Pillow 12.0.0, Python 3.11.
#
# Expected: Mask2Former's post_process_instance_segmentation(..., return_coco_annotation=True) returns run-length codes
# in COCO's format, one for each row of segments_info.
# What happens: the codes are pairs of (first pixel, length), counted from 1 and row by row, as Kaggle's are, while COCO's
# are run lengths column by column, the first one outside. Read as COCO's they decode without an error to something else.
# The list also begins with the code of the background (-1), so that every code stands one row later than its segment,
# and there is one more of them.
# Why it matters: masks written to a COCO results file are wrong, shifted by one object, and score near 0.
# Instead: leave the option out and encode `segmentation == id` with pycocotools.
#
# Seen:
#   2 segments, 3 codes; the first code covers the background
#   code of the upper object, 1800 pixels: [1, 1800]; read by COCO's rule it has 1800 pixels, IoU 0.20
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile torch==2.13.0
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    transformers==5.24.0 pycocotools==2.0.11 numpy==2.2.6 pillow==12.0.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
from types import SimpleNamespace

import numpy as np
import torch
from pycocotools import mask as coco_mask
from transformers import Mask2FormerImageProcessorPil as Processor

height, width = 60, 90
logits = torch.full((1, 3, 3), -20.0)  # two objects, the third query is nothing
for query, label in enumerate((0, 1, 2)):
    logits[0, query, label] = 20
masks = torch.full((1, 3, 96, 96), -20.0)
masks[0, 0, :32] = 20  # the upper third
masks[0, 1, 64:, :48] = 20  # the lower left
outputs = SimpleNamespace(class_queries_logits=logits, masks_queries_logits=masks)
options = {"threshold": 0.5, "target_sizes": [(height, width)]}
(maps,) = Processor().post_process_instance_segmentation(outputs, **options)
(codes,) = Processor().post_process_instance_segmentation(outputs, return_coco_annotation=True, **options)

rows, codes = codes["segments_info"], codes["segmentation"]
background = (np.asarray(maps["segmentation"]) == -1).sum()
assert sum(codes[0][1::2]) == background
print(f"{len(rows)} segments, {len(codes)} codes; the first code covers the background")

upper = np.asarray(maps["segmentation"]) == rows[0]["id"]
code = [int(number) for number in codes[1]]
counts = [*code, height * width - sum(code)]
read = coco_mask.decode(coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width))
iou = (upper & (read > 0)).sum() / (upper | (read > 0)).sum()
print(f"code of the upper object, {upper.sum()} pixels: {code}; read by COCO's rule it has {read.sum()} pixels, IoU {iou:.2f}")
assert (len(rows), len(codes), code) == (2, 3, [1, 1800]), (rows, codes)
assert iou < 0.5, iou
PY
