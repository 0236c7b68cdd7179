"""1-IoU: the mean IoU after one prompt, for every kind of prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import Overlap, OverlapResult, OverlapScores
from seem.simulation.strokes import PromptKind


@dataclass(frozen=True, slots=True)
class PromptKindResult:
    """Scores by the kind of prompt, for the kinds that were used."""

    kinds: Mapping[str, OverlapResult]

    @property
    def one_iou(self) -> Mapping[str, float]:
        """The 1-IoU of every kind."""
        return {kind: result.mean_iou for kind, result in self.kinds.items()}


class PromptKindScores:
    """Collects first predictions by the kind of their prompt."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._scores = {kind: OverlapScores() for kind in PromptKind}

    def update(self, kind: PromptKind, overlap: Overlap) -> None:
        """Add the prediction from one prompt."""
        self._scores[kind].update(overlap)

    def merge(self, other: PromptKindScores) -> None:
        """Add what another process counted."""
        for kind, scores in self._scores.items():
            scores.merge(other._scores[kind])

    def compute(self) -> PromptKindResult:
        """Score all predictions so far; their order does not matter."""
        results = {}
        for kind, scores in self._scores.items():
            if len(scores):
                results[kind.value] = scores.compute()
        return PromptKindResult(results)

    def state(self) -> State:
        """Return what was counted."""
        return {kind.value: scores.state() for kind, scores in self._scores.items()}

    @classmethod
    def from_state(cls, state: State) -> PromptKindScores:
        """Restore the metric from its `state`."""
        metric = cls()
        metric._scores = {kind: OverlapScores.from_state(state[kind.value]) for kind in PromptKind}
        return metric
