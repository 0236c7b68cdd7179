"""Streets: Cityscapes and BDD100K.

    leftImg8bit/<split>/<city>/*_leftImg8bit.png  gtFine/<split>/<city>/*_gtFine_instanceIds.png (or _labelIds.png)

    images/10k/<split>/*.jpg  labels/sem_seg/masks/<split>/*.png          19 classes from 0, 255 = void
                              labels/pan_seg/bitmasks/<split>/*.png       40 classes; R = class, G = marks, B A = object

Cityscapes' instance map holds 1000 x label + number for objects and the bare label for the rest: stuff, or a group of
things. Labels outside of the 19 evaluated ones are void.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from seem.data.classes import class_list
from seem.data.dataset import LabelMap, LazyDataset
from seem.data.image_files import exact_labels, folders_in, photos_in, read_channels, wrong_size
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.label_maps import class_regions, complete_everywhere, pair_photos, segments_of
from seem.data.records import DataError, Flaw, FlawKind, ImageRecord

PHOTO_END = "_leftImg8bit"
OBJECTS = 1000  # a number from here on is 1000 x label + number of the object
VOID = 255
CROWD, IGNORED = 2, 1  # marks of BDD100K, bits of its green channel


def read_cityscapes(path: Path, split: str) -> LazyDataset:
    """Open one part of Cityscapes."""
    photo_folder, labels = path / "leftImg8bit" / split, path / "gtFine" / split
    if not photo_folder.is_dir():
        raise refuse("Cityscapes", path, f"leftImg8bit/{split} and gtFine/{split}")
    files = [file for file in photos_in(photo_folder, deep=True) if file.stem.endswith(PHOTO_END)]
    pairs = [(file, _labels(labels / file.parent.name, file.stem.removesuffix(PHOTO_END))) for file in files]
    photos, flaws = pair_photos(pairs, "cityscapes", split, "panoptic", lambda file: file.parent.name)
    categories = class_list("cityscapes")
    known = {category.id: category for category in categories}

    def read_map(photo: ImageRecord) -> LabelMap | None:
        if photo.semantic_path is None:
            return None
        ids = exact_labels(photo.semantic_path, photo.hw)
        label = np.where(ids >= OBJECTS, ids // OBJECTS, ids)
        void = ~np.isin(label, list(known))
        ids[void] = 0
        classes = np.where(void, 0, label).astype(np.int32)
        if photo.semantic_path.stem.endswith("labelIds"):
            return class_regions(classes, categories, photo, void)
        of = {n: n // OBJECTS if n >= OBJECTS else n for n in np.unique(ids).tolist() if n}
        groups = frozenset(n for n, label in of.items() if n < OBJECTS and known[label].is_thing)
        found = segments_of(ids, of, categories, photo, crowds=groups)
        return LabelMap(ids, found.segments, classes, void, is_partition=True)

    return LazyDataset(
        name="cityscapes",
        kind="cityscapes",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=read_map,
        complete=complete_everywhere(categories),
        flaws=flaws,
    )


def _labels(folder: Path, stem: str) -> Path | None:
    """Find the map of a photo; the public test part has none of worth."""
    names = (f"{stem}_gtFine_instanceIds.png", f"{stem}_gtFine_labelIds.png")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_bdd(path: Path, split: str) -> LazyDataset:
    """Open one part of BDD100K with 19 classes."""
    photos, flaws = _bdd_photos(path, path / "labels" / "sem_seg" / "masks" / split, split, "semantic", "bdd100k")
    categories = class_list("bdd100k")

    def read_map(photo: ImageRecord) -> LabelMap | None:
        if photo.semantic_path is None:
            return None
        stored = exact_labels(photo.semantic_path, photo.hw)
        classes = np.where(stored == VOID, 0, stored + 1).astype(np.int32)
        return class_regions(classes, categories, photo, stored == VOID)

    return LazyDataset(
        "bdd100k", "bdd100k", split, path, categories, photos, read_map,
        complete=complete_everywhere(categories), flaws=flaws,
    )  # fmt: skip


def read_bdd_panoptic(path: Path, split: str) -> LazyDataset:
    """Open one part of BDD100K with 40 classes and objects."""
    photos, flaws = _bdd_photos(
        path, path / "labels" / "pan_seg" / "bitmasks" / split, split, "panoptic", "bdd100k_panoptic"
    )
    categories = class_list("bdd100k_panoptic")

    def read_map(photo: ImageRecord) -> LabelMap | None:
        if photo.semantic_path is None:
            return None
        channels = read_channels(photo.semantic_path).astype(np.int32)
        if channels.shape[:2] != photo.hw:
            wrong_size(photo.semantic_path, channels.shape[:2], photo.hw)
        if channels.shape[2] != 4:
            message = f"{photo.semantic_path} has {channels.shape[2]} channels; a bit mask has four"
            raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
        kind, marks, high, low = np.moveaxis(channels, -1, 0)
        void = kind == 0
        ids = np.where(void, 0, 1 + kind * 65536 + high * 256 + low).astype(np.int32)
        of = {n: (n - 1) // 65536 for n in np.unique(ids).tolist() if n}
        groups = frozenset(np.unique(ids[(marks & (CROWD | IGNORED)) > 0]).tolist())
        return segments_of(ids, of, categories, photo, crowds=groups, void=void, is_partition=True)

    return LazyDataset(
        "bdd100k_panoptic", "bdd100k_panoptic", split, path, categories, photos, read_map,
        complete=complete_everywhere(categories), flaws=flaws,
    )  # fmt: skip


def _bdd_photos(
    path: Path, labels: Path, split: str, labelled: str, name: str
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...]]:
    folder = path / "images" / "10k" / split
    if not folder.is_dir() or not labels.is_dir():
        raise refuse("BDD100K", path, f"images/10k/{split} and {labels.relative_to(path).as_posix()}")
    pairs = [(file, labels / f"{file.stem}.png") for file in photos_in(folder)]
    return pair_photos(pairs, name, split, labelled)


def _city_splits(path: Path) -> tuple[str, ...]:
    return in_order({folder.name for folder in folders_in(path / "leftImg8bit")})


CITYSCAPES = Layout(
    "cityscapes",
    "Cityscapes, 19 classes",
    "leftImg8bit/<split>/<city> and gtFine/<split>/<city>",
    lambda path: (path / "leftImg8bit").is_dir(),
    _city_splits,
    read_cityscapes,
)

BDD100K = Layout(
    "bdd100k",
    "BDD100K, 19 classes",
    "images/10k/<split> and labels/sem_seg/masks/<split>",
    lambda path: (path / "labels" / "sem_seg" / "masks").is_dir(),
    lambda path: in_order({folder.name for folder in folders_in(path / "labels" / "sem_seg" / "masks")}),
    read_bdd,
)

BDD100K_PANOPTIC = Layout(
    "bdd100k_panoptic",
    "BDD100K, 40 classes with objects",
    "images/10k/<split> and labels/pan_seg/bitmasks/<split>",
    lambda path: (path / "labels" / "pan_seg" / "bitmasks").is_dir(),
    lambda path: in_order({folder.name for folder in folders_in(path / "labels" / "pan_seg" / "bitmasks")}),
    read_bdd_panoptic,
)
