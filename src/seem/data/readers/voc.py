"""Pascal VOC, Pascal Context and SBD.

    VOC2012/JPEGImages  SegmentationClass  SegmentationObject  ImageSets/Segmentation/<split>.txt  (VOCdevkit too)
    VOC2010/JPEGImages  SegmentationClassContext  ImageSets/SegmentationContext/<split>.txt
    benchmark_RELEASE/dataset/img  inst/*.mat  cls/*.mat  <split>.txt  (or that folder itself, or one above)

In VOC 255 is void: the edges of objects and what was too difficult. Without SegmentationObject a class is one region of
several objects that nobody told apart. SBD has no void.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from seem.data.classes import class_list
from seem.data.dataset import LabelMap, LazyDataset
from seem.data.image_files import exact_labels
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.label_maps import class_regions, complete_everywhere, pair_photos, read_list, segments_of
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord

VOID = 255


def voc_home(path: Path, maps: str = "SegmentationClass", lists: str = "Segmentation") -> Path | None:
    """Find the folder of one year, from it or from one or two levels above."""
    found = [
        place
        for pattern in (".", "VOC*", "VOCdevkit/VOC*")
        for place in sorted(path.glob(pattern) if pattern != "." else [path])
        if (place / maps).is_dir() and (place / "ImageSets" / lists).is_dir()
    ]
    return found[0] if len(found) == 1 else None


def read_voc(path: Path, split: str) -> LazyDataset:
    """Open one part of Pascal VOC."""
    home = voc_home(path)
    if home is None or not (home / "JPEGImages").is_dir():
        raise refuse("Pascal VOC", path, "JPEGImages, SegmentationClass and ImageSets/Segmentation of one year")
    categories = class_list("pascal_voc")
    photos, flaws = _photos(home, split, "Segmentation", "SegmentationClass", home.name)

    def read_map(photo: ImageRecord) -> LabelMap | None:
        assert photo.semantic_path is not None
        if not photo.semantic_path.is_file() and split == "test":
            return None
        classes = exact_labels(photo.semantic_path, photo.hw)
        objects = home / "SegmentationObject" / photo.semantic_path.name
        void = classes == VOID
        classes[void] = 0
        if not objects.is_file():
            return class_regions(classes, categories, photo, void)
        ids = exact_labels(objects, photo.hw)
        void |= ids == VOID
        ids[ids == VOID] = 0
        found = by_majority(ids, classes, categories, photo)
        return LabelMap(ids, found.segments, semantic=classes, void=void, flaws=found.flaws)

    return LazyDataset(
        name=home.name,
        kind="voc",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=read_map,
        complete=complete_everywhere(categories),
        flaws=flaws,
        files=(home / "ImageSets" / "Segmentation" / f"{split}.txt",),
    )


def by_majority(
    ids: Int32[np.ndarray, "h w"],
    classes: Int32[np.ndarray, "h w"],
    categories: tuple[CategoryRecord, ...],
    photo: ImageRecord,
) -> LabelMap:
    """Give every object the class that most of its pixels have."""

    def of(number: int) -> int:
        inside = classes[ids == number]
        return int(np.bincount(inside[inside > 0]).argmax()) if (inside > 0).any() else 0

    return segments_of(ids, {number: of(number) for number in np.unique(ids).tolist() if number}, categories, photo)


def read_context(path: Path, split: str) -> LazyDataset:
    """Open one part of Pascal Context, its 59 classes as indexed PNG (ids 1 to 59, 0 = none of them)."""
    home = voc_home(path, "SegmentationClassContext", "SegmentationContext")
    if home is None or not (home / "JPEGImages").is_dir():
        raise refuse(
            "Pascal Context", path, "JPEGImages, SegmentationClassContext and ImageSets/SegmentationContext",
            way_out="Convert its .mat files to PNG first, as segmentation toolboxes do.",
        )  # fmt: skip
    categories = class_list("pascal_context")
    photos, flaws = _photos(home, split, "SegmentationContext", "SegmentationClassContext", f"{home.name} context")

    def read_map(photo: ImageRecord) -> LabelMap | None:
        assert photo.semantic_path is not None
        classes = exact_labels(photo.semantic_path, photo.hw)
        void = (classes == 0) | (classes == VOID)
        classes[void] = 0
        return class_regions(classes, categories, photo, void)

    return LazyDataset(
        name=f"{home.name} context",
        kind="context",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=read_map,
        complete=complete_everywhere(categories),
        flaws=flaws,
        files=(home / "ImageSets" / "SegmentationContext" / f"{split}.txt",),
    )


def _photos(
    home: Path, split: str, lists: str, maps: str, name: str
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...]]:
    stems = read_list(home / "ImageSets" / lists / f"{split}.txt")
    pairs = ((home / "JPEGImages" / f"{stem}.jpg", home / maps / f"{stem}.png") for stem in stems)
    return pair_photos(pairs, name, split, "semantic+instances")


def sbd_home(path: Path) -> Path | None:
    """Find the folder of SBD that holds `img` and `inst`."""
    places = (path, path / "dataset", path / "benchmark_RELEASE" / "dataset")
    return next((place for place in places if (place / "inst").is_dir() and any((place / "inst").glob("*.mat"))), None)


def read_sbd(path: Path, split: str) -> LazyDataset:
    """Open one part of SBD."""
    home = sbd_home(path)
    if home is None or not (home / "img").is_dir():
        raise refuse("SBD", path, "img, inst/*.mat and <split>.txt", way_out="Give benchmark_RELEASE/dataset.")
    categories = class_list("pascal_voc")
    stems = read_list(home / f"{split}.txt")
    pairs = ((home / "img" / f"{stem}.jpg", home / "inst" / f"{stem}.mat") for stem in stems)
    photos, flaws = pair_photos(pairs, "sbd", split, "instances")

    def read_map(photo: ImageRecord) -> LabelMap | None:
        assert photo.semantic_path is not None
        ids, numbers = read_instances(photo.semantic_path, photo.hw)
        of = {number: category for number, category in enumerate(numbers, 1) if (ids == number).any()}
        return segments_of(ids, of, categories, photo)

    return LazyDataset(
        name="sbd",
        kind="sbd",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=read_map,
        complete=complete_everywhere(categories),
        flaws=flaws,
        files=(home / f"{split}.txt",),
    )


def read_instances(file: Path, hw: tuple[int, int]) -> tuple[Int32[np.ndarray, "h w"], list[int]]:
    """Read SBD's `GTinst`: the map of objects, and the class of each."""
    content = _matlab(file)
    try:
        ids = np.asarray(content["GTinst"]["Segmentation"]).astype(np.int32)
        numbers = [int(value) for value in np.atleast_1d(content["GTinst"]["Categories"]).ravel()]
    except (KeyError, TypeError, ValueError, IndexError):
        message = f"{file} has no GTinst with Segmentation and Categories"
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE) from None
    if ids.shape != hw:
        raise DataError(f"{file} is {ids.shape} (h, w), its photo {hw}", FlawKind.WRONG_SIZE)
    return ids, numbers


def _matlab(file: Path) -> Any:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError('SBD needs SciPy; pip install "seem[evaluate]".') from error
    if not file.is_file():
        raise DataError(f"{file} is missing", FlawKind.MISSING_MASK_FILE)
    try:
        return loadmat(file, simplify_cells=True)
    except Exception as error:  # SciPy stumbles over damaged files in many ways
        raise DataError(f"{file} cannot be read ({error})", FlawKind.UNREADABLE_MASK_FILE) from error


def _lists(home: Callable[[Path], Path | None], inner: str) -> Callable[[Path], tuple[str, ...]]:
    def splits(path: Path) -> tuple[str, ...]:
        place = home(path)
        return in_order({file.stem for file in (place / inner).glob("*.txt")}) if place else ()

    return splits


def _context_home(path: Path) -> Path | None:
    return voc_home(path, "SegmentationClassContext", "SegmentationContext")


VOC = Layout(
    "voc",
    "Pascal VOC: classes and objects",
    "JPEGImages, SegmentationClass, SegmentationObject and ImageSets/Segmentation/<split>.txt",
    lambda path: voc_home(path) is not None,
    _lists(voc_home, "ImageSets/Segmentation"),
    read_voc,
)

CONTEXT = Layout(
    "context",
    "Pascal Context, 59 classes",
    "JPEGImages, SegmentationClassContext and ImageSets/SegmentationContext/<split>.txt",
    lambda path: _context_home(path) is not None,
    _lists(_context_home, "ImageSets/SegmentationContext"),
    read_context,
)

SBD = Layout(
    "sbd",
    "SBD",
    "img, inst/*.mat and <split>.txt",
    lambda path: sbd_home(path) is not None,
    _lists(sbd_home, "."),
    read_sbd,
)
