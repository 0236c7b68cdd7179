"""A plain folder of images and masks.

    images/a.jpg     masks/a.png            a map: numbers of objects, or of classes if classes.txt tells their names
                     masks/a/cat_1.png      one file an object, any pixel but 0 is its; the name without the number
                     masks/a_cat_1.png      is the class, a bare number means no class; a_mask.png is a map
                     images/x/a.jpg and masks/x/a.png belong together, as do images/x/a.jpg and masks/x/a/cat_1.png
                     "mask", "seg", "label" and the like are classes only where other files name classes
    classes.txt      one name a line (the first is 1), or another list of `seem.data.readers.class_files`
    instance_mask_annotations.csv      mask_id,class_name for files of one object, as Darwin of V7 exports them

Parts are folders: train/images with train/masks, or images/train with masks/train (val, test likewise). In a map 255
does not count; a map of 0 and 255 alone is one object, and so is one whose edges are grey, as resizing and JPEG make
them: they are cut at 128. An object may be held in alpha. About an image without a mask nothing is known. Regions of a
class map are not countable: they are stuff.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32

from seem.data.classes import numbered_categories
from seem.data.coco_rle import mask_to_rle
from seem.data.dataset import ALL_SPLIT, ParsedObjects
from seem.data.image_files import (
    ColouredMapError,
    existing_files,
    list_folders,
    list_images,
    read_channels_of_size,
    read_labels_of_size,
    relative_name,
    relative_stem,
)
from seem.data.label_map import LabelMap, numbered_object_id, segment_records
from seem.data.layout import Layout, incomplete_layout_error, sort_splits, standard_split
from seem.data.lazy_dataset import LazyDataset
from seem.data.mask_pixels import HALF, LOSSY_SUFFIXES, is_smoothed, object_pixels
from seem.data.readers.class_files import read_class_file
from seem.data.readers.class_maps import (
    VOID_VALUE,
    Legend,
    describe_colours,
    read_class_numbers,
)
from seem.data.readers.clicks import looks_like_clicks
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_segments,
    mask_or_none,
    number_segments,
    pair_images,
)
from seem.data.readers.mask_file_names import MaskFiles, NamedMaskFile
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    categories_by_id,
    object_record,
    unmatched_flaw,
)
from seem.data.text_files import TextFile

_NO_ARRAYS = "Masks in NumPy's files are not read; save them as PNG."
_COLOUR_HINT = (
    'if they are classes, name them in label_colors.txt beside the folders, "red green blue name" a line; '
    "else save one number a pixel"
)
_IMAGE_FOLDERS = ("images", "image", "imgs", "img", "jpegimages", "img_dir", "imagestr")
_MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "segmentations", "ann_dir", "labelstr",
)  # fmt: skip
_MASK_ENDINGS = ("_masks", "_mask", "_labels", "_annot", "annot")  # of train_masks, beside train
_CLASS_FILES = (
    "classes.json", "classes.txt", "class_names.txt", "labelmap.txt", "dataset.json", "class_mapping.csv",
)  # fmt: skip
_CLASSES_OF_MASKS = "instance_mask_annotations.csv"


def read_folder(path: Path, split: str) -> LazyDataset:
    """Open one part of a folder of images and masks."""
    parts = find_mask_folders(path)
    if split not in parts:
        raise incomplete_layout_error(
            "folder of photos and masks",
            path,
            "images/ with photos and masks/ with PNG files",
            way_out=_NO_ARRAYS if any(path.rglob("*.np[yz]")) else "",
        )
    image_folder, mask_folder = parts[split]
    class_file = read_class_file(path, _CLASS_FILES)
    classes: tuple[CategoryRecord, ...] = ()
    legend = None
    if class_file is not None:
        classes = class_file.categories(is_thing=False)
        legend = class_file.legend()
    files = list_images(image_folder, deep=True)
    stem_of = {file: relative_stem(file, image_folder) for file in files}
    mask_classes = _read_classes_of_masks(path)
    masks = MaskFiles.of(mask_folder, set(stem_of.values())).with_classes(mask_classes)
    has_class_maps_only = bool(classes) and not masks.objects
    pairs: list[tuple[Path, Path | None]] = []
    for file, stem in stem_of.items():
        pairs.append((file, masks.maps.get(stem)))
    images, flaws = pair_images(
        pairs,
        path.resolve().name,
        split,
        "masks",
        is_always_labelled=not has_class_maps_only,
        mask_of=lambda file: masks.first_object_file(stem_of[file]),
    )
    images = tuple(
        image
        if image.semantic_path or stem_of[image.path] in masks.objects
        else replace(image, labelled="")
        for image in images
    )
    unmatched_flaws = [unmatched_flaw(relative_name(file, path)) for file in masks.unmatched]
    named = numbered_categories(masks.class_names())
    nameless = CategoryRecord(len(named) + 1, "object", "", is_thing=True)
    categories = classes or (*named, nameless)
    by_name = {category.name: category for category in categories}

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        if classes:
            return _read_class_map(image.semantic_path, image, classes, legend)
        return _read_object_map(image.semantic_path, image, nameless)

    def read_objects(image: ImageRecord) -> ParsedObjects:
        labels = read_map(image)
        if labels is not None:
            return ParsedObjects(segment_records(labels, image), labels.flaws, labels.notes)
        named_files = masks.objects.get(stem_of[image.path], ())
        return _read_object_files(named_files, image, by_name)

    return LazyDataset(
        name=path.resolve().name,
        kind="folder",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        read_objects=read_objects,
        complete=complete_where_labelled(categories),
        flaws=(*flaws, *unmatched_flaws),
        notes=(*masks.notes, *(() if class_file is None else class_file.notes)),
        files=(
            *masks.object_files(),
            *existing_files(map(path.joinpath, (*_CLASS_FILES, _CLASSES_OF_MASKS))),
        ),
        searched=(path,),
    )


def _read_classes_of_masks(path: Path) -> dict[str, str]:
    """Read the class of each mask file by its name without ending, as Darwin of V7 lists them; empty without a list."""
    file = path / _CLASSES_OF_MASKS
    if not file.is_file():
        return {}
    rows = TextFile.read(file).records()
    return {row.get("mask_id", ""): row.get("class_name", "") for row in rows}


# --- Finding files ----------------------------------------------------------------------------------------------------


def find_mask_folders(path: Path) -> dict[str, tuple[Path, Path]]:
    """Find the folders of images and masks of every part; one part called `ALL_SPLIT` if the set is not divided."""
    parts = {}
    for folder in list_folders(path):
        if not standard_split(folder.name):
            continue
        pair = _find_pair(folder)
        if pair is not None:
            parts[folder.name] = pair
    undivided = _find_pair(path)
    if undivided is None and not parts:
        return _find_folders_with_ending(path)
    if parts or undivided is None:
        return parts
    images, masks = undivided
    for folder in list_folders(images):
        if standard_split(folder.name) and (masks / folder.name).is_dir():
            parts[folder.name] = (folder, masks / folder.name)
    return parts or {ALL_SPLIT: undivided}


def _find_folders_with_ending(path: Path) -> dict[str, tuple[Path, Path]]:
    """Find folders of images beside folders of masks called like them: train and train_masks."""
    folders = {folder.name: folder for folder in list_folders(path)}
    parts: dict[str, tuple[Path, Path]] = {}
    for name, folder in folders.items():
        for ending in _MASK_ENDINGS:
            masks = folders.get(name + ending)
            if masks is not None and list_images(masks) and list_images(folder):
                parts.setdefault(name, (folder, masks))
    return parts


def _find_pair(path: Path) -> tuple[Path, Path] | None:
    """Find a folder of images and one of masks, if there is just one of each."""
    image_folders, mask_folders = [], []
    for folder in list_folders(path):
        if folder.name.lower() in _IMAGE_FOLDERS:
            image_folders.append(folder)
        elif folder.name.lower() in _MASK_FOLDERS and list_images(folder, deep=True):
            mask_folders.append(folder)
    if len(image_folders) != 1 or len(mask_folders) != 1:
        return None
    return image_folders[0], mask_folders[0]


# --- Masks ------------------------------------------------------------------------------------------------------------


def _read_object_map(file: Path, image: ImageRecord, nameless: CategoryRecord) -> LabelMap:
    """Read a map of object numbers; 0 and 255 alone are one object."""
    ids = _read_numbers(file, image, None)
    notes: tuple[Flaw, ...] = ()
    if file.suffix.lower() in LOSSY_SUFFIXES or is_smoothed(ids):
        ids, notes = _cut_edges(ids, file)
    if set(np.unique(ids).tolist()) <= {0, VOID_VALUE}:
        ids = (ids > 0).astype(np.int32)
    void = _clear_void(ids)
    category_of = number_segments(ids, lambda _: nameless.id)
    labels = label_map_of_segments(ids, category_of, (nameless,), image, void=mask_or_none(void))
    return replace(labels, notes=notes)


def _read_numbers(
    file: Path, image: ImageRecord, legend: Legend | None
) -> Int32[np.ndarray, "h w"]:
    """Read the numbers of a map; `DataError` for one of colours says where to write what they mean."""
    try:
        if legend is None:
            return read_labels_of_size(file, image.hw, image.image_frame)
        return read_class_numbers(file, image, legend)
    except ColouredMapError as error:
        message = f"{file} has {describe_colours(error.codes)}; {_COLOUR_HINT}"
        raise DataError(message, error.kind) from error


def _cut_edges(
    values: Int32[np.ndarray, "h w"], file: Path
) -> tuple[Int32[np.ndarray, "h w"], tuple[Flaw, ...]]:
    """Return a mask of 0 and 255 whose grey edges are cut, with a note; `DataError` for a JPEG of numbers."""
    if values.max(initial=0) < HALF and values.any():
        message = f"{file} is a JPEG, which changes the numbers of a map; save it as PNG."
        raise DataError(message, FlawKind.UNREADABLE_MASK_FILE)
    is_grey = (values > 0) & (values < values.max(initial=0))
    num_grey = int(is_grey.sum())
    what = f"{num_grey} pixels are neither black nor white; {HALF} and above is the object"
    note = Flaw(FlawKind.GREY_EDGES, file.name, what)
    cut = np.where(values >= HALF, VOID_VALUE, 0).astype(np.int32)
    return cut, (note,) if num_grey else ()


def _read_class_map(
    file: Path,
    image: ImageRecord,
    classes: tuple[CategoryRecord, ...],
    legend: Legend | None,
) -> LabelMap:
    """Read a map of class numbers or colours; 255 does not count unless a class has this number."""
    category_ids = _read_numbers(file, image, legend)
    void = np.zeros(image.hw, bool)
    if VOID_VALUE not in categories_by_id(classes):
        void = _clear_void(category_ids)
    category_of = number_segments(category_ids, lambda number: number)
    labels = label_map_of_segments(category_ids, category_of, classes, image)
    is_known = np.isin(category_ids, [segment.id for segment in labels.segments])
    return LabelMap(
        ids=category_ids,
        segments=labels.segments,
        semantic=np.where(is_known, category_ids, 0).astype(np.int32),
        void=mask_or_none(void),
        flaws=labels.flaws,
    )


def _clear_void(values: Int32[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Set pixels that do not count to 0, in place; returns which they are."""
    void = values == VOID_VALUE
    values[void] = 0
    return np.asarray(void)


def _read_object_files(
    named_files: Sequence[NamedMaskFile],
    image: ImageRecord,
    by_name: Mapping[str, CategoryRecord],
) -> ParsedObjects:
    """Read the objects of an image from a mask file and a name each."""
    return ParsedObjects.collect(
        _read_object_file(file, name, number, image, by_name)
        for number, (file, name) in enumerate(named_files, 1)
    )


def _read_object_file(
    file: Path,
    name: str,
    number: int,
    image: ImageRecord,
    by_name: Mapping[str, CategoryRecord],
) -> ObjectRecord | Flaw:
    category = by_name.get(name or "object")
    if category is None:
        return Flaw(FlawKind.UNKNOWN_CATEGORY, file.name, f"{name!r} is not in the list of classes")
    try:
        channels = read_channels_of_size(file, image.hw, image.image_frame)
    except DataError as error:
        return Flaw(error.kind, file.name, str(error))
    mask = object_pixels(channels, is_lossy=file.suffix.lower() in LOSSY_SUFFIXES)
    return object_record(numbered_object_id(image, number), image, category, mask_to_rle(mask))


FOLDER = Layout(
    kind="folder",
    title="folder of photos and masks",
    expects="images/ and masks/ (a map a photo, or a file an object)",
    fits=lambda path: bool(find_mask_folders(path)) and not looks_like_clicks(path),
    splits=lambda path: sort_splits(find_mask_folders(path).keys() - {ALL_SPLIT}),
    read=read_folder,
)
