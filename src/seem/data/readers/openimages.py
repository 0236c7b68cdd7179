"""Open Images: single objects as one mask file each.

    <split>-annotations-object-segmentation.csv       here, in annotations/ or csv/; or <split>/labels/segmentations.csv
    class-descriptions-boxable.csv                    any class-descriptions*.csv; or <split>/metadata/classes.csv
    <split>/*.jpg                                     or images/<split>, <split>/data; in sub-folders if ids say so
    masks/*.png                                       or <split>-masks, masks/<split>, <split>/masks,
                                                      <split>/labels/masks; in folders by first letter or not

The list names far more images than most people have: those that are there are read. Not every object of an image has a
mask, so no class is complete. A mask may be smaller than its image; it is resized to it. Datumaro writes this layout
too, with parts of any name, classes by their names, and ids such as "sub/a".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seem.data.classes import prompt_name
from seem.data.coco_rle import mask_to_rle
from seem.data.dataset import ParsedObjects
from seem.data.image_files import (
    first_file,
    images_by_relative_name,
    images_by_stem,
    list_folders,
    read_labels,
    resize_labels,
)
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import note_missing, pair_images
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    object_record,
)
from seem.data.text_files import TextFile

_LIST_SUFFIX = "-annotations-object-segmentation.csv"
_LIST_COLUMNS = frozenset({"MaskPath", "ImageID", "LabelName"})
_CLASS_FILE_TITLE = "LabelName"
_CLASS_FILE_PATTERNS = ("class-descriptions-boxable.csv", "*class-descriptions*.csv", "classes.csv")


class _MaskRow(NamedTuple):
    """A row of the list of masks, with its number from 1."""

    number: int
    mask_name: str
    image_name: str
    label: str

    @property
    def is_complete(self) -> bool:
        return bool(self.mask_name and self.image_name and self.label)


def read_openimages(path: Path, split: str) -> LazyDataset:
    """Open one part of Open Images."""
    list_file, class_file = _find_mask_list(path, split), _find_class_file(path, split)
    if list_file is None:
        raise incomplete_layout_error("Open Images set", path, f"{split}{_LIST_SUFFIX}")
    if class_file is None:
        raise incomplete_layout_error(
            "Open Images set",
            path,
            "class-descriptions-boxable.csv",
            way_out="It tells what /m/... means.",
        )
    rows = _read_mask_list(list_file)
    image_files = _find_image_files(path, split)
    rows_by_image: dict[str, list[_MaskRow]] = {}
    for row in rows:
        if row.image_name in image_files:
            rows_by_image.setdefault(row.image_name, []).append(row)
    listed_names = {row.image_name for row in rows}
    if not rows_by_image:
        raise incomplete_layout_error(
            "Open Images set",
            path,
            f"photos that {list_file.name} names, in {split}/, images/{split}/ or {split}/data/",
            present=f"none of its {len(listed_names)} photos",
            way_out="Download at least some of them.",
        )
    name_of_file = {image_files[name]: name for name in rows_by_image}
    pairs = ((file, None) for file in name_of_file)
    images, flaws = pair_images(
        pairs, "openimages", split, "instances-partial", is_always_labelled=True
    )
    class_text = TextFile.read(class_file)
    categories = _used_categories(rows_by_image, _read_class_names(class_text))
    mask_folders = _find_mask_folders(path, split)

    def read_objects(image: ImageRecord) -> ParsedObjects:
        return ParsedObjects.collect(
            read_object(row, image) for row in rows_by_image[name_of_file[image.path]]
        )

    def read_object(row: _MaskRow, image: ImageRecord) -> ObjectRecord | Flaw:
        where = f"{list_file.name}, row {row.number}"
        category = categories.get(row.label)
        if category is None:
            return Flaw(
                FlawKind.UNKNOWN_CATEGORY, where, f"{row.label} is not in {class_file.name}"
            )
        try:
            mask_file = _find_mask(mask_folders, row.mask_name)
            labels = read_labels(mask_file, image.hw, image.image_frame)
            mask = resize_labels(labels, image.hw, mask_file) > 0
        except DataError as error:
            return Flaw(error.kind, where, str(error))
        return object_record(row.number, image, category, mask_to_rle(np.asarray(mask)))

    return LazyDataset(
        name="openimages",
        kind="openimages",
        split=split,
        path=path,
        category_list=tuple(categories.values()),
        images=images,
        read_objects=read_objects,
        flaws=flaws,
        notes=(
            *class_text.notes(),
            *note_missing(list_file, "photos", listed_names, image_files.keys()),
        ),
        files=(list_file, class_file),
        searched=tuple(filter(Path.is_dir, _image_folders(path, split))),
    )


def _find_mask_list(path: Path, split: str) -> Path | None:
    """Find the list of masks of a part."""
    name = f"{split}{_LIST_SUFFIX}"
    return first_file(
        path / name,
        path / "annotations" / name,
        path / "csv" / name,
        path / split / name,
        path / split / "labels" / "segmentations.csv",
    )


def _find_class_file(path: Path, split: str) -> Path | None:
    """Find the list of class names."""
    for folder in (
        path,
        path / "annotations",
        path / "csv",
        path / split,
        path / split / "metadata",
    ):
        for pattern in _CLASS_FILE_PATTERNS:
            for file in sorted(folder.glob(pattern)):
                return file
    return None


def _find_image_files(path: Path, split: str) -> dict[str, Path]:
    """Return the photos by their ids: the path without ending, in a folder of the part or of all of them."""
    files: dict[str, Path] = {}
    for folder in _image_folders(path, split):
        for name, file in images_by_relative_name(folder).items():
            files.setdefault(name, file)
    for folder in (path / "images", path):
        for stem, file in images_by_stem(folder).items():
            files.setdefault(stem, file)
    return files


def _image_folders(path: Path, split: str) -> tuple[Path, ...]:
    """Return where the photos of a part alone may be."""
    folder = path / split
    if (folder / "data").is_dir():
        return folder / "data", path / "images" / split
    return folder, path / "images" / split


def _find_mask_folders(path: Path, split: str) -> list[Path]:
    names = (
        "masks",
        f"{split}-masks",
        f"masks/{split}",
        f"{split}/masks",
        f"{split}/labels/masks",
        f"{split}_masks",
    )
    return list(filter(Path.is_dir, map(path.joinpath, names)))


def _find_mask(folders: Sequence[Path], mask_name: str) -> Path:
    name = Path(mask_name).name
    for folder in folders:
        initial = name[0]
        file = first_file(
            folder / name,
            folder / initial.lower() / name,
            folder / initial.upper() / name,
        )
        if file is not None:
            return file
    message = f"there is no mask {name}"
    if not folders:
        message += "; unpack the masks into masks/"
    raise DataError(message, FlawKind.MISSING_MASK_FILE)


def _read_mask_list(file: Path) -> list[_MaskRow]:
    """Read the list of masks; rows without a mask, an image or a class are passed over and not counted."""
    rows = TextFile.read(file).records()
    missing = set(_LIST_COLUMNS)
    if rows:
        missing -= rows[0].keys()
    if missing:
        raise DataError(
            f"{file} has no column {', '.join(sorted(missing))}; copy the list of masks again."
        )
    mask_rows: list[_MaskRow] = []
    for row in rows:
        number = len(mask_rows) + 1
        mask_row = _MaskRow(number, row["MaskPath"], row["ImageID"], row["LabelName"])
        if mask_row.is_complete:
            mask_rows.append(mask_row)
    return mask_rows


def _read_class_names(text: TextFile) -> dict[str, str]:
    """Read the name of each class by its label (/m/...)."""
    names = {}
    for row in text.rows():
        if len(row) > 1 and row[0] != _CLASS_FILE_TITLE:
            names[row[0]] = row[1]
    return names


def _used_categories(
    rows_by_image: Mapping[str, Sequence[_MaskRow]],
    class_names: Mapping[str, str],
) -> dict[str, CategoryRecord]:
    """Return the named classes that masks are of, by their label, numbered from 1 in the order of labels."""
    labels = {row.label for row in chain.from_iterable(rows_by_image.values())}
    categories = {}
    for number, label in enumerate(sorted(labels & class_names.keys()), 1):
        name = class_names[label]
        categories[label] = CategoryRecord(number, name, prompt_name(name.lower()), is_thing=True)
    return categories


def _splits(path: Path) -> tuple[str, ...]:
    names = []
    for folder in (path, path / "annotations", path / "csv", *list_folders(path)):
        names += [file.name.removesuffix(_LIST_SUFFIX) for file in folder.glob(f"*{_LIST_SUFFIX}")]
    names += [file.parts[-3] for file in path.glob("*/labels/segmentations.csv")]
    return sort_splits(name for name in names if _find_mask_list(path, name))


OPENIMAGES = Layout(
    kind="openimages",
    title="Open Images with masks",
    expects=f"<split>{_LIST_SUFFIX}, class-descriptions-boxable.csv, masks/ and <split>/",
    fits=lambda path: bool(_splits(path)),
    splits=_splits,
    read=read_openimages,
)
