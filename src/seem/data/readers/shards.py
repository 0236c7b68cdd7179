"""Large data sets as WebDataset shards: tar files that hold an image and everything about it side by side.

    train-000000.tar     000000000.jpg             the image, byte for byte
                         000000000.json            its record: size, objects (COCO run-length codes), captions, ...
                         000000000.semantic.png    category ids of 16 bits, where the set has such a map
                         000000000.panoptic.png    segment ids (R + 256 G + 65536 B), where the set has such a map
    train.index.json     where every member lies; made anew when it is missing or older than the tars
    classes.json         [{"id": 1, "name": "cat", "text": "cat", "isthing": true}, ...]

The members of one image stand together and share their name up to the first dot, so that every tool for WebDataset
reads them as a stream. Here images are reached directly: tars do not compress, a member is a slice of its file, and a
training run that samples by number stays exactly resumable.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from PIL import Image

from seem.data.coco_rle import mask_to_rle, rle_to_mask
from seem.data.dataset import ALL_SPLIT, Dataset, ParsedObjects
from seem.data.frames import AnnotationFrame
from seem.data.image_files import IMAGE_SUFFIXES, existing_files, path_inside, rgb_to_ids
from seem.data.label_map import LabelMap
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset, LruCache
from seem.data.readers.label_maps import segment_areas
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    ReferringExpression,
    SegmentRecord,
    categories_by_id,
)
from seem.data.text_files import read_content
from seem.errors import naming_file
from seem.part_files import new_part, remove_part

IMAGES_PER_SHARD = 1000

_CLASSES_FILE = "classes.json"
_RECORD, _SEMANTIC, _PANOPTIC = "json", "semantic.png", "panoptic.png"
_INDEX_VERSION = 1
_CACHED_RECORDS = 128
_SHARD_NAME = re.compile(r".+-\d{6,}\.tar")
_NUMBERED_TAR = re.compile(r".+-\d+\.tar", re.IGNORECASE)
_OBJECT_FIELDS = (
    "id",
    "counts",
    "box",
    "area",
    "is_crowd",
    "quality",
    "phrases",
    "phrase_source",
    "track_id",
)
_IMAGE_FIELDS = (
    "id",
    "hw",
    "labelled",
    "source",
    "licence_group",
    "captions",
    "sequence",
    "frame",
    "image_frame",
)


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_shards(
    dataset: Dataset,
    folder: Path,
    per_shard: int = IMAGES_PER_SHARD,
    step: Callable[[], object] = lambda: None,
) -> list[Path]:
    """Write one part of a data set as shards into a folder, and its index; returns the tars.

    Every tar is written aside and renamed when it is complete. `step` is called after each image.

    Raises:
        DataError: an image or an annotation cannot be read.
        OSError: the disk is full, or may not be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    class_rows = list(map(_class_row, dataset.categories.values()))
    _write_text(folder / _CLASSES_FILE, json.dumps(class_rows, indent=1) + "\n")
    expressions: dict[int, list[ReferringExpression]] = {}
    for expression in dataset.expressions:
        expressions.setdefault(expression.image_id, []).append(expression)
    tars = []
    for first in range(0, len(dataset.images), per_shard):
        tar = folder / f"{dataset.split}-{first // per_shard:06d}.tar"
        images = dataset.images[first : first + per_shard]
        _write_shard(tar, dataset, enumerate(images, first), expressions, step)
        tars.append(tar)
    _read_index(folder, dataset.split)
    return tars


def list_shards(folder: Path) -> list[Path]:
    """List the shards of a folder, their indices and, last, their classes; other tars are left out."""
    tars = []
    for tar in sorted(folder.glob("*.tar")):
        if _SHARD_NAME.fullmatch(tar.name):
            tars.append(tar)
    indices = map(_index_file_of, tars)
    others = [*dict.fromkeys(indices), folder / _CLASSES_FILE]
    return [*tars, *existing_files(others)]


def is_class_file(file: Path) -> bool:
    """Whether a file of a folder of shards is the one that lists the classes."""
    return file.name == _CLASSES_FILE


def _write_shard(
    tar: Path,
    dataset: Dataset,
    numbered_images: Iterator[tuple[int, ImageRecord]],
    expressions: Mapping[int, Sequence[ReferringExpression]],
    step: Callable[[], object],
) -> None:
    partial_tar = new_part(tar.parent)
    try:
        with (
            naming_file(tar),
            tarfile.open(partial_tar, "w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for number, image in numbered_images:
                for ending, content in _members(dataset, image, expressions.get(image.id, ())):
                    entry = tarfile.TarInfo(f"{number:09d}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
                step()
        partial_tar.replace(tar)
    finally:
        remove_part(partial_tar)


def _members(
    dataset: Dataset,
    image: ImageRecord,
    expressions: Sequence[ReferringExpression],
) -> Iterator[tuple[str, bytes]]:
    """Yield ending and content of the image, its record, and its maps."""
    dataset.pixels(image)  # what cannot be read fails here, not during training
    yield image.path.suffix.lower().removeprefix("."), dataset.read_encoded(image)
    panoptic, semantic = dataset.panoptic(image), dataset.semantic(image)
    record = _json_record(dataset, image, expressions)
    if panoptic is not None:
        record["segments"] = list(map(_segment_row, panoptic.segments))
    yield _RECORD, json.dumps(record).encode()
    if semantic is not None:
        yield _SEMANTIC, _encode_png(semantic.astype(np.uint16))
    if panoptic is not None:
        ids = panoptic.ids
        red, green, blue = ids % 256, ids // 256 % 256, ids // 65536
        channels = np.stack([red, green, blue], axis=-1)
        yield _PANOPTIC, _encode_png(channels.astype(np.uint8))


def _json_record(
    dataset: Dataset, image: ImageRecord, expressions: Sequence[ReferringExpression]
) -> dict[str, Any]:
    void = dataset.void(image)
    record = _fields_of(image, _IMAGE_FIELDS)
    record["file_name"] = image.path.name
    record["complete"] = sorted(dataset.complete_names(image))
    record["objects"] = list(map(_object_row, dataset.objects[image.id]))
    record["expressions"] = list(map(_expression_row, expressions))
    record["void"] = None
    if void is not None:
        record["void"] = mask_to_rle(void).counts
    return record


def _fields_of(record: ImageRecord | ObjectRecord, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _object_row(record: ObjectRecord) -> dict[str, Any]:
    return {"category_id": record.category.id, **_fields_of(record, _OBJECT_FIELDS)}


def _expression_row(expression: ReferringExpression) -> dict[str, Any]:
    return {
        "id": expression.id,
        "object_id": expression.object_id,
        "sentences": expression.sentences,
    }


def _segment_row(segment: SegmentRecord) -> dict[str, Any]:
    return {"id": segment.id, "category_id": segment.category.id, "is_crowd": segment.is_crowd}


def _class_row(category: CategoryRecord) -> dict[str, Any]:
    return {
        "id": category.id,
        "name": category.name,
        "text": category.text,
        "isthing": category.is_thing,
    }


def _encode_png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def _write_text(file: Path, text: str) -> None:
    """Write a file aside and rename it when it is complete."""
    partial_file = new_part(file.parent)
    try:
        with naming_file(file):
            partial_file.write_text(text, encoding="utf-8")
        partial_file.replace(file)
    finally:
        remove_part(partial_file)


# --- Reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Slice:
    """Where a member lies: in which tar, from which byte on, how many."""

    tar: Path
    start: int
    size: int

    def read(self) -> bytes:
        try:
            with self.tar.open("rb") as stream:
                stream.seek(self.start)
                content = stream.read(self.size)
        except OSError as error:
            raise DataError(f"{self.tar} cannot be read ({error.strerror}).") from error
        if len(content) != self.size:
            raise DataError(f"{self.tar} is cut short; copy it again.")
        return content


_Members = Mapping[str, _Slice]
"""The members of one image by their ending."""


class _ShardReader:
    """Reads single images of shards by their members."""

    def __init__(
        self, members: Mapping[int, _Members], categories: Mapping[int, CategoryRecord]
    ) -> None:
        self._members = members
        self._categories = categories
        self._records = LruCache(self._read_record, _CACHED_RECORDS)

    def read_file(self, image: ImageRecord) -> bytes:
        members = self._members[image.id]
        image_ending = next(filter(_is_image_ending, members))
        return members[image_ending].read()

    def read_objects(self, image: ImageRecord) -> ParsedObjects:
        rows = self._records(image)["objects"]
        return ParsedObjects.collect(self._parse_object(row, image) for row in rows)

    def read_map(self, image: ImageRecord) -> LabelMap | None:
        record, members = self._records(image), self._members[image.id]
        void = semantic = None
        if record["void"] is not None:
            void = rle_to_mask(record["void"], image.hw)
        if _SEMANTIC in members:
            semantic = _decode_png(members[_SEMANTIC].read()).astype(np.int32)
        if _PANOPTIC in members:
            ids = rgb_to_ids(_decode_png(members[_PANOPTIC].read()).astype(np.int32))
            segments = self._parse_segments(record["segments"], ids)
            return LabelMap(ids, segments, semantic, void, is_partition=True)
        if semantic is None:
            return None
        return LabelMap(np.zeros(image.hw, np.int32), (), semantic, void)

    def complete_names(self, image: ImageRecord) -> frozenset[str]:
        return frozenset(self._records(image)["complete"])

    def _read_record(self, image: ImageRecord) -> dict[str, Any]:
        return dict(json.loads(self._members[image.id][_RECORD].read()))

    def _parse_object(self, row: Mapping[str, Any], image: ImageRecord) -> ObjectRecord | Flaw:
        category = self._categories.get(row["category_id"])
        if category is None:
            where = f"annotation {row['id']} of photo {image.id}"
            return Flaw(FlawKind.UNKNOWN_CATEGORY, where, f"its category is {row['category_id']}")
        fields = {name: row[name] for name in _OBJECT_FIELDS}
        x0, y0, x1, y1 = fields["box"]
        fields["box"] = x0, y0, x1, y1
        fields["phrases"] = tuple(fields["phrases"])
        return ObjectRecord(image_id=image.id, category=category, hw=image.hw, **fields)

    def _parse_segments(
        self,
        rows: Sequence[Mapping[str, Any]],
        ids: Int32[np.ndarray, "h w"],
    ) -> tuple[SegmentRecord, ...]:
        areas = segment_areas(ids)
        segments = []
        for row in rows:
            category = self._categories[row["category_id"]]
            area = areas.get(row["id"], 0)
            segments.append(SegmentRecord(row["id"], category, area, row["is_crowd"]))
        return tuple(segments)


def read_shards(path: Path, split: str) -> LazyDataset:
    """Open one part of a folder of shards."""
    tars = _list_tars(path, split)
    if not tars:
        raise incomplete_layout_error(
            "folder of shards", path, f"{split}-000000.tar and {_CLASSES_FILE}"
        )
    categories = categories_by_id(_read_classes(path))
    members: dict[int, _Members] = {}
    images, flaws = [], []
    expressions: list[ReferringExpression] = []
    for row in _read_index(path, split)["photos"]:
        record = row["record"]
        if record["id"] in members:
            what = f"comes again in {row['tar']}"
            flaws.append(Flaw(FlawKind.DUPLICATE_ID, f"photo {record['id']}", what))
            continue
        tar = path_inside(path, row["tar"])
        slices = {}
        for ending, (start, size) in row["members"].items():
            slices[ending] = _Slice(tar, start, size)
        members[record["id"]] = slices
        images.append(_parse_image(record, tar, path.resolve().name, split))
        expressions += _parse_expressions(record)
    reader = _ShardReader(members, categories)
    return LazyDataset(
        name=path.resolve().name,
        kind="shards",
        split=split,
        path=path,
        category_list=tuple(categories.values()),
        images=tuple(images),
        read_map=reader.read_map,
        read_objects=reader.read_objects,
        complete=reader.complete_names,
        expressions=tuple(expressions),
        flaws=tuple(flaws),
        notes=tuple(_note_gaps(tars)),
        files=(path / _CLASSES_FILE, *tars),
        read_file=reader.read_file,
    )


def _parse_image(record: Mapping[str, Any], tar: Path, set_name: str, split: str) -> ImageRecord:
    record = {"image_frame": AnnotationFrame.STORED, **record}  # of shards that do not record it
    fields = {name: record[name] for name in _IMAGE_FIELDS}
    fields["image_frame"] = AnnotationFrame(record["image_frame"])
    fields |= {"hw": tuple(record["hw"]), "captions": tuple(record["captions"])}
    fields["sequence"] = str(record["sequence"])
    return ImageRecord(
        set_name=set_name,
        path=tar / record["file_name"],
        split=split,
        panoptic_path=None,
        semantic_path=None,
        **fields,
    )


def _parse_expressions(record: Mapping[str, Any]) -> list[ReferringExpression]:
    image_id = record["id"]
    expressions = []
    for row in record["expressions"]:
        sentences = tuple(row["sentences"])
        expressions.append(ReferringExpression(row["id"], image_id, row["object_id"], sentences))
    return expressions


def _decode_png(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)


def _read_classes(path: Path) -> tuple[CategoryRecord, ...]:
    file = path / _CLASSES_FILE
    try:
        rows = json.loads(read_content(file))
        return tuple(map(_parse_class, rows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is missing or no list of classes; it is written with the shards."
        ) from error


def _parse_class(row: Mapping[str, Any]) -> CategoryRecord:
    name, text = str(row["name"]), str(row["text"])
    return CategoryRecord(int(row["id"]), name, text, is_thing=bool(row["isthing"]))


# --- Index ------------------------------------------------------------------------------------------------------------


def _state_of(tar: Path) -> list[str | int]:
    """Return the name of a file, its size and when it was changed."""
    state = tar.stat()
    return [tar.name, state.st_size, state.st_mtime_ns]


def _read_index(path: Path, split: str) -> Mapping[str, Any]:
    """Read where every member lies; scan the tars where that is not known, and store it if the folder allows."""
    tars = _list_tars(path, split)
    states = list(map(_state_of, tars))
    file = _index_file(path, split)
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        stored: dict[str, Any] = json.loads(read_content(file))
        is_new = stored["layout"] == _INDEX_VERSION and stored["tars"] == states
        if is_new and all(map(_names_an_image, stored["photos"])):
            return stored
    rows = list(chain.from_iterable(map(_scan_tar, tars)))
    index = {"layout": _INDEX_VERSION, "tars": states, "photos": rows}
    with suppress(OSError):
        _write_text(file, json.dumps(index))
    return index


def _names_an_image(row: Mapping[str, Any]) -> bool:
    """Whether a row of an index has an id and names a record and an image."""
    members = row["members"]
    has_files = _RECORD in members and any(map(_is_image_ending, members))
    return has_files and isinstance(row["record"]["id"], int)


def _scan_tar(tar: Path) -> Iterator[dict[str, Any]]:
    """Yield for each image of a tar what the data set lists of it, and where its members lie."""
    members: dict[str, dict[str, tuple[int, int]]] = {}
    records: dict[str, dict[str, Any]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for entry in archive:
                if not entry.isfile():
                    continue
                key, _, ending = Path(entry.name).name.partition(".")
                span = entry.offset_data, entry.size
                members.setdefault(key, {})[ending.lower()] = span
                if ending == _RECORD:
                    records[key] = _read_listed_fields(archive, entry)
            _check_end(tar, archive.offset)
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__} {error}"
        raise DataError(f"{tar} cannot be read as a shard ({reason}); copy it again.") from error
    for key, slices in members.items():
        if key not in records or not any(map(_is_image_ending, slices)):
            raise DataError(
                f"{tar} holds {key} without a photo or without {key}.json; write it with seem data shards."
            )
        yield {"tar": tar.name, "record": records[key], "members": slices}


def _check_end(tar: Path, end: int) -> None:
    """Raise `ValueError` unless an empty block follows the last member: what is damaged in its middle ends there."""
    with tar.open("rb") as stream:
        stream.seek(end)
        block = stream.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise ValueError(f"it is damaged or cut short behind byte {end}")


def _read_listed_fields(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> dict[str, Any]:
    stream = archive.extractfile(entry)
    assert stream is not None
    record = json.loads(stream.read())
    return {name: record[name] for name in (*_IMAGE_FIELDS, "file_name", "expressions")}


def _is_image_ending(ending: str) -> bool:
    return f".{ending}" in IMAGE_SUFFIXES


def _list_tars(path: Path, split: str) -> list[Path]:
    return [tar for tar in _all_tars(path) if _split_of(tar) == split]


def _all_tars(path: Path) -> list[Path]:
    """List the shards of a folder, of all parts: their names end in a number."""
    if not path.is_dir():
        return []
    files = sorted(path.iterdir(), key=lambda file: (file.stem, file.name))
    return [file for file in files if _NUMBERED_TAR.fullmatch(file.name) and file.is_file()]


def _split_of(tar: Path) -> str:
    return tar.name.rpartition("-")[0]


def _note_gaps(tars: Sequence[Path]) -> Iterator[Flaw]:
    """Name the first number that is missing before that of the last shard."""
    numbers = {int(tar.stem.rpartition("-")[2]) for tar in tars}
    num_missing = max(numbers) + 1 - len(numbers)
    if num_missing:
        first = next(filter(lambda number: number not in numbers, count()))
        what = f"shards are numbered from 0: {num_missing} missing, the first is number {first}"
        yield Flaw(FlawKind.UNREAD, _split_of(tars[0]), what)


def _index_file(folder: Path, split: str) -> Path:
    return folder / f"{split}.index.json"


def _index_file_of(tar: Path) -> Path:
    return _index_file(tar.parent, _split_of(tar))


def _splits(path: Path) -> tuple[str, ...]:
    splits = set(map(_split_of, _all_tars(path))) - {""}
    return () if splits == {ALL_SPLIT} else sort_splits(splits)


SHARDS = Layout(
    kind="shards",
    title="folder of WebDataset shards",
    expects=f"train-000000.tar, ... and {_CLASSES_FILE}, as `seem data shards` writes them",
    fits=lambda path: (path / _CLASSES_FILE).is_file() and bool(_all_tars(path)),
    splits=_splits,
    read=read_shards,
)
