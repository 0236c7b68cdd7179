"""A phrase and a visual prompt together, always beside the same phrases without the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import IouRule, Overlap, OverlapScores


@dataclass(frozen=True, slots=True)
class RegionQuality:
    """cIoU, mIoU and AP50 of one way of asking, by the rules of the official referring evaluator.

    AP50 is what SEEM's table 1 calls so: the share of regions with an IoU of 0.5 or more.
    """

    cumulative_iou: float
    mean_iou: float
    ap50: float


@dataclass(frozen=True, slots=True)
class CompositionResult:
    """Scores of the same `count` objects, asked for in two or three ways."""

    count: int
    together: RegionQuality
    phrase_alone: RegionQuality
    prompt_alone: RegionQuality | None


class CompositionScores:
    """Collects answers to a phrase with a visual prompt, to the phrase alone and, where asked, to the prompt alone."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._together, self._phrase, self._prompt = (OverlapScores(IouRule.OFFICIAL) for _ in range(3))

    def update(self, together: Overlap, phrase_alone: Overlap, prompt_alone: Overlap | None = None) -> None:
        """Add one object. Give `prompt_alone` for every object or for none."""
        if len(self._together) and (prompt_alone is None) != (not len(self._prompt)):
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
        halves = [each for each in (self, other) if len(each._together)]
        if len({len(each._prompt) > 0 for each in halves}) > 1:
            raise ValueError("One of the two has prompts without their phrase, the other has none.")
        for mine, theirs in zip(self._runs, other._runs, strict=True):
            mine.merge(theirs)

    def compute(self) -> CompositionResult:
        """Score all objects so far; their order does not matter."""
        return CompositionResult(
            count=len(self._together),
            together=_quality(self._together),
            phrase_alone=_quality(self._phrase),
            prompt_alone=_quality(self._prompt) if len(self._prompt) else None,
        )

    def state(self) -> State:
        """Return what was counted."""
        return {"runs": [run.state() for run in self._runs]}

    @classmethod
    def from_state(cls, state: State) -> CompositionScores:
        """Go on from what was counted."""
        metric = cls()
        metric._together, metric._phrase, metric._prompt = map(OverlapScores.from_state, state["runs"])
        return metric

    @property
    def _runs(self) -> Sequence[OverlapScores]:
        return self._together, self._phrase, self._prompt


def _quality(scores: OverlapScores) -> RegionQuality:
    result = scores.compute()
    return RegionQuality(result.cumulative_iou, result.mean_iou, result.precision[0.5])
