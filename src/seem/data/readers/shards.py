"""Large data sets as WebDataset shards: tar files that hold a photo and everything about it side by side.

    train-000000.tar     000000000.jpg             the photo, byte for byte
                         000000000.json            its record: size, objects (COCO run-length codes), captions, ...
                         000000000.semantic.png    category ids of 16 bits, where the set has such a map
                         000000000.panoptic.png    segment ids (R + 256 G + 65536 B), where the set has such a map
    train.index.json     where every member lies; made anew when it is missing or older than the tars
    classes.json         [{"id": 1, "name": "cat", "text": "cat", "isthing": true}, ...]

The members of one photo stand together and share their name up to the first dot, so that every tool for WebDataset
reads them as a stream. Here photos are reached by their place: tars do not compress, a member is a slice of its file,
and a training run that draws by number stays exactly resumable.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from seem.data import coco_rle
from seem.data.dataset import ALL_SPLIT, Dataset, LabelMap, LazyDataset, ParsedObjects, Recent
from seem.data.image_files import PHOTO_SUFFIXES, read_rgb
from seem.data.layout import Layout, in_order, refuse
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    ReferringExpression,
    SegmentRecord,
)

IMAGES_PER_SHARD = 1000
CLASSES_FILE = "classes.json"
RECORD, SEMANTIC, PANOPTIC = "json", "semantic.png", "panoptic.png"
_LAYOUT = 1
_NAME = re.compile(r".+-\d{6,}\.tar")
_OBJECT_FIELDS = ("id", "counts", "box", "area", "is_crowd", "quality", "phrases", "phrase_source", "track_id")
_PHOTO_FIELDS = ("id", "hw", "labelled", "source", "licence_group", "captions", "sequence", "frame")


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_shards(
    dataset: Dataset,
    folder: Path,
    per_shard: int = IMAGES_PER_SHARD,
    step: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Write one part of a data set as shards into a folder, and its index; returns the tars.

    Every tar is written aside and renamed when it is whole. `step` is called after each photo.

    Raises:
        DataError: a photo or an annotation cannot be read.
        OSError: the disk is full, or may not be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"id": c.id, "name": c.name, "text": c.text, "isthing": c.is_thing} for c in dataset.categories.values()]
    _write_text(folder / CLASSES_FILE, json.dumps(rows, indent=1) + "\n")
    expressions: dict[int, list[ReferringExpression]] = {}
    for each in dataset.expressions:
        expressions.setdefault(each.image_id, []).append(each)
    written = []
    for first in range(0, len(dataset.images), per_shard):
        place = folder / f"{dataset.split}-{first // per_shard:06d}.tar"
        aside = place.with_suffix(".part")
        try:
            with tarfile.open(aside, "w", format=tarfile.USTAR_FORMAT) as tar:
                for number, photo in enumerate(dataset.images[first : first + per_shard], first):
                    for ending, content in _members(dataset, photo, expressions.get(photo.id, [])):
                        entry = tarfile.TarInfo(f"{number:09d}.{ending}")
                        entry.size = len(content)
                        tar.addfile(entry, io.BytesIO(content))
                    step()
            aside.replace(place)
        finally:
            aside.unlink(missing_ok=True)
        written.append(place)
    _read_index(folder, dataset.split)
    return written


def list_shards(folder: Path) -> list[Path]:
    """List the shards of a folder, their indices and classes; other tars are not ours."""
    tars = [tar for tar in sorted(folder.glob("*.tar")) if _NAME.fullmatch(tar.name)]
    indices = [folder / f"{split}.index.json" for split in {tar.name.rpartition("-")[0] for tar in tars}]
    return [*tars, *(file for file in (*indices, folder / CLASSES_FILE) if file.is_file())]


def _members(dataset: Dataset, photo: ImageRecord, said: list[ReferringExpression]) -> Iterator[tuple[str, bytes]]:
    """Write the photo, its record, and its maps."""
    dataset.pixels(photo)  # what cannot be read is told here, not by whoever trains
    suffix = photo.path.suffix.lower()
    yield suffix.removeprefix("."), dataset.read_encoded(photo)
    void, panoptic, semantic = dataset.void(photo), dataset.panoptic(photo), dataset.semantic(photo)
    record: dict[str, Any] = {name: getattr(photo, name) for name in _PHOTO_FIELDS}
    record |= {
        "file_name": photo.path.name,
        "complete": sorted(dataset.complete_names(photo)),
        "objects": [
            {"category_id": each.category.id, **{name: getattr(each, name) for name in _OBJECT_FIELDS}}
            for each in dataset.objects[photo.id]
        ],
        "expressions": [{"id": e.id, "object_id": e.object_id, "sentences": e.sentences} for e in said],
        "void": None if void is None else coco_rle.mask_to_rle(void).counts,
    }
    if panoptic is not None:
        record["segments"] = [
            {"id": s.id, "category_id": s.category.id, "is_crowd": s.is_crowd} for s in panoptic.segments
        ]
    yield RECORD, json.dumps(record).encode()
    if semantic is not None:
        yield SEMANTIC, _png(semantic.astype(np.uint16))
    if panoptic is not None:
        ids = panoptic.ids
        yield PANOPTIC, _png(np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8))


def _png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def _write_text(place: Path, text: str) -> None:
    aside = place.with_name(f".{place.name}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(place)
    finally:
        aside.unlink(missing_ok=True)


# --- Reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slice:
    """Where a member lies: which tar, from which byte, how many."""

    tar: str
    start: int
    size: int


def read_shards(path: Path, split: str) -> LazyDataset:
    """Open one part of a folder of shards."""
    if not _tars(path, split):
        raise refuse("folder of shards", path, f"{split}-000000.tar and {CLASSES_FILE}")
    by_id = {category.id: category for category in _read_classes(path)}
    index = _read_index(path, split)
    members: dict[int, Mapping[str, _Slice]] = {}
    photos, flaws = [], []
    expressions: list[ReferringExpression] = []
    for row in index["photos"]:
        record = row["record"]
        if record["id"] in members:
            flaws.append(Flaw(FlawKind.DUPLICATE_ID, f"photo {record['id']}", f"comes again in {row['tar']}"))
            continue
        slices = {ending: _Slice(row["tar"], start, size) for ending, (start, size) in row["members"].items()}
        members[record["id"]] = slices
        told = {**record, "hw": tuple(record["hw"]), "captions": tuple(record["captions"])}
        name = told.pop("file_name")
        rows = told.pop("expressions")
        expressions += [ReferringExpression(e["id"], told["id"], e["object_id"], tuple(e["sentences"])) for e in rows]
        photos.append(
            ImageRecord(
                set_name=path.resolve().name, path=path / row["tar"] / name, split=split, panoptic_path=None,
                semantic_path=None, **told,
            )
        )  # fmt: skip

    def read(photo: ImageRecord, ending: str) -> bytes:
        found = members[photo.id][ending]
        try:
            with (path / found.tar).open("rb") as tar:
                tar.seek(found.start)
                content = tar.read(found.size)
        except OSError as error:
            raise DataError(f"{path / found.tar} cannot be read ({error.strerror}).") from error
        if len(content) != found.size:
            raise DataError(f"{path / found.tar} is cut short; copy it again.")
        return content

    def read_file(photo: ImageRecord) -> bytes:
        return read(photo, next(ending for ending in members[photo.id] if f".{ending}" in PHOTO_SUFFIXES))

    records = Recent(lambda photo: dict(json.loads(read(photo, RECORD))), 128)

    def read_objects(photo: ImageRecord) -> ParsedObjects:
        rows, objects, lost = records(photo)["objects"], [], []
        for row in rows:
            category = by_id.get(row["category_id"])
            if category is None:
                where = f"annotation {row['id']} of photo {photo.id}"
                lost.append(Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {row['category_id']}"))
            else:
                objects.append(_object(row, photo, category))
        return ParsedObjects(tuple(objects), tuple(lost))

    def read_map(photo: ImageRecord) -> LabelMap | None:
        record, endings = records(photo), members[photo.id]
        void = None if record["void"] is None else coco_rle.rle_to_mask(record["void"], photo.hw)
        semantic = _values(read(photo, SEMANTIC)).astype(np.int32) if SEMANTIC in endings else None
        if PANOPTIC not in endings:
            return None if semantic is None else LabelMap(np.zeros(photo.hw, np.int32), (), semantic, void)
        ids = _ids(read(photo, PANOPTIC))
        areas = dict(zip(*(each.tolist() for each in np.unique(ids, return_counts=True)), strict=True))
        segments = tuple(
            SegmentRecord(s["id"], by_id[s["category_id"]], areas.get(s["id"], 0), s["is_crowd"])
            for s in record["segments"]
        )
        return LabelMap(ids, segments, semantic, void, is_partition=True)

    def read_pixels(photo: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        return read_rgb(photo.path, io.BytesIO(read_file(photo)), photo.hw)

    return LazyDataset(
        name=path.resolve().name,
        kind="shards",
        split=split,
        path=path,
        category_list=tuple(by_id.values()),
        images=tuple(photos),
        read_map=read_map,
        read_objects=read_objects,
        complete=lambda photo: frozenset(records(photo)["complete"]),
        expressions=tuple(expressions),
        flaws=tuple(flaws),
        files=(path / CLASSES_FILE, *_tars(path, split)),
        read_pixels=read_pixels,
        read_file=read_file,
    )


def _object(row: Mapping[str, Any], photo: ImageRecord, category: CategoryRecord) -> ObjectRecord:
    told = {name: row[name] for name in _OBJECT_FIELDS}
    x0, y0, x1, y1 = told["box"]
    told |= {"box": (x0, y0, x1, y1), "phrases": tuple(told["phrases"])}
    return ObjectRecord(image_id=photo.id, category=category, hw=photo.hw, **told)


def _values(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def _ids(content: bytes) -> Int32[np.ndarray, "h w"]:
    red, green, blue = np.moveaxis(_values(content).astype(np.int32), -1, 0)
    return np.asarray(red + 256 * green + 65536 * blue)


def _read_classes(path: Path) -> tuple[CategoryRecord, ...]:
    place = path / CLASSES_FILE
    try:
        rows = json.loads(place.read_bytes())
        return tuple(CategoryRecord(row["id"], row["name"], row["text"], bool(row["isthing"])) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place} is missing or no list of classes; it is written with the shards.") from error


def _tars(path: Path, split: str) -> list[Path]:
    return sorted(path.glob(f"{split}-[0-9]*.tar"))


def _read_index(path: Path, split: str) -> Mapping[str, Any]:
    """Read where everything lies; look at the tars where that is not known, and keep it if the folder allows."""
    tars = _tars(path, split)
    state = [[tar.name, tar.stat().st_size, tar.stat().st_mtime_ns] for tar in tars]
    place = path / f"{split}.index.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known: dict[str, Any] = json.loads(place.read_bytes())
        if (known["layout"], known["tars"]) == (_LAYOUT, state):
            return known
    index = {"layout": _LAYOUT, "tars": state, "photos": [row for tar in tars for row in _look_into(tar)]}
    with suppress(OSError):
        _write_text(place, json.dumps(index))
    return index


def _look_into(place: Path) -> Iterator[dict[str, Any]]:
    """List the photos of a tar: what the whole set must know of each, and where its members lie."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    records: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(place, "r:") as tar:
            for entry in tar:
                if not entry.isfile():
                    continue
                key, _, ending = Path(entry.name).name.partition(".")
                found.setdefault(key, {})[ending.lower()] = (entry.offset_data, entry.size)
                if ending == RECORD:
                    stream = tar.extractfile(entry)
                    assert stream is not None
                    record = json.loads(stream.read())
                    records[key] = {name: record[name] for name in (*_PHOTO_FIELDS, "file_name", "expressions")}
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        told = f"{type(error).__name__} {error}"
        raise DataError(f"{place} cannot be read as a shard ({told}); copy it again.") from error
    for key, members in found.items():
        if key not in records or not any(f".{ending}" in PHOTO_SUFFIXES for ending in members):
            raise DataError(
                f"{place} holds {key} without a photo or without {key}.json; write it with seem data shards."
            )
        yield {"tar": place.name, "record": records[key], "members": members}


def _splits(path: Path) -> tuple[str, ...]:
    return in_order({tar.name.rpartition("-")[0] for tar in path.glob("*-[0-9]*.tar")} - {"", ALL_SPLIT})


SHARDS = Layout(
    "shards",
    "folder of WebDataset shards",
    f"train-000000.tar, ... and {CLASSES_FILE}, as `seem data shards` writes them",
    lambda path: path.is_dir() and (path / CLASSES_FILE).is_file() and any(path.glob("*-[0-9]*.tar")),
    _splits,
    read_shards,
)
