"""What formats of label maps share: lists of names, classes drawn as regions, objects drawn by number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int32

from seem.data.dataset import LabelMap, image_record
from seem.data.image_files import image_hw
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord, SegmentRecord

Source: TypeAlias = "Callable[[Path], str]"


def read_list(file: Path) -> list[str]:
    """Read a list of names, one a line; what follows the first space belongs to something else."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}); it lists the photos of this part.") from error
    return [line.split()[0] for line in lines if line.strip()]


def complete_everywhere(categories: tuple[CategoryRecord, ...]) -> Callable[[ImageRecord], frozenset[str]]:
    """Say of every photo that all classes are complete on it."""
    names = frozenset(category.text for category in categories)
    return lambda photo: names if photo.labelled else frozenset()


def segments_of(
    ids: Int32[np.ndarray, "h w"],
    category_of: Mapping[int, int],
    categories: tuple[CategoryRecord, ...],
    photo: ImageRecord,
    *,
    crowds: frozenset[int] = frozenset(),
    void: Bool[np.ndarray, "h w"] | None = None,
    is_partition: bool = False,
) -> LabelMap:
    """Make a label map of numbered segments with the category number of each; unknown categories are flaws."""
    by_id = {category.id: category for category in categories}
    segments, flaws = [], []
    areas = dict(zip(*(each.tolist() for each in np.unique(ids, return_counts=True)), strict=True))
    for number, category in category_of.items():
        if category in by_id:
            segments.append(SegmentRecord(number, by_id[category], areas.get(number, 0), number in crowds))
        else:
            where = f"photo {photo.id} ({photo.path.name}), segment {number}"
            flaws.append(Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {category}"))
    return LabelMap(ids, tuple(segments), void=void, is_partition=is_partition, flaws=tuple(flaws))


def class_regions(
    classes: Int32[np.ndarray, "h w"],
    categories: tuple[CategoryRecord, ...],
    photo: ImageRecord,
    void: Bool[np.ndarray, "h w"] | None = None,
) -> LabelMap:
    """Make a label map of classes alone: a region a class, a group where the class is countable."""
    found = segments_of(classes, {n: n for n in np.unique(classes).tolist() if n}, categories, photo)
    groups = {segment.id: "group" for segment in found.segments if segment.category.is_thing}
    return LabelMap(classes, found.segments, semantic=classes, void=void, qualities=groups, flaws=found.flaws)


def recoded(values: Int32[np.ndarray, "h w"], table: Mapping[int, int]) -> Int32[np.ndarray, "h w"]:
    """Translate the numbers of a map; those that the table lacks become 0."""
    numbers, places = np.unique(values, return_inverse=True)
    return np.array([table.get(number, 0) for number in numbers.tolist()], np.int32)[places.reshape(values.shape)]


def pair_photos(
    pairs: Iterable[tuple[Path, Path | None]],
    set_name: str,
    split: str,
    labelled: str,
    source_of: Source | None = None,
    *,
    always: bool = False,
) -> tuple[tuple[ImageRecord, ...], tuple[Flaw, ...]]:
    """Make records of photos and their label maps, numbered from 1 in the order given; unreadable photos are flaws.

    A photo without a map (None) is labelled with nothing, unless `always`. `source_of` names what a photo is a part of.
    """
    photos, flaws = [], []
    for number, (path, labels) in enumerate(pairs, 1):
        try:
            hw = image_hw(path)
        except DataError as error:
            kind = FlawKind.UNREADABLE_IMAGE if path.exists() else FlawKind.MISSING_IMAGE
            flaws.append(Flaw(kind, path.name, str(error)))
            continue
        source = source_of(path) if source_of else ""
        photos.append(
            image_record(
                number,
                set_name,
                path,
                hw,
                split,
                labelled if labels or always else "",
                source=source,
                semantic_path=labels,
            )
        )
    return tuple(photos), tuple(flaws)
