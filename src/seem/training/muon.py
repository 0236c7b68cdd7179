"""Muon: matrices and convolutions move by the nearest orthogonal matrix to their momentum, everything else by AdamW.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale that lets it take the
learning rate and the weight decay of AdamW is that of Liu et al. 2025 (arXiv 2502.16982). `torch.optim.Muon` takes
matrices alone; here a convolution is the matrix of its output channels. Which parameters are matrices is the caller's
choice (`optimizer.make_optimizer`: the weights of all linear layers and convolutions, with the first and the last,
which the first source leaves to AdamW). A matrix whose gradient is zero keeps moving until its momentum is exactly
zero, however small it is: every step should have gradients for everything that is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

QUINTIC = (
    3.4445,
    -4.7750,
    2.0315,
)  # coefficients of the iteration: they bring singular values near 1 fastest
ITERATIONS = 5
STEP_RMS = 0.2  # root mean square of an AdamW step, as measured by the second source


class Muon(torch.optim.Optimizer):
    """One optimizer, two rules: groups with `orthogonal` hold matrices and convolutions, the others follow AdamW.

    Args:
        groups: parameter groups, each with `params`; `orthogonal` and `weight_decay` are False and 0 if not given.
        lr: learning rate of both rules.
        betas: of AdamW.
        momentum: of the matrices (Nesterov's).
    """

    def __init__(
        self,
        groups: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.98),
        momentum: float = 0.95,
    ) -> None:
        super().__init__(
            groups,
            {
                "lr": lr,
                "betas": betas,
                "momentum": momentum,
                "orthogonal": False,
                "weight_decay": 0.0,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        for group in self.param_groups:
            rule = self._matrix if group["orthogonal"] else self._single
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(rule(p, p.grad, group) * group["lr"])
        return loss

    def _matrix(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the step of a matrix or convolution: the nearest orthogonal matrix to its momentum, scaled."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        momentum: Tensor = state["momentum"].mul_(group["momentum"]).add_(gradient)
        direction = gradient.add(momentum, alpha=group["momentum"]).flatten(1)
        step: Tensor = orthogonal(direction) * STEP_RMS * math.sqrt(max(direction.shape))
        return step.reshape(p.shape)

    def _single(self, p: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """Return the step of AdamW."""
        state = self.state[p]
        beta1, beta2 = group["betas"]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(p)
            state["square"] = torch.zeros_like(p)
        state["step"] += 1
        mean = state["mean"].lerp_(gradient, 1 - beta1)
        square = state["square"].lerp_(gradient.square(), 1 - beta2)
        count = float(state["step"])
        unbiased_mean = mean / (1 - beta1**count)
        unbiased_square = square / (1 - beta2**count)
        step: Tensor = unbiased_mean / (unbiased_square.sqrt() + 1e-8)
        return step


def orthogonal(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Return a matrix with the same singular vectors whose singular values are near 1.

    Worked out in bfloat16 on accelerators, in float32 on CPUs: many have no instructions for bfloat16.
    Most come to 0.7 to 1.2; those below a hundredth of the largest stay smaller, and zero stays zero.
    """
    a, b, c = QUINTIC
    x = matrix.float() if matrix.device.type == "cpu" else matrix.bfloat16()
    is_wide = x.shape[0] <= x.shape[1]
    if not is_wide:
        x = x.mT
    x = x / (x.norm() + 1e-7)
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    if not is_wide:
        x = x.mT
    result: Tensor = x.to(matrix.dtype)
    return result
