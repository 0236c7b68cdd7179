"""Cityscapes.

    leftImg8bit/<split>/<city>/*_leftImg8bit.png  gtFine/<split>/<city>/*_gtFine_instanceIds.png (or _labelIds.png)

The instance map holds 1000 x label + number for objects and the bare label for the rest: stuff, or a group of things.
Labels outside of the 19 evaluated ones are void.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seem.data.classes import class_list
from seem.data.image_files import first_file, folder_names, list_images, read_labels_of_size
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    label_map_of_segments,
    number_segments,
    pair_images,
)
from seem.data.records import ImageRecord, categories_by_id

_IMAGE_SUFFIX = "_leftImg8bit"
_OBJECT_FACTOR = 1000  # a number from here on is 1000 x label + number of the object


def read_cityscapes(path: Path, split: str) -> LazyDataset:
    """Open one part of Cityscapes."""
    image_folder, label_folder = path / "leftImg8bit" / split, path / "gtFine" / split
    if not image_folder.is_dir():
        raise incomplete_layout_error("Cityscapes", path, f"leftImg8bit/{split} and gtFine/{split}")
    pairs = []
    for file in list_images(image_folder, deep=True):
        if file.stem.endswith(_IMAGE_SUFFIX):
            pairs.append((file, _find_labels(label_folder, file)))
    images, flaws = pair_images(
        pairs, "cityscapes", split, "panoptic", source_of=lambda file: file.parent.name
    )
    categories = class_list("cityscapes")
    by_id = categories_by_id(categories)

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        labels = np.where(ids >= _OBJECT_FACTOR, ids // _OBJECT_FACTOR, ids)
        void = ~np.isin(labels, list(by_id))
        ids[void] = 0
        category_ids = np.where(void, 0, labels).astype(np.int32)
        if image.semantic_path.stem.endswith("labelIds"):
            return label_map_of_classes(category_ids, categories, image, void)
        category_of = number_segments(ids, _label_of)
        groups = set()
        for number, category_id in category_of.items():
            if number < _OBJECT_FACTOR and by_id[category_id].is_thing:
                groups.add(number)
        segments = label_map_of_segments(
            ids, category_of, categories, image, crowds=frozenset(groups)
        ).segments
        return LabelMap(ids, segments, semantic=category_ids, void=void, is_partition=True)

    return LazyDataset(
        name="cityscapes",
        kind="cityscapes",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
    )


def _label_of(number: int) -> int:
    if number < _OBJECT_FACTOR:
        return number
    return number // _OBJECT_FACTOR


def _find_labels(label_folder: Path, image: Path) -> Path | None:
    """Find the map of an image; the public test part has none of worth."""
    folder, stem = label_folder / image.parent.name, image.stem.removesuffix(_IMAGE_SUFFIX)
    return first_file(
        folder / f"{stem}_gtFine_instanceIds.png", folder / f"{stem}_gtFine_labelIds.png"
    )


CITYSCAPES = Layout(
    kind="cityscapes",
    title="Cityscapes, 19 classes",
    expects="leftImg8bit/<split>/<city> and gtFine/<split>/<city>",
    fits=lambda path: (path / "leftImg8bit").is_dir(),
    splits=lambda path: sort_splits(folder_names(path / "leftImg8bit")),
    read=read_cityscapes,
)
