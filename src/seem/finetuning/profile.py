"""What differs between kinds of model when they are fine-tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch

from seem.data.augmentation import Augmentation
from seem.data.image_bank import ImageBank
from seem.finetuning.plan import full_step_interval
from seem.models.kind import ModelKind
from seem.models.segmenter import Segmenter
from seem.models.text.tokenizer import BytePairTokenizer
from seem.simulation.strokes import PUBLISHED_STROKES
from seem.training.batch_sampler import BatchSampler
from seem.training.config import TrainConfig
from seem.training.objectives import Objective
from seem.training.objectives.dense import DenseObjective
from seem.training.objectives.dense_config import DenseConfig
from seem.training.objectives.published import QueryObjective
from seem.training.objectives.published_config import Ablation, PublishedConfig
from seem.training.objectives.published_texts import TemplatedTokenizer
from seem.training.phrases import PhraseTokenizer
from seem.training.targets import PromptMix

PUBLISHED_FROZEN = ("backbone", "text", "pixel-decoder")
"""Parts of the network that SEEM froze."""

QUERY_MIX = PromptMix(
    text=0.0, text_and_visual=0.0, reference=0.0
)  # the published objective draws phrases itself
PUBLISHED_MIX = replace(QUERY_MIX, negative=0.0, strokes=PUBLISHED_STROKES, repeat_objects=False)

DENSE_CONFIG = DenseConfig(objects=0.0, object_names=0.0)
"""Object queries of dense models are not trained: their dense head finds objects better."""


ObjectiveMaker: TypeAlias = Callable[
    [Segmenter, BytePairTokenizer, "Ablation | None", Callable[[int], float]],
    Objective,
]
"""Makes an objective of: the network, its tokenizer, ablations, and what turns the number of objects in this process's
batch into the divisor of their mask losses."""


def make_dense_objective(
    _network: Segmenter,
    tokenizer: BytePairTokenizer,
    _ablation: Ablation | None,
    _count_objects: Callable[[int], float],
) -> Objective:
    """Return the objective of models with a text embedding map; it has no ablations."""
    return DenseObjective(PhraseTokenizer(tokenizer), DENSE_CONFIG)


def make_query_objective(
    network: Segmenter,
    tokenizer: BytePairTokenizer,
    ablation: Ablation | None,
    count_objects: Callable[[int], float],
) -> Objective:
    """Return the objective of SEEM and X-Decoder."""
    is_templated = network.config.text.templates == "all"
    config = PublishedConfig(ablation=ablation or Ablation())
    return QueryObjective(TemplatedTokenizer(tokenizer, is_templated), config, count_objects)


@dataclass(frozen=True, slots=True)
class FineTuningProfile:
    """How models of one kind are fine-tuned by default.

    Attributes:
        size: side of the training canvas in pixels.
        frozen_parts: parts of the network that are not trained.
        config: optimizer, learning rates and clipping.
        prompt_mix: probabilities of the kinds of prompts.
        num_targets: prompted targets of an image.
        augmentation: how training images are varied.
        asks_for_class_names: whether further images are asked for class names alone.
        file_dtype: type of floating-point weights in the saved file; None keeps that of training.
        has_calibrated_thresholds: whether the thresholds of presence and of regions are measured after training.
        make_objective: makes the training objective.
    """

    size: int
    frozen_parts: tuple[str, ...]
    config: TrainConfig
    prompt_mix: PromptMix
    num_targets: int
    augmentation: Augmentation
    asks_for_class_names: bool
    file_dtype: torch.dtype | None
    has_calibrated_thresholds: bool
    make_objective: ObjectiveMaker

    def default_size(self, network: Segmenter) -> int:
        """Return the side of the canvas in pixels, for networks that need a large one, too."""
        return max(self.size, network.config.image.divisor)

    def default_config(self, *, shard: bool) -> TrainConfig:
        """Return the settings that fine-tuning starts from; Muon needs weights that are not divided."""
        if not shard:
            return self.config
        return replace(self.config, optimizer="adamw")

    def batch_sampler(
        self,
        network: Segmenter,
        bank: ImageBank,
        size: int,
        batch: int,
        seed: int,
        naming_ratio: int,
    ) -> BatchSampler:
        """Return the sampler of training batches; polygons are drawn as the network reads them."""
        strokes = replace(self.prompt_mix.strokes, polygon_rule=network.config.polygon_rule)
        return BatchSampler(
            bank=bank,
            size=size,
            batch_size=batch,
            seed=seed,
            num_targets=self.num_targets,
            mix=replace(self.prompt_mix, strokes=strokes),
            naming_ratio=naming_ratio,
            full_step_interval=full_step_interval(naming_ratio),
            augmentation=self.augmentation,
        )


DENSE_PROFILE = FineTuningProfile(
    size=224,
    frozen_parts=(),
    config=TrainConfig(learning_rate=1e-3, clip=3.0, optimizer="muon"),
    prompt_mix=PromptMix(),
    num_targets=3,
    augmentation=Augmentation(),
    asks_for_class_names=True,
    file_dtype=torch.float16,  # as nano is shipped
    has_calibrated_thresholds=True,
    make_objective=make_dense_objective,
)
"""Models with a text embedding map: nano. Muon learns as much or more in the same time (docs/finetune.md)."""

QUERY_PROFILE = FineTuningProfile(
    size=512,  # SEEM was published with 1024; on a user's own images half of that learns more in the same time
    frozen_parts=PUBLISHED_FROZEN,
    config=TrainConfig(learning_rate=1e-4, clip=5.0, rates=(("backbone.", 0.1), ("text.", 0.1))),
    prompt_mix=QUERY_MIX,
    num_targets=10,
    augmentation=Augmentation(),
    asks_for_class_names=False,
    file_dtype=None,
    has_calibrated_thresholds=False,
    make_objective=make_query_objective,
)
"""SEEM and X-Decoder."""

PUBLISHED_PROFILE = replace(
    QUERY_PROFILE,
    size=1024,
    prompt_mix=PUBLISHED_MIX,
    augmentation=Augmentation.published(),
)
"""SEEM and X-Decoder, trained by their published recipe."""


def profile_for(network: Segmenter, *, by_published_recipe: bool = False) -> FineTuningProfile:
    """Return how models of a network's kind are fine-tuned; `ValueError` if there is no published recipe for it."""
    return profile_of_kind(network.kind, by_published_recipe=by_published_recipe)


def profile_of_kind(kind: ModelKind, *, by_published_recipe: bool = False) -> FineTuningProfile:
    """Return how models of a kind are fine-tuned; `ValueError` if there is no published recipe for it."""
    match kind.name:
        case "query":
            if by_published_recipe:
                return PUBLISHED_PROFILE
            return QUERY_PROFILE
        case "dense" if not by_published_recipe:
            return DENSE_PROFILE
        case "dense":
            raise ValueError(
                "The recipe 'seem' trains models of the SEEM family; for nano: seem train nano, or seem finetune."
            )
