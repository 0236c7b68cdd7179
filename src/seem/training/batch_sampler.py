"""Which images the training steps draw, and how large and varied they are seen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from seem.data.augmentation import Augmentation
from seem.data.image_bank import ImageBank
from seem.data.training_sample import TrainingSample
from seem.data.training_sampler import TrainingSampler
from seem.errors import SeemError
from seem.models.segmenter import Segmenter
from seem.training.batches import StepBatch, make_training_batch
from seem.training.distributed import rank_and_world_size
from seem.training.targets import PromptMix

ATTEMPTS = 20
ATTEMPT_STRIDE = (
    1_000_000_007  # between the sample numbers of the attempts to draw an image with objects
)

NAMING_SCALE = (
    1.45  # largest factor by which images for class names are larger or smaller than at inference
)


@dataclass(frozen=True, slots=True)
class BatchSampler:
    """Draws the batches of a run's steps, a pure function of the seed, the step's number and the process.

    For every image of a step, `naming_ratio` further images are asked for class names alone: those of their cells and
    objects. That costs a quarter, and names need many images. Only every `full_step_interval`-th step, the first
    included, has images with prompted targets; the others have the further images alone.

    Attributes:
        bank: the images to draw from.
        size: side of the training canvas in pixels.
        batch_size: number of images with prompted targets, of this process.
        num_targets: prompted targets of an image.
    """

    bank: ImageBank
    size: int
    batch_size: int
    seed: int
    num_targets: int = 3
    mix: PromptMix = field(default_factory=PromptMix)
    naming_ratio: int = 0
    full_step_interval: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def draw(self, number: int, network: Segmenter, count: int | None = None) -> StepBatch:
        """Draw the batch of a step, with `count` images (default: `batch_size`) and their further ones."""
        rank, _ = rank_and_world_size()
        rng = np.random.default_rng((self.seed, number, rank))
        if count is None:
            count = self.batch_size
        naming = self.draw_naming_samples(number, network, count)
        full = None
        if self._is_full(number):
            samples = self.draw_samples(number, count)
            full = make_training_batch(
                samples, network.config.image, self.num_targets, self.mix, rng
            )
        return StepBatch(full, naming, naming_weight=len(naming) / count, rng=rng)

    def draw_samples(self, number: int, count: int | None = None) -> list[TrainingSample]:
        """Draw the images of a step that get prompted targets; every second one shows a class of the one before."""
        sampler = TrainingSampler(
            self.bank,
            size=self.size,
            weights=self.bank.weights,
            seed=self.seed,
            augmentation=self.augmentation,
        )
        if count is None:
            count = self.batch_size
        first = self._process_step(number) * self.batch_size
        return draw_sample_pairs(sampler, first, count, with_negatives=True)

    def draw_naming_samples(
        self, number: int, network: Segmenter, count: int
    ) -> tuple[TrainingSample, ...]:
        """Draw the images of a step that are asked for class names alone, seen about as large as at inference."""
        share = self.size / network.config.image.long_side
        smallest = min(share / NAMING_SCALE, 1.0)
        largest = min(share * NAMING_SCALE, 1.15)  # a canvas larger than that shows full images
        augmentation = Augmentation(
            p_zoom=0.15, p_whole=0.1, window=(smallest, largest), p_rotate=0.15, degrees=8.0
        )
        sampler = TrainingSampler(
            self.bank,
            size=self.size,
            weights=self.bank.weights,
            seed=self.seed + 1,
            augmentation=augmentation,
        )
        first = self._process_step(number) * self.batch_size * self.naming_ratio
        numbers = range(first, first + count * self.naming_ratio)
        return tuple(draw_instructive_sample(sampler, each) for each in numbers)

    def describe(self, number: int, network: Segmenter) -> str:
        """Name the images of a step."""
        samples: list[TrainingSample] = []
        if self._is_full(number):
            samples += self.draw_samples(number)
        samples += self.draw_naming_samples(number, network, self.batch_size)
        return describe_samples(samples)

    def _is_full(self, number: int) -> bool:
        return number % self.full_step_interval == 0

    def _process_step(self, number: int) -> int:
        """Return the number of a step among those of all processes."""
        rank, world_size = rank_and_world_size()
        return number * world_size + rank


def draw_nonempty_sample(
    sampler: TrainingSampler, index: int, partner_of: TrainingSample | None = None
) -> TrainingSample:
    """Return sample `index`, or the next of its own sequence that shows an object.

    With `partner_of`, the sample shows a class of that one, so that each can be the other's reference.
    """
    for attempt in range(ATTEMPTS):
        number = index + attempt * ATTEMPT_STRIDE
        sample = sampler[number] if partner_of is None else sampler.partner(partner_of, number)
        if len(sample.masks):
            return sample
    raise SeemError(
        f"{ATTEMPTS} photos in a row showed no object at {sampler.size} x {sampler.size} pixels; are the objects very "
        "small? Train with a larger --size."
    )


def draw_instructive_sample(sampler: TrainingSampler, index: int) -> TrainingSample:
    """Return sample `index` if it shows an object or is known to show none, else the next that shows an object."""
    sample = sampler[index]
    if len(sample.masks) or (sample.absent_names and not sample.ignore.any()):
        return sample
    return draw_nonempty_sample(sampler, index)


def draw_sample_pairs(
    sampler: TrainingSampler, first: int, count: int, *, with_negatives: bool = False
) -> list[TrainingSample]:
    """Draw `count` samples from number `first` on: every second one is the partner of the one before.

    `with_negatives`: the first of a pair may be an image that is known to show no object.
    """
    samples: list[TrainingSample] = []
    for number in range(first, first + count):
        if len(samples) % 2:
            samples.append(draw_nonempty_sample(sampler, number, partner_of=samples[-1]))
        elif with_negatives:
            samples.append(draw_instructive_sample(sampler, number))
        else:
            samples.append(draw_nonempty_sample(sampler, number))
    return samples


def describe_samples(samples: list[TrainingSample]) -> str:
    """Name the images of samples, each once: "photos coco 12, coco 99"."""
    names = dict.fromkeys(f"{sample.set_name} {sample.image_id}" for sample in samples)
    return f"photos {', '.join(names)}"
