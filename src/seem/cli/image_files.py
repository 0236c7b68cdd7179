"""The image files that a call names, and a distinct name for the results of each."""

from __future__ import annotations

import io
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from seem.annotation_formats.formats import IMAGE_FORMATS
from seem.cli.errors import report_error
from seem.errors import SeemError
from seem.image_folder import images_below, images_in, is_image
from seem.images import open_image, read_shown_hw, shown_hw
from seem.writing import names_file

STANDARD_INPUT = "-"
WILDCARD = re.compile(r"[*?[]")
RESULT_SUFFIXES = (
    "json",
    "overlay.png",
    "mask-0.png",
)  # any of them shows that an image was processed before


def read_standard_input() -> bytes:
    """Return all that comes over standard input, which is read once; `SeemError` if it is closed."""
    if sys.stdin is None:
        raise SeemError("Standard input is closed; pipe a photo into it, or name a file.")
    return _content_of(sys.stdin)


@lru_cache(maxsize=1)
def _content_of(stream: Any) -> bytes:
    return bytes(stream.buffer.read())


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image file (or `-`), and its relative path below the folder that the call named: `trip/a.jpg`.

    `folder_name` is the name of that folder.
    """

    source: str
    name: Path
    folder_name: str

    @property
    def result_names(self) -> tuple[Path, Path, Path]:
        """Names for its results, the shortest first; a longer one is used if the shorter belongs to several images."""
        return self.name.parent / self.name.stem, self.name, self.folder_name / self.name

    def read_hw(self) -> tuple[int, int]:
        """Read height and width as shown from the file's header; raises as opening it does."""
        image = self.open()
        return read_shown_hw(image) if isinstance(image, str) else shown_hw(image)

    @property
    def file(self) -> Path | None:
        """The file, None for standard input."""
        return None if self.source == STANDARD_INPUT else Path(self.source)

    def open(self) -> str | Image.Image:
        """Return what `Model.encode` takes: the path, or the image that comes over standard input."""
        if self.source != STANDARD_INPUT:
            return self.source
        image = open_image(io.BytesIO(read_standard_input()), "Standard input")
        image.filename = self.name.name  # the name in messages and files
        return image


@dataclass(frozen=True, slots=True)
class ImageJob:
    """An image and where its results go: `<folder>/<stem>.json` and the files beside it."""

    image: ImageSource
    folder: Path
    stem: str
    name: Path  # the stem with its folders below the folder of all results

    @property
    def file_name(self) -> str:
        """The image's name in data sets: its path below the folder that the call named, unless another has that too."""
        is_own = self.name in self.image.result_names[:2]
        return (self.image.name if is_own else self.name).as_posix()

    @property
    def record_file(self) -> Path:
        """The JSON file of its results."""
        return self.folder / f"{self.stem}.json"

    @property
    def is_complete(self) -> bool:
        """Whether all results of that name are there: the JSON file gets its name last."""
        return self.record_file.exists()

    @property
    def is_done(self) -> bool:
        """Whether there are results of that name, or some of them."""
        return any((self.folder / f"{self.stem}.{suffix}").exists() for suffix in RESULT_SUFFIXES)


def plan_jobs(
    arguments: Sequence[str], out: Path, overwrite: bool, way_out: str = "pass --overwrite"
) -> list[ImageJob]:
    """Find all images that the arguments name and give each a distinct name below `out`; nothing is written.

    Raises `ValueError` for images whose results would get the same name, and `OSError` for a folder that cannot be read
    or written, or holds no image, and for results that exist already.
    """
    images: dict[str, ImageSource] = {}  # by real path, so that no image is processed twice
    for argument in arguments:
        for image in find_images(argument):
            path = os.path.realpath(image.source)
            if not is_copy(path, argument, out):
                images.setdefault(path, image)
    check_writable(out)
    jobs = name_jobs(list(images.values()), out)
    done = [job for job in jobs if job.is_done]
    if done and not overwrite:
        count = "There are results"
        if len(jobs) > 1:
            count = f"{len(done)} of {len(jobs)} photos have results"
        first = done[0].folder / done[0].stem
        raise FileExistsError(f"{count} already: {first}.*; {way_out} or another --out.")
    return jobs


def report_unusable(
    jobs: Sequence[ImageJob], check: Callable[[ImageSource], object] = ImageSource.read_hw
) -> list[int]:
    """Return the exit codes of images none of which can be used, each reported; nothing if one can be.

    So that nobody waits for a model without a photo for it. `check` raises for an image that cannot be used.
    """
    errors = []
    for job in jobs:
        error = _error_of(job.image, check)
        if error is None:
            return []
        errors.append((error, job.image.source))
    return [report_error(error, about=source) for error, source in errors]


def _error_of(image: ImageSource, check: Callable[[ImageSource], object]) -> Exception | None:
    try:
        check(image)
    except Exception as error:
        return error
    return None


def is_copy(path: str, argument: str, out: Path) -> bool:
    """Whether an image lies in a data set that an earlier call wrote below `out`, which this argument does not name."""
    for format in IMAGE_FORMATS:
        dataset = os.path.realpath(out / format.name)
        if path.startswith(dataset + os.sep):
            return not os.path.realpath(argument).startswith(dataset)
    return False


def find_images(argument: str) -> Iterator[ImageSource]:
    """Yield the images that one argument names: a file, a folder with all below it, a pattern, or standard input.

    A file that does not exist is yielded too: its error is reported when it is opened, and the other images go on.
    """
    if not argument:
        raise ValueError("A photo is an empty text; name a file or a folder (. is this one).")
    path = Path(argument)
    if argument == STANDARD_INPUT:
        yield ImageSource(argument, Path("stdin"), folder_name="")
    elif path.is_dir():
        images = images_in(path)
        for image in images:
            yield image_below(image, path)
    elif not path.exists() and WILDCARD.search(argument):
        yield from matching_images(argument)
    else:
        yield ImageSource(argument, Path(path.name), folder_name=path.absolute().parent.name)


def matching_images(pattern: str) -> Iterator[ImageSource]:
    """Yield the images that match a pattern with `*`, `?`, `[...]` or `**`; names start where the wildcards do."""
    top = next(parent for parent in Path(pattern).parents if not WILDCARD.search(str(parent)))
    matches = sorted(top.glob(str(Path(pattern).relative_to(top))))
    images = [image_below(match, top) for match in matches if is_image(match)]
    if "**" not in pattern:
        for match in matches:
            if match.is_dir():
                images.extend(image_below(image, top) for image in images_below(match))
    if not images:
        raise SeemError(f"No photo matches {pattern}.")
    yield from images


def image_below(path: Path, top: Path) -> ImageSource:
    """Return an image file with its name relative to the folder `top`."""
    return ImageSource(str(path), path.relative_to(top), top.absolute().name)


def name_jobs(images: Sequence[ImageSource], out: Path) -> list[ImageJob]:
    """Give every image the shortest name that no other image has: `a`, else `a.jpg`, else `folder/a.jpg`."""
    levels = [0] * len(images)  # which of its `result_names` an image has
    while True:
        names = [image.result_names[level] for image, level in zip(images, levels, strict=True)]
        clashes = clashing_indices(names)
        if not clashes:
            return [
                ImageJob(image, (out / name).parent, name.name, name)
                for image, name in zip(images, names, strict=True)
            ]
        for indices in clashes:
            lengthen_names(images, levels, indices)


def clashing_indices(names: Sequence[Path]) -> list[list[int]]:
    """Return the indices of every name that occurs more than once."""
    indices_of: defaultdict[Path, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        indices_of[name].append(index)
    return [indices for indices in indices_of.values() if len(indices) > 1]


def lengthen_names(
    images: Sequence[ImageSource], levels: list[int], indices: Sequence[int]
) -> None:
    """Give the next longer name to those images of a clash that have the shortest; changes `levels`."""
    shortest = min(levels[index] for index in indices)
    longest = len(images[indices[0]].result_names) - 1
    if shortest == longest:
        one, other = images[indices[0]].source, images[indices[1]].source
        raise ValueError(
            f"{one} and {other} would write the same files; give each an --out of its own."
        )
    for index in indices:
        if levels[index] == shortest:
            levels[index] += 1


def check_writable(out: Path, option: str = "--out") -> None:
    """Raise `OSError` if results could not be written below a folder, `ValueError` if it is named like a file."""
    if names_file(out):
        raise ValueError(
            f"{option} {out} is the name of a file; name a folder, results are several files."
        )
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise NotADirectoryError(
            f"Results cannot go to {out}: {nearest} is a file; choose another {option}."
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(
            f"Results cannot go to {out}: {nearest} may not be written; choose another {option}."
        )
