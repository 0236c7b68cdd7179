"""The settings of the published objective."""

from __future__ import annotations

from dataclasses import dataclass, field

from seem.training.captions import CaptionWeights
from seem.training.criterion import CriterionOptions, CriterionWeights


@dataclass(frozen=True, slots=True)
class Ablation:
    """The parts of the objective that the papers switch off to measure what they bring; all are on by default."""

    rounds: int = 5
    """Largest number of rounds without gradient before the one with; 0 to all of them, each as often."""
    memory: bool = True
    """Rounds get the mask of the round before."""
    positive: bool = True
    """Rounds add positive clicks."""
    negative: bool = True
    """Negative marks, and negative clicks of rounds."""
    objects: bool = True
    phrases: bool = True
    visual: bool = True
    captions: bool = True
    """Captions, their nouns and retrieval, for models that have them (X-Decoder) and images that have a caption.

    Nouns go to the queries that objects leave over, so without `objects` they are not trained.
    """


@dataclass(frozen=True, slots=True)
class PublishedConfig:
    """What a step counts; the defaults are those of the released SEEM v1 models."""

    ablation: Ablation = field(default_factory=Ablation)
    max_phrases: int = 4
    phrase_weight: float = 2.0
    name_weight: float = 0.5
    """Of class names that are used as phrases."""
    criterion: CriterionOptions = field(default_factory=CriterionOptions)
    weights: CriterionWeights = field(default_factory=CriterionWeights)
    caption_weights: CaptionWeights = field(default_factory=CaptionWeights)
