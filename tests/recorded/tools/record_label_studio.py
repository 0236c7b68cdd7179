"""Record what Label Studio's SDK 2.1.2 encodes and draws: python record_label_studio.py OUT (with label-studio-sdk).

Regions as the editor stores them; the brush mask is encoded and decoded by the SDK, the outlines are drawn by its
converter to COCO.
"""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import Converter
from label_studio_sdk.converter.brush import decode_rle, encode_rle
from pycocotools import mask as rle

warnings.simplefilter("ignore")
HEIGHT, WIDTH = 48, 64
CONFIG = """<View><Image name="img" value="$image"/>
<PolygonLabels name="p" toName="img"><Label value="cat"/></PolygonLabels>
<RectangleLabels name="r" toName="img"><Label value="dog"/></RectangleLabels>
<EllipseLabels name="e" toName="img"><Label value="ball"/></EllipseLabels>
<BrushLabels name="b" toName="img"><Label value="dog"/></BrushLabels>
<KeyPointLabels name="k" toName="img"><Label value="cat"/></KeyPointLabels>
<Choices name="c" toName="img"><Choice value="sunny"/></Choices></View>"""

ring = np.zeros((HEIGHT, WIDTH), np.uint8)
ring[25:34, 30:41] = 1
ring[28:31, 34:38] = 0


def brush(mask):
    """Encode a mask as the editor does: red, green, blue and alpha of every pixel."""
    return encode_rle(np.repeat((mask * 255).ravel(), 4).astype(np.uint8))


def region(number, kind, origin, value, **fields):
    sizes = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    row = {"id": f"r{number}", "type": kind, "from_name": origin, "to_name": "img", "value": value}
    return {**row, **sizes, **fields}


POINTS = [[3.0, 2.0], [17.5, 4.25], [14.0, 15.0], [5.5, 13.75]]
percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in POINTS]
box = {"x": 75.0, "y": 20.0, "width": 18.75, "height": 20.0, "rotation": 0}
turned = {"x": 62.5, "y": 66.0, "width": 25.0, "height": 16.0, "rotation": 30}
ellipse = {"x": 12.5, "y": 66.0, "radiusX": 9.375, "radiusY": 8.0, "rotation": 0}
RESULTS = [
    region(1, "polygonlabels", "p", {"points": percent, "closed": True, "polygonlabels": ["cat"]}),
    region(2, "rectanglelabels", "r", {**box, "rectanglelabels": ["dog"]}),
    region(3, "brushlabels", "b", {"format": "rle", "rle": brush(ring), "brushlabels": ["dog"]}),
    region(4, "rectangle", "rect", turned),
    region(4, "labels", "lab", {**turned, "labels": ["dog"]}),
    region(5, "ellipselabels", "e", {**ellipse, "ellipselabels": ["ball"]}),
    region(
        6, "keypointlabels", "k", {"x": 10.0, "y": 10.0, "width": 1.0, "keypointlabels": ["cat"]}
    ),
    {
        "id": "r7",
        "type": "choices",
        "from_name": "c",
        "to_name": "img",
        "value": {"choices": ["sunny"]},
    },
]


def task(number, image, *annotations):
    return {
        "id": number,
        "data": {"image": image},
        "annotations": list(annotations),
        "predictions": [],
    }


def annotation(number, results, **fields):
    return {
        "id": number,
        "result": results,
        "was_cancelled": False,
        "ground_truth": False,
        **fields,
    }


TASKS = [
    task(1, "/data/upload/1/0a1b2c3d-a.jpg", annotation(1, RESULTS)),
    task(2, "/data/local-files/?d=photos/b.jpg", annotation(2, [])),
    task(3, "s3://bucket/photos/c%20d.jpg?versionId=3", annotation(3, [], was_cancelled=True)),
]
out = Path(sys.argv[1]) / "label_studio"
(out / "set").mkdir(parents=True, exist_ok=True)
(out / "set" / "project-1.json").write_text(json.dumps(TASKS, indent=1) + "\n")


def decoded():
    values = decode_rle(RESULTS[2]["value"]["rle"])
    return values.reshape(HEIGHT, WIDTH, 4)[:, :, 3] > 0


def polygon_of_coco():
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "tasks.json"
        one = task(1, "/data/upload/1/0a1b2c3d-a.jpg", annotation(1, RESULTS[:1]))
        source.write_text(json.dumps([one]))
        Converter(CONFIG, temporary, download_resources=False).convert_to_coco(
            str(source), temporary, output_image_dir=temporary, is_dir=False
        )
        return json.loads((Path(temporary) / "result.json").read_text())["annotations"][0][
            "segmentation"
        ]


polygon = rle.merge(rle.frPyObjects(polygon_of_coco(), HEIGHT, WIDTH))
brushed = rle.encode(np.asfortranarray(decoded().astype(np.uint8)))
truth = {"polygon": polygon["counts"].decode(), "brush": brushed["counts"].decode()}
(out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
