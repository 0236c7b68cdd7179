"""One training step of a model of either kind: which photos, which questions, which arithmetic."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from seem.data.pack import ImageBank
from seem.data.transforms import Augmentation, TrainingSample, TrainingSampler
from seem.errors import SeemError
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import BytePairTokenizer
from seem.training.ahead import Ahead
from seem.training.engine import TrainConfig, world
from seem.training.nano import Objective, naming_loss, step_loss
from seem.training.published import PublishedObjective, Speech, published_loss
from seem.training.targets import PhraseBook, PromptMix, TrainingBatch, make_batch

Arithmetic: TypeAlias = Literal["float32", "bfloat16"]
ATTEMPTS = 20
STRIDE = 1_000_000_007  # between the numbers of one photo's further attempts

NEAR = 1.45  # how much larger or smaller than at inference a photo that is asked for names may be seen

LossOf: TypeAlias = "Callable[[Segmenter, Asked], tuple[Tensor, dict[str, float]]]"


@dataclass(frozen=True, slots=True)
class Asked:
    """A step: photos with what is asked about them, further photos that are asked for names alone, and its dice.

    Not every step has photos of the first kind (None).
    """

    batch: TrainingBatch | None
    named: tuple[TrainingSample, ...]
    weight: int
    """How many photos of the first kind a step has that has any."""
    rng: np.random.Generator


@dataclass(frozen=True, slots=True)
class Course:
    """How samples are drawn: `size` is the side of the canvas in pixels.

    For every photo of a step, `named` others are asked for names alone: what their places and things are called. That
    costs a quarter, and names need many photos. In every `rest`-th step, the first included, the photo itself is asked
    everything; in the others there are the further ones alone.
    """

    bank: ImageBank
    size: int
    batch: int
    seed: int
    objects: int = 3
    mix: PromptMix = field(default_factory=PromptMix)
    named: int = 0
    rest: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def samples(self, number: int, count: int | None = None) -> list[TrainingSample]:
        """Draw the photos of a step of this process; every second one shows something of the one before."""
        rank, processes = world()
        sampler = TrainingSampler(
            self.bank, size=self.size, weights=self.bank.weights, seed=self.seed, augmentation=self.augmentation
        )
        return draw_pairs(sampler, (number * processes + rank) * self.batch, self.batch if count is None else count)

    def asked(self, number: int, network: Segmenter, count: int | None = None) -> Asked:
        """Draw the photos of a step and what is asked about them."""
        rng = np.random.default_rng((self.seed, number, world()[0]))
        count = self.batch if count is None else count
        named = self.named_samples(number, network, count)
        if number % self.rest:
            return Asked(None, named, count, rng)
        batch = make_batch(self.samples(number, count), network.config.image, self.objects, self.mix, rng)
        return Asked(batch, named, count, rng)

    def named_samples(self, number: int, network: Segmenter, count: int) -> tuple[TrainingSample, ...]:
        """Draw the photos of a step that are asked for names alone, seen about as large as at inference."""
        rank, processes = world()
        share = self.size / network.config.image.long_side
        window = (min(share / NEAR, 1.0), min(share * NEAR, 1.15))  # a canvas larger than that shows whole photos
        how = Augmentation(p_zoom=0.15, p_whole=0.1, window=window, p_rotate=0.15, degrees=8.0)
        sampler = TrainingSampler(
            self.bank, size=self.size, weights=self.bank.weights, seed=self.seed + 1, augmentation=how
        )
        first = (number * processes + rank) * self.batch * self.named
        return tuple(with_objects(sampler, first + i) for i in range(count * self.named))

    def describe(self, number: int, network: Segmenter) -> str:
        """Name the photos of a step."""
        full = () if number % self.rest else self.samples(number)
        samples = (*full, *self.named_samples(number, network, self.batch))
        named = dict.fromkeys(f"{sample.set_name} {sample.image_id}" for sample in samples)
        return f"photos {', '.join(named)}"


def with_objects(sampler: TrainingSampler, index: int, partner_of: TrainingSample | None = None) -> TrainingSample:
    """Return sample `index`, or the next of its own sequence that shows an object.

    With `partner_of` it is a photo of a class which that one shows, so that one can be the other's reference.
    """
    for attempt in range(ATTEMPTS):
        number = index + attempt * STRIDE
        sample = sampler[number] if partner_of is None else sampler.partner(partner_of, number)
        if len(sample.masks):
            return sample
    raise SeemError(
        f"{ATTEMPTS} photos in a row showed no object at {sampler.size} x {sampler.size} pixels; are the objects very "
        "small? Train with a larger --size."
    )


def draw_pairs(sampler: TrainingSampler, first: int, count: int) -> list[TrainingSample]:
    """Draw `count` samples from number `first` on: every second one is the partner of the one before."""
    samples: list[TrainingSample] = []
    for i in range(count):
        samples.append(with_objects(sampler, first + i, samples[-1] if i % 2 else None))
    return samples


def loss_for(
    network: Segmenter,
    tokenizer: BytePairTokenizer,
    objective: PublishedObjective | None = None,
    count_of: Callable[[int], float] = float,
) -> LossOf:
    """Choose the objective that fits a network: nano's own, or the published one.

    `count_of` turns the number of objects in a process's batch into what their masks' losses are divided by.
    """
    if network.mask_refiner is not None and network.text_embedding_head is not None:
        book = PhraseBook(tokenizer)
        wanted = Objective()

        def nano_loss(model: Segmenter, asked: Asked) -> tuple[Tensor, dict[str, float]]:
            parts, named = [], {}
            if asked.batch is not None:
                loss = step_loss(model, asked.batch, book, wanted, asked.rng)
                parts.append(loss.total)
                named = {
                    "refined": loss.refined, "coarse": loss.coarse, "quality": loss.quality, "names": loss.names,
                    "meaning": loss.meaning, "objects": loss.objects, "iou": loss.iou,
                }  # fmt: skip
            if asked.named:
                naming = naming_loss(model, asked.named, book, wanted, asked.rng)
                parts.append(len(asked.named) / asked.weight * naming)  # every photo counts alike
                named["naming"] = float(naming.detach())
            total = torch.stack(parts).sum()
            return total, {**named, "total": float(total.detach())}

        return nano_loss
    speech = Speech(tokenizer, network.config.text.templates == "all")
    chosen = objective or PublishedObjective()

    def seem_loss(model: Segmenter, asked: Asked) -> tuple[Tensor, dict[str, float]]:
        assert asked.batch is not None
        return published_loss(model, asked.batch, speech, chosen, asked.rng, count_of)

    return seem_loss


def steps_of(
    course: Course, network: Segmenter, loss_of: LossOf, config: TrainConfig, arithmetic: Arithmetic
) -> tuple[Callable[[nn.Module, int], tuple[Tensor, dict[str, float]]], Ahead[Asked]]:
    """Make the step function of a run; close the second thing returned when it is over."""
    device = next(network.parameters()).device
    workers = 1 if device.type == "cpu" else max(1, min(8, (os.cpu_count() or 2) - 1))
    ahead = Ahead(lambda number: course.asked(number, network), workers, config.steps * config.accumulate)

    def step(model: nn.Module, number: int) -> tuple[Tensor, dict[str, float]]:
        assert isinstance(model, Segmenter)
        return priced(model, ahead(number), loss_of, arithmetic)

    return step, ahead


def priced(model: Segmenter, asked: Asked, loss_of: LossOf, arithmetic: Arithmetic) -> tuple[Tensor, dict[str, float]]:
    """Price one step on the model's device in the chosen arithmetic."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic == "bfloat16"), attention_for(device):
        return loss_of(model, replace(asked, batch=None if asked.batch is None else asked.batch.to(device)))


def attention_for(device: torch.device) -> AbstractContextManager[None]:
    """Choose attention kernels: the fused ones are slow backwards on a CPU at the sizes that are trained at."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
