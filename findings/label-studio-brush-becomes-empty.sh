#!/usr/bin/env bash
# Versions: label-studio-sdk 2.1.2, Python 3.11.
#
# Expected: a painted mask becomes an RLE in COCO; where a format has no masks the export refuses.
# What happens: COCO contains neither the annotation nor the photo. YOLO gets an empty label file, which by YOLO's rule
# says "nothing is on this photo". Only a line in the log tells of it.
# Why it matters: in a set of polygons and brush strokes the painted objects are taught as background.
# Instead: export brush strokes as NumPy or PNG, or decode the RLE of the JSON with `converter.brush.decode_rle`.
#
# Seen:
#   pixels painted: 1600
#   COCO: 0 images, 0 annotations
#   YOLO: 1 label file of 0 bytes
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    label-studio-sdk==2.1.2 numpy==2.2.6 pillow==12.3.0 pyjwt==2.13.0 appdirs==1.4.4 defusedxml==0.7.1 \
    ijson==3.6.0 lxml==6.1.3 nltk==3.10.4 regex==2026.11.19 joblib==1.5.2 click==8.5.1 tqdm==4.70.1 \
    ujson==6.1.0 xmljson==0.2.1 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 \
    idna==3.20 urllib3==2.8.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json, logging, os
import numpy as np
from label_studio_sdk.converter import brush
from label_studio_sdk.converter.converter import Converter

logging.disable(logging.CRITICAL)
view = '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i"><Label value="crack"/></BrushLabels></View>'
mask = np.zeros((100, 200), np.uint8)
mask[20:60, 20:60] = 255
code = brush.mask2rle(mask)
back = brush.decode_rle(code).reshape(100, 200, 4)[..., 3] > 0
value = {"format": "rle", "rle": code, "brushlabels": ["crack"]}
result = {"id": "b", "type": "brushlabels", "from_name": "b", "to_name": "i", "value": value}
result |= {"original_width": 200, "original_height": 100, "image_rotation": 0}
mark = {"id": 1, "result": [result], "was_cancelled": False, "completed_by": 1, "created_at": "", "updated_at": ""}
json.dump([{"id": 1, "data": {"image": "/data/a.png"}, "annotations": [mark]}], open("tasks.json", "w"))
os.mkdir("photos")
converter = Converter(view, "photos", download_resources=False)
converter.convert_to_coco("tasks.json", "coco", is_dir=False)
converter.convert_to_yolo("tasks.json", "yolo", is_dir=False)
coco = json.load(open("coco/result.json"))
labels = {name: os.path.getsize("yolo/labels/" + name) for name in os.listdir("yolo/labels")}
print("pixels painted:", int(back.sum()))
print("COCO: %d images, %d annotations" % (len(coco["images"]), len(coco["annotations"])))
print("YOLO: %d label file of %d bytes" % (len(labels), sum(labels.values())))
assert back.sum() == 1600 and coco["images"] == [] and coco["annotations"] == [], coco
assert len(labels) == 1 and sum(labels.values()) == 0, labels
PY
