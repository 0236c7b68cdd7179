"""Chooses the fastest arithmetic of a device that does not change predictions."""

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

TRIAL_SIDE_PIXELS = 192  # of the trial image
MIN_SPEEDUP = 1.2  # of the lower precision
SMALL_NETWORK_PARAMETERS = 50_000_000  # fewer gain little on a CPU
MAX_RELATIVE_ERROR = 0.03  # L2 distance of the mask features
NUM_TRIALS = 3  # the first one warms up


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Run a block in this precision, without gradients."""
    enabled = precision == "bfloat16"
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
        yield


def choose_precision(model: Segmenter, device: torch.device) -> Precision:
    """Time both precisions on a small image; bfloat16 if it is faster by `MIN_SPEEDUP` and its error is small.

    Takes about as long as five small images. A small network on a CPU is not timed: it stays in float32, so that its
    predictions never change.
    """
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    if device.type == "cpu" and num_parameters < SMALL_NETWORK_PARAMETERS:
        return "float32"
    side = TRIAL_SIDE_PIXELS
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(1, 3, side, side, generator=generator).to(device)
    image = ImageBatch(pixels, ((side, side),))
    exact_seconds, exact = _time_encoding(model, image, device, "float32")
    lower_seconds, lower = _time_encoding(model, image, device, "bfloat16")
    error = float((lower - exact).norm() / exact.norm().clamp(min=1e-12))
    is_faster = exact_seconds / lower_seconds >= MIN_SPEEDUP
    return "bfloat16" if is_faster and error <= MAX_RELATIVE_ERROR else "float32"


def _time_encoding(
    model: Segmenter,
    image: ImageBatch,
    device: torch.device,
    precision: Precision,
) -> tuple[float, Tensor]:
    """Return the best time of encoding an image, in seconds, and its mask features."""
    seconds = []
    for _ in range(NUM_TRIALS):
        started = time.perf_counter()
        with arithmetic(device, precision):
            features = model.encode_pixels(image).mask_features.maps.float().cpu()
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]), features
