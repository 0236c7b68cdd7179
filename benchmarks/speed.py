"""How long a model takes, beside an earlier state of this project and beside other networks: `make bench`.

    python benchmarks/speed.py --model nano --other HEAD~20 --rivals sam-vit-b sam2-tiny

Every system is a process of its own; in each round all do the same step, one after the other, so that a busy minute
hurts them alike. What counts is CPU time of one thread; ratios are medians over rounds, this checkout = 1. Rivals are
networks of `transformers` with random weights and need benchmarks/requirements.txt. Writes a folder: speed.json (by
speed.schema.json) and plots.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seem.evaluation.report import Machine, installed_versions
from speed_plots import plot_growth, plot_parts, plot_steps
from speed_systems import PHOTO, RIVALS

ROOT = Path(__file__).resolve().parents[1]
SYSTEMS_FILE = Path(__file__).with_name("speed_systems.py")
SCHEMA = Path(__file__).with_name("speed.schema.json")
THIS, OTHER = "this checkout", "other checkout"

STEPS = {
    "encode": 0,
    "first_click": 0,
    "further_click": 1,
    "phrase": 0,
    "panoptic": 0,
    "instances": 0,
    "semantic": 0,
    "three_tasks": 0,
    "everything": 0,
    "objects": 20,
    "batch": 16,
    "video_frame": 0,
}
"""The steps, and how many clicks went before, objects there are, or images."""
GROWTH = {
    "several_clicks": (1, 2, 4, 8, 16, 32),
    "objects": (1, 2, 5, 10, 20, 40),
    "classes": (10, 30, 100, 200),
    "further_click": (1, 2, 4, 8, 16),
}
GROWTH_SIZES = (256, 384, 512, 768, 1024)
START_UP = (
    "import sys, seem; image = seem.load(sys.argv[1], precision='exact').encode(sys.argv[2]); "
    "image.segment(seem.Point(100, 100))"
)


@dataclass(frozen=True, slots=True)
class Timing:
    """A step of one system: medians and quartiles over rounds, of CPU and wall-clock milliseconds.

    `ratio` is its CPU time over that of this checkout, the median over rounds; `peak_mb` the largest.
    """

    step: str
    value: int
    size: int
    system: str
    rounds: int
    cpu_ms: float
    cpu_quartiles_ms: tuple[float, float]
    wall_ms: float
    peak_mb: float | None
    ratio: float


class System:
    """A process of `speed_systems.py`."""

    def __init__(self, label: str, name: str, checkout: Path, options: argparse.Namespace) -> None:
        self.label = label
        command = [options.python, str(SYSTEMS_FILE), name, "--precision", options.precision]
        self.process = subprocess.Popen(
            [*command, "--threads", str(options.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(checkout, options.threads),
        )
        self._read()

    def ask(self, step: str, size: int = 0, value: int = 0) -> dict[str, Any]:
        """Let the system do a step; empty if it has no such step."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"step": step, "size": size, "value": value}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.label} ended, see above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def environment(checkout: Path, threads: int) -> dict[str, str]:
    paths = [str(checkout / "src"), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths).strip(os.pathsep),
        "OMP_NUM_THREADS": str(threads),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    options = read_options(arguments)
    with checkout_of(options.other) as options.other:
        save(run(options), options.out)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything: the content of speed.json."""
    systems = start_systems(options)
    timings: list[Timing] = []
    for size in options.sizes:
        for step in options.steps:
            timings += show(measure(systems, step, size, STEPS[step], options))
    ours = [system for system in systems if system.label in (THIS, OTHER)]
    growth: list[Timing] = []
    if options.growth:
        for step, values in GROWTH.items():
            for value in values:
                growth += show(measure(ours, step, options.sizes[0], value, options))
        for size in GROWTH_SIZES:
            growth += show(measure(ours, "panoptic", size, 0, options))
    record = {
        "format": "seem speed 1",
        "date": datetime.datetime.now(tz=datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": Path(options.model).name,
        "precision": options.precision,
        "machine": asdict(Machine.here(options.threads)),
        "versions": installed_versions(),
        **measure_parts(systems[0], options.sizes[0]),
        "timings": [asdict(timing) for timing in timings],
        "growth": [asdict(timing) for timing in growth],
        "start_up": [start_up(system.label, options) for system in ours],
    }
    for system in systems:
        system.close()
    return record


@contextmanager
def checkout_of(other: str | None) -> Iterator[Path | None]:
    """Yield the folder of another checkout; for a commit a worktree, which is removed afterwards."""
    if other is None or Path(other).is_dir():
        yield None if other is None else Path(other).resolve()
        return
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        checkout = Path(folder, "checkout")
        subprocess.run([*git, "add", "--quiet", "--detach", str(checkout), other], check=True)
        try:
            yield checkout
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], check=True)


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = reader.add_argument
    add("--model", default="nano", help="name or weights file")
    add("--precision", choices=("exact", "auto"), default="exact")
    add("--sizes", type=int, nargs="+", default=[512, 1024], help="long side of the photo")
    add("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    add("--rounds", type=int, default=7)
    add(
        "--seconds",
        type=float,
        default=60.0,
        help="CPU time of a step, after which it is cut short",
    )
    add("--other", help="commit, or folder of a checkout, beside which this one runs")
    add("--rivals", nargs="*", choices=RIVALS, help="default: all, if transformers is installed")
    add("--no-growth", dest="growth", action="store_false", help="leave the growth curves out")
    add("--threads", type=int, default=1)
    add("--python", default=sys.executable)
    add("--out", type=Path, default=ROOT / "benchmarks" / "results" / "speed", help="folder")
    return reader.parse_args(arguments)


def start_systems(options: argparse.Namespace) -> list[System]:
    systems = [System(THIS, options.model, ROOT, options)]
    if options.other is not None:
        systems.append(System(OTHER, options.model, options.other, options))
    rivals = options.rivals
    if rivals is None:
        rivals = list(RIVALS) if find_spec("transformers") else []
    for name in rivals:
        systems.append(System(name, name, ROOT, options))
    return systems


def measure(
    systems: Sequence[System], step: str, size: int, value: int, options: argparse.Namespace
) -> Iterator[Timing]:
    """Let all systems do a step in turn, round by round; the first round warms up."""
    answers: dict[System, list[dict[str, Any]]] = {}
    spent = 0.0
    for system in systems:
        warm_up = system.ask(step, size, value)
        if "error" in warm_up:
            print(f"{system.label} fails at {step} {value}, size {size}: {warm_up['error']}")
        elif warm_up:
            answers[system] = []
            spent += warm_up["cpu"]
    for number in range(options.rounds):
        if number > 0 and spent >= options.seconds:
            break
        for system in rotated(list(answers), number):
            answers[system].append(system.ask(step, size, value))
            spent += answers[system][-1]["cpu"]
    by_label = {system.label: own for system, own in answers.items()}
    for label, own in by_label.items():
        yield summarize(step, value, size, label, own, by_label.get(THIS, own))


def rotated(systems: Sequence[System], number: int) -> list[System]:
    """Return who goes when in a round: who follows a rival finds the processor's cache emptied."""
    first = number % max(1, len(systems))
    return [*systems[first:], *systems[:first]]


def summarize(
    step: str,
    value: int,
    size: int,
    label: str,
    answers: Sequence[dict[str, Any]],
    ours: Sequence[dict[str, Any]],
) -> Timing:
    cpu = [1000 * answer["cpu"] for answer in answers]
    ratios = [answer["cpu"] / own["cpu"] for answer, own in zip(answers, ours, strict=True)]
    low, middle, high = cpu[0], cpu[0], cpu[0]
    if len(cpu) > 1:
        low, middle, high = statistics.quantiles(cpu, n=4, method="inclusive")
    peaks = [answer["peak_mb"] for answer in answers if answer["peak_mb"] is not None]
    return Timing(
        step=step,
        value=value,
        size=size,
        system=label,
        rounds=len(cpu),
        cpu_ms=round(middle, 2),
        cpu_quartiles_ms=(round(low, 2), round(high, 2)),
        wall_ms=round(1000 * statistics.median(answer["wall"] for answer in answers), 2),
        peak_mb=round(max(peaks), 1) if peaks else None,
        ratio=round(statistics.median(ratios), 3),
    )


def measure_parts(system: System, size: int) -> dict[str, Any]:
    """Compare the rate of each part of the model with that of a matrix product on this machine."""
    gflops = system.ask("matrix")["gflops"]
    rows = []
    for row in system.ask("parts", size)["parts"]:
        seconds = statistics.median(row["cpu"])
        rows.append(
            {
                "part": row["part"],
                "gflop": round(row["gflop"], 3),
                "cpu_ms": round(1000 * seconds, 2),
                "share": round(row["gflop"] / seconds / gflops, 3),
            }
        )
    return {"matrix_gflops": round(gflops, 1), "parts": rows}


def start_up(label: str, options: argparse.Namespace, runs: int = 3) -> dict[str, Any]:
    """Measure a new process, from nothing to the mask of a click: CPU seconds and peak memory, best of some runs."""
    checkout = options.other if label == OTHER else ROOT
    seconds, peaks = [], []
    for _ in range(runs):
        command = [options.python, "-c", START_UP, options.model, str(PHOTO)]
        process = subprocess.Popen(command, env=environment(checkout, options.threads))
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{label} does not start, see above.")
        seconds.append(usage.ru_utime + usage.ru_stime)
        peaks.append(usage.ru_maxrss / 1024)
    return {"system": label, "cpu_s": round(min(seconds), 2), "peak_mb": round(max(peaks), 1)}


def show(timings: Iterator[Timing]) -> Iterator[Timing]:
    """Print timings as they come."""
    for timing in timings:
        name = f"{timing.step} {timing.value or ''}"
        print(
            f"{timing.size:>5} {name:<20} {timing.system:<20} {timing.cpu_ms:10.1f} ms  x {timing.ratio:.2f}"
            f"  {timing.peak_mb or 0:.0f} MB",
            flush=True,
        )
        yield timing


def save(record: dict[str, Any], folder: Path) -> None:
    """Write the record and its plots; the record is checked against the schema if jsonschema is installed."""
    if find_spec("jsonschema"):
        import jsonschema

        content = json.loads(json.dumps(record))
        jsonschema.validate(content, json.loads(SCHEMA.read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    plot_steps(record, folder / "steps.png")
    plot_parts(record, folder / "parts.png")
    if record["growth"]:
        plot_growth(record, folder / "growth.png")
    print(folder)


if __name__ == "__main__":
    main()
