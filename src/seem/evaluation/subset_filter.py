"""Restricts benchmarks to the images and objects of a subset file (`seem data subset`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from seem.data.dataset import Dataset
from seem.data.object_selection import video_frames
from seem.data.records import DataError, ImageRecord, ObjectRecord
from seem.data.subset import Subset, SubsetImage, SubsetObject, first_prompts
from seem.evaluation.accumulator import ScoreAccumulator
from seem.evaluation.benchmark import Benchmark, EvaluationContext

ROUNDING_ERROR = 0.02  # pixels; coordinates in a subset file have two digits

KeyPath: TypeAlias = "tuple[object, ...]"


@dataclass(frozen=True, slots=True, eq=False)
class SubsetFilter:
    """A subset of a data set, with its objects by image id and object id."""

    subset: Subset
    objects: Mapping[int, Mapping[int, SubsetObject]]

    @classmethod
    def of(cls, file: Path, dataset: Dataset) -> SubsetFilter:
        """Read a subset file and check that the data set has its images and objects.

        Raises:
            ValueError: it is of another data set or split, or of videos.
            DataError: it is not a subset file, or the data set lacks what it lists.
        """
        subset = Subset.read(file)
        if (subset.set_name, subset.split) != (dataset.name, dataset.split):
            raise ValueError(
                f"{file} is of {subset.set_name}, part {subset.split}; the data set is {dataset.name}, part "
                f"{dataset.split}."
            )
        if video_frames(dataset):
            raise ValueError(
                f"{dataset.name} holds videos; a subset lists photos, leave --subset out."
            )
        images = {image.id: image for image in dataset.images}
        for listed in subset.images:
            _check_image(file, listed, images.get(listed.id), dataset)
        return cls(subset, {listed.id: _objects_by_id(listed) for listed in subset.images})

    def restrict(self, benchmark: Benchmark, *, check_prompts: bool) -> Benchmark:
        """Leave out other images and objects.

        With `check_prompts`, evaluation raises `ValueError` where the first prompts differ from those of the file.
        """
        num_objects = sum(map(len, self.objects.values()))
        rule = f"subset of {len(self.objects)} photos, {num_objects} objects, {self.subset.fingerprint[:16]}"
        specs = [replace(spec, rules=(*spec.rules, rule)) for spec in benchmark.specs]
        evaluate = benchmark.evaluate
        if check_prompts:
            evaluate = self._with_prompt_check(benchmark)
        return replace(
            benchmark,
            specs=tuple(specs),
            items=lambda image: self._items(benchmark, image),
            evaluate=evaluate,
        )

    def _items(self, benchmark: Benchmark, image: ImageRecord) -> Sequence[Any]:
        """Return the items of a benchmark that are about listed objects, or about no single object."""
        listed = self.objects.get(image.id)
        if listed is None:
            return ()
        items = []
        for item in benchmark.items(image):
            record = _object_of(item)
            if record is None or record.id in listed:
                items.append(item)
        return items

    def _with_prompt_check(
        self, benchmark: Benchmark
    ) -> Callable[[EvaluationContext, Sequence[Any], Sequence[ScoreAccumulator]], None]:
        def evaluate(
            context: EvaluationContext,
            items: Sequence[Any],
            accumulators: Sequence[ScoreAccumulator],
        ) -> None:
            for item in items:
                record = _object_of(item)
                if record is not None:
                    self._check_prompts(context.image, record)
            benchmark.evaluate(context, items, accumulators)

        return evaluate

    def _check_prompts(self, image: ImageRecord, record: ObjectRecord) -> None:
        listed = self.objects[image.id][record.id]
        if not _is_close(first_prompts(record.mask(), listed.seed), listed.prompts):
            raise ValueError(
                f"the prompts drawn for object {record.id} are not those of the subset's file"
            )


def _objects_by_id(listed: SubsetImage) -> dict[int, SubsetObject]:
    return {each.id: each for each in listed.objects}


def _check_image(
    file: Path, listed: SubsetImage, image: ImageRecord | None, dataset: Dataset
) -> None:
    """Raise `DataError` unless the data set has a listed image with its objects."""
    if image is None or image.path.name != listed.file_name or image.hw != listed.hw:
        raise DataError(
            f"{file} lists {listed.file_name} ({listed.id}), which is not so in {dataset.path}."
        )
    known = {record.id for record in dataset.objects[image.id]}
    missing = _objects_by_id(listed).keys() - known
    if missing:
        raise DataError(
            f"{file} lists object {min(missing)} of {listed.file_name}, which {dataset.path} lacks."
        )


def _object_of(item: object) -> ObjectRecord | None:
    """Return the object that an item of a benchmark is about; None where it is about several or none."""
    if isinstance(item, ObjectRecord):
        return item
    truth = getattr(item, "truth", None)
    if isinstance(truth, ObjectRecord):
        return truth
    return None


def _is_close(drawn: object, listed: object) -> bool:
    """Whether two nested structures have the same keys, and numbers that differ by rounding alone."""
    drawn_numbers, listed_numbers = dict(_numbers(drawn)), dict(_numbers(listed))
    if list(drawn_numbers) != list(listed_numbers):
        return False
    is_close = partial(math.isclose, abs_tol=ROUNDING_ERROR)
    return all(map(is_close, drawn_numbers.values(), listed_numbers.values()))


def _numbers(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, float]]:
    """List the numbers of a nested structure, each with the keys and indices that lead to it."""
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _numbers(value[key], (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from _numbers(each, (*path, index))
    else:
        yield path, float(value)
