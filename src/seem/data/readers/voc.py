"""Pascal VOC, Pascal Context and SBD.

    VOC2012/JPEGImages  SegmentationClass  SegmentationObject  ImageSets/Segmentation/<split>.txt  (VOCdevkit too)
    VOC2010/JPEGImages  SegmentationClassContext  ImageSets/SegmentationContext/<split>.txt
    benchmark_RELEASE/dataset/img  inst/*.mat  cls/*.mat  <split>.txt  (or that folder itself, or one above)

In VOC 255 is void: the edges of objects and what was too difficult. Without the map of its objects a class is one
region of several objects that nobody told apart. SBD has no void.

A set of one's own in VOC's layout lists its classes in labelmap.txt (CVAT, Datumaro), class_names.txt (labelme) or
classes.txt beside JPEGImages; its maps hold numbers or the colours of labelmap.txt, and without ImageSets it is one
part. Without SegmentationObject they are stuff. Without such a list the classes are VOC's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int32

from seem.data.classes import class_list
from seem.data.image_files import (
    IMAGE_SUFFIXES,
    existing_files,
    first_file,
    list_images,
    only_path,
    read_labels_of_size,
    relative_stem,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, describe_contents, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.class_files import ClassFile, read_class_file
from seem.data.readers.class_maps import (
    VOID_VALUE,
    Legend,
    read_class_numbers,
    read_object_numbers,
    voc_colour,
)
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    label_map_of_segments,
    number_segments,
    pair_by_stem,
    pair_images,
    read_name_list,
)
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord
from seem.data.text_files import TextFile

_VOC_LISTS = Path("ImageSets", "Segmentation")
_CLASS_FILES = ("labelmap.txt", "class_names.txt", "classes.txt")
_OBJECT_NAME = re.compile(r"<object>\s*<name>\s*([^<]*?)\s*</name>")
_OFFICIAL_NAME = re.compile(r"(2007|2008|2009|2010|2011|2012)_\d{6}|\d{6}")
_NUM_READ_BOX_FILES = 50
_NUM_CLASSES = 20
_CONTEXT_LISTS = Path("ImageSets", "SegmentationContext")
_CONTEXT_MAPS = "SegmentationClassContext"


# --- Pascal VOC -------------------------------------------------------------------------------------------------------


def read_voc(path: Path, split: str) -> LazyDataset:
    """Open one part of Pascal VOC."""
    home = _find_voc_home(path)
    if home is None or not (home / "JPEGImages").is_dir():
        raise incomplete_layout_error(
            "Pascal VOC",
            path,
            "JPEGImages, SegmentationClass and ImageSets/Segmentation of one year",
        )
    own = read_class_file(home, _CLASS_FILES)
    if own is None:
        categories = class_list("pascal_voc")
        _check_annotated_names(home, categories)
    else:
        has_objects = (home / "SegmentationObject").is_dir()
        categories = own.categories(is_thing=has_objects)
    legend = _legend_of(own)
    list_file = home / _VOC_LISTS / f"{split}.txt"
    stems = _read_stems(list_file) if list_file.is_file() else _map_stems(home)
    files = _listed_images(stems, home / "JPEGImages")
    pairs = [
        (file, home / "SegmentationClass" / f"{stem}.png")
        for file, stem in zip(files, stems, strict=True)
    ]
    images, flaws = pair_images(pairs, home.name, split, "semantic+instances")

    def read_map(image: ImageRecord) -> LabelMap | None:
        assert image.semantic_path is not None
        if not image.semantic_path.is_file() and split == "test":
            return None
        category_ids = read_class_numbers(image.semantic_path, image, legend)
        void = category_ids == VOID_VALUE
        category_ids[void] = 0
        object_file = (
            home
            / "SegmentationObject"
            / image.semantic_path.relative_to(home / "SegmentationClass")
        )
        if not object_file.is_file():
            return label_map_of_classes(category_ids, categories, image, void)
        ids = read_object_numbers(object_file, image)
        void |= ids == VOID_VALUE
        ids[ids == VOID_VALUE] = 0
        category_of = number_segments(
            ids, lambda number: _majority_class(category_ids[ids == number])
        )
        labels = label_map_of_segments(ids, category_of, categories, image)
        return LabelMap(ids, labels.segments, semantic=category_ids, void=void, flaws=labels.flaws)

    return LazyDataset(
        name=home.name,
        kind="voc",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        notes=_note_classes(home, own, images),
        files=existing_files([list_file, *map(home.joinpath, _CLASS_FILES)]),
        searched=() if own is None else (home / "JPEGImages",),
    )


# --- Own classes ------------------------------------------------------------------------------------------------------


def _check_annotated_names(home: Path, categories: Sequence[CategoryRecord]) -> None:
    """Raise `DataError` if the boxes beside the maps are of other classes than VOC's."""
    known = {category.name for category in categories}
    annotated: set[str] = set()
    for file in islice(sorted((home / "Annotations").glob("*.xml")), _NUM_READ_BOX_FILES):
        annotated.update(_OBJECT_NAME.findall(TextFile.read(file).text))
    other = sorted(annotated - known)
    if other:
        raise DataError(
            f"{home} is laid out like Pascal VOC, but its classes are others ({', '.join(other[:5])}): write "
            "class_names.txt beside JPEGImages, a name a line, _background_ first."
        )


def _legend_of(own: ClassFile | None) -> Legend:
    """Return the colours of a list of classes; without one VOC's, which programs use for their own classes too."""
    if own is not None and own.number_of_colour:
        return own.legend()
    numbers: Iterable[int] = range(1, _NUM_CLASSES + 1)
    if own is not None:
        numbers = own.names
    colours = {voc_colour(number): number for number in numbers}
    return Legend("Pascal VOC", colours, explains_palettes=False)


def _note_classes(
    home: Path, own: ClassFile | None, images: Sequence[ImageRecord]
) -> tuple[Flaw, ...]:
    """Note what a list of classes leaves open, or that VOC's names are assumed for photos that are not VOC's."""
    if own is not None:
        return own.notes
    if all(_OFFICIAL_NAME.fullmatch(image.path.stem) for image in images):
        return ()
    what = (
        "VOC's 20 are assumed; write class_names.txt for others, a name a line, _background_ first"
    )
    return (Flaw(FlawKind.ASSUMED_CLASSES, home.name, what),)


# --- Files ------------------------------------------------------------------------------------------------------------


def _find_voc_home(
    path: Path, maps: str = "SegmentationClass", lists: Path = _VOC_LISTS
) -> Path | None:
    """Find the folder of one year, from it or from one or two levels above."""
    homes = []
    of_years = sorted(path.glob("VOC*")) + sorted(path.glob("VOCdevkit/VOC*"))
    for folder in (path, *of_years):
        has_parts = (folder / lists).is_dir() or (
            maps == "SegmentationClass" and _is_undivided(folder)
        )
        if (folder / maps).is_dir() and has_parts:
            homes.append(folder)
    return only_path(homes)


def _is_undivided(folder: Path) -> bool:
    """Whether a set has no lists of parts, but one of its own classes and photos, as labelme writes it."""
    has_classes = first_file(*map(folder.joinpath, _CLASS_FILES)) is not None
    return has_classes and (folder / "JPEGImages").is_dir()


def _read_stems(list_file: Path) -> list[str]:
    """Read the names of photos, without the ending that some programs leave on them."""
    stems = []
    for name in read_name_list(list_file):
        path = PurePosixPath(name)
        if path.suffix in IMAGE_SUFFIXES:
            name = str(path.with_suffix(""))
        stems.append(name)
    return stems


def _map_stems(home: Path) -> list[str]:
    """Return the names of all maps of a set without lists of parts."""
    folder = home / "SegmentationClass"
    files = list_images(folder, deep=True)
    if not files:
        raise incomplete_layout_error(
            "Pascal VOC",
            home,
            "maps in SegmentationClass",
            present=describe_contents(folder),
            way_out="Boxes, and masks in NumPy's files, are not read; export or save masks as PNG.",
        )
    return [relative_stem(file, folder) for file in files]


def _pair_listed_images(
    list_file: Path,
    home: Path,
    maps: str,
    set_name: str,
    split: str,
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...]]:
    files = _listed_images(read_name_list(list_file), home / "JPEGImages")
    pairs = pair_by_stem(files, home / maps)
    return pair_images(pairs, set_name, split, "semantic+instances")


def _listed_images(names: Iterable[str], folder: Path) -> list[Path]:
    """Return the paths of the images that a list names, with whichever ending they have; .jpg for those missing."""
    present = {file.with_suffix(""): file for file in list_images(folder, deep=True)}
    return [present.get(folder / name, folder / f"{name}.jpg") for name in names]


def _majority_class(category_ids: Int32[np.ndarray, " n"]) -> int:
    """Return the class that most pixels of an object have; 0 if none has one."""
    labelled = category_ids[category_ids > 0]
    if labelled.size == 0:
        return 0
    return int(np.bincount(labelled).argmax())


def _voc_splits(path: Path) -> tuple[str, ...]:
    return _listed_splits(_find_voc_home(path), _VOC_LISTS)


def _listed_splits(home: Path | None, lists: Path) -> tuple[str, ...]:
    """Return the parts that a set has lists of; none without a set."""
    if home is None:
        return ()
    return sort_splits(file.stem for file in (home / lists).glob("*.txt"))


VOC = Layout(
    kind="voc",
    title="Pascal VOC: classes and objects",
    expects="JPEGImages, SegmentationClass, SegmentationObject and ImageSets/Segmentation/<split>.txt",
    fits=lambda path: _find_voc_home(path) is not None,
    splits=_voc_splits,
    read=read_voc,
)


# --- Pascal Context ---------------------------------------------------------------------------------------------------


def read_context(path: Path, split: str) -> LazyDataset:
    """Open one part of Pascal Context, its 59 classes as indexed PNG (ids 1 to 59, 0 = none of them)."""
    home = _find_context_home(path)
    if home is None or not (home / "JPEGImages").is_dir():
        raise incomplete_layout_error(
            "Pascal Context",
            path,
            "JPEGImages, SegmentationClassContext and ImageSets/SegmentationContext",
            way_out="Convert its .mat files to PNG first, as segmentation toolboxes do.",
        )
    categories = class_list("pascal_context")
    name = f"{home.name} context"
    list_file = home / _CONTEXT_LISTS / f"{split}.txt"
    images, flaws = _pair_listed_images(list_file, home, _CONTEXT_MAPS, name, split)

    def read_map(image: ImageRecord) -> LabelMap | None:
        assert image.semantic_path is not None
        category_ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        void = (category_ids == 0) | (category_ids == VOID_VALUE)
        category_ids[void] = 0
        return label_map_of_classes(category_ids, categories, image, void)

    return LazyDataset(
        name=name,
        kind="context",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        files=(list_file,),
    )


def _find_context_home(path: Path) -> Path | None:
    return _find_voc_home(path, _CONTEXT_MAPS, _CONTEXT_LISTS)


def _context_splits(path: Path) -> tuple[str, ...]:
    return _listed_splits(_find_context_home(path), _CONTEXT_LISTS)


CONTEXT = Layout(
    kind="context",
    title="Pascal Context, 59 classes",
    expects="JPEGImages, SegmentationClassContext and ImageSets/SegmentationContext/<split>.txt",
    fits=lambda path: _find_context_home(path) is not None,
    splits=_context_splits,
    read=read_context,
)


# --- SBD --------------------------------------------------------------------------------------------------------------


def read_sbd(path: Path, split: str) -> LazyDataset:
    """Open one part of SBD."""
    home = _find_sbd_home(path)
    if home is None or not (home / "img").is_dir():
        raise incomplete_layout_error(
            "SBD",
            path,
            "img, inst/*.mat and <split>.txt",
            way_out="Give benchmark_RELEASE/dataset.",
        )
    categories = class_list("pascal_voc")
    list_file = home / f"{split}.txt"
    pairs = pair_by_stem(
        _listed_images(read_name_list(list_file), home / "img"), home / "inst", ".mat"
    )
    images, flaws = pair_images(pairs, "sbd", split, "instances")

    def read_map(image: ImageRecord) -> LabelMap | None:
        assert image.semantic_path is not None
        ids, category_ids = _read_instances(image.semantic_path, image.hw)
        visible_ids = set(np.unique(ids).tolist())
        category_of = {}
        for number, category_id in enumerate(category_ids, 1):
            if number in visible_ids:
                category_of[number] = category_id
        return label_map_of_segments(ids, category_of, categories, image)

    return LazyDataset(
        name="sbd",
        kind="sbd",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        files=(list_file,),
    )


def _find_sbd_home(path: Path) -> Path | None:
    """Find the folder of SBD that holds `img` and `inst`."""
    for folder in (path, path / "dataset", path / "benchmark_RELEASE" / "dataset"):
        instances = folder / "inst"
    if instances.is_dir() and any(instances.glob("*.mat")):
        return folder
    return None


def _read_instances(file: Path, hw: tuple[int, int]) -> tuple[Int32[np.ndarray, "h w"], list[int]]:
    """Read SBD's `GTinst`: the map of objects, and the class of each."""
    content = _read_matlab(file)
    try:
        ids = np.asarray(content["GTinst"]["Segmentation"]).astype(np.int32)
        stored_classes = np.atleast_1d(content["GTinst"]["Categories"])
        category_ids = list(map(int, stored_classes.ravel()))
    except (KeyError, TypeError, ValueError, IndexError):
        message = f"{file} has no GTinst with Segmentation and Categories"
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE) from None
    if ids.shape != hw:
        raise DataError(f"{file} is {ids.shape} (h, w), its photo {hw}", FlawKind.WRONG_SIZE)
    return ids, category_ids


def _read_matlab(file: Path) -> Any:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError('SBD needs SciPy; pip install "seem[evaluate]".') from error
    if not file.is_file():
        raise DataError(f"{file} is missing", FlawKind.MISSING_MASK_FILE)
    try:
        return loadmat(file, simplify_cells=True)
    except Exception as error:  # SciPy fails on damaged files in many ways
        raise DataError(
            f"{file} cannot be read ({error})", FlawKind.UNREADABLE_MASK_FILE
        ) from error


def _sbd_splits(path: Path) -> tuple[str, ...]:
    return _listed_splits(_find_sbd_home(path), Path())


SBD = Layout(
    kind="sbd",
    title="SBD",
    expects="img, inst/*.mat and <split>.txt",
    fits=lambda path: _find_sbd_home(path) is not None,
    splits=_sbd_splits,
    read=read_sbd,
)
