"""A lock on a folder that one run at a time writes into; the operating system releases it when the process dies."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from seem.errors import SeemError

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_FILE = "in-use.lock"
HOLDER_FILE = "in-use.txt"
LOCK_FILES = (LOCK_FILE, HOLDER_FILE)
MAX_ATTEMPTS = 20  # each fails only if another run ends in that moment


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make and lock a folder; afterwards the lock is gone, and so is a new folder that is still empty.

    Raises `FileExistsError` for a file, `SeemError` where another run holds the lock, with its process.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder with --out.")
    new_folders = [each for each in (folder, *folder.parents) if not each.exists()]
    lock = _locked(folder)
    try:
        _write_holder(folder)
        yield
    finally:
        for name in (HOLDER_FILE, LOCK_FILE):
            with suppress(OSError):  # where open files cannot be removed, it stays
                (folder / name).unlink(missing_ok=True)
        lock.release()
        for each in new_folders:
            with suppress(OSError):  # it holds the run
                each.rmdir()


def _locked(folder: Path) -> BaseFileLock:
    """Make a folder and lock it; `SeemError` where another run holds the lock."""
    for _ in range(MAX_ATTEMPTS):
        with suppress(FileNotFoundError):  # the run before has removed the folder
            lock = _try_to_lock(folder)
            if lock is not None:
                return lock
    folder.mkdir(parents=True, exist_ok=True)  # raises again where it cannot be made
    raise _in_use_error(folder)


def _try_to_lock(folder: Path) -> BaseFileLock | None:
    """Make a folder and lock it; None where the run before has removed its lock meanwhile.

    A lock on a file that has just been removed locks nothing, as another run makes a new file. While this process has
    the file open, no other can have its number, so that equal numbers before and after mean that it is still there.
    """
    from filelock import FileLock, Timeout

    file = folder / LOCK_FILE
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as opened:
        lock = FileLock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if _is_same_file(opened.fileno(), file):
                raise _in_use_error(folder) from None
            return None
        if _is_same_file(opened.fileno(), file):
            return lock
        lock.release()
    return None


def _is_same_file(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _in_use_error(folder: Path) -> SeemError:
    return SeemError(
        f"Another run is at work on {folder}{_holder_of(folder)}; wait for it, or pass another --out."
    )


def check_not_in_use(folder: Path) -> None:
    """Raise `SeemError` if a run holds the lock of a folder."""
    if (folder / LOCK_FILE).exists():
        with hold_folder(folder):
            pass


def _write_holder(folder: Path) -> None:
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    text = f"process {os.getpid()} on {platform.node()} since {now}"
    with suppress(OSError):  # it only words an error
        (folder / HOLDER_FILE).write_text(text, encoding="utf-8")


def _holder_of(folder: Path) -> str:
    with suppress(OSError, UnicodeError):
        text = (folder / HOLDER_FILE).read_text(encoding="utf-8").strip()
        return f" ({text})" if text else ""
    return ""
