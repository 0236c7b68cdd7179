#!/usr/bin/env bash
# Versions: datumaro 1.13.12, Python 3.11.
#
# Expected: two objects in COCO give two objects (three polygons) in CVAT for images and in LabelMe.
# What happens: on import each COCO object becomes its polygons and a box of the same group. The COCO exporter joins them
# again, so COCO to COCO looks right; the CVAT and LabelMe exporters write all of them: 3 polygons and 2 boxes.
# Why it matters: whoever corrects the set in CVAT and exports it has every object a second time as a rectangle; counts,
# class balance and training (where boxes are taken for masks) are off.
# Instead: remove shapes of type Bbox whose group has a polygon or mask before exporting.
#
# Seen:
#   COCO: 2 objects of 3 polygons
#   CVAT: ['box', 'box', 'polygon', 'polygon', 'polygon']
#   LabelMe: 5 objects
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
import xml.etree.ElementTree as ET
from PIL import Image
from datumaro import Dataset

logging.disable(logging.CRITICAL)
os.makedirs("coco/annotations"), os.makedirs("coco/images/train")
Image.new("RGB", (64, 64)).save("coco/images/train/a.png")
row = {"image_id": 1, "iscrowd": 0}
document = {
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
    "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {**row, "id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "area": 400,
         "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]},
        {**row, "id": 2, "category_id": 2, "bbox": [5, 45, 35, 10], "area": 200,
         "segmentation": [[5, 45, 15, 45, 15, 55, 5, 55], [30, 45, 40, 45, 40, 55, 30, 55]]},
    ],
}
json.dump(document, open("coco/annotations/instances_train.json", "w"))
data = Dataset.import_from("coco", "coco_instances")
counts = {}
data.export("cvat", "cvat", save_media=True)
image = ET.parse("cvat/train.xml").getroot().find("image")
counts["cvat"] = sorted(shape.tag for shape in image)
data.export("label_me", "label_me", save_media=True)
root = ET.parse("label_me/Annotations/train/a.xml").getroot()
counts["label_me"] = len(root.findall("object"))
print("COCO: 2 objects of 3 polygons")
print("CVAT:", counts["cvat"])
print("LabelMe: %d objects" % counts["label_me"])
assert counts == {"cvat": ["box", "box", "polygon", "polygon", "polygon"], "label_me": 5}, counts
PY
