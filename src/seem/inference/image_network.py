"""The image network as inference calls it, in PyTorch or in another engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias, get_args

import torch

from seem.inference.torch_engine import encode_in_torch
from seem.models.decoder.decoder import ImageEncoding
from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.models.structures import ImageBatch

Engine: TypeAlias = Literal["torch", "openvino"]
"""What computes the image network."""

ImageNetwork: TypeAlias = Callable[[ImageBatch], ImageEncoding]
"""Encodes a batch on the model's device."""


def open_image_network(
    network: Segmenter, device: torch.device, precision: Precision, engine: Engine = "torch"
) -> ImageNetwork:
    """Return the image network in an engine; errors as in `open_in_openvino`."""
    if engine == "torch":
        return partial(encode_in_torch, network, device, precision)
    from seem.inference.openvino_engine import open_in_openvino

    return open_in_openvino(network, device, precision)


def check_engine(engine: object) -> None:
    """Raise `ValueError` for an engine that there is not."""
    if engine not in get_args(Engine):
        raise ValueError(f"engine is {engine!r}; use 'torch' or 'openvino'.")
