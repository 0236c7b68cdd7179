#!/usr/bin/env bash
# Versions: pylabel 0.1.55, pandas 2.2.3, numpy 2.2.6, Python 3.11.
#
# Expected: an object of two polygons (a cat behind a post) is two lines of a YOLO segmentation file, or one outline
# around both; classes are numbered from 0, as YOLO counts them.
# What happens: the first polygon is written, the others are left out without a word. The class is the category id of the
# COCO file (here 7 of a set with one class) unless `cat_id_index=0` is given.
# Why it matters: objects lose their other parts, which are then taught to be background; a class 7 of 1 class makes the
# trainer stop, or, with a hand-made data.yaml, learn another class.
# Instead: write one line a polygon, or join them, before the set is handed on, and give `cat_id_index=0`.
#
# Seen:
#   object of 2 polygons: 1 line in 1.txt, class 7, 4 corners
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    pylabel==0.1.55 pandas==2.2.3 numpy==2.2.6
cd "$work"
"$work/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
import glob
import json

from pylabel import importer

cat = dict(
    id=1, image_id=1, category_id=7, bbox=[10, 5, 40, 25], area=300, iscrowd=0,
    segmentation=[[10, 5, 30, 5, 30, 15, 10, 15], [40, 20, 50, 20, 50, 30, 40, 30]],
)
images = [dict(id=1, width=60, height=40, file_name="1.jpg")]
content = dict(images=images, annotations=[cat], categories=[dict(id=7, name="cat", supercategory="")])
with open("given.json", "w") as file:
    json.dump(content, file)

dataset = importer.ImportCoco("given.json", path_to_images="", name="set")
dataset.path_to_annotations = "."
dataset.export.ExportToYoloV5(output_path="labels", segmentation=True)
(path,) = glob.glob("**/1.txt", recursive=True)
with open(path) as file:
    lines = file.read().split("\n")
lines = [line.split() for line in lines if line.strip()]
print(
    "object of 2 polygons: %d line in 1.txt, class %s, %d corners"
    % (len(lines), lines[0][0], (len(lines[0]) - 1) // 2)
)
assert len(lines) == 1 and lines[0][0] == "7" and len(lines[0]) == 9, lines
PY
