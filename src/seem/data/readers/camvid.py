"""CamVid and sets laid out like it: photos, maps of colours or numbers, and a legend.

    label_colors.txt (red green blue name), class_dict.csv (name,r,g,b), codes.txt (a name a line)
    train/a.png  trainannot/a.png      or train_labels/a_L.png, train_masks; val, test likewise
    images/a.png  labels/a_P.png       or 701_StillsRaw_full/ and LabeledApproved_full/a_L.png

A colour is its class. Numbers count the lines of the legend: from 0 in codes.txt, and in a legend with a black class,
which comes first; else from 1, and 0 is nothing. What is called void, unlabelled or ignore does not count, black
background is no class. Classes are regions, nothing tells single objects apart: they are stuff.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32

from seem.data.classes import prompt_name
from seem.data.dataset import ALL_SPLIT
from seem.data.frames import ImageHeader, array_in_frame
from seem.data.image_files import (
    first_file,
    list_folders,
    list_images,
    read_annotated_hw,
    wrong_size_error,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.mask_pixels import grey_scale_factor, stored_numbers
from seem.data.readers.class_maps import describe_colours, voc_colour
from seem.data.readers.folder import find_mask_folders
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    mask_or_none,
    remap_values,
)
from seem.data.readers.shape_sets import UnreadCounts
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord, image_record
from seem.data.text_files import TextFile
from seem.errors import SeemError
from seem.images import decode_pixels, open_image

_LEGENDS = ("label_colors.txt", "class_dict.csv", "codes.txt")
_MASK_ENDINGS = ("annot", "_annot", "_labels", "_masks", "_mask", "labels")
_PAIRS = (("images", "labels"), ("images", "masks"), ("701_StillsRaw_full", "LabeledApproved_full"))
_STEM_ENDINGS = ("", "_L", "_P", "_mask", "_label")
_VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore")
_BACKGROUND_NAMES = ("background", "_background_")
_BLACK, _NO_COLOUR = 0, -1
_VOID_NUMBER, _UNKNOWN_NUMBER = -1, -2
_WORDS = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True)
class _Legend:
    """The classes of a set, and the category id of every colour (R + 256 G + 65536 B) and of every number."""

    file: Path
    categories: tuple[CategoryRecord, ...]
    id_of_colour: Mapping[int, int]
    id_of_number: Mapping[int, int]


def read_camvid(path: Path, split: str) -> LazyDataset:
    """Open one part of a set like CamVid."""
    parts, file = _find_parts(path), _legend_file(path)
    if split not in parts or file is None:
        raise incomplete_layout_error(
            "CamVid set", path, "label_colors.txt, train/ with photos and trainannot/ with maps"
        )
    legend = _read_legend(file)
    images, flaws, num_without = _pair_images(path, split, *parts[split])
    unread = UnreadCounts()
    unread.others["photos without a map"] = num_without

    return LazyDataset(
        name=path.resolve().name,
        kind="camvid",
        split=split,
        path=path,
        category_list=legend.categories,
        images=images,
        read_map=lambda image: _read_map(image, legend),
        complete=complete_where_labelled(legend.categories),
        flaws=flaws,
        notes=unread.notes(),
        files=(file,),
    )


# --- Legend -----------------------------------------------------------------------------------------------------------


def _read_legend(file: Path) -> _Legend:
    """Read the names and colours of the classes, in the order of the file."""
    rows = _read_rows(file)
    if not rows:
        raise DataError(f"{file} names no class; write a line of red green blue name for each.")
    colours = _colours_of(rows)
    starts_at_zero = _BLACK in colours or file.name == "codes.txt"
    order = list(range(len(rows)))
    if _BLACK in colours:  # the numbers of maps begin with what is black, wherever its line is
        order.sort(key=lambda index: colours[index] != _BLACK)
    categories, id_of_colour, id_of_number = [], {}, {}
    for number, index in enumerate(order, 0 if starts_at_zero else 1):
        name, colour = rows[index][0], colours[index]
        category_id = _id_of(name, colour, number + 1 if starts_at_zero else number)
        id_of_number[number] = id_of_colour[colour] = category_id
        if category_id > 0:
            categories.append(CategoryRecord(category_id, name, prompt_name(name), is_thing=False))
    if not starts_at_zero:
        id_of_number.setdefault(0, 0)
        id_of_colour.setdefault(_BLACK, 0)
    return _Legend(file, tuple(categories), id_of_colour, id_of_number)


def _read_rows(file: Path) -> list[tuple[str, int | None]]:
    """Read the names of a legend and their colours, None where it has none."""
    lines = TextFile.read(file).lines()
    if file.suffix == ".csv":
        return [_row_of_table(row, file) for row in csv.DictReader(lines)]
    rows = []
    for line in lines:
        if line and not line.startswith("#"):
            rows.append(_row_of_line(line))
    return rows


def _id_of(name: str, colour: int, number: int) -> int:
    """Return the id of a class: 0 for black background, `_VOID_NUMBER` for what does not count."""
    if name.lower() in _VOID_NAMES:
        return _VOID_NUMBER
    return 0 if colour == _BLACK and name.lower() in _BACKGROUND_NAMES else number


def _row_of_line(line: str) -> tuple[str, int | None]:
    """Read `red green blue name`, or a name alone."""
    words = _WORDS.split(line, maxsplit=3)
    if len(words) == 4 and all(word.isdecimal() for word in words[:3]):
        return words[3].strip(), _pack(*map(int, words[:3]))
    return line, None


def _row_of_table(row: Mapping[str, str], file: Path) -> tuple[str, int | None]:
    cells = {}
    for key, value in row.items():
        cells[str(key).strip().lower()] = str(value).strip()
    try:
        red, green, blue = (int(cells[channel]) for channel in "rgb")
        return cells["name"], _pack(red, green, blue)
    except (KeyError, ValueError) as error:
        raise DataError(f"{file} has a row without name, r, g, b ({error}).") from error


def _colours_of(rows: list[tuple[str, int | None]]) -> list[int]:
    """Return the colours of classes; a legend without colours has Pascal VOC's, as the tools that write it draw."""
    colours = [colour for _, colour in rows]
    if not any(colour is not None for colour in colours):
        return [_pack(*voc_colour(number)) for number in range(1, len(rows) + 1)]
    return [_NO_COLOUR if colour is None else colour for colour in colours]


def _pack(red: int, green: int, blue: int) -> int:
    return red + 256 * green + 65536 * blue


# --- Maps -------------------------------------------------------------------------------------------------------------


def _read_map(image: ImageRecord, legend: _Legend) -> LabelMap | None:
    if image.semantic_path is None:
        return None
    values, has_colours = _read_values(image.semantic_path, image, legend)
    if values.shape != image.hw:
        raise wrong_size_error(image.semantic_path, values.shape, image.hw)
    table = legend.id_of_colour if has_colours else legend.id_of_number
    distinct = np.unique(values).tolist()
    unknown = sorted(set(distinct) - table.keys())
    ids = remap_values(values, {**table, **dict.fromkeys(unknown, _UNKNOWN_NUMBER)})
    void = mask_or_none(ids < 0)
    flaws = []
    if unknown:
        flaws.append(_unknown_flaw(unknown, image.semantic_path, legend, has_colours))
    labels = label_map_of_classes(np.maximum(ids, 0), legend.categories, image, void)
    return LabelMap(
        labels.ids, labels.segments, semantic=labels.semantic, void=void, flaws=tuple(flaws)
    )


def _read_values(
    path: Path, photo: ImageRecord, legend: _Legend
) -> tuple[Int32[np.ndarray, "h w"], bool]:
    """Read the packed colours of a map, or its numbers if it has no colours; palettes have both."""
    try:
        with open_image(path, str(path)) as image:
            header, factor = ImageHeader.of(image), grey_scale_factor(image)
            decode_pixels(image, str(path))
            frame = header.frame_of(photo.hw, photo.image_frame)
            rgb = np.asarray(image.convert("RGB"), np.int32)
            colours = array_in_frame(rgb, image, header, frame)
            numbers = None
            if image.mode in ("P", "L", "I", "I;16", "1"):
                numbers = array_in_frame(stored_numbers(image, factor), image, header, frame)
    except (SeemError, ValueError, OSError) as error:
        kind = FlawKind.UNREADABLE_MASK_FILE if path.exists() else FlawKind.MISSING_MASK_FILE
        raise DataError(str(error), kind) from error
    packed = colours @ np.array([1, 256, 65536], np.int32)
    if set(np.unique(packed).tolist()) <= legend.id_of_colour.keys():
        return packed, True
    if numbers is None and (colours == colours[:, :, :1]).all():
        numbers = colours[:, :, 0]
    if numbers is None:
        return packed, True
    return numbers.astype(np.int32), False


def _unknown_flaw(values: list[int], path: Path, legend: _Legend, has_colours: bool) -> Flaw:
    what = f"{legend.file.name} does not name "
    if has_colours:
        what += describe_colours(values)
    else:
        what += f"the numbers {', '.join(map(str, values))}"
    return Flaw(FlawKind.UNKNOWN_CATEGORY, path.name, what)


# --- Files ------------------------------------------------------------------------------------------------------------


def _legend_file(path: Path) -> Path | None:
    return first_file(*(path / name for name in _LEGENDS))


def _find_parts(path: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of photos and of maps of every part; one part called `ALL_SPLIT` if it is not divided."""
    if not path.is_dir() or _legend_file(path) is None:
        return {}
    folders = {folder.name: folder for folder in list_folders(path)}
    parts: dict[str, tuple[Path, Path]] = {}
    for name, folder in folders.items():
        for ending in _MASK_ENDINGS:
            masks = folders.get(name + ending)
            if masks is not None:
                parts.setdefault(name, (folder, masks))
    if parts:
        return parts
    for images, masks_name in _PAIRS:
        if images in folders and masks_name in folders and list_images(folders[masks_name]):
            return {ALL_SPLIT: (folders[images], folders[masks_name])}
    return find_mask_folders(path)


def _pair_images(
    path: Path, split: str, image_folder: Path, mask_folder: Path
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...], int]:
    """Return the images that have a map, what is wrong with others, and how many have none."""
    maps = {file.stem: file for file in list_images(mask_folder)}
    images, flaws, num_without = [], [], 0
    for number, file in enumerate(list_images(image_folder), 1):
        names = [file.stem + ending for ending in _STEM_ENDINGS]
        map_file = next(filter(None, map(maps.get, names)), None)
        if map_file is None:
            num_without += 1
            continue
        try:
            hw = read_annotated_hw(file, map_file)
        except DataError as error:
            flaws.append(Flaw(FlawKind.UNREADABLE_IMAGE, file.name, str(error)))
            continue
        name = path.resolve().name
        images.append(
            image_record(number, name, file, hw, split, "semantic", semantic_path=map_file)
        )
    return tuple(images), tuple(flaws), num_without


CAMVID = Layout(
    kind="camvid",
    title="CamVid set",
    expects="label_colors.txt or class_dict.csv, train/ and trainannot/ (or images/ and labels/)",
    fits=lambda path: bool(_find_parts(path)),
    splits=lambda path: sort_splits(_find_parts(path).keys() - {ALL_SPLIT}),
    read=read_camvid,
)
