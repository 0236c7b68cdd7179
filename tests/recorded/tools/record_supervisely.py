"""Record what Supervisely's SDK 6.74.51 writes and draws: python record_supervisely.py OUT."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import supervisely as sly
from pycocotools import mask as rle

HW = (48, 64)
out = Path(sys.argv[1]) / "supervisely"
ring = np.zeros(HW, bool)
ring[25:34, 30:41] = True
ring[28:31, 34:38] = False
CLASSES = {
    "cat": sly.Polygon,
    "dog": sly.Bitmap,
    "ball": sly.Rectangle,
    "ear": sly.Polyline,
    "nose": sly.Point,
}
meta = sly.ProjectMeta([sly.ObjClass(name, shape) for name, shape in CLASSES.items()])
exterior = [(2, 3), (5, 17), (15, 14), (13, 5)]  # row, column
hole = [(6, 8), (6, 12), (10, 12), (10, 8)]
FIGURES = [
    (
        "cat",
        sly.Polygon(
            [sly.PointLocation(*p) for p in exterior], [[sly.PointLocation(*p) for p in hole]]
        ),
    ),
    ("dog", sly.Bitmap(ring)),
    ("ball", sly.Rectangle(10, 48, 19, 59)),
    ("ear", sly.Polyline([sly.PointLocation(40, 20), sly.PointLocation(44, 22)])),
    ("nose", sly.Point(5, 5)),
]
labels = [sly.Label(figure, meta.get_obj_class(name)) for name, figure in FIGURES]
shutil.rmtree(out, ignore_errors=True)
with tempfile.TemporaryDirectory() as temporary:
    project = sly.Project(f"{temporary}/project", sly.OpenMode.CREATE)
    project.set_meta(meta)
    dataset = project.create_dataset("ds0")
    for name, annotation in (("a.jpg", sly.Annotation(HW, labels)), ("b.jpg", sly.Annotation(HW))):
        dataset.add_item_np(name, np.full((*HW, 3), 90, np.uint8), ann=annotation)
    shutil.copytree(f"{temporary}/project", out / "set", ignore=shutil.ignore_patterns("*.jpg"))
rows = []
for label in labels[:3]:
    drawn = np.zeros(HW, np.uint8)
    label.geometry.draw(drawn, 1)
    code = rle.encode(np.asfortranarray(drawn))["counts"].decode()
    rows.append({"label": label.obj_class.name, "counts": code})
(out / "truth.json").write_text(json.dumps({"a": rows, "b": []}, indent=1) + "\n")
