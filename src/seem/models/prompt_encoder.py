"""Prompt encoder: rasterized prompts to sampled, signed feature tokens.

SEEM's visual sampler (section 3.2 of the paper): every visual prompt is a set of pixels; the features of the image at
those pixels are the prompt. One path serves points, strokes, scribbles, polygons, boxes and masks.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seem.models.decoder.draws import Draws
from seem.models.decoder.policy import Policy
from seem.models.initialization import normal_parameter
from seem.models.mask_features import MaskFeatures
from seem.models.ops.points import features_at
from seem.models.structures import PixelFeatures, VisualPrompts, VisualTokens


@dataclass(frozen=True, slots=True)
class SampledPixels:
    """Sampled prompt pixels of one sign: unit (x, y) of the pixel's index, and its object (-1 = padding)."""

    points_unit: Float[Tensor, "b p 2"]
    owner: Int[Tensor, "b p"]


class PromptEncoder(nn.Module):
    """Sample features under the prompts; `level_projections` and `signs` are its parameters."""

    def __init__(self, dim: int, policy: Policy, num_levels: int = 3) -> None:
        super().__init__()
        self.policy = policy
        self.level_projections = nn.ParameterList(
            normal_parameter(dim, dim, std=dim**-0.5) for _ in range(num_levels)
        )
        self.signs = normal_parameter(2, dim)

    def forward(self, prompts: VisualPrompts, pixels: PixelFeatures, draws: Draws) -> VisualTokens:
        """Encode the prompts of every object.

        `pixels.levels` must already carry the decoder's level embedding.
        """
        positive = self.sample(prompts.inside, draws)
        negative = self.sample(prompts.negative, draws)
        num_objects = prompts.positive.shape[1]
        levels = []
        for projection, level in zip(self.level_projections, pixels.levels, strict=True):
            positive_tokens = features_at(level, positive.points_unit) @ projection
            negative_tokens = features_at(level, negative.points_unit) @ projection
            signed = (positive_tokens + self.signs[0], negative_tokens + self.signs[1])
            levels.append(torch.cat(signed, dim=1))
        return VisualTokens(
            levels=tuple(levels),
            owner=torch.cat((positive.owner, negative.owner), dim=1),
            positive_vectors=mean_by_owner(
                pixels.mask_features, positive, num_objects, self.policy.no_points
            ),
            negative_vectors=mean_by_owner(
                pixels.mask_features, negative, num_objects, self.policy.no_points
            ),
        )

    def sample(self, masks: Bool[Tensor, "b n h w"], draws: Draws) -> SampledPixels:
        """Choose the pixels that become tokens, image by image, and pad to the longest list."""
        height, width = masks.shape[-2:]
        points, owners = [], []
        for image_masks in masks:
            owner, y, x = image_masks.nonzero(as_tuple=True)
            chosen = self.choose(owner, draws)
            # float32 whatever the network's precision: the official code divides integer indices
            points.append(torch.stack((x[chosen] / width, y[chosen] / height), dim=-1))
            owners.append(owner[chosen])
        pad = nn.utils.rnn.pad_sequence
        return SampledPixels(
            pad(points, batch_first=True), pad(owners, batch_first=True, padding_value=-1)
        )

    def choose(self, owner: Int[Tensor, " p"], draws: Draws) -> Int[Tensor, " k"]:
        """Choose pixels, for all objects of an image together or for each by itself."""
        if not self.policy.independent_objects:
            return draws.points(owner, self.policy.max_points)
        _, counts = torch.unique_consecutive(owner, return_counts=True)
        starts = (counts.cumsum(0) - counts).tolist()
        chosen = []
        for part, start in zip(torch.split(owner, counts.tolist()), starts, strict=True):
            single_object = torch.zeros_like(part)
            chosen.append(draws.points(single_object, self.policy.max_points) + start)
        return torch.cat(chosen) if chosen else owner


def mean_by_owner(
    mask_features: MaskFeatures,
    pixels: SampledPixels,
    num_objects: int,
    default: float,
) -> Float[Tensor, "b {num_objects} c"]:
    """Return the mean feature of the pixels of each object; every component is `default` where there are none."""
    objects = torch.arange(num_objects, device=mask_features.device)
    is_owned = pixels.owner[:, None] == objects[None, :, None]
    counts = is_owned.sum(dim=-1, keepdim=True)
    total = mask_features.sums_at(pixels.points_unit, is_owned.to(mask_features.cells.dtype))
    return torch.where(counts > 0, total / counts.clamp(min=1), default)
