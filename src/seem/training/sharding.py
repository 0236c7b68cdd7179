"""Weights divided between processes (FSDP2): every process keeps a shard of each tensor and borrows the rest.

The whole step is the forward pass of one module, so that weights are gathered once a step whatever the step calls, and
gradients are scattered back to the shards.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from seem.training.replicas import StepFunction, averaged_copy

GATHER_OPTIONS = StateDictOptions(full_state_dict=True, cpu_offload=True)
SCATTER_OPTIONS = StateDictOptions(full_state_dict=True)


class ShardedWeights:
    """Weights and their moving average, divided between all processes; `seem.training.replicas` says what methods do.

    The model given is divided in place.
    """

    def __init__(self, model: nn.Module, step_function: StepFunction, decay: float) -> None:
        self.model = model
        self.average = averaged_copy(model, decay)
        self._decay = decay
        self._whole_average = copy.deepcopy(self.average.module)
        self._stepping = SteppingModule(model, step_function)
        device_type = next(model.parameters()).device.type
        mesh = init_device_mesh(device_type, (dist.get_world_size(),))
        for module in (self._stepping, self.average.module):
            # a single number cannot be divided
            scalars = {p for p in module.parameters() if p.ndim == 0}
            fully_shard(module, mesh=mesh, ignored_params=scalars)

    def run_step(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step and its terms."""
        loss, terms = self._stepping(number)
        return loss, terms

    def replicated_parameters(self) -> Iterable[nn.Parameter]:
        """List the parameters of which every process has a copy."""
        return [p for p in self.model.parameters() if not isinstance(p, DTensor)]

    @torch.no_grad()
    def clip_gradients(self, limit: float) -> Tensor:
        """Scale the gradient, all shards of it together, down to a norm of `limit`; return its norm before that."""
        sharded = []
        replicated = []
        for p in self.model.parameters():
            if p.grad is None:
                continue
            if isinstance(p, DTensor):
                sharded.append(_local(p.grad))
            else:
                replicated.append(p.grad)
        total = _sum_of_squares(sharded)
        dist.all_reduce(total)
        if replicated:
            total = total + _sum_of_squares(replicated)
        norm = total.sqrt()
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        for gradient in (*sharded, *replicated):
            gradient.mul_(factor)
        return norm

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the average towards the model; the first time it becomes the model."""
        decay = self._decay if int(self.average.n_averaged) else 0.0
        averages = self.average.module.state_dict().values()
        currents = self.model.state_dict().values()
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                _local(average).lerp_(_local(current), 1 - decay)
            else:
                _local(average).copy_(_local(current))
        self.average.n_averaged += 1

    def averaged_model(self) -> nn.Module:
        """Return the whole model with averaged weights; all processes must call it, the first gets current weights."""
        tensors = get_model_state_dict(self.average.module, options=GATHER_OPTIONS)
        if tensors:
            self._whole_average.load_state_dict(tensors)
        return self._whole_average

    def state(self, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
        """Gather model, average and optimizer on the first process; all processes must call it."""
        return {
            "model": get_model_state_dict(self.model, options=GATHER_OPTIONS),
            "average": get_model_state_dict(self.average, options=GATHER_OPTIONS),
            "optimizer": get_optimizer_state_dict(self.model, optimizer, options=GATHER_OPTIONS),
        }

    def load_state(self, state: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Divide a gathered state between the processes again."""
        set_model_state_dict(self.model, state["model"], options=SCATTER_OPTIONS)
        set_model_state_dict(self.average, state["average"], options=SCATTER_OPTIONS)
        set_optimizer_state_dict(self.model, optimizer, state["optimizer"], options=SCATTER_OPTIONS)


class SteppingModule(nn.Module):
    """A network whose forward pass is a whole training step."""

    def __init__(self, model: nn.Module, step_function: StepFunction) -> None:
        super().__init__()
        self.model = model
        self.step_function = step_function

    def forward(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Run step `number`; return its loss and terms.

        Parameters that the step does not use get gradient zero: processes whose steps use different ones would wait for
        each other.
        """
        loss, terms = self.step_function(self.model, number)
        all_parameters = torch.stack(
            [p.sum() for p in self.model.parameters() if p.requires_grad]
        ).sum()
        return loss + 0.0 * all_parameters, terms


def _sum_of_squares(tensors: Iterable[Tensor]) -> Tensor:
    return torch.stack([tensor.square().sum() for tensor in tensors]).sum()


def _local(tensor: Tensor) -> Tensor:
    """Return the shard of a tensor that this process keeps; all of one that is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
