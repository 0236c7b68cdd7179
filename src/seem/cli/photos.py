"""Which photos a call means, and under which names their results are kept."""

from __future__ import annotations

import io
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from seem.errors import SeemError
from seem.images import open_image

STANDARD_INPUT = "-"
LONGEST_NAME = 2  # of the three that a photo has
SUFFIXES = (".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAGIC = re.compile(r"[*?[]")
OURS = re.compile(r"(.+)\.(overlay|panoptic|mask-\d+)\.png")  # a result, if its JSON file stands beside it


@dataclass(frozen=True, slots=True)
class Found:
    """A photo, and its name below the folder `home` that was asked for: `trip/a.jpg`."""

    source: str
    name: Path
    home: str

    @property
    def names(self) -> tuple[Path, Path, Path]:
        """Names for its results, the shortest first; a longer one is for when the shorter is not its alone."""
        return self.name.parent / self.name.stem, self.name, self.home / self.name

    def open(self) -> str | Image.Image:
        """Return what a model takes: the path, or the picture that comes over standard input."""
        if self.source != STANDARD_INPUT:
            return self.source
        picture = open_image(io.BytesIO(sys.stdin.buffer.read()), "Standard input")
        picture.filename = self.name.name  # what messages and files call it
        return picture


@dataclass(frozen=True, slots=True)
class Job:
    """A photo and where its results go: `<folder>/<stem>.json` and the files beside it."""

    photo: Found
    folder: Path
    stem: str

    @property
    def is_done(self) -> bool:
        """Whether there are results of that name."""
        return any((self.folder / f"{self.stem}.{kind}").exists() for kind in ("json", "overlay.png", "mask-0.png"))


def plan(arguments: Sequence[str], out: Path, overwrite: bool) -> list[Job]:
    """Find all photos and give every one a name of its own below `out`; nothing is written.

    Raises `ValueError` for photos whose results would get one name, and `OSError` for a folder that cannot be read or
    written, or holds no photo, and for results that are there already.
    """
    photos: dict[str, Found] = {}  # by place, so that none is done twice
    for argument in arguments:
        for photo in find(argument):
            photos.setdefault(os.path.realpath(photo.source), photo)
    check_writable(out)
    jobs = named(list(photos.values()), out)
    done = [job for job in jobs if job.is_done]
    if done and not overwrite:
        several = f"{len(done)} of {len(jobs)} photos have results" if len(jobs) > 1 else "There are results"
        first = done[0].folder / done[0].stem
        raise FileExistsError(f"{several} already: {first}.*; pass --overwrite or another --out.")
    return jobs


def find(argument: str) -> Iterator[Found]:
    """Find the photos that one argument means: a file, a folder with all below it, a pattern, or standard input.

    A file that is not there counts as found: it is reported when its turn comes, and the rest go on.
    """
    path = Path(argument)
    if argument == STANDARD_INPUT:
        yield Found(argument, Path("stdin"), home="")
    elif path.is_dir():
        inside = list(below(path, top=path))
        if not inside:
            raise SeemError(f"{argument} holds no photo ({' '.join(SUFFIXES)}).")
        yield from inside
    elif not path.exists() and MAGIC.search(argument):
        yield from matching(argument)
    else:
        yield Found(argument, Path(path.name), home=path.absolute().parent.name)


def matching(pattern: str) -> Iterator[Found]:
    """Find what matches a pattern with `*`, `?`, `[...]` or `**`; names start where the pattern does."""
    top = next(place for place in Path(pattern).parents if not MAGIC.search(str(place)))
    matches = sorted(top.glob(str(Path(pattern).relative_to(top))))
    photos = [Found(str(match), match.relative_to(top), top.absolute().name) for match in matches if is_photo(match)]
    for folder in (match for match in matches if match.is_dir() and "**" not in pattern):
        photos += below(folder, top)
    if not photos:
        raise SeemError(f"No photo matches {pattern}.")
    yield from photos


def below(folder: Path, top: Path) -> Iterator[Found]:
    """Find the photos in a folder and below it, in the order of their names; hidden ones and results are left out."""

    def complain(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=complain):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place, name)
            if is_photo(path):
                yield Found(str(path), path.relative_to(top), top.absolute().name)


def is_photo(path: Path) -> bool:
    """Tell a photo by its name from other files, hidden ones, and results of an earlier call."""
    if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES or path.is_dir():
        return False
    result = OURS.fullmatch(path.name)
    return result is None or not path.with_name(f"{result[1]}.json").exists()


def named(photos: Sequence[Found], out: Path) -> list[Job]:
    """Give every photo the shortest name that is its alone: `a`, else `a.jpg`, else `folder/a.jpg`."""
    lengths = [0] * len(photos)
    while True:
        rows_of: defaultdict[Path, list[int]] = defaultdict(list)
        for row, (photo, length) in enumerate(zip(photos, lengths, strict=True)):
            rows_of[photo.names[length]].append(row)
        clashes = [rows for rows in rows_of.values() if len(rows) > 1]
        if not clashes:
            return [Job(photos[rows[0]], (out / name).parent, name.name) for name, rows in rows_of.items()]
        for rows in clashes:
            shortest = min(lengths[row] for row in rows)
            if shortest == LONGEST_NAME:
                one, other = (photos[row].source for row in rows[:2])
                raise ValueError(f"{one} and {other} would write the same files; give each an --out of its own.")
            for row in rows:
                lengths[row] += lengths[row] == shortest


def check_writable(out: Path) -> None:
    """Raise `OSError` if results could not be written below a folder, which need not exist."""
    nearest = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(f"Results cannot go to {out}: {nearest} is a file; choose another --out.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"Results cannot go to {out}: {nearest} may not be written; choose another --out.")
