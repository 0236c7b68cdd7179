"""What every writer of a format has in common: its folder, its settings, and files written whole or not at all."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seem.annotation_formats.annotated_image import AnnotatedImage
from seem.annotation_formats.coco_ids import CocoIds
from seem.writing import text_writer, write_together

NO_LEFTOVERS = re.compile(r"(?!)")  # matches nothing


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """Where a data set goes, and how.

    `copies_images`: the images are copied into it. `ids` are those of COCO's files.
    """

    folder: Path
    ids: CocoIds
    overwrite: bool = False
    copies_images: bool = False

    def write_texts(self, subfolder: str, texts: Mapping[str, str]) -> tuple[Path, ...]:
        """Write text files (UTF-8) by their names into a sub-folder."""
        writers = {name: constant_writer(text) for name, text in texts.items()}
        return self.write(subfolder, writers)

    def write(
        self, subfolder: str, writers: Mapping[str, Callable[[Path], None]]
    ) -> tuple[Path, ...]:
        """Write files into a sub-folder, all or none; `FileExistsError` if one is there and may not be replaced."""
        return write_together(self.folder / subfolder, writers, self.overwrite, NO_LEFTOVERS)


def constant_writer(text: str) -> Callable[[Path], None]:
    """Return a writer of a text that is there."""
    return text_writer(lambda: text)


class DatasetWriter(Protocol):
    """Writes images and their objects in one format."""

    @property
    def notes(self) -> Sequence[str]:
        """What a reader of the files must know: what was left out, what the format cannot hold."""

    def add(self, image: AnnotatedImage) -> None:
        """Take the next image; files of its own are written at once."""

    def finish(self) -> tuple[Path, ...]:
        """Write the files about all images, and return their paths."""


def to_json(content: Any) -> str:
    """Return compact JSON text, names in their own letters."""
    return json.dumps(content, ensure_ascii=False)
