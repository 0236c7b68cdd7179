"""Plays photos: reads them one ahead, asks all that is to be asked, and keeps what was counted in the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from seem.evaluation.accumulator import Tally, blank, states_of
from seem.evaluation.benchmark import Clock, Look, play_photo
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.journal import Chunk, Journal, Spot
from seem.evaluation.plan import Step

PATIENCE = 3.0  # seconds of work that may be lost, or this share of the time so far
SHARE = 0.01


@dataclass(slots=True)
class _Ready:
    """A photo that has been read, with what is asked about it."""

    spot: Spot
    items: dict[int, Sequence[Any]]
    pixels: UInt8[np.ndarray, "h w 3"] | None


def play_spots(
    model: ModelUnderTest,
    steps: Sequence[Step],
    spots: Sequence[Spot],
    journal: Journal,
    step: Callable[[int], object],
    session: str | None = None,
) -> None:
    """Play photos and keep what was counted every few seconds; the next photo is read while the model works."""
    counting = _Counting(steps, journal, session)
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for number, spot in enumerate(spots):
            ready = (ahead or reader.submit(_read, steps, spot)).result()
            following = spots[number + 1 : number + 2]
            ahead = reader.submit(_read, steps, following[0]) if following else None
            counting.play(model, ready)
            step(1)
    counting.keep()


def _read(steps: Sequence[Step], spot: Spot) -> _Ready:
    step, place = steps[spot[0]], spot[1]
    photo = step.dataset.images[place]
    asked = {k: step.measures[k].items(photo) for k in step.measures_at(place)}
    items = {k: some for k, some in asked.items() if len(some)}
    return _Ready(spot, items, step.dataset.pixels(photo) if items else None)


@dataclass
class _Counting:
    """The tallies of the photos that are not kept yet."""

    steps: Sequence[Step]
    journal: Journal
    session: str | None
    clock: Clock = field(default_factory=Clock)
    done: list[Spot] = field(default_factory=list)
    began: float = field(default_factory=lambda: time.perf_counter())  # whichever clock it is by then
    since: float = field(default_factory=lambda: time.perf_counter())
    tallies: list[list[list[Tally]]] = field(init=False)

    def __post_init__(self) -> None:
        self.tallies = tallies_of(self.steps)

    def play(self, model: ModelUnderTest, ready: _Ready) -> None:
        number, place = ready.spot
        step, tallies = self.steps[number], self.tallies[number]
        if ready.pixels is not None:
            pixels = ready.pixels
            look = Look(model, step.dataset, step.dataset.images[place], place, self.clock, lambda: pixels)
            play_photo(look, [(step.measures[k], items, tallies[k]) for k, items in ready.items.items()])
        self.done.append(ready.spot)
        now = time.perf_counter()
        if now - self.since > max(PATIENCE, SHARE * (now - self.began)):
            self.keep()

    def keep(self) -> None:
        if not self.done:
            return
        now = time.perf_counter()
        seconds = {**asdict(self.clock), "all": now - self.since}
        self.journal.write(Chunk(tuple(self.done), states_of(flat(self.tallies)), seconds), self.session)
        self.tallies, self.clock, self.done, self.since = tallies_of(self.steps), Clock(), [], now


def tallies_of(steps: Sequence[Step]) -> list[list[list[Tally]]]:
    """Begin to count: for every data set and measure its lines."""
    return [[blank(measure.lines) for measure in step.measures] for step in steps]


def flat(tallies: Sequence[Sequence[Sequence[Tally]]]) -> list[Tally]:
    """List all lines of a run."""
    return [line for step in tallies for measure in step for line in measure]
