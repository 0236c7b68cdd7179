"""A plain folder of photos and masks.

    images/a.jpg     masks/a.png            a map: numbers of objects, or of classes if classes.txt tells their names
                     masks/a/cat_1.png      one file an object, any pixel but 0 is its; the name without the number
                     masks/a_cat_1.png      is the class, a bare number means no class
    classes.txt      one name a line (the first is 1), or classes.json: {"1": "cat", ...}

Parts are folders: train/images with train/masks, or images/train with masks/train (val, test likewise). In a map 255
does not count; a map of 0 and 255 alone is one object. A photo without a mask has no object, unless the set has maps
of classes: then nothing is known about it. Regions of a class map are not countable: they are stuff.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seem.data import coco_rle
from seem.data.classes import NAMELESS, said
from seem.data.dataset import ALL_SPLIT, LabelMap, LazyDataset, ParsedObjects, object_record, segment_records
from seem.data.image_files import exact_labels, folders_in, inside, photos_in, read_channels, wrong_size
from seem.data.layout import SPELLINGS, Layout, in_order, refuse
from seem.data.readers.clicks import looks_like_clicks
from seem.data.readers.label_maps import complete_everywhere, pair_photos, segments_of
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord

VOID = 255
PHOTO_FOLDERS, MASK_FOLDERS = ("images", "imgs", "JPEGImages"), ("masks", "labels", "annotations")
_SEPARATOR = re.compile(r"[-_.# ]")
_NUMBER = re.compile(r"[-_ .#]*\d+$")


def part_folders(path: Path) -> dict[str, tuple[Path, Path]]:
    """Find photos and masks of every part; one part called `ALL` if the set is not divided."""
    names = {name for spellings in SPELLINGS.values() for name in spellings}
    found = {}
    for part in (each for each in folders_in(path) if each.name in names):
        if pair := _pair(part):
            found[part.name] = pair
    pair = _pair(path)
    if found or pair is None:
        return found
    for part in (each for each in folders_in(pair[0]) if each.name in names):
        if (pair[1] / part.name).is_dir():
            found[part.name] = (part, pair[1] / part.name)
    return found or {ALL_SPLIT: pair}


def _pair(path: Path) -> tuple[Path, Path] | None:
    photos = [path / name for name in PHOTO_FOLDERS if (path / name).is_dir()]
    masks = [path / name for name in MASK_FOLDERS if any(photos_in(path / name, deep=True)[:1])]
    return (photos[0], masks[0]) if len(photos) == 1 and len(masks) == 1 else None


def read_folder(path: Path, split: str) -> LazyDataset:
    """Open one part of a folder of photos and masks."""
    parts = part_folders(path)
    if split not in parts:
        raise refuse("folder of photos and masks", path, "images/ with photos and masks/ with PNG files")
    photo_folder, masks = parts[split]
    classes = read_classes(path)
    files = photos_in(photo_folder)
    stems = {file.stem for file in files}
    own, strays = _object_files(masks, stems)
    classes_alone = bool(classes) and not own
    pairs = ((file, _map_of(file, masks)) for file in files)
    photos, flaws = pair_photos(pairs, path.resolve().name, split, "masks", always=not classes_alone)
    flaws += tuple(
        Flaw(FlawKind.UNKNOWN_IMAGE, inside(file, path), "there is no photo of that name") for file in strays
    )
    names = sorted({class_of(file, stem) for stem, group in own.items() for file in group} - {""})
    nameless = CategoryRecord(len(names) + 1, "object", "", True)
    told = tuple(CategoryRecord(number, name, said(name), True) for number, name in enumerate(names, 1))
    categories = classes or (*told, nameless)
    by_name = {category.name: category for category in categories}

    def read_map(photo: ImageRecord) -> LabelMap | None:
        return None if photo.semantic_path is None else read_mask_map(photo.semantic_path, photo, classes, nameless)

    def read_objects(photo: ImageRecord) -> ParsedObjects:
        cut = read_map(photo)
        if cut is not None:
            return ParsedObjects(segment_records(cut, photo), cut.flaws)
        objects, lost = [], []
        for number, file in enumerate(own.get(photo.path.stem, ()), 1):
            category = by_name.get(class_of(file, photo.path.stem) or "object")
            try:
                if category is None:
                    message = f"{class_of(file, photo.path.stem)!r} is not in the list of classes"
                    raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
                coded = coco_rle.mask_to_rle(_one_object(file, photo))
            except DataError as error:
                lost.append(Flaw(error.kind, file.name, str(error)))
                continue
            objects.append(object_record(photo.id * 10_000 + number, photo, category, coded))
        return ParsedObjects(tuple(objects), tuple(lost))

    return LazyDataset(
        name=path.resolve().name,
        kind="folder",
        split=split,
        path=path,
        category_list=tuple(categories),
        images=photos,
        read_map=read_map,
        read_objects=read_objects,
        complete=complete_everywhere(categories),
        flaws=flaws,
        files=tuple(file for group in own.values() for file in group),
    )


def read_mask_map(
    file: Path, photo: ImageRecord, classes: Sequence[CategoryRecord], nameless: CategoryRecord
) -> LabelMap:
    """Read a map of objects, or of classes where names are known."""
    values = exact_labels(file, photo.hw)
    if not classes:
        if set(np.unique(values).tolist()) <= {0, VOID}:
            values = (values > 0).astype(np.int32)
        void = values == VOID
        values[void] = 0
        of = {number: nameless.id for number in np.unique(values).tolist() if number}
        return segments_of(values, of, (nameless,), photo, void=void if void.any() else None)
    void = (values == VOID) & (VOID not in {category.id for category in classes})
    values[void] = 0
    of = {number: number for number in np.unique(values).tolist() if number}
    found = segments_of(values, of, tuple(classes), photo)
    known = np.isin(values, [segment.id for segment in found.segments])
    semantic = np.where(known, values, 0).astype(np.int32)
    return LabelMap(values, found.segments, semantic, void if void.any() else None, flaws=found.flaws)


def read_classes(path: Path) -> tuple[CategoryRecord, ...]:
    """Read classes.txt or classes.json; empty if there is neither."""
    text, table = path / "classes.txt", path / "classes.json"
    try:
        if table.is_file():
            rows = [(int(number), str(name)) for number, name in json.loads(table.read_bytes()).items()]
        elif text.is_file():
            lines = text.read_text(encoding="utf-8").splitlines()
            rows = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
        else:
            return ()
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f'{table} is not a list of {{"number": "name"}} ({error}).') from error
    return tuple(CategoryRecord(number, name, said(name), False) for number, name in rows)


def class_of(file: Path, photo_stem: str) -> str:
    """Read the class of an object from the name of its file; empty for none."""
    name = file.stem.removeprefix(photo_stem) if file.stem.startswith(photo_stem) else file.stem
    name = _NUMBER.sub("", name).strip("-_ .#")
    return "" if name in NAMELESS else name


def _one_object(file: Path, photo: ImageRecord) -> np.ndarray:
    values = read_channels(file)
    if values.shape[:2] != photo.hw:
        wrong_size(file, values.shape[:2], photo.hw)
    colours = values[:, :, :3] if values.shape[2] > 2 else values[:, :, :1]
    return np.asarray((colours > 0).any(axis=2))


def _map_of(photo: Path, masks: Path) -> Path | None:
    return next((file for end in (".png", ".tif", ".bmp") if (file := masks / f"{photo.stem}{end}").is_file()), None)


def _object_files(masks: Path, stems: set[str]) -> tuple[dict[str, list[Path]], list[Path]]:
    """Sort the files of single objects by photo; what belongs to no photo comes second."""
    own: dict[str, list[Path]] = {}
    strays = []
    for folder in folders_in(masks):
        if folder.name in stems:
            own.setdefault(folder.name, []).extend(photos_in(folder))
        else:
            strays += photos_in(folder)
    for file in photos_in(masks):
        if file.stem in stems:
            continue  # the map of a photo
        cuts = [match.start() for match in _SEPARATOR.finditer(file.stem)]
        photo = next((file.stem[:cut] for cut in reversed(cuts) if file.stem[:cut] in stems), None)
        if photo is None:
            strays.append(file)
        else:
            own.setdefault(photo, []).append(file)
    return own, strays


def _splits(path: Path) -> tuple[str, ...]:
    return in_order(set(part_folders(path)) - {ALL_SPLIT})


FOLDER = Layout(
    "folder",
    "folder of photos and masks",
    "images/ and masks/ (a map a photo, or a file an object)",
    lambda path: bool(part_folders(path)) and not looks_like_clicks(path),
    _splits,
    read_folder,
)
