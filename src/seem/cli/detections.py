"""Boxes of a detector, read from a file in COCO's format: boxes by image, with classes and scores.

A file is an object with images, annotations and categories, or the bare list of results that evaluation tools take. A
list names its images by `file_name`, or by an `image_id` that is the number or the stem of the file's name (COCO,
Ultralytics), or by the ids of another file (`--ids-from`). A row that cannot be used is left out, with a note.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.errors import SeemError, UnusableFileError
from seem.prompts import Box
from seem.regular_file import read_regular_file

LAYOUT = (
    "images with id and file_name, annotations with image_id, bbox (x, y, width, height) and category_id, and "
    "categories"
)
MAX_CLASS_ID = 2**31  # ids above are numbered anew


@dataclass(frozen=True, slots=True)
class ImageDetections:
    """The boxes of one image, in the columns that `segment_boxes` reads: xyxy, class ids from 0, scores 0-1."""

    xyxy: NDArray[np.float64]
    class_id: NDArray[np.int64] | None
    confidence: NDArray[np.float64] | None
    data: Mapping[str, list[str]]
    tracker_id: None = field(default=None)


@dataclass(frozen=True, slots=True)
class DetectionRow:
    """One row that can be used; `number` is its index in the file, `category_id` and `score` None if no row has one."""

    number: int
    box: Box
    category_id: Any
    score: float | None


@dataclass(frozen=True, slots=True)
class UnusedRow:
    """A row that cannot be used, and why (a sentence)."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"row {self.number} is left out: {self.reason}"


@dataclass(frozen=True, slots=True)
class ClassNumbers:
    """The classes of a file: the class id of each category id, counted from 0, and its name."""

    class_ids: Mapping[Any, int]
    names: Mapping[Any, str]
    note: str = ""

    @classmethod
    def of(cls, used: Iterable[Any], names: Mapping[Any, str], path: Path) -> ClassNumbers:
        """Return class ids for the categories of a file: its ids less 1 where these are whole numbers from 1 on."""
        ids = list(dict.fromkeys([*names, *used]))
        named = {number: names.get(number, f"class {number}") for number in ids}
        if not all(map(_is_class_id, ids)):
            note = f"{path}: category ids are no whole numbers from 1 on; they are numbered in their order."
            return cls(dict(zip(ids, range(len(ids)), strict=True)), named, note)
        if 0 in ids:
            note = f"{path}: category ids count from 0, those of the results are one higher."
            return cls(dict(zip(ids, ids, strict=True)), named, note)
        return cls({number: number - 1 for number in ids}, named)


@dataclass(frozen=True, slots=True)
class DetectionFile:
    """The rows of a file by image, and what was left out.

    `rows` has the images by name without folders; in a list without names by their ids as text. `left_out` are the
    rows of each image that cannot be used, `notes` say what is no image's.
    """

    path: Path
    rows: Mapping[str, Sequence[DetectionRow]]
    left_out: Mapping[str, Sequence[UnusedRow]]
    classes: ClassNumbers | None
    notes: tuple[str, ...]
    has_names: bool

    def boxes_in(
        self, image_name: str, image_hw: tuple[int, int]
    ) -> tuple[ImageDetections, tuple[str, ...]]:
        """Return the boxes of an image, and notes on rows that were left out.

        Raises `UnusableFileError` for an image that the file does not have, and where it has rows but none can be used.
        """
        key = self._key_of(image_name)
        unused = list(self.left_out.get(key, ()))
        rows = []
        for row in self.rows[key]:
            reason = _reason_outside(row.box, image_hw)
            if reason is None:
                rows.append(row)
            else:
                unused.append(UnusedRow(row.number, reason))
        if unused and not rows:
            first = unused[0]
            raise UnusableFileError(
                f"None of its boxes in {self.path} can be used, row {first.number}: {first.reason}"
            )
        return self._columns(rows), tuple(f"{self.path.name}, {row}" for row in unused)

    def _key_of(self, image_name: str) -> str:
        candidates = [image_name]
        if not self.has_names:
            candidates += _ids_in_name(image_name)
        for candidate in candidates:
            if candidate in self.rows:
                return candidate
        names = sorted(self.rows)
        listed = ", ".join(names[:3]) or "no photo"
        if len(names) > 3:
            listed += ", ..."
        if not self.has_names:
            listed += "; --ids-from FILE says which photo an image_id is"
        raise UnusableFileError(f"--boxes has no boxes for {image_name}; it has {listed}.")

    def _columns(self, rows: Sequence[DetectionRow]) -> ImageDetections:
        corners, scores, class_ids, names = [], [], [], []
        for row in rows:
            corners.append((row.box.x0, row.box.y0, row.box.x1, row.box.y1))
            if row.score is not None:
                scores.append(row.score)
            if self.classes is not None:
                class_ids.append(self.classes.class_ids[row.category_id])
                names.append(self.classes.names[row.category_id])
        xyxy = np.array(corners, dtype=np.float64).reshape(-1, 4)
        confidence = class_id = None
        if scores:
            confidence = np.array(scores, dtype=np.float64)
        if self.classes is None:
            return ImageDetections(xyxy, class_id, confidence, data={})
        class_id = np.array(class_ids, dtype=np.int64)
        return ImageDetections(xyxy, class_id, confidence, data={"class_name": names})


def _ids_in_name(image_name: str) -> list[str]:
    """Return what a list of results may call an image: the stem of its file, and the number that this is."""
    stem = PurePath(image_name).stem
    if stem.isdecimal():
        return [stem, str(int(stem))]
    return [stem]


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_detections(path: Path, ids_from: Path | None = None) -> DetectionFile:
    """Read a file of boxes; `ids_from` is a COCO file whose images and categories a list of results refers to.

    Raises `SeemError` for a file that cannot be read, `UnusableFileError` for another layout and where no row can be
    used.
    """
    rows = content = read_json(path)
    if isinstance(content, dict):
        rows = content.get("annotations")
    if not isinstance(rows, list):
        raise layout_error(path, "annotations is missing")
    listing, file_of_listing = content, path
    is_bare = rows is content
    if ids_from is not None and (is_bare or "images" not in content):
        listing, file_of_listing = read_json(ids_from), ids_from
    elif is_bare and rows:
        return _RowReader(path, None, {}, rows).read()
    elif is_bare:
        raise UnusableFileError(
            f"{path} is an empty list, without a box and without a photo's name."
        )
    image_names = _read_image_names(listing, file_of_listing)
    return _RowReader(path, image_names, _read_class_names(listing), rows).read()


def layout_error(path: Path, reason: str) -> UnusableFileError:
    """Make the error of a file that is laid out otherwise."""
    return UnusableFileError(
        f"{path} is not laid out as COCO's detections are ({reason}); it needs {LAYOUT}."
    )


def read_json(path: Path) -> Any:
    """Read the JSON file of a detector."""
    try:
        return json.loads(read_regular_file(path))  # in UTF-8, UTF-16 or UTF-32, which bytes tell
    except SeemError:
        raise
    except OSError as error:
        raise SeemError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise UnusableFileError(
            f"{path} is no JSON file ({error}); --boxes takes detections in COCO's format."
        ) from None


def _read_image_names(source: Any, path: Path) -> dict[Any, str]:
    """Return the names of images without folders by id."""
    try:
        names = {row["id"]: PurePath(row["file_name"]).name for row in source["images"]}
    except (KeyError, TypeError) as error:
        reason = str(error)
        if isinstance(error, KeyError):
            reason += " is missing"
        raise layout_error(path, reason) from None
    used_names: set[str] = set()
    for name in names.values():
        if name in used_names:
            raise UnusableFileError(
                f"{path} has several photos called {name}; give every photo a name of its own."
            )
        used_names.add(name)
    return names


def _read_class_names(source: Any) -> dict[Any, str]:
    """Return the names of categories by id, as far as they can be read."""
    names: dict[Any, str] = {}
    categories = source.get("categories")
    if not isinstance(categories, list):
        return names
    for row in categories:
        if isinstance(row, dict) and "name" in row:
            number = _plain_id(row.get("id"))
            if number is not None:
                names[number] = str(row["name"])
    return names


@dataclass(slots=True)
class _RowReader:
    """Reads the rows of one file."""

    path: Path
    image_names: Mapping[Any, str] | None
    class_names: Mapping[Any, str]
    given: Sequence[Any]
    left_out: dict[str, list[UnusedRow]] = field(default_factory=dict)
    without_image: list[UnusedRow] = field(default_factory=list)

    def read(self) -> DetectionFile:
        """Read the rows that can be used, and word the others."""
        rows: dict[str, list[DetectionRow]] = {}
        for name in (self.image_names or {}).values():
            rows[name] = []
        has_classes = self._has_any("category_id")
        has_scores = self._has_any("score")
        for number, given in enumerate(self.given):
            key = None
            try:
                key = self._image_key(given)
                row = _parse_row(number, given, has_classes=has_classes, has_scores=has_scores)
                rows.setdefault(key, []).append(row)
            except ValueError as error:
                unused = UnusedRow(number, str(error))
                if key is None:
                    self.without_image.append(unused)
                else:
                    rows.setdefault(key, [])
                    self.left_out.setdefault(key, []).append(unused)
        return self._to_file(rows, has_classes)

    def _has_any(self, key: str) -> bool:
        """Whether a row has a value under a key."""
        return any(isinstance(row, dict) and row.get(key) is not None for row in self.given)

    def _to_file(self, rows: dict[str, list[DetectionRow]], has_classes: bool) -> DetectionFile:
        if self.given and not any(rows.values()):
            first = min([*self.without_image, *chain(*self.left_out.values())], key=_row_number)
            raise layout_error(self.path, f"row {first.number}: {first.reason.rstrip('.')}")
        notes = []
        if self.without_image:
            note = f"{self.path}, {str(self.without_image[0]).rstrip('.')}"
            num_more = len(self.without_image) - 1
            if num_more:
                note += f"; so are {num_more} more"
            notes.append(f"{note}.")
        classes = None
        if has_classes:
            used = [row.category_id for row in chain.from_iterable(rows.values())]
            classes = ClassNumbers.of(used, self.class_names, self.path)
            if classes.note:
                notes.append(classes.note)
            notes += self._notes_on_names(used)
        return DetectionFile(
            path=self.path,
            rows=rows,
            left_out=self.left_out,
            classes=classes,
            notes=tuple(notes),
            has_names=self.image_names is not None,
        )

    def _image_key(self, given: Any) -> str:
        """Return the name of a row's image, or its id as text where nothing names it."""
        if not isinstance(given, dict):
            raise ValueError(f"it is {str(given)[:40]!r}, no object with fields.")
        if self.image_names is not None:
            image_id = given.get("image_id")
            if not isinstance(image_id, (int, str)) or image_id not in self.image_names:
                raise ValueError(f"image_id {image_id!r} is not among images.")
            return self.image_names[image_id]
        if isinstance(given.get("file_name"), str):
            return PurePath(given["file_name"]).name
        if "image_id" not in given:
            raise ValueError("image_id is missing.")
        return str(given["image_id"])

    def _notes_on_names(self, used: Sequence[Any]) -> list[str]:
        """Say which categories the file does not name, if it names any."""
        unknown = sorted({str(number) for number in used if number not in self.class_names})
        if not self.class_names or not unknown:
            return []
        return [
            f"{self.path}: category_id {unknown[0]} is not among categories; it is called 'class {unknown[0]}'."
        ]


def _reason_outside(box: Box, image_hw: tuple[int, int]) -> str | None:
    """Return what is wrong with a box that lies outside of the image."""
    try:
        box.check_inside(image_hw)
    except ValueError as error:
        return str(error)
    return None


def _row_number(row: UnusedRow) -> int:
    return row.number


def _parse_row(number: int, given: Any, *, has_classes: bool, has_scores: bool) -> DetectionRow:
    """Read a row; `ValueError` says why it cannot be used."""
    category_id, score = None, None
    if has_classes:
        category_id = _plain_id(given.get("category_id"))
        if category_id is None:
            raise ValueError(
                f"its category_id is {given.get('category_id')!r}, and other rows have one."
            )
    if has_scores:
        score = given.get("score")
        if score is None:
            raise ValueError("it has no score, and other rows have one.")
        if not _is_number(score) or not 0 <= score <= 1:
            raise ValueError(f"its score is {score!r}; it must be between 0 and 1.")
    return DetectionRow(number, _parse_box(given.get("bbox")), category_id, score)


def _parse_box(bbox: Any) -> Box:
    if bbox is None:
        raise ValueError("'bbox' is missing.")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        raise ValueError(f"its bbox is {str(bbox)[:60]}, not x, y, width, height.")
    x, y, width, height = bbox
    return Box(x, y, x + width, y + height)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain_id(value: Any) -> int | str | None:
    """Return an id as a whole number or a text; None if it is neither."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) and not isinstance(value, bool) else None


def _is_class_id(value: Any) -> bool:
    return isinstance(value, int) and 0 <= value < MAX_CLASS_ID
