"""The optimizer of a training run, its parameter groups, and the learning rate over time."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from seem.training.config import HOLD_SHARE, TrainConfig
from seem.training.muon import Muon

FINAL_RATE = 0.01  # factor of the learning rate at the end of a cosine


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Build AdamW or Muon over a model's parameters; each group carries the `factor` of its learning rate.

    Weight decay applies to matrices and convolutions, not to norms, biases, embeddings or single vectors. With Muon the
    weights of linear layers and convolutions are its matrices; embedding tables (queries, positions) go to AdamW.
    """
    groups = _parameter_groups(model, config)
    if config.optimizer == "muon":
        if config.shard:
            raise ValueError(
                "Muon needs whole matrices, and `shard` divides them; use the optimizer 'adamw'."
            )
        return Muon(_split_matrices(model, groups), config.learning_rate, config.betas)
    foreach = (
        False if config.shard else None
    )  # sharded and whole tensors do not go through one kernel
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, foreach=foreach)


def _parameter_groups(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Group parameters by (learning-rate factor, with or without weight decay), factor 1 first."""
    embeddings: set[nn.Parameter] = set()
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            embeddings.update(module.parameters())
    other_factors = {factor for _, factor in config.rates} - {1.0}
    members: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for factor in (1.0, *sorted(other_factors)):
        members[factor, True] = []
        members[factor, False] = []
    for name, p in model.named_parameters():
        decays = p.ndim > 1 and p not in embeddings
        members[rate_factor(name, config.rates), decays].append(p)
    groups = []
    for (factor, decays), parameters in members.items():
        if parameters or factor == 1.0:
            weight_decay = config.weight_decay if decays else 0.0
            groups.append({"params": parameters, "weight_decay": weight_decay, "factor": factor})
    return groups


def _split_matrices(model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split each group into Muon's matrices (`orthogonal`) and the other parameters.

    A depthwise convolution mixes no channels, so it is no matrix.
    """
    mixing_parameters: set[nn.Parameter] = set()
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            continue
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.MultiheadAttention)):
            mixing_parameters.update(module.parameters(recurse=False))
    split = []
    for group in groups:
        matrices, others = [], []
        for p in group["params"]:
            if p.ndim > 1 and p in mixing_parameters:
                matrices.append(p)
            else:
                others.append(p)
        if matrices:
            split.append({**group, "params": matrices, "orthogonal": True})
        if others:
            split.append({**group, "params": others, "orthogonal": False})
    return split


def rate_factor(name: str, rates: tuple[tuple[str, float], ...]) -> float:
    """Return the factor of a parameter's learning rate: that of the longest matching prefix, 1 without one."""
    longest, chosen = -1, 1.0
    for prefix, factor in rates:
        if name.startswith(prefix) and len(prefix) > longest:
            longest, chosen = len(prefix), factor
    return chosen


def schedule(step: int, config: TrainConfig) -> float:
    """Return the factor of the learning rate at a step: a linear warm-up, then as `config.schedule` says."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "steps":
        num_drops = sum(step >= drop * config.steps for drop in config.drops)
        return float(0.1**num_drops)
    start = config.warmup
    if config.schedule == "hold":
        start = max(start, int(HOLD_SHARE * config.steps))
    if step < start:
        return 1.0
    done = (step - start) / max(config.steps - start, 1)
    return FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * done))
