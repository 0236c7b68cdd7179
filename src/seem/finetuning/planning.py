"""How a run is planned: data inspected, step measured, settings decided and reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from seem.checkpoints.network import LoadedNetwork
from seem.data.inspection import DatasetReport
from seem.data.opening import DatasetSpec, list_splits
from seem.finetuning.console import LineWriter, data_lines, plan_lines, source_lines
from seem.finetuning.datasets import (
    DataSource,
    TrainingData,
    finer_masks_from,
    inspect_source,
    open_image_bank,
    open_training_data,
)
from seem.finetuning.plan import (
    NAMING_RATIO,
    PARTIAL_NAMING_RATIO,
    SHARED_NAMING_RATIO,
    Plan,
    ablation_of,
    finer_masks_folder,
)
from seem.finetuning.profile import profile_for, profile_of_kind
from seem.finetuning.request import FineTuningRequest, PublishedRecipe
from seem.finetuning.run_folder import prepare_run_folder
from seem.finetuning.step_cost import (
    SMALLEST_BATCH,
    measure_step_cost,
    measure_update_seconds,
    measure_validation_seconds,
)
from seem.loading import names_weights, open_network
from seem.models.build import build
from seem.models.kind import kind_of
from seem.models.segmenter import Segmenter
from seem.training.config import TrainConfig
from seem.training.distributed import rank_and_world_size
from seem.training.parts import freeze, freeze_statistics, learning_rate_factors
from seem.training.resources import check_disk_space
from seem.zoo import find_model_card

DEFAULT_MINUTES = 30.0  # a run of no given length takes at most so long, ...
DEFAULT_EPOCHS = 60  # ... passes so often over its images, ...
MAX_DEFAULT_STEPS = 5000  # ... and has at most so many steps, ...
MIN_DEFAULT_STEPS = 150  # ... but at least so many

CPU_BATCH = 8  # images of a step of all processes
ACCELERATOR_BATCH = 16
NAMING_BATCH_FACTOR = 4  # so many times fewer, where each image brings `NAMING_RATIO` further ones

NUM_VALIDATIONS = 10  # in a run
VALIDATION_TIME_SHARE = 0.15  # of the time of a run may go into validation
MIN_VALIDATION_IMAGES = 8
MAX_VALIDATION_IMAGES = 100
TIME_LIMIT_FACTOR = 1.25  # of the minutes asked for; then a run stops, whatever the step

DEFAULT_PATIENCE = 4  # validations without progress
SHARED_MEMORY_SLOWDOWN = 1.15  # of processes that share the memory of a machine, about


def make_plan(
    request: FineTuningRequest,
    device: torch.device,
    write_line: LineWriter,
    recipe: PublishedRecipe | None = None,
) -> Plan:
    """Inspect the data, measure a step, and decide; report everything on the way.

    The folder of the run is prepared once data and model are known to be usable.
    """
    _check_names(request, recipe)
    loaded = open_start_network(request.model, request.scratch, request.seed)
    network = loaded.network
    profile = profile_for(network, by_published_recipe=recipe is not None)
    sources, data = _inspect_data(request, recipe, write_line)

    frozen_parts = request.freeze
    if frozen_parts is None:
        frozen_parts = profile.frozen_parts
    size = request.size or profile.default_size(network)
    check_size(size, network)
    num_frozen = _prepare_network(
        network, device, frozen_parts, keep_statistics=not request.scratch
    )
    prepare_run_folder(request.out)
    check_checkpoint_space(request.out, network)

    processes = rank_and_world_size()[1]
    naming_ratio = 0
    if profile.asks_for_class_names:
        naming_ratio = choose_naming_ratio(data, processes)
    bank = open_image_bank(data, size, request.out)
    sampler = profile.batch_sampler(network, bank, size, SMALLEST_BATCH, request.seed, naming_ratio)
    ablation = ablation_of(recipe)
    objective = profile.make_objective(network, loaded.tokenizer(), ablation, float)
    step_batch = _choose_step_batch(request, recipe, device, data.num_train, naming_ratio)
    cost = measure_step_cost(network, sampler, objective, step_batch)

    if recipe is None:
        base = profile.default_config(shard=request.shard)
    else:
        base = recipe.config
    accumulate = max(1, round(step_batch / cost.batch))
    step_seconds = cost.seconds * accumulate + measure_update_seconds(network, base)
    if processes > 1 and device.type == "cpu":
        step_seconds *= SHARED_MEMORY_SLOWDOWN
    image_seconds = measure_validation_seconds(loaded, device, data)
    config = make_schedule(request, base, cost.batch, accumulate, data.num_train, step_seconds)
    plan = Plan(
        model=request.model,
        sources=sources,
        frozen_parts=tuple(frozen_parts),
        size=size,
        precision=cost.precision,
        device=device.type,
        config=config,
        step_seconds=step_seconds,
        image_seconds=image_seconds,
        validation_images=_choose_validation_images(
            config, step_seconds, image_seconds, data.num_validation
        ),
        naming_ratio=naming_ratio,
        scratch=request.scratch,
        processes=processes,
        start_sha256=loaded.sha256,
        data_fingerprint=data.fingerprint,
        ablation=ablation,
        finer_masks=finer_masks_folder(recipe),
        options=request.resume_options(),
    )
    for line in plan_lines(plan, network, num_frozen, cost.peak_bytes):
        write_line(line)
    return plan


def open_start_network(model: str, scratch: bool, seed: int) -> LoadedNetwork:
    """Open the model that a run starts from; with `scratch`, its network gets random weights."""
    loaded = open_network(model)
    if not scratch:
        return loaded
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return replace(loaded, network=build(loaded.network.config))


def _check_names(request: FineTuningRequest, recipe: PublishedRecipe | None) -> None:
    """Raise `ValueError` for a model or a data set that is not known, before weights are fetched and read."""
    if not names_weights(request.model):
        card = find_model_card(request.model)
        if card.config is not None:
            profile_of_kind(kind_of(card.config()), by_published_recipe=recipe is not None)
    for spec in request.data:
        list_splits(spec)
    if recipe is not None and recipe.finer_masks is not None:
        list_splits(DatasetSpec("lvis", recipe.finer_masks))


def _inspect_data(
    request: FineTuningRequest, recipe: PublishedRecipe | None, write_line: LineWriter
) -> tuple[tuple[DataSource, ...], TrainingData]:
    """Inspect and open all data sets, and report what is in them."""
    inspected = list(map(inspect_source, request.data))
    sources: list[DataSource] = []
    reports: list[DatasetReport] = []
    for source, source_reports in inspected:
        sources.append(source)
        reports += source_reports
        for line in source_lines(source, source_reports):
            write_line(line)
    data = open_training_data(sources, request.seed, finer_masks_from(finer_masks_folder(recipe)))
    readable = sum(report.images - len(report.unusable_images) for report in reports)
    for line in data_lines(data, readable):
        write_line(line)
    return tuple(sources), data


def _prepare_network(
    network: Segmenter, device: torch.device, frozen_parts: Sequence[str], *, keep_statistics: bool
) -> int:
    """Bring a network into the state of training on a device; return the number of frozen parameters."""
    network.train().to(device)
    num_frozen = freeze(network, frozen_parts)
    if keep_statistics:
        freeze_statistics(network)
    return num_frozen


def check_size(size: int, network: Segmenter) -> None:
    """Raise `ValueError` for a canvas that a network cannot take."""
    divisor = network.config.image.divisor
    if size % divisor:
        raise ValueError(f"--size is {size}; {network.config.name} takes multiples of {divisor}.")


def check_checkpoint_space(out: Path, network: nn.Module) -> None:
    """Raise `SeemError` if the disk is too full for the checkpoints of a run."""
    weight_bytes = sum(p.numel() * 4 for p in network.parameters())
    checkpoint_bytes = 4 * weight_bytes  # weights, their average, two moments of the optimizer
    check_disk_space(out, 2 * checkpoint_bytes)  # the new one is complete before the old one goes


def choose_naming_ratio(data: TrainingData, processes: int) -> int:
    """Return how many further images are asked for class names alone, for each image with prompted targets.

    0 where no class is annotated completely. Several processes share the images of a step rather than make steps of
    more images: a small model learns by the number of steps. Then only some steps have images with prompted targets
    (`full_step_interval`).
    """
    if not data.has_complete_names:
        return 0
    if not data.is_fully_labelled:
        return PARTIAL_NAMING_RATIO
    return max(SHARED_NAMING_RATIO, NAMING_RATIO // processes)


def _choose_step_batch(
    request: FineTuningRequest,
    recipe: PublishedRecipe | None,
    device: torch.device,
    num_train: int,
    naming_ratio: int,
) -> int:
    """Return how many images with prompted targets a step takes in each process."""
    if request.batch:
        return request.batch
    processes = rank_and_world_size()[1]
    if recipe is not None:
        batch = math.ceil(recipe.config.batch / processes)
    elif device.type == "cpu":
        batch = CPU_BATCH // processes
    else:
        batch = ACCELERATOR_BATCH
    if recipe is None and naming_ratio > PARTIAL_NAMING_RATIO:
        batch //= NAMING_BATCH_FACTOR
    return max(SMALLEST_BATCH, min(batch, SMALLEST_BATCH * num_train))


def _choose_validation_images(
    config: TrainConfig, step_seconds: float, image_seconds: float, num_validation: int
) -> int:
    """Return how many images each validation takes, so that all of them take at most their share of the time."""
    seconds = VALIDATION_TIME_SHARE * config.steps * step_seconds / NUM_VALIDATIONS
    affordable = seconds / max(image_seconds, 1e-3)
    return int(min(max(MIN_VALIDATION_IMAGES, affordable), MAX_VALIDATION_IMAGES, num_validation))


def make_schedule(
    request: FineTuningRequest,
    base: TrainConfig,
    batch: int,
    accumulate: int,
    num_images: int,
    step_seconds: float,
) -> TrainConfig:
    """Decide how long and how fast to train; what the request leaves open is as in `base`."""
    steps = _choose_steps(
        request, batch * accumulate * rank_and_world_size()[1], num_images, step_seconds
    )
    rates = {**dict(base.rates), **dict(learning_rate_factors(dict(request.rates)))}
    return replace(
        base,
        steps=steps,
        batch=batch,
        accumulate=accumulate,
        learning_rate=request.learning_rate or base.learning_rate,
        rates=tuple(rates.items()),
        warmup=min(base.warmup, 50, steps // 10),
        average=min(base.average, max(0.0, 1 - 5 / max(steps, 5))),
        seed=request.seed,
        checkpoint_every=max(1, min(200, steps // 10)),
        log_every=max(1, min(20, steps // 50)),
        minutes=_time_limit(request),
        validate_every=max(1, math.ceil(steps / NUM_VALIDATIONS)),
        patience=_choose_patience(request),
        shard=request.shard,
    )


def _choose_patience(request: FineTuningRequest) -> int:
    """Return after how many validations without progress a run stops; from random weights, it does not."""
    if request.patience is not None:
        return request.patience
    if request.scratch:
        return 0
    return DEFAULT_PATIENCE


def _time_limit(request: FineTuningRequest) -> float:
    """Return after how many minutes a run stops, whatever the step; infinity where none were asked for."""
    if request.minutes is None:
        return math.inf
    return TIME_LIMIT_FACTOR * request.minutes


def _choose_steps(
    request: FineTuningRequest, images_per_step: int, num_images: int, step_seconds: float
) -> int:
    """Return the number of steps: as asked for, or what half an hour allows."""
    if request.steps is not None:
        return request.steps
    if request.minutes is not None:
        return max(1, _affordable_steps(request.minutes, step_seconds))
    if request.epochs is not None:
        return max(1, math.ceil(request.epochs * num_images / images_per_step))
    wanted = DEFAULT_EPOCHS * num_images // images_per_step
    affordable = _affordable_steps(DEFAULT_MINUTES, step_seconds)
    return max(MIN_DEFAULT_STEPS, min(wanted, MAX_DEFAULT_STEPS, affordable))


def _affordable_steps(minutes: float, step_seconds: float) -> int:
    """Return how many steps fit into a time of which validation takes its share."""
    return int(60 * minutes * (1 - VALIDATION_TIME_SHARE) / max(step_seconds, 1e-6))
