#!/usr/bin/env bash
# Versions: datumaro 1.13.12, Python 3.11.
#
# Expected: a polygon is drawn into the panoptic map and the VOC mask as a mask is, or the export refuses.
# What happens: both exporters take mask shapes only. A set of polygons gives a panoptic file without segments and a VOC
# folder without masks; in a set of both kinds only the masks are there. No error, no warning.
# Why it matters: most annotations are polygons; in mixed sets part of the objects turn into background or void.
# Instead: turn polygons into masks first (the transform `polygons_to_masks`), and count objects before and after.
#
# Seen:
#   Mask: 1 segments in COCO panoptic, 1 masks in VOC
#   Polygon: 0 segments in COCO panoptic, 0 masks in VOC
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    datumaro==1.13.12 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 \
    pandas==2.3.3 python-dateutil==2.9.0.post0 pytz==2025.2 tzdata==2026.6 six==1.17.0 shapely==2.2.0 \
    attrs==26.1.0 defusedxml==0.7.1 imagesize==2.0.1 json-stream==2.5.1 json-stream-rs-tokenizer==0.5.4 \
    lxml==6.1.3 orjson==3.13.0 pyyaml==6.0.4 tqdm==4.70.1 typing-extensions==4.16.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json, logging, os
import numpy as np
from datumaro import Dataset, DatasetItem, Mask, Polygon
from datumaro.components.media import Image

logging.disable(logging.CRITICAL)
photo = Image.from_numpy(data=np.zeros((64, 64, 3), np.uint8))
square = np.zeros((64, 64), bool)
square[10:30, 10:30] = True
outline = Polygon([10, 10, 30, 10, 30, 30, 10, 30], label=0)
seen = {}
for kind, shape in (("Mask", Mask(square, label=0)), ("Polygon", outline)):
    data = Dataset.from_iterable([DatasetItem("a", subset="train", media=photo, annotations=[shape])], categories=["cat"])
    data.export(kind + "/panoptic", "coco_panoptic", save_media=True)
    data.export(kind + "/voc", "voc_segmentation", save_media=True)
    rows = json.load(open(kind + "/panoptic/annotations/panoptic_train.json"))["annotations"]
    segments = sum(len(row["segments_info"]) for row in rows)
    masks = [name for _, _, names in os.walk(kind + "/voc/SegmentationClass") for name in names]
    seen[kind] = (segments, len(masks))
    print("%s: %d segments in COCO panoptic, %d masks in VOC" % (kind, *seen[kind]))
assert seen == {"Mask": (1, 1), "Polygon": (0, 0)}, seen
PY
