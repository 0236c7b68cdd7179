"""Rooms: SUN RGB-D with 37 classes, ScanNet with 20 or 40.

    image/<split>/*.jpg  label37/<split>/*.png     (or images, label, labels; names equal, or equal in their digits)

    scannet_frames_25k/[images/]<scene>/color/*.jpg  label/*.png  instance/*.png
    scannetv2_<split>.txt lists scenes, in the folder or above it; without lists the set is not divided

ScanNet's label maps hold the numbers of NYU's 40 classes; of these 20 are evaluated, the others then are void. A map
that is smaller or larger than its photo but of its shape is brought to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from seem.data.classes import class_list
from seem.data.dataset import ALL_SPLIT, LabelMap, LazyDataset
from seem.data.image_files import by_stem, exact_labels, first_folder, folders_in, in_frame, photos_in, read_labels
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.label_maps import (
    class_regions,
    complete_everywhere,
    pair_photos,
    read_list,
    recoded,
    segments_of,
)
from seem.data.records import ImageRecord

PHOTOS, LABELS = ("image", "images"), ("label37", "label", "labels")
OBJECTS = 65536


def _sun_folders(path: Path) -> tuple[Path, Path] | None:
    photos, labels = (first_folder(*(path / name for name in names)) for names in (PHOTOS, LABELS))
    return (photos, labels) if photos and labels else None


def _sun_splits(path: Path) -> tuple[str, ...]:
    folders = _sun_folders(path)
    if folders is None:
        return ()
    return in_order({each.name for each in folders_in(folders[0])} & {each.name for each in folders_in(folders[1])})


def read_sun(path: Path, split: str) -> LazyDataset:
    """Open one part of SUN RGB-D."""
    folders = _sun_folders(path)
    if folders is None or not (folders[0] / split).is_dir() or not (folders[1] / split).is_dir():
        raise refuse("SUN RGB-D", path, f"image/{split} and label37/{split}")
    labels = {
        **{_digits(stem): file for stem, file in by_stem(folders[1] / split).items()},
        **by_stem(folders[1] / split),
    }
    files = photos_in(folders[0] / split)
    fallback = folders[1] / split
    pairs = [(f, labels.get(f.stem) or labels.get(_digits(f.stem)) or fallback / f"{f.stem}.png") for f in files]
    photos, flaws = pair_photos(pairs, "sunrgbd", split, "semantic")
    categories = class_list("sunrgbd")

    def read_map(photo: ImageRecord) -> LabelMap:
        assert photo.semantic_path is not None
        classes = exact_labels(photo.semantic_path, photo.hw)
        return class_regions(classes, categories, photo, classes == 0)

    return LazyDataset(
        "sunrgbd", "sunrgbd", split, path, categories, photos, read_map,
        complete=complete_everywhere(categories), flaws=flaws,
    )  # fmt: skip


def _digits(stem: str) -> str:
    """Return the number in a name: img-005051 and 5051 belong together."""
    return "".join(re.findall(r"\d+", stem)).lstrip("0")


def scenes(path: Path) -> Path | None:
    """Find the folder of scenes."""
    places = (path, path / "images", path / "scannet_frames_25k", path / "scannet_frames_25k" / "images")
    return next((place for place in places if any(_scene_folders(place))), None)


def _scene_folders(place: Path) -> Iterator[Path]:
    return (each for each in folders_in(place) if each.name.startswith("scene") and (each / "color").is_dir())


def _scene_lists(path: Path) -> dict[str, Path]:
    """Find the lists of scenes by part."""
    found: dict[str, Path] = {}
    for place in (path, path / "meta", path.resolve().parent):
        for file in sorted(place.glob("scannetv2_*.txt")):
            found.setdefault(file.stem.removeprefix("scannetv2_"), file)
    return found


def read_scannet(count: int) -> Callable[[Path, str], LazyDataset]:
    """Return the reader with 20 or 40 classes."""
    name = f"scannet{count}"

    def read(path: Path, split: str) -> LazyDataset:
        home, lists = scenes(path), _scene_lists(path)
        if home is None or (split != ALL_SPLIT and split not in lists):
            raise refuse("ScanNet", path, f"<scene>/color, <scene>/label and scannetv2_{split}.txt")
        kept = set(read_list(lists[split])) if split != ALL_SPLIT else None
        pairs = [
            (file, folder / "label" / f"{file.stem}.png")
            for folder in _scene_folders(home)
            if kept is None or folder.name in kept
            for file in photos_in(folder / "color")
        ]
        photos, flaws = pair_photos(pairs, name, split, "semantic+instances", lambda file: file.parent.parent.name)
        categories = class_list(name)
        table = {category.id: category.id for category in categories}

        def read_map(photo: ImageRecord) -> LabelMap:
            assert photo.semantic_path is not None
            labels = in_frame(read_labels(photo.semantic_path), photo.hw, photo.semantic_path)
            classes = recoded(labels, table)
            objects = photo.semantic_path.parents[1] / "instance" / photo.semantic_path.name
            if not objects.is_file():
                return class_regions(classes, categories, photo, classes == 0)
            numbers = in_frame(read_labels(objects), photo.hw, objects)
            is_thing = np.isin(classes, [category.id for category in categories if category.is_thing])
            ids = np.where(is_thing, classes * OBJECTS + numbers, classes * OBJECTS).astype(np.int32)
            of = {n: n // OBJECTS for n in np.unique(ids).tolist() if n}
            things = {category.id for category in categories if category.is_thing}
            groups = {n: "group" for n, category in of.items() if category in things and n % OBJECTS == 0}
            found = segments_of(ids, of, categories, photo)
            return LabelMap(ids, found.segments, classes, classes == 0, qualities=groups)

        return LazyDataset(
            name, name, split, path, categories, photos, read_map,
            complete=complete_everywhere(categories), flaws=flaws, files=tuple(lists.values()),
        )  # fmt: skip

    return read


SUNRGBD = Layout(
    "sunrgbd",
    "SUN RGB-D, 37 classes",
    "image/{train,test} and label37/{train,test}",
    lambda path: (path / "label37").is_dir() and bool(_sun_splits(path)),
    _sun_splits,
    read_sun,
)

SCANNET = tuple(
    Layout(
        f"scannet{count}",
        f"ScanNet, {count} classes",
        "<scene>/color, <scene>/label, <scene>/instance and scannetv2_<split>.txt",
        lambda path: scenes(path) is not None,
        lambda path: in_order(set(_scene_lists(path))),
        read_scannet(count),
    )
    for count in (20, 40)
)
