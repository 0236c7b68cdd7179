"""What is in an image without visual prompts: one protocol, and the implementation that a kind of model has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from jaxtyping import Float
from torch import Tensor

from seem.inference.dense_recognizer import DenseRecognizer
from seem.inference.prediction import ImageRegions, Prediction
from seem.inference.prompt_decoder import PromptDecoder
from seem.inference.query_recognizer import QueryRecognizer
from seem.models.segmenter import Segmenter
from seem.results import Labels
from seem.tasks.find import FIND_THRESHOLD
from seem.vocabulary import Classes, Vocabulary

PresenceScorer: TypeAlias = "Callable[[Float[Tensor, 'n d']], Float[Tensor, ' n']]"
"""Text vectors to scores, 0-1."""
LikenessScorer: TypeAlias = "Callable[[Float[Tensor, 'h w'], Float[Tensor, ' d']], float]"
"""Mask logits and the text vector of a reference to a score, 0-1."""


class Recognizer(Protocol):
    """Answers questions about one image that no visual prompt asks. Safe to use from several threads."""

    def panoptic(self, vocabulary: Vocabulary, threshold: float) -> Prediction:
        """Segment every thing and stuff region that scores `threshold` or more; masks do not overlap."""
        ...

    def instances(
        self, vocabulary: Vocabulary, threshold: float, top: int, nms_threshold: float | None
    ) -> Prediction:
        """Segment every countable thing, best first; of masks whose IoU is above `nms_threshold` the better one stays.

        `nms_threshold` None = the model's own.
        """
        ...

    def semantic(self, vocabulary: Vocabulary) -> Prediction:
        """Give every pixel a class; one mask for each class that is there."""
        ...

    def find(self, vocabulary: Vocabulary, threshold: float, against: Classes) -> Prediction:
        """Segment everything that one of the phrases fits, best first, each object once; `against` are rivals."""
        ...

    def regions(self, vocabulary: Vocabulary) -> tuple[ImageRegions, Float[Tensor, "q k1"]]:
        """Return the regions that need no prompt, and the logits of their classes, the background last."""
        ...

    def label(self, mask_logits: Float[Tensor, "n h4 w4"]) -> Labels:
        """Label masks (logits at stride 4, padded frame) with the model's own classes, or COCO's."""
        ...

    @property
    def likeness_scorer(self) -> LikenessScorer | None:
        """Scores how surely a mask shows what a reference shows; None for a model that cannot tell."""
        ...

    @property
    def presence_scorer(self) -> PresenceScorer | None:
        """Scores how surely the image shows what text vectors mean; None for a model that cannot tell."""
        ...


def find_threshold(network: Segmenter) -> float:
    """Return the score (0-1) that `find` asks of an object by default.

    Query: what a phrase needs to be likelier than all else together, or what `panoptic` asks of a class if that is
    less. Dense: the presence that a phrase needs.
    """
    match network.kind.name:
        case "query":
            return min(FIND_THRESHOLD, network.config.panoptic_threshold)
        case "dense":
            return network.config.text_threshold


def recognizer_for(decoder: PromptDecoder) -> Recognizer:
    """Return the recognizer of the model's kind for one encoded image."""
    match decoder.runtime.network.kind.name:
        case "query":
            return QueryRecognizer(decoder)
        case "dense":
            return DenseRecognizer(decoder)
