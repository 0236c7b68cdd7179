"""Runs an evaluation: plans it, evaluates image by image, writes a journal, builds the report.

One process, several worker processes and the ranks of `torchrun` all evaluate images by the same function and write to
the same journal; at the end everything in the journal is merged. So a run that was interrupted gives what an
uninterrupted one gives, and so do several processes (with one thread each: a model's arithmetic may depend on the
number of threads).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from seem.errors import SeemError
from seem.evaluation.accumulator import EntrySpec, merge_states
from seem.evaluation.image_loop import accumulators_of, evaluate_images, flatten
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.journal import Chunk, ImageKey, Journal, read_chunks
from seem.evaluation.label_space import LabelSpace, has_class_names
from seem.evaluation.plan import (
    DatasetChoice,
    DatasetPlan,
    EvaluationRequest,
    dataset_kind,
    model_name,
    naming_skip_bad,
    open_datasets,
    plan_evaluation,
)
from seem.evaluation.ranks import Ranks
from seem.evaluation.report import (
    DatasetDescription,
    Entry,
    EvaluationReport,
    Machine,
    ModelDescription,
    TimeSpent,
    installed_versions,
)
from seem.evaluation.workers import evaluate_in_processes
from seem.model import Model
from seem.part_files import temporary_folder
from seem.regular_file import check_replaceable

MAX_WORKERS_BEYOND_CORES = 8  # so many may be started on any machine

Opener: TypeAlias = "Callable[[], ModelUnderTest]"
"""Loads the model; it is called once in every process, so it must survive pickling where there are several."""

Progress: TypeAlias = "Callable[[int, int], AbstractContextManager[Callable[[int], object]]]"
"""Shows progress: given the number of all images and of those evaluated before, yields a function to call with the
number of further ones.
"""


@contextmanager
def _no_progress(total: int, done: int) -> Iterator[Callable[[int], object]]:  # noqa: ARG001
    yield lambda number: None  # noqa: ARG005


def run_evaluation(
    opener: Opener,
    request: EvaluationRequest,
    out: Path | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = _no_progress,
) -> EvaluationReport | None:
    """Run an evaluation, write its report to `out` and return it; ranks other than the first return None.

    Raises:
        ValueError: a wrong request, see `plan_evaluation`; a number of workers below 1, or above 1 under torchrun.
        FileExistsError: `out` exists, and there is no interrupted run of its own to resume.
        SeemError: the journal beside `out` is of another run, or the model or an image failed.
    """
    with Ranks.joined() as ranks:
        _check_workers(workers, ranks)
        started = time.perf_counter()
        with _open_journal(out, overwrite, ranks) as journal:
            datasets = open_datasets(request)  # whose errors come before the model is loaded
            model = opener()
            setup = EvaluationSetup.of(model, plan_evaluation(request, model, datasets), request)
            ranks.check_same(setup.key())
            _begin_journal(journal, setup, ranks, overwrite)
            earlier_texts = ranks.union(journal.texts())
            done: set[ImageKey] = set()
            for chunk in read_chunks(earlier_texts):
                done.update(chunk.done)
            keys = image_keys(setup.plans)
            remaining = [key for key in keys if key not in done]
            mine = remaining[ranks.rank :: ranks.count]
            with progress(len(keys), len(done)) as advance, naming_skip_bad(request):
                if workers > 1:
                    del model  # every worker loads its own
                    evaluate_in_processes(
                        opener, request, setup.choices, mine, journal, workers, advance
                    )
                else:
                    evaluate_images(model, setup.plans, mine, journal, advance)
            texts = earlier_texts | ranks.union(journal.texts(journal.session))
            if not ranks.is_first:
                return None
            run = RunStatistics(
                wall_seconds=time.perf_counter() - started,
                processes=max(workers, ranks.count),
                images_from_earlier_runs=len(done),
            )
            report = build_report(setup, read_chunks(texts), run)
            if out is not None:
                report.save(out)
            journal.clear()
            return report


def _check_workers(workers: int, ranks: Ranks) -> None:
    """Raise `ValueError` for a number of processes that cannot be started."""
    if workers < 1 or (workers > 1 and ranks.count > 1):
        raise ValueError(
            f"--workers is {workers}; use at least 1, and under torchrun its ranks alone."
        )
    num_cores = os.cpu_count() or 1
    if workers > max(num_cores, MAX_WORKERS_BEYOND_CORES):
        raise ValueError(
            f"--workers is {workers}, each with a model of its own; this machine has {num_cores} cores, one for each "
            "is best."
        )


def _begin_journal(journal: Journal, setup: EvaluationSetup, ranks: Ranks, overwrite: bool) -> None:
    """Start or resume the journal, on the first rank before the others."""
    if ranks.is_first:
        journal.begin(setup.key(), overwrite=overwrite)
    ranks.wait()
    if not ranks.is_first:
        journal.begin(setup.key(), overwrite=overwrite)
    ranks.wait()


@contextmanager
def _open_journal(out: Path | None, overwrite: bool, ranks: Ranks) -> Iterator[Journal]:
    """Open the journal beside the result file, locked by the first rank; a temporary one without a result file."""
    if out is None:
        with temporary_folder() as folder:
            yield Journal(folder / "journal")
        return
    journal = Journal.beside(out)
    if not ranks.is_first:
        yield journal
        return
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name the JSON file to write.")
    check_replaceable(out)
    if out.exists() and not overwrite and not journal.exists:
        raise FileExistsError(
            f"{out} exists already; pass --overwrite or another --out. To print or plot it: "
            f"seem evaluate --compare {out}"
        )
    with journal.in_use():
        yield journal


def image_keys(plans: Sequence[DatasetPlan]) -> list[ImageKey]:
    """List all images of a run."""
    keys: list[ImageKey] = []
    for dataset_index, plan in enumerate(plans):
        for image_index in plan.image_indices():
            keys.append((dataset_index, image_index))
    return keys


# --- Report -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """Wall-clock time and number of processes of this run, and the number of images of earlier, interrupted runs."""

    wall_seconds: float
    processes: int
    images_from_earlier_runs: int


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """Everything that determines the result of an evaluation."""

    plans: tuple[DatasetPlan, ...]
    request: EvaluationRequest
    model: ModelDescription
    machine: Machine

    @classmethod
    def of(
        cls, model: ModelUnderTest, plans: Sequence[DatasetPlan], request: EvaluationRequest
    ) -> EvaluationSetup:
        """Describe an evaluation on this machine."""
        accelerator = None
        if isinstance(model, Model) and model.device.type == "cuda":
            accelerator = torch.cuda.get_device_name(model.device)
        machine = Machine.here(torch.get_num_threads(), accelerator)
        return cls(tuple(plans), request, describe_model(model), machine)

    @property
    def choices(self) -> tuple[DatasetChoice, ...]:
        """What other processes need to rebuild the plan."""
        return tuple(plan.choice for plan in self.plans)

    @property
    def specs(self) -> list[EntrySpec]:
        """The specifications of all entries of the report."""
        specs: list[EntrySpec] = []
        for plan in self.plans:
            for benchmark in plan.benchmarks:
                specs += benchmark.specs
        return specs

    def key(self) -> dict[str, Any]:
        """Return what identifies the run: two runs with the same key have the same result."""
        return {
            "model": asdict(self.model),
            "data": [
                [plan.dataset.name, plan.dataset.split, plan.choice.fingerprint]
                for plan in self.plans
            ],
            "arguments": self.request.arguments(),
            "protocols": [[spec.protocol, spec.contestant, *spec.rules] for spec in self.specs],
            "versions": installed_versions(),
        }


def build_report(
    setup: EvaluationSetup, chunks: Sequence[Chunk], run: RunStatistics
) -> EvaluationReport:
    """Merge everything that was counted, and compute the report."""
    return EvaluationReport(
        model=setup.model,
        machine=setup.machine,
        arguments=setup.request.arguments(),
        entries=_compute_entries(setup, chunks),
        seconds=round(run.wall_seconds, 1),
        versions=installed_versions(),
        data=[describe_dataset(plan, setup.request.classes) for plan in setup.plans],
        time=_time_spent(chunks, run),
    )


def _compute_entries(setup: EvaluationSetup, chunks: Sequence[Chunk]) -> list[Entry]:
    accumulators = accumulators_of(setup.plans)
    for chunk in chunks:
        merge_states(flatten(accumulators), chunk.states)
    entries: list[Entry] = []
    for plan, by_benchmark in zip(setup.plans, accumulators, strict=True):
        for accumulator in flatten([by_benchmark]):
            if len(accumulator):
                entries.append(accumulator.entry(plan.dataset))
    if not entries:
        raise SeemError("Nothing was scored: none of the photos holds anything that was asked for.")
    for entry in entries:
        _check_scores(entry)
    return entries


def _time_spent(chunks: Sequence[Chunk], run: RunStatistics) -> TimeSpent:
    model = _sum_seconds(chunks, "model")
    baselines = _sum_seconds(chunks, "baselines")
    user = _sum_seconds(chunks, "user")
    loop = _sum_seconds(chunks, "all") - math.fsum((model, baselines, user))
    return TimeSpent(
        wall=round(run.wall_seconds, 3),
        model=round(model, 3),
        baselines=round(baselines, 3),
        user=round(user, 3),
        loop=round(loop, 3),
        processes=run.processes,
        photos_from_earlier_runs=run.images_from_earlier_runs,
    )


def _sum_seconds(chunks: Sequence[Chunk], name: str) -> float:
    return math.fsum(chunk.seconds[name] for chunk in chunks)


def describe_dataset(plan: DatasetPlan, classes: str | None) -> DatasetDescription:
    """Describe a data set, with the classes that full images are scored on."""
    dataset = plan.dataset
    class_names = {}
    if has_class_names(dataset):
        vocabulary = LabelSpace.of(dataset, classes).vocabulary
        class_names = dict(zip(vocabulary.ids, vocabulary.names, strict=True))
    return DatasetDescription(
        name=dataset.name,
        split=dataset.split,
        kind=dataset_kind(dataset),
        photos=len(dataset.images),
        fingerprint=plan.choice.fingerprint,
        classes=class_names,
        skipped=plan.choice.skipped,
    )


def describe_model(model: ModelUnderTest) -> ModelDescription:
    """Describe a model."""
    if not isinstance(model, Model):
        return ModelDescription(
            name=model_name(model),
            sha256=None,
            parameters=0,
            short_side=0,
            long_side=0,
            precision="",
            device="",
        )
    size = model.network.config.image
    return ModelDescription(
        name=model_name(model),
        sha256=model.sha256,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        short_side=size.short_side,
        long_side=size.long_side,
        precision=model.precision,
        device=model.device.type,
        fine_tuned_on=model.fine_tuned_on,
    )


def _check_scores(entry: Entry) -> None:
    """Raise `SeemError` for an entry all of whose scores are NaN."""
    numbers = list(_floats(entry.scores))
    if numbers and not any(map(math.isfinite, numbers)):
        raise SeemError(
            f"{entry.protocol} on {entry.selection.set_name} has no score that is a number; nothing of what was asked "
            "for is in the truth of these photos."
        )


def _floats(scores: object) -> Iterator[float]:
    """List the floating-point numbers of a result."""
    if isinstance(scores, float):
        yield scores
    elif is_dataclass(scores):
        for column in fields(scores):
            yield from _floats(getattr(scores, column.name))
    elif isinstance(scores, dict):
        for value in scores.values():
            yield from _floats(value)
