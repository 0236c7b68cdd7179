"""Which arithmetic a device runs fastest without changing what is seen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from seem.models.segmenter import Segmenter
from seem.models.structures import ImageBatch

Precision = Literal["float32", "bfloat16"]

TRIAL_SIDE = 192  # pixels of the trial picture
WORTHWHILE = 1.2  # how many times faster the lower precision must be
SMALL = 50_000_000  # parameters below which a CPU gains little
TOLERANCE = 0.03  # relative L2 distance of the mask features that is still the same picture


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run a block in this precision, without gradients."""
    enabled = precision == "bfloat16"
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
        yield


def measured_choice(model: Segmenter, device: torch.device) -> Precision:
    """Encode a small picture both ways and take bfloat16 if it is worth it and sees the same.

    Takes about as long as five small pictures; the best of two runs each counts, after one that warms up. A small
    network on a CPU is not measured: it stays in float32, so that it answers the same on every day.
    """
    if device.type == "cpu" and sum(p.numel() for p in model.parameters()) < SMALL:
        return "float32"
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, TRIAL_SIDE, TRIAL_SIDE, generator=generator).to(device)
    trial = ImageBatch(pixels, ((TRIAL_SIDE, TRIAL_SIDE),))
    seconds: dict[Precision, float] = {}
    features: dict[Precision, Tensor] = {}
    for precision in ("float32", "bfloat16"):
        for attempt in range(3):
            started = time.perf_counter()
            with arithmetic(device, precision):
                features[precision] = model.encode_pixels(trial).mask_features.float().cpu()
            taken = time.perf_counter() - started
            seconds[precision] = taken if attempt < 2 else min(seconds[precision], taken)
    exact = features["float32"]
    error = float((features["bfloat16"] - exact).norm() / exact.norm().clamp(min=1e-12))
    worth_it = seconds["float32"] / seconds["bfloat16"] >= WORTHWHILE
    return "bfloat16" if worth_it and error <= TOLERANCE else "float32"
