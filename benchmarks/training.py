"""How many photos a second nano learns from on this machine, and how much memory a step takes.

    python benchmarks/training.py --size 224 --batch 8

Noise photos with painted objects stand in for data; drawing samples and prompts is part of a step. Writes medians and
quartiles (wall clock, after warm-up) for float32 and bfloat16, with 1 thread and with all, and the peak memory that all
steps took beyond the loaded network, to benchmarks/results/training_<device>_<batch>x<named>_<date>.json. Each setting
has a process of its own, so that none finds memory that another left. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import datetime
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

from seem.data.pack import BankedImage, BankedObject, ImageBank
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.evaluation.report import Machine, installed_versions
from seem.loading import open_network, usable_device
from seem.training import room
from seem.training.course import Arithmetic, Course, loss_for, priced
from seem.training.engine import TrainConfig, make_optimizer

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("person", "dog", "car", "tree", "sky", "road")
WARM_UP = 2


@dataclass(frozen=True)
class Timing:
    """One setting: photos a second (median and quartiles over steps) and the peak memory of all steps.

    For each of `batch` photos that are asked everything, `named` others are asked for names alone.
    """

    arithmetic: Arithmetic
    threads: int
    batch: int
    named: int
    size: int
    steps: int
    photos_per_second: float
    quartiles: tuple[float, float]
    peak_mb: float


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--model", default="nano")
    reader.add_argument("--size", type=int, default=224)
    reader.add_argument("--batch", type=int, default=8)
    reader.add_argument("--steps", type=int, default=10)
    reader.add_argument("--threads", type=int, nargs="+", default=sorted({1, torch.get_num_threads()}))
    reader.add_argument("--named", type=int, default=0, help="photos asked for names alone, for each other one")
    reader.add_argument("--device")
    reader.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = reader.parse_args(arguments)
    device = usable_device(options.device)
    rows: list[Timing] = []
    settings = [(threads, arithmetic) for threads in options.threads for arithmetic in ("float32", "bfloat16")]
    for threads, arithmetic in settings:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
            row = apart.submit(measure, options.model, device, arithmetic, threads, options).result()
            rows.append(row)
            print(f"{threads} threads  {arithmetic:<9} {row.photos_per_second:6.2f} photos/s  {row.peak_mb:7.0f} MB")
    print(save(options.model, device, rows, options.out, f"{options.batch}x{options.named}"))


def measure(
    model: str, device: torch.device, arithmetic: Arithmetic, threads: int, options: argparse.Namespace
) -> Timing:
    """Take steps with forward, backward and optimizer."""
    torch.set_num_threads(threads)
    loaded = open_network(model)
    network = loaded.network.train().to(device, memory_format=torch.channels_last)
    optimizer = make_optimizer(network, TrainConfig(learning_rate=1e-5))
    course = Course(a_bank(), options.size, options.batch, 0, named=options.named)
    loss_of = loss_for(network, loaded.tokenizer())
    rates = []
    with room.measured(device) as taken:
        for number in range(WARM_UP + options.steps):
            started = time.perf_counter()
            loss, _ = priced(network, course.asked(number, network), loss_of, arithmetic)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number >= WARM_UP:
                rates.append(options.batch * (1 + options.named) / (time.perf_counter() - started))
    low, middle, high = statistics.quantiles(rates, n=4) if len(rates) > 1 else rates * 3
    return Timing(
        arithmetic, threads, options.batch, options.named, options.size, options.steps, round(middle, 3),
        (round(low, 3), round(high, 3)), round(taken.peak / 1e6, 1),
    )  # fmt: skip


def a_bank(count: int = 16) -> ImageBank:
    """Paint rectangles of known classes on noise."""
    rng = np.random.default_rng(0)
    photos = []
    for number in range(count):
        pixels = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        objects = []
        for place in range(3):
            x, y = int(rng.integers(0, 200)), int(rng.integers(0, 140))
            box = (x, y, x + 90, y + 80)
            pixels[y : y + 80, x : x + 90] //= 2
            name = NAMES[int(rng.integers(len(NAMES)))]
            category = CategoryRecord(NAMES.index(name) + 1, name, name, True)
            edges = (float(x), float(y), float(x + 90), float(y + 80))
            record = ObjectRecord(place, number, category, "", (240, 320), edges, 7200, False, "", (), "", None)
            objects.append(BankedObject(record, box, np.full((80, 90), 255, np.uint8), 7200.0))
        told = ImageRecord(
            number, "noise", Path("x.jpg"), (240, 320), "train", "x", "noise", "", (), None, None, "", None
        )
        photos.append(BankedImage(told, pixels, tuple(objects), (), frozenset(NAMES)))
    return ImageBank(photos)


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
    place = folder / f"training_{device.type}_{what}_{today}.json"
    place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return place


if __name__ == "__main__":
    main()
