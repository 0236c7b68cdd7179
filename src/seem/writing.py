"""The files of a result, written all or none."""

from __future__ import annotations

import contextlib
import errno
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def checked_stem(stem: str) -> str:
    """Return a stem that is a plain file name; `ValueError` for another."""
    if not stem or stem in (".", "..") or any(character in stem for character in "/\\\0"):
        raise ValueError(f"The stem {stem!r} is no file name; give a plain name without folders.")
    return stem


def png_writer(draw: Callable[[], Image.Image], level: int = 6) -> Callable[[Path], None]:
    """Draw a picture when it is to be written, as PNG; `level` is of its compression."""
    return lambda path: draw().save(path, format="PNG", compress_level=level)


def array_writer(array: NDArray[np.float32]) -> Callable[[Path], None]:
    """Write an array in NumPy's format."""

    def write(path: Path) -> None:
        with path.open("wb") as file:  # numpy adds .npy to a path that has another ending
            np.save(file, array)

    return write


def text_writer(word: Callable[[], str]) -> Callable[[Path], None]:
    """Write a text and the end of its line; what is no Unicode (half a surrogate in a file name) is written escaped."""
    return lambda path: _write_text(path, word())


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def write_together(
    folder: Path, files: Mapping[str, Callable[[Path], None]], overwrite: bool, leftovers: re.Pattern[str]
) -> tuple[Path, ...]:
    """Write all files or none: each aside under a passing name, then all renamed.

    With `overwrite`, files of that folder whose names match `leftovers` and were not written anew are removed.

    Raises `FileExistsError` for a file that exists, without `overwrite`; `NotADirectoryError` where the folder is a
    file; `OSError`, with the way out, where it cannot be written or the disk is full.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Cannot write results to {folder}: it is a file; choose a folder.")
    targets = {name: folder / name for name in files}
    present = [path for path in targets.values() if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already; pass overwrite=True or another folder or stem.")
    new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    token = secrets.token_hex(4)
    aside = {name: folder / f".seem-{token}-{index}.part" for index, name in enumerate(files)}
    renamed: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in files.items():
            write(aside[name])
        for name, target in targets.items():
            aside[name].replace(target)
            renamed.append(target)
        if overwrite:
            for path in folder.iterdir():
                if leftovers.fullmatch(path.name) and path.name not in files:
                    path.unlink()
    except BaseException as error:
        _remove([*aside.values(), *(path for path in renamed if path not in present)], new_folders)
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            way_out = "free some space or choose another folder" if full else "choose another folder"
            raise OSError(f"Cannot write results to {folder}: {error.strerror or error}; {way_out}.") from error
        raise
    return tuple(targets.values())


def _remove(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Take back what a failed write left; what cannot be removed stays."""
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
