"""All scores of nano with one command: clicks beside baselines, prompts, phrases, references, video, full images.

    python -m benchmarks.nano_scores --data ../shared/data --out runs/scores --every-set --into docs/results.md

Run from the repository's root. `--data` is the folder of the photo pack, `--model` a name or a weights file (default:
the nano that ships), `--workers` processes share the runs (default: all cores, one thread each). It writes into `--out`

    subsets/SET-N.json   the photos and objects of single-object runs: sampled with seed 0 as `seem data subset` does
    RUN.json             a report of `seem evaluate` for each run of `RUNS`
    SCORES.md            all of them as tables, beside the baselines and the published scores

and may be killed at any time: the next call resumes it. A run is repeated when the weights, the data or its arguments
have changed. `--only clicks` makes the runs whose names begin so, `--every-set` adds small runs of all tasks on the
other sets of the pack. `--into docs/results.md` also writes the tables between the marks of a page (as does
`seem evaluate --compare runs/scores/*.json --into docs/results.md`).

A `clicks-` run scores the model and the baselines on the very same objects, on one machine. Baselines take ten times as
long as nano, most of all the random walker, so these runs have a sample of objects and ten clicks; an `alone-` run
scores the model alone, on more objects. Two idle cores take 30 to 40 minutes, `--every-set` 5 more.

Scores are means over so many objects, so they are uncertain: over 40 objects by about 4 points (one standard error),
over 400 by about 1.5. Timings in the reports are those of a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch

import seem
from seem.checkpoints.safe import atomic_write
from seem.data.opening import open_dataset
from seem.data.subset import draw_subset
from seem.evaluation.compare import read_reports
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.plan import EvaluationRequest, EvaluationTask
from seem.evaluation.report import installed_versions
from seem.evaluation.runner import describe_model, run_evaluation
from seem.evaluation.scoreboard import scoreboard, write_into
from seem.evaluation.selection import data_fingerprint
from seem.processes import one_thread_each


@dataclass(frozen=True)
class Run:
    """One report.

    Attributes:
        name: name of its file.
        data: data set of the pack.
        tasks: None = all that the data set and the model support.
        seconds: approximate time on one core; long runs start first.
        objects: sample a subset of so many photos with at most so many objects each.
        at_most: sample so many photos.
        clicks: number of clicks on each object.
        baselines: names of the baselines.
    """

    name: str
    data: str
    tasks: tuple[EvaluationTask, ...] | None
    seconds: float
    objects: tuple[int, int] | None = None
    at_most: int | None = None
    clicks: int = 20
    baselines: str = "none"


CLICKS, PROMPTS = EvaluationTask.CLICKS, EvaluationTask.PROMPTS
PHRASES = (EvaluationTask.PHRASES, EvaluationTask.REFERENCE)
FULL_IMAGE = (EvaluationTask.PANOPTIC, EvaluationTask.INSTANCE, EvaluationTask.SEMANTIC)
INSTANCE_SEMANTIC = (EvaluationTask.INSTANCE, EvaluationTask.SEMANTIC)

RUNS = (
    Run("alone-coco_full", "coco_full", (CLICKS, PROMPTS), 400, objects=(84, 2)),
    Run(
        "changed-coco_full",
        "coco_full",
        (EvaluationTask.ROBUSTNESS, EvaluationTask.COMPOSITION),
        150,
        objects=(80, 1),
    ),
    Run("alone-voc_general", "voc_general", (CLICKS, PROMPTS), 150, objects=(72, 1)),
    Run("alone-open_mix", "open_mix", (CLICKS, PROMPTS), 150, objects=(90, 1)),
    Run("alone-duts", "duts", (CLICKS, PROMPTS), 150, objects=(100, 1)),
    Run(
        "clicks-coco_full", "coco_full", (CLICKS,), 375, objects=(30, 1), clicks=10, baselines="all"
    ),
    Run("clicks-open_mix", "open_mix", (CLICKS,), 180, objects=(14, 1), clicks=10, baselines="all"),
    Run("clicks-duts", "duts", (CLICKS,), 120, objects=(40, 1), clicks=10, baselines="all"),
    Run(
        "clicks-voc_general",
        "voc_general",
        (CLICKS,),
        170,
        objects=(30, 1),
        clicks=10,
        baselines="all",
    ),
    Run(
        "clicks-voc_animals",
        "voc_animals",
        (CLICKS, PROMPTS),
        120,
        objects=(20, 1),
        clicks=10,
        baselines="all",
    ),
    Run("words-coco_full", "coco_full", PHRASES, 95),
    Run("words-voc_animals", "voc_animals", PHRASES, 75, at_most=100),
    Run("words-voc_general", "voc_general", PHRASES, 65),
    Run("whole-coco_full", "coco_full", FULL_IMAGE, 60),
    Run("video-davis2016", "davis2016", (EvaluationTask.VIDEO,), 25),
)
"""The runs of every call."""

EVERY_SET = (
    Run("more-coco_person", "coco_person", None, 80, objects=(20, 1), clicks=10),
    Run("more-ccp", "ccp", None, 70, objects=(20, 1), clicks=10),
    Run("more-carparts", "carparts", None, 100, objects=(20, 1), clicks=10),
    Run("more-bsds500", "bsds500", None, 70, objects=(20, 1), clicks=10),
    Run("more-camvid", "camvid", None, 70, at_most=6, clicks=10),
    Run("more-davis2016", "davis2016", (CLICKS, PROMPTS, *PHRASES), 60, at_most=20, clicks=10),
    Run("more-voc_general", "voc_general", INSTANCE_SEMANTIC, 50),
    Run("more-voc_animals", "voc_animals", INSTANCE_SEMANTIC, 40, at_most=60),
    Run("more-open_mix", "open_mix", PHRASES, 60),
)
"""Smaller runs, of the model alone: every set of the pack is scored on all tasks that it has the truth for."""


def main(arguments: Sequence[str] | None = None) -> None:
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--data", type=Path, required=True, help="folder of the photo pack")
    reader.add_argument(
        "--out", type=Path, default=Path("runs/scores"), help="folder of the reports"
    )
    reader.add_argument("--model", default="nano", help="name of the model, or weights file")
    reader.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    reader.add_argument("--only", default="", help="prefix of the names of the runs")
    reader.add_argument(
        "--every-set", action="store_true", help="also run the other sets of the pack"
    )
    reader.add_argument("--into", type=Path, help="page to write the tables into")
    options = reader.parse_args(arguments)
    runs = [*RUNS, *EVERY_SET] if options.every_set else RUNS
    chosen = [run for run in runs if run.name.startswith(options.only)]
    if not chosen:
        raise SystemExit(
            f"No run begins with {options.only!r}; there are {', '.join(run.name for run in RUNS)}."
        )
    (options.out / "subsets").mkdir(parents=True, exist_ok=True)
    make_reports(chosen, options.model, options.data, options.out, options.workers)
    text = scoreboard(read_reports(up_to_date(options.model, options.data, options.out)))
    with atomic_write(options.out / "SCORES.md") as aside:
        aside.write_text(text, encoding="utf-8")
    print(text)
    if options.into is not None:
        write_into(options.into, text)


def make_reports(runs: Sequence[Run], model: str, data: Path, out: Path, workers: int) -> None:
    """Make the reports of all runs, long ones first, each in one process; `SystemExit` names those that failed."""
    started = time.perf_counter()
    failed = []
    with (
        one_thread_each(),
        ProcessPoolExecutor(workers, get_context("spawn"), _use_one_thread) as pool,
    ):
        pending = {}
        for run in sorted(runs, key=lambda run: -run.seconds):
            pending[pool.submit(make_report, run, model, data, out)] = run
        for future in as_completed(pending):
            run = pending[future]
            minutes = (time.perf_counter() - started) / 60
            error = future.exception()
            if error is not None:
                failed.append(run.name)
            outcome = future.result() if error is None else error
            print(f"{minutes:6.1f} min  {run.name}: {outcome}", file=sys.stderr, flush=True)
    if failed:
        raise SystemExit(f"Failed: {', '.join(failed)}. Start again: what is done stays.")


def _use_one_thread() -> None:
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def make_report(run: Run, model: str, data: Path, out: Path) -> str:
    """Make the report of one run unless it is there already; return what was done, in words."""
    file, request = out / f"{run.name}.json", request_of(run, data, out)
    if file.exists() and is_same(file, request, load_model(model)):
        return "is there already"
    started = time.process_time()
    run_evaluation(partial(load_model, model), request, file, overwrite=True)
    return f"{time.process_time() - started:.0f} s of processor time"


def request_of(run: Run, data: Path, out: Path) -> EvaluationRequest:
    """Return the request of a run; its subset file is written if it is not there."""
    spec = f"pack:{data / run.data}"
    return EvaluationRequest(
        data=(spec,),
        tasks=run.tasks,
        at_most=run.at_most,
        clicks=run.clicks,
        baselines=run.baselines,
        subset=None if run.objects is None else str(subset_file(spec, run, out / "subsets")),
    )


def up_to_date(model: str, data: Path, out: Path) -> list[Path]:
    """List the reports of these weights and data, without those of older commands or other weights."""
    files = []
    for run in (*RUNS, *EVERY_SET):
        file = out / f"{run.name}.json"
        if file.exists() and is_same(file, request_of(run, data, out), load_model(model)):
            files.append(file)
    return files


@lru_cache(1)
def load_model(name: str) -> ModelUnderTest:
    """Load the model once a process."""
    return seem.load(name, device="cpu", precision="exact")


def subset_file(spec: str, run: Run, folder: Path) -> Path:
    """Write the subset of a run unless its file is there; the same data give the same file."""
    assert run.objects is not None
    num_photos, per_photo = run.objects
    file = folder / f"{run.data}-{num_photos}x{per_photo}.json"
    subset = draw_subset(open_dataset(spec, "val"), num_photos, 0, per_photo)
    text = json.dumps(subset.to_json(), indent=1) + "\n"
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        with atomic_write(file) as aside:
            aside.write_text(text, encoding="utf-8")
    return file


def is_same(file: Path, request: EvaluationRequest, model: ModelUnderTest) -> bool:
    """Whether a report is of this model, these data and these arguments."""
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
        description = {"fine_tuned_on": [], **report["model"]}  # older reports lack it
        then = (
            description,
            report["arguments"],
            report["versions"],
            report["data"][0]["fingerprint"],
        )
    except (ValueError, KeyError, IndexError):
        return False
    now = (
        json.loads(json.dumps(asdict(describe_model(model)))),
        request.arguments(),
        installed_versions(),
        data_fingerprint(open_dataset(request.data[0], request.split)),
    )
    return then == now


if __name__ == "__main__":
    main()
