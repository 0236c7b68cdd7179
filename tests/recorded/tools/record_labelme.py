"""Record what labelme 6.3.1 writes and draws: python record_labelme.py OUT (with labelme, numpy, pycocotools)."""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
from labelme import utils
from labelme._label_file import write_label_file
from PIL import Image
from pycocotools import mask as rle

HW = (48, 64)
out = Path(sys.argv[1]) / "labelme"
(out / "set" / "annotations").mkdir(parents=True, exist_ok=True)


def base64_png(mask):
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def shape(label, points, kind="polygon", group=None, mask=None, **flags):
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "",
        "shape_type": kind,
        "flags": flags,
        "mask": mask,
    }


ring = np.ones((9, 11), bool)
ring[3:6, 4:8] = False
SHAPES = [
    shape("cat", [[3.0, 2.0], [17.5, 4.25], [14.0, 15.0], [5.5, 13.75]], group=1),
    shape("dog", [[60.0, 20.0], [48.0, 10.0]], "rectangle"),
    shape("cat", [[20.0, 3.0], [30.0, 3.0], [25.0, 12.0]], group=1),
    shape("ball", [[12.0, 30.0], [17.0, 33.0]], "circle"),
    shape("dog", [[30, 25], [40, 33]], "mask", mask=base64_png(ring)),
    shape("box", [[45.0, 30.0], [57.0, 36.0], [54.0, 42.0], [42.0, 36.0]], "oriented_rectangle"),
    shape("cat", [[2.0, 40.0], [10.0, 46.0]], "line"),
    shape("cat", [[5.0, 5.0]], "point"),
    shape("cat", [[20.0, 40.0], [22.0, 44.0], [30.0, 41.0]], "linestrip"),
]
for name, shapes in (("a", SHAPES), ("b", [])):
    write_label_file(
        str(out / "set" / "annotations" / f"{name}.json"),
        shapes=shapes,
        image_path=f"..\\images\\{name}.jpg",
        image_height=HW[0],
        image_width=HW[1],
    )

drawable = [
    {**entry, "mask": utils.img_b64_to_arr(entry["mask"]).astype(bool) if entry["mask"] else None}
    for entry in SHAPES[:6]
]
classes = {name: number for number, name in enumerate(("_", "ball", "box", "cat", "dog"))}
_, instances = utils.shapes_to_label((*HW, 3), drawable, classes)
truth = []
for number, label in enumerate(("cat", "dog", "ball", "dog", "box"), 1):
    code = rle.encode(np.asfortranarray((instances == number).astype(np.uint8)))
    truth.append({"label": label, "counts": code["counts"].decode()})
(out / "truth.json").write_text(json.dumps({"a": truth, "b": []}, indent=1) + "\n")
