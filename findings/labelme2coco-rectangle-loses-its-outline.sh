#!/usr/bin/env bash
# Versions: labelme2coco 0.2.6, Python 3.11.
#
# A rectangle becomes an object without a mask, and parts that labelme joins by group_id become two objects.
#
# Expected: in COCO's format labelme's own converter (examples/instance_segmentation/labelme2coco.py) writes a rectangle
# as a polygon of four corners, and all shapes of one label and group_id as one object of several polygons.
# Happens: the rectangle has "segmentation": [] (its box and area are there), while a circle beside it is written as a
# polygon; the two parts of group 1 become two annotations.
# Why it matters: trainers that need masks drop such objects or stop at them (detectron2 leaves them out silently), and
# the photo then counts as showing no such object; a thing cut in two by a pole is learnt and scored as two.
# Instead: draw polygons, or convert with a tool that keeps group_id; count empty segmentations after converting.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet labelme2coco==0.2.6
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import json
from importlib.metadata import version
from pathlib import Path

import labelme2coco
from PIL import Image

print("labelme2coco", version("labelme2coco"))
Path("drawn").mkdir()
Image.new("RGB", (80, 60)).save("drawn/a.jpg")


def shape(label, points, kind, group=None):
    return {"label": label, "points": points, "shape_type": kind, "group_id": group, "flags": {}}


shapes = [
    shape("bus", [[5, 5], [25, 5], [25, 25], [5, 25]], "polygon", 1),
    shape("bus", [[30, 5], [40, 5], [40, 25], [30, 25]], "polygon", 1),
    shape("sign", [[50, 5], [70, 30]], "rectangle"),
    shape("wheel", [[60, 50], [65, 50]], "circle"),
]
file = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": "a.jpg", "imageData": None}
Path("drawn/a.json").write_text(json.dumps({**file, "imageHeight": 60, "imageWidth": 80}))
labelme2coco.convert("drawn", "coco")
coco = json.loads(Path("coco/dataset.json").read_text())
names = {row["id"]: row["name"] for row in coco["categories"]}
rows = [(names[row["category_id"]], len(row["segmentation"]), row["bbox"]) for row in coco["annotations"]]
for name, polygons, box in rows:
    print(f"{name}: {polygons} polygon(s), bbox {box}")
assert [name for name, _, _ in rows] == ["bus", "bus", "sign", "wheel"]
assert [polygons for _, polygons, _ in rows] == [1, 1, 0, 1]
print("the rectangle has no outline, the group is two objects")
PY
