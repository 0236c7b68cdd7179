"""Segmentation with the names of a data set that the model was not taught, and which of them it was given."""

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

Told = TypeVar("Told", contravariant=True)
Truth = TypeVar("Truth", contravariant=True)
Scores = TypeVar("Scores", covariant=True)

_KINDS: Mapping[str, type[Any]] = MappingProxyType(
    {"semantic": SemanticIou, "panoptic": PanopticQuality, "instances": MaskAp}
)


class LabelMode(str, enum.Enum):
    """Which names a photo is asked for.

    `FULL`: the data set's whole list. `ORACLE`: only those that are in the photo's own truth, which gives half of the
    answer away; such scores are higher and stand beside other oracle scores only.
    """

    FULL = "full label set"
    ORACLE = "oracle"

    def __str__(self) -> str:
        return self.value

    def candidates(self, names: Sequence[str], present: Iterable[str]) -> tuple[str, ...]:
        """Return the names that a photo with these classes in its truth is asked for, in the list's order."""
        there = set(present)
        if unknown := there - set(names):
            raise ValueError(f"The truth holds {sorted(unknown)}, which the list of names does not.")
        return tuple(name for name in names if self is LabelMode.FULL or name in there)


@runtime_checkable
class Comparison(Metric[Scores], Protocol[Told, Truth, Scores]):
    """A metric that compares what was told about a photo with its truth."""

    def update(self, predicted: Told, truth: Truth) -> None:
        """Add one photo."""
        ...


@dataclass(frozen=True, slots=True)
class OpenVocabularyResult(Generic[Scores]):
    """Scores, and the mode in which they were taken."""

    mode: LabelMode
    scores: Scores


class OpenVocabulary(Generic[Told, Truth, Scores]):
    """Semantic, panoptic or instance scores that cannot be read without their mode."""

    def __init__(self, mode: LabelMode, metric: Comparison[Told, Truth, Scores]) -> None:
        self.mode = mode
        self._metric = metric

    def reset(self) -> None:
        """Forget everything but the mode."""
        self._metric.reset()

    def update(self, predicted: Told, truth: Truth) -> None:
        """Add one photo that was asked for the names of this mode."""
        self._metric.update(predicted, truth)

    def merge(self, other: OpenVocabulary[Told, Truth, Scores]) -> None:
        """Add what another process counted."""
        if other.mode is not self.mode:
            raise ValueError(f"Scores in the modes {self.mode.value!r} and {other.mode.value!r} cannot be merged.")
        kinds = [type(each._metric).__name__ for each in (self, other)]
        if kinds[0] != kinds[1]:
            raise ValueError(f"{kinds[0]} and {kinds[1]} cannot be merged.")
        self._metric.merge(other._metric)

    def compute(self) -> OpenVocabularyResult[Scores]:
        """Score all photos so far."""
        return OpenVocabularyResult(self.mode, self._metric.compute())

    def state(self) -> State:
        """Return what was counted."""
        kind = next(name for name, known in _KINDS.items() if isinstance(self._metric, known))
        return {"mode": self.mode.value, "kind": kind, "metric": self._metric.state()}

    @classmethod
    def from_state(cls, state: State) -> OpenVocabulary[Any, Any, Any]:
        """Go on from what was counted."""
        return OpenVocabulary(LabelMode(state["mode"]), _KINDS[state["kind"]].from_state(state["metric"]))
