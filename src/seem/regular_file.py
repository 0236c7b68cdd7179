"""Pipes and devices are no files: reading one may never end."""

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


def check_regular_file(path: str | os.PathLike[str]) -> None:
    """Raise `SeemError` for a pipe, a device or a socket; a path where nothing is passes."""
    try:
        kind = KINDS.get(stat.S_IFMT(Path(path).stat().st_mode))
    except (OSError, ValueError):
        return
    if kind is not None:
        raise SeemError(f"{os.fspath(path)} is {kind}, no file; write its content to a file first.")
