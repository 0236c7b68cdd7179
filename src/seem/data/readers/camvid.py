"""CamVid and sets laid out like it: photos, maps of colours or numbers, and a legend.

    label_colors.txt (red green blue name), class_dict.csv (name,r,g,b), codes.txt (a name a line)
    train/a.png  trainannot/a.png      or train_labels/a_L.png, train_masks; val, test likewise
    images/a.png  labels/a_P.png       or 701_StillsRaw_full/ and LabeledApproved_full/a_L.png

A photo in a sub-folder has its map in the same one. For colours and numbers see `colour_legends.py`. Classes are
regions, nothing tells single objects apart: they are stuff.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from seem.data.dataset import ALL_SPLIT
from seem.data.frames import ImageHeader, array_in_frame
from seem.data.image_files import (
    images_by_relative_name,
    list_folders,
    list_images,
    read_annotated_hw,
    relative_name,
    relative_stem,
    wrong_size_error,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.mask_pixels import grey_scale_factor, stored_numbers
from seem.data.readers.class_maps import describe_colours
from seem.data.readers.colour_legends import (
    UNCOUNTED_NUMBER,
    ColourLegend,
    find_legend_file,
    read_colour_legend,
)
from seem.data.readers.folder import find_mask_folders
from seem.data.readers.label_maps import (
    complete_where_labelled,
    label_map_of_classes,
    mask_or_none,
    remap_values,
)
from seem.data.readers.shape_sets import UnreadCounts
from seem.data.records import (
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    image_record,
    unmatched_flaw,
)
from seem.errors import SeemError
from seem.images import decode_pixels, open_image

_MASK_ENDINGS = ("annot", "_annot", "_labels", "_masks", "_mask", "labels")
_PAIRS = (("images", "labels"), ("images", "masks"), ("701_StillsRaw_full", "LabeledApproved_full"))
_STEM_ENDINGS = ("", "_L", "_P", "_mask", "_label")
_UNKNOWN_NUMBER = UNCOUNTED_NUMBER - 1


def read_camvid(path: Path, split: str) -> LazyDataset:
    """Open one part of a set like CamVid."""
    parts, file = _find_parts(path), find_legend_file(path)
    if split not in parts or file is None:
        raise incomplete_layout_error(
            "CamVid set", path, "label_colors.txt, train/ with photos and trainannot/ with maps"
        )
    legend = read_colour_legend(file)
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
        notes=(*legend.notes, *unread.notes()),
        files=(file,),
        searched=parts[split],
    )


# --- Maps -------------------------------------------------------------------------------------------------------------


def _read_map(image: ImageRecord, legend: ColourLegend) -> LabelMap | None:
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
    path: Path, photo: ImageRecord, legend: ColourLegend
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


def _unknown_flaw(values: list[int], path: Path, legend: ColourLegend, has_colours: bool) -> Flaw:
    what = f"{legend.file.name} does not name "
    if has_colours:
        what += describe_colours(values)
    else:
        what += f"the numbers {', '.join(map(str, values))}"
    return Flaw(FlawKind.UNKNOWN_CATEGORY, path.name, what)


# --- Files ------------------------------------------------------------------------------------------------------------


def _find_parts(path: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of photos and of maps of every part; one part called `ALL_SPLIT` if it is not divided."""
    if not path.is_dir() or find_legend_file(path) is None:
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
        if (
            images in folders
            and masks_name in folders
            and list_images(folders[masks_name], deep=True)
        ):
            return {ALL_SPLIT: (folders[images], folders[masks_name])}
    return find_mask_folders(path)


def _pair_images(
    path: Path, split: str, image_folder: Path, mask_folder: Path
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...], int]:
    """Return the images that have a map, what is wrong with others and with maps, and how many have none."""
    maps = images_by_relative_name(mask_folder)
    unmatched = set(maps.values())
    images, flaws, num_without = [], [], 0
    for number, file in enumerate(list_images(image_folder, deep=True), 1):
        stem = relative_stem(file, image_folder)
        names = [stem + ending for ending in _STEM_ENDINGS]
        map_file = next(filter(None, map(maps.get, names)), None)
        if map_file is None:
            num_without += 1
            continue
        unmatched.discard(map_file)
        try:
            hw = read_annotated_hw(file, map_file)
        except DataError as error:
            flaws.append(Flaw(FlawKind.UNREADABLE_IMAGE, file.name, str(error)))
            continue
        name = path.resolve().name
        images.append(
            image_record(number, name, file, hw, split, "semantic", semantic_path=map_file)
        )
    flaws += [unmatched_flaw(relative_name(file, path)) for file in sorted(unmatched)]
    return tuple(images), tuple(flaws), num_without


CAMVID = Layout(
    kind="camvid",
    title="CamVid set",
    expects="label_colors.txt or class_dict.csv, train/ and trainannot/ (or images/ and labels/)",
    fits=lambda path: bool(_find_parts(path)),
    splits=lambda path: sort_splits(_find_parts(path).keys() - {ALL_SPLIT}),
    read=read_camvid,
)
