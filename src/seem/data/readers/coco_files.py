"""The files of a COCO or LVIS set: which annotation files make a part of it, and where its images may be."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from seem.data.dataset import ALL_SPLIT
from seem.data.image_files import first_file, only_path
from seem.data.layout import standard_split

_FILE_NAME = re.compile(r"(instances|panoptic|captions|lvis_v\d(?:\.\d)?)_(.+)\.(?i:json)")
_YEAR = re.compile(r"20\d\d$")
_COCO_KEYS = frozenset({b'"images"', b'"annotations"', b'"categories"'})
_SEGMENTS_KEY = b'"segments_info"'
_WORD_GAP = re.compile(r"[-_. ]+")


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """The files of one part of a set; `folders` may hold its images."""

    title: str
    instances: Path | None = None
    panoptic: Path | None = None
    captions: Path | None = None
    folders: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """The files that are there."""
        return tuple(filter(None, (self.instances, self.panoptic, self.captions)))


def find_coco_parts(path: Path) -> dict[str, CocoFiles]:
    """Find the parts of a COCO set; one part called `ALL_SPLIT` if it is not divided, none if it is no COCO set."""
    if path.is_file():
        return _undivided(path) if path.suffix.lower() == ".json" else {}
    parts = _find_named_parts(path, ("instances", "panoptic", "captions"))
    if not parts:
        parts = _find_exported_parts(path)
    if set(parts) == {"default"}:
        return {ALL_SPLIT: parts["default"]}
    if parts:
        return parts
    file = _find_annotation_file(path)
    if file is not None:
        return _undivided(file)
    file = _find_annotation_file(path / "annotations")
    if file is not None:
        return {ALL_SPLIT: CocoFiles("COCO file", file, folders=(path / "images", path))}
    return _find_file_parts(path)


def find_lvis_parts(path: Path) -> dict[str, CocoFiles]:
    """Find the parts of an LVIS set."""
    if not path.is_file():
        return _find_named_parts(path, ("lvis",))
    if path.suffix.lower() != ".json" or not path.name.startswith("lvis"):
        return {}
    return _undivided(path)


def looks_like_coco(file: Path) -> bool:
    """Whether a JSON file names what a COCO file holds, going by its text."""
    return _keys_in(file) >= _COCO_KEYS


def is_pack(path: Path) -> bool:
    """Whether a folder is a set of our photo pack: its rows say what is labelled."""
    file = path / "annotations.json"
    return file.is_file() and (path / "images").is_dir() and b'"labelled"' in file.read_bytes()


def _find_named_parts(path: Path, prefixes: tuple[str, ...]) -> dict[str, CocoFiles]:
    """Find files that are called <content>_<split><year>.json; parts are called by their split, if that is unique."""
    files_by_part = _group_by_part(path, prefixes)
    num_parts = Counter(map(_without_year, files_by_part))
    parts = {}
    for part, files in files_by_part.items():
        split = _without_year(part)
        name = part
        if num_parts[split] == 1:
            name = split
        parts[name] = CocoFiles(
            title=f"COCO {part}",
            instances=files.get("instances"),
            panoptic=files.get("panoptic"),
            captions=files.get("captions"),
            folders=_image_folders(path, part, split),
        )
    return parts


def _without_year(part: str) -> str:
    return _YEAR.sub("", part)


def _group_by_part(path: Path, prefixes: tuple[str, ...]) -> dict[str, dict[str, Path]]:
    """Return the files of every part by their content; captions alone make no part."""
    files_by_part: dict[str, dict[str, Path]] = {}
    for folder in (path / "annotations", path):
        for file in _json_files(folder):
            match = _FILE_NAME.fullmatch(file.name)
            if match and match[1].startswith(prefixes):
                content = "instances" if match[1].startswith("lvis") else match[1]
                files_by_part.setdefault(match[2], {}).setdefault(content, file)
    for part in list(files_by_part):
        if files_by_part[part].keys() == {"captions"}:
            del files_by_part[part]
    return files_by_part


def _image_folders(path: Path, part: str, split: str) -> tuple[Path, ...]:
    """Return where the images of a part may be, the likeliest folder first, each once."""
    yearly = [*path.glob(f"{split}20*"), *(path / "images").glob(f"{split}20*")]
    folders = [
        path / part,
        path / "images" / part,
        path / "images" / split,
        path / split,
        *sorted(yearly),
    ]
    return (*dict.fromkeys(folders), path / "images", path)


def _find_exported_parts(path: Path) -> dict[str, CocoFiles]:
    """Find folders that hold images and one annotation file each, as labelling services export them."""
    parts = {}
    for folder in sorted(path.glob("*/")):
        if folder.name in ("annotations", "images"):
            continue
        file = _find_annotation_file(folder) or _find_annotation_file(folder / "annotations")
        if file is not None:
            parts[folder.name] = CocoFiles("COCO export", file, folders=(folder, folder / "images"))
    return parts


def _find_annotation_file(folder: Path) -> Path | None:
    """Return the annotation file of a folder: the one that is called so, or the only one that looks like one."""
    if not folder.is_dir():
        return None
    names = ("_annotations.coco.json", "annotations.json", "instances.json")
    usual = first_file(*map(folder.joinpath, names))
    if usual is not None:
        return usual
    return only_path(_coco_files(folder))


def _coco_files(folder: Path) -> list[Path]:
    """List the JSON files of a folder that look like COCO's instances."""
    files = filter(looks_like_coco, _json_files(folder))
    return [file for file in files if not _holds_segments(file)]


def _json_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")


def _find_file_parts(path: Path) -> dict[str, CocoFiles]:
    """Make a part of each of several annotation files: train.json and val.json, or batch1.json and batch2.json."""
    for folder in (path, path / "annotations"):
        files = _coco_files(folder)
        if len(files) > 1:
            return _name_parts(path, files)
    return {}


def _name_parts(path: Path, files: Sequence[Path]) -> dict[str, CocoFiles]:
    """Make a part of each file, called by the split in its name if no other file has that, else like the file."""
    num_files = Counter(map(_split_in_name, files))
    parts = {}
    for file in files:
        split = _split_in_name(file)
        name = file.stem
        if split and num_files[split] == 1:
            name = split
        folders = _image_folders(path, file.stem, name)
        parts[name] = CocoFiles("COCO file", file, folders=folders)
    return parts


def _split_in_name(file: Path) -> str:
    """Return the word in the name of a file that names a part: "train" of coco_train.json; empty if there is none."""
    for word in _WORD_GAP.split(file.stem.lower()):
        if standard_split(word):
            return word
    return ""


def _holds_segments(file: Path) -> bool:
    """Whether a file is of COCO's panoptic format, whose masks lie in PNG files."""
    return _SEGMENTS_KEY in _keys_in(file)


def _keys_in(file: Path) -> frozenset[bytes]:
    """Return which of the keys of COCO's files occur in the text of a file."""
    state = file.stat()
    return _find_keys(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=10_000)  # every search for parts looks at the same files
def _find_keys(file: Path, _time: int, _size: int) -> frozenset[bytes]:
    text = file.read_bytes() if file.is_file() else b""  # a pipe or a folder may be called so
    if b'"images"' not in text:
        return frozenset()
    return frozenset(key for key in (*_COCO_KEYS, _SEGMENTS_KEY) if key in text)


def _undivided(file: Path) -> dict[str, CocoFiles]:
    """Return the one part of a set that is a single file; its images are beside or above it."""
    home = file.parent
    folders = (home / "images", home, home.parent / "images", home / file.stem)
    if _holds_segments(file):
        return {ALL_SPLIT: CocoFiles("COCO file", panoptic=file, folders=folders)}
    return {ALL_SPLIT: CocoFiles("COCO file", file, folders=folders)}
