"""Reading maps at points, and choosing the points where a mask is least certain (PointRend, arXiv 1912.08193).

Points are (x, y) in 0-1 over the whole map, hence named `_unit`. Random numbers come from a `Draw`, so that one caller
may use a seeded generator and another a recorded sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Draw: TypeAlias = Callable[[tuple[int, ...]], Tensor]
"""A source of random numbers: takes a shape, returns floating-point numbers, uniform in 0-1."""


def uniform(generator: torch.Generator) -> Draw:
    """Draw from `generator`, in float32 and on the generator's device."""

    def draw(shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device)

    return draw


def sample_at(
    maps: Float[Tensor, "b c h w"], points_unit: Float[Tensor, "b p 2"], *, align_corners: bool
) -> Float[Tensor, "b c p"]:
    """Sample every map of a batch at the points of its row, bilinearly; zero outside the map.

    With `align_corners` 0 and 1 are the centres of the first and last pixel (visual prompts, official behaviour);
    without, they are the outer edges of the map (masks in losses and matching). The result has the wider of the two
    dtypes, because half precision cannot hold a coordinate.
    """
    dtype = torch.promote_types(maps.dtype, points_unit.dtype)
    grid = 2 * points_unit.to(maps.device, dtype) - 1
    sampled = F.grid_sample(
        maps.to(dtype),
        grid[:, :, None],
        mode="bilinear",
        padding_mode="zeros",
        align_corners=align_corners,
    )
    return sampled[..., 0]


def features_at(
    maps: Float[Tensor, "b c h w"], points_unit: Float[Tensor, "b p 2"]
) -> Float[Tensor, "b p c"]:
    """Read all channels at a few points, bilinearly; 0 and 1 are the centres of the outermost pixels.

    As `sample_at` with `align_corners`, in the dtype of the map: of a map of lower precision than the coordinates only
    the four pixels around each point are converted. Coordinates keep single precision, for with the 8 bits of bfloat16
    a click would be read half a pixel off in a map of 256.
    """
    if torch.promote_types(maps.dtype, points_unit.dtype) == maps.dtype:
        return sample_at(maps, points_unit, align_corners=True).mT
    return patches_at(maps, points_unit, 1)[:, :, 0]


def patches_at(
    maps: Float[Tensor, "b c h w"], points_unit: Float[Tensor, "b p 2"], size: int
) -> Float[Tensor, "b p {size}*{size} c"]:
    """Read the `size` x `size` pixels (odd) around a few points: what a convolution there would read, row by row.

    Bilinear between the four positions of a convolution around the point; pixels and positions outside the map are
    zero.
    """
    if points_unit.shape[1] == 0:
        return maps.new_zeros(len(maps), 0, size * size, maps.shape[1])
    height, width = maps.shape[-2:]
    precise = torch.promote_types(maps.dtype, torch.float32)
    x, y = (points_unit.to(precise) * points_unit.new_tensor([width - 1, height - 1])).unbind(-1)
    offsets = torch.arange(size, device=maps.device) - size // 2
    row_offsets, column_offsets = offsets.repeat_interleave(size), offsets.repeat(size)
    pixels = maps.flatten(2).mT
    image = torch.arange(len(maps), device=maps.device)[:, None, None]
    total = torch.zeros((), dtype=precise, device=maps.device)
    for row, row_weight in _neighbours(y, height):
        for column, column_weight in _neighbours(x, width):
            rows = row[..., None] + row_offsets
            columns = column[..., None] + column_offsets
            inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
            index = rows.clamp(0, height - 1) * width + columns.clamp(0, width - 1)
            weight = (row_weight * column_weight)[..., None] * inside
            total = total + pixels[image, index] * weight[..., None]
    return total.to(maps.dtype)


def _neighbours(
    coordinates: Float[Tensor, "b p"], length: int
) -> Iterator[tuple[Int[Tensor, "b p"], Float[Tensor, "b p"]]]:
    """Yield the whole coordinates below and above, and the weight of each; 0 outside the map."""
    below = coordinates.floor()
    for neighbour in (below, below + 1):
        weight = 1 - (coordinates - neighbour).abs()
        is_inside = (neighbour >= 0) & (neighbour < length)
        yield neighbour.long(), weight * is_inside


@torch.no_grad()
def uncertain_points(
    logits: Float[Tensor, "n h w"],
    draw: Draw,
    num_points: int,
    *,
    oversample: float = 3.0,
    importance: float = 0.75,
) -> Float[Tensor, "n p 2"]:
    """Choose the points at which each mask is compared: mostly where it is uncertain, the others at random.

    Of `oversample * num_points` random candidates the `importance * num_points` nearest to the decision boundary stay
    (uncertainty = -|logit|); fresh random points make up the rest. PointRend section 3.1, training; the values are
    those of Mask2Former and SEEM.
    """
    if num_points < 1 or oversample < 1 or not 0 <= importance <= 1:
        raise ValueError(
            "Need num_points >= 1, oversample >= 1 and importance in 0-1, "
            f"got {num_points}, {oversample} and {importance}."
        )
    num_masks = logits.shape[0]
    num_uncertain = int(importance * num_points)
    candidates = draw((num_masks, int(oversample * num_points), 2)).to(logits.device)
    certainty = sample_at(logits[:, None], candidates, align_corners=False)[:, 0].abs()
    nearest = certainty.topk(num_uncertain, dim=1, largest=False).indices
    boundary = candidates.take_along_dim(nearest[..., None], dim=1)
    anywhere = draw((num_masks, num_points - num_uncertain, 2)).to(logits.device)
    return torch.cat([boundary, anywhere], dim=1)
