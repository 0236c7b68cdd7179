"""Overhead of the evaluation loop: time in calls of the model against the time of the whole loop.

    python benchmarks/evaluation.py --model nano --data pack:../shared/data/coco_full --task clicks --max 5

Reading images, counting and writing the journal should take less than 10% of the model's own time. The simulated user,
whose rule belongs to the protocol, is measured apart; baselines are left out. Writes
benchmarks/results/evaluation_<model>_<device>_<date>.json. Run it on an idle machine, or with `--cpu`: that measures
processor time, which other work does not change, in a single thread and with the reading of images counted in full.
`--random-weights` times the network of a model without its weights, which do not change how long it takes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch

import seem
from seem.checkpoints.network import LoadedNetwork
from seem.evaluation.plan import EvaluationRequest, EvaluationTask
from seem.evaluation.report import EvaluationReport
from seem.evaluation.runner import run_evaluation
from seem.loading import tokenizer_of, usable_device
from seem.model import Model
from seem.models.build import build
from seem.zoo import find_model_card

ROOT = Path(__file__).resolve().parents[1]
MAX_OVERHEAD = 0.10  # of the time of the model
DEFAULT_TASKS = [
    EvaluationTask.CLICKS,
    EvaluationTask.PROMPTS,
    EvaluationTask.PHRASES,
    EvaluationTask.PANOPTIC,
    EvaluationTask.INSTANCE,
    EvaluationTask.SEMANTIC,
]


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--model", default="nano")
    reader.add_argument("--data", default=f"pack:{ROOT.parent / 'shared' / 'data' / 'coco_full'}")
    reader.add_argument("--task", type=EvaluationTask, nargs="+", default=DEFAULT_TASKS)
    reader.add_argument("--max", type=int, default=5, help="number of photos for each task")
    reader.add_argument("--clicks", type=int, default=20)
    reader.add_argument("--device")
    reader.add_argument("--threads", type=int, default=1)
    reader.add_argument(
        "--cpu", action="store_true", help="measure processor time instead of wall-clock time"
    )
    reader.add_argument("--random-weights", action="store_true")
    reader.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the results"
    )
    options = reader.parse_args(arguments)
    torch.set_num_threads(options.threads)
    opener: Callable[[], Model] = partial(
        seem.load, options.model, device=options.device, precision="exact"
    )
    if options.cpu and options.threads > 1:
        raise SystemExit("--cpu adds up the time of all threads; leave --threads at 1.")
    if options.random_weights:
        opener = partial(without_weights, options.model, options.device)
    loaded = opener()
    warm_up(loaded)
    with patch("time.perf_counter", time.process_time) if options.cpu else nullcontext():
        rows = [measure(loaded, options, task) for task in options.task]
    for row in rows:
        times = "  ".join(f"{name} {row[name]:7.2f} s" for name in ("model", "user", "loop"))
        print(f"{row['task']:<12} {times}  {100 * row['overhead']:5.1f}%")
    print(save(loaded, rows, options))
    if any(row["overhead"] > MAX_OVERHEAD for row in rows):
        raise SystemExit(f"The loop adds more than {MAX_OVERHEAD:.0%} to the model's own time.")


def without_weights(name: str, device: str | None) -> Model:
    """Build the network of a model with random weights."""
    config = find_model_card(name).config()
    torch.manual_seed(0)
    target = usable_device(device)
    loaded = LoadedNetwork(name, build(config).to(target), "", tokenizer_of(config))
    return Model(loaded, target, "float32")


def warm_up(model: Model) -> None:
    """Let caches fill and lazy imports happen before anything is timed."""
    image = model.encode(ROOT / "examples" / "photos" / "coffee.jpg")
    image.panoptic()


def measure(model: Model, options: argparse.Namespace, task: EvaluationTask) -> dict[str, object]:
    request = EvaluationRequest(
        data=(options.data,),
        tasks=(task,),
        at_most=options.max,
        clicks=options.clicks,
        baselines="none",
    )
    report = run_evaluation(lambda: model, request)
    assert isinstance(report, EvaluationReport)
    assert report.time is not None
    spent = report.time
    return {"task": task.value, **asdict(spent), "overhead": round(spent.loop / spent.model, 4)}


def save(model: Model, rows: Sequence[dict[str, object]], options: argparse.Namespace) -> Path:
    from seem.evaluation.report import Machine, installed_versions

    today = datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat()
    record = {
        "model": {
            "name": model.name,
            "sha256": model.sha256 or "random weights",
            "device": str(model.device),
        },
        "machine": asdict(Machine.here(torch.get_num_threads())),
        "versions": installed_versions(),
        "clock": "processor time" if options.cpu else "wall clock",
        "tasks": list(rows),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"evaluation_{model.name}_{model.device.type}_{today}.json"
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    main()
