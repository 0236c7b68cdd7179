#!/usr/bin/env bash
# Versions: label-studio-sdk 2.1.2, Python 3.11.
#
# Expected: both exports do the same with a photo that two people annotated.
# What happens: COCO lists the photo twice under two ids, each with one person's objects, under one file name. YOLO writes
# both to the same label file, and the one written last remains.
# Why it matters: with COCO a photo can land in training and validation at once, and each copy lacks what the other person
# saw; with YOLO work is gone without a word. Overlap between annotators is the tool's standard way to measure quality.
# Instead: choose one annotation a task before the export, and check that file names in COCO are distinct.
#
# Seen:
#   drawn: 2 objects by the first person, 1 by the second, on one photo
#   COCO: images [(0, 'a.png'), (1, 'a.png')] objects on images [0, 1, 1]
#   YOLO: 1 label file, 2 rows: ['0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3', '0 0.5 0.1 0.7 0.1 0.7 0.3 0.5 0.3']
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
import json, os
from label_studio_sdk.converter.converter import Converter

view = '<View><Image name="i" value="$image"/><PolygonLabels name="p" toName="i"><Label value="car"/></PolygonLabels></View>'


def mark(person, *corners):
    results = []
    for number, (x, y) in enumerate(corners):
        points = [[x, y], [x + 20, y], [x + 20, y + 20], [x, y + 20]]
        value = {"points": points, "closed": True, "polygonlabels": ["car"]}
        result = {"id": f"p{number}", "type": "polygonlabels", "from_name": "p", "to_name": "i", "value": value}
        results.append(result | {"original_width": 200, "original_height": 100, "image_rotation": 0})
    return {"id": person, "result": results, "was_cancelled": False, "completed_by": person,
            "created_at": "2026-01-0%d" % person, "updated_at": "2026-01-0%d" % person}


task = {"id": 1, "data": {"image": "/data/a.png"}, "annotations": [mark(1, (10, 10), (50, 10)), mark(2, (11, 11))]}
json.dump([task], open("tasks.json", "w"))
os.mkdir("photos")
converter = Converter(view, "photos", download_resources=False)
converter.convert_to_coco("tasks.json", "coco", is_dir=False)
converter.convert_to_yolo("tasks.json", "yolo", is_dir=False)
coco = json.load(open("coco/result.json"))
images = [(row["id"], row["file_name"].split("__")[-1]) for row in coco["images"]]
objects = [row["image_id"] for row in coco["annotations"]]
labels = os.listdir("yolo/labels")
rows = open("yolo/labels/" + labels[0]).read().strip().splitlines()
print("drawn: 2 objects by the first person, 1 by the second, on one photo")
print("COCO: images", images, "objects on images", objects)
print("YOLO:", len(labels), "label file,", len(rows), "rows:", rows)
assert images == [(0, "a.png"), (1, "a.png")] and sorted(objects) == [0, 1, 1], (images, objects)
assert len(labels) == 1 and len(rows) == 2, rows
PY
