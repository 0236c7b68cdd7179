#!/usr/bin/env bash
# Versions: sahi 0.12.8, pycocotools 2.0.11, Python 3.11.
#
# Expected: slicing photos with their annotations cuts the masks; what cannot be cut is left out, as the
# warning in the log says of RLE masks.
# What happens: the object stays, and its box becomes its polygon: a ring of 4,800 pixels comes out as a solid rectangle of
# 6,400, marked as an ordinary object. `iscrowd: 1` becomes 0 on every row.
# Why it matters: nothing in the new file tells an invented rectangle from a drawn mask, and a model learns rectangles.
# Many tools write objects with holes or of several parts as RLE; those are the ones hit.
# Instead: turn RLE into polygons before slicing, leave crowds out, and look for polygons equal to their boxes afterwards.
#
# Seen:
#   ring as RLE: 4800 pixels; after slicing: [[10, 10, 10, 90, 90, 90, 90, 10]], 6400 pixels
#   crowd: iscrowd 1; after slicing: iscrowd 0
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
import contextlib, io, json, logging
import numpy as np
from PIL import Image
from pycocotools import mask as rle
from sahi.slicing import slice_coco

logging.disable(logging.CRITICAL)
Image.new("RGB", (200, 200)).save("a.png")
ring = np.zeros((200, 200), np.uint8)
ring[10:90, 10:90] = 1
ring[30:70, 30:70] = 0
code = rle.encode(np.asfortranarray(ring))
code = {"size": code["size"], "counts": code["counts"].decode()}
square = [110, 10, 130, 10, 130, 30, 110, 30]
row = {"image_id": 7, "category_id": 1}
document = {
    "images": [{"id": 7, "file_name": "a.png", "width": 200, "height": 200}],
    "categories": [{"id": 1, "name": "tyre"}],
    "annotations": [
        {**row, "id": 1, "bbox": [10, 10, 80, 80], "area": int(ring.sum()), "iscrowd": 0, "segmentation": code},
        {**row, "id": 2, "bbox": [110, 10, 20, 20], "area": 400, "iscrowd": 1, "segmentation": [square]},
    ],
}
json.dump(document, open("a.json", "w"))
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    sliced, _ = slice_coco(
        "a.json", ".", "sliced", output_dir="out", slice_height=100, slice_width=100,
        overlap_height_ratio=0, overlap_width_ratio=0,
    )
first, second = sliced["annotations"]
drawn = int(rle.area(rle.merge(rle.frPyObjects(first["segmentation"], 100, 100))))
print("ring as RLE: %d pixels; after slicing: %s, %d pixels" % (ring.sum(), first["segmentation"], drawn))
print("crowd: iscrowd 1; after slicing: iscrowd", second["iscrowd"])
assert int(ring.sum()) == 4800 and drawn == 6400 and first["area"] == 6400 and first["iscrowd"] == 0, first
assert second["iscrowd"] == 0, second
PY
