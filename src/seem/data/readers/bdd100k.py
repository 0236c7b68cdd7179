"""BDD100K: 19 classes, or 40 classes with objects.

images/10k/<split>/*.jpg  labels/sem_seg/masks/<split>/*.png          19 classes from 0, 255 = void
images/<split>/*.jpg      labels/<split>/*_train_id.png               the same, as published in 2018 (seg/)
labels/pan_seg/bitmasks/<split>/*.png       40 classes; R = class, G = flags, B A = object
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seem.data.classes import class_list
from seem.data.image_files import (
    folder_names,
    read_channels_of_size,
    read_labels_of_size,
    relative_name,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    label_map_of_segments,
    number_segments,
    pair_images,
    pair_in_folders,
)
from seem.data.records import DataError, Flaw, FlawKind, ImageRecord

_VOID_VALUE = 255
_CROWD_FLAG, _IGNORED_FLAG = 2, 1  # bits of the green channel
_CLASS_FACTOR = 65536  # segment ids: 1 + 65536 x class + object


@dataclass(frozen=True, slots=True)
class _Release:
    """Where a release has its images and its maps, and what the names of the maps end in."""

    images: Path
    maps: Path
    ending: str = ".png"

    def folders(self, path: Path, split: str) -> tuple[Path, Path]:
        """Return the folders of the images and of the maps of a part."""
        return path / self.images / split, path / self.maps / split


_SEMANTIC = _Release(Path("images", "10k"), Path("labels", "sem_seg", "masks"))
_SEMANTIC_2018 = _Release(Path("images"), Path("labels"), "_train_id.png")
_PANOPTIC = _Release(Path("images", "10k"), Path("labels", "pan_seg", "bitmasks"))


def read_bdd100k(path: Path, split: str) -> LazyDataset:
    """Open one part of BDD100K with 19 classes."""
    release = _semantic_release(path)
    folders = release.folders(path, split)
    images, flaws = _pair_bdd_images(path, release, split, "semantic", "bdd100k")
    categories = class_list("bdd100k")

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        stored = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        is_void = stored == _VOID_VALUE
        category_ids = np.where(is_void, 0, stored + 1).astype(np.int32)
        return label_map_of_classes(category_ids, categories, image, is_void)

    return LazyDataset(
        name="bdd100k",
        kind="bdd100k",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        searched=folders,
    )


def read_bdd100k_panoptic(path: Path, split: str) -> LazyDataset:
    """Open one part of BDD100K with 40 classes and objects."""
    folders = _PANOPTIC.folders(path, split)
    images, flaws = _pair_bdd_images(path, _PANOPTIC, split, "panoptic", "bdd100k_panoptic")
    categories = class_list("bdd100k_panoptic")

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        channels = read_channels_of_size(image.semantic_path, image.hw, image.image_frame).astype(
            np.int32
        )
        if channels.shape[2] != 4:
            message = f"{image.semantic_path} has {channels.shape[2]} channels; a bit mask has four"
            raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
        classes, flags, object_high, object_low = np.moveaxis(channels, -1, 0)
        is_void = classes == 0
        numbers = 1 + classes * _CLASS_FACTOR + object_high * 256 + object_low
        ids = np.where(is_void, 0, numbers).astype(np.int32)
        is_group = (flags & (_CROWD_FLAG | _IGNORED_FLAG)) > 0
        return label_map_of_segments(
            ids,
            number_segments(ids, lambda number: (number - 1) // _CLASS_FACTOR),
            categories,
            image,
            crowds=frozenset(np.unique(ids[is_group]).tolist()),
            void=is_void,
            is_partition=True,
        )

    return LazyDataset(
        name="bdd100k_panoptic",
        kind="bdd100k_panoptic",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        searched=folders,
    )


def _pair_bdd_images(
    path: Path,
    release: _Release,
    split: str,
    labelled: str,
    set_name: str,
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...]]:
    folders = release.folders(path, split)
    image_folder, label_folder = folders
    if not image_folder.is_dir() or not label_folder.is_dir():
        names = " and ".join(relative_name(folder, path) for folder in folders)
        raise incomplete_layout_error("BDD100K", path, names)
    pairs = pair_in_folders(image_folder, label_folder, release.ending)
    return pair_images(pairs, set_name, split, labelled)


def _semantic_release(path: Path) -> _Release:
    return _SEMANTIC_2018 if _is_of_2018(path) else _SEMANTIC


def _is_of_2018(path: Path) -> bool:
    maps = (path / _SEMANTIC_2018.maps).glob(f"*/*{_SEMANTIC_2018.ending}")
    return (path / _SEMANTIC_2018.images).is_dir() and any(maps)


BDD100K = Layout(
    kind="bdd100k",
    title="BDD100K, 19 classes",
    expects="images/10k/<split> and labels/sem_seg/masks/<split>",
    fits=lambda path: (path / _SEMANTIC.maps).is_dir() or _is_of_2018(path),
    splits=lambda path: sort_splits(folder_names(path / _semantic_release(path).maps)),
    read=read_bdd100k,
)

BDD100K_PANOPTIC = Layout(
    kind="bdd100k_panoptic",
    title="BDD100K, 40 classes with objects",
    expects="images/10k/<split> and labels/pan_seg/bitmasks/<split>",
    fits=lambda path: (path / _PANOPTIC.maps).is_dir(),
    splits=lambda path: sort_splits(folder_names(path / _PANOPTIC.maps)),
    read=read_bdd100k_panoptic,
)
