"""Dense prompt head: prompt maps and a coarse mask in, the final mask and its quality out.

The published decoder knows prompts only as sampled feature tokens: it learns *what* is meant, slowly *where*. This head
sees every prompt as a map, so that it listens to each click from the start. It is part of nano's configuration and
absent from the published models.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seem.config import MaskRefinerConfig, TextMapConfig
from seem.models.structures import VisualPrompts

NUM_MAPS = 8
OUTLINED = 3.0  # logit inside an outline, and below zero outside
TEXT_MAP = TextMapConfig()
SPREAD = 1.0  # logits by which the first and the last candidate begin below and above the middle one
REACHES = (2, 3, 6, 12)  # growing dilations, in steps of stride 4: 2, 5, 11 and 23 in all


@dataclass(frozen=True, slots=True)
class CandidateMasks:
    """Several mask logits an object at stride 2 (network pixels), and the logit of each one's predicted IoU."""

    logits: Float[Tensor, "b n k h w"]
    quality_logits: Float[Tensor, "b n k"]


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
        quality, chosen = self.candidates.quality_logits.max(dim=2)
        index = chosen[:, :, None, None, None].expand(-1, -1, 1, *self.logits.shape[-2:])
        masks = self.candidates.logits.gather(2, index)[:, :, 0]
        return RefinedMasks(
            torch.where(ambiguous[:, :, None, None], masks, self.logits),
            torch.where(ambiguous, quality, self.quality_logits),
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
        self.coarse = nn.ModuleList(nn.Conv2d(coarse, coarse, 3, padding=d, dilation=d) for d in (1, 2))
        self.up_middle = nn.Conv2d(coarse, middle, 1)
        self.join_middle = nn.Conv2d(middle, middle, 3, padding=1)
        self.up_fine = nn.Conv2d(middle, fine, 1)
        self.join_fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.mask = nn.Conv2d(fine, 4, 3, padding=1)
        told = 2 * coarse + query_dim + coarse + 2
        self.quality = nn.Sequential(nn.Linear(told, coarse), nn.ReLU(), nn.Linear(coarse, 1))
        self.num_candidates = config.candidates
        if config.candidates:
            self.candidate_masks = nn.Conv2d(fine, 4 * config.candidates, 3, padding=1)
            self.candidate_quality = nn.Sequential(
                nn.Linear(told + middle, coarse), nn.ReLU(), nn.Linear(coarse, config.candidates)
            )
            with torch.no_grad():  # they begin as a tighter mask, one like the others, and a wider one
                spread = torch.linspace(-SPREAD, SPREAD, config.candidates)
                self.candidate_masks.bias.copy_(spread.repeat_interleave(4))  # type: ignore[union-attr]

    def forward(
        self,
        mask_features: Float[Tensor, "b c h w"],
        maps: Float[Tensor, "b n 8 h w"],
        queries: Float[Tensor, "b n d"],
        *,
        with_candidates: bool = False,
    ) -> RefinedMasks:
        """Answer the final mask of every object, and its candidates where they are asked for and configured.

        `maps` come from `prompt_maps`; `queries` are the class vectors of the objects' queries, through which phrases
        speak.
        """
        batch, objects = maps.shape[:2]
        bias_fine, bias_coarse = (
            self.from_query(queries)
            .flatten(0, 1)[:, :, None, None]
            .split((self.fine.in_channels, self.up_middle.in_channels), dim=1)
        )
        shared = self.from_features(mask_features)
        mine = torch.unflatten(self.from_maps(maps.flatten(0, 1)), 0, (batch, objects))
        x = F.relu((shared[:, None] + mine).flatten(0, 1) + bias_fine)
        x4 = x + F.relu(self.fine(x))
        x = F.relu(self.to_middle(x4))
        x8 = x + F.relu(self.middle(x))
        x16 = F.relu(self.to_coarse(x8) + bias_coarse)
        for convolution in self.coarse:
            x16 = x16 + F.relu(convolution(x16))
        x = x8 + F.interpolate(self.up_middle(x16), size=x8.shape[-2:], mode="nearest")
        x8 = x + F.relu(self.join_middle(x))
        x = x4 + F.interpolate(self.up_fine(x8), size=x4.shape[-2:], mode="nearest")
        x4 = x + F.relu(self.join_fine(x))
        logits = torch.unflatten(F.pixel_shuffle(self.mask(x4), 2)[:, 0], 0, (batch, objects))
        told = (
            x16.mean(dim=(2, 3)),
            x16.amax(dim=(2, 3)),
            queries.flatten(0, 1),
            *of_the_mask(logits.flatten(0, 1), x16),
        )
        quality = torch.unflatten(self.quality(torch.cat(told, dim=1))[:, 0], 0, (batch, objects))
        if not with_candidates or not self.num_candidates:
            return RefinedMasks(logits, quality)
        masks = F.pixel_shuffle(self.candidate_masks(x4), 2)
        qualities = self.judge_candidates(masks, x8, x16, queries.flatten(0, 1))
        candidates = CandidateMasks(*(torch.unflatten(each, 0, (batch, objects)) for each in (masks, qualities)))
        return RefinedMasks(logits, quality, candidates)

    def judge_candidates(
        self,
        masks: Float[Tensor, "n k h w"],
        x8: Float[Tensor, "n m h8 w8"],
        x16: Float[Tensor, "n c h16 w16"],
        queries: Float[Tensor, "n d"],
    ) -> Float[Tensor, "n k"]:
        """Predict the IoU of every candidate (logits) from what it covers; the judgement teaches the masks nothing."""
        whole = torch.cat((x16.mean(dim=(2, 3)), x16.amax(dim=(2, 3)), queries), dim=1)
        columns = []
        for number, logits in enumerate(masks.unbind(dim=1)):
            covered, numbers = of_the_mask(logits, x16)
            covered_finer, _ = of_the_mask(logits, x8)
            described = torch.cat((whole, covered, numbers, covered_finer), dim=1)
            columns.append(self.candidate_quality(described)[:, number])
        return torch.stack(columns, dim=1)


def of_the_mask(
    logits: Float[Tensor, "n h w"], features: Float[Tensor, "n c h8 w8"]
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n 2"]]:
    """Describe masks for the judgement of their quality, which teaches the masks nothing.

    The mean feature inside, and two numbers: how sure the mask is of its inside, and which share of the frame it fills.
    """
    probability = logits.detach().float().sigmoid()
    shares = F.adaptive_avg_pool2d(probability[:, None], (features.shape[-2], features.shape[-1]))
    inside = (features * shares.to(features.dtype)).sum(dim=(2, 3)) / (shares.sum(dim=(2, 3)) + 1e-3).to(features.dtype)
    certain = probability > 0.5
    sureness = (probability * certain).sum(dim=(1, 2)) / (certain.sum(dim=(1, 2)) + 1e-6)
    return inside, torch.stack((sureness, certain.float().mean(dim=(1, 2))), dim=1).to(features.dtype)


class Meaning(nn.Module):
    """What every place of a photo shows, in the text space: one vector of length 1 at each cell of stride 4.

    Compared with the vector of a phrase, or with that of a region of another photo, it is the map that lets the head
    see words as it sees clicks. It reads the backbone itself: the maps of the pixel decoder are too narrow to keep
    many classes apart. What a place is, is decided at stride 8; where it ends, and what is thinner than a cell, by a
    correction at stride 4, which begins as none.
    """

    def __init__(self, dims: tuple[int, ...], text_dim: int, config: TextMapConfig = TEXT_MAP) -> None:
        super().__init__()
        finest, *coarser = dims
        hidden, fine = config.hidden, config.fine
        self.widen = nn.Conv2d(coarser[-1], config.widened, 1) if config.widened else None
        if config.widened:
            coarser[-1] = config.widened
        self.reads = nn.ModuleList(nn.Conv2d(dim, hidden, 1) for dim in coarser)
        self.whole = nn.Linear(coarser[-1], hidden)
        self.mix = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.say = nn.Conv2d(hidden, text_dim, 1)
        self.read_fine = nn.Conv2d(finest, fine, 1)
        self.to_fine = nn.Conv2d(hidden, fine, 1)
        self.mix_fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.correct = nn.Conv2d(fine, text_dim, 1)
        nn.init.zeros_(self.correct.weight)
        nn.init.zeros_(self.correct.bias)  # type: ignore[arg-type]

    def forward(self, maps: tuple[Float[Tensor, "b _c _h _w"], ...]) -> Float[Tensor, "b d h4 w4"]:
        """Read the backbone's maps from stride 4 on, finest first, each place with the photo as a whole in mind."""
        finest, *coarser = maps
        if self.widen is not None:
            coarser[-1] = F.relu6(self.widen(coarser[-1]))
        hw4, hw8 = ((level.shape[-2], level.shape[-1]) for level in maps[:2])
        seen = self.reads[0](coarser[0])
        for read, level in zip(self.reads[1:], coarser[1:], strict=True):
            seen = seen + fit(read(level), hw8)
        x = F.relu(seen + self.whole(coarser[-1].mean(dim=(2, 3)))[:, :, None, None])
        x = x + F.relu(self.mix(x))
        close = F.relu(self.read_fine(finest) + fit(self.to_fine(x), hw4))
        close = F.relu(self.mix_fine(close))
        return F.normalize(fit(self.say(x), hw4) + self.correct(close), dim=1)


def compare(meaning: Float[Tensor, "b d h w"], vectors: Float[Tensor, "b n d"]) -> Float[Tensor, "b n h w"]:
    """Return the cosine of every place with every object's vector; 0 for a vector of zeros."""
    return torch.einsum("bdhw,bnd->bnhw", meaning, F.normalize(vectors, dim=-1).to(meaning.dtype))


def shown(meaning: Float[Tensor, "b d h w"], regions: Float[Tensor, "b n h2 w2"]) -> Float[Tensor, "b n d"]:
    """Return what regions (1 inside, any resolution) of a photo mean: the mean direction of their places."""
    weights = F.adaptive_avg_pool2d(regions.to(meaning.dtype), (meaning.shape[-2], meaning.shape[-1])).flatten(2)
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1e-6)
    return weights @ meaning.flatten(2).mT


def prompt_maps(
    prompts: VisualPrompts,
    coarse: Float[Tensor, "b n h w"],
    previous: Float[Tensor, "b n h w"] | None,
    likeness: Float[Tensor, "b n h w"] | None = None,
) -> Float[Tensor, "b n 8 h w"]:
    """Stack what is known about each object's place: eight maps at the size of `coarse` (stride 4).

    Positive and negative prompts, how near each is (1 on it, falling in five steps to 0 beyond 92 network pixels), the
    previous round's mask (-1 to 1, 0 where there was none), the coarse mask, bounds (boxes and polygons, 1
    inside), and how like each place
    is to what was said or shown (`Meaning`; three times the cosine, 0 where nothing was).
    """
    hw = (coarse.shape[-2], coarse.shape[-1])
    positive, negative = (
        F.adaptive_max_pool2d(marks.to(coarse.dtype), hw) for marks in (prompts.positive, prompts.negative)
    )
    before = torch.zeros_like(coarse) if previous is None else torch.tanh(fit(previous, hw) / 2)
    nothing = torch.zeros_like(coarse)
    bounds = nothing if prompts.bounds is None else F.adaptive_max_pool2d(prompts.bounds.to(coarse.dtype), hw)
    alike = nothing if likeness is None else 3 * fit(likeness.to(coarse.dtype), hw)
    maps = (positive, negative, nearness(positive), nearness(negative), before, torch.tanh(coarse / 2), bounds, alike)
    return torch.stack(maps, dim=2)


def so_far(outlines: Bool[Tensor, "b n h w"]) -> Float[Tensor, "b n h4 w4"]:
    """Return the areas of outlines (a polygon around the object) as the masks of a round before: logits at stride 4."""
    return (F.avg_pool2d(outlines.float(), 4) * 2 - 1) * OUTLINED


def nearness(marks: Float[Tensor, "b n h w"]) -> Float[Tensor, "b n h w"]:
    """Return how near the next marked pixel is, 1 on it, in steps of `REACHES` (Chebyshev distance)."""
    total = grown = marks
    for reach in REACHES:
        size = 2 * reach + 1
        grown = F.max_pool2d(F.max_pool2d(grown, (size, 1), 1, (reach, 0)), (1, size), 1, (0, reach))
        total = total + grown
    return total / (len(REACHES) + 1)


def fit(maps: Float[Tensor, "b n h w"], hw: tuple[int, int]) -> Float[Tensor, "b n {hw[0]} {hw[1]}"]:
    """Resize maps if they have another size."""
    if maps.shape[-2:] == hw:
        return maps
    return F.interpolate(maps, size=hw, mode="bilinear", align_corners=False)
