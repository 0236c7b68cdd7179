"""First values of weights, and networks that are built without any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode


def normal_parameter(*shape: int, std: float = 1.0) -> nn.Parameter:
    """Return a parameter of this shape with normally distributed values, their mean 0."""
    return nn.Parameter(nn.init.normal_(torch.empty(shape), std=std))


class NoInitialization(TorchFunctionMode):
    """Lets the functions of `torch.nn.init` do nothing, in this thread.

    On the meta device they would compute nothing either, but PyTorch imports SymPy and its compiler for them.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the tensor that was to be initialized; other functions do what they do."""
        given = dict(kwargs or {})
        if getattr(func, "__module__", None) == "torch.nn.init":
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)
