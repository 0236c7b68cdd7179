"""The images in a folder: by their names, without hidden files and without the results of `seem segment`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from seem.errors import SeemError

IMAGE_SUFFIXES = (
    ".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
)  # fmt: skip
RESULT_NAME = re.compile(
    r"(.+)\.(overlay|panoptic|mask-\d+)\.png"
)  # a result, if its JSON file is beside it


def images_in(folder: Path) -> list[Path]:
    """Return the images in a folder and below it, sorted by name; `SeemError` where there is none."""
    images = list(images_below(folder))
    if not images:
        raise SeemError(f"{folder} holds no photo ({' '.join(IMAGE_SUFFIXES)}).")
    return images


def images_below(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and below it, sorted by name; `OSError` for a folder that cannot be read."""

    def raise_error(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=raise_error):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if is_image(path):
                yield path


def is_image(path: Path) -> bool:
    """Tell an image by its name from other files, hidden files, and results of an earlier call."""
    if path.name.startswith(".") or path.suffix.lower() not in IMAGE_SUFFIXES or path.is_dir():
        return False
    result = RESULT_NAME.fullmatch(path.name)
    return result is None or not path.with_name(f"{result[1]}.json").exists()
