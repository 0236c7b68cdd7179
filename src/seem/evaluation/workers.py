"""Worker processes on this machine that share the images of a run; each has its own model and one thread."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seem.evaluation.image_loop import evaluate_images
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.journal import ImageKey, Journal
from seem.evaluation.plan import DatasetChoice, EvaluationRequest, rebuild_plan
from seem.processes import run_in_processes

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


def evaluate_in_processes(
    opener: Callable[[], ModelUnderTest],
    request: EvaluationRequest,
    choices: Sequence[DatasetChoice],
    keys: Sequence[ImageKey],
    journal: Journal,
    workers: int,
    progress: Callable[[int], object],
) -> None:
    """Evaluate images in `workers` processes.

    Raises the error of a worker, and `SeemError` for one that died.
    """
    counter: Synchronized[int] = multiprocessing.get_context("spawn").Value("i", 0)
    reported = 0

    def report_progress() -> None:
        nonlocal reported
        more = counter.value - reported
        if more:
            progress(more)
            reported += more

    jobs = []
    for number in range(workers):
        share = keys[number::workers]
        if share:
            jobs.append(
                (opener, request, tuple(choices), share, journal.folder, journal.session, counter)
            )
    run_in_processes(
        _run_worker,
        jobs,
        way_out="start again with fewer --workers: it goes on where it was.",
        meanwhile=report_progress,
    )


def _run_worker(
    opener: Callable[[], ModelUnderTest],
    request: EvaluationRequest,
    choices: Sequence[DatasetChoice],
    keys: Sequence[ImageKey],
    folder: Path,
    session: str,
    counter: Synchronized[int],
) -> None:
    """Evaluate the images of one process."""

    def progress(number: int) -> None:
        with counter.get_lock():
            counter.value += number

    model = opener()
    plans = rebuild_plan(choices, request, model)
    evaluate_images(model, plans, keys, Journal(folder), progress, session)
