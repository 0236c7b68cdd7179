"""The state of a network: temporary changes that are undone, and copies in another number format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch a network to evaluation, then every module back to its mode: frozen parts stay in evaluation."""
    was_training = {name: module.training for name, module in network.named_modules()}
    network.eval()
    try:
        yield
    finally:
        for name, module in network.named_modules():
            module.training = was_training[name]


@contextmanager
def preserved_buffers(network: nn.Module) -> Iterator[None]:
    """Run training steps without a trace: afterwards buffers are as before, and gradients are gone."""
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in network.named_buffers():
                tensor.copy_(before[name])
        clear_gradients(network)


def clear_gradients(network: nn.Module) -> None:
    """Remove the gradients of all parameters."""
    for p in network.parameters():
        p.grad = None


def state_dict_as(network: nn.Module, dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Return the state dict of a network with floating-point tensors in `dtype`; None keeps their types."""
    tensors: dict[str, Tensor] = network.state_dict()
    if dtype is None:
        return tensors
    converted = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            tensor = tensor.to(dtype)
        converted[name] = tensor
    return converted
