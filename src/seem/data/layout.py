"""One row of the table of formats: how a folder is recognised, divided and read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from seem.data.dataset import ALL_SPLIT, Dataset
from seem.data.records import DataError

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "val": ("val", "validation", "valid", "dev"),
    "train": ("train", "training"),
    "test": ("test", "testing"),
}
"""What data sets call their parts, by our name."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A format.

    Attributes:
        kind: what a specification begins with.
        title: what it is.
        expects: what a folder of it holds, in words.
        fits: whether a place looks like it, seen from afar.
        splits: the parts that a place is divided into, as the set names them; empty = it is not divided.
        read: opens one part (`ALL` for a set that is not divided).
    """

    kind: str
    title: str
    expects: str
    fits: Callable[[Path], bool]
    splits: Callable[[Path], tuple[str, ...]]
    read: Callable[[Path, str], Dataset]

    def resolve_split(self, path: Path, split: str) -> str:
        """Translate a split into the set's own name for it; a set that is not divided has one part for any of ours.

        Raises:
            DataError: the set has no such part.
        """
        present = self.splits(path)
        if split in present:
            return split
        if not present:
            if split in (ALL_SPLIT, *SPELLINGS):
                return ALL_SPLIT
            raise DataError(f"{path} is not divided into parts, so there is no {split!r}; use {ALL_SPLIT!r}.")
        names = next((names for names in SPELLINGS.values() if split in names), ())
        found = [name for name in present if name in names]
        if len(found) == 1:
            return found[0]
        raise DataError(f"{path} has no part {split!r}; it has {', '.join(present)}.")


def undivided(path: Path) -> tuple[str, ...]:  # noqa: ARG001
    """Name the parts of a set that has none."""
    return ()


def in_order(found: set[str]) -> tuple[str, ...]:
    """Sort names of parts: training first, then validation, then test, then the others."""
    ranks = {name: rank for rank, key in enumerate(("train", "val", "test")) for name in SPELLINGS[key]}
    return tuple(sorted(found, key=lambda name: (ranks.get(name, len(ranks)), name)))


def refuse(layout_title: str, path: Path, looked_for: str, found: str = "", way_out: str = "") -> DataError:
    """Word what a reader missed: what was looked for, what is there, what to do."""
    there = f"; there is {found}" if found else f"; it holds {holding(path)}"
    return DataError(
        f"{path} is no complete {layout_title}: looked for {looked_for}{there}.{' ' if way_out else ''}{way_out}"
    )


def holding(path: Path, at_most: int = 6) -> str:
    """Name some of what a folder holds."""
    if not path.exists():
        return "nothing, the path does not exist"
    if not path.is_dir():
        return "no folder but one file"
    names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir())
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return (", ".join(names[:at_most]) or "nothing") + more
