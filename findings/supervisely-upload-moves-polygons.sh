#!/usr/bin/env bash
# Versions: supervisely 6.74.51, Python 3.11.
#
# Expected: a square that was drawn from 5 to 15 in the labeling tool covers 10 x 10 pixels, drawn as a rectangle or as a
# polygon, and a project that is downloaded and uploaded again without a change lies where it lay.
# What happens: the SDK converts between the tool's frame (edges of pixels) and its own (whole pixels), by two private
# methods that are called here as download and upload call them. A rectangle loses its last column and row, 5..14, and gets
# them back. Corners of a polygon are only rounded down, 5..15, and drawn with their border: 121 pixels instead of 100,
# though its `area` says 100. On upload half a pixel is added: 5.5..15.5.
# Why it matters: two objects of the same outline have two masks, and every round through the SDK moves whole-number polygons
# by half a pixel to the lower right (once: the next download rounds down again).
# Instead: keep masks as bitmaps, whose pixels are the same in both frames; compare areas of polygons with drawn masks.
#
# Seen:
#   polygon: downloaded 5 to 15, drawn 121 pixels, area 100, uploaded 5.5 to 15.5
#   rectangle: downloaded 5 to 14, drawn 100 pixels, area 100, uploaded 5 to 15
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-compile \
    supervisely==6.74.51 numpy==2.4.6 opencv-python==4.14.0.94 pillow==12.3.0 shapely==2.1.2
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PY'
import numpy as np
import supervisely as sly

KINDS = {"polygon": sly.Polygon, "rectangle": sly.Rectangle}
CORNERS = {"polygon": [[5, 5], [15, 5], [15, 15], [5, 15]], "rectangle": [[5, 5], [15, 15]]}
meta = sly.ProjectMeta([sly.ObjClass(name, kind) for name, kind in KINDS.items()])
objects = [
    {"classTitle": name, "geometryType": name, "points": {"exterior": corners, "interior": []}, "tags": []}
    for name, corners in CORNERS.items()
]
in_tool = {"size": {"height": 48, "width": 64}, "tags": [], "description": "", "objects": objects}
# what `api.annotation.download` and `api.annotation.upload_anns` do with an annotation
downloaded = sly.Annotation._to_pixel_coordinate_system_json(in_tool)
uploaded = sly.Annotation._to_subpixel_coordinate_system_json(downloaded)


def span(document, number):
    xs = [x for x, _ in document["objects"][number]["points"]["exterior"]]
    return min(xs), max(xs)


seen = {}
for number, label in enumerate(sly.Annotation.from_json(downloaded, meta).labels):
    mask = np.zeros((48, 64), np.uint8)
    label.geometry.draw(mask, 1)
    name = label.obj_class.name
    seen[name] = (*span(downloaded, number), int(mask.sum()), int(label.geometry.area), *span(uploaded, number))
    print("%s: downloaded %g to %g, drawn %d pixels, area %d, uploaded %g to %g" % (name, *seen[name]))
assert seen == {"polygon": (5, 15, 121, 100, 5.5, 15.5), "rectangle": (5, 14, 100, 100, 5, 15)}, seen
PY
