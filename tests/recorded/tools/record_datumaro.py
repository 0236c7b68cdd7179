"""Record what datumaro 1.13.12 writes: python record_datumaro.py OUT (with datumaro, numpy, pycocotools).

Its exports to CVAT, LabelMe (XML), CamVid and its own JSON; masks are drawn by pycocotools, as datumaro does.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from datumaro import Dataset, DatasetItem
from datumaro.components import annotation as drawn
from datumaro.components.media import Image
from pycocotools import mask as rle

HW = (48, 64)
LABELS = ["cat", "dog", "ball"]
out = Path(sys.argv[1])

ring = np.zeros(HW, np.uint8)
ring[25:34, 30:41] = 1
ring[28:31, 34:38] = 0
POLYGON = [3.0, 2.0, 17.5, 4.25, 14.0, 15.0, 5.5, 13.75]
PART = [20.0, 3.0, 30.0, 3.0, 25.0, 12.0]


def polygon(points, label=0, **options):
    return drawn.Polygon(points, label=label, **options)


def annotations(kind):
    rotated = [drawn.RotatedBbox(50, 36, 16, 8, 30.0, label=2)] if kind == "cvat" else []
    ellipse = [drawn.Ellipse(2, 28, 14, 36, label=2)] if kind == "datumaro" else []
    return [
        polygon(POLYGON, group=1),
        polygon(PART, group=1),
        drawn.Bbox(48.0, 10.0, 12.0, 10.0, label=1, attributes={"occluded": True}),
        drawn.Mask(ring, label=1, attributes={"is_crowd": True}),
        *rotated,
        *ellipse,
        drawn.PolyLine([20.0, 40.0, 22.0, 44.0, 30.0, 41.0], label=0),
        drawn.Points([5.0, 5.0], label=0),
        drawn.Label(1),
    ]


def code_of(shapes):
    parts = []
    for shape in shapes:
        if shape.type == drawn.AnnotationType.mask:
            parts.append(rle.encode(np.asfortranarray(shape.image.astype(np.uint8))))
        else:
            corners = np.ravel(shape.as_polygon()).tolist()
            parts += rle.frPyObjects([corners], *HW)
    return rle.merge(parts)["counts"].decode()


def truth(shapes):
    areas = [
        shape
        for shape in shapes
        if not isinstance(shape, (drawn.PolyLine, drawn.Points, drawn.Label))
    ]
    objects = [areas[:2], *([shape] for shape in areas[2:])]
    return [{"label": LABELS[parts[0].label], "counts": code_of(parts)} for parts in objects]


for kind in ("cvat", "datumaro", "label_me"):
    shapes = annotations(kind)
    pixels = np.full((*HW, 3), 90, np.uint8)
    items = [
        DatasetItem(
            "a", subset="train", media=Image.from_numpy(pixels, ext=".jpg"), annotations=shapes
        ),
        DatasetItem("b", subset="train", media=Image.from_numpy(pixels, ext=".jpg")),
    ]
    dataset = Dataset.from_iterable(items, categories=LABELS)
    folder = out / f"datumaro_{kind}"
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as temporary:
        dataset.export(temporary, kind, save_media=True)
        shutil.copytree(temporary, folder / "set", ignore=shutil.ignore_patterns("*.jpg"))
    (folder / "truth.json").write_text(json.dumps({"a": truth(shapes), "b": []}, indent=1) + "\n")

camvid = out / "datumaro_camvid"
shutil.rmtree(camvid, ignore_errors=True)
with tempfile.TemporaryDirectory() as temporary:
    cat = np.zeros(HW, np.uint8)
    cat[5:20, 3:30] = 1
    shapes = [drawn.Mask(cat, label=0), drawn.Mask(ring, label=1)]
    pixels = np.full((*HW, 3), 90, np.uint8)
    media = Image.from_numpy(pixels, ext=".jpg")
    items = [DatasetItem("a", subset="train", media=media, annotations=shapes)]
    Dataset.from_iterable(items, categories=LABELS).export(temporary, "camvid", save_media=True)
    shutil.copytree(temporary, camvid / "set")
    rows = [{"label": LABELS[shape.label], "counts": code_of([shape])} for shape in shapes]
    (camvid / "truth.json").write_text(json.dumps({"a": rows}, indent=1) + "\n")
