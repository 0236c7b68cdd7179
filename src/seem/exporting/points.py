"""Points as inputs of graphs: what the published visual sampler reads from an image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from seem.exporting.tensors import Axis, GraphSpec, TensorSpec
from seem.models.decoder.decoder import ImageEncoding
from seem.models.ops.points import sample_at
from seem.models.prompt_encoder import PromptEncoder
from seem.models.segmenter import Segmenter

POINTS = Axis("points")


def point_tensors(network: Segmenter) -> tuple[TensorSpec, ...]:
    """Describe the sampled pixels of all prompts."""
    policy = network.decoder.policy
    limit = f"{policy.max_points} of each sign"
    if policy.independent_objects:
        limit += " and object"
    return (
        TensorSpec(
            "points",
            (POINTS, 2),
            f"(x, y) of marked pixels: column / width, row / height (0-1); at most {limit}",
        ),
        TensorSpec(
            "point_labels", (POINTS,), "1 = positive (a mark or a bound), 0 = negative", "int64"
        ),
        TensorSpec(
            "point_owners", (POINTS,), "index of the object of each point, -1 = padding", "int64"
        ),
    )


def point_tokens(
    encoder: PromptEncoder, given: Mapping[str, Tensor], encoding: ImageEncoding
) -> tuple[Tensor, ...]:
    """Turn points into signed tokens (1, points, dim) of every level."""
    positive, negative = encoder.signs
    sign = torch.where(given["point_labels"][:, None] > 0, positive, negative)
    levels = []
    for level in encoding.pixels.levels:
        levels.append(sample_at(level, given["points"][None], align_corners=True).mT + sign)
    return tuple(levels)


def by_name(spec: GraphSpec, tensors: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Return the inputs of a graph by name."""
    return dict(zip((tensor.name for tensor in spec.inputs), tensors, strict=True))
