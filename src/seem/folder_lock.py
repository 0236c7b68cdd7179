"""A lock on a folder that one run at a time writes into; the operating system releases it when the process dies."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from seem.errors import SeemError

LOCK_FILE = "in-use.lock"
HOLDER_FILE = "in-use.txt"
LOCK_FILES = (LOCK_FILE, HOLDER_FILE)


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Make and lock a folder; afterwards the lock is gone, and so is a new folder that is still empty.

    Raises `FileExistsError` for a file, `SeemError` where another run holds the lock, with its process.
    """
    from filelock import FileLock, Timeout

    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; name a folder with --out.")
    new_folders = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise SeemError(
            f"Another run is at work on {folder}{_holder_of(folder)}; wait for it, or pass another --out."
        ) from None
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
