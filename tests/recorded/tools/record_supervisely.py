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
soft = np.full((12, 10), 255, np.uint8)  # an alpha mask that fades out at its left edge
soft[:, 0], soft[:, 1] = 40, 200
CLASSES = {
    "cat": sly.Polygon,
    "dog": sly.Bitmap,
    "ball": sly.Rectangle,
    "ear": sly.Polyline,
    "nose": sly.Point,
    "veil": sly.AlphaMask,
    "plate": sly.OrientedBBox,
    "car": sly.AnyGeometry,
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
FURTHER_FIGURES = [
    ("veil", sly.AlphaMask(soft, sly.PointLocation(20, 45))),
    ("plate", sly.OrientedBBox(30, 10, 40, 30, angle=0.5)),
    ("car", sly.Rectangle(2, 40, 9, 49)),
    ("car", sly.Bitmap(ring[25:34, 30:41], sly.PointLocation(8, 50))),
]


def label_of(name, figure):
    """Label a figure; the two of the car are one object."""
    label = sly.Label(figure, meta.get_obj_class(name))
    return label.clone(binding_key="one car") if name == "car" else label


labels = [label_of(*figure) for figure in FIGURES]
further_labels = [label_of(*figure) for figure in FURTHER_FIGURES]
ANNOTATIONS = {"a.jpg": labels, "b.jpg": [], "c.jpg": further_labels}
shutil.rmtree(out, ignore_errors=True)
with tempfile.TemporaryDirectory() as temporary:
    project = sly.Project(f"{temporary}/project", sly.OpenMode.CREATE)
    project.set_meta(meta)
    dataset = project.create_dataset("ds0")
    for name, of_photo in ANNOTATIONS.items():
        photo = np.full((*HW, 3), 90, np.uint8)
        dataset.add_item_np(name, photo, ann=sly.Annotation(HW, of_photo))
    shutil.copytree(f"{temporary}/project", out / "set", ignore=shutil.ignore_patterns("*.jpg"))


def row_of(*labels):
    """Draw one object."""
    drawn = np.zeros(HW, np.uint8)
    for label in labels:
        label.geometry.draw(drawn, 255)
    mask = np.asfortranarray(drawn >= 128, np.uint8)  # half opaque or more
    code = rle.encode(mask)["counts"].decode()
    return {"label": labels[0].obj_class.name, "counts": code}


veil, plate, *car = further_labels
truth = {
    "a": [row_of(label) for label in labels[:3]],
    "b": [],
    "c": [row_of(veil), row_of(plate), row_of(*car)],
}
(out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
