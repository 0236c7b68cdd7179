"""Data sets inside of zip files: unpacked into a temporary folder that is removed when the process ends."""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path, PurePosixPath

from seem.data.records import DataError
from seem.errors import SeemError
from seem.part_files import PRIVATE_MODE, new_part, remove_part

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 4 << 30
DISK_SHARE = 0.9  # of the free space of the temporary folder may be filled

_OTHER_ARCHIVES = re.compile(r"\.(7z|rar|gz|tgz|bz2|xz|tar)$", re.IGNORECASE)
_SKIPPED = ("__MACOSX", ".DS_Store")

_archive_of_folder: dict[Path, Path] = {}  # that of every folder that this process has unpacked


def is_archive(path: Path) -> bool:
    """Whether a path is a zip file by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def is_other_archive(path: Path) -> bool:
    """Whether a path is an archive by its name that is not read."""
    return _OTHER_ARCHIVES.search(path.name) is not None and path.is_file()


def unpacked_folder(path: Path) -> Path:
    """Return a temporary folder with the content of a zip file; one that has not changed is unpacked once a process.

    Raises:
        DataError: it is no zip file, damaged, encrypted or too large, or a member would leave the folder.
        SeemError: there is no room for it on the disk.
    """
    state = path.stat()
    return _unpack(path.resolve(), state.st_mtime_ns, state.st_size)


@functools.lru_cache(maxsize=64)
def _unpack(path: Path, _time: int, _size: int) -> Path:
    temporary = new_part(Path(tempfile.gettempdir()))
    folder = temporary / path.stem
    try:
        temporary.mkdir(mode=PRIVATE_MODE)
        folder.mkdir()
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(archive, path)
            _check_room(members, path, folder)
            for name, member in members.items():
                _write_member(archive, member, folder / name)
    except (DataError, SeemError):
        remove_part(temporary)
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        remove_part(temporary)
        reason = "is encrypted" if "encrypted" in str(error) else f"cannot be unpacked ({error})"
        raise DataError(f"{path} {reason}; unpack it yourself and give the folder.") from error
    except OSError as error:
        remove_part(temporary)
        reason = error.strerror or str(error)
        raise SeemError(
            f"{path} cannot be unpacked into {temporary.parent} ({reason}); unpack it elsewhere and give the folder, "
            "or set TMPDIR to a larger disk."
        ) from error
    except BaseException:
        remove_part(temporary)
        raise
    atexit.register(_remove_if_own, temporary, os.getpid())
    _archive_of_folder[folder] = path
    return folder


def lasting_path(file: Path) -> Path:
    """Return a path that names a file in every process: of an unpacked file, its path inside of the archive."""
    for folder, archive in _archive_of_folder.items():
        if file.is_relative_to(folder):
            return archive / file.relative_to(folder)
    return file


def _checked_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by their path inside of it; `DataError` where that is unsafe."""
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS:
        raise DataError(f"{path} has {len(entries):,} members, more than {MAX_MEMBERS:,}.")
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = PurePosixPath(entry.filename.replace("\\", "/"))
        is_link = stat.S_ISLNK(entry.external_attr >> 16)
        if entry.is_dir() or is_link or any(part in _SKIPPED for part in name.parts):
            continue
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            raise DataError(f"{path} has a member {entry.filename!r} that leaves its folder.")
        if str(name) in members:
            raise DataError(f"{path} has the member {entry.filename!r} twice; pack it again.")
        if entry.file_size > MAX_MEMBER_BYTES:
            size = f"{entry.file_size:,} bytes, more than {MAX_MEMBER_BYTES:,}"
            raise DataError(f"{path} has a member {entry.filename!r} of {size}.")
        members[str(name)] = entry
    return members


def _check_room(members: dict[str, zipfile.ZipInfo], path: Path, folder: Path) -> None:
    needed = sum(member.file_size for member in members.values())
    free = shutil.disk_usage(folder).free
    if needed > DISK_SHARE * free:
        raise SeemError(
            f"{path} holds {needed:,} bytes, and {folder.parent.parent} has {free:,} free; unpack it elsewhere "
            "and give the folder, or set TMPDIR to a larger disk."
        )


def _write_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write one member, with the time that the archive gives it: caches are compared by it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as written:
        shutil.copyfileobj(source, written)  # a member is never read beyond its declared size
    with suppress(ValueError, OverflowError, OSError):  # a date that no calendar has
        changed = time.mktime((*member.date_time, 0, 0, -1))
        os.utime(target, (changed, changed))


def _remove_if_own(temporary: Path, process: int) -> None:
    """Remove a temporary folder, unless this is a process that the owner has started by forking."""
    if os.getpid() == process:
        remove_part(temporary)
