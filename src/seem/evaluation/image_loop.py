"""The evaluation loop over images: reads one image ahead, evaluates all benchmarks on it, writes to the journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from seem.evaluation.accumulator import ScoreAccumulator, accumulator_states, new_accumulators
from seem.evaluation.benchmark import Clock, EvaluationContext, evaluate_image
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.journal import Chunk, ImageKey, Journal
from seem.evaluation.plan import DatasetPlan

WRITE_INTERVAL_SECONDS = 3.0  # of work that may be lost,
WRITE_INTERVAL_SHARE = 0.01  # or this share of the time so far


@dataclass(slots=True)
class _LoadedImage:
    """An image that has been read: its items by the index of the benchmark, and its pixels if there are any items."""

    key: ImageKey
    items: dict[int, Sequence[Any]]
    pixels: UInt8[np.ndarray, "h w 3"] | None


def evaluate_images(
    model: ModelUnderTest,
    plans: Sequence[DatasetPlan],
    keys: Sequence[ImageKey],
    journal: Journal,
    progress: Callable[[int], object],
    session: str | None = None,
) -> None:
    """Evaluate images and write what was counted every few seconds.

    The next image is read while the model works; `progress` is called with 1 after every image.
    """
    loop = _EvaluationLoop(plans, journal, session)
    for image in _load_ahead(plans, keys):
        loop.evaluate(model, image)
        progress(1)
    loop.write()


def _load_ahead(plans: Sequence[DatasetPlan], keys: Iterable[ImageKey]) -> Iterator[_LoadedImage]:
    """Read images in a thread, one ahead of the consumer."""
    with ThreadPoolExecutor(1) as reader:
        pending = None
        for key in keys:
            following = reader.submit(_load, plans, key)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()


def _load(plans: Sequence[DatasetPlan], key: ImageKey) -> _LoadedImage:
    dataset_index, image_index = key
    plan = plans[dataset_index]
    image = plan.dataset.images[image_index]
    items = {}
    for index in plan.benchmarks_at(image_index):
        benchmark_items = plan.benchmarks[index].items(image)
        if len(benchmark_items):
            items[index] = benchmark_items
    pixels = None
    if items:
        pixels = plan.dataset.pixels(image)
    return _LoadedImage(key, items, pixels)


@dataclass
class _EvaluationLoop:
    """The accumulators of the images that are not in the journal yet."""

    plans: Sequence[DatasetPlan]
    journal: Journal
    session: str | None
    clock: Clock = field(default_factory=Clock)
    done: list[ImageKey] = field(default_factory=list)
    started: float = field(
        default_factory=lambda: time.perf_counter()
    )  # looked up late: a benchmark replaces it
    last_write: float = field(default_factory=lambda: time.perf_counter())
    accumulators: list[list[list[ScoreAccumulator]]] = field(init=False)

    def __post_init__(self) -> None:
        self.accumulators = accumulators_of(self.plans)

    def evaluate(self, model: ModelUnderTest, image: _LoadedImage) -> None:
        """Evaluate all benchmarks of an image, and write to the journal if it is time."""
        dataset_index, image_index = image.key
        plan, accumulators = self.plans[dataset_index], self.accumulators[dataset_index]
        if image.pixels is not None:
            pixels = image.pixels
            context = EvaluationContext(
                model=model,
                dataset=plan.dataset,
                image=plan.dataset.images[image_index],
                image_index=image_index,
                clock=self.clock,
                read=lambda: pixels,
            )
            work = []
            for index, items in image.items.items():
                work.append((plan.benchmarks[index], items, accumulators[index]))
            evaluate_image(context, work)
        self.done.append(image.key)
        now = time.perf_counter()
        interval = max(WRITE_INTERVAL_SECONDS, WRITE_INTERVAL_SHARE * (now - self.started))
        if now - self.last_write > interval:
            self.write()

    def write(self) -> None:
        """Write what was counted, and start with empty accumulators."""
        if not self.done:
            return
        now = time.perf_counter()
        seconds = {**asdict(self.clock), "all": now - self.last_write}
        states = accumulator_states(flatten(self.accumulators))
        self.journal.write(Chunk(tuple(self.done), states, seconds), self.session)
        self.accumulators = accumulators_of(self.plans)
        self.clock = Clock()
        self.done = []
        self.last_write = now


def accumulators_of(plans: Sequence[DatasetPlan]) -> list[list[list[ScoreAccumulator]]]:
    """Return empty accumulators for every data set, benchmark and entry."""
    return list(map(_accumulators_of_plan, plans))


def _accumulators_of_plan(plan: DatasetPlan) -> list[list[ScoreAccumulator]]:
    return [new_accumulators(benchmark.specs) for benchmark in plan.benchmarks]


def flatten(accumulators: Sequence[Sequence[Sequence[ScoreAccumulator]]]) -> list[ScoreAccumulator]:
    """List the accumulators of all data sets and benchmarks."""
    flat: list[ScoreAccumulator] = []
    for by_benchmark in accumulators:
        for group in by_benchmark:
            flat += group
    return flat
