"""What a training step and a validation cost on this machine, measured before a run is planned."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from statistics import mean

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from seem.checkpoints.network import LoadedNetwork
from seem.finetuning.datasets import TrainingData
from seem.finetuning.network_state import clear_gradients, evaluation_mode, preserved_buffers
from seem.model import Model
from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.training.batch_sampler import BatchSampler
from seem.training.config import TrainConfig
from seem.training.distributed import rank_and_world_size
from seem.training.objectives import Objective
from seem.training.optimizer import make_optimizer
from seem.training.resources import available_bytes, measure_peak_memory
from seem.training.steps import compute_loss
from seem.training.validation import score

SMALLEST_BATCH = 2  # images are drawn in pairs
MEMORY_SHARE = 0.5  # of the available memory may be taken by a step
MAX_TIME_RATIO = 0.95  # bfloat16 is chosen where it needs at most this share of float32's time ...
MAX_LOSS_DIFFERENCE = 0.05  # ... and its loss differs by at most this share


@dataclass(frozen=True, slots=True)
class StepCost:
    """What a step costs in the faster precision: `seconds` for `batch` images, of which so many fit into memory."""

    batch: int
    precision: Precision
    seconds: float
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class StepMeasurement:
    """Loss and duration of one step.

    `processor_seconds` is the time of the processor, to which no other program adds; on an accelerator it is the same
    as `seconds`.
    """

    loss: float
    seconds: float
    processor_seconds: float


@dataclass(frozen=True, slots=True)
class StepTimer:
    """Runs training steps forward and backward to measure them; weights are not updated."""

    network: Segmenter
    sampler: BatchSampler
    objective: Objective

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    def run_once(self, precision: Precision, batch: int, number: int = 0) -> StepMeasurement:
        """Measure a step of `batch` images, with the drawing of its images."""
        started = time.perf_counter()
        processor_started = time.process_time()
        images = self.sampler.draw(number, self.network, batch)
        loss, _ = compute_loss(self.network, images, self.objective, precision)
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        _synchronize(self.device)
        seconds = time.perf_counter() - started
        processor_seconds = seconds
        if self.device.type == "cpu":
            processor_seconds = time.process_time() - processor_started
        return StepMeasurement(value, seconds, processor_seconds)

    def run(self, precision: Precision, batch: int, number: int = 0) -> StepMeasurement:
        """Run a step twice and return the faster: in the first, kernels are chosen and memory is allocated."""
        first = self.run_once(precision, batch, number)
        second = self.run_once(precision, batch, number)
        return min(first, second, key=lambda attempt: attempt.seconds)

    def mean_seconds(self, precision: Precision, batch: int) -> float:
        """Measure the mean duration of steps, those with prompted targets and those without."""
        numbers = range(self.sampler.full_step_interval)
        return mean(self.run(precision, batch, number).seconds for number in numbers)


def measure_step_cost(
    network: Segmenter, sampler: BatchSampler, objective: Objective, max_batch: int
) -> StepCost:
    """Measure which precision is faster, and how many images fit into memory: a power of two, up to `max_batch`."""
    timer = StepTimer(network, sampler, objective)
    with preserved_buffers(network), measure_peak_memory(timer.device) as total:
        # the first step alone: later ones reuse the memory that it allocates
        with measure_peak_memory(timer.device) as smallest:
            float32 = timer.run("float32", SMALLEST_BATCH)
        bfloat16 = timer.run("bfloat16", SMALLEST_BATCH)
        precision: Precision = "float32"
        chosen = float32
        if _is_better(bfloat16, float32):
            precision, chosen = "bfloat16", bfloat16

        largest = _largest_batch(smallest.peak, timer.device, max_batch)
        measured = _measure_largest(timer, precision, largest)
        if measured is None:
            all_seconds = [chosen.seconds]
            for number in range(1, sampler.full_step_interval):
                all_seconds.append(timer.run(precision, SMALLEST_BATCH, number).seconds)
            measured = SMALLEST_BATCH, mean(all_seconds)
    batch, seconds = measured
    return StepCost(batch=batch, precision=precision, seconds=seconds, peak_bytes=total.peak)


def _is_better(bfloat16: StepMeasurement, float32: StepMeasurement) -> bool:
    """Return whether a step in bfloat16 is faster than in float32 with nearly the same loss."""
    is_faster = bfloat16.processor_seconds <= MAX_TIME_RATIO * float32.processor_seconds
    difference = abs(bfloat16.loss - float32.loss)
    return is_faster and difference <= MAX_LOSS_DIFFERENCE * abs(float32.loss)


def _largest_batch(peak_bytes: int, device: torch.device, max_batch: int) -> int:
    """Estimate how many images fit into memory, where `SMALLEST_BATCH` of them take `peak_bytes`."""
    sharing = 1  # processes that share the memory
    if device.type == "cpu":
        sharing = rank_and_world_size()[1]
    batch = SMALLEST_BATCH
    while 2 * batch <= max_batch:
        needed = peak_bytes * batch * sharing
        if needed > MEMORY_SHARE * available_bytes(device):
            break
        batch *= 2
    return batch


def _measure_largest(
    timer: StepTimer, precision: Precision, batch: int
) -> tuple[int, float] | None:
    """Return the largest batch above `SMALLEST_BATCH` that fits, and its seconds; None if none does."""
    while batch > SMALLEST_BATCH:
        seconds = _seconds_if_it_fits(timer, precision, batch)
        if seconds is not None:
            return batch, seconds
        batch //= 2
    return None


def _seconds_if_it_fits(timer: StepTimer, precision: Precision, batch: int) -> float | None:
    """Return the mean seconds of steps of `batch` images; None where memory runs out."""
    try:
        return timer.mean_seconds(precision, batch)
    except (MemoryError, torch.OutOfMemoryError):
        return None


def measure_update_seconds(network: nn.Module, config: TrainConfig) -> float:
    """Measure what a step does after its gradients: clip them, update weights (here by nothing), average them."""
    device = next(network.parameters()).device
    for p in network.parameters():
        if p.requires_grad:
            p.grad = torch.zeros_like(p)
    optimizer = make_optimizer(network, replace(config, learning_rate=0.0))
    average = AveragedModel(network, use_buffers=True)
    for _ in range(2):  # the first one allocates the state of the optimizer
        started = time.perf_counter()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(network)
        _synchronize(device)
        seconds = time.perf_counter() - started
    clear_gradients(network)
    return seconds


def measure_validation_seconds(
    loaded: LoadedNetwork, device: torch.device, data: TrainingData
) -> float:
    """Measure how long the validation of one image takes."""
    with evaluation_mode(loaded.network):
        model = Model(loaded, device, "float32")
        started = time.perf_counter()
        score(model, data.validation[:1], 1)
        return time.perf_counter() - started


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
