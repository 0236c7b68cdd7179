"""ScanNet with 20 or 40 classes.

    scannet_frames_25k/[images/]<scene>/color/*.jpg  label/*.png  instance/*.png
    scannetv2_<split>.txt lists scenes, in the folder or above it; without lists the set is not divided

Label maps hold the numbers of NYU's 40 classes; of these 20 are evaluated, the others then are void. A map that is
smaller or larger than its image but of its shape is resized to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from seem.data.classes import class_list
from seem.data.dataset import ALL_SPLIT
from seem.data.image_files import list_folders, list_images, read_labels, resize_labels
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    label_map_of_segments,
    note_listed,
    note_missing,
    number_segments,
    pair_by_stem,
    pair_images,
    read_name_list,
    thing_ids,
)
from seem.data.records import CategoryRecord, Flaw, ImageRecord, categories_by_id

_CLASS_FACTOR = 65536  # segment ids: class x this + number of the object, 0 = no single object


def read_scannet(path: Path, split: str, num_classes: int) -> LazyDataset:
    """Open one part of ScanNet with 20 or 40 classes."""
    name = f"scannet{num_classes}"
    home, lists = _find_scenes(path), _find_scene_lists(path)
    if home is None or (split != ALL_SPLIT and split not in lists):
        raise incomplete_layout_error(
            "ScanNet", path, f"<scene>/color, <scene>/label and scannetv2_{split}.txt"
        )
    scenes = _scene_folders(home)
    notes: list[Flaw] = []
    if split != ALL_SPLIT:
        listed = set(read_name_list(lists[split]))
        notes += _note_scenes(lists, lists[split], scenes)
        scenes = [folder for folder in scenes if folder.name in listed]
    pairs: list[tuple[Path, Path]] = []
    for folder in scenes:
        pairs += pair_by_stem(list_images(folder / "color"), folder / "label")
    images, flaws = pair_images(
        pairs,
        name,
        split,
        "semantic+instances",
        source_of=lambda file: file.parent.parent.name,
    )
    categories = class_list(name)
    class_ids = list(categories_by_id(categories))

    def read_map(image: ImageRecord) -> LabelMap:
        assert image.semantic_path is not None
        stored = _read_resized(image.semantic_path, image)
        is_listed = np.isin(stored, class_ids)
        category_ids = np.where(is_listed, stored, 0).astype(np.int32)
        object_file = image.semantic_path.parents[1] / "instance" / image.semantic_path.name
        if not object_file.parent.is_dir():
            return label_map_of_classes(category_ids, categories, image, category_ids == 0)
        return _combine_maps(category_ids, _read_resized(object_file, image), categories, image)

    return LazyDataset(
        name=name,
        kind=name,
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        notes=tuple(notes),
        files=tuple(lists.values()),
        searched=tuple(folder / kind for folder in scenes for kind in ("color", "label")),
    )


def _note_scenes(
    lists: Mapping[str, Path], list_file: Path, scenes: Sequence[Path]
) -> Iterator[Flaw]:
    """Note the scenes that a list names and that are not there, and those that no list names."""
    present = dict.fromkeys(folder.name for folder in scenes)
    yield from note_missing(list_file, "scenes", read_name_list(list_file), present.keys())
    listed: set[str] = set()
    for file in lists.values():
        listed.update(read_name_list(file))
    unlisted = [name for name in present if name not in listed]
    yield from note_listed(list_file.parent.name, "scenes that no list names", unlisted)


def _read_resized(file: Path, image: ImageRecord) -> Int32[np.ndarray, "h w"]:
    return resize_labels(read_labels(file, image.hw, image.image_frame), image.hw, file)


def _combine_maps(
    category_ids: Int32[np.ndarray, "h w"],
    object_numbers: Int32[np.ndarray, "h w"],
    categories: tuple[CategoryRecord, ...],
    image: ImageRecord,
) -> LabelMap:
    """Combine class map and object map; a thing without an object number is a group."""
    things = thing_ids(categories)
    is_thing = np.isin(category_ids, things)
    numbers = np.where(is_thing, object_numbers, 0)
    ids = (category_ids * _CLASS_FACTOR + numbers).astype(np.int32)
    category_of = number_segments(ids, lambda number: number // _CLASS_FACTOR)
    qualities = {}
    for number, category_id in category_of.items():
        if category_id in things and number % _CLASS_FACTOR == 0:
            qualities[number] = "group"
    segments = label_map_of_segments(ids, category_of, categories, image).segments
    return LabelMap(
        ids, segments, semantic=category_ids, void=category_ids == 0, qualities=qualities
    )


def _find_scenes(path: Path) -> Path | None:
    """Find the folder of scenes."""
    frames = path / "scannet_frames_25k"
    candidates = (path, path / "images", frames, frames / "images")
    return next(filter(_scene_folders, candidates), None)


def _scene_folders(home: Path) -> list[Path]:
    return list(filter(_is_scene, list_folders(home)))


def _is_scene(folder: Path) -> bool:
    return folder.name.startswith("scene") and (folder / "color").is_dir()


def _find_scene_lists(path: Path) -> dict[str, Path]:
    """Find the lists of scenes by part."""
    lists: dict[str, Path] = {}
    for folder in (path, path / "meta", path.resolve().parent):
        for file in sorted(folder.glob("scannetv2_*.txt")):
            lists.setdefault(file.stem.removeprefix("scannetv2_"), file)
    return lists


def _scannet_layout(num_classes: int) -> Layout:
    return Layout(
        kind=f"scannet{num_classes}",
        title=f"ScanNet, {num_classes} classes",
        expects="<scene>/color, <scene>/label, <scene>/instance and scannetv2_<split>.txt",
        fits=lambda path: _find_scenes(path) is not None,
        splits=lambda path: sort_splits(_find_scene_lists(path)),
        read=partial(read_scannet, num_classes=num_classes),
    )


SCANNET = (_scannet_layout(20), _scannet_layout(40))
