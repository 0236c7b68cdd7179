"""The weights of a run and their moving average, as one process holds them: complete copies.

`sharding.ShardedWeights` has the same methods for weights that are divided between processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

StepFunction: TypeAlias = "Callable[[nn.Module, int], tuple[Tensor, dict[str, float]]]"


class TrainedWeights(Protocol):
    """A model in training with the moving average of its weights."""

    @property
    def model(self) -> nn.Module:
        """The model whose parameters are optimized."""

    def run_step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step and its terms."""

    def replicated_parameters(self) -> Iterable[nn.Parameter]:
        """List the parameters of which every process has a copy, so that their gradients have to be averaged."""

    def clip_gradients(self, limit: float) -> Tensor:
        """Scale the gradient down to a norm of at most `limit`; return its norm before that."""

    def update_average(self) -> None:
        """Move the average towards the model; the first time it becomes the model."""

    def averaged_model(self) -> nn.Module:
        """Return the model with averaged weights; all processes must call it, the first gets current weights."""

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return model, average and optimizer for a checkpoint; all processes must call it, the first gets it."""

    def load_state(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Load model, average and optimizer from a checkpoint."""


class ReplicatedWeights:
    """Complete weights in every process; `decay` is that of the moving average."""

    def __init__(self, model: nn.Module, step_function: StepFunction, decay: float) -> None:
        self.model = model
        self.average = averaged_copy(model, decay)
        self._step_function = step_function

    def run_step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step and its terms."""
        return self._step_function(self.model, number)

    def replicated_parameters(self) -> Iterable[nn.Parameter]:
        """List all parameters."""
        return self.model.parameters()

    def clip_gradients(self, limit: float) -> Tensor:
        """Scale the gradient down to a norm of at most `limit`; return its norm before that."""
        return nn.utils.clip_grad_norm_(self.model.parameters(), limit)

    def update_average(self) -> None:
        """Move the average towards the model; the first time it becomes the model."""
        self.average.update_parameters(self.model)

    def averaged_model(self) -> nn.Module:
        """Return the model with averaged weights."""
        return self.average.module

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Return model, average and optimizer for a checkpoint."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Load model, average and optimizer from a checkpoint."""
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])


def averaged_copy(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that keeps the exponential moving average of its weights and buffers."""
    average_function: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(model, multi_avg_fn=average_function, use_buffers=True)
