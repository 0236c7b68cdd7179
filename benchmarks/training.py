"""Training speed of nano on this machine, in images a second, and the memory of a step.

    python benchmarks/training.py --size 224 --batch 8

Noise images with painted objects stand in for data; drawing samples and prompts is part of a step. Writes medians and
quartiles (wall clock, after warm-up) for float32 and bfloat16, with 1 thread and with all, and the peak memory that all
steps took beyond the loaded network, to benchmarks/results/training_<device>_<batch>x<named>_<date>.json. Each setting
has a process of its own, so that none finds memory that another left. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from seem.data.banked_image import BankedImage, BankedObject
from seem.data.image_bank import ImageBank
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.evaluation.report import Machine, installed_versions
from seem.loading import open_network, usable_device
from seem.models.precision import Precision
from seem.training import resources
from seem.training.batch_sampler import BatchSampler
from seem.training.config import TrainConfig
from seem.training.objectives import objective_for
from seem.training.optimizer import make_optimizer
from seem.training.steps import compute_loss

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("person", "dog", "car", "tree", "sky", "road")
WARM_UP = 2
IMAGE_HW = (240, 320)


@dataclass(frozen=True)
class Timing:
    """One setting: images a second (median and quartiles over steps) and the peak memory of all steps.

    For each of `batch` images with prompted targets, `named` further images are asked for class names alone.
    """

    arithmetic: Precision
    threads: int
    batch: int
    named: int
    size: int
    steps: int
    photos_per_second: float
    quartiles: tuple[float, float]
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--model", default="nano")
    reader.add_argument("--size", type=int, default=224)
    reader.add_argument("--batch", type=int, default=8)
    reader.add_argument("--steps", type=int, default=10)
    reader.add_argument(
        "--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()})
    )
    reader.add_argument(
        "--named",
        type=int,
        default=0,
        help="images asked for class names alone, for each other one",
    )
    reader.add_argument("--device")
    reader.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = reader.parse_args(arguments)
    device = usable_device(options.device)
    rows: list[Timing] = []
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for threads, precision in itertools.product(options.threads, precisions):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            row = apart.submit(measure, options.model, device, precision, threads, options).result()
            rows.append(row)
            print(
                f"{threads} threads  {precision:<9} {row.photos_per_second:6.2f} photos/s  {row.peak_mb:7.0f} MB"
            )
    print(save(options.model, device, rows, options.out, f"{options.batch}x{options.named}"))


def measure(
    model: str,
    device: torch.device,
    precision: Precision,
    threads: int,
    options: argparse.Namespace,
) -> Timing:
    """Take steps with forward, backward and optimizer."""
    torch.set_num_threads(threads)
    loaded = open_network(model)
    network = loaded.network.train().to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(network, TrainConfig(learning_rate=1e-5))
    sampler = BatchSampler(make_bank(), options.size, options.batch, 0, naming_ratio=options.named)
    objective = objective_for(network, loaded.tokenizer())
    rates = []
    with resources.measure_peak_memory(device) as taken:
        for number in range(WARM_UP + options.steps):
            started = time.perf_counter()
            loss, _ = compute_loss(network, sampler.draw(number, network), objective, precision)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= WARM_UP:
                rates.append(options.batch * (1 + options.named) / (time.perf_counter() - started))
    low, middle, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
    return Timing(
        arithmetic=precision,
        threads=threads,
        batch=options.batch,
        named=options.named,
        size=options.size,
        steps=options.steps,
        photos_per_second=round(middle, 3),
        quartiles=(round(low, 3), round(high, 3)),
        peak_mb=round(taken.peak / 1e6, 1),
    )


def make_bank(count: int = 16) -> ImageBank:
    """Draw images of noise with rectangles of known classes."""
    rng = np.random.default_rng(0)
    return ImageBank([draw_image(number, rng) for number in range(count)])


def draw_image(number: int, rng: np.random.Generator) -> BankedImage:
    pixels = rng.integers(0, 256, (*IMAGE_HW, 3), dtype=np.uint8)
    objects = [draw_rectangle(i, number, pixels, rng) for i in range(3)]
    record = ImageRecord(
        id=number,
        set_name="noise",
        path=Path("x.jpg"),
        hw=IMAGE_HW,
        split="train",
        labelled="x",
        source="noise",
        licence_group="",
        captions=(),
        panoptic_path=None,
        semantic_path=None,
        sequence="",
        frame=None,
    )
    return BankedImage(record, pixels, tuple(objects), ignored=(), complete_names=frozenset(NAMES))


def draw_rectangle(
    number: int, image: int, pixels: np.ndarray, rng: np.random.Generator
) -> BankedObject:
    """Darken a rectangle of an image, in place."""
    x, y = int(rng.integers(0, 200)), int(rng.integers(0, 140))
    width, height = 90, 80
    pixels[y : y + height, x : x + width] //= 2
    name = NAMES[int(rng.integers(len(NAMES)))]
    record = ObjectRecord(
        id=number,
        image_id=image,
        category=CategoryRecord(NAMES.index(name) + 1, name, name, is_thing=True),
        counts="",
        hw=IMAGE_HW,
        box=(float(x), float(y), float(x + width), float(y + height)),
        area=width * height,
        is_crowd=False,
        quality="",
        phrases=(),
        phrase_source="",
        track_id=None,
    )
    return BankedObject(
        record=record,
        box=(x, y, x + width, y + height),
        soft_mask=np.full((height, width), 255, np.uint8),
        area=float(width * height),
    )


def save(model: str, device: torch.device, rows: Sequence[Timing], folder: Path, what: str) -> Path:
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    record = {
        "model": model,
        "device": str(device),
        "machine": asdict(Machine.here(torch.get_num_threads())),
        "versions": installed_versions(),
        "timings": [asdict(row) for row in rows],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"training_{device.type}_{what}_{today}.json"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
