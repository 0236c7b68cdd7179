#!/usr/bin/env bash
# Versions: label-studio-sdk 2.1.2, Python 3.11.
#
# Expected: YOLO OBB has the rectangle, COCO and YOLO have the upright box around it.
# What happens: YOLO OBB is right. COCO turns the rectangle in percent of the photo, where x and y have different units: on
# a photo of 2 : 1 its box ends at y = 69 instead of 89 and holds 61 % of what was drawn. YOLO leaves the rotation out: the
# box of the unturned rectangle, which holds 11 %.
# Why it matters: all three look like valid boxes near the object; prompts and crops taken from them miss it.
# Instead: export YOLO OBB, or take the JSON and turn corners in pixels: (x / 100 * width, y / 100 * height).
#
# Seen:
#   drawn: [75.0, 40.0, 149.3, 88.7]
#   YOLO OBB: [75.0, 40.0, 149.3, 88.7], holds 1.00 of what was drawn
#   COCO: [70.0, 40.0, 149.3, 68.7], holds 0.61 of what was drawn
#   YOLO: [80.0, 40.0, 160.0, 50.0], holds 0.11 of what was drawn
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    label-studio-sdk==2.1.2 numpy==2.2.6 pillow==12.3.0 pyjwt==2.13.0 appdirs==1.4.4 defusedxml==0.7.1 \
    ijson==3.6.0 lxml==6.1.3 nltk==3.10.4 regex==2026.11.19 joblib==1.5.2 click==8.5.1 tqdm==4.70.1 \
    ujson==6.1.0 xmljson==0.2.1 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 \
    idna==3.20 urllib3==2.8.0 shapely==2.2.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import json, os
from shapely import Polygon, affinity, box
from label_studio_sdk.converter.converter import Converter

view = '<View><Image name="i" value="$image"/><RectangleLabels name="r" toName="i"><Label value="car"/></RectangleLabels></View>'
value = {"x": 40, "y": 40, "width": 40, "height": 10, "rotation": 30, "rectanglelabels": ["car"]}
result = {"id": "r", "type": "rectanglelabels", "from_name": "r", "to_name": "i", "value": value}
result |= {"original_width": 200, "original_height": 100, "image_rotation": 0}
mark = {"id": 1, "result": [result], "was_cancelled": False, "completed_by": 1, "created_at": "", "updated_at": ""}
json.dump([{"id": 1, "data": {"image": "/data/a.png"}, "annotations": [mark]}], open("tasks.json", "w"))
os.mkdir("photos")
converter = Converter(view, "photos", download_resources=False)
converter.convert_to_coco("tasks.json", "coco", is_dir=False)
converter.convert_to_yolo("tasks.json", "yolo", is_dir=False)
converter.convert_to_yolo("tasks.json", "obb", is_dir=False, is_obb=True)
x, y, w, h = json.load(open("coco/result.json"))["annotations"][0]["bbox"]
label = os.listdir("yolo/labels")[0]
cx, cy, bw, bh = (float(part) for part in open("yolo/labels/" + label).read().split()[1:])
numbers = [float(part) for part in open("obb/labels/" + label).read().split()[1:]]
drawn = affinity.rotate(box(80, 40, 160, 50), 30, origin=(80, 40))
shapes = {
    "YOLO OBB": Polygon([(x * 200, y * 100) for x, y in zip(numbers[::2], numbers[1::2])]),
    "COCO": box(x, y, x + w, y + h),
    "YOLO": box((cx - bw / 2) * 200, (cy - bh / 2) * 100, (cx + bw / 2) * 200, (cy + bh / 2) * 100),
}
print("drawn:", [round(v, 1) for v in drawn.bounds])
inside = {}
for name, shape in shapes.items():
    inside[name] = round(drawn.intersection(shape).area / drawn.area, 2)
    print("%s: %s, holds %.2f of what was drawn" % (name, [round(v, 1) for v in shape.bounds], inside[name]))
assert inside == {"YOLO OBB": 1.0, "COCO": 0.61, "YOLO": 0.11}, inside
PY
