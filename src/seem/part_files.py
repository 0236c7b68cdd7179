"""Files that are being written, and the removal of those that a killed process has left.

A part is called `.seem-<host>-<process>-<token>.part`, a file or a folder, until it is renamed: its name shows whether
anybody still writes it.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import secrets
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE_MODE = 0o700  # of folders among those of other users
MAX_PART_AGE = 86_400.0  # seconds; of a part whose process cannot be asked for
_NAME = re.compile(r"\.seem-([0-9a-f]{8})-(\d+)-([0-9a-f]{8})[0-9a-f]*\.part")
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_OF_THIS_PROCESS = secrets.token_hex(4)


def new_part(folder: Path) -> Path:
    """Return an unused path in a folder to write to before renaming; removes what killed processes left there."""
    _remove_abandoned_once(folder.absolute())
    name = f".seem-{_HOST}-{os.getpid()}-{_OF_THIS_PROCESS}{secrets.token_hex(4)}.part"
    return folder / name


@contextmanager
def part_folder(folder: Path) -> Iterator[Path]:
    """Make a part that is a folder; it vanishes with what is in it, after a kill when the next part is made there."""
    part = new_part(folder)
    try:
        part.mkdir(parents=True)
        yield part
    finally:
        remove_part(part)


@contextmanager
def naming_final_files(part: Path, folder: Path) -> Iterator[None]:
    """Let errors about files in a part name where these files go, a folder."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str) and Path(error.filename).is_relative_to(part):
            error.filename = str(folder / Path(error.filename).relative_to(part))
        raise


def new_temporary_folder() -> Path:
    """Make a folder for temporary files of this user alone; the next process removes it if this one is killed."""
    folder = new_part(Path(tempfile.gettempdir()))
    folder.mkdir(mode=PRIVATE_MODE)
    return folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a folder as `new_temporary_folder` does, and remove it."""
    folder = new_part(Path(tempfile.gettempdir()))
    try:
        folder.mkdir(mode=PRIVATE_MODE)
        yield folder
    finally:
        remove_part(folder)


@functools.lru_cache(maxsize=64)
def _remove_abandoned_once(folder: Path) -> None:
    remove_abandoned_parts(folder)


def remove_abandoned_parts(folder: Path) -> None:
    """Remove the parts in a folder whose process has ended; one of another machine once it is a day old."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _is_abandoned(path):
                remove_part(path)


def is_part(path: Path) -> bool:
    """Tell whether a path is named as a part."""
    return _NAME.fullmatch(path.name) is not None


def remove_part(path: Path) -> None:
    """Remove a part, if it is there; what cannot be removed stays."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    if match is None:
        return False
    host, process, token = match.groups()
    if host == _HOST and int(process) == os.getpid():
        return token != _OF_THIS_PROCESS
    if host == _HOST and _has_ended(int(process)):
        return True
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > MAX_PART_AGE
    return False


def _has_ended(process: int) -> bool:
    """Tell whether a process of this machine has ended; False where that cannot be known."""
    if os.name != "posix":  # elsewhere a signal of 0 would end it
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:
        return False
    return False
