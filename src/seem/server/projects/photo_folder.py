"""The photos of a folder: listed by names below it, read only while they lie in it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seem.data.image_files import IMAGE_SUFFIXES
from seem.errors import SeemError
from seem.server.problems import Problem

RESCAN_SECONDS = 1.0  # a folder is read again at most this often


@dataclass(frozen=True, slots=True)
class PhotoContent:
    """The bytes of a photo, and a fingerprint that changes when its file does."""

    name: str
    content: bytes
    fingerprint: tuple[int, int]


class PhotoFolder:
    """The photos in a folder and below it.

    Their names are paths relative to the folder, with slashes. Hidden files are left out, and so are links that lead
    out of the folder; linked folders are not followed.
    """

    def __init__(self, root: Path) -> None:
        """Take an existing folder; `SeemError` for anything else."""
        if not root.is_dir():
            raise SeemError(f"{root} is no folder; give a folder of photos.")
        self.root = Path(os.path.realpath(root))
        self.title = root.absolute().name or str(root)
        self._names: tuple[str, ...] = ()
        self._scanned = float("-inf")
        self._lock = threading.Lock()

    def names(self) -> tuple[str, ...]:
        """Return the names of all photos that are there now, sorted."""
        with self._lock:
            if time.monotonic() - self._scanned >= RESCAN_SECONDS:
                self._names = tuple(sorted(self._scan()))
                self._scanned = time.monotonic()
            return self._names

    def read(self, name: str, max_bytes: int) -> PhotoContent:
        """Read the photo of a name that `names` has listed; `Problem` if it is gone, leads out, or is too large."""
        path = self.path_of(name)
        if path is None:
            raise photo_is_gone(name)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                if status.st_size > max_bytes:
                    raise Problem(
                        "too-large", f"{name} is larger than the limit of {max_bytes:,} bytes."
                    )
                fingerprint = (status.st_mtime_ns, status.st_size)
                return PhotoContent(name, file.read(max_bytes), fingerprint)
        except FileNotFoundError:
            raise photo_is_gone(name) from None
        except PermissionError:
            raise Problem("unreadable", f"The server may not read {name}.") from None

    def path_of(self, name: str) -> Path | None:
        """Return the file of a photo, links resolved; None if it is no file in the folder."""
        path = Path(os.path.realpath(self.root / name))
        if path.is_relative_to(self.root) and path.is_file():
            return path
        return None

    def _scan(self) -> Iterator[str]:
        for parent, folders, files in os.walk(self.root):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            for file in files:
                name = Path(parent, file).relative_to(self.root).as_posix()
                if is_photo_name(name) and self.path_of(name) is not None:
                    yield name


def photo_is_gone(name: str) -> Problem:
    """Return the problem of a photo that has left the folder."""
    return Problem("gone", f"{name} is no longer in the folder; its objects are still stored.")


def is_photo_name(name: str) -> bool:
    """Tell photos from other files, from hidden ones, and from names that are no Unicode."""
    path = Path(name)
    if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
