"""Everything that a fine-tuning run needs, in tiny: photos of bricks, a network that trains in milliseconds.

As a script: `tiny_training.py RUN DATA... [--plug STEP]` goes on with a run, and pulls the plug in that step.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from seem import zoo
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.finetuning.request import FineTuningRequest
from seem.training import distributed, steps
from tiny import tiny_nano, tiny_network, tiny_relative

HW = (48, 64)


def brick_photo(rng):
    """Draw a red brick on grey noise; returns pixels and mask."""
    pixels, mask = rng.integers(60, 90, (*HW, 3), dtype=np.uint8), np.zeros(HW, bool)
    x, y = rng.integers(4, 30, 2)
    mask[y : y + 16, x : x + 20] = True
    pixels[mask] = (220, 60, 40)
    return pixels, mask


def bricks(root, count=6, classes=("brick",)):
    """Write a folder of photos and class maps."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels, mask = brick_photo(rng)
        Image.fromarray(pixels).save(root / "images" / f"p{number}.png")
        Image.fromarray(mask.astype(np.uint8)).save(root / "masks" / f"p{number}.png")
    if classes:
        (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root


def walls(root, count=6):
    """Write bricks in front of a wall: every pixel has a class."""
    bricks(root, count, ("brick", "wall"))
    for file in (root / "masks").iterdir():
        with Image.open(file) as drawn:
            values = np.asarray(drawn)
        Image.fromarray(np.where(values == 1, 1, 2).astype(np.uint8)).save(file)
    return root


def coco_bricks(root, count=4, change=lambda document: None):
    """Write photos with one COCO file of polygons."""
    rng = np.random.default_rng(1)
    (root / "images").mkdir(parents=True)
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "brick"}]}
    for number in range(1, count + 1):
        pixels, mask = brick_photo(rng)
        Image.fromarray(pixels).save(root / "images" / f"p{number}.png")
        ys, xs = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        x0, y0, x1, y1 = int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1
        document["images"].append(
            {"id": number, "file_name": f"p{number}.png", "height": HW[0], "width": HW[1]}
        )
        document["annotations"].append(
            {"id": number, "image_id": number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0,
             "area": int(mask.sum()), "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
        )  # fmt: skip
    change(document)
    (root / "annotations.json").write_text(json.dumps(document))
    return root


def yolo_bricks(root, count=4):
    """Write a YOLO folder with train and val."""
    rng = np.random.default_rng(2)
    for number in range(count):
        part = "val" if number == 0 else "train"
        pixels, mask = brick_photo(rng)
        for name in ("images", "labels"):
            (root / name / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "images" / part / f"p{number}.png")
        ys, xs = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        x0, y0, x1, y1 = xs[0] / HW[1], ys[0] / HW[0], (xs[-1] + 1) / HW[1], (ys[-1] + 1) / HW[0]
        row = " ".join(f"{value:.6f}" for value in (x0, y0, x1, y0, x1, y1, x0, y1))
        (root / "labels" / part / f"p{number}.txt").write_text(f"0 {row}\n")
    (root / "data.yaml").write_text(
        "path: .\ntrain: images/train\nval: images/val\nnames: [brick]\n"
    )
    return root


def use_tiny_nano(folder):
    """Let nano be tiny, with weights in `folder`; returns what to undo with, name by name."""
    file = Path(folder) / "tiny.safetensors"
    if not file.exists():
        write_tensors(file, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    return zoo.MODEL_CARDS | {"nano": replace(zoo.MODEL_CARDS["nano"], config=tiny_nano)}, file


def use_tiny_xdecoder(folder, monkeypatch):
    """Let the small X-Decoder be tiny; returns the file of its weights."""
    network = tiny_relative("xdecoder").network
    name, file = "xdecoder-focal-t", Path(folder) / "xdecoder.safetensors"
    write_tensors(file, network.state_dict(), {MODEL_KEY: name})
    card = replace(zoo.MODEL_CARDS[name], config=lambda: replace(network.config, name=name))
    monkeypatch.setattr(zoo, "MODEL_CARDS", zoo.MODEL_CARDS | {name: card})
    return file


def with_captions(document):
    """Say something of every photo of a COCO file."""
    for image in document["images"]:
        image["captions"] = ["A red brick in front of a wall."]


def request_for(data, out, model, **changes):
    """Ask for a short run on small canvases."""
    options = {"steps": 6, "size": 64, "batch": 2, "patience": 0, "device": "cpu", **changes}
    return FineTuningRequest(
        data=tuple(str(each) for each in data), out=Path(out), model=str(model), **options
    )


def main(arguments):
    """Go on with a run under torchrun or alone."""
    from seem.finetuning.run import finetune

    torch.set_num_threads(1)
    plug = int(arguments.pop()) if arguments[-2:-1] == ["--plug"] else None
    arguments = [word for word in arguments if word != "--plug"]
    out, weights, *data = arguments
    zoo.MODEL_CARDS, _ = use_tiny_nano(Path(weights).parent)
    if plug is not None:
        real = steps.compute_loss

        def pulled(*rest, count=[0]):  # noqa: B006
            count[0] += 1
            if count[0] > plug:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*rest)

        steps.compute_loss = pulled
    distributed.join_world()
    try:
        finetune(request_for(data, out, weights), resume=True, write_line=lambda text: None)
    finally:
        distributed.leave_world()


if __name__ == "__main__":
    main(sys.argv[1:])
