"""Reports of data sets that were checked before: an unchanged set is not checked again before every run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import seem
from seem.checkpoints.download import cache_folder
from seem.checkpoints.safe import atomic_write
from seem.data.archives import lasting_path
from seem.data.dataset import Dataset
from seem.data.inspection import ClassCount, DatasetReport, inspect_dataset
from seem.data.records import Flaw, FlawKind, ImageRecord

_FOLDER = "checked"  # in the cache folder; one file for each part of a data set
_PLAIN_FIELDS = (
    "name", "split", "path", "objects", "groups", "captions", "expressions", "videos",
)  # fmt: skip
_IMAGE_FILES = ("path", "semantic_path", "panoptic_path")


def inspect_once(dataset: Dataset, step: Callable[[], object] = lambda: None) -> DatasetReport:
    """Return the report of `inspect_dataset`, from the cache if no file of the data set has changed since.

    Files are compared by path, size, and times of change of their content and of their state; the program's own files
    as well. A report is not cached if a file changes while it is made, nor where the cache cannot be written.
    """
    file = _cache_file(dataset)
    stamp = content_stamp(dataset)
    cached = _read_report(file, stamp)
    if cached is not None:
        for _ in dataset.images:
            step()
        return cached
    report = inspect_dataset(dataset, step=step)
    if content_stamp(dataset) == stamp:
        with suppress(OSError):
            _write_report(file, stamp, report)
    return report


def content_stamp(dataset: Dataset) -> str:
    """Return a digest of the files of a data set, by their sizes and times, and of the records of its images."""
    digest = hashlib.sha256(_program_stamp().encode())
    for image in dataset.images:
        digest.update(f"{_with_lasting_paths(image)}\n".encode(errors="surrogatepass"))
    for path in _files_of(dataset):
        if lasting_path(path) == path:  # the state of an archive tells for what is unpacked from it
            digest.update(f"{path} {_file_state(path)}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def _with_lasting_paths(image: ImageRecord) -> ImageRecord:
    """Return the record of an image as every process knows it, wherever an archive is unpacked."""
    return replace(
        image,
        path=lasting_path(image.path),
        semantic_path=image.semantic_path and lasting_path(image.semantic_path),
        panoptic_path=image.panoptic_path and lasting_path(image.panoptic_path),
    )


def _files_of(dataset: Dataset) -> Iterator[Path]:
    """Yield every file in the folder of a data set, and those that it refers to, wherever they are."""
    yield dataset.path
    for folder, folders, names in os.walk(dataset.path):
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)
    yield from dataset.files
    for image in dataset.images:
        for attribute in _IMAGE_FILES:
            path = getattr(image, attribute)
            if path is not None and not path.is_relative_to(dataset.path):
                yield path


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns, state.st_ctime_ns


@cache
def _program_stamp() -> str:
    """Return a digest of the program's files: another version may find other faults."""
    package = Path(seem.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(f"{file} {_file_state(file)}\n".encode())
    return digest.hexdigest()


# --- Files ------------------------------------------------------------------------------------------------------------


def _cache_file(dataset: Dataset) -> Path:
    key = f"{dataset.path.absolute()}\n{dataset.name}\n{dataset.split}"
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return cache_folder() / _FOLDER / f"{digest[:32]}.json"


def _read_report(file: Path, stamp: str) -> DatasetReport | None:
    """Read a cached report; None if there is none, of this stamp, that can be read."""
    try:
        plain = json.loads(file.read_bytes())
        if plain["stamp"] != stamp:
            return None
        return _report_from_json(plain["report"], plain["unusable"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_report(file: Path, stamp: str, report: DatasetReport) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    unusable = sorted(report.unusable_images)
    plain = {"stamp": stamp, "report": report.to_json(), "unusable": unusable}
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(plain), encoding="utf-8")


def _report_from_json(plain: Mapping[str, Any], unusable: list[int]) -> DatasetReport:
    """Read what `DatasetReport.to_json` returned."""
    plain_fields = {name: plain[name] for name in _PLAIN_FIELDS}
    return DatasetReport(
        **plain_fields,
        images=plain["photos"],
        sizes_hw=tuple((height, width) for height, width in plain["sizes_hw"]),
        classes=tuple(map(_class_from_json, plain["classes"])),
        flaws=tuple(map(_flaw_from_json, plain["flaws"])),
        notes=tuple(map(_flaw_from_json, plain["notes"])),
        unusable_images=frozenset(unusable),
    )


def _class_from_json(row: Mapping[str, Any]) -> ClassCount:
    return ClassCount(row["id"], row["name"], row["is_thing"], row["objects"], row["photos"])


def _flaw_from_json(row: Mapping[str, Any]) -> Flaw:
    return Flaw(FlawKind(row["kind"]), row["where"], row["what"])
