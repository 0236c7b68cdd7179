"""Text files that people and tools write beside a data set: lists of classes, descriptions, rows of numbers."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seem.data.records import DataError, Flaw, FlawKind
from seem.errors import SeemError
from seem.regular_file import LFS_POINTER, LFS_SIGNATURE, read_regular_file

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF8: "UTF-8-SIG",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_WINDOWS = "CP1252"  # what Windows writes in western Europe; Latin-1 where that has no character


def read_content(file: Path) -> bytes:
    """Read a file of a data set; `DataError` if it cannot be read, is a pipe or a device, or a pointer of Git LFS."""
    try:
        content = read_regular_file(file)
    except SeemError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
    if content.startswith(LFS_SIGNATURE):
        raise DataError(f"{file} {LFS_POINTER}.")
    return content


def parse_json(content: str | bytes, file: Path) -> Any:
    """Parse the content of a JSON file in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.

    Raises:
        DataError: it is no JSON; the message names `file` and says what it is instead.
    """
    if not content.strip():
        raise DataError(f"{file} is empty; export it again.")
    try:
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not in UTF-8 ({error.reason}); save it as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file} is not valid JSON ({error}); it may be cut short, export it again."
        ) from error


@dataclass(frozen=True, slots=True)
class TextFile:
    """The text of a file and the encoding that it was read in."""

    file: Path
    text: str
    encoding: str

    @classmethod
    def read(cls, file: Path) -> TextFile:
        """Read a text in UTF-8, UTF-16 or UTF-32, with or without a byte-order mark, else in Windows-1252.

        Raises:
            DataError: the file cannot be read.
        """
        text, encoding = decode_text(read_content(file))
        return cls(file, text, encoding)

    def lines(self) -> list[str]:
        """Return the lines without spaces around them."""
        return list(map(str.strip, self.text.splitlines()))

    def rows(self) -> list[list[str]]:
        """Return the rows of a table of comma-separated values.

        Raises:
            DataError: it is no such table.
        """
        try:
            return list(csv.reader(io.StringIO(self.text, newline="")))
        except csv.Error as error:
            raise DataError(f"{self.file} is no table that can be read ({error}).") from error

    def records(self) -> list[dict[str, str]]:
        """Return the rows of a table by the names of its columns, which its first row holds; a missing cell is empty.

        Raises:
            DataError: it is no such table.
        """
        title, *rows = self.rows() or [[]]
        records = []
        for row in filter(None, rows):
            cells = row + [""] * (len(title) - len(row))
            records.append(dict(zip(title, cells, strict=False)))
        return records

    def notes(self) -> tuple[Flaw, ...]:
        """Return a note that names the encoding if it is not UTF-8."""
        if self.encoding.startswith("UTF-8"):
            return ()
        what = f"read as {self.encoding}; save it as UTF-8 if names look wrong"
        return (Flaw(FlawKind.ENCODING, self.file.name, what),)


def decode_text(content: bytes) -> tuple[str, str]:
    """Decode the bytes of a text file; return the text and the name of its encoding."""
    for mark, encoding in _MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, errors="replace"), encoding
    encodings = filter(_decodes(content), (*_wide_encodings(content), "UTF-8", _WINDOWS))
    encoding = next(encodings, "Latin-1")  # which decodes everything
    return content.decode(encoding), encoding


def _decodes(content: bytes) -> Callable[[str], bool]:
    """Return whether some bytes are a text in an encoding."""

    def is_decodable(encoding: str) -> bool:
        try:
            content.decode(encoding)
        except UnicodeDecodeError:
            return False
        return True

    return is_decodable


def _wide_encodings(content: bytes) -> tuple[str, ...]:
    """Return the encoding of a text whose every second byte is mostly 0, as without a mark in UTF-16."""
    half = len(content) // 2
    if half and content[1::2].count(0) > half / 2:
        return ("UTF-16-LE",)
    if half and content[::2].count(0) > half / 2:
        return ("UTF-16-BE",)
    return ()
