"""Files in the folder of a data set that nothing was read from: annotations nobody asked for, photos nobody names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from seem.data.dataset import Dataset
from seem.data.image_files import IMAGE_SUFFIXES, relative_name
from seem.data.lazy_dataset import LazyDataset
from seem.data.records import Flaw, FlawKind

_CHECKED_KINDS = ("coco", "yolo", "folder")  # whose readers know every file that they read
_ANNOTATION_SUFFIXES = frozenset(
    {".json", ".jsonl", ".ndjson", ".xml", ".csv", ".txt", ".npy", ".npz", ".mat"}
)
_PASSED_OVER = ("readme", "licen", "changelog", "requirements", "notes", "classes")
_MAX_LISTED_NAMES = 3


def find_unused_files(root: Path, parts: Sequence[Dataset]) -> tuple[Flaw, ...]:
    """Return a note for every kind of file in a folder of `root` that none of the parts of its data set uses.

    Only for formats whose readers name all files that they read; none for others, or for a set that is one file.
    """
    lazy_parts = [part for part in parts if isinstance(part, LazyDataset)]
    if not root.is_dir() or any(part.kind not in _CHECKED_KINDS for part in lazy_parts):
        return ()
    if len(lazy_parts) < len(parts):
        return ()
    used = _used_files(lazy_parts)
    groups: dict[tuple[Path, str], list[Path]] = {}
    for file in sorted(root.rglob("*")):
        if _may_be_annotation(file, root) and file.resolve() not in used:
            groups.setdefault((file.parent, file.suffix.lower()), []).append(file)
    return tuple(_note(root, files) for files in groups.values())


def _used_files(parts: Iterable[LazyDataset]) -> set[Path]:
    """Return the files that parts were read from, and those that they have already reported."""
    used: set[Path] = set()
    for part in parts:
        used.update(file.resolve() for file in part.files)
        for image in part.images:
            files = (image.path, image.semantic_path, image.panoptic_path)
            used.update(file.resolve() for file in files if file is not None)
        for flaw in part.flaws:
            used.add((part.path / flaw.where).resolve())
    return used


def _may_be_annotation(file: Path, root: Path) -> bool:
    """Whether a file looks like a photo, a mask or annotations, and is not hidden."""
    is_hidden = any(name.startswith((".", "__MACOSX")) for name in file.relative_to(root).parts)
    is_passed_over = file.stem.lower().startswith(_PASSED_OVER)
    is_of_a_kind = file.suffix.lower() in _ANNOTATION_SUFFIXES | IMAGE_SUFFIXES
    return is_of_a_kind and not is_hidden and not is_passed_over and file.is_file()


def _note(root: Path, files: Sequence[Path]) -> Flaw:
    first = files[0]
    if len(files) == 1:
        where = relative_name(first, root)
    else:
        where = f"{relative_name(first.parent, root)}/*{first.suffix.lower()}"
    is_image = first.suffix.lower() in IMAGE_SUFFIXES
    reason = "no annotation names it" if is_image else "nothing in this set refers to it"
    if len(files) == 1:
        return Flaw(FlawKind.UNUSED_FILE, where, reason)
    listed = ", ".join(file.name for file in files[:_MAX_LISTED_NAMES])
    if len(files) > _MAX_LISTED_NAMES:
        listed += ", ..."
    reason = reason.removesuffix("it") + "them" if not is_image else "no annotation names them"
    return Flaw(FlawKind.UNUSED_FILE, where, f"{len(files)} files, {reason}: {listed}")
