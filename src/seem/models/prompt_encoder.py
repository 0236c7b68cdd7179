"""Prompt encoder: rasterised prompts to sampled, signed feature tokens.

SEEM's visual sampler (section 3.2 of the paper): whatever a user draws is a set of pixels; the picture's own features
at those pixels are the prompt. One path serves points, strokes, scribbles, polygons, boxes and masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.models.decoder.draws import Draws
from seem.models.structures import PixelFeatures, VisualPrompts, VisualTokens

NO_POINTS = -1.0  # every component of an object's vector when nothing was marked (official behaviour of v1)


@dataclass(frozen=True, slots=True)
class Marks:
    """Sampled prompt pixels of one sign: unit (x, y) of the pixel's index, and the owner (-1 = padding)."""

    points_unit: Float[Tensor, "b p 2"]
    owner: Int[Tensor, "b p"]


class PromptEncoder(nn.Module):
    """Sample features under the prompts; `level_projections` and `signs` are all it learns."""

    def __init__(self, dim: int, max_points: int, num_levels: int = 3) -> None:
        super().__init__()
        self.max_points = max_points
        self.level_projections = nn.ParameterList(torch.randn(dim, dim) * dim**-0.5 for _ in range(num_levels))
        self.signs = nn.Parameter(torch.randn(2, dim))

    def forward(self, prompts: VisualPrompts, pixels: PixelFeatures, draws: Draws) -> VisualTokens:
        """Encode the prompts of every object.

        `pixels.levels` must already carry the decoder's level embedding.
        """
        positive = self.sample(prompts.positive, draws)
        negative = self.sample(prompts.negative, draws)
        num_objects = prompts.positive.shape[1]
        levels = []
        for projection, level in zip(self.level_projections, pixels.levels, strict=True):
            projected = torch.einsum("bchw,cd->bdhw", level, projection)
            rows = [features_at(projected, marks.points_unit) for marks in (positive, negative)]
            levels.append(torch.cat([row + sign for row, sign in zip(rows, self.signs, strict=True)], dim=1))
        return VisualTokens(
            levels=tuple(levels),
            owner=torch.cat((positive.owner, negative.owner), dim=1),
            positive_vectors=mean_by_owner(pixels.mask_features, positive, num_objects),
            negative_vectors=mean_by_owner(pixels.mask_features, negative, num_objects),
        )

    def sample(self, masks: Bool[Tensor, "b n h w"], draws: Draws) -> Marks:
        """Choose the pixels that become tokens, photo by photo, and pad to the longest list."""
        height, width = masks.shape[-2:]
        points, owners = [], []
        for photo in masks:
            owner, y, x = photo.nonzero(as_tuple=True)
            chosen = draws.points(owner, self.max_points)
            # float32 whatever the network's precision: the official code divides integer indices
            points.append(torch.stack((x[chosen] / width, y[chosen] / height), dim=-1))
            owners.append(owner[chosen])
        pad = nn.utils.rnn.pad_sequence
        return Marks(pad(points, batch_first=True), pad(owners, batch_first=True, padding_value=-1))


def features_at(maps: Float[Tensor, "b c h w"], points_unit: Float[Tensor, "b p 2"]) -> Float[Tensor, "b p c"]:
    """Read a map at unit coordinates, bilinear; 0 and 1 are the centres of the outermost pixels."""
    grid = (2 * points_unit.to(maps.dtype) - 1)[:, :, None]
    read = F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return read[..., 0].transpose(1, 2)


def mean_by_owner(maps: Float[Tensor, "b c h w"], marks: Marks, num_objects: int) -> Float[Tensor, "b {num_objects} c"]:
    """Average the features under each object's marks."""
    mine = marks.owner[:, None] == torch.arange(num_objects, device=maps.device)[None, :, None]
    counts = mine.sum(dim=-1, keepdim=True)
    total = mine.to(maps.dtype) @ features_at(maps, marks.points_unit)
    return torch.where(counts > 0, total / counts.clamp(min=1), NO_POINTS)
