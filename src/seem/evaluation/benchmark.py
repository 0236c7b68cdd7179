"""A benchmark, which is a protocol on a data set, and an image as protocols see it.

All protocols share one `EvaluationContext` of an image: it is read and encoded at most once, and the time of the model
is kept apart from that of baselines and of the simulated user.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8

from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.encoded_image import EncodedImage
from seem.errors import SeemError
from seem.evaluation.accumulator import EntrySpec, ScoreAccumulator
from seem.evaluation.interfaces import ImageUnderTest, ModelUnderTest
from seem.model import Model

PixelArray: TypeAlias = UInt8[np.ndarray, "h w 3"]


@dataclass(slots=True)
class Clock:
    """Seconds spent in the model, in baselines and in the simulated user."""

    model: float = 0.0
    baselines: float = 0.0
    user: float = 0.0


@dataclass(slots=True, eq=False)
class EvaluationContext:
    """An image under evaluation.

    Attributes:
        model: the system under test.
        dataset: the data set of the image.
        image: its record there.
        image_index: its index there.
        clock: where the time goes.
        read: returns the pixels; None = read them from the data set.
        encode_seconds: how long the model took to encode the image; None before that.
    """

    model: ModelUnderTest
    dataset: Dataset
    image: ImageRecord
    image_index: int
    clock: Clock = field(default_factory=Clock)
    read: Callable[[], PixelArray] | None = None
    encode_seconds: float | None = None
    _pixels: PixelArray | None = None
    _encoded: ImageUnderTest | None = None

    @property
    def pixels(self) -> PixelArray:
        """The image as stored."""
        if self._pixels is None:
            self._pixels = self._read_pixels()
        return self._pixels

    def _read_pixels(self) -> PixelArray:
        if self.read is None:
            return self.dataset.pixels(self.image)
        return self.read()

    @property
    def encoded(self) -> ImageUnderTest:
        """The image as the model has encoded it."""
        if self._encoded is None:
            pixels = self.pixels
            started = time.perf_counter()
            self._encoded = self.model.encode(pixels)
            self._synchronize()
            self.encode_seconds = time.perf_counter() - started
            self.clock.model += self.encode_seconds
            check_finite_features(self._encoded)
        return self._encoded

    def encode_reference(self, image: ImageRecord, accumulator: ScoreAccumulator) -> ImageUnderTest:
        """Encode another image of the data set."""
        return self.encode_pixels(self.dataset.pixels(image), accumulator, "encode the reference")

    def encode_pixels(
        self, pixels: PixelArray, accumulator: ScoreAccumulator, step: str
    ) -> ImageUnderTest:
        """Encode pixels that are not those of the image; the time counts for `step`."""
        with self.timing(accumulator, step):
            return self.model.encode(pixels)

    @contextmanager
    def timing(self, accumulator: ScoreAccumulator, step: str) -> Iterator[None]:
        """Add the time of a prediction to a step of an accumulator."""
        started, model_before = time.perf_counter(), self.clock.model
        yield
        by_model = accumulator.spec.by_model
        if by_model:
            self._synchronize()
        encoding = self.clock.model - model_before  # has a step of its own
        duration = time.perf_counter() - started - encoding
        accumulator.seconds[step].append(duration)
        if by_model:
            self.clock.model += duration
        else:
            self.clock.baselines += duration

    @contextmanager
    def timing_user(self) -> Iterator[None]:
        """Add the time that the simulated user needs to choose a click."""
        started = time.perf_counter()
        yield
        self.clock.user += time.perf_counter() - started

    def record_item(self, accumulator: ScoreAccumulator, label: object) -> None:
        """Record an item of this image, with which the metric was updated."""
        accumulator.add_item(self.image_index, self.image, label)

    def _synchronize(self) -> None:
        """Wait until the accelerator has finished."""
        if isinstance(self.model, Model) and self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)


def check_finite_features(encoded: ImageUnderTest) -> None:
    """Raise `ValueError` for features that are NaN or infinite: predictions would be empty and look like any other."""
    if not isinstance(encoded, EncodedImage):
        return
    if not bool(torch.isfinite(encoded.encoding.pixels.mask_features.cells).all()):
        raise ValueError(
            f"{encoded.model.name} encodes it as NaN or infinite numbers; its weights are broken"
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One protocol, or several that share their predictions, on one data set.

    Attributes:
        title: its name in error messages.
        specs: the entries of the report that it gives.
        items: what is scored in an image; empty for an image that is left out. A video belongs to its first frame.
        evaluate: evaluates the items of an image and updates the accumulators, one for each entry, in their order.
    """

    title: str
    specs: tuple[EntrySpec, ...]
    items: Callable[[ImageRecord], Sequence[Any]]
    evaluate: Callable[[EvaluationContext, Sequence[Any], Sequence[ScoreAccumulator]], None]


ImageWork: TypeAlias = "tuple[Benchmark, Sequence[Any], Sequence[ScoreAccumulator]]"
"""A benchmark with its items in an image and its accumulators."""


def evaluate_image(context: EvaluationContext, work: Iterable[ImageWork]) -> None:
    """Evaluate all benchmarks on one image; `SeemError` names the image and what went wrong."""
    for benchmark, items, accumulators in work:
        try:
            benchmark.evaluate(context, items, accumulators)
        except (ArithmeticError, ValueError, RuntimeError) as error:
            reason, *_ = (str(error) or type(error).__name__).splitlines()
            where = f"{context.image.path.name} of {context.dataset.name}"
            raise SeemError(f"{benchmark.title}, {where}: {reason}") from error
        if context.encode_seconds is not None:
            for accumulator in accumulators:
                if accumulator.spec.by_model:
                    accumulator.seconds["encode"].append(context.encode_seconds)
