"""What writers of annotation files are handed: an image and its objects, in pixels of the image as shown."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from seem.coco_format import CocoCategory
from seem.errors import naming_file
from seem.mask_codec import PackedMask
from seem.part_files import new_part, remove_part

COPY_SUFFIX = ".png"  # of images that are not in a file


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object: its mask, the name of its class ("unlabelled" for none) and its score, 0-1.

    `id` is positive and unique in the image; in a video it is the object's in every frame.
    """

    id: int
    mask: PackedMask
    class_name: str
    score: float


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image of height and width `hw`, its objects, and the classes that were looked for (without id 0).

    `file_name` and `stem` are relative to the folder of the photos and unique in a run; a stem has its suffix where two
    files differ in nothing else. `file` is the image on disk, None where there is none; `draw` returns it as shown.
    `orientation` is the EXIF orientation that was undone, `model` the name of the model.
    """

    file_name: str
    stem: str
    hw: tuple[int, int]
    objects: Sequence[AnnotatedObject]
    classes: Sequence[CocoCategory]
    draw: Callable[[], Image.Image]
    file: Path | None = None
    orientation: int = 1
    model: str = ""

    @property
    def copy_name(self) -> str:
        """The name of a copy, which no other image of the run has, whatever its suffix."""
        if self.file is None:
            return f"{self.stem}{COPY_SUFFIX}"
        return f"{self.stem}{self.file.suffix}"

    def copy_to(self, folder: Path) -> Path:
        """Copy the file as it is below a folder, or write the image as a PNG where there is no file."""
        target = folder / self.copy_name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = new_part(target.parent)
        try:
            with naming_file(target):
                if self.file is None:
                    self.draw().save(part, format="PNG")
                else:
                    shutil.copyfile(self.file, part)
            part.replace(target)
        finally:
            remove_part(part)
        return target

    def path_seen_from(self, folder: Path) -> str:
        """Return the image file as a path relative to a folder, with slashes; its name where there is no file."""
        if self.file is None:
            return self.file_name
        try:
            return Path(os.path.relpath(self.file, folder)).as_posix()
        except ValueError:  # on another drive
            return self.file.absolute().as_posix()
