"""`ImageBank`: all images that may be trained on, in memory or memory-mapped from one file.

Small enough and ready enough that a training loop on one CPU core never waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import UInt8

from seem.data.banked_image import BankedImage, shrink_decoded, shrink_image
from seem.data.dataset import Dataset, WeightedDataset
from seem.data.image_bank_cache import (
    dataset_fingerprint,
    is_bank_cache_valid,
    pack_fingerprint,
    read_bank_cache,
    write_bank_cache,
)
from seem.data.pack import Pack, PackError, TrainableSet
from seem.data.records import DataError, ImageRecord


class LazyImages(Sequence[BankedImage]):
    """Images that are read and shrunk whenever they are asked for."""

    def __init__(self, sources: Sequence[tuple[Dataset, ImageRecord]], longest_side: int) -> None:
        self._sources = tuple(sources)
        self._longest_side = longest_side

    @overload
    def __getitem__(self, index: int) -> BankedImage: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[BankedImage]: ...

    def __getitem__(self, index: int | slice) -> BankedImage | Sequence[BankedImage]:
        if isinstance(index, slice):
            return LazyImages(self._sources[index], self._longest_side)
        dataset, image = self._sources[index]
        return shrink_image(dataset, image, self._longest_side)

    def __len__(self) -> int:
        return len(self._sources)

    def set_names(self) -> Iterator[str]:
        """Yield the set of each image."""
        for _, image in self._sources:
            yield image.set_name

    def object_names(self) -> Iterator[set[str]]:
        """Yield the class names of each image's objects, groups left out."""
        for dataset, image in self._sources:
            names = set()
            for record in dataset.objects[image.id]:
                if not record.is_group:
                    names.add(record.category.text)
            yield names


class ImageBank:
    """All images that may be trained on, decoded once, at most `longest_side` pixels long.

    About 12,000 images at 320 px are 2.4 GB and take a minute of one core to decode. With `cache` they are written to
    that file once and memory-mapped afterwards, which costs two seconds and is shared by all processes of a machine.

    `fingerprint` (64 hexadecimal digits) identifies what a bank of the pack holds: sets, annotations, size; else empty.
    """

    def __init__(
        self,
        images: Sequence[BankedImage],
        weights: Mapping[str, float] | None = None,
        fingerprint: str = "",
    ) -> None:
        self.fingerprint = fingerprint
        self.images = images if isinstance(images, LazyImages) else tuple(images)
        self.by_set = _group_indices(enumerate(self._set_names()))
        if weights is None:
            weights = dict.fromkeys(self.by_set, 1.0)
        self.weights: Mapping[str, float] = dict(weights)

    @cached_property
    def by_name(self) -> Mapping[str, tuple[int, ...]]:
        """The indices of the images that show an object of each class; classes in alphabetical order."""
        indices_by_name = _group_indices(self._numbered_object_names())
        return dict(sorted(indices_by_name.items()))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> BankedImage:
        return self.images[index]

    @classmethod
    def load(
        cls,
        root: str | os.PathLike[str],
        *,
        longest_side: int = 320,
        cache: str | os.PathLike[str] | None = None,
        sets: Sequence[str] | None = None,
        max_images: int | None = None,
    ) -> ImageBank:
        """Load every training image under `root` that may go into shipped weights.

        Args:
            root: the pack's root folder, which holds the set folders.
            longest_side: images longer than this are shrunk, masks with them; smaller images stay as they are.
            cache: a file (created when missing or out of date) that makes later calls fast.
            sets: only these sets; None takes all of `Pack.trainable`.
            max_images: only the first so many images of each set, for trials.

        Raises:
            PackError: the layout is wrong, an image cannot be read, or a set in `sets` may not be trained on.
        """
        trainable = _select_sets(root, sets)
        packs = [(entry, Pack.open(entry.path, "train")) for entry in trainable]
        fingerprint = pack_fingerprint(
            [entry.path for entry in trainable], longest_side, max_images
        )

        def sources() -> Iterator[tuple[Pack, ImageRecord]]:
            return _admitted_images(packs, max_images)

        def decoded() -> Iterator[BankedImage]:
            for pack, image in sources():
                yield _shrink_pack_image(pack, image, longest_side)

        if cache is None:
            return cls(list(decoded()), fingerprint=fingerprint)
        images = _read_through_cache(Path(cache), fingerprint, decoded, sources)
        return cls(images, fingerprint=fingerprint)

    @classmethod
    def from_datasets(
        cls,
        datasets: Sequence[Dataset | WeightedDataset],
        *,
        longest_side: int = 320,
        cache: str | os.PathLike[str] | None = None,
        max_images: int | None = None,
        in_memory: bool = True,
    ) -> ImageBank:
        """Load every image of any data sets; images without any annotation are left out.

        The bank's `weights` hold how often each set is to be sampled (`TrainingSampler(bank, weights=bank.weights)`).
        Two sets of one name get different names by a number.

        Args:
            datasets: what `open_dataset` or `open_mixture` returns; a set without a weight has 1.
            longest_side: images longer than this are shrunk, masks with them; smaller images stay as they are.
            cache: a file (created when missing or out of date) that makes later calls fast. A set has changed when one
                of its images, of their label maps or of its lists is another file than before.
            max_images: only the first so many images of each set, for trials.
            in_memory: false reads an image anew whenever it is sampled: for sets that are too large for memory.

        Raises:
            DataError: an image or an annotation cannot be read (without `in_memory` when it is sampled), or no image
                is left.
        """
        weighted = list(map(_with_weight, datasets))
        names = _unique_names([entry.dataset.name for entry in weighted])
        weights: dict[str, float] = {}
        sources: list[tuple[Dataset, ImageRecord]] = []
        for name, entry in zip(names, weighted, strict=True):
            weights[name] = entry.weight
            for image in _annotated_images(entry.dataset)[:max_images]:
                sources.append((entry.dataset, _in_set(image, name)))
        if not sources:
            searched = ", ".join(names) or "The list of data sets"
            raise DataError(f"{searched} holds no photo with annotations.")
        if not in_memory:
            return cls(LazyImages(sources, longest_side), weights)

        def decoded() -> Iterator[BankedImage]:
            for dataset, image in sources:
                yield shrink_image(dataset, image, longest_side)

        if cache is None:
            return cls(list(decoded()), weights)
        fingerprint = dataset_fingerprint(sources, longest_side)
        return cls(_read_through_cache(Path(cache), fingerprint, decoded, lambda: sources), weights)

    def _set_names(self) -> Iterator[str]:
        if isinstance(self.images, LazyImages):
            return self.images.set_names()
        return (image.record.set_name for image in self.images)

    def _object_names(self) -> Iterator[set[str]]:
        if isinstance(self.images, LazyImages):
            return self.images.object_names()
        return (image.object_names for image in self.images)

    def _numbered_object_names(self) -> Iterator[tuple[int, str]]:
        """Yield the index of each image with each of its class names, nameless classes left out."""
        for index, names in enumerate(self._object_names()):
            for name in names - {""}:
                yield index, name


def _group_indices(numbered_keys: Iterable[tuple[int, str]]) -> dict[str, tuple[int, ...]]:
    """Return for each key its indices, in the order given."""
    groups: dict[str, list[int]] = {}
    for index, key in numbered_keys:
        groups.setdefault(key, []).append(index)
    return {key: tuple(indices) for key, indices in groups.items()}


def _read_through_cache(
    file: Path,
    fingerprint: str,
    decoded: Callable[[], Iterator[BankedImage]],
    sources: Callable[[], Iterable[tuple[Dataset, ImageRecord]]],
) -> list[BankedImage]:
    """Read images from a cache file, written first where it is missing or holds something else."""
    if not is_bank_cache_valid(file, fingerprint):
        write_bank_cache(file, fingerprint, decoded())
    return list(read_bank_cache(file, sources()))


def _select_sets(root: str | os.PathLike[str], names: Sequence[str] | None) -> list[TrainableSet]:
    trainable = Pack.trainable(root)
    if names is None:
        return trainable
    known = {entry.name for entry in trainable}
    refused = sorted(set(names) - known)
    if refused:
        raise PackError(
            f"{', '.join(refused)} under {root}: missing or not free for shipped weights."
        )
    return [entry for entry in trainable if entry.name in names]


def _admitted_images(
    packs: Sequence[tuple[TrainableSet, Pack]],
    max_images: int | None,
) -> Iterator[tuple[Pack, ImageRecord]]:
    for entry, pack in packs:
        admitted = list(filter(entry.admits, pack.images))
        for image in admitted[:max_images]:
            yield pack, image


def _annotated_images(dataset: Dataset) -> list[ImageRecord]:
    return [image for image in dataset.images if image.labelled or dataset.objects[image.id]]


def _with_weight(dataset: Dataset | WeightedDataset) -> WeightedDataset:
    if isinstance(dataset, WeightedDataset):
        return dataset
    return WeightedDataset(dataset, 1.0)


def _in_set(image: ImageRecord, name: str) -> ImageRecord:
    if image.set_name == name:
        return image
    return replace(image, set_name=name)


def _unique_names(names: Sequence[str]) -> list[str]:
    """Append a number to names that occurred before."""
    unique = []
    for index, name in enumerate(names):
        num_before = names[:index].count(name)
        if num_before:
            name = f"{name}-{num_before + 1}"
        unique.append(name)
    return unique


def _shrink_pack_image(pack: Pack, image: ImageRecord, longest_side: int) -> BankedImage:
    void = None
    if image.panoptic_path is not None:
        panoptic = pack.panoptic(image)
        assert panoptic is not None
        void = np.asarray(panoptic.ids == 0)
    return shrink_decoded(pack, image, _read_by_opencv(image), void, longest_side)


def _read_by_opencv(image: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
    """Decode an image of the pack to RGB, faster than Pillow does."""
    import cv2

    cv2.setNumThreads(1)  # training runs one process per core
    pixels = cv2.imread(os.fspath(image.path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise PackError(f"{image.path} is missing or no photo; copy the set's images again.")
    if pixels.shape[:2] != image.hw:
        raise PackError(
            f"{image.path} is {pixels.shape[:2]} (h, w), but annotations.json says {image.hw}."
        )
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
