"""The cache file of an image bank: shrunk pixels and soft masks, to be memory-mapped.

The file: a header, pixels and soft masks back to back, then a table of int64 numbers. The table holds for each image
its offset, height, width and number of regions, and for each region the record's id, its offset and its box. Records
are not stored: they are read from the annotations again, whose digest the fingerprint holds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from seem.data.archives import lasting_path
from seem.data.banked_image import BankedImage, SoftRegion, assemble_image, void_record
from seem.data.dataset import Dataset
from seem.data.records import ImageRecord
from seem.errors import naming_file
from seem.part_files import new_part

_HEADER = np.dtype([("table_at", "<i8"), ("table_len", "<i8"), ("fingerprint", "S64")])
_TABLE_ITEM_BYTES = 8
_VERSION = 1


def pack_fingerprint(folders: Sequence[Path], longest_side: int, max_images: int | None) -> str:
    """Return a digest of sets of the photo pack by their annotations; 64 hexadecimal digits."""
    digest = hashlib.sha256(f"{_VERSION} {longest_side} {max_images}".encode())
    for folder in folders:
        digest.update(folder.name.encode())
        digest.update((folder / "annotations.json").read_bytes())
    return digest.hexdigest()


def dataset_fingerprint(sources: Sequence[tuple[Dataset, ImageRecord]], longest_side: int) -> str:
    """Return a digest of images of any sets by sizes and times of their files, which are not read."""
    digest = hashlib.sha256(f"any {_VERSION} {longest_side}".encode())
    for file in _files_of(sources):
        digest.update(f"{lasting_path(file)} {_size_and_time(file)}\n".encode())
    for dataset, image in sources:
        frame = image.image_frame.value
        row = f"{dataset.split} {image.set_name} {image.id} {image.hw} {frame}\n"
        digest.update(row.encode())
    return digest.hexdigest()


def is_bank_cache_valid(file: Path, fingerprint: str) -> bool:
    """Whether a file is a complete cache of this fingerprint."""
    if not file.is_file() or file.stat().st_size < _HEADER.itemsize:
        return False
    header = np.fromfile(file, _HEADER, 1)[0]
    expected_size = int(header["table_at"]) + _TABLE_ITEM_BYTES * int(header["table_len"])
    is_complete = expected_size == file.stat().st_size
    return is_complete and bool(header["fingerprint"] == fingerprint.encode())


def write_bank_cache(file: Path, fingerprint: str, images: Iterable[BankedImage]) -> None:
    """Write a cache beside `file` and rename it when it is complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = new_part(file.parent)
    table: list[int] = []
    try:
        with naming_file(file), partial.open("wb") as stream:
            stream.write(bytes(_HEADER.itemsize))
            for image in images:
                table += [stream.tell(), *image.image.shape[:2]]
                stream.write(image.image.tobytes())
                regions = image.objects + image.ignored
                table.append(len(regions))
                for region in regions:
                    table += [region.record.id, stream.tell(), *region.box]
                    stream.write(region.soft_mask.tobytes())
            stream.write(bytes(-stream.tell() % _TABLE_ITEM_BYTES))
            row = stream.tell(), len(table), fingerprint.encode()
            header = np.array([row], _HEADER)
            stream.write(np.asarray(table, "<i8").tobytes())
            stream.seek(0)
            stream.write(header.tobytes())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read_bank_cache(
    file: Path, sources: Iterable[tuple[Dataset, ImageRecord]]
) -> Iterator[BankedImage]:
    """Yield the images of a valid cache, memory-mapped; `sources` are those that it was written from, in order."""
    header = np.fromfile(file, _HEADER, 1)[0]
    num_numbers, start = int(header["table_len"]), int(header["table_at"])
    table = np.fromfile(file, "<i8", num_numbers, offset=start)
    numbers = iter(table.tolist())
    content = np.asarray(np.memmap(file, np.uint8, "r"))
    for dataset, image in sources:
        offset, height, width, num_regions = islice(numbers, 4)
        pixels = _slice_array(content, offset, (height, width, 3))
        records = {record.id: record for record in dataset.objects[image.id]}
        regions = []
        for _ in range(num_regions):
            record_id, offset, x0, y0, x1, y1 = islice(numbers, 6)
            soft_mask = _slice_array(content, offset, (y1 - y0, x1 - x0))
            record = records.get(record_id) or void_record(image)
            regions.append(SoftRegion(record, (x0, y0, x1, y1), soft_mask))
        yield assemble_image(dataset, image, pixels, regions)


def _slice_array(
    content: UInt8[np.ndarray, " n"], offset: int, shape: tuple[int, ...]
) -> UInt8[np.ndarray, "*shape"]:
    """Return the array of a shape that begins at an offset of a file's content, without copying it."""
    size = math.prod(shape)
    return content[offset : offset + size].reshape(shape)


def _size_and_time(file: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file; None if there is none."""
    if not file.is_file():
        return None
    state = file.stat()
    return state.st_size, state.st_mtime_ns


def _files_of(sources: Sequence[tuple[Dataset, ImageRecord]]) -> Iterator[Path]:
    """Yield the lists of all sets, each once, then the files of every image."""
    list_files: dict[Path, None] = {}
    for dataset, _ in sources:
        list_files.update(dict.fromkeys(dataset.files))
    yield from list_files
    for _, image in sources:
        for file in (image.path, image.semantic_path, image.panoptic_path):
            if file:
                yield file
