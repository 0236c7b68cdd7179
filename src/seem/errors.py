"""What goes wrong although the call was right; a wrong call is a `ValueError`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_REASON = 200  # characters


class SeemError(OSError):
    """Work that failed: a file, a download, a device. One line: what, which value, and the way out."""


@contextmanager
def naming_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Give the error of a write that failed (a full disk) the name of its file, if it has none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def short_reason(error: BaseException) -> str:
    """Say in a few words what a library said in many: its first sentence, or the kind of error if that is no word."""
    lines = str(error).strip().splitlines() or [""]
    sentence = lines[0].split(". ")[0][:LONGEST_REASON].rstrip(".")
    if any(character.isalpha() for character in sentence):
        return sentence
    return f"{type(error).__name__} {sentence}".strip()
