"""Open Images: single objects as one mask file each.

    <split>-annotations-object-segmentation.csv       here, in annotations/ or csv/; or <split>/labels/segmentations.csv
    class-descriptions-boxable.csv                    any class-descriptions*.csv; or <split>/metadata/classes.csv
    <split>/*.jpg                                     or images/<split>, <split>/data
    masks/*.png                                       or <split>-masks, masks/<split>, <split>/masks,
                                                      <split>/labels/masks; in folders by first letter or not

The list names far more photos than most people have: those that are there are read. Not every object of a photo has a
mask, so no class is complete. A mask may be smaller than its photo; it is brought to its size.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from seem.data import coco_rle
from seem.data.classes import said
from seem.data.dataset import LazyDataset, ParsedObjects, object_record
from seem.data.image_files import by_stem, in_frame, read_labels
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.label_maps import pair_photos
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord

SPLITS = ("train", "validation", "test")
LIST_END = "-annotations-object-segmentation.csv"


def segment_list(path: Path, split: str) -> Path | None:
    """Find the list of masks of a part."""
    places = [path / inner / f"{split}{LIST_END}" for inner in ("", "annotations", "csv", split)]
    return next((file for file in (*places, path / split / "labels" / "segmentations.csv") if file.is_file()), None)


def class_names(path: Path, split: str) -> Path | None:
    """Find the list of class names."""
    folders = (path, path / "annotations", path / "csv", path / split, path / split / "metadata")
    for folder in folders:
        for pattern in ("class-descriptions-boxable.csv", "*class-descriptions*.csv", "classes.csv"):
            for file in sorted(folder.glob(pattern)):
                return file
    return None


def read_openimages(path: Path, split: str) -> LazyDataset:
    """Open one part of Open Images."""
    listed, names = segment_list(path, split), class_names(path, split)
    if listed is None:
        raise refuse("Open Images set", path, f"{split}{LIST_END}")
    if names is None:
        raise refuse("Open Images set", path, "class-descriptions-boxable.csv", way_out="It tells what /m/... means.")
    rows = _rows(listed)
    photo_files = _photo_files(path, split)
    kept = [name for name in dict.fromkeys(row["ImageID"] for row in rows) if name in photo_files]
    if not kept:
        raise refuse(
            "Open Images set", path, f"photos that {listed.name} names, in {split}/, images/{split}/ or {split}/data/",
            f"none of its {len({row['ImageID'] for row in rows})} photos", "Download at least some of them.",
        )  # fmt: skip
    pairs = ((photo_files[name], None) for name in kept)
    photos, flaws = pair_photos(pairs, "openimages", split, "instances-partial", always=True)
    by_photo: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for number, row in enumerate(rows, 1):
        if row["ImageID"] in photo_files:
            by_photo.setdefault(row["ImageID"], []).append((number, row))
    told = _names(names)
    used = sorted({row["LabelName"] for group in by_photo.values() for _, row in group} & told.keys())
    categories = {code: CategoryRecord(n, told[code], said(told[code].lower()), True) for n, code in enumerate(used, 1)}
    folders = _mask_folders(path, split)

    def read_objects(photo: ImageRecord) -> ParsedObjects:
        objects, lost = [], []
        for number, row in by_photo.get(photo.path.stem, ()):
            where = f"{listed.name}, row {number}"
            category = categories.get(row["LabelName"])
            if category is None:
                lost.append(Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"{row['LabelName']} is not in {names.name}"))
                continue
            try:
                file = _mask_file(folders, row["MaskPath"])
                inside = in_frame(read_labels(file), photo.hw, file) > 0
            except DataError as error:
                lost.append(Flaw(error.kind, where, str(error)))
                continue
            objects.append(object_record(number, photo, category, coco_rle.mask_to_rle(np.asarray(inside))))
        return ParsedObjects(tuple(objects), tuple(lost))

    return LazyDataset(
        name="openimages",
        kind="openimages",
        split=split,
        path=path,
        category_list=tuple(categories.values()),
        images=photos,
        read_objects=read_objects,
        flaws=flaws,
        files=(listed, names),
    )


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = list(csv.DictReader(stream))
    missing = {"MaskPath", "ImageID", "LabelName"} - set(rows[0] if rows else ())
    if missing:
        raise DataError(f"{file} has no column {', '.join(sorted(missing))}; copy the list of masks again.")
    return [row for row in rows if row["MaskPath"] and row["ImageID"] and row["LabelName"]]


def _names(file: Path) -> dict[str, str]:
    with file.open(newline="", encoding="utf-8", errors="replace") as stream:
        return {row[0]: row[1] for row in csv.reader(stream) if len(row) > 1 and row[0].startswith("/")}


def _photo_files(path: Path, split: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in (path / split, path / "images" / split, path / split / "data", path / "images", path):
        for stem, file in by_stem(folder).items():
            found.setdefault(stem, file)
    return found


def _mask_folders(path: Path, split: str) -> list[Path]:
    names = ("masks", f"{split}-masks", f"masks/{split}", f"{split}/masks", f"{split}/labels/masks", f"{split}_masks")
    return [path / name for name in names if (path / name).is_dir()]


def _mask_file(folders: list[Path], name: str) -> Path:
    plain = Path(name).name
    for folder in folders:
        for file in (folder / plain, folder / plain[0].lower() / plain, folder / plain[0].upper() / plain):
            if file.is_file():
                return file
    message = f"there is no mask {plain}" + ("" if folders else "; unpack the masks into masks/")
    raise DataError(message, FlawKind.MISSING_MASK_FILE)


def _splits(path: Path) -> tuple[str, ...]:
    return in_order({split for split in SPLITS if segment_list(path, split)})


OPENIMAGES = Layout(
    "openimages",
    "Open Images with masks",
    f"<split>{LIST_END}, class-descriptions-boxable.csv, masks/ and <split>/",
    lambda path: bool(_splits(path)),
    _splits,
    read_openimages,
)
