"""The photos and objects of a subset's file (`seem data subset`), and nothing else, are scored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seem.data.dataset import Dataset, video_frames
from seem.data.records import DataError, ImageRecord, ObjectRecord
from seem.data.subset import Subset, SubsetObject, first_prompts
from seem.evaluation.accumulator import Tally
from seem.evaluation.benchmark import Look, Measure

ROUNDED = 0.02  # pixels; a subset's file has two digits


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A subset of a data set: what may be asked about, by photo id and object id."""

    subset: Subset
    objects: Mapping[int, Mapping[int, SubsetObject]]

    @classmethod
    def of(cls, file: Path, dataset: Dataset) -> Chosen:
        """Read a subset's file and look its photos and objects up.

        Raises:
            ValueError: it is of another set or part, or of videos.
            DataError: it is no subset's file, or the data set lacks what it lists.
        """
        subset = Subset.read(file)
        if (subset.set_name, subset.split) != (dataset.name, dataset.split):
            raise ValueError(
                f"{file} is of {subset.set_name}, part {subset.split}; the data set is {dataset.name}, part "
                f"{dataset.split}."
            )
        if video_frames(dataset):
            raise ValueError(f"{dataset.name} holds videos; a subset lists photos, leave --subset out.")
        known = {photo.id: photo for photo in dataset.images}
        for photo in subset.images:
            found = known.get(photo.id)
            if found is None or found.path.name != photo.file_name or found.hw != photo.hw:
                raise DataError(f"{file} lists {photo.file_name} ({photo.id}), which is not so in {dataset.path}.")
            if missing := {each.id for each in photo.objects} - {each.id for each in dataset.objects[photo.id]}:
                raise DataError(f"{file} lists object {min(missing)} of {photo.file_name}, which {dataset.path} lacks.")
        return cls(subset, {photo.id: {each.id: each for each in photo.objects} for photo in subset.images})

    def limit(self, measure: Measure, *, is_prompted: bool) -> Measure:
        """Ask about what is chosen alone; `is_prompted`: first prompts are drawn, and must be those of the file."""
        count = sum(map(len, self.objects.values()))
        rule = f"subset of {len(self.objects)} photos, {count} objects, {self.subset.fingerprint[:16]}"
        return replace(
            measure,
            lines=tuple(replace(line, rules=(*line.rules, rule)) for line in measure.lines),
            items=lambda photo: self._items(measure, photo),
            play=self._checking(measure) if is_prompted else measure.play,
        )

    def _items(self, measure: Measure, photo: ImageRecord) -> Sequence[Any]:
        """Leave out other photos, and of objects (or what is said about one) those that are not chosen."""
        known = self.objects.get(photo.id)
        if known is None:
            return ()
        items = [(item, _object_of(item)) for item in measure.items(photo)]
        return [item for item, record in items if record is None or record.id in known]

    def _checking(self, measure: Measure) -> Any:
        def play(look: Look, items: Sequence[Any], tallies: Sequence[Tally]) -> None:
            for record in filter(None, map(_object_of, items)):
                told = self.objects[look.photo.id][record.id]
                if not _agree(first_prompts(record.mask(), told.seed), told.prompts):
                    raise ValueError(f"the prompts drawn for object {record.id} are not those of the subset's file")
            measure.play(look, items, tallies)

        return play


def _object_of(item: object) -> ObjectRecord | None:
    """Return the single object that an item of a measure is about."""
    record = item if isinstance(item, ObjectRecord) else getattr(item, "truth", None)
    return record if isinstance(record, ObjectRecord) else None


def _agree(drawn: object, told: object) -> bool:
    first, other = list(_leaves(drawn)), list(_leaves(told))
    return [place for place, _ in first] == [place for place, _ in other] and all(
        math.isclose(a, b, abs_tol=ROUNDED) for (_, a), (_, b) in zip(first, other, strict=True)
    )


def _leaves(value: Any, place: tuple[object, ...] = ()) -> Iterator[tuple[tuple[object, ...], float]]:
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _leaves(value[key], (*place, key))
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            yield from _leaves(each, (*place, number))
    else:
        yield place, float(value)
