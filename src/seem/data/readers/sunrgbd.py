"""SUN RGB-D with 37 classes.

image/<split>/*.jpg  label37/<split>/*.png     (or images, label, labels; names equal, or equal in their digits)
"""

from __future__ import annotations

import re
from pathlib import Path

from seem.data.classes import class_list
from seem.data.image_files import (
    first_folder,
    folder_names,
    images_by_relative_name,
    read_labels_of_size,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    pair_images,
    pair_in_folders,
)
from seem.data.records import ImageRecord

_IMAGE_FOLDERS, _LABEL_FOLDERS = ("image", "images"), ("label37", "label", "labels")


def read_sunrgbd(path: Path, split: str) -> LazyDataset:
    """Open one part of SUN RGB-D."""
    folders = _find_split_folders(path, split)
    if folders is None:
        raise incomplete_layout_error("SUN RGB-D", path, f"image/{split} and label37/{split}")
    image_folder, label_folder = folders
    pairs = _pair_files(image_folder, label_folder)
    images, flaws = pair_images(pairs, "sunrgbd", split, "semantic")
    categories = class_list("sunrgbd")

    def read_map(image: ImageRecord) -> LabelMap:
        assert image.semantic_path is not None
        category_ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        return label_map_of_classes(category_ids, categories, image, category_ids == 0)

    return LazyDataset(
        name="sunrgbd",
        kind="sunrgbd",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(categories),
        flaws=flaws,
        searched=folders,
    )


def _pair_files(image_folder: Path, label_folder: Path) -> list[tuple[Path, Path]]:
    """Return every image with its label map: of the same name, or of the same digits in its name."""
    label_files = images_by_relative_name(label_folder).values()
    by_digits = {_digits(file, label_folder): file for file in label_files}
    pairs = []
    for file, label_file in pair_in_folders(image_folder, label_folder):
        if not label_file.is_file():
            label_file = by_digits.get(_digits(file, image_folder), label_file)
        pairs.append((file, label_file))
    return pairs


def _digits(file: Path, folder: Path) -> tuple[Path, str]:
    """Return the sub-folder of a file and the number in its name: img-005051 and 5051 belong together."""
    digits = "".join(re.findall(r"\d+", file.stem))
    return file.parent.relative_to(folder), digits.lstrip("0")


def _find_folders(path: Path) -> tuple[Path, Path] | None:
    image_folder = first_folder(*map(path.joinpath, _IMAGE_FOLDERS))
    label_folder = first_folder(*map(path.joinpath, _LABEL_FOLDERS))
    if image_folder is None or label_folder is None:
        return None
    return image_folder, label_folder


def _find_split_folders(path: Path, split: str) -> tuple[Path, Path] | None:
    """Return the folders of images and of label maps of one part; None unless there are both."""
    folders = _find_folders(path)
    if folders is None:
        return None
    image_folder, label_folder = folders[0] / split, folders[1] / split
    if not image_folder.is_dir() or not label_folder.is_dir():
        return None
    return image_folder, label_folder


def _splits(path: Path) -> tuple[str, ...]:
    folders = _find_folders(path)
    if folders is None:
        return ()
    image_folder, label_folder = folders
    return sort_splits(set(folder_names(image_folder)) & set(folder_names(label_folder)))


SUNRGBD = Layout(
    kind="sunrgbd",
    title="SUN RGB-D, 37 classes",
    expects="image/{train,test} and label37/{train,test}",
    fits=lambda path: (path / "label37").is_dir() and bool(_splits(path)),
    splits=_splits,
    read=read_sunrgbd,
)
