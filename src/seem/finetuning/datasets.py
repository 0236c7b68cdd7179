"""What a fine-tuning run learns from and is judged on: data sets looked at, cleaned and divided."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from jaxtyping import Bool, Integer, UInt8

from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, Dataset, ParsedObjects, WeightedDataset
from seem.data.inspection import DatasetReport, inspect_dataset
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
)
from seem.training.validation import is_semantic

if TYPE_CHECKING:
    _ByPhoto = Mapping[int, tuple[ObjectRecord, ...]]
else:  # a run-time type checker would read the first photo to see what it holds
    _ByPhoto = Mapping

HELD_OUT = ("val", "valid", "validation", "test")
"""Parts of a set that it may be judged on, the first that it has."""

SHARE = 0.1
"""How much is held out of a set that has no part for it."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """One data set of a run. `held` is the part that it is judged on; None: a tenth of `train`, drawn by the seed.

    `left_out` are photos that cannot be used: missing, damaged, of a wrong size.
    """

    spec: str
    train: str
    held: str | None
    left_out: tuple[int, ...]
    held_left_out: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a run learns from (`train`, with weights) and is judged on (`held`).

    `same`: the photos judged on are those learnt from, for want of others.
    """

    train: tuple[WeightedDataset, ...]
    held: tuple[Dataset, ...]
    same: bool
    fingerprint: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes that occur in training, sorted."""
        found = {
            record.category.text
            for each in self.train
            for photo in each.dataset.images
            for record in each.dataset.objects[photo.id]
        }
        return tuple(sorted(found - {""}))

    @property
    def stuff(self) -> tuple[str, ...]:
        """Those of the classes that are regions rather than countable things, in every set that has them."""
        kinds: dict[str, bool] = {}
        for each in self.train:
            for category in each.dataset.categories.values():
                kinds[category.text] = kinds.get(category.text, False) or category.is_thing
        return tuple(name for name in self.classes if not kinds.get(name, True))

    @property
    def is_all_over(self) -> bool:
        """Whether every set is labelled all over: each pixel has a class."""
        return all(is_semantic(each) for each in self.held)

    @property
    def num_photos(self) -> tuple[int, int]:
        """Photos to learn from, and to be judged on."""
        return sum(len(each.dataset.images) for each in self.train), sum(len(each.images) for each in self.held)


def inspect_source(spec: str, step: Callable[[], object] = lambda: None) -> tuple[DataSource, list[DatasetReport]]:
    """Look at a data set, decide which parts are for what, and which photos cannot be used.

    Raises `DataError` where there is none, or where nothing can be read.
    """
    parsed = DatasetSpec.parse(spec)
    names = list_splits(parsed)
    train = "train" if "train" in names else names[0]
    held = next((name for name in HELD_OUT if name in names and name != train), None)
    reports = [inspect_dataset(open_dataset(parsed, train, tolerant=True), step=step)]
    if held is not None:
        reports.append(inspect_dataset(open_dataset(parsed, held, tolerant=True), step=step))
    unusable = [tuple(sorted(report.unusable_images)) for report in reports]
    return DataSource(spec, train, held, unusable[0], unusable[1] if held is not None else ()), reports


Change: TypeAlias = "Callable[[Dataset], Dataset]"


def open_training_data(
    sources: Sequence[DataSource], seed: int, change: Change = lambda dataset: dataset
) -> TrainingData:
    """Open the data sets of a run: what is usable, divided the same way every time.

    `change` is done to what is learnt from. Raises `DataError` if no photo with a mask is left.
    """
    train: list[WeightedDataset] = []
    held: list[Dataset] = []
    same = False
    for source in sources:
        spec = DatasetSpec.parse(source.spec)
        learnt = usable(change(open_dataset(spec, source.train, tolerant=True)), source.left_out)
        if not learnt.images:
            raise DataError(
                f"{source.spec} has no photo with a mask that could be used; run: seem data check {spec.path}"
            )
        if source.held is None:
            learnt, judged = divided(learnt, seed)
        else:
            judged = usable(open_dataset(spec, source.held, tolerant=True), source.held_left_out)
        if not judged.images:
            judged, same = learnt, True
        train.append(WeightedDataset(learnt, spec.weight))
        held.append(judged)
    return TrainingData(tuple(train), tuple(held), same, fingerprint_of((*(each.dataset for each in train), *held)))


def usable(dataset: Dataset, left_out: Iterable[int]) -> UsableDataset:
    """Keep the photos that show anything, without those to be left out."""
    whole = without_images(dataset, left_out)
    return UsableDataset(dataset, tuple(photo for photo in whole.images if whole.objects[photo.id]))


def without_images(dataset: Dataset, left_out: Iterable[int]) -> UsableDataset:
    """Keep all photos but those with the ids `left_out`."""
    gone = frozenset(left_out)
    return UsableDataset(dataset, tuple(photo for photo in dataset.images if photo.id not in gone))


def divided(dataset: UsableDataset, seed: int) -> tuple[UsableDataset, UsableDataset]:
    """Hold a tenth of the photos out, one at least; nothing of a single photo. Frames of one video stay together."""
    groups: dict[str, list[ImageRecord]] = {}
    for photo in dataset.images:
        groups.setdefault(photo.sequence or f"photo {photo.id}", []).append(photo)
    names = sorted(groups)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    wanted = max(1, round(SHARE * len(dataset.images))) if len(names) > 1 else 0
    held: set[int] = set()
    for place in order:
        if len(held) < wanted and len(held) + len(groups[names[place]]) < len(dataset.images):
            held |= {photo.id for photo in groups[names[place]]}
    return (
        UsableDataset(dataset.whole, tuple(photo for photo in dataset.images if photo.id not in held)),
        UsableDataset(dataset.whole, tuple(photo for photo in dataset.images if photo.id in held)),
    )


def fingerprint_of(datasets: Iterable[Dataset]) -> str:
    """Hash what is asked of every photo: equal data have equal fingerprints, wherever they lie."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(f"{dataset.name} {dataset.split}\n".encode())
        for photo in dataset.images:
            digest.update(f"{photo.id} {photo.path.name} {photo.hw}\n".encode())
            for record in dataset.objects[photo.id]:
                digest.update(f"{record.category.text} {record.area} {record.counts}\n".encode())
    return digest.hexdigest()


def is_sound(record: ObjectRecord, photo: ImageRecord, categories: Mapping[int, CategoryRecord]) -> bool:
    """Whether an object can be learnt from: of the photo's size, not empty, of a known class, in a real box."""
    return (
        record.hw == photo.hw
        and record.area > 0
        and record.category.id in categories
        and bool(np.isfinite(record.box).all())
    )


Improve: TypeAlias = "Callable[[ImageRecord, ObjectRecord], ObjectRecord]"


class SoundObjects(_ByPhoto):
    """The objects of photos that can be learnt from, looked up when asked."""

    def __init__(self, dataset: Dataset, photos: Sequence[ImageRecord], improve: Improve) -> None:
        self._dataset = dataset
        self._photos = {photo.id: photo for photo in photos}
        self._improve = improve

    def __getitem__(self, image_id: int) -> tuple[ObjectRecord, ...]:
        photo = self._photos[image_id]
        categories = self._dataset.categories
        found = self._dataset.parse_objects(photo).objects
        return tuple(self._improve(photo, r) for r in found if is_sound(r, photo, categories))

    def __iter__(self) -> Iterator[int]:
        return iter(self._photos)

    def __len__(self) -> int:
        return len(self._photos)


class UsableDataset:
    """Some photos of a data set, without the annotations that nothing can be learnt from. A `Dataset`.

    `improve` may return another record of an object in its place.
    """

    def __init__(
        self, whole: Dataset, photos: tuple[ImageRecord, ...], improve: Improve = lambda _, record: record
    ) -> None:
        self.whole = whole
        self.images = photos
        self.objects = SoundObjects(whole, photos, improve)

    @property
    def name(self) -> str:
        """What the set is called."""
        return self.whole.name

    @property
    def split(self) -> str:
        """Which part of it this is from."""
        return self.whole.split if self.whole.split != ALL_SPLIT else "all"

    @property
    def path(self) -> Path:
        """The folder that it lies in."""
        return self.whole.path

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that describe more than one photo."""
        return self.whole.files

    @property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Classes by their id in this set."""
        return self.whole.categories

    @property
    def expressions(self) -> tuple[ReferringExpression, ...]:
        """Referring expressions of the photos that are kept."""
        here = {photo.id for photo in self.images}
        return tuple(each for each in self.whole.expressions if each.image_id in here)

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """Nothing: what is wrong has been left out."""
        return ()

    def pixels(self, photo: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode a photo to RGB."""
        return self.whole.pixels(photo)

    def read_encoded(self, photo: ImageRecord) -> bytes:
        """Read a photo as it is stored, byte for byte."""
        return self.whole.read_encoded(photo)

    def panoptic(self, photo: ImageRecord) -> PanopticTruth | None:
        """Read the complete partition of a photo."""
        return self.whole.panoptic(photo)

    def semantic(self, photo: ImageRecord) -> Integer[np.ndarray, "h w"] | None:
        """Read the map of category ids."""
        return self.whole.semantic(photo)

    def void(self, photo: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Tell which pixels nobody labelled."""
        return self.whole.void(photo)

    def complete_names(self, photo: ImageRecord) -> frozenset[str]:
        """Names for which the photo's annotation is complete.

        Where an object has been left out, nobody knows of which class: then only of what is seen.
        """
        complete = self.whole.complete_names(photo)
        found, sound = self.whole.parse_objects(photo), self.objects[photo.id]
        if not found.flaws and len(sound) == len(found.objects):
            return complete
        return complete & {record.category.text for record in sound}

    def parse_objects(self, photo: ImageRecord) -> ParsedObjects:
        """Read the objects of a photo that can be learnt from."""
        return ParsedObjects(self.objects[photo.id])

    def polygons(self, photo: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons of a photo as they are written."""
        return self.whole.polygons(photo)
