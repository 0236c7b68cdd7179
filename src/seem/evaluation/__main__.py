"""`python -m seem.evaluation --model nano --data ../shared/data --out results.json`."""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from seem.api import Model
from seem.evaluation.contestants import CONTESTANTS
from seem.evaluation.metrics.clicks import ClickResult
from seem.evaluation.metrics.overlap import OverlapResult
from seem.evaluation.metrics.panoptic import PanopticResult
from seem.evaluation.metrics.refusal import RefusalResult
from seem.evaluation.plan import SETS, Plan, Task, evaluate
from seem.evaluation.report import Entry, Machine, ModelCard, Report, installed_versions
from seem.loading import load
from seem.simulation.strokes import PolygonRule

ALL_SETS = tuple(dict.fromkeys(name for names in SETS.values() for name in names))


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate a model on the photo pack and write the report; a table goes to standard output, progress to error."""
    options = parser().parse_args(arguments)
    if options.threads:
        use_threads(options.threads)
    started = time.perf_counter()
    model = load(options.model, device=options.device, precision=options.precision)
    entries: list[Entry] = []
    for found in evaluate(model, options.data, plan_of(options, model)):
        entries += found
        report(model, options, entries, time.perf_counter() - started).save(options.out)  # what is done is kept
    sys.stdout.write("".join(f"{line(entry)}\n" for entry in entries))


def use_threads(count: int) -> None:
    """Limit the model and OpenCV's baselines alike."""
    import cv2

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def parser() -> argparse.ArgumentParser:
    """Declare the arguments."""
    names = [contestant.name for contestant in CONTESTANTS]
    reader = argparse.ArgumentParser(prog="python -m seem.evaluation", description=main.__doc__)
    reader.add_argument("--model", required=True, help="name, .safetensors file or folder")
    reader.add_argument("--data", type=Path, required=True, help="root folder of the photo pack")
    reader.add_argument("--out", type=Path, required=True, help="JSON file to write")
    reader.add_argument("--task", nargs="+", type=Task, default=list(Task), help=", ".join(task.value for task in Task))
    reader.add_argument("--sets", nargs="+", choices=ALL_SETS, help="default: all that a task is measured on")
    reader.add_argument(
        "--contestants", nargs="+", choices=names, default=names[:4], help="who answers clicks: " + ", ".join(names)
    )
    reader.add_argument("--clicks", type=int, default=10)
    reader.add_argument("--max-objects", type=int, help="of every set so many objects (or photos), drawn with --seed")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--device")
    reader.add_argument("--precision", choices=("exact", "auto"), default="exact")
    reader.add_argument("--threads", type=int, help="of PyTorch and OpenCV; default: their own choice")
    return reader


def plan_of(options: argparse.Namespace, model: Model) -> Plan:
    """Read what to run."""
    curve = model.network.config.polygon_rule == "curve"
    return Plan(
        tasks=tuple(options.task),
        sets=tuple(options.sets) if options.sets else None,
        contestants=tuple(each for each in CONTESTANTS if each.name in options.contestants),
        clicks=options.clicks,
        max_objects=options.max_objects,
        seed=options.seed,
        polygon_rule=PolygonRule.CURVE if curve else PolygonRule.FILLED,
    )


def report(model: Model, options: argparse.Namespace, entries: Sequence[Entry], seconds: float) -> Report:
    """Put together what was run; folders are left out, they belong to one machine."""
    size = model.network.config.image
    return Report(
        model=ModelCard(
            name=model.name,
            sha256=model.sha256,
            parameters=sum(parameter.numel() for parameter in model.network.parameters()),
            short_side=size.short_side,
            long_side=size.long_side,
            precision=model.precision,
            device=str(model.device),
        ),
        machine=Machine.here(torch.get_num_threads()),
        arguments={
            "task": [task.value for task in options.task],
            "sets": options.sets,
            "contestants": options.contestants,
            "clicks": options.clicks,
            "max_objects": options.max_objects,
            "seed": options.seed,
        },
        entries=list(entries),
        seconds=round(seconds, 1),
        versions=installed_versions(),
    )


def line(entry: Entry) -> str:
    """Put an entry into one line of the table."""
    return f"{entry.selection.set_name:<12} {entry.protocol:<62} {entry.contestant:<21} {figures(entry)}"


def figures(entry: Entry) -> str:
    """Name the figures that matter most."""
    match entry.scores:
        case ClickResult() as clicks:
            ious = "  ".join(f"@{k} {value:.1f}" for k, value in clicks.mean_iou.items())
            return f"{clicks.objects} objects  IoU {ious}  {_milliseconds(entry, 'click')}"
        case OverlapResult() as overlaps:
            return f"{overlaps.count} cases  mIoU {overlaps.mean_iou:.1f}  cIoU {overlaps.cumulative_iou:.1f}"
        case RefusalResult() as refusals:
            return f"{refusals.count} cases  {refusals.refused:.1f}%"
        case PanopticResult() as panoptic:
            parts = (panoptic.all, panoptic.things, panoptic.stuff)
            pq, things, stuff = (f"{part.pq:.1f} ({part.classes} classes)" for part in parts)
            return f"{panoptic.photos} photos  PQ {pq}  things {things}  stuff {stuff}"
        case semantic:
            return f"{semantic.photos} photos  mIoU {semantic.mean_iou:.1f}  pixels {semantic.pixel_accuracy:.1f}"


def _milliseconds(entry: Entry, step: str) -> str:
    timing = entry.timings[step]
    return "" if math.isnan(timing.median_ms) else f"({timing.median_ms:.0f} ms a {step})"


if __name__ == "__main__":
    main()
