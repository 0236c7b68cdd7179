"""Runs an evaluation: decide, play photo by photo, keep what was counted, sum up.

Whoever plays, one process, several on this machine or the ranks of `torchrun`, plays photos by the same function and
keeps them in the same journal; in the end all that was kept is merged. So a run that was broken gives what an unbroken
one gives, and so do several processes (one thread each; a model's arithmetic may depend on its threads).
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch

from seem.api import Model
from seem.errors import SeemError
from seem.evaluation.accumulator import add_states
from seem.evaluation.benchmark import Clock
from seem.evaluation.image_loop import flat, play_spots, tallies_of
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.journal import Chunk, Journal, Spot, read_chunks
from seem.evaluation.label_space import Names
from seem.evaluation.plan import EvaluationRequest, Step, kind_of, name_of, plan
from seem.evaluation.ranks import Ranks
from seem.evaluation.report import DataCard, Entry, EvaluationReport, Machine, ModelCard, Spent, installed_versions
from seem.evaluation.workers import play_in_processes

Opener: TypeAlias = "Callable[[], ModelUnderTest]"
"""Loads the model; it is called once in every process, so it must survive pickling where there are several."""

Progress: TypeAlias = "Callable[[int, int], AbstractContextManager[Callable[[int], object]]]"
"""Shows how far it is: given all photos and those that were done before, yields what to call with a number more."""

CLOCKED = tuple(column.name for column in fields(Clock))


def run_evaluation(
    opener: Opener,
    request: EvaluationRequest,
    out: Path | None = None,
    *,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = lambda total, done: nullcontext(lambda number: None),  # noqa: ARG005
) -> EvaluationReport | None:
    """Run an evaluation and write its report to `out`; other ranks than the first return None.

    Raises:
        ValueError: a wrong request, see `plan`; a number of workers below 1, or above where ranks share the work.
        FileExistsError: `out` is there, and no broken run of its own to go on with.
        SeemError: the journal beside `out` is of another run, or a model or photo failed.
    """
    with Ranks.joined() as ranks:
        if workers < 1 or (workers > 1 and ranks.count > 1):
            raise ValueError(f"--workers is {workers}; use at least 1, and under torchrun its ranks alone.")
        started = time.perf_counter()
        with _journal(out, overwrite, ranks) as journal:
            model = opener()
            setting = Setting.of(model, plan(request, model), request)
            ranks.check_same(setting.key())
            for turn in (ranks.is_first, not ranks.is_first):
                if turn:
                    journal.begin(setting.key(), overwrite=overwrite)
                ranks.wait()
            before = ranks.union(journal.texts())
            done = {spot for chunk in read_chunks(before) for spot in chunk.done}
            everything = all_spots(setting.steps)
            mine = [spot for spot in everything if spot not in done][ranks.rank :: ranks.count]
            with progress(len(everything), len(done)) as step:
                if workers > 1:
                    del model  # every worker loads its own
                    play_in_processes(opener, request, setting.decided, mine, journal, workers, step)
                else:
                    play_spots(model, setting.steps, mine, journal, step)
            texts = before | ranks.union(journal.texts(journal.session))
            if not ranks.is_first:
                return None
            spent = Elapsed(time.perf_counter() - started, max(workers, ranks.count), len(done))
            report = sum_up(setting, read_chunks(texts), spent)
            if out is not None:
                report.save(out)
            journal.clear()
            return report


@contextmanager
def _journal(out: Path | None, overwrite: bool, ranks: Ranks) -> Iterator[Journal]:
    """Open the journal beside the result, or one that nobody will read."""
    if out is None:
        with tempfile.TemporaryDirectory(prefix="seem-evaluate-") as folder:
            yield Journal(Path(folder) / "journal")
        return
    journal = Journal.beside(out)
    if not ranks.is_first:
        yield journal
        return
    if out.is_dir():
        raise ValueError(f"{out} is a folder; name the JSON file to write.")
    if out.exists() and not overwrite and not journal.exists:
        raise FileExistsError(f"{out} exists already; pass --overwrite or another --out.")
    with journal.in_use():
        yield journal


def all_spots(steps: Sequence[Step]) -> list[Spot]:
    """List all photos of a run."""
    return [(number, place) for number, step in enumerate(steps) for place in step.places()]


# --- Summing up -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Elapsed:
    """How this run went: wall clock, processes, and photos that earlier ones had done."""

    wall: float
    processes: int
    earlier: int


@dataclass(frozen=True, slots=True)
class Setting:
    """Everything that decides about the result."""

    steps: tuple[Step, ...]
    request: EvaluationRequest
    card: ModelCard
    machine: Machine

    @classmethod
    def of(cls, model: ModelUnderTest, steps: Sequence[Step], request: EvaluationRequest) -> Setting:
        """Describe a run."""
        accelerator = None
        if isinstance(model, Model) and model.device.type == "cuda":
            accelerator = torch.cuda.get_device_name(model.device)
        return cls(tuple(steps), request, describe_model(model), Machine.here(torch.get_num_threads(), accelerator))

    @property
    def decided(self) -> tuple[Any, ...]:
        """What other processes need to know."""
        return tuple(step.decided for step in self.steps)

    def key(self) -> dict[str, Any]:
        """Tell one run from another: two with the same key have the same result."""
        told = [[step.dataset.name, step.dataset.split, step.decided.fingerprint] for step in self.steps]
        lines = [line for step in self.steps for measure in step.measures for line in measure.lines]
        return {
            "model": asdict(self.card),
            "data": told,
            "arguments": self.request.arguments(),
            "protocols": [[line.protocol, line.contestant, *line.rules] for line in lines],
            "versions": installed_versions(),
        }


def sum_up(setting: Setting, chunks: Sequence[Chunk], elapsed: Elapsed) -> EvaluationReport:
    """Merge all that was counted, and compute the report."""
    tallies = tallies_of(setting.steps)
    for chunk in chunks:
        add_states(flat(tallies), chunk.states)
    entries = [
        line.entry(step.dataset)
        for step, measures in zip(setting.steps, tallies, strict=True)
        for measure in measures
        for line in measure
        if len(line)
    ]
    if not entries:
        raise SeemError("Nothing was scored: none of the photos holds anything that was asked for.")
    for entry in entries:
        check_scores(entry)
    spent = {name: math.fsum(chunk.seconds[name] for chunk in chunks) for name in ("all", *CLOCKED)}
    return EvaluationReport(
        model=setting.card,
        machine=setting.machine,
        arguments=setting.request.arguments(),
        entries=entries,
        seconds=round(elapsed.wall, 1),
        versions=installed_versions(),
        data=[data_card(step, setting.request.classes) for step in setting.steps],
        time=Spent(
            wall=round(elapsed.wall, 3),
            model=round(spent["model"], 3),
            baselines=round(spent["baselines"], 3),
            user=round(spent["user"], 3),
            loop=round(spent["all"] - math.fsum(spent[name] for name in CLOCKED), 3),
            processes=elapsed.processes,
            photos_from_earlier_runs=elapsed.earlier,
        ),
    )


def data_card(step: Step, classes: str | None) -> DataCard:
    """Describe a data set, and the classes that whole photos are scored on."""
    dataset = step.dataset
    named = any(category.text for category in dataset.categories.values())
    scored = Names.of(dataset, classes).vocabulary if named else ()
    return DataCard(
        name=dataset.name,
        split=dataset.split,
        kind=kind_of(dataset),
        photos=len(dataset.images),
        fingerprint=step.decided.fingerprint,
        classes={category.id: category.name for category in scored},
    )


def describe_model(model: ModelUnderTest) -> ModelCard:
    """Describe a model."""
    if not isinstance(model, Model):
        return ModelCard(name_of(model), None, 0, 0, 0, "", "")
    size = model.network.config.image
    return ModelCard(
        name=name_of(model),
        sha256=model.sha256,
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        short_side=size.short_side,
        long_side=size.long_side,
        precision=model.precision,
        device=model.device.type,
        learnt=model.learnt,
    )


def check_scores(entry: Entry) -> None:
    """Raise `SeemError` for an entry without any score that is a number."""
    numbers = list(_floats(entry.scores))
    if numbers and not any(map(math.isfinite, numbers)):
        raise SeemError(
            f"{entry.protocol} on {entry.selection.set_name} has no score that is a number; nothing of what was asked "
            "for is in the truth of these photos."
        )


def _floats(scores: object) -> Iterator[float]:
    if isinstance(scores, float):
        yield scores
    elif is_dataclass(scores):
        for column in fields(scores):
            yield from _floats(getattr(scores, column.name))
    elif isinstance(scores, dict):
        for value in scores.values():
            yield from _floats(value)
