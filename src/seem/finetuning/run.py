"""Fine-tuning on one's own photos and masks.

    seem finetune --data my/photos --model nano --out runs/mine

Looks at the data, holds a part out, measures a step on this machine, makes a plan, says it, trains with early stopping
and writes a model that `seem.load` opens. Everything that the plan decided stands in `run.json`, so that a run that was
stopped goes on exactly as if it had not been. Two cores without an accelerator are enough: nano learns from some eight
small photos a second or two; each run prints its own estimate before it begins.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim.swa_utils import AveragedModel

from seem.api import Model
from seem.checkpoints.network import (
    BACKGROUND_KEY,
    CLASSES_KEY,
    MODEL_KEY,
    PRESENCE_MIDPOINT_KEY,
    REGION_THRESHOLD_KEY,
    STUFF_KEY,
    LoadedNetwork,
)
from seem.checkpoints.safe import atomic_write, read_tensors, sha256_of, write_tensors
from seem.data.dataset import Dataset
from seem.data.inspection import DatasetReport
from seem.data.opening import DatasetSpec, open_dataset
from seem.data.pack import ImageBank
from seem.data.transforms import Augmentation
from seem.errors import SeemError
from seem.finetuning.datasets import DataSource, TrainingData, inspect_source, open_training_data
from seem.finetuning.finer_masks import with_finer_masks
from seem.loading import open_file, open_network, usable_device
from seem.models.build import build
from seem.models.segmenter import Segmenter
from seem.simulation.strokes import PUBLISHED_STROKES
from seem.training import room
from seem.training.course import Arithmetic, Course, LossOf, loss_for, priced, steps_of
from seem.training.curves import RESULTS_FILE, Board, Results, read_log
from seem.training.engine import (
    LOG_FILE,
    STATE_FILE,
    Hooks,
    TrainConfig,
    make_optimizer,
    mean_over_processes,
    step_of,
    train,
    under_torchrun,
    world,
)
from seem.training.parts import check_parts, freeze, freeze_statistics, parts_of, rates_of
from seem.training.pictures import CURVES_FILE, draw_progress, draw_worst
from seem.training.published import PublishedObjective
from seem.training.targets import PromptMix
from seem.training.validation import (
    LOOKED_AT,
    Presence,
    Regions,
    Scores,
    measure_presence,
    measure_regions,
    score,
)
from seem.vocabulary import Vocabulary

RUN_FILE, BEST_FILE, SUMMARY_FILE = "run.json", "best.safetensors", "summary.json"
CACHE_FILE, WORST_FILE = "photos.cache", "worst.png"
FILES = (BEST_FILE, SUMMARY_FILE, CURVES_FILE, WORST_FILE, STATE_FILE, LOG_FILE, RESULTS_FILE, CACHE_FILE, RUN_FILE)

EPOCHS, FEWEST_STEPS, MOST_STEPS = 60, 150, 5000
USUAL_MINUTES = 30.0  # more is never planned unless it is asked for
ALL_OVER, IN_PART = 8, 1  # photos asked for names alone, for each other one: of sets labelled all over, of others
FEWEST_NAMED = 2  # of the former, where several processes share them
VALIDATIONS = 10  # in a whole run
FEW = 6  # held-out photos below which scores say little
MEASURED = frozenset({"step_seconds", "photo_seconds"})  # of this machine now: not in the file of weights
FINAL_PHOTOS = 200  # at most so many photos are scored before and after
VALIDATION_SHARE = 0.15  # of the time may go into validation
PHOTO_BYTES = 400_000  # of a photo of 320 pixels with its masks, roughly
CACHE_SHARE = 0.5  # of the free disk may be taken by photos; else they are read anew at every step
MEMORY_SHARE = 0.5  # of what is free may be taken by a step
FASTER = 0.95  # bfloat16 must need at most this share of float32's time ...
CLOSE = 0.05  # ... and its loss may differ by this share
PUBLISHED_FROZEN = ("backbone", "text", "pixel-decoder")  # as SEEM froze them
FAMILY_MIX = PromptMix(text=0.0, text_and_visual=0.0, reference=0.0)  # phrases are asked apart
PUBLISHED_MIX = replace(FAMILY_MIX, negative=0.0, habits=PUBLISHED_STROKES, again=False)
PUBLISHED_OBJECTS = 10
NANO_SIZE, FAMILY_SIZE, PUBLISHED_SIZE = 224, 512, 1024  # canvas, pixels
LARGEST = 4096
PATIENCE = 4
MOST_PROCESSES = 8  # by default: each holds the model and the photos
SHARED = 1.15  # processes that share a memory slow each other by about so much
SWITCHES = ("rounds", "memory", "positive", "negative", "objects", "phrases", "visual", "captions")
"""Of the published objective."""
OPTIONS = (
    "minutes", "steps", "learning_rate", "freeze", "size", "batch", "seed", "patience", "shard", "rates", "scratch",
)  # fmt: skip
"""Of a request: what cannot change while a run goes on."""


@dataclass(frozen=True, slots=True)
class FineTuningRequest:
    """What a user asks for; None: the run decides and says so."""

    data: tuple[str, ...]
    out: Path
    model: str = "nano"
    minutes: float | None = None
    steps: int | None = None
    learning_rate: float | None = None
    freeze: tuple[str, ...] | None = None
    size: int | None = None
    batch: int | None = None
    device: str | None = None
    seed: int = 0
    patience: int | None = None
    """Looks without progress after which a run stops, 0 = none; None: 4, from random weights 0."""
    shard: bool = False
    epochs: int | None = None
    rates: tuple[tuple[str, float], ...] = ()
    """Factors of the learning rate by part of the network."""
    scratch: bool = False
    """Begin with random weights, to see what the others are worth."""

    def check(self) -> None:
        """Raise `ValueError` for what cannot be meant."""
        if not self.data:
            raise ValueError("There is no data set to train on; name one with --data KIND:PATH.")
        limits = {
            "minutes": self.minutes,
            "steps": self.steps,
            "batch": self.batch,
            "learning rate": self.learning_rate,
        }
        for name, value in limits.items():
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name.replace(' ', '-')} is {value}; it must be more than 0.")
        if self.batch == 1:
            raise ValueError("--batch is 1; photos are looked at in pairs, one may be the other's reference: use 2.")
        if self.size is not None and (self.size < 32 or self.size % 32):
            raise ValueError(f"--size is {self.size}; it must be a multiple of 32, such as 224.")
        if self.size is not None and self.size > LARGEST:
            raise ValueError(f"--size is {self.size}; at most {LARGEST} pixels are a canvas.")
        if (self.patience or 0) < 0 or self.seed < 0:
            raise ValueError("--patience and --seed must be 0 or more.")
        check_parts(self.freeze or ())
        for part, factor in rates_of(dict(self.rates)):
            if not 0 < factor < math.inf:
                raise ValueError(
                    f"--rate {part.rstrip('.')}={factor:g}: it must be more than 0; --freeze lets a part not learn."
                )


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run decided before its first step; `run.json` holds it."""

    model: str
    sources: tuple[DataSource, ...]
    freeze: tuple[str, ...]
    size: int
    arithmetic: Arithmetic
    device: str
    config: TrainConfig
    step_seconds: float
    photo_seconds: float
    validation_photos: int
    named: int
    scratch: bool
    processes: int
    start_sha256: str
    fingerprint: str
    objective: Mapping[str, Any]
    finer_masks: str | None
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was asked for, by the names of `Request`."""

    @property
    def minutes(self) -> float:
        """The estimated time of the whole run."""
        validations = self.config.steps / max(self.config.validate_every, 1)
        return (self.config.steps * self.step_seconds + validations * self.validation_photos * self.photo_seconds) / 60

    def to_json(self) -> dict[str, Any]:
        """Say it in plain values."""
        return {**asdict(self), "config": self.config.to_json()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote."""
        config = dict(plain["config"])
        config["minutes"] = math.inf if config["minutes"] is None else config["minutes"]
        config["drops"], config["betas"] = tuple(config["drops"]), tuple(config["betas"])
        config["rates"] = tuple((start, factor) for start, factor in config["rates"])
        sources = tuple(
            DataSource(s["spec"], s["train"], s["held"], tuple(s["left_out"]), tuple(s["held_left_out"]))
            for s in plain["sources"]
        )
        kept = {**plain, "config": TrainConfig(**config), "sources": sources, "freeze": tuple(plain["freeze"])}
        return cls(**kept)


@dataclass(frozen=True, slots=True)
class FineTuningResult:
    """What came of a run: the scores of the model it began with and of the best one, and where that is."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    best_step: int
    steps: int
    weights: Path


Say = Callable[[str], None]


def process_count(
    request: FineTuningRequest, asked: int | None = None, *, resume: bool = False, overwrite: bool = False
) -> int:
    """Return how many processes of this machine work at a run: what was asked for, or what it was begun with.

    By default one for each core on a CPU (`seem.training.team` says why), one on an accelerator, and one where
    `torchrun` has started this one.
    """
    begun = request.out / RUN_FILE
    if asked is not None and asked < 1:
        raise ValueError(f"--processes is {asked}; it must be 1 or more.")
    if asked is not None and asked > max(MOST_PROCESSES, os.cpu_count() or 1):
        raise ValueError(f"--processes is {asked}; this machine has {os.cpu_count()} cores, one for each is best.")
    if request.shard and not under_torchrun():
        raise ValueError("--shard divides the weights between processes of torchrun; start it so, or leave it away.")
    if asked is not None and asked > 1 and under_torchrun():
        raise ValueError("torchrun has started the processes already; leave --processes away.")
    if asked is not None or under_torchrun():
        return asked or 1
    if begun.is_file() and not overwrite:
        check_folder(request, resume=resume, overwrite=overwrite)
        return read_plan(request).processes
    cores = torch.get_num_threads() if usable_device(request.device).type == "cpu" else 1
    return min(cores, MOST_PROCESSES)


def finetune(
    request: FineTuningRequest,
    *,
    resume: bool = False,
    overwrite: bool = False,
    say: Say = print,
    live: Say | None = None,
    objective: PublishedObjective | None = None,
    base: TrainConfig | None = None,
    finer_masks: Path | None = None,
) -> FineTuningResult:
    """Fine-tune a model as the module says.

    Args:
        request: what is asked for.
        resume: go on with the run in `request.out`; what was decided stays.
        overwrite: replace the run in `request.out`.
        say: takes lines for a person.
        live: takes the state of the run after every few steps; by default `say` does, now and then.
        objective: another published objective (SEEM family only).
        base: a recipe's own settings; what the request leaves open is taken from there.
        finer_masks: LVIS, whose masks replace those of objects whose boxes agree.

    Raises:
        ValueError: a wrong request, or data that cannot be used.
        SeemError: work that failed: weights, disk, a loss that is not finite.
    """
    request.check()
    rank, processes = world()
    device = usable_device(request.device)
    if rank == 0:
        check_folder(request, resume=resume, overwrite=overwrite)
    going_on = (request.out / RUN_FILE).is_file() and not overwrite
    quiet: Say = nothing if rank else say
    if rank == 0 and not going_on:
        plan = make_plan(request, device, quiet, objective, base, finer_masks)
        with atomic_write(request.out / RUN_FILE) as aside:
            aside.write_text(json.dumps(plan.to_json(), indent=1) + "\n", encoding="utf-8")
    meet(processes)
    plan = read_plan(request)
    check_same(plan, request, objective, finer_masks)
    material = open_training_data(plan.sources, plan.config.seed, change_of(plan.finer_masks))
    if material.fingerprint != plan.fingerprint:
        raise SeemError(f"The data of {request.out} have changed since it began; begin anew with --overwrite.")
    if plan.processes != processes:
        raise ValueError(
            f"{request.out} was begun with {plan.processes} processes, here are {processes}: batches would differ; "
            "use as many, or begin anew with --overwrite."
        )
    if going_on:
        quiet(f"Going on with {request.out} as it was begun: {counted(plan.config.steps, 'step')} in all.")
    return Run(request, plan, material, device, quiet, live or quiet).go()


def nothing(told: object) -> None:
    """Say nothing: only the first process speaks, and it may be asked to be quiet."""


# --- The folder -------------------------------------------------------------------------------------------------------


def check_folder(request: FineTuningRequest, *, resume: bool, overwrite: bool) -> None:
    """Refuse a folder that holds something else than what was asked for; changes nothing."""
    out = request.out
    if resume and overwrite:
        raise ValueError("--resume goes on with a run and --overwrite replaces it; choose one.")
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; name a folder with --out.")
    begun = (out / RUN_FILE).is_file()
    if resume and not begun:
        raise ValueError(f"There is no run to go on with in {out} ({RUN_FILE} is missing); leave --resume away.")
    if begun and not (resume or overwrite):
        raise FileExistsError(f"{out} holds a run already; pass --resume, --overwrite or another --out.")
    if not begun and out.is_dir() and any(not is_remnant(file) for file in out.iterdir()):
        raise FileExistsError(f"{out} is not empty and holds no run; name another --out.")


def is_remnant(file: Path) -> bool:
    """Whether a file was left by a run that ended before it began: photos, or a file of its own half written."""
    half = file.suffix == ".part" and file.name.lstrip(".").startswith((*FILES, f"{Path(STATE_FILE).stem}."))
    return file.name == CACHE_FILE or half


def begin_folder(out: Path) -> None:
    """Make the folder of a run; of one that is there, only a run's own files are deleted, `RUN_FILE` last."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    for file in (*filter(is_remnant, list(out.iterdir())), *(out / name for name in FILES)):
        file.unlink(missing_ok=True)


def read_plan(request: FineTuningRequest) -> Plan:
    """Read what the run decided; a request for something else is refused."""
    file = request.out / RUN_FILE
    try:
        plan = Plan.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise SeemError(
            f"{file} cannot be read ({type(error).__name__} {error}); begin anew with --overwrite."
        ) from error
    begun = tuple(source.spec for source in plan.sources)
    if [place_of(spec) for spec in begun] != [place_of(spec) for spec in request.data]:
        raise ValueError(f"{request.out} was begun with --data {' --data '.join(begun)}; resume with the same.")
    if plan.model != request.model:
        raise ValueError(f"{request.out} was begun with --model {plan.model}; resume with the same.")
    return plan


def place_of(spec: str) -> tuple[str | None, Path, float]:
    """Return what a specification means, however its path is written."""
    parsed = DatasetSpec.parse(spec)
    return parsed.kind, parsed.path.resolve(), parsed.weight


def options_of(request: FineTuningRequest) -> dict[str, Any]:
    """Return what a run must be resumed with, in plain values."""
    asked = asdict(request)
    return dict(json.loads(json.dumps({name: asked[name] for name in OPTIONS})))


def switches_of(objective: PublishedObjective | None) -> dict[str, Any]:
    """Return the switches of a published objective, in plain values."""
    return {} if objective is None else {name: getattr(objective, name) for name in SWITCHES}


def check_same(
    plan: Plan, request: FineTuningRequest, objective: PublishedObjective | None, finer_masks: Path | None
) -> None:
    """Raise `ValueError` where a run is to go on otherwise than it was begun."""
    finer = None if finer_masks is None else str(finer_masks)
    refuse_changes(
        request.out,
        {**plan.options, **plan.objective, "finer_masks": plan.finer_masks},
        {**options_of(request), **switches_of(objective), "finer_masks": finer},
    )


def refuse_changes(out: Path, begun: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise `ValueError` for the first option whose value is not that with which the run in `out` was begun."""
    for name, value in here.items():
        if name in begun and begun[name] != value:
            option = "--" + {"scratch": "from-scratch", "rates": "rate"}.get(name, name.replace("_", "-"))
            raise ValueError(
                f"{out} was begun with {option} {told(begun[name])}, here it is {told(value)}; resume with the same, "
                "or begin anew with --overwrite."
            )


def told(value: Any) -> str:
    """Word the value of an option."""
    if value is None:
        return "left to the run"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def meet(processes: int) -> None:
    """Wait until all processes are here."""
    if processes > 1:
        dist.barrier()


# --- The plan ---------------------------------------------------------------------------------------------------------


def make_plan(
    request: FineTuningRequest,
    device: torch.device,
    say: Say,
    objective: PublishedObjective | None,
    base: TrainConfig | None,
    finer_masks: Path | None,
) -> Plan:
    """Look at the data, measure a step, decide, and say so; the folder is begun once data and model are found good."""
    loaded = opened(request.model, request.scratch, request.seed)
    surveyed = [inspect_source(spec) for spec in request.data]
    sources = tuple(source for source, _ in surveyed)
    for source, reports in surveyed:
        tell_data(source, reports, say)
    finer = None if finer_masks is None else str(finer_masks)
    material = open_training_data(sources, request.seed, change_of(finer))
    learnt, judged = material.num_photos
    say(
        f"To learn from: {counted(learnt, 'photo')}, {counted(len(material.classes), 'class')}{named(material.classes)}"
    )
    silent = sum(r.images - len(r.unusable_images) for _, reports in surveyed for r in reports) - learnt
    silent -= 0 if material.same else judged
    if silent > 0:
        say(f"Not used: {counted(silent, 'photo')} without a mask")
    if material.same:
        say("To be judged on: the same photos, there are no others; the scores say only that the model remembers them.")
    else:
        say(f"To be judged on: {counted(judged, 'held-out photo')}")
        if judged < FEW:
            say(f"Scores of {counted(judged, 'photo')} are rough: a few points more or less mean nothing.")

    network = loaded.network
    is_nano = network.text_embedding_head is not None
    parts = (() if is_nano else PUBLISHED_FROZEN) if request.freeze is None else request.freeze
    size = request.size or usual_size(network, as_published=objective is not None)
    check_size(size, network)
    network.train().to(device)
    frozen = freeze(network, parts)
    if not request.scratch:
        freeze_statistics(network)
    processes = world()[1]
    further = named_of(material, processes) if is_nano else 0
    begin_folder(request.out)
    check_room(request.out, network)
    bank = bank_of(material, size, request.out)
    course = course_of(network, bank, size, 2, request.seed, further, as_published=objective is not None)
    all_over = further > IN_PART
    if base is not None:
        usual = max(2, math.ceil(base.batch / processes))
    else:
        usual = max(2, (8 // processes if device.type == "cpu" else 16) // (4 if all_over else 1))
    effective = request.batch or min(usual, max(2, 2 * learnt))
    trial = try_out(network, course, loss_for(network, loaded.tokenizer(), objective), effective)
    micro, accumulate = trial.batch, max(1, round(effective / trial.batch))
    start = base or usual_settings(is_nano=is_nano, shard=request.shard)
    step_seconds = trial.seconds * accumulate + time_upkeep(network, start)
    if processes > 1 and device.type == "cpu":
        step_seconds *= SHARED
    photo_seconds = time_photo(loaded, device, material)
    config = schedule_of(request, start, micro, accumulate, learnt, step_seconds)
    affordable = VALIDATION_SHARE * config.steps * step_seconds / VALIDATIONS / max(photo_seconds, 1e-3)
    plan = Plan(
        model=request.model,
        sources=sources,
        freeze=tuple(parts),
        size=size,
        arithmetic=trial.arithmetic,
        device=device.type,
        config=config,
        step_seconds=step_seconds,
        photo_seconds=photo_seconds,
        validation_photos=int(min(max(8, affordable), 100, judged)),
        named=further,
        scratch=request.scratch,
        processes=processes,
        start_sha256=loaded.sha256,
        fingerprint=material.fingerprint,
        objective=switches_of(objective),
        finer_masks=finer,
        options=options_of(request),
    )
    tell_plan(plan, network, frozen, trial, say)
    return plan


def opened(model: str, scratch: bool, seed: int) -> LoadedNetwork:
    """Open the model to begin with; its network has random weights if `scratch`."""
    loaded = open_network(model)
    if not scratch:
        return loaded
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return replace(loaded, network=build(loaded.network.config))


def usual_size(network: Segmenter, *, as_published: bool) -> int:
    """Return the side of the canvas, in pixels, that a network is trained at by default.

    SEEM was published with 1024; on one's own photos half of that teaches more in the same time.
    """
    if network.text_embedding_head is not None:
        return NANO_SIZE
    return PUBLISHED_SIZE if as_published else max(FAMILY_SIZE, network.config.image.divisor)


def check_size(size: int, network: Segmenter) -> None:
    """Raise `ValueError` for a canvas that a network cannot take."""
    if size % network.config.image.divisor:
        raise ValueError(f"--size is {size}; {network.config.name} takes multiples of {network.config.image.divisor}.")


def named_of(material: TrainingData, processes: int) -> int:
    """Decide how many photos are asked for names alone, for each other one; 0 where no class is told completely.

    Processes share a step's photos rather than make steps of more: a small model learns by the number of steps. To keep
    the shares, photos are then asked everything in some steps only (`rest_of`).
    """
    told = any(
        each.dataset.complete_names(photo) for each in material.train for photo in each.dataset.images[:LOOKED_AT]
    )
    if not told:
        return 0
    return max(FEWEST_NAMED, ALL_OVER // processes) if material.is_all_over else IN_PART


def rest_of(named: int) -> int:
    """Say in which steps photos are asked everything: in all, or in every second, third, ..."""
    return ALL_OVER // named if named > IN_PART else 1


def course_of(
    network: Segmenter, bank: ImageBank, size: int, batch: int, seed: int, named: int, *, as_published: bool
) -> Course:
    """Say how samples are drawn for a network of either kind; polygons are drawn as it reads them."""
    if network.text_embedding_head is not None:
        course = Course(bank, size, batch, seed, named=named, rest=rest_of(named))
    else:
        how, mix = (Augmentation.published(), PUBLISHED_MIX) if as_published else (Augmentation(), FAMILY_MIX)
        course = Course(bank, size, batch, seed, PUBLISHED_OBJECTS, mix, augmentation=how)
    habits = replace(course.mix.habits, polygon_rule=network.config.polygon_rule)
    return replace(course, mix=replace(course.mix, habits=habits))


def change_of(finer_masks: str | None) -> Callable[[Dataset], Dataset]:
    """Say what is done to the data that are learnt from: nothing, or finer masks."""
    if finer_masks is None:
        return lambda dataset: dataset
    finer = open_dataset(DatasetSpec("lvis", Path(finer_masks)), "train", tolerant=True)
    return lambda dataset: with_finer_masks(dataset, finer)


def tell_data(source: DataSource, reports: Sequence[DatasetReport], say: Say) -> None:
    """Report what is in a data set and what is left out of it."""
    for report in reports:
        for line in report.lines():
            say(line)
        if report.flaws:
            photos = len(report.unusable_images)
            left = f"{counted(photos, 'photo')} and all" if photos else "All"
            say(f"{left} annotations that cannot be read, or are empty, are left out; the rest is used.")
    if source.held is None and reports[0].images > 1:
        say(f"{source.spec} has no part of its own to be judged on: a tenth is held out.")


def usual_settings(*, is_nano: bool, shard: bool) -> TrainConfig:
    """Return what fine-tuning starts from: Muon for nano, which learns as much or more in a time (docs/finetune.md)."""
    if not is_nano:
        return TrainConfig(learning_rate=1e-4, clip=5.0, rates=(("backbone.", 0.1), ("text.", 0.1)))
    return TrainConfig(learning_rate=1e-3, clip=3.0, optimizer="adamw" if shard else "muon")


def schedule_of(
    request: FineTuningRequest, start: TrainConfig, micro: int, accumulate: int, photos: int, step_seconds: float
) -> TrainConfig:
    """Decide how long and how fast to train; what the request leaves open is as in `start`."""
    per_step = micro * accumulate * world()[1]
    if request.steps is not None:
        steps = request.steps
    elif request.minutes is not None:
        steps = max(1, int(60 * request.minutes * (1 - VALIDATION_SHARE) / max(step_seconds, 1e-6)))
    elif request.epochs is not None:
        steps = max(1, math.ceil(request.epochs * photos / per_step))
    else:
        affordable = int(60 * USUAL_MINUTES * (1 - VALIDATION_SHARE) / max(step_seconds, 1e-6))
        steps = max(min(EPOCHS * photos // per_step, MOST_STEPS, affordable), FEWEST_STEPS)
    return replace(
        start,
        steps=steps,
        batch=micro,
        accumulate=accumulate,
        learning_rate=request.learning_rate or start.learning_rate,
        rates=tuple({**dict(start.rates), **dict(rates_of(dict(request.rates)))}.items()),
        warmup=min(start.warmup, 50, steps // 10),
        average=min(start.average, max(0.0, 1 - 5 / max(steps, 5))),
        seed=request.seed,
        checkpoint_every=max(1, min(200, steps // 10)),
        log_every=max(1, min(20, steps // 50)),
        minutes=math.inf if request.minutes is None else 1.25 * request.minutes,
        validate_every=max(1, math.ceil(steps / VALIDATIONS)),
        patience=(0 if request.scratch else PATIENCE) if request.patience is None else request.patience,
        shard=request.shard,
    )


def tell_plan(plan: Plan, network: Segmenter, frozen: int, trial: Trial, say: Say) -> None:
    """Say what will be done."""
    sizes = parts_of(network)
    whole = sum(sizes.values())
    config = plan.config
    begun = f"{plan.model} from random weights" if plan.scratch else plan.model
    say(
        f"{begun}: {whole / 1e6:.1f} M parameters, {(whole - frozen) / 1e6:.1f} M of them learn; frozen: "
        f"{', '.join(plan.freeze) or 'nothing'}"
    )
    say(
        f"Canvas {plan.size} x {plan.size}, {config.batch} photos at a time"
        + (f", in one of {rest_of(plan.named)} steps," if rest_of(plan.named) > 1 else "")
        + (f" and {config.batch * plan.named} for names alone" if plan.named else "")
        + (f", {config.accumulate} times a step" if config.accumulate > 1 else "")
        + (f", in each of {plan.processes} processes" if plan.processes > 1 else "")
        + f", {plan.arithmetic} on {plan.device}: {plan.step_seconds:.2f} s a step"
        + (f", {trial.peak / 1e9:.1f} GB" if trial.peak else "")
    )
    stop = f", stopping after {counted(config.patience, 'look')} without progress" if config.patience else ""
    say(
        f"{counted(config.steps, 'step')} at learning rate {config.learning_rate:g}, a look at "
        f"{counted(plan.validation_photos, 'held-out photo')} every {config.validate_every}{stop}: "
        f"about {minutes_text(plan.minutes)}"
    )


@dataclass(frozen=True, slots=True)
class Trial:
    """What a step takes on this machine: seconds and bytes for `batch` photos in the faster arithmetic."""

    batch: int
    arithmetic: Arithmetic
    seconds: float
    peak: int


def try_out(network: Segmenter, course: Course, loss_of: LossOf, wanted: int) -> Trial:
    """Measure steps: which arithmetic, and how many photos fit into memory at once (a power of two, up to `wanted`)."""
    device = next(network.parameters()).device
    with untouched(network), room.measured(device) as whole:  # what one step has fetched, the next one finds
        with room.measured(device) as taken:
            full = steady_step(network, course, loss_of, "float32", 2)
        arithmetic: Arithmetic = "float32"
        half = steady_step(network, course, loss_of, "bfloat16", 2)
        seconds = full.seconds
        if half.work <= FASTER * full.work and abs(half.loss - full.loss) <= CLOSE * abs(full.loss):
            arithmetic, seconds = "bfloat16", half.seconds
        batch, seconds = 2, seconds / course.rest
        for number in range(1, course.rest):
            seconds += steady_step(network, course, loss_of, arithmetic, 2, number).seconds / course.rest
        here = world()[1] if device.type == "cpu" else 1  # so many share the memory
        while 2 * batch <= wanted and taken.peak * batch * here <= MEMORY_SHARE * room.free_bytes(device):
            batch *= 2
        while batch > 2:
            try:
                seconds = mean(
                    steady_step(network, course, loss_of, arithmetic, batch, number).seconds
                    for number in range(course.rest)
                )
            except (MemoryError, torch.OutOfMemoryError):
                batch //= 2
                continue
            break
    return Trial(batch, arithmetic, seconds, whole.peak)


def time_upkeep(network: nn.Module, config: TrainConfig) -> float:
    """Measure what a step does after its gradients: clip, move the weights (here by nothing), average."""
    device = next(network.parameters()).device
    for p in network.parameters():
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    optimizer = make_optimizer(network, replace(config, learning_rate=0.0))
    average = AveragedModel(network, use_buffers=True)
    for _ in range(2):  # the first one makes its tensors
        started = time.perf_counter()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds = time.perf_counter() - started
    for p in network.parameters():
        p.grad = None
    return seconds


@dataclass(frozen=True, slots=True)
class Step:
    """What a step gave and took: seconds on the clock, and those of the processor, to which no other program adds.

    On an accelerator `work` is the clock's, too.
    """

    loss: float
    seconds: float
    work: float


def steady_step(
    network: Segmenter, course: Course, loss_of: LossOf, arithmetic: Arithmetic, count: int, number: int = 0
) -> Step:
    """Run a step twice and return the faster: the first is slow, kernels are chosen and memory is fetched."""
    steps = [one_step(network, course, loss_of, arithmetic, count, number) for _ in range(2)]
    return min(steps, key=lambda step: step.seconds)


def one_step(
    network: Segmenter, course: Course, loss_of: LossOf, arithmetic: Arithmetic, count: int, number: int = 0
) -> Step:
    """Run a step forward and backward, drawing photos included."""
    device = next(network.parameters()).device
    started, worked = time.perf_counter(), time.process_time()
    loss, _ = priced(network, course.asked(number, network, count), loss_of, arithmetic)
    loss.backward()  # type: ignore[no-untyped-call]
    value = float(loss.detach())
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    return Step(value, seconds, time.process_time() - worked if device.type == "cpu" else seconds)


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Leave weights, statistics and gradients as they were."""
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in network.named_buffers():
                tensor.copy_(before[name])
        for p in network.parameters():
            p.grad = None


def time_photo(loaded: LoadedNetwork, device: torch.device, material: TrainingData) -> float:
    """Measure how long one held-out photo takes to be judged."""
    with judging(loaded.network):
        model = Model(loaded, device, "float32")
        started = time.perf_counter()
        score(model, material.held[:1], 1)
        return time.perf_counter() - started


@contextmanager
def judging(network: nn.Module) -> Iterator[None]:
    """Switch a network to answering, then back part by part: frozen parts stay as they are."""
    modes = {name: module.training for name, module in network.named_modules()}
    network.eval()
    try:
        yield
    finally:
        for name, module in network.named_modules():
            module.training = modes[name]


def bank_of(material: TrainingData, size: int, out: Path) -> ImageBank:
    """Keep the photos to learn from in one file, as large as the canvas needs them, if the disk has room for that."""
    longest = max(320, round(size * 384 / 224))
    cache = out / CACHE_FILE
    needed = material.num_photos[0] * PHOTO_BYTES * (longest / 320) ** 2
    keep = cache.is_file() or needed <= CACHE_SHARE * shutil.disk_usage(out).free
    return ImageBank.from_datasets(list(material.train), longest_side=longest, cache=cache, keep=keep)


def check_room(out: Path, network: nn.Module) -> None:
    """Raise if the disk is too full for checkpoints (twice: one aside)."""
    room.check_disk(out, 2 * 4 * sum(p.numel() * 4 for p in network.parameters()))


# --- The run ----------------------------------------------------------------------------------------------------------


class Run:
    """One sitting of a run: from its plan to its outcome."""

    def __init__(
        self, request: FineTuningRequest, plan: Plan, material: TrainingData, device: torch.device, say: Say, live: Say
    ) -> None:
        self.out = request.out
        self.plan = plan
        self.material = material
        self.device = device
        self.say = say
        self.live = live
        self.rank, self.processes = world()
        self.loaded = opened(plan.model, plan.scratch, plan.config.seed)
        if self.loaded.sha256 != plan.start_sha256:
            raise SeemError(f"The weights of {plan.model} have changed since {self.out} began; pass --overwrite.")
        tokenizer = self.loaded.tokenizer()
        self.loaded = replace(self.loaded, tokenizer=lambda: tokenizer)  # read once, not at every validation
        self.started = time.monotonic()
        self.first_step = 0
        self.is_late = False  # whether the time was up when training ended

    def go(self) -> FineTuningResult:
        """Train, judge, and write everything down."""
        plan = self.plan
        torch.manual_seed(plan.config.seed)
        begun = (self.out / STATE_FILE).is_file()
        self.first_step = step_of(self.out / STATE_FILE) if begun else 0
        first = -math.inf
        self.results = Results(self.out, self.first_step if begun else -1)
        self.board = Board(self.out if self.rank == 0 else Path(), self.first_step) if self.rank == 0 else None
        if self.rank == 0 and self.board is not None and not self.board.is_there:
            self.say("TensorBoard is not installed: curves go to results.csv alone (pip install 'seem[train]').")
        if self.rank == 0 and not begun:
            first = self.begin()
        self.started = time.monotonic()
        bank = self.bank()
        network = self.loaded.network
        network.train().to(self.device)
        if not plan.config.shard:  # only tensors that lie in one piece can be divided
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(network, plan.freeze)
        if not plan.scratch:
            freeze_statistics(network)
        config = plan.config
        course = course_of(
            network, bank, plan.size, config.batch, config.seed, plan.named, as_published=bool(plan.objective)
        )
        objective = None if not plan.objective else PublishedObjective(**plan.objective)
        loss_of = loss_for(
            network, self.loaded.tokenizer(), objective, lambda count: mean_over_processes(count, self.device)
        )
        step, ahead = steps_of(course, network, loss_of, plan.config, plan.arithmetic)
        hooks = Hooks(self.validate, self.keep, lambda number: course.describe(number, network), self.report, first)
        try:
            train(network, step, plan.config, self.out, hooks)
        finally:
            ahead.close()
            if self.board is not None:
                self.board.close()
        self.is_late = time.monotonic() - self.started >= 60 * config.minutes
        meet(self.processes)
        return self.finish()

    def bank(self) -> ImageBank:
        """Read the photos; the first process writes the cache that the others read."""
        if self.rank:
            meet(self.processes)
        bank = bank_of(self.material, self.plan.size, self.out)
        if not self.rank:
            meet(self.processes)
        return bank

    def begin(self) -> float:
        """Score the weights that the run begins with, and keep them: a model stands there from now on."""
        self.say("Scoring the model as it is ...")
        network = self.loaded.network.to(self.device)
        before = self.score(network, FINAL_PHOTOS)
        seen = before if self.plan.validation_photos >= before.photos else self.score(network)
        self.results.add(0, {**seen.parts, "score": seen.main})
        write_json(self.out / SUMMARY_FILE, {"before": before.parts, "photos": before.photos})
        self.keep(network, 0, seen.main)
        self.say(f"Before: {scores_text(before.parts)} ({counted(before.photos, 'photo')})")
        return seen.main if seen.parts else -math.inf

    def score(self, network: nn.Module, most: int | None = None) -> Scores:
        """Ask a network about held-out photos, by default as many as during training."""
        assert isinstance(network, Segmenter)
        names = self.material.classes  # as the weights that are kept will have them
        loaded = replace(self.loaded, network=network, classes=Vocabulary.of(names) if names else None)
        with judging(network):
            return score(Model(loaded, self.device, "float32"), self.material.held, most or self.plan.validation_photos)

    def validate(self, network: nn.Module, step: int) -> float:
        """Score the averaged weights during training; where nothing can be scored, later is better."""
        seen = self.score(network)
        terms = read_log(self.out)
        loss = {"loss": terms[-1]["total"]} if terms else {}
        self.results.add(step, {**seen.parts, "score": seen.main, **loss})
        if self.board is not None:
            self.board.add("validation", seen.parts, step)
        self.say(f"step {step}: {scores_text(seen.parts)}")
        return seen.main if seen.parts else float(step)

    def keep(self, network: nn.Module, step: int, score: float) -> None:
        """Write the best weights so far as a file that `seem.load` opens."""
        assert isinstance(network, Segmenter)
        halves = network.mask_refiner is not None  # nano is shipped so; the published files are float32
        tensors = {
            name: t.half() if halves and t.is_floating_point() else t for name, t in network.state_dict().items()
        }
        plan = self.plan
        notes = {"recipe": "finetune", "step": step, "score": None if math.isnan(score) else score, **plan.to_json()}
        metadata = {
            MODEL_KEY: self.loaded.name,
            CLASSES_KEY: json.dumps(self.material.classes),
            STUFF_KEY: json.dumps(self.material.stuff),
            BACKGROUND_KEY: json.dumps(not self.material.is_all_over),
            "made_by": json.dumps({name: told for name, told in notes.items() if name not in MEASURED}),
            "data_fingerprint": plan.fingerprint,
            "start_sha256": plan.start_sha256,
        }
        write_tensors(self.out / BEST_FILE, tensors, metadata)

    def report(self, row: Mapping[str, float]) -> None:
        """Tell where the run is."""
        step, steps = int(row["step"]), self.plan.config.steps
        if self.board is not None:
            self.board.add("train", {name: value for name, value in row.items() if name != "step"}, step)
        done = max(step - self.first_step, 1)
        left = (time.monotonic() - self.started) / done * (steps - step) / 60
        self.live(
            f"step {step}/{steps}  loss {row['total']:.3f}  {row['seconds']:.2f} s a step  {minutes_text(left)} left"
        )

    def finish(self) -> FineTuningResult:
        """Score the best weights, draw the pictures, and sum up."""
        summary = json.loads((self.out / SUMMARY_FILE).read_text(encoding="utf-8"))
        best_step, steps = best_of(self.out), step_of(self.out / STATE_FILE)
        if self.rank:
            meet(self.processes)
            return FineTuningResult(summary["before"], {}, best_step, steps, self.out / BEST_FILE)
        there, regions = self.settle_thresholds()
        after = score(self.best(), self.material.held, FINAL_PHOTOS)
        self.draw(after)
        outcome = FineTuningResult(summary["before"], after.parts, best_step, steps, self.out / BEST_FILE)
        write_json(
            self.out / SUMMARY_FILE,
            {
                **summary,
                "after": after.parts,
                **({} if there is None else {"names_found": there.found, "names_refused": there.refused}),
                **({} if regions is None else {"region_threshold": regions.threshold, "region_f1": regions.f1}),
                "best_step": best_step,
                "steps": steps,
                "sha256": sha256_of(self.out / BEST_FILE),
                "classes": self.material.classes,
            },
        )
        self.tell(outcome, there, regions)
        meet(self.processes)
        return outcome

    def best(self) -> Model:
        """Load the best weights."""
        loaded = open_file(self.out / BEST_FILE)
        loaded.network.to(self.device)
        return Model(loaded, self.device, "float32")

    def settle_thresholds(self) -> tuple[Presence | None, Regions | None]:
        """Measure from when on a class counts as being in a photo, and from when on its regions are kept.

        Both are written beside the best weights. None for models that do not say so, and where the held-out photos do
        not tell.
        """
        if self.loaded.network.text_embedding_head is None:
            return None, None
        there = measure_presence(self.best(), self.material.held, FINAL_PHOTOS)
        if there is not None:
            self.note({PRESENCE_MIDPOINT_KEY: f"{there.even:.4g}"})
        regions = measure_regions(self.best(), self.material.held)  # their scores depend on the other threshold
        if regions is not None:
            self.note(
                {REGION_THRESHOLD_KEY: str(regions.threshold)}
            )  # all digits: the score of a region that is to be kept
        return there, regions

    def note(self, metadata: Mapping[str, str]) -> None:
        """Write something beside the best weights."""
        content = read_tensors(self.out / BEST_FILE)
        write_tensors(self.out / BEST_FILE, content.tensors, {**content.metadata, **metadata})

    def draw(self, after: Scores) -> None:
        """Draw curves and the worst answers."""
        draw_progress(self.out)
        draw_worst(self.out / WORST_FILE, after.worst)

    def tell(self, outcome: FineTuningResult, there: Presence | None, regions: Regions | None) -> None:
        """Print what came of it."""
        if outcome.steps < self.plan.config.steps:
            why = "the time is up" if self.is_late else f"no progress in {counted(self.plan.config.patience, 'look')}"
            self.say(
                f"Stopped after step {outcome.steps} of {self.plan.config.steps} ({why}); the best was "
                f"{outcome.best_step}."
            )
        if outcome.best_step == 0:
            self.say(
                f"No step was better than the start: {BEST_FILE} holds the weights that the run began with. More steps "
                "or a lower --learning-rate may help."
            )
        for name, value in outcome.after.items():
            old = outcome.before.get(name)
            if old is not None:
                self.say(f"{LABELS[name]}: {old:.1f} before, {value:.1f} after ({value - old:+.1f})")
        if self.loaded.network.text_embedding_head is not None and self.material.classes:
            for line in threshold_lines(there, regions):
                self.say(line)
        self.say(f"{self.out}/: {BEST_FILE}, {RESULTS_FILE}, {CURVES_FILE}, {WORST_FILE}")
        self.say(f"Use it: seem.load({str(self.out)!r})")


def threshold_lines(there: Presence | None, regions: Regions | None) -> Iterator[str]:
    """Say which thresholds the held-out photos gave, and how good answers are with them."""
    if there is None:
        yield "Too few held-out photos to measure which class names to refuse: the usual threshold is kept."
    else:
        yield (
            f"Class names in held-out photos: {there.found:.0f}% of those that are there are found, "
            f"{there.refused:.0f}% of those that are not are refused (the threshold is chosen on the same photos)"
        )
    if regions is None:
        yield "Too few to measure which regions panoptic() and instances() keep: the usual threshold is kept."
    else:
        yield (
            f"Regions of panoptic() and instances(): F1 {regions.f1:.0f} at IoU 0.5, kept from a score of "
            f"{regions.threshold:.2f} on (chosen on the same photos)"
        )


LABELS = {"semantic_miou": "semantic mIoU", "click_iou": "IoU after one click", "name_miou": "IoU by class name"}


def scores_text(parts: Mapping[str, float]) -> str:
    """Word scores: "IoU after one click 40.2, IoU by class name 12.0"."""
    return ", ".join(f"{LABELS[name]} {value:.1f}" for name, value in parts.items()) or "nothing to score"


def minutes_text(minutes: float) -> str:
    """Word a time."""
    if minutes < 1.5:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def counted(count: int, word: str) -> str:
    """Word a number of things."""
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count:,} {word if count == 1 else plural}"


def named(names: Sequence[str], most: int = 8) -> str:
    """List some names in brackets; nothing for none."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f" ({', '.join(names[:most])}{more})" if names else ""


def best_of(out: Path) -> int:
    """Return the step of the best weights of a run."""
    state = torch.load(out / STATE_FILE, weights_only=True, mmap=True, map_location="cpu")
    return max(0, int(state["best"]["step"]))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file aside, then rename it."""
    with atomic_write(path) as aside:
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
