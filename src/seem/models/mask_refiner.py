"""Mask refiner: prompt maps and a coarse mask in, the final mask and its predicted quality out.

The published decoder knows prompts only as sampled feature tokens, which say what is meant better than where. This head
reads every prompt as a map, so that each click has an effect from the start of training. It is part of nano and absent
from the published models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seem.config import MaskRefinerConfig
from seem.models.ops.masks import cell_maxima, cell_means, map_hw, resize
from seem.models.structures import VisualPrompts

NUM_MAPS = 8
OUTLINE_LOGIT = 3.0  # mask logit inside an outline; its negative outside
CANDIDATE_SPREAD = 1.0  # logits between the middle candidate and the first and last, at the start
DILATIONS = (2, 3, 6, 12)  # radii in cells of stride 4, one after the other: 2, 5, 11 and 23 in all
SIMILARITY_GAIN = 3.0  # brings cosines to the range of the other maps


@dataclass(frozen=True, slots=True)
class CandidateMasks:
    """Several mask logits an object at stride 2 (network pixels), and the logit of each one's predicted IoU."""

    logits: Float[Tensor, "b n k h w"]
    quality_logits: Float[Tensor, "b n k"]

    def ranked(self, count: int) -> RefinedMasks:
        """Return the `count` candidates of every object by predicted IoU, best first, object-major."""
        count = min(count, self.quality_logits.shape[2])
        quality, order = self.quality_logits.topk(count, dim=2)
        index = order[..., None, None].expand(-1, -1, -1, *self.logits.shape[-2:])
        return RefinedMasks(self.logits.gather(2, index).flatten(1, 2), quality.flatten(1, 2))


@dataclass(frozen=True, slots=True)
class RefinedMasks:
    """Final mask logits at stride 2 (network pixels), and the logit of the predicted IoU with the truth.

    `candidates` answer marks that may mean a part, a thing or a group, where a configuration has them.
    """

    logits: Float[Tensor, "b n h w"]
    quality_logits: Float[Tensor, "b n"]
    candidates: CandidateMasks | None = None

    def best(self, ambiguous: Bool[Tensor, "b n"]) -> RefinedMasks:
        """Answer every ambiguous object with the candidate of the highest predicted IoU."""
        if self.candidates is None:
            return self
        first = self.candidates.ranked(1)
        return RefinedMasks(
            torch.where(ambiguous[:, :, None, None], first.logits, self.logits),
            torch.where(ambiguous, first.quality_logits, self.quality_logits),
        )


class MaskRefiner(nn.Module):
    """A small U-shaped network over strides 4, 8 and 16, run once for every object."""

    def __init__(self, config: MaskRefinerConfig, mask_dim: int, query_dim: int) -> None:
        super().__init__()
        fine, middle, coarse = config.dims
        self.from_features = nn.Conv2d(mask_dim, fine, 1)
        self.from_maps = nn.Conv2d(NUM_MAPS, fine, 5, padding=2)
        self.from_query = nn.Linear(query_dim, fine + coarse)
        self.fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(middle, middle, 3, padding=1)
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.ModuleList(
            nn.Conv2d(coarse, coarse, 3, padding=d, dilation=d) for d in (1, 2)
        )
        self.up_middle = nn.Conv2d(coarse, middle, 1)
        self.join_middle = nn.Conv2d(middle, middle, 3, padding=1)
        self.up_fine = nn.Conv2d(middle, fine, 1)
        self.join_fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.mask = nn.Conv2d(fine, 4, 3, padding=1)
        quality_inputs = 2 * coarse + query_dim + coarse + 2
        self.quality = nn.Sequential(
            nn.Linear(quality_inputs, coarse), nn.ReLU(), nn.Linear(coarse, 1)
        )
        self.num_candidates = config.candidates
        if config.candidates:
            self.candidate_masks = nn.Conv2d(fine, 4 * config.candidates, 3, padding=1)
            self.candidate_quality = nn.Sequential(
                nn.Linear(quality_inputs + middle, coarse),
                nn.ReLU(),
                nn.Linear(coarse, config.candidates),
            )
            # They begin as a tighter mask, one like the first, and a wider one.
            with torch.no_grad():
                spread = torch.linspace(-CANDIDATE_SPREAD, CANDIDATE_SPREAD, config.candidates)
                self.candidate_masks.bias.copy_(spread.repeat_interleave(4))  # type: ignore[union-attr]

    def forward(
        self,
        mask_features: Float[Tensor, "b c h w"],
        maps: Float[Tensor, "b n 8 h w"],
        queries: Float[Tensor, "b n d"],
        *,
        with_candidates: bool = False,
    ) -> RefinedMasks:
        """Predict the final mask of every object, and its candidates where they are asked for and configured.

        `maps` come from `prompt_maps`; `queries` are the class vectors of the objects' queries, which carry phrases.
        """
        batch, objects = maps.shape[:2]
        flat_queries = queries.flatten(0, 1)
        biases = self.from_query(flat_queries)[:, :, None, None]
        bias_fine, bias_coarse = biases.split(
            (self.fine.in_channels, self.up_middle.in_channels), dim=1
        )
        image_part = self.from_features(mask_features)[:, None]
        object_part = torch.unflatten(self.from_maps(maps.flatten(0, 1)), 0, (batch, objects))
        x = F.relu((image_part + object_part).flatten(0, 1) + bias_fine)
        stride4 = x + F.relu(self.fine(x))
        x = F.relu(self.to_middle(stride4))
        stride8 = x + F.relu(self.middle(x))
        stride16 = F.relu(self.to_coarse(stride8) + bias_coarse)
        for convolution in self.coarse:
            stride16 = stride16 + F.relu(convolution(stride16))
        x = stride8 + F.interpolate(
            self.up_middle(stride16), size=stride8.shape[-2:], mode="nearest"
        )
        stride8 = x + F.relu(self.join_middle(x))
        x = stride4 + F.interpolate(self.up_fine(stride8), size=stride4.shape[-2:], mode="nearest")
        stride4 = x + F.relu(self.join_fine(x))
        logits = F.pixel_shuffle(self.mask(stride4), 2)[:, 0]
        inside_mean, statistics = mask_statistics(logits, stride16)
        quality_input = torch.cat(
            (
                stride16.mean(dim=(2, 3)),
                stride16.amax(dim=(2, 3)),
                flat_queries,
                inside_mean,
                statistics,
            ),
            dim=1,
        )
        quality = self.quality(quality_input)[:, 0]
        refined = RefinedMasks(
            torch.unflatten(logits, 0, (batch, objects)),
            torch.unflatten(quality, 0, (batch, objects)),
        )
        if with_candidates and self.num_candidates:
            masks = F.pixel_shuffle(self.candidate_masks(stride4), 2)
            qualities = self.judge_candidates(masks, stride8, stride16, flat_queries)
            candidates = CandidateMasks(
                torch.unflatten(masks, 0, (batch, objects)),
                torch.unflatten(qualities, 0, (batch, objects)),
            )
            return replace(refined, candidates=candidates)
        return refined

    def judge_candidates(
        self,
        masks: Float[Tensor, "n k h w"],
        stride8: Float[Tensor, "n m h8 w8"],
        stride16: Float[Tensor, "n c h16 w16"],
        queries: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n k"]:
        """Predict the IoU of every candidate (logits) from what it covers, without gradient into the masks."""
        probability = F.avg_pool2d(masks.detach().float(), 2).sigmoid()
        inside = probability > 0.5
        mean_probability = (probability * inside).sum(dim=(2, 3)) / (inside.sum(dim=(2, 3)) + 1e-6)
        frame_share = inside.float().mean(dim=(2, 3))
        common = torch.cat((stride16.mean(dim=(2, 3)), stride16.amax(dim=(2, 3)), queries), dim=1)
        quality_input = torch.cat(
            (
                common[:, None].expand(-1, masks.shape[1], -1),
                inside_means(probability, stride16),
                torch.stack((mean_probability, frame_share), dim=2).to(stride16.dtype),
                inside_means(probability, stride8),
            ),
            dim=2,
        )
        return self.candidate_quality(quality_input).diagonal(dim1=1, dim2=2)  # type: ignore[no-any-return]


def inside_means(
    probability: Float[Tensor, "n k h w"], features: Float[Tensor, "n c h2 w2"]
) -> Float[Tensor, "n k c"]:
    """Return the mean feature inside each of several masks an object."""
    shares = cell_means(probability, map_hw(features)).flatten(2)
    weights = (shares / (shares.sum(dim=2, keepdim=True) + 1e-3)).to(features.dtype)
    return weights @ features.flatten(2).mT


def mask_statistics(
    logits: Float[Tensor, "n h w"], features: Float[Tensor, "n c h8 w8"]
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n 2"]]:
    """Describe masks to the quality branch, without gradient into the masks.

    Returns the mean feature inside each mask, and two numbers: its mean probability inside, and its share of the frame.
    """
    probability = logits.detach().float().sigmoid()
    shares = cell_means(probability[:, None], map_hw(features))
    total = (shares.sum(dim=(2, 3)) + 1e-3).to(features.dtype)
    inside_mean = (features * shares.to(features.dtype)).sum(dim=(2, 3)) / total
    inside = probability > 0.5
    mean_probability = (probability * inside).sum(dim=(1, 2)) / (inside.sum(dim=(1, 2)) + 1e-6)
    frame_share = inside.float().mean(dim=(1, 2))
    return inside_mean, torch.stack((mean_probability, frame_share), dim=1).to(features.dtype)


def prompt_maps(
    prompts: VisualPrompts,
    coarse: Float[Tensor, "b n h w"],
    previous: Float[Tensor, "b n h w"] | None,
    similarity: Float[Tensor, "b n h w"] | None = None,
) -> Float[Tensor, "b n 8 h w"]:
    """Stack eight maps about each object, at the size of `coarse` (stride 4).

    In this order: positive marks; negative marks; proximity to each of the two (1 on a mark, in five steps to 0 beyond
    92 network pixels); the previous round's mask (-1 to 1, 0 where there was none); the coarse mask; bounds (boxes and
    polygons, 1 inside); text similarity of each cell (`text_similarity_maps` times `SIMILARITY_GAIN`, 0 without text).
    """
    hw = (coarse.shape[-2], coarse.shape[-1])
    positive = cell_maxima(prompts.positive.to(coarse.dtype), hw)
    negative = cell_maxima(prompts.negative.to(coarse.dtype), hw)
    previous_mask = bounds = similar = torch.zeros_like(coarse)
    if previous is not None:
        previous_mask = torch.tanh(resize(previous, hw) / 2)
    if prompts.bounds is not None:
        bounds = cell_maxima(prompts.bounds.to(coarse.dtype), hw)
    if similarity is not None:
        similar = SIMILARITY_GAIN * resize(similarity.to(coarse.dtype), hw)
    maps = (
        positive,
        negative,
        proximity_maps(positive),
        proximity_maps(negative),
        previous_mask,
        torch.tanh(coarse / 2),
        bounds,
        similar,
    )
    return torch.stack(maps, dim=2)


def outline_logits(outlines: Bool[Tensor, "b n h w"]) -> Float[Tensor, "b n h4 w4"]:
    """Return the areas of outlines (a polygon around the object) as masks of a previous round: logits at stride 4."""
    return (F.avg_pool2d(outlines.float(), 4) * 2 - 1) * OUTLINE_LOGIT


def proximity_maps(marks: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
    """Return how near the next marked cell is: 1 on it, falling by the steps of `DILATIONS` (Chebyshev distance)."""
    if not torch.compiler.is_compiling() and not marks.any():
        return marks
    total = dilated = marks
    for radius in DILATIONS:
        size = 2 * radius + 1
        columns = F.max_pool2d(dilated, (size, 1), 1, (radius, 0))
        dilated = F.max_pool2d(columns, (1, size), 1, (0, radius))
        total = total + dilated
    return total / (len(DILATIONS) + 1)
