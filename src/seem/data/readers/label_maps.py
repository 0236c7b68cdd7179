"""What formats of label maps share: lists of names, pairs of image and map, maps of classes, maps of segments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Bool, Int32

from seem.data.image_files import (
    images_by_relative_name,
    images_by_stem,
    list_images,
    only_path,
    read_annotated_hw,
    relative_stem,
)
from seem.data.label_map import LabelMap
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    SegmentRecord,
    categories_by_id,
    category_names,
    image_record,
    things_of,
)
from seem.data.text_files import TextFile

_MAX_LISTED = 3


def read_name_list(file: Path) -> list[str]:
    """Read a list of names, one a line, in any encoding; what follows the first space belongs to something else.

    A name that comes again is left out, and so is a line that begins with #. Folders are parted by slashes.

    Raises:
        DataError: the list cannot be read, or a name leads out of the folder that it counts from.
    """
    names: dict[str, None] = {}
    for line in TextFile.read(file).lines():
        if not line or line.startswith("#"):
            continue
        name = line.split()[0].replace("\\", "/").lstrip("/")
        if ".." in PurePosixPath(name).parts:
            raise DataError(f"{file} names {name}, which leads out of the folder of photos.")
        names[name] = None
    return list(names)


def pair_images(
    pairs: Iterable[tuple[Path, Path | None]],
    set_name: str,
    split: str,
    labelled: str,
    source_of: Callable[[Path], str] = lambda _: "",
    *,
    is_always_labelled: bool = False,
    mask_of: Callable[[Path], Path | None] = lambda _: None,
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...]]:
    """Make records of images and their label maps, numbered from 1 in the order given; unreadable images are flaws.

    An image without a map (None) is labelled with nothing, unless `is_always_labelled`. `source_of` names the subset
    (scene, city) that an image is from, `mask_of` another file of masks where it has no map.
    """
    images, flaws = [], []
    for number, (path, label_file) in enumerate(pairs, 1):
        try:
            hw = read_annotated_hw(path, label_file or mask_of(path))
        except DataError as error:
            flaws.append(_image_flaw(path, error))
            continue
        is_labelled = label_file is not None or is_always_labelled
        image = image_record(
            number,
            set_name,
            path,
            hw,
            split,
            labelled if is_labelled else "",
            source=source_of(path),
            semantic_path=label_file,
        )
        images.append(image)
    return tuple(images), tuple(flaws)


def _image_flaw(path: Path, error: DataError) -> Flaw:
    """Return the flaw of an image that cannot be read."""
    if not path.exists():
        return Flaw(FlawKind.MISSING_IMAGE, path.name, str(error))
    return Flaw(FlawKind.UNREADABLE_IMAGE, path.name, str(error))


def pair_by_stem(
    image_files: Iterable[Path],
    label_folder: Path,
    suffix: str = ".png",
) -> list[tuple[Path, Path]]:
    """Return every image with the label map of its name, which may have another ending than `suffix`."""
    others = images_by_stem(label_folder)
    pairs = []
    for file in image_files:
        expected = label_folder / f"{file.stem}{suffix}"
        is_there = expected.is_file()
        pairs.append((file, expected if is_there else others.get(file.stem, expected)))
    return pairs


def pair_in_folders(
    image_folder: Path, label_folder: Path, ending: str = ".png"
) -> list[tuple[Path, Path]]:
    """Return every image of a folder and its sub-folders with its label map.

    That has the image's path and `ending`, or the image's path and an ending of its own, or is the only one of its name
    though in another sub-folder. An image without one is paired with the first of these, which is missing.
    """
    images = list_images(image_folder, deep=True)
    num_of_stem = Counter(file.stem for file in images)
    by_name = images_by_relative_name(label_folder)
    by_stem: dict[str, list[Path]] = {}
    for file in by_name.values():
        by_stem.setdefault(file.stem, []).append(file)
    pairs = []
    for file in images:
        name = relative_stem(file, image_folder)
        label_file = label_folder / f"{name}{ending}"
        if not label_file.is_file():
            same_stem = None
            if num_of_stem[file.stem] == 1:
                same_stem = only_path(by_stem.get(file.stem, []))
            label_file = by_name.get(name) or same_stem or label_file
        pairs.append((file, label_file))
    return pairs


def note_listed(where: str, what: str, names: Sequence[str]) -> Iterator[Flaw]:
    """Note what is not read, by its number and the first of its names; nothing if there is none."""
    if names:
        listed = ", ".join(names[:_MAX_LISTED])
        if len(names) > _MAX_LISTED:
            listed += ", ..."
        yield Flaw(FlawKind.UNREAD, where, f"{what}: {len(names)} ({listed})")


def note_missing(
    list_file: Path, what: str, names: Iterable[str], present: Set[str]
) -> Iterator[Flaw]:
    """Note how many of the names in a list are not there."""
    names = set(names)
    num_missing = len(names - present)
    if num_missing:
        text = f"{what} of the list that are not here: {num_missing} of {len(names)}"
        yield Flaw(FlawKind.UNREAD, list_file.name, text)


def thing_ids(categories: Iterable[CategoryRecord]) -> list[int]:
    """Return the ids of the classes that are things."""
    return [category.id for category in things_of(categories)]


def complete_where_labelled(
    categories: Iterable[CategoryRecord],
) -> Callable[[ImageRecord], frozenset[str]]:
    """Return what says that all classes are complete on every image that is labelled."""
    names = category_names(categories)

    def complete(image: ImageRecord) -> frozenset[str]:
        if not image.labelled:
            return frozenset()
        return names

    return complete


def number_segments(
    ids: Int32[np.ndarray, "h w"], category_of: Callable[[int], int]
) -> dict[int, int]:
    """Return the category id of every segment id that occurs in a map, 0 left out."""
    occurring = np.unique(ids[ids != 0]).tolist()
    return dict(zip(occurring, map(category_of, occurring), strict=True))


def label_map_of_segments(
    ids: Int32[np.ndarray, "h w"],
    category_of: Mapping[int, int],
    categories: tuple[CategoryRecord, ...],
    image: ImageRecord,
    *,
    crowds: frozenset[int] = frozenset(),
    void: Bool[np.ndarray, "h w"] | None = None,
    is_partition: bool = False,
) -> LabelMap:
    """Make a label map of segments by the category id of each; unknown categories are flaws."""
    by_id = categories_by_id(categories)
    areas = segment_areas(ids)
    segments, flaws = [], []
    for number, category_id in category_of.items():
        if category_id in by_id:
            segment = SegmentRecord(
                number, by_id[category_id], areas.get(number, 0), is_crowd=number in crowds
            )
            segments.append(segment)
        else:
            where = f"photo {image.id} ({image.path.name}), segment {number}"
            flaws.append(Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {category_id}"))
    return LabelMap(ids, tuple(segments), void=void, is_partition=is_partition, flaws=tuple(flaws))


def label_map_of_classes(
    category_ids: Int32[np.ndarray, "h w"],
    categories: tuple[CategoryRecord, ...],
    image: ImageRecord,
    void: Bool[np.ndarray, "h w"] | None = None,
) -> LabelMap:
    """Make a label map of classes alone: a region a class, a group where the class is countable."""
    category_of = number_segments(category_ids, lambda number: number)
    labels = label_map_of_segments(category_ids, category_of, categories, image)
    return LabelMap(
        ids=category_ids,
        segments=labels.segments,
        semantic=category_ids,
        void=void,
        qualities=dict.fromkeys(thing_ids(categories), "group"),
        flaws=labels.flaws,
    )


def segment_areas(ids: Int32[np.ndarray, "h w"]) -> dict[int, int]:
    """Return the number of pixels of every value of a map."""
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def remap_values(
    values: Int32[np.ndarray, "h w"], table: Mapping[int, int]
) -> Int32[np.ndarray, "h w"]:
    """Translate the values of a map; those that the table lacks become 0."""
    distinct, indices = np.unique(values, return_inverse=True)
    numbers = [table.get(value, 0) for value in distinct.tolist()]
    translated = np.array(numbers, np.int32)
    return translated[indices.reshape(values.shape)]


def mask_or_none(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"] | None:
    """Return a mask, None if it is empty."""
    if not mask.any():
        return None
    return mask
