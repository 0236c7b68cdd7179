"""Scores of a phrase and a visual prompt together, beside those of the same phrases without the prompt."""

from __future__ import annotations

from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import IouRule, Overlap, OverlapScores


@dataclass(frozen=True, slots=True)
class RegionQuality:
    """cIoU, mIoU and AP50 of one combination of prompts, by the rules of the official referring evaluator.

    AP50 is that of SEEM's table 1: the share of regions with an IoU of 0.5 or more.
    """

    cumulative_iou: float
    mean_iou: float
    ap50: float


@dataclass(frozen=True, slots=True)
class CompositionResult:
    """Scores of the same `count` objects from two or three combinations of prompts."""

    count: int
    together: RegionQuality
    phrase_alone: RegionQuality
    prompt_alone: RegionQuality | None


class CompositionScores:
    """Collects predictions from a phrase with a visual prompt, the phrase alone and, optionally, the prompt alone."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._together = OverlapScores(IouRule.OFFICIAL)
        self._phrase = OverlapScores(IouRule.OFFICIAL)
        self._prompt = OverlapScores(IouRule.OFFICIAL)

    def update(
        self, together: Overlap, phrase_alone: Overlap, prompt_alone: Overlap | None = None
    ) -> None:
        """Add one object. Give `prompt_alone` for every object or for none."""
        has_prompts = len(self._prompt) > 0
        if len(self._together) and has_prompts != (prompt_alone is not None):
            raise ValueError(
                f"{len(self._prompt)} of {len(self._together)} objects were prompted without their phrase; do so "
                "for all objects or for none."
            )
        self._together.update(together)
        self._phrase.update(phrase_alone)
        if prompt_alone is not None:
            self._prompt.update(prompt_alone)

    def merge(self, other: CompositionScores) -> None:
        """Add what another process counted."""
        are_filled = len(self._together) > 0 and len(other._together) > 0
        if are_filled and (len(self._prompt) > 0) != (len(other._prompt) > 0):
            raise ValueError("One of the two has prompts without their phrase, the other has none.")
        self._together.merge(other._together)
        self._phrase.merge(other._phrase)
        self._prompt.merge(other._prompt)

    def compute(self) -> CompositionResult:
        """Score all objects so far; their order does not matter."""
        prompt_alone = None
        if len(self._prompt):
            prompt_alone = _quality(self._prompt)
        return CompositionResult(
            count=len(self._together),
            together=_quality(self._together),
            phrase_alone=_quality(self._phrase),
            prompt_alone=prompt_alone,
        )

    def state(self) -> State:
        """Return what was counted."""
        return {"runs": [scores.state() for scores in (self._together, self._phrase, self._prompt)]}

    @classmethod
    def from_state(cls, state: State) -> CompositionScores:
        """Restore the metric from its `state`."""
        metric = cls()
        metric._together, metric._phrase, metric._prompt = map(
            OverlapScores.from_state, state["runs"]
        )
        return metric


def _quality(scores: OverlapScores) -> RegionQuality:
    result = scores.compute()
    return RegionQuality(result.cumulative_iou, result.mean_iou, result.precision[0.5])
