"""The image network in PyTorch."""

from __future__ import annotations

import torch

from seem.models.decoder.decoder import ImageEncoding
from seem.models.precision import Precision, arithmetic
from seem.models.segmenter import Segmenter
from seem.models.structures import ImageBatch


def encode_in_torch(
    network: Segmenter, device: torch.device, precision: Precision, batch: ImageBatch
) -> ImageEncoding:
    """Run the image network on a batch, on its device, without gradients."""
    with arithmetic(device, precision):
        return network.encode_image(batch)
