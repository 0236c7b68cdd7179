"""Batches of a training step: images with prompted targets, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seem.config import ImageConfig
from seem.data.training_sample import TrainingSample
from seem.models.structures import ImageBatch
from seem.training.targets import PromptedTarget, PromptMix, draw_targets


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """B images with N prompted targets each (without any prompt about an image that shows no object).

    Images come in pairs, 0 and 1, 2 and 3, ...: the references of an image are regions of its partner. `truth` is the
    mask of each target, the other maps are its prompts; `ignore` marks pixels on which no mask is judged.
    """

    samples: tuple[TrainingSample, ...]
    images: ImageBatch
    targets: tuple[tuple[PromptedTarget, ...], ...]
    truth: Bool[Tensor, "b n s s"]
    positive: Bool[Tensor, "b n s s"]
    negative: Bool[Tensor, "b n s s"]
    bounds: Bool[Tensor, "b n s s"]
    reference: Bool[Tensor, "b n s s"]
    ignore: Bool[Tensor, "b s s"]

    def to(self, device: torch.device) -> TrainingBatch:
        """Return the batch with its tensors on another device."""
        return replace(
            self,
            images=self.images.to(device),
            truth=self.truth.to(device, non_blocking=True),
            positive=self.positive.to(device, non_blocking=True),
            negative=self.negative.to(device, non_blocking=True),
            bounds=self.bounds.to(device, non_blocking=True),
            reference=self.reference.to(device, non_blocking=True),
            ignore=self.ignore.to(device, non_blocking=True),
        )

    @property
    def outlines(self) -> Bool[Tensor, "b n s s"]:
        """The areas of polygons, which mark an object and bound it at once (a box has no other marks beside it)."""
        return self.positive & self.bounds

    @property
    def has_phrase(self) -> Bool[Tensor, "b n"]:
        """Which targets have a phrase."""
        flags = [[bool(text) for text in image] for image in self.phrases()]
        return torch.tensor(flags, device=self.truth.device)

    def phrases(self) -> list[list[str]]:
        """Return the phrase of every target; empty without text."""
        return [[target.phrase for target in image] for image in self.targets]


@dataclass(frozen=True, slots=True)
class StepBatch:
    """What one step trains on: images with prompted targets, and further images asked for class names alone.

    Not every step has images of the first kind (None). `naming_weight` is how much the loss of class names counts
    beside that of `full`: the number of further images for each image of a full batch.
    """

    full: TrainingBatch | None
    naming: tuple[TrainingSample, ...]
    naming_weight: float
    rng: np.random.Generator

    def to(self, device: torch.device) -> StepBatch:
        """Return the batch with its tensors on another device."""
        return self if self.full is None else replace(self, full=self.full.to(device))


def make_training_batch(
    samples: Sequence[TrainingSample],
    image: ImageConfig,
    num_targets: int,
    mix: PromptMix,
    rng: np.random.Generator,
) -> TrainingBatch:
    """Draw prompted targets for every sample and stack everything."""
    targets = []
    for index, sample in enumerate(samples):
        partner = _partner(samples, index)
        targets.append(draw_targets(sample, num_targets, mix, rng, partner=partner))
    return TrainingBatch(
        samples=tuple(samples),
        images=normalize_images(samples, image),
        targets=tuple(targets),
        truth=_stack_maps(targets, "truth"),
        positive=_stack_maps(targets, "positive"),
        negative=_stack_maps(targets, "negative"),
        bounds=_stack_maps(targets, "bounds"),
        reference=_stack_maps(targets, "reference"),
        ignore=torch.from_numpy(np.stack([sample.ignore for sample in samples])),
    )


def _stack_maps(targets: Sequence[Sequence[PromptedTarget]], name: str) -> Bool[Tensor, "b n s s"]:
    maps = [[getattr(target, name) for target in image] for image in targets]
    return torch.from_numpy(np.array(maps))


def _partner(samples: Sequence[TrainingSample], index: int) -> TrainingSample | None:
    """Return the other sample of a pair; None for the last of an odd number."""
    other = index ^ 1
    return samples[other] if other < len(samples) else None


def normalize_images(samples: Sequence[TrainingSample], config: ImageConfig) -> ImageBatch:
    """Turn uint8 canvases into a network input; padding becomes (nearly) zero."""
    raw = torch.from_numpy(np.stack([sample.image for sample in samples])).float()
    mean = torch.tensor(config.mean)[:, None, None]
    std = torch.tensor(config.std)[:, None, None]
    pixels = ((raw - mean) / std).contiguous(memory_format=torch.channels_last)
    return ImageBatch(pixels, tuple(sample.valid_hw for sample in samples))


def mask_coverage(masks: Bool[Tensor, "b n h w"], stride: int) -> Float[Tensor, "b n h2 w2"]:
    """Return the share of each cell of `stride` x `stride` pixels that a mask covers."""
    return torch.nn.functional.avg_pool2d(masks.float(), stride)
