"""A protocol on a data set, ready to be played photo by photo; and a photo as protocols see it.

Whoever asks about a photo shares its one `Look`: pixels are read and encoded at most once, and the time that the model
takes is kept apart from the time of everybody else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from seem.api import EncodedImage, Model
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.errors import SeemError
from seem.evaluation.accumulator import Line, Tally, blank
from seem.evaluation.interfaces import ModelUnderTest, Seen
from seem.evaluation.report import Entry


@dataclass(slots=True)
class Clock:
    """Where the time went, in seconds: the model's own, that of the baselines, and that of the user who is played."""

    model: float = 0.0
    baselines: float = 0.0
    user: float = 0.0


@dataclass(slots=True, eq=False)
class Look:
    """A photo under evaluation; `place` is its position in the data set."""

    model: ModelUnderTest
    dataset: Dataset
    photo: ImageRecord
    place: int
    clock: Clock = field(default_factory=Clock)
    read: Callable[[], UInt8[np.ndarray, "h w 3"]] | None = None
    encode_seconds: float | None = None
    _pixels: UInt8[np.ndarray, "h w 3"] | None = None
    _seen: Seen | None = None

    @property
    def pixels(self) -> UInt8[np.ndarray, "h w 3"]:
        """The photo as stored."""
        if self._pixels is None:
            self._pixels = self.dataset.pixels(self.photo) if self.read is None else self.read()
        return self._pixels

    @property
    def seen(self) -> Seen:
        """What the model sees in it."""
        if self._seen is None:
            pixels = self.pixels
            started = time.perf_counter()
            self._seen = self.model.encode(pixels)
            self._settle()
            self.encode_seconds = time.perf_counter() - started
            self.clock.model += self.encode_seconds
            check_finite(self._seen)
        return self._seen

    def encode_other(self, photo: ImageRecord, tally: Tally) -> Seen:
        """Look at another photo as well."""
        return self.encode(self.dataset.pixels(photo), tally, "encode the reference")

    def encode(self, pixels: UInt8[np.ndarray, "h w 3"], tally: Tally, step: str) -> Seen:
        """Look at pixels that are not the photo's own."""
        with self.asking(tally, step):
            return self.model.encode(pixels)

    @contextmanager
    def asking(self, tally: Tally, step: str) -> Iterator[None]:
        """Time a question."""
        started, before = time.perf_counter(), self.clock.model
        yield
        if tally.line.by_model:
            self._settle()
        taken = time.perf_counter() - started - (self.clock.model - before)  # the encode has its own line
        tally.seconds[step].append(taken)
        if tally.line.by_model:
            self.clock.model += taken
        else:
            self.clock.baselines += taken

    @contextmanager
    def clicking(self) -> Iterator[None]:
        """Time the user, who decides where to click."""
        started = time.perf_counter()
        yield
        self.clock.user += time.perf_counter() - started

    def _settle(self) -> None:
        """Wait until the accelerator has done what it was told."""
        if isinstance(self.model, Model) and self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)


def check_finite(seen: Seen) -> None:
    """Raise `ValueError` for a photo in which a model sees no numbers: its answers would be empty and look honest."""
    if isinstance(seen, EncodedImage) and not bool(torch.isfinite(seen.memory.pixels.mask_features).all()):
        raise ValueError(f"{seen.model.name} sees no numbers in it (NaN or infinite); its weights are broken")


@dataclass(frozen=True, slots=True)
class Measure:
    """One protocol, or several that share their questions, on one data set.

    Attributes:
        title: what it is called while it runs.
        lines: the lines of the report that it gives.
        items: what is asked about a photo; nothing for a photo that is left out. A video hangs on its first frame.
        play: asks, and feeds the tallies, one for each line and in their order.
    """

    title: str
    lines: tuple[Line, ...]
    items: Callable[[ImageRecord], Sequence[Any]]
    play: Callable[[Look, Sequence[Any], Sequence[Tally]], None]


def play_photo(look: Look, measures: Iterable[tuple[Measure, Sequence[Any], Sequence[Tally]]]) -> None:
    """Play all measures about one photo. What goes wrong says about which photo."""
    for measure, items, tallies in measures:
        try:
            measure.play(look, items, tallies)
        except (ArithmeticError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise SeemError(f"{measure.title}, {look.photo.path.name} of {look.dataset.name}: {reason}") from error
        if look.encode_seconds is not None:
            for tally in tallies:
                if tally.line.by_model:
                    tally.seconds["encode"].append(look.encode_seconds)


def play_all(
    model: ModelUnderTest,
    dataset: Dataset,
    measure: Measure,
    step: Callable[[], object] = lambda: None,
    items: Mapping[int, Sequence[Any]] | None = None,
) -> list[Entry]:
    """Play one measure from end to end; `step` is called once for every item of a photo.

    `items`, by photo id, take the place of the measure's own.
    """
    tallies = blank(measure.lines)
    for place, photo in enumerate(dataset.images):
        asked = measure.items(photo) if items is None else items.get(photo.id, ())
        if len(asked):
            play_photo(Look(model, dataset, photo, place), [(measure, asked, tallies)])
            for _ in asked:
                step()
    return [tally.entry(dataset) for tally in tallies if len(tally)]
