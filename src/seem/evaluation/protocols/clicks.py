"""Clicks, rule `ritm`: a simulated user corrects the mask of one object click by click.

The protocol of RITM (Sofiiuk et al., 2021): one object at a time, at the size of the stored image; the next click is
`ritm_click` of the method's own prediction; there is no early stop. Where no error is left to click on, the prediction
counts for all clicks to come. RITM cuts probabilities at 0.49; here the mask is that of `Results`.

On the photo pack objects are things of 0.5% of the image or more, and every pixel counts. Elsewhere they are all
things, and unlabelled pixels (-1 in RITM's own maps) are neither counted nor clicked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int8

from seem.data.dataset import Dataset
from seem.data.object_selection import MIN_AREA_FRACTION, click_truth, promptable_objects
from seem.data.pack import Pack
from seem.data.records import ImageRecord, ObjectRecord, ValidationObject
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext
from seem.evaluation.click_methods import ClickInput, ClickMethod, ClickPredictor
from seem.evaluation.metrics.clicks import ClickScores
from seem.evaluation.metrics.overlap import Overlap
from seem.simulation.next_click import Click, ritm_click

PROTOCOL = "clicks: ritm"
RULES = (
    "one object at a time",
    "original size",
    "no early stop",
    "mask: that of Results, probability > 0.5",
)

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]
TruthArray: TypeAlias = Bool[np.ndarray, "h w"] | Int8[np.ndarray, "h w"]
"""1 or true on the object, -1 for pixels that do not count."""


def click_benchmark(
    dataset: Dataset,
    methods: Sequence[ClickMethod],
    max_clicks: int = 20,
    protocol: str = PROTOCOL,
) -> Benchmark:
    """Score every method after each of up to `max_clicks` clicks on each object."""
    rules = (*RULES, area_rule(min_area(dataset)))
    return Benchmark(
        title=protocol,
        specs=tuple(_spec(protocol, method, max_clicks, rules) for method in methods),
        items=lambda image: clicked_objects(dataset, image),
        evaluate=_ClickEvaluation(tuple(methods), max_clicks).evaluate,
    )


def _spec(protocol: str, method: ClickMethod, max_clicks: int, rules: tuple[str, ...]) -> EntrySpec:
    clicks = min(max_clicks, method.max_clicks or max_clicks)
    return EntrySpec(protocol, method.name, lambda: ClickScores(clicks), rules, method.is_model)


@dataclass(frozen=True, slots=True)
class _ClickEvaluation:
    methods: tuple[ClickMethod, ...]
    max_clicks: int

    def evaluate(
        self,
        context: EvaluationContext,
        objects: Sequence[ObjectRecord],
        accumulators: Sequence[ScoreAccumulator],
    ) -> None:
        for record in objects:
            truth = object_truth(context.dataset, context.image, record)
            given = ClickInput(context.pixels, lambda: context.encoded, record.category.text)
            for method, accumulator in zip(self.methods, accumulators, strict=True):
                predict = _timed(method.start(given), context, accumulator)
                session = SimulatedSession(truth, predict, context.timing_user)
                clicks = min(self.max_clicks, method.max_clicks or self.max_clicks)
                accumulator.metric.update(session.run(clicks))
                context.record_item(accumulator, record.id)
                accumulator.add_case(
                    context.image_index,
                    context.image,
                    record.id,
                    session.iou,
                    session.predicted,
                    truth == 1,
                    record.category.name,
                )


class SimulatedSession:
    """Clicks of a simulated user on one object, and the predictions after each.

    Attributes:
        truth: 1 on the object, -1 where nothing counts.
        predict: predicts a mask from all clicks so far.
        timing_user: a context that is entered while the user chooses a click.
        clicks: the clicks so far.
        predicted: the last prediction.
    """

    def __init__(
        self,
        truth: TruthArray,
        predict: ClickPredictor,
        timing_user: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.truth = truth
        self.predict = predict
        self.timing_user = timing_user
        self.clicks: list[Click] = []
        self.predicted = np.zeros(truth.shape, np.bool_)
        self._clicked = np.zeros(truth.shape, np.bool_)
        self._object = np.asarray(truth == 1)
        self._is_counted: MaskArray | None = None
        if truth.dtype != np.bool_:
            self._is_counted = np.asarray(truth != -1)

    @property
    def iou(self) -> float:
        """The IoU of the last prediction, 0-1."""
        predicted = self.predicted
        if self._is_counted is not None:
            predicted = predicted & self._is_counted
        return Overlap.of(predicted, self._object).iou

    def run(self, clicks: int) -> list[float]:
        """Simulate up to `clicks` clicks; return the IoU (0-1) after each, the last one repeated for missing clicks."""
        ious: list[float] = []
        while len(ious) < clicks:
            with self.timing_user():
                click = ritm_click(self.truth, self.predicted, self._clicked)
            if click is None:
                missing = clicks - len(ious)
                return ious + [self.iou] * missing
            self.clicks.append(click)
            self._clicked[click.y, click.x] = True
            self.predicted = self.predict(self.clicks)
            ious.append(self.iou)
        return ious


def _timed(
    predict: ClickPredictor, context: EvaluationContext, accumulator: ScoreAccumulator
) -> ClickPredictor:
    def timed(clicks: Sequence[Click]) -> MaskArray:
        with context.timing(accumulator, "click"):
            return predict(clicks)

    return timed


# --- Objects ----------------------------------------------------------------------------------------------------------


def min_area(dataset: Dataset) -> float:
    """Return the least area of a clicked object as a share of the image: benchmarks other than the pack take all."""
    if isinstance(dataset, Pack):
        return MIN_AREA_FRACTION
    return 0.0


def area_rule(least: float) -> str:
    """Return the rule about the area of objects in words."""
    if least:
        return f"things of {100 * least:g}% of the photo or more"
    return "all things; unlabelled pixels do not count"


def clicked_objects(dataset: Dataset, image: ImageRecord) -> list[ObjectRecord]:
    """List the objects of an image that are clicked."""
    return promptable_objects(dataset, image, min_area(dataset))


def object_truth(dataset: Dataset, image: ImageRecord, record: ObjectRecord) -> TruthArray:
    """Return the true mask of an object; outside of the photo pack with -1 for unlabelled pixels."""
    if isinstance(dataset, Pack):
        return record.mask()
    return click_truth(dataset, ValidationObject(image, record))
