"""Scores of open-vocabulary segmentation: class names that the model was not trained with, and which were given."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from seem.evaluation.metrics.instances import MaskAp
from seem.evaluation.metrics.metric import Metric, State
from seem.evaluation.metrics.panoptic import PanopticQuality
from seem.evaluation.metrics.semantic import SemanticIou

PredictionT = TypeVar("PredictionT", contravariant=True)
TruthT = TypeVar("TruthT", contravariant=True)
ScoresT = TypeVar("ScoresT", covariant=True)

_METRIC_TYPES: Mapping[str, type[Any]] = MappingProxyType(
    {"semantic": SemanticIou, "panoptic": PanopticQuality, "instances": MaskAp}
)


class LabelMode(str, enum.Enum):
    """Which names the model is prompted with.

    `FULL`: all of the data set. `ORACLE`: only those in the truth of the image, which is much easier; such scores
    compare only with other oracle scores.
    """

    FULL = "full label set"
    ORACLE = "oracle"

    def __str__(self) -> str:
        return self.value

    def candidates(self, names: Sequence[str], present: Iterable[str]) -> tuple[str, ...]:
        """Return the names for an image with these classes in its truth, in the order of the list."""
        present_names = set(present)
        unknown = present_names - set(names)
        if unknown:
            raise ValueError(
                f"The truth holds {sorted(unknown)}, which the list of names does not."
            )
        if self is LabelMode.FULL:
            return tuple(names)
        return tuple(name for name in names if name in present_names)


@runtime_checkable
class ImageMetric(Metric[ScoresT], Protocol[PredictionT, TruthT, ScoresT]):
    """A metric that compares the prediction for an image with its truth."""

    def update(self, predicted: PredictionT, truth: TruthT) -> None:
        """Add one image."""
        ...


@dataclass(frozen=True, slots=True)
class OpenVocabularyResult(Generic[ScoresT]):
    """Scores, and which names were given."""

    mode: LabelMode
    scores: ScoresT


class OpenVocabulary(Generic[PredictionT, TruthT, ScoresT]):
    """Semantic, panoptic or instance scores, together with the mode that they depend on."""

    def __init__(self, mode: LabelMode, metric: ImageMetric[PredictionT, TruthT, ScoresT]) -> None:
        self.mode = mode
        self._metric = metric

    def reset(self) -> None:
        """Forget everything but the mode."""
        self._metric.reset()

    def update(self, predicted: PredictionT, truth: TruthT) -> None:
        """Add one image that was predicted with the names of this mode."""
        self._metric.update(predicted, truth)

    def merge(self, other: OpenVocabulary[PredictionT, TruthT, ScoresT]) -> None:
        """Add what another process counted."""
        if other.mode is not self.mode:
            raise ValueError(
                f"Scores in the modes {self.mode.value!r} and {other.mode.value!r} cannot be merged."
            )
        mine, theirs = type(self._metric).__name__, type(other._metric).__name__
        if mine != theirs:
            raise ValueError(f"{mine} and {theirs} cannot be merged.")
        self._metric.merge(other._metric)

    def compute(self) -> OpenVocabularyResult[ScoresT]:
        """Score all images so far."""
        return OpenVocabularyResult(self.mode, self._metric.compute())

    def state(self) -> State:
        """Return what was counted."""
        return {"mode": self.mode.value, "kind": self._kind(), "metric": self._metric.state()}

    def _kind(self) -> str:
        for name, metric_type in _METRIC_TYPES.items():
            if isinstance(self._metric, metric_type):
                return name
        raise AssertionError(type(self._metric))

    @classmethod
    def from_state(cls, state: State) -> OpenVocabulary[Any, Any, Any]:
        """Restore the metric from its `state`."""
        metric_type = _METRIC_TYPES[state["kind"]]
        return OpenVocabulary(LabelMode(state["mode"]), metric_type.from_state(state["metric"]))
