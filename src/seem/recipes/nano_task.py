"""What a training step of the embedded model is made of: its images, prompts and loss."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from seem.data.augmentation import Augmentation
from seem.data.copy_paste import paste_object
from seem.data.image_bank import ImageBank
from seem.data.training_sample import TrainingSample
from seem.data.training_sampler import TrainingSampler
from seem.finetuning.profile import DENSE_CONFIG
from seem.models.precision import Precision
from seem.models.segmenter import Segmenter
from seem.simulation.strokes import DEFAULT_STROKES, PromptKind
from seem.training.batch_sampler import describe_samples, draw_sample_pairs
from seem.training.batches import make_training_batch
from seem.training.config import TrainConfig
from seem.training.distributed import rank_and_world_size
from seem.training.objectives.dense import full_step_loss, text_prompt_loss
from seem.training.objectives.imagenet import ImageNetClasses
from seem.training.phrases import PhraseTokenizer
from seem.training.steps import attention_backend
from seem.training.targets import PromptMix


@dataclass(frozen=True, slots=True)
class Stage:
    """What steps train on until the share `until` of a leg.

    Attributes:
        until: share of the steps of the leg, 0-1.
        size: side of the canvas in pixels of images with all kinds of prompts.
        text_images: number of further images that are prompted by text and references alone. They cost less, and text
            needs many images.
        text_size: side of the canvas of these images.
    """

    until: float
    size: int
    text_images: int
    text_size: int = 160

    def to_json(self) -> dict[str, float]:
        """Return the stage as plain values."""
        return {
            "until": self.until,
            "size": self.size,
            "text_images": self.text_images,
            "text_size": self.text_size,
        }


STROKES = replace(
    DEFAULT_STROKES,
    kind_weights={
        PromptKind.POINT: 0.44,
        PromptKind.CIRCLE: 0.16,
        PromptKind.SCRIBBLE: 0.16,
        PromptKind.POLYGON: 0.08,
        PromptKind.BOX: 0.16,
    },
)
"""More strokes than users draw, because nano follows them worst (run 13 of the documentation of nano)."""

PROMPT_MIX = PromptMix(text=0.15, text_and_visual=0.1, reference=0.08, strokes=STROKES)
TEXT_PROMPT_MIX = PromptMix(text=1.0, absent=0.25, reference=0.55, reference_absent=0.15)

AUGMENTATION = Augmentation(p_quarter=0.16)
TEXT_AUGMENTATION = Augmentation(
    p_zoom=0.65,
    zoom=(1.0, 2.6),
    p_whole=0.2,
    max_enlargement=2.5,
    p_hue=0.4,
    p_grey=0.1,
    p_blur=0.12,
    p_quarter=0.08,
)
TEXT_SET_WEIGHTS = {
    "coco_full": 0.32,
    "coco_person": 0.06,
    "ccp": 0.07,
    "voc_animals": 0.25,
    "voc_general": 0.2,
    "open_mix": 0.1,
    "duts": 0.5,
}
"""How often the images for text are of each set. Those of DUTS have names by ImageNet's classifier."""

P_PASTE = 0.6  # of the pairs of images for text get objects of one class pasted in
STEP_SAMPLES = 1024  # sample numbers reserved for the images for text of a step; the second half is for pasted objects


@dataclass(frozen=True, slots=True)
class Leg:
    """One training run of several: its settings, at which sizes photos are seen, and which parts do not learn."""

    name: str
    config: TrainConfig
    stages: tuple[Stage, ...]
    frozen: tuple[str, ...] = ()
    targets: int = 3
    """Prompted targets of each image with all kinds of prompts."""
    prompt_mix: PromptMix = PROMPT_MIX
    """How often those targets are asked for by which kind."""

    def to_json(self) -> dict[str, object]:
        """Return everything that decides which weights the leg makes, as plain values."""
        recipe = self.config.to_json()
        del recipe["minutes"]
        return {
            "name": self.name,
            "recipe": recipe,
            "stages": [stage.to_json() for stage in self.stages],
            "frozen": list(self.frozen),
            "targets": self.targets,
            "prompts": [self.prompt_mix.text, self.prompt_mix.text_and_visual],
        }


def stage_at(share: float, stages: Sequence[Stage]) -> Stage:
    """Return the stage at a share of a leg, 0-1."""
    for stage in stages:
        if share < stage.until:
            return stage
    return stages[-1]


class NanoTask:
    """The training steps of a leg in this process: its images, prompts and loss."""

    def __init__(
        self,
        bank: ImageBank,
        leg: Leg,
        tokenizer: PhraseTokenizer,
        device: torch.device,
        classes: ImageNetClasses,
    ) -> None:
        self.bank = bank
        self.leg = leg
        self.tokenizer = tokenizer
        self.device = device
        self.classes = classes
        self.precision = fastest_precision(device)
        self.rank, self.processes = rank_and_world_size()

    def step(self, network: nn.Module, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of a step, and its terms for the log."""
        assert isinstance(network, Segmenter)
        stage = self._stage(number)
        rng = np.random.default_rng((self.leg.config.seed, number, self.rank))
        image = network.config.image
        samples = self._draw_samples(number, stage)
        batch = make_training_batch(samples, image, self.leg.targets, self.leg.prompt_mix, rng).to(
            self.device
        )
        text_samples = self._draw_text_samples(number, stage, rng)
        text_batch = make_training_batch(text_samples, image, 1, TEXT_PROMPT_MIX, rng).to(
            self.device
        )
        mixed = self.precision == "bfloat16"
        with (
            torch.autocast(self.device.type, torch.bfloat16, enabled=mixed),
            attention_backend(self.device),
        ):
            full = full_step_loss(network, batch, self.tokenizer, DENSE_CONFIG, rng)
            text = text_prompt_loss(
                network, text_batch, self.tokenizer, DENSE_CONFIG, rng, self.classes
            )
        terms = {
            "text_prompts": float(text.detach()),
            **full.terms(),
            "total": float(full.total.detach()),
        }
        return full.total + text, terms

    def describe(self, number: int) -> str:
        """Name the images of a step."""
        stage = self._stage(number)
        text_samples = self._draw_text_samples(number, stage, np.random.default_rng(0))
        return describe_samples([*self._draw_samples(number, stage), *text_samples])

    def _stage(self, number: int) -> Stage:
        return stage_at(number / self.leg.config.steps, self.leg.stages)

    def _draw_samples(self, number: int, stage: Stage) -> list[TrainingSample]:
        config = self.leg.config
        sampler = TrainingSampler(
            self.bank, size=stage.size, seed=config.seed, augmentation=AUGMENTATION
        )
        return draw_sample_pairs(sampler, self._process_step(number) * config.batch, config.batch)

    def _draw_text_samples(
        self, number: int, stage: Stage, rng: np.random.Generator
    ) -> list[TrainingSample]:
        sampler = TrainingSampler(
            self.bank,
            size=stage.text_size,
            seed=self.leg.config.seed + 1,
            weights=TEXT_SET_WEIGHTS,
            augmentation=TEXT_AUGMENTATION,
        )
        return draw_text_pairs(
            sampler, self._process_step(number) * STEP_SAMPLES, stage.text_images, rng
        )

    def _process_step(self, number: int) -> int:
        """Return the number of a step among those of all processes."""
        return number * self.processes + self.rank


def fastest_precision(device: torch.device) -> Precision:
    """Choose bfloat16 where a convolution is faster in it; on CPUs without its instructions it is much slower."""
    if device.type != "cpu":
        return "bfloat16"
    seconds: dict[Precision, float] = {}
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        maps = torch.ones(1, 64, 40, 48, dtype=dtype).contiguous(memory_format=torch.channels_last)
        weight = torch.ones(64, 64, 3, 3, dtype=dtype)
        nn.functional.conv2d(maps, weight, padding=1)
        began = time.perf_counter()
        for _ in range(3):
            nn.functional.conv2d(maps, weight, padding=1)
        seconds[precision] = time.perf_counter() - began  # type: ignore[index]
    return min(seconds, key=lambda each: seconds[each])


def draw_text_pairs(
    sampler: TrainingSampler, first: int, count: int, rng: np.random.Generator
) -> list[TrainingSample]:
    """Draw pairs of images for text prompts; into some pairs, objects of one class are pasted, one into each image.

    The class is any that the images are annotated for: rare classes are as frequent as common ones, and each image can
    be the other's reference.
    """
    samples = draw_sample_pairs(sampler, first, count)
    for i in range(0, count - 1, 2):
        one, other = samples[i], samples[i + 1]
        complete = max(one.complete_names, other.complete_names, key=len)
        names = sorted(complete & sampler.bank.by_name.keys())
        if not names or rng.random() >= P_PASTE:
            continue
        name = names[int(rng.integers(len(names)))]
        for index in (i, i + 1):
            donor = sampler.of_class(name, first + STEP_SAMPLES // 2 + index)
            samples[index] = paste_object(samples[index], donor, rng, about=name)
    return samples
