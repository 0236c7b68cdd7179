"""One row of the table of formats (`seem.data.layouts.LAYOUTS`): how a folder is recognized, divided and read.

A new format is one file in `seem.data.readers`: a `Reader` that finds its files and returns a `LazyDataset`, and a
`Layout` that names it. Nothing else knows about formats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from seem.data.dataset import ALL_SPLIT, Dataset
from seem.data.records import DataError, DatasetRequestError

SPLIT_NAMES: Mapping[str, tuple[str, ...]] = {
    "val": ("val", "validation", "valid", "dev"),
    "train": ("train", "training"),
    "test": ("test", "testing"),
}
"""What data sets call their parts, by our name."""

_STANDARD_NAMES = {name: ours for ours, names in SPLIT_NAMES.items() for name in names}

_SPLIT_ORDER = ("train", "val", "test")
_MAX_LISTED_ENTRIES = 6


class Reader(Protocol):
    """Opens one part of a data set of one format."""

    def __call__(self, path: Path, split: str, /) -> Dataset:
        """Return the part `split` (the set's own name for it; `ALL_SPLIT` if it is not divided) of the set at `path`.

        Flaws of the set as a whole are listed in the data set; annotations of single images are read later.

        Raises:
            DataError: files of the layout are missing (`incomplete_layout_error`), or one of them cannot be read.
        """


def no_splits(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    """Name the parts of a set that is not divided: none."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A format.

    Attributes:
        kind: what a specification begins with.
        title: what it is called in messages.
        expects: what a folder of it holds, in words.
        fits: whether a path looks like it, by names of files and folders.
        splits: the parts that the set at a path is divided into, as the set names them; empty = it is not divided.
        read: opens one part.
        reads_all: whether `read` opens all parts at once, as `ALL_SPLIT`.
    """

    kind: str
    title: str
    expects: str
    fits: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]] = no_splits
    read: Reader
    reads_all: bool = False

    def resolve_split(self, path: Path, split: str) -> str:
        """Translate a split into the set's own name for it; a set that is not divided has one part for any of ours.

        `ALL_SPLIT` are all parts, unless the set calls one of them so.

        Raises:
            DatasetRequestError: the set has no such part.
        """
        present = self.splits(path)
        if split in present or split == ALL_SPLIT:
            return split
        if not present:
            if standard_split(split):
                return ALL_SPLIT
            raise DatasetRequestError(
                f"{path} is not divided into parts, so there is no {split!r}; use {ALL_SPLIT!r}."
            )
        wanted = standard_split(split)
        matching = [name for name in present if wanted and standard_split(name) == wanted]
        if len(matching) == 1:
            return matching[0]
        raise DatasetRequestError(
            f"{path} has no part {split!r}; it has {', '.join(present)} ({ALL_SPLIT!r}: all of them)."
        )


def standard_split(name: str) -> str:
    """Return train, val or test for any of their names, in any case ("Validation"); empty for another name."""
    return _STANDARD_NAMES.get(name.lower(), "")


def sort_splits(names: Iterable[str]) -> tuple[str, ...]:
    """Sort distinct names of parts: training first, then validation, then test, then the others."""
    return tuple(sorted(set(names), key=lambda name: (_rank_of_split(name), name)))


def _rank_of_split(name: str) -> int:
    ours = standard_split(name)
    return _SPLIT_ORDER.index(ours) if ours else len(_SPLIT_ORDER)


def incomplete_layout_error(
    title: str, path: Path, looked_for: str, present: str = "", way_out: str = ""
) -> DataError:
    """Make the error of a reader that misses files: what was looked for, what is there instead, what to do."""
    there = f"it holds {describe_contents(path)}"
    if present:
        there = f"there is {present}"
    message = f"{path} is no complete {title}: looked for {looked_for}; {there}."
    if way_out:
        message += f" {way_out}"
    return DataError(message)


def describe_contents(path: Path) -> str:
    """Name some of what a folder holds."""
    if not path.exists():
        return "nothing, the path does not exist"
    if not path.is_dir():
        return "no folder but one file"
    names = sorted(map(_entry_name, path.iterdir()))
    if not names:
        return "nothing"
    listed = ", ".join(names[:_MAX_LISTED_ENTRIES])
    num_more = len(names) - _MAX_LISTED_ENTRIES
    if num_more > 0:
        listed += f" and {num_more} more"
    return listed


def _entry_name(path: Path) -> str:
    """Return the name of a file, or of a folder with a slash."""
    if path.is_dir():
        return f"{path.name}/"
    return path.name
