"""Clicks, rule `ritm`: a simulated user corrects one object click by click.

The protocol of RITM (Sofiiuk et al., 2021): one object at a time, at the size of the stored photo; the next click is
`ritm_click` of this contestant's own answer; nobody stops early. Where nothing is left to click on, the answer stands
for all clicks to come. RITM cuts probabilities at 0.49; here the mask is that of `Results`.

On the photo pack objects are things of 0.5% of the photo or more, and every pixel counts. Elsewhere they are all
things, and pixels that nobody labelled (-1 in RITM's own maps) neither count nor are clicked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int8

from seem.data.dataset import MIN_AREA_FRACTION, Dataset, click_truth, promptable_objects
from seem.data.pack import Pack
from seem.data.records import ImageRecord, ObjectRecord, ValidationObject
from seem.evaluation.accumulator import Line, Tally
from seem.evaluation.benchmark import Look, Measure
from seem.evaluation.click_methods import Answer, Contestant, Shown
from seem.evaluation.metrics.clicks import ClickScores
from seem.evaluation.metrics.overlap import Overlap
from seem.simulation.next_click import Click, ritm_click

PROTOCOL = "clicks: ritm"
RULES = ("one object at a time", "original size", "no early stop", "mask: that of Results, probability > 0.5")


def clicks(dataset: Dataset, contestants: Sequence[Contestant], most: int = 20, protocol: str = PROTOCOL) -> Measure:
    """Let every contestant answer up to `most` clicks on each object."""
    return Measure(
        protocol,
        tuple(_line(protocol, each, most, least_area(dataset)) for each in contestants),
        lambda photo: clicked_objects(dataset, photo),
        _Clicking(tuple(contestants), most).play,
    )


def _line(protocol: str, contestant: Contestant, most: int, least: float) -> Line:
    played = min(most, contestant.most_clicks or most)
    return Line(protocol, contestant.name, lambda: ClickScores(played), (*RULES, area_rule(least)), contestant.is_model)


@dataclass(frozen=True, slots=True)
class _Clicking:
    contestants: tuple[Contestant, ...]
    most: int

    def play(self, look: Look, objects: Sequence[ObjectRecord], tallies: Sequence[Tally]) -> None:
        for item in objects:
            truth = object_truth(look.dataset, look.photo, item)
            shown = Shown(look.pixels, lambda: look.seen, item.category.text)
            for contestant, tally in zip(self.contestants, tallies, strict=True):
                game = Game(truth, _timed(contestant.begin(shown), look, tally), look.clicking)
                tally.metric.update(game.play(min(self.most, contestant.most_clicks or self.most)))
                tally.note(look.place, look.photo, item.id)
                tally.show(look.place, look.photo, item.id, game.iou, game.predicted, truth == 1, item.category.name)


class Game:
    """The user of one object, whose truth is 1 on it, -1 where nothing counts."""

    def __init__(
        self,
        truth: Bool[np.ndarray, "h w"] | Int8[np.ndarray, "h w"],
        answer: Answer,
        deciding: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.truth = truth
        self.answer = answer
        self.deciding = deciding
        self.said: list[Click] = []
        self.predicted = np.zeros(truth.shape, np.bool_)
        self._clicked = np.zeros(truth.shape, np.bool_)
        self._object = np.asarray(truth == 1)
        self._counts = None if truth.dtype == np.bool_ else np.asarray(truth != -1)

    @property
    def iou(self) -> float:
        """How well the last answer agrees, 0-1."""
        predicted = self.predicted if self._counts is None else self.predicted & self._counts
        return Overlap.of(predicted, self._object).iou

    def play(self, clicks: int) -> list[float]:
        """Click so often; return the IoU (0-1) after every click."""
        ious: list[float] = []
        while len(ious) < clicks:
            with self.deciding():
                click = ritm_click(self.truth, self.predicted, self._clicked)
            if click is None:
                return ious + [self.iou] * (clicks - len(ious))
            self.said.append(click)
            self._clicked[click.y, click.x] = True
            self.predicted = self.answer(self.said)
            ious.append(self.iou)
        return ious


def _timed(answer: Answer, look: Look, tally: Tally) -> Answer:
    def timed(clicks: Sequence[Click]) -> Bool[np.ndarray, "h w"]:
        with look.asking(tally, "click"):
            return answer(clicks)

    return timed


# --- Which objects ----------------------------------------------------------------------------------------------------


def least_area(dataset: Dataset) -> float:
    """Return the share of a photo from which an object is clicked: benchmarks elsewhere take all."""
    return MIN_AREA_FRACTION if isinstance(dataset, Pack) else 0.0


def area_rule(least: float) -> str:
    """Say so in words."""
    return f"things of {100 * least:g}% of the photo or more" if least else "all things; unlabelled pixels do not count"


def clicked_objects(dataset: Dataset, photo: ImageRecord) -> list[ObjectRecord]:
    """List the objects of a photo that are clicked."""
    return promptable_objects(dataset, photo, least_area(dataset))


def object_truth(
    dataset: Dataset, photo: ImageRecord, item: ObjectRecord
) -> Bool[np.ndarray, "h w"] | Int8[np.ndarray, "h w"]:
    """Draw what answers are compared with."""
    return item.mask() if isinstance(dataset, Pack) else click_truth(dataset, ValidationObject(photo, item))
