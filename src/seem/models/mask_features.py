"""Mask features: a vector for each cell of stride 4, whose product with a mask embedding is a mask logit.

In the published models they are the result of a convolution without activation, one of the two most expensive of the
image network. Everything that is asked of them is linear too: masks, smaller maps, means over points. So the
convolution is left out, and each of these is computed from its input instead. Of the full convolution's work, for a
kernel of 3 x 3 and 512 channels:

- the three smaller maps take a third (1/4 + 1/16 + 1/64), for the cells that they average are averaged first;
- N masks take N / 512, for their embeddings are multiplied with the weights first. With the mask features at hand each
  would take an eighth of that, so that they pay where some 300 masks of one image are asked for: in training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from seem.models.ops.masks import dot, map_hw, resize
from seem.models.ops.points import features_at, patches_at

MAX_PLANES = 54  # up to so many, shifted sums are faster than a convolution with few channels


@dataclass(frozen=True, slots=True, eq=False)
class MaskFeatures:
    """The cells of a map, and the convolution that makes them mask features; None = they are mask features already.

    The convolution belongs to the network; it keeps the size of the map, and its kernel is 1 or 3 cells wide.
    """

    cells: Float[Tensor, "b d h w"]
    convolution: nn.Conv2d | None = None

    @property
    def maps(self) -> Float[Tensor, "b c h w"]:
        """The mask features themselves."""
        return self.cells if self.convolution is None else self.convolution(self.cells)

    @property
    def device(self) -> torch.device:
        """The device of the map."""
        return self.cells.device

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width of the map."""
        return map_hw(self.cells)

    def applied(self) -> MaskFeatures:
        """Apply the convolution, for whoever asks for the masks of hundreds of queries or reads the map itself."""
        return MaskFeatures(self.maps)

    def logits(self, mask_embeddings: Float[Tensor, "b q c"]) -> Float[Tensor, "b q h w"]:
        """Return the mask logits of every query."""
        if self.convolution is None:
            return dot(mask_embeddings, self.cells)
        weight, bias = _weight_and_bias(self.convolution)
        kernels = torch.unflatten(mask_embeddings @ weight.flatten(1), -1, weight.shape[1:])
        if kernels[0, :, 0].numel() <= MAX_PLANES:
            masks = convolve_by_planes(self.cells, kernels)
        else:
            masks = convolve_each(self.cells, kernels)
        return masks + (mask_embeddings @ bias)[..., None, None]

    def shrunk(self, hw: tuple[int, int]) -> Float[Tensor, "b c {hw[0]} {hw[1]}"]:
        """Resize the mask features bilinearly to an even fraction of their size, 1/2, 1/4, ...

        Such a resize averages the four cells in the middle of those that become one. Boxes of four are averaged first;
        then only every second (fourth, ...) position of the convolution is computed.
        """
        if self.convolution is None:
            return resize(self.cells, hw)
        weight, bias = _weight_and_bias(self.convolution)
        factor = self.hw[0] // hw[0]
        first = (
            factor // 2 - 1 - weight.shape[-1] // 2
        )  # row and column that the first position reads
        cells = self.cells[..., max(first, 0) :, max(first, 0) :]
        boxes = F.avg_pool2d(cells, 2, stride=1, padding=max(-first, 0))
        return F.conv2d(boxes, weight, bias, stride=factor)

    def sums_at(
        self, points_unit: Float[Tensor, "b p 2"], weights: Float[Tensor, "b n p"]
    ) -> Float[Tensor, "b n c"]:
        """Return N weighted sums of the mask features at P points, read as `features_at` does."""
        if self.convolution is None:
            return weights @ features_at(self.cells, points_unit)
        weight, bias = _weight_and_bias(self.convolution)
        patches = patches_at(self.cells, points_unit, weight.shape[-1])
        sums = torch.unflatten(weights @ patches.flatten(2), -1, patches.shape[2:])
        inside = features_at(torch.ones_like(self.cells[:, :1]), points_unit)
        return torch.einsum("bnkd,cdk->bnc", sums, weight.flatten(2)) + weights @ inside * bias


def _weight_and_bias(
    convolution: nn.Conv2d,
) -> tuple[Float[Tensor, "c d k k"], Float[Tensor, " c"]]:
    assert convolution.bias is not None
    return convolution.weight, convolution.bias


def convolve_by_planes(
    maps: Float[Tensor, "b d h w"], kernels: Float[Tensor, "b q d k k"]
) -> Float[Tensor, "b q h w"]:
    """Convolve every image with its own few kernels: a plane for each weight, and the sum of the shifted planes.

    One product reads the map once, while a convolution with few output channels uses a fraction of the processor.
    """
    height, width = map_hw(maps)
    num_queries, size = kernels.shape[1], kernels.shape[-1]
    rows = kernels.permute(0, 3, 4, 1, 2).flatten(1, 3)
    planes = torch.unflatten(dot(rows, maps), 1, (size, size, num_queries))
    precise = torch.promote_types(planes.dtype, torch.float32)
    total = planes.new_zeros(
        len(maps), num_queries, height + size - 1, width + size - 1, dtype=precise
    )
    for row in range(size):
        for column in range(size):
            top, left = size - 1 - row, size - 1 - column
            total[..., top : top + height, left : left + width] += planes[:, row, column]
    margin = size // 2
    return total[..., margin : margin + height, margin : margin + width].to(planes.dtype)


def convolve_each(
    maps: Float[Tensor, "b d h w"], kernels: Float[Tensor, "b q d k k"]
) -> Float[Tensor, "b q h w"]:
    """Convolve every image with its own kernels."""
    masks = []
    for one, own_kernels in zip(torch.split(maps, 1), kernels, strict=True):
        masks.append(F.conv2d(one, own_kernels, padding=kernels.shape[-1] // 2))
    # mask by mask in memory, as whoever resizes them reads them, whatever the layout of the maps
    return torch.cat(masks).contiguous()
