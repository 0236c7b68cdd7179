"""Record what darwin-py 3.6.3 writes and draws: python record_darwin.py OUT (with darwin-py, numpy, pycocotools).

Its writer knows polygons, boxes and tags; masks with their raster layer and an ellipse are added as the platform
exports them, and the package's own reader reads the file back.
"""

import json
import shutil
import sys
from pathlib import Path

import darwin.datatypes as dt
import numpy as np
from darwin.exporter.formats.darwin import build_image_annotation
from darwin.exporter.formats.mask import rle_decode
from darwin.utils import convert_polygons_to_mask, parse_darwin_json
from pycocotools import mask as rle

HEIGHT, WIDTH = 48, 64
out = Path(sys.argv[1]) / "darwin"
ring = np.zeros((HEIGHT, WIDTH), int)
ring[25:34, 30:41] = 1
ring[28:31, 34:38] = 0
ring[40:44, 5:9] = 2


def path(*corners):
    return [{"x": x, "y": y} for x, y in corners]


def dense_rle(values):
    flat = values.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    lengths = np.diff(starts, append=flat.size)
    return np.stack([flat[starts], lengths], axis=1).ravel().tolist()


def with_id(annotation, number):
    annotation.id = f"00000000-0000-0000-0000-00000000000{number}"
    return annotation


PATHS = [
    path((3.0, 2.0), (21.5, 4.25), (18.0, 17.0), (5.5, 15.75)),
    path((8.0, 6.0), (15.0, 6.0), (15.0, 12.0), (8.0, 12.0)),
    path((24.0, 3.0), (34.0, 3.0), (29.0, 12.0)),
]
annotations = [
    with_id(dt.make_polygon("cat", PATHS, {"x": 3, "y": 2, "w": 31, "h": 15}), 1),
    with_id(dt.make_bounding_box("ball", 48.0, 10.0, 12.0, 10.0), 2),
    with_id(dt.make_tag("sunny"), 3),
]


def file_of(name, rows):
    slots = [dt.Slot("0", "image", [dt.SourceFile(name)], None, WIDTH, HEIGHT)]
    classes = {row.annotation_class for row in rows}
    return dt.AnnotationFile(Path(name), name, classes, rows, slots=slots, remote_path="/")


shutil.rmtree(out, ignore_errors=True)
folder = out / "set" / "releases" / "latest" / "annotations"
folder.mkdir(parents=True)
for stem, rows in (("a", annotations), ("b", [])):
    content = build_image_annotation(file_of(f"{stem}.jpg", rows), "team")
    if rows:
        ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in (4, 5)]
        content["annotations"] += [
            {"id": ids[0], "name": "dog", "mask": {}, "slot_names": ["0"]},
            {"id": ids[1], "name": "cat", "mask": {}, "slot_names": ["0"]},
            {
                "id": "00000000-0000-0000-0000-000000000006",
                "name": "__raster_layer__",
                "slot_names": ["0"],
                "raster_layer": {
                    "dense_rle": dense_rle(ring),
                    "mask_annotation_ids_mapping": {ids[0]: 1, ids[1]: 2},
                    "total_pixels": HEIGHT * WIDTH,
                },
            },
            {
                "id": "00000000-0000-0000-0000-000000000007",
                "name": "ball",
                "slot_names": ["0"],
                "ellipse": {
                    "center": {"x": 50.0, "y": 34.0},
                    "radius": {"x": 8.0, "y": 6.0},
                    "angle": 0.0,
                },
            },
        ]
    (folder / f"{stem}.json").write_text(json.dumps(content, indent=1, default=vars) + "\n")
read = {row.id[-1]: row for row in parse_darwin_json(folder / "a.json", None).annotations}
kinds = [read[number].annotation_class.annotation_type for number in "1234567"]
assert kinds == ["polygon", "bounding_box", "tag", "mask", "mask", "raster_layer", "ellipse"]
polygon = convert_polygons_to_mask(read["1"].data["paths"], HEIGHT, WIDTH)
layer = np.reshape(rle_decode(read["6"].data["dense_rle"], {0: 0, 1: 1, 2: 2}), (HEIGHT, WIDTH))


def code(mask):
    return rle.encode(np.asfortranarray(np.asarray(mask, np.uint8)))["counts"].decode()


truth = {"polygon": code(polygon), "dog": code(layer == 1), "cat": code(layer == 2)}
(out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
