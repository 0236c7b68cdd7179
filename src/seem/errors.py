"""What goes wrong although the call was right, and what is wrong with a call.

At the command line a call is wrong (exit code 2) if other words are needed: an option, its value, or what was asked of
these files. Work has failed (exit code 1) where the same words can do with other files, or later: a file that is
missing, damaged, of another layout or in the way, a download, a disk, memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a disk, a quota or a file that is full."""

LONGEST_REASON = 200  # characters


class SeemError(OSError):
    """Work that failed: a file, a download, a device. One line: what, which value, and the way out."""


class UnusableFileError(ValueError):
    """A file whose content cannot be used: a wrong value for callers in Python, work that failed at the command line.

    `is_wrong_call`: what was asked of the file is wrong, not the file.
    """

    is_wrong_call = False


@contextmanager
def naming_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give the error of a write that failed the name of its file; of a full disk in place of a temporary name."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK or (error.errno is not None and error.filename is None):
            error.filename = os.fspath(path)
        raise


def short_reason(error: BaseException) -> str:
    """Say in a few words what a library said in many: its first sentence, or the kind of error if that is no word."""
    lines = str(error).strip().splitlines() or [""]
    sentence = lines[0].split(". ")[0][:LONGEST_REASON].rstrip(".")
    if any(character.isalpha() for character in sentence):
        return sentence
    return f"{type(error).__name__} {sentence}".strip()
