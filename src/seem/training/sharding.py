"""Weights divided between processes (FSDP2): every process keeps a part of each tensor and borrows the rest.

The whole step is the forward pass of one module, so that weights are put together once a step whatever the step
calls, and gradients go back in parts.
"""

from __future__ import annotations

from collections.abc import Callable
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

StepFunction = Callable[[nn.Module, int], "tuple[Tensor, dict[str, float]]"]

FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
SPREAD = StateDictOptions(full_state_dict=True)


class Stepping(nn.Module):
    """A network whose forward pass is a whole training step."""

    def __init__(self, model: nn.Module, step_function: StepFunction) -> None:
        super().__init__()
        self.model = model
        self.step_function = step_function

    def forward(self, number: int) -> tuple[Tensor, dict[str, float]]:
        """Run step `number`.

        What the step does not reach gets gradient zero: processes that ask differently would wait for each other.
        """
        loss, terms = self.step_function(self.model, number)
        nothing = torch.stack([p.sum() for p in self.model.parameters() if p.requires_grad]).sum()
        return loss + 0.0 * nothing, terms


def divide(
    model: nn.Module, average: nn.Module, step_function: StepFunction
) -> Callable[[int], tuple[Tensor, dict[str, float]]]:
    """Divide a network and its average between all processes, in place; returns how to run a step."""
    kind = next(model.parameters()).device.type
    mesh = init_device_mesh(kind, (dist.get_world_size(),))
    stepping = Stepping(model, step_function)
    for module in (stepping, average):  # a single number cannot be divided
        fully_shard(module, mesh=mesh, ignored_params={p for p in module.parameters() if p.ndim == 0})
    run: Callable[[int], tuple[Tensor, dict[str, float]]] = stepping
    return run


def own(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this process keeps; all of one that is not divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def undivided(model: nn.Module) -> list[nn.Parameter]:
    """List the parameters of which every process has a copy."""
    return [p for p in model.parameters() if not isinstance(p, DTensor)]


@torch.no_grad()
def clip(model: nn.Module, limit: float) -> Tensor:
    """Shorten the gradient, all parts of it together, to `limit`; returns how long it was."""
    parts = [(own(p.grad), isinstance(p, DTensor)) for p in model.parameters() if p.grad is not None]
    divided = torch.stack([g.square().sum() for g, is_part in parts if is_part]).sum()
    dist.all_reduce(divided)
    copies = [g.square().sum() for g, is_part in parts if not is_part]
    length = (divided + (torch.stack(copies).sum() if copies else 0.0)).sqrt()
    factor = (limit / (length + 1e-6)).clamp(max=1.0)
    for g, _ in parts:
        g.mul_(factor)
    return length


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move every weight and statistic of the average towards the model's."""
    pairs = zip(average.state_dict().values(), model.state_dict().values(), strict=True)
    for mean, new in pairs:
        kept, moved = own(mean), own(new)
        if kept.is_floating_point():
            kept.lerp_(moved, 1 - decay)
        else:
            kept.copy_(moved)


def put_together(model: nn.Module, plain: nn.Module) -> None:
    """Copy a divided network's weights into an undivided one; all processes must call it, the first gets them."""
    tensors = get_model_state_dict(model, options=FULL)
    if tensors:
        plain.load_state_dict(tensors)


def gather(model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put everything together on the first process; all processes must call it."""
    return {
        "model": get_model_state_dict(model, options=FULL),
        "average": get_model_state_dict(average, options=FULL),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=FULL),
    }


def spread(state: dict[str, Any], model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Divide a gathered state again."""
    set_model_state_dict(model, state["model"], options=SPREAD)
    set_model_state_dict(average, state["average"], options=SPREAD)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=SPREAD)
