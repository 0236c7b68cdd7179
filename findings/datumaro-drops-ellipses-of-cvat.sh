#!/usr/bin/env bash
# Versions: datumaro 1.13.12, Python 3.11.
#
# Expected: what CVAT for images 1.1 calls an ellipse (one of CVAT's drawing tools) is read, as datumaro has an ellipse of
# its own, or the import refuses.
# What happens: polygons, boxes and masks of the file are read; ellipses are not there, without an error or a warning. The
# other way round, exporting to CVAT or LabelMe leaves datumaro's own ellipses out; COCO and datumaro's own JSON hold them.
# Why it matters: round things (cells, fruit, wheels) are what people draw as ellipses; a photo of them alone becomes a
# photo of nothing, which trains against the class.
# Instead: count objects before and after; turn ellipses into polygons or masks in CVAT before exporting.
#
# Seen:
#   in the CVAT file: ellipse, polygon; imported: polygon
#   exported and read back, coco_instances: 2 objects
#   exported and read back, cvat: 1 objects
#   exported and read back, label_me: 1 objects
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
import os
import numpy as np
from datumaro import Dataset, DatasetItem, Ellipse, Polygon
from datumaro.components.media import Image
from PIL import Image as Picture

os.makedirs("cvat/images")
Picture.fromarray(np.full((48, 64, 3), 90, np.uint8)).save("cvat/images/a.jpg")
SHAPES = """<ellipse label="cell" source="manual" occluded="0" cx="20.00" cy="20.00" rx="10.00" ry="5.00" z_order="0"></ellipse>
<polygon label="cell" source="manual" occluded="0" points="30.00,30.00;50.00,30.00;40.00,44.00" z_order="0"></polygon>"""
LABELS = "<labels><label><name>cell</name><attributes></attributes></label></labels>"
with open("cvat/annotations.xml", "w") as file:
    file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
               "<meta><task><name>task</name>%s</task></meta>"
               '<image id="0" name="a.jpg" width="64" height="48">%s</image></annotations>' % (LABELS, SHAPES))
imported = [shape.type.name for item in Dataset.import_from("cvat", "cvat") for shape in item.annotations]
print("in the CVAT file: ellipse, polygon; imported: %s" % ", ".join(imported))

seen = {}
for kind in ("coco_instances", "cvat", "label_me"):
    photo = Image.from_numpy(data=np.full((48, 64, 3), 90, np.uint8), ext=".jpg")
    shapes = [Ellipse(10, 15, 30, 25, label=0, group=1), Polygon([30, 30, 50, 30, 40, 44], label=0, group=2)]
    data = Dataset.from_iterable([DatasetItem("a", subset="train", media=photo, annotations=shapes)], categories=["cell"])
    data.export("out_" + kind, kind, save_media=True)
    back = [shape for item in Dataset.import_from("out_" + kind, kind) for shape in item.annotations]
    seen[kind] = sum(shape.type.name != "bbox" for shape in back)
    print("exported and read back, %s: %d objects" % (kind, seen[kind]))
assert imported == ["polygon"] and seen == {"coco_instances": 2, "cvat": 1, "label_me": 1}, (imported, seen)
PY
