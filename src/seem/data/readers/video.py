"""Videos with a mask a frame: DAVIS 2016 and 2017, YouTube-VOS.

    DAVIS/JPEGImages/480p/<sequence>/00000.jpg  Annotations/480p/<sequence>/00000.png  ImageSets/<year>/<split>.txt
      (or 1080p, Full-Resolution; the unsupervised set of 2019: Annotations_unsupervised and ImageSets/2019)
    YouTube-VOS/<split>/JPEGImages/<video>/00000.jpg  Annotations/<video>/00000.png  meta.json

A mask holds the number of the object, which is its track. DAVIS 2016 asks for one object a sequence, all numbers
together. In YouTube-VOS most frames have no mask, and the names are those of meta.json; DAVIS has no names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from seem.data.classes import numbered_categories
from seem.data.image_files import (
    first_file,
    first_folder,
    folder_names,
    list_folders,
    list_images,
    read_image_hw,
    read_labels_of_size,
)
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import (
    label_map_of_segments,
    mask_or_none,
    note_listed,
    number_segments,
    read_name_list,
)
from seem.data.records import CategoryRecord, DataError, Flaw, ImageRecord, image_record
from seem.data.text_files import read_content

VOID_VALUE = 255

_RESOLUTIONS = ("480p", "1080p", "Full-Resolution")

_OBJECT = CategoryRecord(1, "object", "", is_thing=True)
_UNKNOWN_CATEGORY_ID = -1


# --- DAVIS ------------------------------------------------------------------------------------------------------------


def read_davis(path: Path, split: str, year: int) -> LazyDataset:
    """Open one part of DAVIS by the rules of one year, 2016 or 2017."""
    frame_folder = first_folder(*map((path / "JPEGImages").joinpath, _RESOLUTIONS))
    list_file = _find_sequence_list(path, split, year)
    if frame_folder is None or list_file is None:
        raise incomplete_layout_error(
            f"DAVIS {year}",
            path,
            f"JPEGImages/480p, Annotations/480p and ImageSets/{year}/{split}.txt",
        )
    name = f"davis{year}"
    sequences = _read_sequence_list(list_file)
    images = _list_frames(
        frame_folder, _mask_folder(path, frame_folder.name), sequences, name, split
    )

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        if year == 2016:
            is_object = (ids > 0).astype(np.int32)
            return label_map_of_segments(is_object, {1: _OBJECT.id}, (_OBJECT,), image)
        void = ids == VOID_VALUE
        ids[void] = 0
        category_of = number_segments(ids, lambda _: _OBJECT.id)
        return label_map_of_segments(ids, category_of, (_OBJECT,), image, void=mask_or_none(void))

    return LazyDataset(
        name=name,
        kind=name,
        split=split,
        path=path,
        category_list=(_OBJECT,),
        images=images,
        read_map=read_map,
        notes=tuple(_note_unlisted_sequences(path, year, frame_folder)),
        files=(list_file,),
        searched=_sequence_folders(images),
    )


def _mask_folder(path: Path, resolution: str) -> Path:
    """Return the folder of the masks; that of the unsupervised set where there is no other."""
    candidates = (path / "Annotations" / resolution, path / "Annotations_unsupervised" / resolution)
    return first_folder(*candidates) or candidates[0]


def _note_unlisted_sequences(path: Path, year: int, frame_folder: Path) -> Iterator[Flaw]:
    """Name the sequences that lie beside those of a year's lists; a list of missing ones is refused elsewhere."""
    listed: set[str] = set()
    for file in _lists_of_year(path, year):
        listed.update(_read_sequence_list(file))
    unlisted = [name for name in folder_names(frame_folder) if not _is_listed(name, listed)]
    yield from note_listed(f"ImageSets of {year}", "sequences that no list names", unlisted)


def _is_listed(name: str, listed: Iterable[str]) -> bool:
    """Whether a list names a folder, or one inside of it."""
    return any(entry == name or entry.startswith(f"{name}/") for entry in listed)


def _list_folders_of_year(path: Path, year: int) -> list[Path]:
    """Return the folders that hold lists of sequences; those of 2016 may lie in that of the resolution."""
    names = ("2016", "480p", "1080p") if year == 2016 else ("2017", "2019")
    return [path / "ImageSets" / name for name in names]


def _find_sequence_list(path: Path, split: str, year: int) -> Path | None:
    candidates = [folder / f"{split}.txt" for folder in _list_folders_of_year(path, year)]
    return first_file(*candidates)


def _read_sequence_list(file: Path) -> list[str]:
    """Read the names of sequences; lists by resolution hold files, such as /JPEGImages/480p/bear/00000.jpg."""
    names = read_name_list(file)
    if file.parent.name not in _RESOLUTIONS:
        return names
    sequences = [Path(name).parent.name for name in names]
    return list(dict.fromkeys(sequences))


def _davis_splits(path: Path, year: int) -> tuple[str, ...]:
    return sort_splits(file.stem for file in _lists_of_year(path, year))


def _lists_of_year(path: Path, year: int) -> list[Path]:
    files: list[Path] = []
    for folder in _list_folders_of_year(path, year):
        files += sorted(folder.glob("*.txt"))
    return files


def _davis_layout(year: int) -> Layout:
    return Layout(
        kind=f"davis{year}",
        title=f"DAVIS {year}",
        expects=f"JPEGImages/480p, Annotations/480p and ImageSets/{year}/<split>.txt",
        fits=lambda path: (path / "JPEGImages").is_dir() and bool(_davis_splits(path, year)),
        splits=partial(_davis_splits, year=year),
        read=partial(read_davis, year=year),
    )


DAVIS = (_davis_layout(2016), _davis_layout(2017))


# --- YouTube-VOS ------------------------------------------------------------------------------------------------------


def read_youtube_vos(path: Path, split: str) -> LazyDataset:
    """Open one part of YouTube-VOS."""
    home = path / split
    description = home / "meta.json"
    if not (home / "JPEGImages").is_dir() or not description.is_file():
        raise incomplete_layout_error("YouTube-VOS", home, "JPEGImages, Annotations and meta.json")
    names_by_video = _read_object_names(description)
    names: set[str] = set()
    for object_names in names_by_video.values():
        names.update(object_names.values())
    categories = numbered_categories(sorted(names))
    category_ids = {category.name: category.id for category in categories}
    videos = folder_names(home / "JPEGImages")
    images = _list_frames(home / "JPEGImages", home / "Annotations", videos, "youtube_vos", split)

    def read_map(image: ImageRecord) -> LabelMap | None:
        if image.semantic_path is None:
            return None
        ids = read_labels_of_size(image.semantic_path, image.hw, image.image_frame)
        object_names = names_by_video.get(image.sequence, {})

        def category_of_object(number: int) -> int:
            return category_ids.get(object_names.get(number, ""), _UNKNOWN_CATEGORY_ID)

        return label_map_of_segments(
            ids, number_segments(ids, category_of_object), categories, image
        )

    return LazyDataset(
        name="youtube_vos",
        kind="youtube_vos",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        files=(description,),
        searched=_sequence_folders(images),
    )


def _read_object_names(file: Path) -> Mapping[str, Mapping[int, str]]:
    """Read the class of every object of every video."""
    names: dict[str, dict[int, str]] = {}
    try:
        for video, row in json.loads(read_content(file))["videos"].items():
            names[video] = {}
            for number, entry in row["objects"].items():
                names[video][int(number)] = str(entry["category"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{file} does not tell the objects of each video ({error!r}); copy it again."
        ) from error
    return names


def _youtube_vos_splits(path: Path) -> tuple[str, ...]:
    names = []
    for name in folder_names(path):
        if (path / name / "meta.json").is_file():
            names.append(name)
    return sort_splits(names)


def _is_youtube_vos(path: Path) -> bool:
    has_frames = any((folder / "JPEGImages").is_dir() for folder in list_folders(path))
    return has_frames and bool(_youtube_vos_splits(path))


YOUTUBE_VOS = Layout(
    kind="youtube_vos",
    title="YouTube-VOS",
    expects="<split>/JPEGImages, <split>/Annotations and <split>/meta.json",
    fits=_is_youtube_vos,
    splits=_youtube_vos_splits,
    read=read_youtube_vos,
)


# --- Both -------------------------------------------------------------------------------------------------------------


def _list_frames(
    frame_folder: Path,
    mask_folder: Path,
    videos: Sequence[str],
    set_name: str,
    split: str,
) -> tuple[ImageRecord, ...]:
    """List the frames of videos; of one video all have one size, so that one header is read a video."""
    images: list[ImageRecord] = []
    for video in videos:
        files = list_images(frame_folder / video)
        if not files:
            folder = frame_folder / video
            raise DataError(
                f"{folder} holds no frames, but the list of {split!r} names it; copy it again."
            )
        hw = read_image_hw(files[0])
        for frame, file in enumerate(files):
            mask = first_file(mask_folder / video / f"{file.stem}.png")
            image = image_record(
                len(images) + 1,
                set_name,
                file,
                hw,
                split,
                labelled="tracks" if mask else "",
                sequence=video,
                frame=frame,
                semantic_path=mask,
            )
            images.append(image)
    return tuple(images)


def _sequence_folders(images: Iterable[ImageRecord]) -> tuple[Path, ...]:
    """Return the folders of frames and of masks that a part reads."""
    files = chain.from_iterable((image.path, image.semantic_path) for image in images)
    return tuple(dict.fromkeys(file.parent for file in files if file is not None))
