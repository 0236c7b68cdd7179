"""`TrainingSampler`: endless training samples from an image bank, each determined by a seed and its number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from seem.data.augmentation import Augmentation
from seem.data.image_bank import ImageBank
from seem.data.training_sample import TrainingSample, augment

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "coco_full": 0.22,
    "coco_person": 0.10,
    "davis2016": 0.04,
    "ccp": 0.10,
    "voc_animals": 0.14,
    "voc_general": 0.12,
    "duts": 0.18,
    "open_mix": 0.10,
}
"""How often each set is sampled: by what it adds to training rather than by its size (duts has 60% of the images)."""


class TrainingSampler:
    """Endless samples: `sampler[i]` depends on the seed and i alone, so that training resumes exactly.

    A set is drawn by its weight, then one of its images, each with the same chance, then window and colours.

    Args:
        bank: the images.
        size: side of the canvas in pixels.
        weights: relative frequency by set; sets that the bank lacks are passed over, sets that it has but that are not
            named are never drawn. None: `DEFAULT_WEIGHTS`.
        seed: any non-negative number.
        augmentation: how samples vary.

    Raises:
        ValueError: no set of the bank has a positive weight.
    """

    def __init__(
        self,
        bank: ImageBank,
        *,
        size: int = 224,
        weights: Mapping[str, float] | None = None,
        seed: int = 0,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.bank = bank
        self.size = size
        self.seed = seed
        self.augmentation = augmentation or Augmentation()
        positive = _positive_weights(bank, DEFAULT_WEIGHTS if weights is None else weights)
        self._sets = tuple(positive)
        cumulative = np.cumsum(list(positive.values()))
        self._cumulative_weights = cumulative / sum(positive.values())

    def __getitem__(self, index: int) -> TrainingSample:
        rng = self._generator(index)
        set_index = int(np.searchsorted(self._cumulative_weights, rng.random(), side="right"))
        name = self._sets[min(set_index, len(self._sets) - 1)]
        return self._sample_one_of(self.bank.by_set[name], rng)

    def partner(self, sample: TrainingSample, index: int) -> TrainingSample:
        """Draw, as number `index`, another image of a class that `sample` shows; any image if it shows none."""
        names = sorted(set(sample.names) - {""})
        if not names:
            return self[index]
        rng = self._generator(index)
        name = names[int(rng.integers(len(names)))]
        return self._sample_one_of(self.bank.by_name[name], rng, name)

    def of_class(self, name: str, index: int) -> TrainingSample:
        """Draw, as number `index`, an image of a class that the bank shows (`bank.by_name`)."""
        return self._sample_one_of(self.bank.by_name[name], self._generator(index), name)

    def __iter__(self) -> Iterator[TrainingSample]:
        index = 0
        while True:
            yield self[index]
            index += 1

    def _generator(self, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, index))

    def _sample_one_of(
        self,
        indices: Sequence[int],
        rng: np.random.Generator,
        preferred_name: str | None = None,
    ) -> TrainingSample:
        image = self.bank[indices[int(rng.integers(len(indices)))]]
        return augment(image, self.size, rng, self.augmentation, preferred_name)


def _positive_weights(bank: ImageBank, weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of the sets that can be drawn, in alphabetical order; `ValueError` if there is none."""
    positive = {}
    for name in sorted(bank.by_set):
        weight = weights.get(name, 0.0)
        if weight > 0:
            positive[name] = weight
    if not positive:
        raise ValueError(
            f"No set has a positive weight; the bank holds {', '.join(bank.by_set)}, got {weights}."
        )
    return positive
