"""Videos with a mask a frame: DAVIS 2016 and 2017, YouTube-VOS.

    DAVIS/JPEGImages/480p/<sequence>/00000.jpg  Annotations/480p/<sequence>/00000.png  ImageSets/<year>/<split>.txt
    YouTube-VOS/<split>/JPEGImages/<video>/00000.jpg  Annotations/<video>/00000.png  meta.json

A mask holds the number of the object, which is its track. DAVIS 2016 asks for one object a sequence, all numbers
together. In YouTube-VOS most frames have no mask, and the names are those of meta.json; DAVIS has no names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from seem.data.classes import said
from seem.data.dataset import LabelMap, LazyDataset, image_record
from seem.data.image_files import exact_labels, first_folder, folders_in, image_hw, photos_in
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.label_maps import read_list, segments_of
from seem.data.records import CategoryRecord, DataError, ImageRecord

VOID = 255
OBJECT = CategoryRecord(1, "object", "", True)


def read_davis(year: int) -> Callable[[Path, str], LazyDataset]:
    """Return the reader of one year's rules."""

    def read(path: Path, split: str) -> LazyDataset:
        frames = first_folder(path / "JPEGImages" / "480p", path / "JPEGImages" / "Full-Resolution")
        listed = path / "ImageSets" / str(year) / f"{split}.txt"
        old = path / "ImageSets" / "480p" / f"{split}.txt"
        if frames is None or not (listed.is_file() or (year == 2016 and old.is_file())):
            raise refuse(f"DAVIS {year}", path, f"JPEGImages/480p, Annotations/480p and ImageSets/{year}/{split}.txt")
        names = read_list(listed if listed.is_file() else old)
        if not listed.is_file():  # lines of files, such as /JPEGImages/480p/bear/00000.jpg
            names = list(dict.fromkeys(Path(name).parent.name for name in names))
        photos = _frames(frames, path / "Annotations" / frames.name, names, f"davis{year}", split)

        def read_map(photo: ImageRecord) -> LabelMap | None:
            if photo.semantic_path is None:
                return None
            ids = exact_labels(photo.semantic_path, photo.hw)
            if year == 2016:
                ids = (ids > 0).astype(np.int32)
                return segments_of(ids, {1: 1}, (OBJECT,), photo)
            void = ids == VOID
            ids[void] = 0
            tracks = {number: 1 for number in np.unique(ids).tolist() if number}
            return segments_of(ids, tracks, (OBJECT,), photo, void=void if void.any() else None)

        name = f"davis{year}"
        file = listed if listed.is_file() else old
        return LazyDataset(name, name, split, path, (OBJECT,), photos, read_map, files=(file,))

    return read


def _frames(photos: Path, masks: Path, names: list[str], set_name: str, split: str) -> tuple[ImageRecord, ...]:
    """List the frames of videos; of one video all have one size, so that one header is read a video."""
    records: list[ImageRecord] = []
    for name in names:
        files = photos_in(photos / name)
        if not files:
            raise DataError(f"{photos / name} holds no frames, but the list of {split!r} names it; copy it again.")
        hw = image_hw(files[0])
        for frame, file in enumerate(files):
            mask = masks / name / f"{file.stem}.png"
            labelled = "tracks" if mask.is_file() else ""
            records.append(
                image_record(
                    len(records) + 1,
                    set_name,
                    file,
                    hw,
                    split,
                    labelled,
                    sequence=name,
                    frame=frame,
                    semantic_path=mask if labelled else None,
                )
            )
    return tuple(records)


def read_youtube_vos(path: Path, split: str) -> LazyDataset:
    """Open one part of YouTube-VOS."""
    home = path / split
    if not (home / "JPEGImages").is_dir() or not (home / "meta.json").is_file():
        raise refuse("YouTube-VOS", home, "JPEGImages, Annotations and meta.json")
    tracks = _tracks(home / "meta.json")
    names = sorted({name for objects in tracks.values() for name in objects.values()})
    categories = tuple(CategoryRecord(number, name, said(name), True) for number, name in enumerate(names, 1))
    number_of = {category.name: category.id for category in categories}
    videos = [folder.name for folder in folders_in(home / "JPEGImages")]
    photos = _frames(home / "JPEGImages", home / "Annotations", videos, "youtube_vos", split)

    def read_map(photo: ImageRecord) -> LabelMap | None:
        if photo.semantic_path is None:
            return None
        ids = exact_labels(photo.semantic_path, photo.hw)
        told = tracks.get(photo.sequence, {})
        of = {number: number_of.get(told.get(number, ""), -1) for number in np.unique(ids).tolist() if number}
        return segments_of(ids, of, categories, photo)

    return LazyDataset(
        "youtube_vos", "youtube_vos", split, path, categories, photos, read_map, files=(home / "meta.json",)
    )


def _tracks(file: Path) -> Mapping[str, Mapping[int, str]]:
    """Read the name of every object of every video."""
    try:
        videos = json.loads(file.read_bytes())["videos"]
        return {
            video: {int(number): str(each["category"]) for number, each in told["objects"].items()}
            for video, told in videos.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} does not tell the objects of each video ({error!r}); copy it again.") from error


def _davis_splits(year: int) -> Callable[[Path], tuple[str, ...]]:
    def splits(path: Path) -> tuple[str, ...]:
        folders = [path / "ImageSets" / str(year), *([path / "ImageSets" / "480p"] if year == 2016 else [])]
        return in_order({file.stem for folder in folders for file in folder.glob("*.txt")})

    return splits


def _is_davis(year: int) -> Callable[[Path], bool]:
    return lambda path: (path / "JPEGImages").is_dir() and bool(_davis_splits(year)(path))


def _youtube_splits(path: Path) -> tuple[str, ...]:
    return in_order({folder.name for folder in folders_in(path) if (folder / "meta.json").is_file()})


DAVIS = tuple(
    Layout(
        f"davis{year}",
        f"DAVIS {year}",
        f"JPEGImages/480p, Annotations/480p and ImageSets/{year}/<split>.txt",
        _is_davis(year),
        _davis_splits(year),
        read_davis(year),
    )
    for year in (2016, 2017)
)

YOUTUBE_VOS = Layout(
    "youtube_vos",
    "YouTube-VOS",
    "<split>/JPEGImages, <split>/Annotations and <split>/meta.json",
    lambda path: any((folder / "JPEGImages").is_dir() for folder in folders_in(path)) and bool(_youtube_splits(path)),
    _youtube_splits,
    read_youtube_vos,
)
