"""Exported graphs of nano beside PyTorch: size, start, memory, time and mIoU, each in a process of its own.

    seem export --model nano --out graphs; seem export --model nano --out graphs8 --precision int8
    python benchmarks/exports.py pytorch graphs graphs8 openvino:graphs --data DATA [--photos 20]

One thread; CPU seconds, medians. Objects are the largest of each photo: a click at the pixel deepest inside, and its
box.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

PYTORCH, OPENVINO = "pytorch", "openvino:"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
COLUMNS = ("MB", "start", "RSS", "encode", "click", "click mIoU", "box mIoU")


def main() -> None:
    """Measure every subject in a process, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subjects", nargs="+", help="pytorch, FOLDER or openvino:FOLDER")
    parser.add_argument("--data", type=Path, required=True, help="folder: annotations.json, images")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.subjects[0], options.data, options.photos)))
        return
    print(f"| | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}", flush=True)
    for subject in options.subjects:
        words = [subject, "--data", str(options.data), "--photos", str(options.photos), "--alone"]
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        run = subprocess.run(
            [sys.executable, __file__, *words],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        figures = json.loads(run.stdout.splitlines()[-1])
        cells = [f"{figures[column]:.3g}" for column in COLUMNS]
        print(f"| {subject} | {' | '.join(cells)} |", flush=True)


def measure(subject: str, data: Path, num_photos: int) -> dict[str, float]:
    """Return the figures of one subject; this process has done nothing else."""
    started = time.process_time()
    encode = opened(subject)
    photos = sorted((data / "images").rglob("*.jpg"))
    click(encode(photos[0]), (20, 20))
    start = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    encode_seconds, click_seconds, clicked, boxed = [], [], [], []
    for path, mask in objects_of(data, num_photos):
        began = time.process_time()
        photo = encode(path)
        encoded = time.process_time()
        answer = click(photo, deepest_pixel(mask))
        click_seconds.append(time.process_time() - encoded)
        encode_seconds.append(encoded - began)
        clicked.append(iou(answer, mask))
        boxed.append(iou(fill_box(photo, mask), mask))
    return {
        "MB": size_of(subject),
        "start": start,
        "RSS": memory,
        "encode": statistics.median(encode_seconds),
        "click": statistics.median(click_seconds),
        "click mIoU": 100 * statistics.mean(clicked),
        "box mIoU": 100 * statistics.mean(boxed),
    }


def opened(subject: str):
    """Return the function that encodes a photo."""
    if subject == PYTORCH:
        import torch

        import seem

        torch.set_num_threads(1)
        return seem.load("nano", "cpu", "exact").encode
    import seem_lite

    model = seem_lite.load(subject.removeprefix(OPENVINO), threads=1)
    if subject.startswith(OPENVINO):
        for name in ("image", "text", "prompts"):
            model._graphs[name] = OpenVINOGraph(model.folder / f"{name}.onnx")
    return model.encode


class OpenVINOGraph:
    """A graph of a folder in OpenVINO, in float32, on one thread."""

    def __init__(self, path: Path) -> None:
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        self.model = core.compile_model(core.read_model(path), "CPU", settings)

    def __call__(self, **inputs):
        return {output.any_name: value for output, value in self.model(inputs).items()}


def click(photo, position):
    """Return the mask of a click."""
    if "seem_lite" in type(photo).__module__:
        return photo.segment(points=[position]).mask
    import seem

    return photo.segment(seem.Point(*position)).masks[0]


def fill_box(photo, mask):
    """Return the mask of an object's box."""
    ys, xs = mask.nonzero()
    box = [int(value) for value in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]
    if "seem_lite" in type(photo).__module__:
        return photo.segment(boxes=[box]).mask
    import seem

    return photo.segment(seem.Box(*box)).masks[0]


def objects_of(data: Path, num_photos: int):
    """Yield the photo and the mask of its largest object, for the first photos of a COCO file."""
    from pycocotools.coco import COCO

    sys.stdout = sys.stderr  # it prints
    coco = COCO(data / "annotations.json")
    sys.stdout = sys.__stdout__
    for image_id in sorted(coco.imgs)[:num_photos]:
        annotations = coco.loadAnns(coco.getAnnIds(image_id, iscrowd=False))
        if annotations:
            largest = max(annotations, key=lambda each: each["area"])
            name = coco.imgs[image_id]["file_name"]
            yield next(data.rglob(name)), coco.annToMask(largest) > 0


def deepest_pixel(mask):
    """Return the (x, y) of the pixel that is farthest from the edge of a mask."""
    import numpy as np
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = divmod(int(distance.argmax()), mask.shape[1])
    return column, row


def iou(one, other) -> float:
    """Return the IoU of two masks."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def size_of(subject: str) -> float:
    """Return the megabytes of what the subject reads."""
    if subject == PYTORCH:
        import seem

        return (Path(seem.__file__).parent / "assets" / "nano.safetensors").stat().st_size / 1e6
    folder = Path(subject.removeprefix(OPENVINO))
    return sum(file.stat().st_size for file in folder.iterdir()) / 1e6


if __name__ == "__main__":
    main()
