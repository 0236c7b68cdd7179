"""ADE20K: 150 classes (SceneParse150) and 847 (the full set).

    ADEChallengeData2016/images/<split>/*.jpg  annotations/<split>/*.png        number of the class, 0 = none of them
      annotations_instance/<split>/*.png                                        red = class of 100, green = object
      ade20k_panoptic_<split>.json + ade20k_panoptic_<split>/*.png              COCO's format, classes from 0

    ADE20K_2021_17_01/images/ADE/<split>/<scene>/.../*.jpg + *_seg.png          class = R // 10 * 256 + G, object = B
      images_detectron2/<split>/*.jpg  annotations_detectron2/<split>/*.tif     class from 0, 65535 = none

Of the 150, a panoptic map is what there is: COCO's, else made from class and instance maps, else a region a class
(things then are groups). The k-th of the 100 classes is the k-th thing of the 150. The full set tells single objects.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from seem.data.classes import ade20k_full_codes, class_list
from seem.data.image_files import (
    existing_files,
    first_file,
    first_folder,
    folder_names,
    list_images,
    path_inside,
    read_channels_of_size,
    read_labels_of_size,
    relative_stem,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.coco_rows import CocoDocument, read_panoptic
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    label_map_of_segments,
    number_segments,
    pair_images,
    pair_in_folders,
    remap_values,
    thing_ids,
)
from seem.data.records import (
    CategoryRecord,
    DataError,
    FlawKind,
    ImageRecord,
    categories_by_id,
)

_PANOPTIC_SPLITS = {"training": "train", "validation": "val"}
_NO_CLASS = 65535
# segment ids: class x this + number of the object; more than an instance map can number
_CLASS_FACTOR = 256


# --- 150 classes ------------------------------------------------------------------------------------------------------


def read_ade20k(path: Path, split: str) -> LazyDataset:
    """Open one part of ADE20K with 150 classes."""
    image_folder, label_folder = path / "images" / split, path / "annotations" / split
    if not image_folder.is_dir() or not label_folder.is_dir():
        raise incomplete_layout_error(
            "ADE20K (150 classes)", path, f"images/{split} and annotations/{split}"
        )
    categories = class_list("ade20k")
    pairs = pair_in_folders(image_folder, label_folder)
    panoptic_file = path / f"ade20k_panoptic_{_PANOPTIC_SPLITS.get(split, split)}.json"
    object_folder = path / "annotations_instance" / split
    labelled = "semantic"
    if panoptic_file.is_file() or object_folder.is_dir():
        labelled = "panoptic"
    images, flaws = pair_images(pairs, "ade20k", split, labelled)
    panoptic_rows = _read_panoptic_rows(panoptic_file)
    by_panoptic_id = {category.id - 1: category for category in categories}

    def read_map(image: ImageRecord) -> LabelMap:
        assert image.semantic_path is not None
        category_ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        name = relative_stem(image.path, image_folder)
        row = panoptic_rows.get(name) or panoptic_rows.get(image.path.stem)
        if row is not None:
            file = path_inside(panoptic_file.with_suffix(""), row["file_name"])
            labels = read_panoptic(file, row["segments_info"], image, by_panoptic_id)
            return _with_semantic(labels, category_ids)
        if object_folder.is_dir():
            return _combine_maps(category_ids, object_folder / f"{name}.png", categories, image)
        return label_map_of_classes(category_ids, categories, image, category_ids == 0)

    return LazyDataset(
        name="ade20k",
        kind="ade20k",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        files=existing_files([panoptic_file]),
        searched=(image_folder, label_folder),
    )


def _combine_maps(
    category_ids: Int32[np.ndarray, "h w"],
    object_file: Path,
    categories: tuple[CategoryRecord, ...],
    image: ImageRecord,
) -> LabelMap:
    """Combine stuff of the class map and objects of the instance map; a thing without an object is void."""
    channels = read_channels_of_size(object_file, image.hw, image.image_frame)
    if channels.shape[2] < 2:
        raise DataError(
            f"{object_file} has one channel; red = class, green = object",
            FlawKind.UNREADABLE_MASK_FILE,
        )
    thing_classes = channels[:, :, 0].astype(np.int32)
    object_numbers = channels[:, :, 1]
    things = thing_ids(categories)
    if thing_classes.max() > len(things):
        message = f"{object_file} names class {int(thing_classes.max())} of {len(things)}"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    category_of_class = np.array([0, *things], np.int32)
    stuff = list(categories_by_id(categories).keys() - things)
    stuff_segments = np.where(np.isin(category_ids, stuff), category_ids * _CLASS_FACTOR, 0)
    object_segments = category_of_class[thing_classes] * _CLASS_FACTOR + object_numbers
    ids = np.where(thing_classes > 0, object_segments, stuff_segments).astype(np.int32)
    category_of = number_segments(ids, lambda number: number // _CLASS_FACTOR)
    labels = label_map_of_segments(
        ids, category_of, categories, image, void=ids == 0, is_partition=True
    )
    return _with_semantic(labels, category_ids)


def _with_semantic(labels: LabelMap, category_ids: Int32[np.ndarray, "h w"]) -> LabelMap:
    """Return a panoptic map with the class map beside it."""
    return LabelMap(
        labels.ids,
        labels.segments,
        semantic=category_ids,
        void=labels.void,
        is_partition=True,
        flaws=labels.flaws,
    )


def _read_panoptic_rows(file: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of COCO's panoptic format by path of the image, and by its name; none without such a file."""
    if not file.is_file():
        return {}
    rows = CocoDocument.read(file).annotations
    by_name: dict[str, dict[str, Any]] = {}
    for row in rows:
        path = Path(str(row["file_name"])).with_suffix("")
        by_name[path.as_posix()] = dict(row)
        by_name.setdefault(path.name, dict(row))
    return by_name


def _splits(path: Path) -> tuple[str, ...]:
    names = folder_names(path / "annotations")
    return sort_splits(name for name in names if (path / "images" / name).is_dir())


def _is_ade20k(path: Path) -> bool:
    splits = _splits(path)
    if "training" not in splits and "validation" not in splits:
        return False
    if first_file(path / "objectInfo150.txt", path / "sceneCategories.txt"):
        return True
    return any(any((path / "images" / split).glob("ADE_*.jpg")) for split in splits)


ADE20K = Layout(
    kind="ade20k",
    title="ADE20K, 150 classes",
    expects="images/{training,validation} and annotations/{training,validation}",
    fits=_is_ade20k,
    splits=_splits,
    read=read_ade20k,
)


# --- 847 classes ------------------------------------------------------------------------------------------------------


def read_ade20k_full(path: Path, split: str) -> LazyDataset:
    """Open one part of the full ADE20K with its 847 classes."""
    categories = class_list("ade20k_full")
    pairs = _pair_full_files(path, split)
    images, flaws = pair_images(pairs, "ade20k_full", split, "semantic+instances")
    number_of_code = {code: number for number, code in enumerate(ade20k_full_codes(), 1)}

    def read_map(image: ImageRecord) -> LabelMap:
        assert image.semantic_path is not None
        if image.semantic_path.suffix == ".tif":
            stored = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
            category_ids = np.where(stored == _NO_CLASS, 0, stored + 1).astype(np.int32)
            return label_map_of_classes(category_ids, categories, image, category_ids == 0)
        channels = read_channels_of_size(image.semantic_path, image.hw, image.image_frame).astype(
            np.int32
        )
        codes = channels[:, :, 0] // 10 * 256 + channels[:, :, 1]
        category_ids = remap_values(codes, number_of_code)
        numbers = category_ids * _CLASS_FACTOR + channels[:, :, 2]
        ids = np.where(category_ids > 0, numbers, 0).astype(np.int32)
        category_of = number_segments(ids, lambda number: number // _CLASS_FACTOR)
        labels = label_map_of_segments(ids, category_of, categories, image)
        return LabelMap(
            ids, labels.segments, semantic=category_ids, void=category_ids == 0, flaws=labels.flaws
        )

    return LazyDataset(
        name="ade20k_full",
        kind="ade20k_full",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
    )


def _pair_full_files(path: Path, split: str) -> list[tuple[Path, Path]]:
    """Return images and label maps of the original layout, or of the one that Detectron2's script writes."""
    original = path / "images" / "ADE" / split
    if original.is_dir():
        pairs = []
        for file in list_images(original, deep=True):
            if file.suffix.lower() == ".jpg":
                pairs.append((file, file.with_name(f"{file.stem}_seg.png")))
        return pairs
    label_folder = path / "annotations_detectron2" / split
    image_folder = path / "images_detectron2" / split
    if label_folder.is_dir() and image_folder.is_dir():
        return pair_in_folders(image_folder, label_folder, ".tif")
    raise incomplete_layout_error(
        "full ADE20K",
        path,
        f"images/ADE/{split}, or images_detectron2/ and annotations_detectron2/{split}",
    )


def _full_splits(path: Path) -> tuple[str, ...]:
    folder = first_folder(path / "images" / "ADE", path / "annotations_detectron2")
    if folder is None:
        return ()
    return sort_splits(folder_names(folder))


ADE20K_FULL = Layout(
    kind="ade20k_full",
    title="ADE20K, 847 classes",
    expects="images/ADE/{training,validation}, or images_detectron2/ and annotations_detectron2/",
    fits=lambda path: bool(_full_splits(path)) and not _is_ade20k(path),
    splits=_full_splits,
    read=read_ade20k_full,
)
