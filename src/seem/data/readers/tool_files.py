"""Files of annotation tools: JSON and XML, read with clear errors, and images by the names that tools record."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from xml.etree import ElementTree

from seem.data.image_files import list_images
from seem.data.records import DataError
from seem.data.text_files import decode_text, parse_json, read_content
from seem.regular_file import check_regular_file

Fields: TypeAlias = "Mapping[str, Any]"
"""An object of a JSON file: what its fields hold."""

_MAX_TRIED_FILES = 8  # of a folder, to recognize a format by their text
_DEPTHS = ("", "*/", "*/*/", "*/*/*/")
_HEAD_BYTES = _TAIL_BYTES = 1 << 20  # of a file that are read to recognize its format


def read_json_file(file: Path) -> Any:
    """Parse a JSON file (see `parse_json`); `DataError` if it is none."""
    return parse_json(read_content(file), file)


def read_xml_file(file: Path) -> ElementTree.Element:
    """Parse an XML file; `DataError` if it is none, or if it declares entities, which can grow without end."""
    content = read_content(file)
    if not content.strip():
        raise DataError(f"{file} is empty; export it again.")
    text, encoding = decode_text(content)
    if "<!ENTITY" in text:
        raise DataError(f"{file} declares XML entities, which no annotation tool writes.")
    try:
        return ElementTree.fromstring(content)
    except (LookupError, ValueError) as error:  # an encoding that Python's parser lacks
        raise DataError(f"{file} cannot be decoded ({error}); save it as UTF-8.") from error
    except ElementTree.ParseError as error:
        way_out = "it may be cut short, export it again"
        if not encoding.startswith("UTF"):
            way_out = "it is not in UTF-8 and names no other encoding, save it as UTF-8"
        raise DataError(f"{file} is not valid XML ({error}); {way_out}.") from error


def list_files(folder: Path, suffix: str) -> list[Path]:
    """List the files of a folder and its sub-folders that end in `suffix`, in any case; hidden ones are passed over."""
    if not folder.is_dir():
        return []
    files = []
    for path in folder.rglob("*"):
        if path.suffix.lower() == suffix and not _is_hidden(path.relative_to(folder)):
            files.append(path)
    return sorted(files)


def list_text_files(folder: Path, suffix: str, looks_right: Callable[[bytes], bool]) -> list[Path]:
    """List the files of a folder and its sub-folders that end in `suffix` and have the right text."""
    return [file for file in list_files(folder, suffix) if looks_right(text_sample(file))]


def has_text_file(path: Path, suffix: str, looks_right: Callable[[bytes], bool]) -> bool:
    """Whether a file, or one of the first files of a folder three levels deep, has the ending and the right text."""
    if path.is_file():
        return path.suffix.lower() == suffix and looks_right(text_sample(path))
    return any(looks_right(text_sample(file)) for file in _first_files(path, suffix))


def home_of(path: Path) -> Path:
    """Return the folder that a file lies in; a folder itself."""
    if path.is_file():
        return path.parent
    return path


def text_sample(file: Path) -> bytes:
    """Read the beginning and the end of a file, by which formats are told apart; empty if it cannot be read.

    A text in UTF-16 is returned in UTF-8.
    """
    try:
        status = file.stat()
        return _read_sample(file, status.st_mtime_ns, status.st_size)
    except OSError:
        return b""


@lru_cache(maxsize=8)  # every format looks at the same files
def _read_sample(file: Path, _time: int, size: int) -> bytes:
    check_regular_file(file)
    with file.open("rb") as opened:
        head = opened.read(_HEAD_BYTES)
        opened.seek(max(size - _TAIL_BYTES, len(head)))
        sample = head + opened.read(_TAIL_BYTES)
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return sample.decode("utf-16", errors="ignore").encode(errors="ignore")
    return sample


class ImageIndex:
    """The images of a folder and its sub-folders, by the names that a tool recorded for them.

    Of a file the images beside it.
    """

    def __init__(self, path: Path) -> None:
        self.root = home_of(path)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """All images, in alphabetical order."""
        return tuple(list_images(self.root, deep=True))

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _group(self.files, lambda path: path.name)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _group(self.files, lambda path: path.stem)

    def find(self, recorded: str, near: Path | None = None) -> Path | None:
        """Return the image that a tool called `recorded`, inside of the folder; None if there is none, or several.

        It counts from `near`, then from the folder itself; then the file of that name with most folders in common.
        """
        name = recorded.replace("\\", "/").strip()
        if not name:
            return None
        for folder in (near or self.root, self.root, self.root / "images"):
            path = Path(os.path.normpath(folder / name))
            if path.is_file() and self._holds(path):
                return path
        pure = PurePosixPath(name)
        return _with_longest_tail(self._by_name.get(pure.name, []), pure.parts)

    def _holds(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root.resolve())

    def find_stem(self, recorded: str) -> Path | None:
        """Return the image whose name without ending a tool called `recorded`."""
        parts = PurePosixPath(recorded.replace("\\", "/")).parts
        if not parts:
            return None
        candidates = self._by_stem.get(parts[-1], [])
        stems = {path.with_suffix(""): path for path in candidates}
        best = _with_longest_tail(list(stems), parts)
        if best is None:
            return None
        return stems[best]

    def expected(self, recorded: str) -> Path:
        """Return where an image that is missing should lie."""
        return self.root / (PurePosixPath(recorded.replace("\\", "/")).name or "unnamed")


def _with_longest_tail(candidates: list[Path], parts: tuple[str, ...]) -> Path | None:
    """Return the path that ends in most of `parts`; None if that is none or several."""
    if len(candidates) < 2:
        return next(iter(candidates), None)
    lengths = [_common_tail(path.parts, parts) for path in candidates]
    longest = max(lengths)
    if lengths.count(longest) > 1:
        return None
    return candidates[lengths.index(longest)]


def _common_tail(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    length = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        length += 1
    return length


def _group(files: tuple[Path, ...], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {}
    for file in files:
        grouped.setdefault(key(file), []).append(file)
    return grouped


def _first_files(path: Path, suffix: str) -> Iterator[Path]:
    """Return some files that end in `suffix`, in any case, from the folder itself down."""
    pattern = "*" + "".join(map(_in_any_case, suffix))
    listed = chain.from_iterable(path.glob(depth + pattern) for depth in _DEPTHS)
    visible = (file for file in listed if not file.name.startswith("."))
    return islice(visible, _MAX_TRIED_FILES)


def _in_any_case(letter: str) -> str:
    """Return a pattern of a letter, small or capital; of any other character the character."""
    if not letter.isalpha():
        return letter
    return f"[{letter.lower()}{letter.upper()}]"


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in relative.parts)
