"""Accumulators of scores: what has been counted for each future entry of the report.

Accumulators of different images merge into one. Their `state` survives JSON, so that work can be shared between
processes and resumed.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import starmap
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Bool

from seem.data import coco_rle
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.evaluation.metrics.metric import Metric, State
from seem.evaluation.report import Entry, Timing, WorstCase
from seem.evaluation.selection import Selection

NUM_WORST_CASES = 12
"""Cases with the lowest scores that an entry keeps for people to look at."""

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """Specification of one entry of the report: whose scores, under which protocol, in which metric.

    Attributes:
        protocol: name of the protocol.
        contestant: name of the method that is scored: the model or a baseline.
        metric: makes an empty metric.
        rules: what the name of the protocol leaves open, in words.
        by_model: whether the time is the model's or a baseline's.
    """

    protocol: str
    contestant: str
    metric: Callable[[], Metric[Any]]
    rules: tuple[str, ...] = ()
    by_model: bool = True


@dataclass(frozen=True, slots=True)
class ScoredItem:
    """One scored item: the index of its image in the data set, and a label that identifies it in the image."""

    image_index: int
    image_id: int
    label: str


@dataclass(frozen=True, slots=True)
class _RankedCase:
    iou: float
    item: ScoredItem
    case: WorstCase

    @property
    def sort_key(self) -> tuple[float, tuple[Any, ...]]:
        return self.iou, astuple(self.item)

    def state(self) -> list[Any]:
        return [self.iou, list(astuple(self.item)), list(astuple(self.case))]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> _RankedCase:
        iou, item, case = state
        return cls(iou, ScoredItem(*item), _worst_case(case))


class ScoreAccumulator:
    """What was counted for one entry of the report.

    Attributes:
        metric: updated by the protocol.
        seconds: durations of every step, by its name.
        counts: how often noteworthy cases occurred, by their name.
    """

    def __init__(self, spec: EntrySpec) -> None:
        self.spec = spec
        self.metric: Any = spec.metric()
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self._items: list[ScoredItem] = []
        self._worst: list[_RankedCase] = []

    def __len__(self) -> int:
        return len(self._items)

    def add_item(self, image_index: int, image: ImageRecord, label: object) -> None:
        """Record the item that the metric was updated with."""
        self._items.append(ScoredItem(image_index, image.id, str(label)))

    def add_case(
        self,
        image_index: int,
        image: ImageRecord,
        label: object,
        iou: float,
        predicted: MaskArray,
        truth: MaskArray,
        title: str = "",
    ) -> None:
        """Keep a case if it is among the worst so far."""
        item = ScoredItem(image_index, image.id, str(label))
        is_full = len(self._worst) == NUM_WORST_CASES
        if is_full and (iou, astuple(item)) >= self._worst[-1].sort_key:
            return
        case = WorstCase(
            photo=image.id,
            file=image.path.name,
            what=str(label),
            title=title,
            iou=round(100 * iou, 3),
            hw=image.hw,
            truth=_run_lengths(truth),
            predicted=_run_lengths(predicted),
        )
        self._keep_worst([_RankedCase(iou, item, case)])

    def merge(self, other: ScoreAccumulator) -> None:
        """Add what was counted on other images."""
        self.metric.merge(other.metric)
        for step, durations in other.seconds.items():
            self.seconds[step] += durations
        self.counts.update(other.counts)
        self._items += other._items
        self._keep_worst(other._worst)

    def state(self) -> State:
        """Return everything that was counted."""
        return {
            "metric": self.metric.state(),
            "seconds": {step: list(durations) for step, durations in self.seconds.items()},
            "counts": dict(self.counts),
            "spots": [list(astuple(item)) for item in self._items],
            "worst": [ranked.state() for ranked in self._worst],
        }

    @classmethod
    def from_state(cls, spec: EntrySpec, state: State) -> ScoreAccumulator:
        """Restore an accumulator from its `state`."""
        accumulator = cls(spec)
        accumulator.metric = type(accumulator.metric).from_state(state["metric"])
        for step, durations in state["seconds"].items():
            accumulator.seconds[step] = list(durations)
        accumulator.counts.update(state["counts"])
        accumulator._items = list(starmap(ScoredItem, state["spots"]))
        accumulator._worst = list(map(_RankedCase.from_state, state["worst"]))
        return accumulator

    def selection(self, dataset: Dataset) -> Selection:
        """Return what was scored, in the order of the data set."""
        # stable: items of an image keep their order
        items = sorted(self._items, key=attrgetter("image_index"))
        labels = map(attrgetter("image_id", "label"), items)
        return Selection.of(dataset.name, dataset.split, labels)

    def entry(self, dataset: Dataset) -> Entry:
        """Compute the entry of the report."""
        timings = {}
        for step, durations in sorted(self.seconds.items()):
            timings[step] = Timing.of(durations)
        return Entry(
            protocol=self.spec.protocol,
            contestant=self.spec.contestant,
            selection=self.selection(dataset),
            scores=self.metric.compute(),
            timings=timings,
            rules=self.spec.rules,
            counts=dict(sorted(self.counts.items())),
            worst=tuple(each.case for each in self._worst),
        )

    def _keep_worst(self, cases: Iterable[_RankedCase]) -> None:
        candidates = [*self._worst, *cases]
        self._worst = heapq.nsmallest(NUM_WORST_CASES, candidates, key=attrgetter("sort_key"))


def _run_lengths(mask: MaskArray) -> str:
    return coco_rle.mask_to_rle(np.asarray(mask, np.bool_)).counts


def _worst_case(values: list[Any]) -> WorstCase:
    image, file, label, title, iou, hw, truth, predicted = values
    height, width = hw
    return WorstCase(image, file, label, title, iou, (height, width), truth, predicted)


def new_accumulators(specs: Iterable[EntrySpec]) -> list[ScoreAccumulator]:
    """Return an empty accumulator for every entry."""
    return list(map(ScoreAccumulator, specs))


def accumulator_states(accumulators: Iterable[ScoreAccumulator]) -> list[State | None]:
    """Return the state of every accumulator; None for one that counted nothing."""
    return list(map(_state_or_none, accumulators))


def _state_or_none(accumulator: ScoreAccumulator) -> State | None:
    if not len(accumulator):
        return None
    return accumulator.state()


def merge_states(
    accumulators: Iterable[ScoreAccumulator], states: Iterable[Mapping[str, Any] | None]
) -> None:
    """Merge states into accumulators of the same specifications, in the same order."""
    for accumulator, state in zip(accumulators, states, strict=True):
        if state is not None:
            accumulator.merge(ScoreAccumulator.from_state(accumulator.spec, state))
