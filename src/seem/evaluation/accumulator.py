"""What is counted while a protocol is played: the lines of the report to be, photo by photo.

A `Tally` of some photos and a `Tally` of others make one; its `state` survives JSON, so that work can be shared between
processes and taken up again.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from seem.data import coco_rle
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.evaluation.metrics.metric import Metric, State
from seem.evaluation.report import Case, Entry, Timing
from seem.evaluation.selection import Selection

WORST = 12
"""Cases that a line keeps for people to look at."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report before anything is counted: whose scores, under which protocol, in which metric."""

    protocol: str
    contestant: str
    metric: Callable[[], Metric[Any]]
    rules: tuple[str, ...] = ()
    by_model: bool = True


@dataclass(frozen=True, slots=True)
class Spot:
    """One scored item: of the photo at this place of the data set; `what` singles it out there."""

    place: int
    image_id: int
    what: str


class Tally:
    """What one line has counted.

    `metric` is fed by the protocol; `seconds` are those of every step by its name, `counts` cases worth knowing.
    """

    def __init__(self, line: Line) -> None:
        self.line = line
        self.metric: Any = line.metric()
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self._spots: list[Spot] = []
        self._worst: list[tuple[float, Spot, Case]] = []

    def __len__(self) -> int:
        return len(self._spots)

    def note(self, place: int, photo: ImageRecord, what: object) -> None:
        """Say which item the metric was just fed with."""
        self._spots.append(Spot(place, photo.id, str(what)))

    def show(
        self,
        place: int,
        photo: ImageRecord,
        what: object,
        iou: float,
        predicted: Bool[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h w"],
        title: str = "",
    ) -> None:
        """Keep a case if it is among the worst so far."""
        spot = Spot(place, photo.id, str(what))
        if len(self._worst) == WORST and (iou, astuple(spot)) >= _order(self._worst[-1]):
            return
        masks = (coco_rle.mask_to_rle(np.asarray(mask, np.bool_)).counts for mask in (truth, predicted))
        case = Case(photo.id, photo.path.name, str(what), title, round(100 * iou, 3), photo.hw, *masks)
        self._keep([(iou, spot, case)])

    def merge(self, other: Tally) -> None:
        """Add what was counted on other photos."""
        self.metric.merge(other.metric)
        for step, taken in other.seconds.items():
            self.seconds[step] += taken
        self.counts.update(other.counts)
        self._spots += other._spots
        self._keep(other._worst)

    def state(self) -> State:
        """Return everything that was counted."""
        return {
            "metric": self.metric.state(),
            "seconds": {step: [*taken] for step, taken in self.seconds.items()},
            "counts": dict(self.counts),
            "spots": [list(astuple(spot)) for spot in self._spots],
            "worst": [[iou, list(astuple(spot)), list(astuple(case))] for iou, spot, case in self._worst],
        }

    @classmethod
    def from_state(cls, line: Line, state: State) -> Tally:
        """Go on from what was counted."""
        tally = cls(line)
        tally.metric = type(tally.metric).from_state(state["metric"])
        tally.seconds.update({step: list(taken) for step, taken in state["seconds"].items()})
        tally.counts.update(state["counts"])
        tally._spots = [Spot(*spot) for spot in state["spots"]]
        tally._worst = [(iou, Spot(*spot), _case(case)) for iou, spot, case in state["worst"]]
        return tally

    def selection(self, dataset: Dataset) -> Selection:
        """Say what was scored, in the order of the data set."""
        spots = sorted(self._spots, key=lambda spot: spot.place)  # stable: a photo's items keep their order
        return Selection.of(dataset.name, dataset.split, ((spot.image_id, spot.what) for spot in spots))

    def entry(self, dataset: Dataset) -> Entry:
        """Compute the line of the report."""
        return Entry(
            protocol=self.line.protocol,
            contestant=self.line.contestant,
            selection=self.selection(dataset),
            scores=self.metric.compute(),
            timings={step: Timing.of(taken) for step, taken in sorted(self.seconds.items())},
            rules=self.line.rules,
            counts=dict(sorted(self.counts.items())),
            worst=tuple(case for _, _, case in self._worst),
        )

    def _keep(self, cases: Iterable[tuple[float, Spot, Case]]) -> None:
        self._worst = heapq.nsmallest(WORST, [*self._worst, *cases], key=_order)


def _order(case: tuple[float, Spot, Case]) -> tuple[float, tuple[Any, ...]]:
    iou, spot, _ = case
    return iou, astuple(spot)


def _case(values: list[Any]) -> Case:
    photo, file, what, title, iou, hw, truth, predicted = values
    return Case(photo, file, what, title, iou, (hw[0], hw[1]), truth, predicted)


def blank(lines: Iterable[Line]) -> list[Tally]:
    """Begin to count."""
    return [Tally(line) for line in lines]


def states_of(tallies: Iterable[Tally]) -> list[State | None]:
    """Keep what was counted; nothing for a line that has not been fed."""
    return [tally.state() if len(tally) else None for tally in tallies]


def add_states(tallies: Iterable[Tally], states: Iterable[Mapping[str, Any] | None]) -> None:
    """Merge kept states, in the same order of lines."""
    for tally, state in zip(tallies, states, strict=True):
        if state is not None:
            tally.merge(Tally.from_state(tally.line, state))
