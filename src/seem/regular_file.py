"""What is no file, though it has the name of one: pipes and devices, and what Git leaves in place of large files.

Reading a pipe may never end, and writing a file in place of one removes it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from seem.errors import SeemError

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

LFS_SIGNATURE = b"version https://git-lfs"
LFS_POINTER = "is a pointer that Git LFS left in place of the file; run git lfs pull"


def check_regular_file(path: str | os.PathLike[str]) -> None:
    """Raise `SeemError` for a pipe, a device or a socket to read; a path where nothing is passes."""
    kind = special_kind(path)
    if kind is not None:
        raise SeemError(f"{os.fspath(path)} is {kind}, no file; write its content to a file first.")


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raise `SeemError` for a pipe, a device or a socket that a file would be written in place of."""
    kind = special_kind(path)
    if kind is not None:
        raise SeemError(f"{os.fspath(path)} is {kind}, no file; name a file to write.")


def read_regular_file(path: Path) -> bytes:
    """Read a file; `SeemError` for a pipe, a device or a socket, other `OSError` as `Path.read_bytes` raises."""
    check_regular_file(path)
    return path.read_bytes()


def special_kind(path: str | os.PathLike[str]) -> str | None:
    """Return what a path is that is neither file nor folder; None for these, and where nothing is."""
    try:
        return KINDS.get(stat.S_IFMT(Path(path).stat().st_mode))
    except (OSError, ValueError):
        return None
