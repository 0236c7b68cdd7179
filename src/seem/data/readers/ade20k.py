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
from seem.data.dataset import LabelMap, LazyDataset
from seem.data.image_files import by_stem, exact_labels, first_folder, folders_in, photos_in, read_channels, wrong_size
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.coco import Document, read_panoptic
from seem.data.readers.label_maps import class_regions, complete_everywhere, pair_photos, recoded, segments_of
from seem.data.records import CategoryRecord, DataError, FlawKind, ImageRecord

PREPARED = {"training": "train", "validation": "val"}
NO_CLASS = 65535
OBJECTS = 256  # more than an instance map can number


def read_ade20k(path: Path, split: str) -> LazyDataset:
    """Open one part of ADE20K with 150 classes."""
    photo_folder, labels = path / "images" / split, path / "annotations" / split
    if not photo_folder.is_dir() or not labels.is_dir():
        raise refuse("ADE20K (150 classes)", path, f"images/{split} and annotations/{split}")
    categories = class_list("ade20k")
    by_name = by_stem(labels)
    pairs = ((file, by_name.get(file.stem, labels / f"{file.stem}.png")) for file in photos_in(photo_folder))
    whole = path / f"ade20k_panoptic_{PREPARED.get(split, split)}.json"
    objects = path / "annotations_instance" / split
    exact = whole.is_file() or objects.is_dir()
    photos, flaws = pair_photos(pairs, "ade20k", split, "panoptic" if exact else "semantic")
    prepared = _prepared(whole) if whole.is_file() else {}
    from_zero = {category.id - 1: category for category in categories}

    def read_map(photo: ImageRecord) -> LabelMap:
        assert photo.semantic_path is not None
        classes = exact_labels(photo.semantic_path, photo.hw)
        if row := prepared.get(photo.path.stem):
            found = read_panoptic(whole.with_suffix("") / row["file_name"], row["segments_info"], photo, from_zero)
            return LabelMap(found.ids, found.segments, classes, found.void, is_partition=True, flaws=found.flaws)
        if objects.is_dir():
            return with_objects(classes, objects / f"{photo.path.stem}.png", categories, photo)
        return class_regions(classes, categories, photo, classes == 0)

    return LazyDataset(
        name="ade20k",
        kind="ade20k",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=read_map,
        complete=complete_everywhere(categories),
        flaws=flaws,
        files=(whole,) if whole.is_file() else (),
    )


def with_objects(
    classes: Int32[np.ndarray, "h w"], file: Path, categories: tuple[CategoryRecord, ...], photo: ImageRecord
) -> LabelMap:
    """Put stuff of the class map and objects of the instance map together; a thing without an object is void."""
    channels = read_channels(file)
    if channels.shape[:2] != photo.hw:
        wrong_size(file, channels.shape[:2], photo.hw)
    if channels.shape[2] < 2:
        raise DataError(f"{file} has one channel; red = class, green = object", FlawKind.UNREADABLE_MASK_FILE)
    things = [0, *(category.id for category in categories if category.is_thing)]
    kinds = channels[:, :, 0].astype(np.int32)
    if kinds.max() >= len(things):
        message = f"{file} names class {int(kinds.max())} of {len(things) - 1}"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    category = np.array(things, np.int32)[kinds]
    is_stuff = np.isin(classes, [each.id for each in categories if not each.is_thing])
    ids = np.where(is_stuff, classes * OBJECTS, 0)
    ids = np.where(kinds > 0, category * OBJECTS + channels[:, :, 1], ids).astype(np.int32)
    of = {number: number // OBJECTS for number in np.unique(ids).tolist() if number}
    found = segments_of(ids, of, categories, photo)
    return LabelMap(ids, found.segments, classes, ids == 0, is_partition=True, flaws=found.flaws)


def _prepared(file: Path) -> dict[str, dict[str, Any]]:
    rows = Document.read(file).annotations
    return {Path(str(row["file_name"])).stem: dict(row) for row in rows}


def read_full(path: Path, split: str) -> LazyDataset:
    """Open one part of the full ADE20K with its 847 classes."""
    categories = class_list("ade20k_full")
    original, prepared = path / "images" / "ADE" / split, path / "annotations_detectron2" / split
    if original.is_dir():
        files = [file for file in photos_in(original, deep=True) if file.suffix.lower() == ".jpg"]
        pairs = [(file, file.with_name(f"{file.stem}_seg.png")) for file in files]
    elif prepared.is_dir() and (path / "images_detectron2" / split).is_dir():
        pairs = [(file, prepared / f"{file.stem}.tif") for file in photos_in(path / "images_detectron2" / split)]
    else:
        raise refuse(
            "full ADE20K", path, f"images/ADE/{split}, or images_detectron2/ and annotations_detectron2/{split}"
        )
    photos, flaws = pair_photos(pairs, "ade20k_full", split, "semantic+instances")
    number_of = {code: number for number, code in enumerate(ade20k_full_codes(), 1)}

    def read_map(photo: ImageRecord) -> LabelMap:
        assert photo.semantic_path is not None
        if photo.semantic_path.suffix == ".tif":
            stored = exact_labels(photo.semantic_path, photo.hw)
            classes = np.where(stored == NO_CLASS, 0, stored + 1).astype(np.int32)
            return class_regions(classes, categories, photo, classes == 0)
        channels = read_channels(photo.semantic_path).astype(np.int32)
        if channels.shape[:2] != photo.hw:
            wrong_size(photo.semantic_path, channels.shape[:2], photo.hw)
        classes = recoded(channels[:, :, 0] // 10 * 256 + channels[:, :, 1], number_of)
        ids = np.where(classes > 0, classes * OBJECTS + channels[:, :, 2], 0).astype(np.int32)
        of = {number: number // OBJECTS for number in np.unique(ids).tolist() if number}
        found = segments_of(ids, of, categories, photo)
        return LabelMap(ids, found.segments, classes, classes == 0, flaws=found.flaws)

    return LazyDataset(
        name="ade20k_full",
        kind="ade20k_full",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=read_map,
        complete=complete_everywhere(categories),
        flaws=flaws,
    )


def _splits(path: Path) -> tuple[str, ...]:
    return in_order({each.name for each in folders_in(path / "annotations") if (path / "images" / each.name).is_dir()})


def _is_ade20k(path: Path) -> bool:
    names = {"training", "validation"} & set(_splits(path))
    return bool(names) and (
        (path / "objectInfo150.txt").is_file() or (path / "sceneCategories.txt").is_file() or _named(path)
    )


def _named(path: Path) -> bool:
    """Whether photos are called as ADE20K calls them."""
    return any(True for split in _splits(path) for _ in (path / "images" / split).glob("ADE_*.jpg"))


def _full_folder(path: Path) -> Path | None:
    return first_folder(path / "images" / "ADE", path / "annotations_detectron2")


def _full_splits(path: Path) -> tuple[str, ...]:
    folder = _full_folder(path)
    return in_order({each.name for each in folders_in(folder)}) if folder else ()


ADE20K = Layout(
    "ade20k",
    "ADE20K, 150 classes",
    "images/{training,validation} and annotations/{training,validation}",
    _is_ade20k,
    _splits,
    read_ade20k,
)

ADE20K_FULL = Layout(
    "ade20k_full",
    "ADE20K, 847 classes",
    "images/ADE/{training,validation}, or images_detectron2/ and annotations_detectron2/",
    lambda path: bool(_full_splits(path)) and not _is_ade20k(path),
    _full_splits,
    read_full,
)
