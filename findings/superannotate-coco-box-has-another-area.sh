#!/usr/bin/env bash
# Versions: superannotate 4.6.2, Python 3.11.
#
# Expected: boxes that are exported to COCO have the area of the box.
# What happens: `area` is (x2 - x1) * y2 - y1. It is too large, and the more so the lower the box lies in the image. The
# box itself is right.
# Why it matters: COCO's tools sort objects into small, medium and large by `area`: the same small object counts as small
# at the top of an image and as large at its foot, and every AP by size is of other objects than it says.
# Instead: compute `area` anew from `bbox`.
#
# Seen:
#   the same box of 30 x 30, further down: area 929, 5888, 14994 instead of 900
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile superannotate==4.6.2
mkdir -p "$work/home" && cd "$work"
HOME="$work/home" timeout 300 "$work/venv/bin/python" -W ignore - 2>/dev/null <<'PY'
import json
import os
from pathlib import Path

import superannotate

Path("project/classes").mkdir(parents=True)
name = dict(id=7, name="cat", color="#ff0000", attribute_groups=[])
Path("project/classes/classes.json").write_text(json.dumps([name]))
boxes = [dict(x1=20, y1=top, x2=50, y2=top + 30) for top in (1, 172, 486)]
instances = [
    dict(type="bbox", classId=7, className="cat", groupId=0, points=points, attributes=[]) for points in boxes
]
metadata = dict(name="cats.png", width=640, height=520)
content = dict(metadata=metadata, instances=instances, tags=[], comments=[])
Path("project/cats.png.json").write_text(json.dumps(content))

superannotate.export_annotation("project", "exported", "COCO", "cats", "Vector", "object_detection")
(file,) = Path("exported").rglob("cats.json")
objects = json.loads(file.read_text())["annotations"]
areas = [each["area"] for each in objects]
print("the same box of 30 x 30, further down: area %s instead of 900" % ", ".join(map(str, areas)), flush=True)
assert all(each["bbox"][2:] == [30, 30] for each in objects), objects
assert areas == [929, 5888, 14994], areas
os._exit(0)  # its usage statistics would wait for the network
PY
