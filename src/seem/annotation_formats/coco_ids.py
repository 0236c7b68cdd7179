"""Ids of images and classes in COCO files: counted, or those of a file that results are scored against."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeAlias

from seem.annotation_formats.annotated_image import AnnotatedImage
from seem.annotation_formats.classes import ClassTable
from seem.coco_format import CocoCategory
from seem.errors import SeemError, UnusableFileError
from seem.images import FIRST_QUARTER_TURN
from seem.regular_file import read_regular_file

ImageRow: TypeAlias = "Mapping[str, Any]"


class CocoIds(Protocol):
    """Where a COCO file's ids come from."""

    def image_row(self, image: AnnotatedImage) -> ImageRow | None:
        """Return id, file_name, width and height of an image; None if it has no row here."""

    def category_id(self, class_name: str) -> int | None:
        """Return the id of a class; None if it has none here."""

    @property
    def categories(self) -> Sequence[Mapping[str, Any]]:
        """The rows of the classes."""

    @property
    def notes(self) -> list[str]:
        """What was left out, and why."""


class CountedIds:
    """Images are numbered from 1; classes keep the ids of the vocabulary, other names get the next free ones."""

    def __init__(self) -> None:
        self._num_images = 0
        self._classes = ClassTable()

    def image_row(self, image: AnnotatedImage) -> ImageRow:
        """Return a row with the next number."""
        self._num_images += 1
        self._classes.add_all(image.classes)
        height, width = image.hw
        return {
            "id": self._num_images,
            "file_name": image.file_name,
            "width": width,
            "height": height,
        }

    def category_id(self, class_name: str) -> int:
        """Return the id of a class, a new one for a new name."""
        return self._classes.named(class_name)["id"]

    @property
    def categories(self) -> list[CocoCategory]:
        """The classes so far."""
        return self._classes.categories

    @property
    def notes(self) -> list[str]:
        """Nothing is left out."""
        return []


@dataclass(slots=True)
class GivenIds:
    """Ids of a COCO file; images go by their file names (with folders, or else alone), classes by their names.

    Images and classes that the file does not have are left out of the results, as evaluation tools refuse them.
    """

    file: Path
    categories: list[dict[str, Any]]
    _rows: dict[str, ImageRow]
    _rows_by_name_alone: dict[str, ImageRow]
    _category_ids: dict[str, int]
    _unknown_images: list[str]
    _unknown_classes: Counter[str]

    @classmethod
    def read(cls, file: Path) -> GivenIds:
        """Read a file; `SeemError` if it cannot be read, `ValueError` if it has no images and categories."""
        try:
            content = json.loads(read_regular_file(file).decode("utf-8-sig"))
            rows = {
                str(row["file_name"]): row for row in content["images"] if row["id"] is not None
            }
            category_ids = {str(row["name"]): row["id"] for row in content["categories"]}
            categories = list(content["categories"])
        except SeemError:
            raise
        except OSError as error:
            raise SeemError(f"{file} cannot be read: {error.strerror or error}.") from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error)
            if isinstance(error, KeyError):
                reason += " is missing"
            raise UnusableFileError(
                f"{file} holds no ids ({reason}); give a COCO file with images (id, file_name) and categories "
                "(id, name)."
            ) from None
        return cls(
            file=file,
            categories=categories,
            _rows=rows,
            _rows_by_name_alone=_rows_by_unique_name(rows),
            _category_ids=category_ids,
            _unknown_images=[],
            _unknown_classes=Counter(),
        )

    def image_row(self, image: AnnotatedImage) -> ImageRow | None:
        """Look an image up; None if the file does not list it, or with another size."""
        row = self.row_of(image.file_name)
        if row is None:
            self._unknown_images.append(image.file_name)
        elif not self._has_size(row, image):
            size = f"{row['width']} x {row['height']} there"
            self._unknown_images.append(f"{image.file_name} ({size})")
            return None
        return row

    def row_of(self, file_name: str) -> ImageRow | None:
        """Return the row of a file name, or of the only image that has this name in any folder."""
        row = self._rows.get(file_name)
        if row is None:
            row = self._rows_by_name_alone.get(PurePosixPath(file_name).name)
        return row

    def category_id(self, class_name: str) -> int | None:
        """Look a class up, in its own spelling, or else in any case."""
        if class_name not in self._category_ids:
            spellings = {name.casefold(): id for name, id in self._category_ids.items()}
            number = spellings.get(class_name.casefold())
            if number is None:
                self._unknown_classes[class_name] += 1
            return number
        return self._category_ids[class_name]

    @property
    def notes(self) -> list[str]:
        """Which images and classes the file does not have."""
        notes = []
        if self._unknown_images:
            first = and_more(self._unknown_images[0], len(self._unknown_images) - 1)
            notes.append(f"{self.file} has no image {first}: left out of the COCO results.")
        for name, count in self._unknown_classes.most_common(1):
            first = and_more(repr(name), len(self._unknown_classes) - 1)
            notes.append(
                f"{self.file} has no class {first}: "
                f"{sum(self._unknown_classes.values())} objects left out of the COCO results, {count} of {name!r}."
            )
        return notes

    @staticmethod
    def _has_size(row: ImageRow, image: AnnotatedImage) -> bool:
        """Whether a row has the size of the image as shown, as stored, or none."""
        height, width = row.get("height"), row.get("width")
        if not height or not width or (height, width) == image.hw:
            return True
        return is_stored_frame(row, image)


def and_more(text: str, num_more: int) -> str:
    """Add "and 2 more" to a text if there are more."""
    if num_more:
        return f"{text} and {num_more} more"
    return text


def is_stored_frame(row: ImageRow, image: AnnotatedImage) -> bool:
    """Whether a row describes an image as stored, which EXIF turns by a quarter."""
    height, width = image.hw
    if image.orientation < FIRST_QUARTER_TURN or height == width:
        return False
    return row.get("height") == width and row.get("width") == height


def _rows_by_unique_name(rows: Mapping[str, ImageRow]) -> dict[str, ImageRow]:
    """Return the rows by file name without folders, those alone whose name is unique."""
    names = Counter(PurePosixPath(name).name for name in rows)
    by_name = {}
    for file_name, row in rows.items():
        name = PurePosixPath(file_name).name
        if names[name] == 1:
            by_name[name] = row
    return by_name
