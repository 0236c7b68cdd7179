"""The files of a result, written all or none."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.errors import FULL_DISK
from seem.part_files import new_part

FILE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".json", ".mp4", ".png", ".tif", ".tiff", ".webp")


def names_file(folder: Path) -> bool:
    """Tell whether a folder that is not there is named like an image, a video or a JSON file: `out.png`."""
    return folder.suffix.lower() in FILE_SUFFIXES and not folder.exists()


def checked_stem(stem: str) -> str:
    """Return a stem that is a plain file name; `ValueError` for another."""
    if not stem or stem in (".", "..") or any(character in stem for character in "/\\\0"):
        raise ValueError(f"The stem {stem!r} is no file name; give a plain name without folders.")
    return stem


def png_writer(draw: Callable[[], Image.Image], level: int = 6) -> Callable[[Path], None]:
    """Return a writer of PNG files that draws the image when it writes; `level` is that of the compression."""
    return lambda path: draw().save(path, format="PNG", compress_level=level)


def array_writer(array: NDArray[np.float32]) -> Callable[[Path], None]:
    """Return a writer of an array in NumPy's format."""

    def write(path: Path) -> None:
        with path.open("wb") as file:  # numpy adds .npy to a path that has another ending
            np.save(file, array)

    return write


def text_writer(make_text: Callable[[], str]) -> Callable[[Path], None]:
    """Return a writer of a text and a line end; what is no Unicode (half a surrogate in a file name) is escaped."""

    def write(path: Path) -> None:
        path.write_text(make_text() + "\n", encoding="utf-8", errors="backslashreplace")

    return write


def write_together(
    folder: Path,
    files: Mapping[str, Callable[[Path], None]],
    overwrite: bool,
    leftovers: re.Pattern[str],
) -> tuple[Path, ...]:
    """Write all files or none: each aside under a temporary name, then all renamed.

    With `overwrite`, files of that folder whose names match `leftovers` and were not written anew are removed.

    Raises `FileExistsError` for a file that exists, without `overwrite`; `NotADirectoryError` where the folder is a
    file; `OSError`, with the way out, where it cannot be written or the disk is full.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"Cannot write results to {folder}: it is a file; choose a folder."
        )
    targets = {name: folder / name for name in files}
    existing = [path for path in targets.values() if path.exists()]
    if existing and not overwrite:
        raise FileExistsError(
            f"{existing[0]} exists already; pass overwrite=True or another folder or stem."
        )
    new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    temporary = {name: new_part(folder) for name in files}
    renamed: list[Path] = []
    current = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in files.items():
            current = name
            write(temporary[name])
        current = ""
        _remove_old_records(targets)
        for name in sorted(files, key=_is_record):
            temporary[name].replace(targets[name])
            renamed.append(targets[name])
        if overwrite:
            _remove_leftovers(folder, leftovers, files)
    except BaseException as error:
        new_files = [path for path in renamed if path not in existing]
        _remove([*temporary.values(), *new_files], new_folders)
        if isinstance(error, OSError):
            raise explained_write_error(error, folder, current) from error
        raise
    return tuple(targets.values())


def _is_record(name: str) -> bool:
    """Tell the JSON file, which is renamed last: where it is, all files of a result are."""
    return name.endswith(".json")


def _remove_old_records(targets: Mapping[str, Path]) -> None:
    """Remove the JSON file of a result that is replaced: beside files of another result it would be wrong."""
    records = list(filter(_is_record, targets))
    if len(records) == len(targets):
        return  # each of them is replaced in one step
    for name in records:
        targets[name].unlink(missing_ok=True)


def _remove_leftovers(folder: Path, leftovers: re.Pattern[str], written: Iterable[str]) -> None:
    names = set(written)
    for path in folder.iterdir():
        if leftovers.fullmatch(path.name) and path.name not in names:
            path.unlink()


def explained_write_error(error: OSError, folder: Path, name: str) -> OSError:
    """Return an error of the same number that names the folder, the way out, and the file that was being written."""
    is_full = error.errno in FULL_DISK
    way_out = "free some space or choose another folder" if is_full else "choose another folder"
    if name:
        way_out += f" ({name} is not written)"
    message = f"Cannot write results to {folder}: {error.strerror or error}; {way_out}."
    explained = OSError(message)
    explained.errno = error.errno
    return explained


def _remove(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Remove what a failed write left; what cannot be removed stays."""
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
