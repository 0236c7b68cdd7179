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
COARSE_MAP = 5  # index of the coarse mask among them
OUTLINE_LOGIT = 3.0  # mask logit inside an outline; its negative outside
CANDIDATE_SPREAD = 1.0  # logits between the middle candidate and the first and last, at the start
REACHES = (2, 5, 11, 23)  # cells of stride 4 up to which a mark is near, in four grades
OBJECTS_TOGETHER = 4  # answered at a time on a CPU: so many objects' maps fit into its cache
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


@dataclass(frozen=True, slots=True)
class ObjectFeatures:
    """What masks are read from: three feature maps an object (batch and objects in one axis), and its query."""

    stride4: Float[Tensor, "n f h w"]
    stride8: Float[Tensor, "n m h8 w8"]
    stride16: Float[Tensor, "n c h16 w16"]
    queries: Float[Tensor, "n d"]

    @property
    def summary(self) -> Float[Tensor, "n e"]:
        """Mean and maximum of the coarsest map, and the query."""
        coarsest = self.stride16
        return torch.cat(
            (coarsest.mean(dim=(2, 3)), coarsest.amax(dim=(2, 3)), self.queries), dim=1
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
        features = self.object_features(self.from_features(mask_features), maps, queries)
        refined = self.single_masks(features, len(maps))
        if with_candidates and self.num_candidates:
            return replace(refined, candidates=self.candidates(features, len(maps)))
        return refined

    def best_masks(
        self,
        mask_features: Float[Tensor, "b c h w"],
        maps: Float[Tensor, "b n 8 h w"],
        queries: Float[Tensor, "b n d"],
        ambiguous: Bool[Tensor, "b n"],
        top: int = 1,
    ) -> RefinedMasks:
        """Predict the mask of every object: of an ambiguous one its best candidate, where a configuration has them.

        If all objects are ambiguous, their `top` candidates, best first, object-major.
        """
        image_part = self.from_features(mask_features)
        only_candidates = self.num_candidates > 0 and bool(ambiguous.all())
        together = OBJECTS_TOGETHER if maps.device.type == "cpu" else maps.shape[1]
        logits, quality = [], []
        for start in range(0, maps.shape[1], together):
            rows = slice(start, start + together)
            features = self.object_features(image_part, maps[:, rows], queries[:, rows])
            if only_candidates:
                best = self.candidates(features, len(maps)).ranked(top)
            else:
                best = self.single_masks(features, len(maps))
                if self.num_candidates and bool(ambiguous[:, rows].any()):
                    candidates = self.candidates(features, len(maps))
                    best = replace(best, candidates=candidates).best(ambiguous[:, rows])
            logits.append(best.logits)
            quality.append(best.quality_logits)
        return RefinedMasks(torch.cat(logits, dim=1), torch.cat(quality, dim=1))

    def object_features(
        self,
        image_part: Float[Tensor, "b f h w"],
        maps: Float[Tensor, "b n 8 h w"],
        queries: Float[Tensor, "b n d"],
    ) -> ObjectFeatures:
        """Run the network for every object, down to stride 16 and up again. Maps lie channels last in memory."""
        flat_queries = queries.flatten(0, 1)
        biases = self.from_query(flat_queries)[:, :, None, None]
        bias_fine, bias_coarse = biases.split(
            (self.fine.in_channels, self.up_middle.in_channels), dim=1
        )
        image_part = image_part.contiguous(memory_format=torch.channels_last)
        object_part = torch.unflatten(self.read_maps(maps.flatten(0, 1)), 0, maps.shape[:2])
        x = (image_part[:, None] + object_part).flatten(0, 1) + bias_fine
        stride4 = add_convolved(F.relu(x, inplace=True), self.fine)
        x = F.relu(self.to_middle(stride4), inplace=True)
        stride8 = add_convolved(x, self.middle)
        stride16 = F.relu(self.to_coarse(stride8) + bias_coarse, inplace=True)
        for convolution in self.coarse:
            stride16 = add_convolved(stride16, convolution)
        x = stride8 + F.interpolate(self.up_middle(stride16), size=map_hw(stride8), mode="nearest")
        stride8 = add_convolved(x, self.join_middle)
        x = stride4 + F.interpolate(self.up_fine(stride8), size=map_hw(stride4), mode="nearest")
        return ObjectFeatures(add_convolved(x, self.join_fine), stride8, stride16, flat_queries)

    def read_maps(self, maps: Float[Tensor, "n 8 h w"]) -> Float[Tensor, "n f h w"]:
        """Convolve the maps; in inference without those that are empty for all objects."""
        maps = maps.contiguous(memory_format=torch.channels_last)
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self.from_maps(maps)  # type: ignore[no-any-return]
        used = maps.flatten(2).any(dim=2).any(dim=0)
        used[COARSE_MAP] = True  # a convolution needs one
        weight = self.from_maps.weight[:, used]
        return F.conv2d(maps[:, used], weight, self.from_maps.bias, padding=2)

    def single_masks(self, features: ObjectFeatures, batch: int) -> RefinedMasks:
        """Read one mask an object, and predict its IoU."""
        logits = F.pixel_shuffle(self.mask(features.stride4), 2)[:, 0]
        statistics = mask_statistics(logits, features.stride16)
        quality = self.quality(torch.cat((features.summary, *statistics), dim=1))[:, 0]
        return RefinedMasks(
            torch.unflatten(logits, 0, (batch, -1)), torch.unflatten(quality, 0, (batch, -1))
        )

    def candidates(self, features: ObjectFeatures, batch: int) -> CandidateMasks:
        """Read the candidates of every object, and predict the IoU of each."""
        subpixels = self.candidate_masks(features.stride4)
        logits = F.pixel_shuffle(subpixels, 2)
        quality = self.judge_candidates(subpixels, features)
        return CandidateMasks(
            torch.unflatten(logits, 0, (batch, -1)), torch.unflatten(quality, 0, (batch, -1))
        )

    def judge_candidates(
        self, subpixels: Float[Tensor, "n k4 h w"], features: ObjectFeatures
    ) -> Float[Tensor, "n k"]:
        """Predict the IoU of every candidate from what it covers, without gradient into the masks.

        `subpixels` are the logits of the four pixels in each cell of stride 4, candidate by candidate.
        """
        cells = torch.unflatten(subpixels.detach().float(), 1, (-1, 4)).mean(dim=2)
        probability = cells.sigmoid()
        inside = probability > 0.5
        mean_probability = (probability * inside).sum(dim=(2, 3)) / (inside.sum(dim=(2, 3)) + 1e-6)
        frame_share = inside.float().mean(dim=(2, 3))
        stride16 = features.stride16
        quality_input = torch.cat(
            (
                features.summary[:, None].expand(-1, self.num_candidates, -1),
                inside_means(probability, stride16),
                torch.stack((mean_probability, frame_share), dim=2).to(stride16.dtype),
                inside_means(probability, features.stride8),
            ),
            dim=2,
        )
        return self.candidate_quality(quality_input).diagonal(dim1=1, dim2=2)  # type: ignore[no-any-return]


def add_convolved(x: Float[Tensor, "n c h w"], convolution: nn.Module) -> Float[Tensor, "n c h w"]:
    """Add what a convolution and a rectifier make of a map."""
    return x + F.relu(convolution(x), inplace=True)


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
    marks = torch.stack((positive, negative), dim=2)
    previous_mask = bounds = similar = torch.zeros_like(coarse)
    if previous is not None:
        previous_mask = torch.tanh(resize(previous, hw) / 2)
    if prompts.bounds is not None:
        bounds = cell_maxima(prompts.bounds.to(coarse.dtype), hw)
    if similarity is not None:
        similar = SIMILARITY_GAIN * resize(similarity.to(coarse.dtype), hw)
    others = (previous_mask, torch.tanh(coarse / 2), bounds, similar)
    return torch.cat((marks, proximity_maps(marks), torch.stack(others, dim=2)), dim=2)


def outline_logits(outlines: Bool[Tensor, "b n h w"]) -> Float[Tensor, "b n h4 w4"]:
    """Return the areas of outlines (a polygon around the object) as masks of a previous round: logits at stride 4."""
    return (F.avg_pool2d(outlines.float(), 4) * 2 - 1) * OUTLINE_LOGIT


def proximity_maps(marks: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
    """Return how near the next marked cell is: 1 on it, falling by the steps of `REACHES` (Chebyshev distance).

    Two products with band matrices count the marks around every cell.
    """
    height, width = map_hw(marks)
    total = marks
    for reach in REACHES:
        count = _band(height, reach, marks) @ marks @ _band(width, reach, marks)
        total = total + (count > 0)
    return total / (len(REACHES) + 1)


def _band(size: int, reach: int, like: Tensor) -> Float[Tensor, "{size} {size}"]:
    """Return the matrix that adds up what lies within `reach` of every element."""
    index = torch.arange(size, device=like.device)
    return ((index[:, None] - index).abs() <= reach).to(like.dtype)
