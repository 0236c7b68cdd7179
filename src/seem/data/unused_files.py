"""Files in the folder of a data set that nothing was read from: annotations nobody asked for, photos nobody names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seem.data.dataset import Dataset
from seem.data.image_files import IMAGE_SUFFIXES, relative_name
from seem.data.lazy_dataset import LazyDataset
from seem.data.records import Flaw, FlawKind

_ANNOTATION_SUFFIXES = frozenset(
    {".json", ".jsonl", ".ndjson", ".xml", ".csv", ".txt", ".npy", ".npz", ".mat"}
)
_PASSED_OVER = ("readme", "licen", "changelog", "requirements", "notes", "classes")
_MAX_LISTED_NAMES = 3


def find_unused_files(root: Path, parts: Sequence[Dataset]) -> tuple[Flaw, ...]:
    """Return a note for every kind of file in a folder of `root` that none of the parts of its data set uses.

    Only of the folders in which, by the format, every file should belong to the set (`LazyDataset.searched`).
    """
    lazy_parts = [part for part in parts if isinstance(part, LazyDataset)]
    used = _used_files(lazy_parts)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in _searched_files(lazy_parts):
        if _may_be_annotation(file, root) and file.resolve() not in used:
            groups.setdefault((file.parent, file.suffix.lower()), []).append(file)
    photo_folders: set[Path] = set()
    for part in lazy_parts:
        photo_folders.update(image.path.parent for image in part.images)
    notes = []
    for files in groups.values():
        is_photo = not photo_folders.isdisjoint(files[0].parents) and _is_image(files[0])
        notes.append(_note(root, files, is_photo=is_photo))
    return tuple(notes)


def _searched_files(parts: Iterable[LazyDataset]) -> list[Path]:
    """Return the files of all folders that are searched, in order of their paths."""
    folders: set[Path] = set()
    for part in parts:
        folders.update(part.searched)
    files: set[Path] = set()
    for folder in folders:
        files.update(folder.rglob("*"))
    return sorted(files)


def _used_files(parts: Iterable[LazyDataset]) -> set[Path]:
    """Return the files that parts were read from, and those that they have already reported."""
    used: set[Path] = set()
    for part in parts:
        used.update(part.files)
        for image in part.images:
            files = image.path, image.semantic_path, image.panoptic_path
            used.update(filter(None, files))
        for flaw in part.flaws:
            used.add(part.path / flaw.where)
    return set(map(Path.resolve, used))


def _may_be_annotation(file: Path, root: Path) -> bool:
    """Whether a file looks like a photo, a mask or annotations, and is not hidden."""
    names: tuple[str, ...] = (file.name,)
    if file.is_relative_to(root):
        names = file.relative_to(root).parts
    is_hidden = any(name.startswith((".", "__MACOSX")) for name in names)
    is_passed_over = file.stem.lower().startswith(_PASSED_OVER)
    is_of_a_kind = file.suffix.lower() in _ANNOTATION_SUFFIXES or _is_image(file)
    return is_of_a_kind and not is_hidden and not is_passed_over and file.is_file()


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES


def _note(root: Path, files: Sequence[Path], *, is_photo: bool) -> Flaw:
    first = files[0]
    reason = "nothing in this set refers to"
    if is_photo:
        reason = "no annotation names"
    if len(files) == 1:
        return Flaw(FlawKind.UNUSED_FILE, relative_name(first, root), f"{reason} it")
    folder, ending = relative_name(first.parent, root), first.suffix.lower()
    where = f"{folder}/*{ending}"
    listed = ", ".join(file.name for file in files[:_MAX_LISTED_NAMES])
    if len(files) > _MAX_LISTED_NAMES:
        listed += ", ..."
    return Flaw(FlawKind.UNUSED_FILE, where, f"{len(files)} files, {reason} them: {listed}")
