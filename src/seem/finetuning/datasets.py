"""The data of a fine-tuning run: data sets inspected, cleaned, and divided into training and validation images."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from seem.data.dataset import ALL_SPLIT, Dataset, WeightedDataset
from seem.data.image_bank import ImageBank
from seem.data.inspection import DatasetReport
from seem.data.layout import standard_split
from seem.data.opening import DatasetSpec, list_splits, open_dataset
from seem.data.records import DataError, ImageRecord
from seem.finetuning.finer_masks import with_finer_masks
from seem.finetuning.inspection_cache import inspect_once
from seem.finetuning.run_folder import CACHE_FILE
from seem.finetuning.usable_dataset import UsableDataset, without_images
from seem.training.validation import INSPECTED_IMAGES, is_fully_labelled
from seem.vocabulary import spelling_key

VALIDATION_SPLITS = ("val", "test")
"""Parts of a data set that may be used for validation, whatever it calls them; the first that it has is."""

VALIDATION_SHARE = 0.1  # of a data set that has no such part

_ONLY_GROUPS = (
    "every mask is a group of several objects (a crowd, or the region of a countable class), from which no object can "
    "be learnt; mark single objects as such (iscrowd 0), or add masks of single objects"
)

CACHED_IMAGE_BYTES = 400_000  # of an image of `CACHED_SIDE` pixels with its masks, roughly
CACHED_SIDE = 320  # pixels of the longer side; at least so large are images cached
CACHE_MARGIN = 384 / 224  # images are cached so much larger than the canvas, for zoomed-in samples
CACHE_SHARE = (
    0.5  # of the free disk may be taken by cached images; else they are read again at every step
)


@dataclass(frozen=True, slots=True)
class DataSource:
    """One data set of a run, and which parts of it are used.

    Attributes:
        spec: format, path and weight, as the user wrote them.
        train_split: the part for training.
        validation_split: the part for validation; None: a tenth of `train_split`, drawn by the seed.
        unusable_train: ids of training images that cannot be used: missing, damaged, of a wrong size.
        unusable_validation: the same of validation images, and of those that are training images too.
        validation_problem: why the part for validation is not used, or some of it; empty if all of it is.
        unused_splits: further parts of the data set.
    """

    spec: str
    train_split: str
    validation_split: str | None
    unusable_train: tuple[int, ...]
    unusable_validation: tuple[int, ...]
    validation_problem: str = ""
    unused_splits: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the source as plain values."""
        return {
            "spec": self.spec,
            "train": self.train_split,
            "held": self.validation_split,
            "left_out": self.unusable_train,
            "held_left_out": self.unusable_validation,
            "held_problem": self.validation_problem,
            "unused": self.unused_splits,
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> DataSource:
        """Read what `to_json` returned."""
        return cls(
            spec=plain["spec"],
            train_split=plain["train"],
            validation_split=plain["held"],
            unusable_train=tuple(plain["left_out"]),
            unusable_validation=tuple(plain["held_left_out"]),
            validation_problem=plain.get("held_problem", ""),
            unused_splits=tuple(plain.get("unused", ())),
        )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The images of a run.

    Attributes:
        train: data sets for training, with their weights.
        validation: data sets for validation.
        is_shared: whether the validation images are training images, because there are no others.
        fingerprint: checksum of all images and annotations.
    """

    train: tuple[WeightedDataset, ...]
    validation: tuple[Dataset, ...]
    is_shared: bool
    fingerprint: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes that occur in training, sorted, each in one spelling."""
        names: set[str] = set()
        for weighted in self.train:
            for image in weighted.dataset.images:
                names.update(record.category.text for record in weighted.dataset.objects[image.id])
        first_spellings = {spelling_key(name): name for name in sorted(names - {""}, reverse=True)}
        return tuple(sorted(first_spellings.values()))

    @property
    def stuff_classes(self) -> tuple[str, ...]:
        """Those of the classes that are regions rather than countable things in every data set that has them."""
        things: set[str] = set()
        stuff: set[str] = set()
        for weighted in self.train:
            for category in weighted.dataset.categories.values():
                if category.is_thing:
                    things.add(category.text)
                else:
                    stuff.add(category.text)
        only_stuff = stuff - things
        return tuple(sorted(only_stuff.intersection(self.classes)))

    @property
    def is_fully_labelled(self) -> bool:
        """Whether every pixel has a class, in every data set."""
        return all(map(is_fully_labelled, self.validation))

    @property
    def has_complete_names(self) -> bool:
        """Whether some of the first training images are annotated with all objects of a class."""
        for weighted in self.train:
            first_images = weighted.dataset.images[:INSPECTED_IMAGES]
            if any(map(weighted.dataset.complete_names, first_images)):
                return True
        return False

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return sum(len(weighted.dataset.images) for weighted in self.train)

    @property
    def num_validation(self) -> int:
        """Number of validation images."""
        return sum(len(dataset.images) for dataset in self.validation)


def inspect_source(
    spec: str, step: Callable[[], object] = lambda: None
) -> tuple[DataSource, list[DatasetReport]]:
    """Inspect a data set; return which parts and images a run uses, and a report of each part.

    `step` is called after each image. Raises `DataError` where there is no data set, or where nothing can be read.
    """
    parsed = DatasetSpec.parse(spec)
    splits = list_splits(parsed)
    train_split, validation_split = _choose_splits(splits)
    train = open_dataset(parsed, train_split, tolerant=True)
    train_report = inspect_once(train, step)
    unusable_train = tuple(sorted(train_report.unusable_images))
    unused = [] if train_split == ALL_SPLIT else [*splits]
    unused_splits = tuple(name for name in unused if name not in (train_split, validation_split))
    source = DataSource(spec, train_split, None, unusable_train, (), unused_splits=unused_splits)
    if validation_split is None:
        return source, [train_report]
    try:
        validation = open_dataset(parsed, validation_split, tolerant=True)
    except DataError as error:
        problem = f"its part {validation_split!r} cannot be used: {str(error).rstrip('.')}"
        return replace(source, validation_problem=problem), [train_report]
    report = inspect_once(validation, step)
    shared = _shared_images(validation, train)
    unusable = report.unusable_images | shared
    if not has_single_object(usable_images(validation, unusable)):
        problem = f"its part {validation_split!r} has no photo with an object that could be used"
        if shared:
            problem = f"the photos of its part {validation_split!r} are those of {train_split!r}"
        return replace(source, validation_problem=problem), [train_report, report]
    if shared:
        problem = (
            f"{len(shared)} photos of its part {validation_split!r} are in {train_split!r} too"
        )
        source = replace(source, validation_problem=problem)
    source = replace(
        source,
        validation_split=validation_split,
        unusable_validation=tuple(sorted(unusable)),
    )
    return source, [train_report, report]


def _shared_images(validation: Dataset, train: Dataset) -> frozenset[int]:
    """Return the ids of validation images whose files are training images too."""
    train_files = {image.path.resolve() for image in train.images}
    return frozenset(image.id for image in validation.images if image.path.resolve() in train_files)


def _choose_splits(names: Sequence[str]) -> tuple[str, str | None]:
    """Return the parts of a data set for training and for validation; None if it has no other part.

    If none of its parts is called after what it is for, all of them are for training.
    """
    if not any(map(standard_split, names)):
        return ALL_SPLIT, None
    train_split = next((name for name in names if standard_split(name) == "train"), names[0])
    for split in VALIDATION_SPLITS:
        for name in names:
            if standard_split(name) == split and name != train_split:
                return train_split, name
    return train_split, None


Change: TypeAlias = "Callable[[Dataset], Dataset]"


def unchanged(dataset: Dataset) -> Dataset:
    """Return the data set itself."""
    return dataset


def finer_masks_from(folder: str | None) -> Change:
    """Return what replaces the masks of a data set by those of an LVIS folder; without one, nothing is replaced."""
    if folder is None:
        return unchanged
    finer = open_dataset(DatasetSpec("lvis", Path(folder)), "train", tolerant=True)
    return lambda dataset: with_finer_masks(dataset, finer)


def open_training_data(
    sources: Sequence[DataSource], seed: int, change: Change = unchanged
) -> TrainingData:
    """Open the usable images of all data sets, divided into training and validation the same way every time.

    `change` is applied to the data sets for training. Raises `DataError` if one has no image with a mask.
    """
    train: list[WeightedDataset] = []
    validation: list[Dataset] = []
    is_shared = False
    for source in sources:
        spec = DatasetSpec.parse(source.spec)
        full = change(open_dataset(spec, source.train_split, tolerant=True))
        images = usable_images(full, source.unusable_train)
        if not images.images:
            raise DataError(
                f"{source.spec} has no photo with a mask that could be used; run: seem data check {spec.path}"
            )
        if not has_single_object(images):
            raise DataError(f"{source.spec}: {_ONLY_GROUPS}.")
        held_out = None
        if source.validation_split is not None:
            other = open_dataset(spec, source.validation_split, tolerant=True)
            held_out = usable_images(other, source.unusable_validation)
        if held_out is None or not has_single_object(held_out):
            images, held_out = hold_out(images, seed)
        if not held_out.images:
            held_out, is_shared = images, True
        images = with_negatives(images, source.unusable_train)
        train.append(WeightedDataset(images, spec.weight))
        validation.append(held_out)
    fingerprint = training_data_fingerprint(
        [*(weighted.dataset for weighted in train), *validation]
    )
    return TrainingData(tuple(train), tuple(validation), is_shared, fingerprint)


def usable_images(dataset: Dataset, unusable: Iterable[int]) -> UsableDataset:
    """Return a data set without the images with the ids `unusable` and those that show no object."""
    readable = without_images(dataset, unusable)
    with_objects = [image for image in readable.images if readable.objects[image.id]]
    return UsableDataset(dataset, tuple(with_objects))


def has_single_object(dataset: UsableDataset) -> bool:
    """Whether an image shows an object by itself, rather than groups (crowds) alone."""
    records = chain.from_iterable(dataset.objects[image.id] for image in dataset.images)
    return not all(record.is_group for record in records)


def with_negatives(dataset: UsableDataset, unusable: Iterable[int]) -> UsableDataset:
    """Return training images and those of their data set that are marked as containing nothing."""
    excluded = frozenset(unusable)
    chosen = {image.id for image in dataset.images}
    full = UsableDataset(dataset.full, dataset.full.images)
    images = []
    for image in full.images:
        is_negative = image.id not in excluded and is_marked_empty(full, image)
        if image.id in chosen or is_negative:
            images.append(image)
    return UsableDataset(dataset.full, tuple(images))


def is_marked_empty(dataset: UsableDataset, image: ImageRecord) -> bool:
    """Whether an image is annotated and shows no object of the classes for which its annotation is complete."""
    parsed = dataset.full.parse_objects(image)
    return not parsed.objects and bool(dataset.complete_names(image))


def hold_out(dataset: UsableDataset, seed: int) -> tuple[UsableDataset, UsableDataset]:
    """Divide a data set into training images and a tenth for validation: one at least, none of a single image.

    Frames of one video stay together.
    """
    groups: dict[str, list[ImageRecord]] = {}
    for image in dataset.images:
        groups.setdefault(image.sequence or f"photo {image.id}", []).append(image)
    names = sorted(groups)
    order = np.random.default_rng(seed).permutation(len(names)).tolist()
    wanted = 0
    if len(names) > 1:
        wanted = max(1, round(VALIDATION_SHARE * len(dataset.images)))
    held_out: set[int] = set()
    for index in order:
        group = groups[names[index]]
        leaves_some = len(held_out) + len(group) < len(dataset.images)
        if len(held_out) < wanted and leaves_some:
            held_out.update(image.id for image in group)
    train: list[ImageRecord] = []
    validation: list[ImageRecord] = []
    for image in dataset.images:
        if image.id in held_out:
            validation.append(image)
        else:
            train.append(image)
    return UsableDataset(dataset.full, tuple(train)), UsableDataset(dataset.full, tuple(validation))


def training_data_fingerprint(datasets: Iterable[Dataset]) -> str:
    """Return the SHA-256 of image names and annotations, which is equal wherever the files are."""
    digest = hashlib.sha256()
    for dataset in datasets:
        digest.update(f"{dataset.name} {dataset.split}\n".encode())
        for image in dataset.images:
            digest.update(f"{image.id} {image.path.name} {image.hw}\n".encode())
            for record in dataset.objects[image.id]:
                digest.update(f"{record.category.text} {record.area} {record.counts}\n".encode())
    return digest.hexdigest()


def open_image_bank(data: TrainingData, size: int, out: Path) -> ImageBank:
    """Open the training images for a canvas of `size` pixels; they are cached in one file if the disk has room."""
    longest_side = max(CACHED_SIDE, round(size * CACHE_MARGIN))
    cache = out / CACHE_FILE
    needed_bytes = data.num_train * CACHED_IMAGE_BYTES * (longest_side / CACHED_SIDE) ** 2
    keep = cache.is_file() or needed_bytes <= CACHE_SHARE * shutil.disk_usage(out).free
    return ImageBank.from_datasets(
        list(data.train), longest_side=longest_side, cache=cache, in_memory=keep
    )
