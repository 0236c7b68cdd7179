"""One training step: a prefetched batch, the precision and attention kernels of the device, an objective."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.training.batch_sampler import BatchSampler
from seem.training.batches import StepBatch
from seem.training.config import TrainConfig
from seem.training.objectives import Objective
from seem.training.prefetch import Prefetcher

MAX_DRAWING_THREADS = 8


def make_step_function(
    sampler: BatchSampler,
    network: Segmenter,
    objective: Objective,
    config: TrainConfig,
    precision: Precision,
) -> tuple[Callable[[nn.Module, int], tuple[Tensor, dict[str, float]]], Prefetcher[StepBatch]]:
    """Return the step function of a run, and the prefetcher of its batches, to be closed when the run is over."""
    device = next(network.parameters()).device
    workers = 1
    if device.type != "cpu":
        workers = max(1, min(MAX_DRAWING_THREADS, (os.cpu_count() or 2) - 1))
    prefetcher = Prefetcher(
        lambda number: sampler.draw(number, network), workers, config.steps * config.accumulate
    )

    def step(model: nn.Module, number: int) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Segmenter)
        return compute_loss(model, prefetcher(number), objective, precision)

    return step, prefetcher


def compute_loss(
    model: Segmenter, batch: StepBatch, objective: Objective, precision: Precision
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of one step and its terms, computed on the model's device in the given precision."""
    device = next(model.parameters()).device
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"),
        attention_backend(device),
    ):
        return objective.loss(model, batch.to(device))


def attention_backend(device: torch.device) -> AbstractContextManager[None]:
    """Choose attention kernels: on a CPU the backward pass of the fused ones is slow at training sizes."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
