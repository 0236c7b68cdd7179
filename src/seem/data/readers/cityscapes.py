"""Cityscapes.

    leftImg8bit/<split>/<city>/*_leftImg8bit.png  gtFine/<split>/<city>/*_gtFine_instanceIds.png (or _labelIds.png)

The instance map holds 1000 x label + number for objects and the bare label for the rest: stuff, or a group of things.
Labels outside of the 19 evaluated ones are void. A photo in a sub-folder has its maps in the same one.

A set of one's own in this layout lists its classes in label_colors.txt (CVAT, Datumaro; see `colour_legends.py`), and
its labels are their numbers. They are things if any of the first maps numbers objects, else stuff.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from seem.data.classes import class_list
from seem.data.image_files import (
    first_file,
    folder_names,
    list_images,
    read_labels,
    read_labels_of_size,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.colour_legends import ColourLegend, find_legend_file, read_colour_legend
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    label_map_of_segments,
    note_listed,
    number_segments,
    pair_images,
    remap_values,
)
from seem.data.records import CategoryRecord, DataError, Flaw, ImageRecord, categories_by_id

_IMAGE_SUFFIX = "_leftImg8bit"
_MAP_ENDINGS = ("_gtFine_instanceIds.png", "_gtFine_labelIds.png")
_NUM_TRIED_MAPS = 20  # maps that are read to find out whether objects are numbered
_OBJECT_FACTOR = 1000  # a number from here on is 1000 x label + number of the object


def read_cityscapes(path: Path, split: str) -> LazyDataset:
    """Open one part of Cityscapes."""
    image_folder, label_folder = path / "leftImg8bit" / split, path / "gtFine" / split
    if not image_folder.is_dir():
        raise incomplete_layout_error("Cityscapes", path, f"leftImg8bit/{split} and gtFine/{split}")
    pairs = []
    for file in list_images(image_folder, deep=True):
        pairs.append((file, _find_labels(label_folder, file, image_folder)))
    images, flaws = pair_images(
        pairs, "cityscapes", split, "panoptic", source_of=lambda file: file.parent.name
    )
    notes = tuple(_note_lone_maps(label_folder, images))
    classes = _official_classes()
    files: tuple[Path, ...] = ()
    legend = _read_own_legend(path)
    if legend is not None:
        classes = _own_classes(legend, path)
        notes += legend.notes
        files = (legend.file,)
    by_id = categories_by_id(classes.categories)

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        labels = np.where(ids >= _OBJECT_FACTOR, ids // _OBJECT_FACTOR, ids)
        category_ids = remap_values(labels, classes.id_of_label)
        void = category_ids == 0
        ids[void] = 0
        if image.semantic_path.stem.endswith("labelIds"):
            return label_map_of_classes(category_ids, classes.categories, image, void)
        category_of = number_segments(ids, lambda number: classes.id_of_label[_label_of(number)])
        groups = set()
        for number, category_id in category_of.items():
            if number < _OBJECT_FACTOR and by_id[category_id].is_thing:
                groups.add(number)
        segments = label_map_of_segments(
            ids, category_of, classes.categories, image, crowds=frozenset(groups)
        ).segments
        return LabelMap(ids, segments, semantic=category_ids, void=void, is_partition=True)

    return LazyDataset(
        name="cityscapes",
        kind="cityscapes",
        split=split,
        path=path,
        category_list=classes.categories,
        images=images,
        read_map=read_map,
        complete=complete_where_labelled(classes.categories),
        flaws=flaws,
        notes=notes,
        files=files,
        searched=(image_folder,),
    )


# --- Classes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _LabelClasses:
    """The classes of a set, and the category id of each label of its maps that counts."""

    categories: tuple[CategoryRecord, ...]
    id_of_label: Mapping[int, int]


def _official_classes() -> _LabelClasses:
    categories = class_list("cityscapes")
    return _LabelClasses(categories, {category.id: category.id for category in categories})


def _read_own_legend(path: Path) -> ColourLegend | None:
    """Read the list of classes of a set; None without one, or if it lists those of Cityscapes."""
    file = find_legend_file(path)
    if file is None:
        return None
    legend = read_colour_legend(file)
    listed = {_spelling(category.name) for category in legend.categories}
    official = {_spelling(category.name) for category in class_list("cityscapes")}
    return None if official <= listed else legend


def _spelling(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _own_classes(legend: ColourLegend, path: Path) -> _LabelClasses:
    """Return the classes of a legend: things if the first maps of the set, of whichever part, number objects."""
    files = (path / "gtFine").rglob("*_instanceIds.png")
    is_thing = any(map(_numbers_objects, islice(files, _NUM_TRIED_MAPS)))
    categories = tuple(replace(category, is_thing=is_thing) for category in legend.categories)
    id_of_label = {number: id for number, id in legend.id_of_number.items() if id > 0}
    return _LabelClasses(categories, id_of_label)


def _numbers_objects(file: Path) -> bool:
    """Whether a map holds numbers of objects; one that cannot be read, which others report, holds none."""
    try:
        return bool((read_labels(file) >= _OBJECT_FACTOR).any())
    except DataError:
        return False


# --- Files ------------------------------------------------------------------------------------------------------------


def _label_of(number: int) -> int:
    if number < _OBJECT_FACTOR:
        return number
    return number // _OBJECT_FACTOR


def _find_labels(label_folder: Path, image: Path, image_folder: Path) -> Path | None:
    """Find the map of an image, in the folder of the same name; the public test part has none of worth."""
    folder = label_folder / image.relative_to(image_folder).parent
    stem = image.stem.removesuffix(_IMAGE_SUFFIX)
    return first_file(*(folder / f"{stem}{ending}" for ending in _MAP_ENDINGS))


def _note_lone_maps(label_folder: Path, images: Iterable[ImageRecord]) -> Iterator[Flaw]:
    """Name the scenes that have a map and no photo."""
    scenes = set()
    for ending in _MAP_ENDINGS:
        for file in label_folder.rglob(f"*{ending}"):
            scenes.add(file.name.removesuffix(ending))
    names = sorted(scenes - {image.path.stem.removesuffix(_IMAGE_SUFFIX) for image in images})
    yield from note_listed(label_folder.name, "maps without a photo", names)


CITYSCAPES = Layout(
    kind="cityscapes",
    title="Cityscapes",
    expects="leftImg8bit/<split>/<city> and gtFine/<split>/<city>",
    fits=lambda path: (path / "leftImg8bit").is_dir(),
    splits=lambda path: sort_splits(folder_names(path / "leftImg8bit")),
    read=read_cityscapes,
)
