#!/usr/bin/env bash
# Versions: fastlabel 0.26.0, pycocotools 2.0.11, Python 3.11.
#
# Expected: an object of several parts is a row for each part, or one row that links them, as in the package's own
# export without `classes`.
# What happens: with `classes` the parts' rows are joined by a space, so class numbers stand among the coordinates. With
# two parts the row has an odd number of them; with three, or a part with two holes, an even one again, in which the
# second part has x and y swapped and two points more, made with class numbers. Holes are joined the same way, as if
# they were parts.
# Why it matters: a loader fails at the odd row or skips it, object and all; the even one reads without a complaint as
# another shape.
# Instead: leave `classes` out (parts become rows of their own, holes are filled), or export COCO.
#
# Seen:
#   2 parts: 1 row, coordinates: 21
#   3 parts: 1 row, coordinates: 32, of 3 squares of 400 pixels it draws 4708 pixels
#   3 parts without `classes`: 3 rows, coordinates: 10, 10, 10
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps \
    fastlabel==0.26.0 pycocotools==2.0.11 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88 \
    geojson==3.3.0 xmltodict==0.12.0 requests==2.34.2 certifi==2026.10.19.post1 charset-normalizer==3.5.3 \
    idna==3.20 urllib3==2.8.0
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
from unittest import mock

from fastlabel import Client
from pycocotools import mask as rle


def square(x, y):
    return [x, y, x + 20, y, x + 20, y + 20, x, y + 20, x, y]


def export(parts, classes, folder):
    """Coordinates of each row of one object of several parts, each without a hole."""
    points = [[part] for part in parts]
    shape = {"type": "segmentation", "value": "tree", "points": points, "attributes": [], "color": "#ff0000"}
    tasks = [{"name": "a.png", "width": 200, "height": 100, "annotations": [shape]}]
    client = Client.__new__(Client)
    with mock.patch.object(Client, "find_project_by_slug", return_value={"type": "image_segmentation"}):
        client.export_yolo("project", tasks, classes=classes, output_dir=folder)
    with open(folder + "/annotations/a.txt") as rows:
        return [[float(number) for number in row.split()[1:]] for row in rows]


parts = [square(10, 10), square(80, 60), square(160, 20)]
[odd] = export(parts[:2], ["tree"], "two")
print("2 parts: 1 row, coordinates: %d" % len(odd))
[even] = export(parts, ["tree"], "three")
polygon = [number * (100 if place % 2 else 200) for place, number in enumerate(even)]
area = int(rle.area(rle.frPyObjects([polygon], 100, 200))[0])
print("3 parts: 1 row, coordinates: %d, of 3 squares of 400 pixels it draws %d pixels" % (len(even), area))
apart = [len(row) for row in export(parts, [], "apart")]
print("3 parts without `classes`: %d rows, coordinates: %s" % (len(apart), ", ".join(map(str, apart))))
assert len(odd) == 21 and len(even) == 32 and area != 1200 and apart == [10, 10, 10], (odd, even, area, apart)
PY
