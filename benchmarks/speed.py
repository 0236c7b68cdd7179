"""How long a model takes on this machine: to look at a photo, to answer the first click and further ones, panoptic.

    python benchmarks/speed.py --model nano

Writes medians and quartiles (wall clock, after warm-up) with 1 and 2 threads to
benchmarks/results/<model>_<device>_<date>.json. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import seem
from seem.encoded_image import EncodedImage
from seem.evaluation.report import Machine, installed_versions
from seem.model import Model

ROOT = Path(__file__).resolve().parents[1]
PHOTO = ROOT / "examples" / "photos" / "coffee.jpg"
WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """Wall clock of one step, in milliseconds."""

    step: str
    threads: int
    runs: int
    median_ms: float
    quartiles_ms: tuple[float, float]


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--model", default="nano")
    reader.add_argument("--photo", type=Path, default=PHOTO)
    reader.add_argument("--device")
    reader.add_argument("--precision", choices=("exact", "auto"), default="exact")
    reader.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    reader.add_argument("--runs", type=int, default=30)
    reader.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder")
    options = reader.parse_args(arguments)
    model = seem.load(options.model, device=options.device, precision=options.precision)
    timings = [
        row
        for threads in options.threads
        for row in measure(model, options.photo, threads, options.runs)
    ]
    place = save(model, options.photo, timings, options.out)
    for row in timings:
        low, high = row.quartiles_ms
        print(
            f"{row.threads} threads  {row.step:<14} {row.median_ms:8.1f} ms  ({low:.1f} - {high:.1f})"
        )
    print(place)


def measure(model: Model, photo: Path, threads: int, runs: int) -> Iterator[Timing]:
    """Time every step `runs` times; the steps take turns, so that a busy minute hurts them all alike."""
    seconds: dict[str, list[float]] = {}
    with torch_threads(threads):
        for number in range(WARM_UP + runs):
            for step, taken in one_round(model, photo):
                if number >= WARM_UP:
                    seconds.setdefault(step, []).append(taken)
    for step, values in seconds.items():
        low, middle, high = (round(1000 * value, 3) for value in statistics.quantiles(values, n=4))
        yield Timing(step, threads, runs, middle, (low, high))


def one_round(model: Model, photo: Path) -> Iterator[tuple[str, float]]:
    """Do everything once, on a photo that is looked at anew."""
    seen, taken = timed(model, lambda: model.encode(photo))
    assert isinstance(seen, EncodedImage)
    yield "encode", taken
    height, width = seen.hw
    session = seen.session()
    yield "first click", timed(model, lambda: session.add(seem.Point(width // 2, height // 2)))[1]
    further = seem.Point(width // 8, height // 8, positive=False)
    yield "further click", timed(model, lambda: session.add(further))[1]
    yield "panoptic", timed(model, seen.panoptic)[1]


def timed(model: Model, work: Callable[[], object]) -> tuple[object, float]:
    started = time.perf_counter()
    done = work()
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return done, time.perf_counter() - started


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def save(model: Model, photo: Path, timings: Sequence[Timing], folder: Path) -> Path:
    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    height, width = model.encode(photo).hw
    size = model.network.config.image
    record = {
        "model": {
            "name": model.name,
            "sha256": model.sha256,
            "device": str(model.device),
            "precision": model.precision,
        },
        "size": {"short_side": size.short_side, "long_side": size.long_side},
        "photo": {"name": photo.name, "width": width, "height": height},
        "machine": asdict(Machine.here(torch.get_num_threads())),
        "versions": installed_versions(),
        "timings": [asdict(timing) for timing in timings],
    }
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{model.name}_{model.device.type}_{today}.json"
    place.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return place


if __name__ == "__main__":
    main()
