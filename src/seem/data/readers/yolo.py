"""YOLO segmentation folders: data.yaml, images, and a text file of polygons an image.

    data.yaml: path (optional), train, val, test (a folder, several, or a list of files), names (a list or number: name)
    classes.txt (a name a line), images/ and labels/: the same without a description, as Label Studio exports it
    .../images/.../a.jpg  <->  .../labels/.../a.txt        rows: class x y x y ..., corners as fractions of the image

The frame is the image as shown, in which Ultralytics, supervision and Label Studio draw. Category ids are the file's
class numbers plus one. The text file of an image may lie beside it, too. An empty one says that the image shows
nothing; about an image without one nothing is known. A row of five numbers is a box; masks are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import Any

from seem.data.classes import prompt_name
from seem.data.coco_rle import polygons_to_rle
from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, ParsedObjects
from seem.data.image_files import first_file, list_images, only_path, relative_name
from seem.data.label_map import numbered_object_id
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.polygons import check_polygon
from seem.data.readers.label_maps import pair_images
from seem.data.readers.tool_files import list_files
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    category_names,
    object_record,
    unmatched_flaw,
)
from seem.data.text_files import TextFile

_SPLITS = ("train", "val", "test")
_NO_VALUES = ("", "null", "~", "None")
_USUAL_STEMS = ("data", "dataset")
_NAME_LIST = "classes.txt"
_POSE_KEY = "kpt_shape"
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of the names that Label Studio gives to uploads
_NUMBERS_OF_BOX_ROW = 5
_CORNER_RANGE = (-0.01, 1.01)  # fractions of the image, with some slack for rounding


def read_yolo(path: Path, split: str) -> LazyDataset:
    """Open one part of a YOLO folder."""
    file = _find_description(path)
    if file is None:
        raise incomplete_layout_error(
            "YOLO folder", path, "data.yaml, or classes.txt beside images/ and labels/"
        )
    description = _read_description(file)
    if _POSE_KEY in description.content:
        raise DataError(
            f"{file} describes poses ({_POSE_KEY}): its rows are boxes and keypoints; export polygons."
        )
    categories = _parse_names(description.content["names"], file)
    by_number = {}
    for category in categories:
        by_number[category.id - 1] = category
    name = file.resolve().parent.name
    image_files = _find_image_files(description, split)
    if file.name == _NAME_LIST:
        pairs, unmatched = _pair_uploads(image_files, file.parent / "labels")
    else:
        pairs = list(zip(image_files, map(_label_file_of, image_files), strict=True))
        unmatched = _unmatched_label_files(description, split, image_files)
    images, flaws = pair_images(pairs, name, split, "instances")
    names = category_names(categories)

    return LazyDataset(
        name=name,
        kind="yolo",
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_objects=lambda image: _read_objects(image, by_number),
        complete=lambda image: names if image.labelled else frozenset(),
        read_polygons=lambda image: _read_polygons(image, by_number),
        flaws=(*flaws, *unmatched),
        notes=(*description.text.notes(), *_missing_parts(description)),
        files=(file, *_list_files_of(description)),
        searched=(path,) if path.is_dir() else (),
    )


# --- Description ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Description:
    """What data.yaml says, all values as they are written there: texts, lists and mappings."""

    text: TextFile
    content: Mapping[str, Any]

    @property
    def file(self) -> Path:
        return self.text.file

    def entries(self, split: str) -> list[str]:
        """Return the folders and lists of a part."""
        given = self.content.get(split)
        if not isinstance(given, list):
            given = [given]
        return list(filter(_is_entry, given))

    def declared_parts(self) -> list[str]:
        """Return the parts that are named."""
        return list(filter(self.entries, _SPLITS))

    def is_undivided(self) -> bool:
        """Whether no part is named, and photos and labels lie beside the file."""
        home = self.file.parent
        has_folders = (home / "images").is_dir() and (home / "labels").is_dir()
        return has_folders and not self.declared_parts()


def _is_entry(value: Any) -> bool:
    """Whether a value of a description names a folder or a list."""
    return isinstance(value, str) and value not in _NO_VALUES


def _find_description(path: Path) -> Path | None:
    """Find the description: data.yaml, the only YAML file of the folder that is one, or classes.txt."""
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            return None
        return path
    usual = first_file(path / "data.yaml", path / "data.yml", path / "dataset.yaml")
    if usual is not None:
        return usual
    files = [*path.glob("*.yaml"), *path.glob("*.yml")]
    candidates = list(filter(_describes_photos, files))
    return only_path(candidates) or _find_name_list(path)


def _find_name_list(path: Path) -> Path | None:
    """Find classes.txt of a set without a description, as Label Studio exports it: images/ and labels/ beside it."""
    names = path / _NAME_LIST
    has_labels = bool(list_files(path / "labels", ".txt"))
    if names.is_file() and (path / "images").is_dir() and has_labels:
        return names
    return None


def _read_description(file: Path) -> _Description:
    """Read data.yaml, of which only plain values are built, or the names of classes.txt, one a line."""
    text = TextFile.read(file)
    if file.name == _NAME_LIST:
        numbered = {}
        for number, line in enumerate(text.lines()):
            if line:
                numbered[number] = line
        return _Description(text, {"names": numbered})
    content = _parse_yaml(text)
    if not isinstance(content, dict) or "names" not in content:
        raise DataError(f"{file} tells no names; a YOLO description has names, train and val.")
    return _Description(text, content)


def _parse_yaml(text: TextFile) -> Any:
    """Parse YAML with every value as it is written: yes, no, null and 1.0 are names like others."""
    try:
        import yaml
    except ImportError as error:
        raise DataError("YOLO folders need PyYAML; pip install pyyaml.") from error
    try:
        _check_keys(yaml.compose(text.text, yaml.BaseLoader))
        return yaml.load(text.text, yaml.BaseLoader)  # it builds texts, lists and mappings alone
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise DataError(f"{text.file} cannot be read as YAML ({problem}).") from error


def _check_keys(node: Any) -> None:
    """Raise `ValueError` for a mapping of a YAML document, two levels deep, that has a key twice."""
    if node is None or node.id != "mapping":
        return
    keys = set()
    for key, value in node.value:
        if key.id == "scalar" and key.value in keys:
            raise ValueError(f"the key {key.value} is there twice")
        keys.add(str(key.value))
        if key.value == "names":
            _check_keys(value)


def _parse_names(names: Any, file: Path) -> tuple[CategoryRecord, ...]:
    """Read the classes: a list of names, or names by number."""
    rows = dict(enumerate(names)) if isinstance(names, list) else names
    categories: list[CategoryRecord] = []
    if isinstance(rows, dict):
        with suppress(TypeError, ValueError):
            categories = list(starmap(_parse_name, rows.items()))
    if not categories:
        raise DataError(f"{file}: names is {names}; write a list, or number: name.")
    return tuple(categories)


def _parse_name(number: Any, name: Any) -> CategoryRecord:
    if not isinstance(name, str) or int(number) < 0:
        raise ValueError(f"class {number} is {name!r}")
    return CategoryRecord(int(number) + 1, name, prompt_name(name), is_thing=True)


# --- Images -----------------------------------------------------------------------------------------------------------


def _find_image_files(description: _Description, split: str) -> list[Path]:
    """Return the images of a part; `DataError` if there are none."""
    entries = description.entries(split)
    if split == ALL_SPLIT and not entries:
        entries = ["images"]
    image_files: list[Path] = []
    for entry in entries:
        existing = _find_entry(entry, description)
        if existing is None:
            continue
        if existing.is_dir():
            image_files += list_images(existing, deep=True)
        else:
            image_files += _read_image_list(existing)
    if not image_files:
        raise _no_photos_error(description, split, entries)
    return list(dict.fromkeys(image_files))


def _no_photos_error(description: _Description, split: str, entries: Sequence[str]) -> DataError:
    file = description.file
    if file.name == _NAME_LIST:
        way_out = "Put the photos there."
        return incomplete_layout_error(
            "YOLO folder", file.parent, "photos in images/", way_out=way_out
        )
    where = f" in {', '.join(entries)}" if entries else ""
    return incomplete_layout_error(
        "YOLO folder",
        file.parent,
        f"photos of {split!r}{where}, as {file.name} says",
        way_out="Correct the path in the YAML file; it counts from `path`, or from the file itself.",
    )


def _find_entry(entry: str, description: _Description) -> Path | None:
    """Return where images are: as the file says, or, as many exports mean it, with "../" for "here"."""
    home = description.file.parent
    given_root = str(description.content.get("path") or "")
    root = Path("" if given_root in _NO_VALUES else given_root)
    here = Path(*(part for part in Path(entry).parts if part != ".."))
    candidates = [
        root / entry,
        home / root / entry,
        home / entry,
        home / here,
        home / "images" / Path(entry).name,
    ]
    return next(filter(Path.exists, candidates), None)


def _has_photos(description: _Description, split: str) -> bool:
    """Whether something lies where a part should be."""
    return any(_find_entry(entry, description) for entry in description.entries(split))


def _list_files_of(description: _Description) -> list[Path]:
    """Return the lists of images that a description names."""
    files = []
    for split in description.declared_parts():
        for entry in description.entries(split):
            existing = _find_entry(entry, description)
            if existing is not None and existing.is_file():
                files.append(existing)
    return files


def _missing_parts(description: _Description) -> list[Flaw]:
    """Note the parts that are named and not there."""
    notes = []
    for split in description.declared_parts():
        if not _has_photos(description, split):
            entries = ", ".join(description.entries(split))
            what = f"{description.file.name} says {entries}, which does not exist"
            notes.append(Flaw(FlawKind.MISSING_PART, split, what))
    return notes


def _read_image_list(file: Path) -> list[Path]:
    """Read a list of image files, one a line; relative ones count from the list.

    Of a list that was written elsewhere as many folders are left out as it takes to find the images.
    """
    lines = filter(None, TextFile.read(file).lines())
    return [_find_listed_image(file.parent, line) for line in lines]


def _find_listed_image(home: Path, line: str) -> Path:
    expected = home / line.replace("\\", "/")
    if expected.is_file():
        return expected
    parts = [part for part in expected.relative_to(expected.anchor).parts if part != ".."]
    while parts:
        found = home.joinpath(*parts)
        if found.is_file():
            return found
        parts = parts[1:]
    return expected


def _label_file_of(image_file: Path) -> Path | None:
    """Return the text file of an image: in labels instead of the last folder called images, or beside the image."""
    beside = image_file.with_suffix(".txt")
    usual = _labels_folder(image_file.parent) / beside.name
    return first_file(usual, usual.with_suffix(".TXT"), beside, beside.with_suffix(".TXT"))


def _labels_folder(folder: Path) -> Path:
    """Return the folder of text files of a folder of images: the last folder called images becomes labels."""
    parts = list(folder.parts)
    for index in reversed(range(len(parts))):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts)


def _unmatched_label_files(
    description: _Description, split: str, image_files: Sequence[Path]
) -> list[Flaw]:
    """Report text files of a part's folders that belong to no image there."""
    folders = {file.parent for file in image_files}
    for entry in description.entries(split):
        existing = _find_entry(entry, description)
        if existing is not None and existing.is_dir():
            folders.add(existing)
    used: set[Path | None] = set()
    label_files: set[Path] = set()
    for folder in folders:
        used.update(map(_label_file_of, list_images(folder, deep=True)))
        for searched in {folder, _labels_folder(folder)}:
            label_files.update(list_files(searched, ".txt"))
    unmatched = sorted(filter(_may_hold_rows, label_files - used))
    home = description.file.parent
    return [unmatched_flaw(relative_name(file, home)) for file in unmatched]


def _may_hold_rows(file: Path) -> bool:
    """Whether a text file is no list of names or photos, and no text for people."""
    stem = file.stem.lower()
    is_list = stem in (*_SPLITS, "classes", "labels", "notes")
    return not is_list and not stem.startswith(("readme", "license", "."))


def _pair_uploads(
    image_files: Sequence[Path], label_folder: Path
) -> tuple[list[tuple[Path, Path | None]], list[Flaw]]:
    """Pair images with text files, whose names may begin with eight letters of an upload; left over ones are flaws.

    An image without a text file gets none: nothing is known about it.
    """
    label_files = {file.stem: file for file in list_files(label_folder, ".txt")}
    by_bare_name = {_UPLOAD_PREFIX.sub("", stem): file for stem, file in label_files.items()}
    pairs = []
    left_over = set(label_files.values())
    for image_file in image_files:
        stem = image_file.stem
        label_file = label_files.get(stem) or by_bare_name.get(stem)
        pairs.append((image_file, label_file))
        left_over.discard(label_file)
    return pairs, [unmatched_flaw(file.name) for file in sorted(left_over)]


# --- Objects ----------------------------------------------------------------------------------------------------------


def _read_objects(image: ImageRecord, categories: Mapping[int, CategoryRecord]) -> ParsedObjects:
    """Read the text file of an image; without one there is nothing on it."""
    parsed = []
    for number, where, line in _rows_of(image):
        if line.strip():
            parsed.append(_read_object(number, where, line, image, categories))
    return ParsedObjects.collect(parsed)


def _read_object(
    number: int,
    where: str,
    line: str,
    image: ImageRecord,
    categories: Mapping[int, CategoryRecord],
) -> ObjectRecord | Flaw:
    try:
        category, fractions = _parse_row(line, categories)
        rle = polygons_to_rle([_to_pixels(fractions, image.hw)], image.hw)
    except DataError as error:
        return Flaw(error.kind, where, str(error))
    except ValueError as error:
        return Flaw(FlawKind.UNREADABLE_ROW, where, str(error))
    return object_record(numbered_object_id(image, number), image, category, rle)


def _read_polygons(
    image: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> tuple[AnnotatedPolygons, ...]:
    """Return the polygons of an image's text file, as far as they can be read."""
    annotated = []
    for _, where, line in _rows_of(image):
        with suppress(ValueError, IndexError):
            _, fractions = _parse_row(line, categories)
            annotated.append(AnnotatedPolygons(where, (_to_pixels(fractions, image.hw),)))
    return tuple(annotated)


def _rows_of(image: ImageRecord) -> Iterator[tuple[int, str, str]]:
    """Yield number (from 1), place and text of every row of an image's text file."""
    file = image.semantic_path
    if file is None or not file.is_file():
        return
    for number, line in enumerate(TextFile.read(file).text.splitlines(), 1):
        yield number, f"{file.name}, line {number}", line


def _parse_row(
    line: str, categories: Mapping[int, CategoryRecord]
) -> tuple[CategoryRecord, list[float]]:
    """Read the class and the corners, as fractions of the image, of an object.

    Raises:
        DataError: the class is unknown, the row is a box, or a corner lies outside of the image.
        ValueError: the corners are no polygon.
    """
    class_word, *numbers = line.split()
    class_number = _parse_class_number(class_word)
    if class_number not in categories:
        message = f"its class is {class_word[:20]}, the names go from {min(categories)} to {max(categories)}"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    if len(numbers) == _NUMBERS_OF_BOX_ROW - 1:
        raise DataError(
            "it is a box (5 numbers); masks are needed, export polygons", FlawKind.NO_MASK
        )
    fractions = list(map(float, numbers))
    if len(fractions) % 2 and len(fractions) > _NUMBERS_OF_BOX_ROW:
        raise ValueError(
            f"its {len(fractions)} numbers are no pairs; a score behind the corners must go"
        )
    check_polygon(fractions)
    low, high = _CORNER_RANGE
    for value in fractions:
        if not low <= value <= high:
            message = f"a corner lies at {value:g}; corners are shares from 0 to 1"
            raise DataError(message, FlawKind.OUT_OF_BOUNDS)
    return categories[class_number], fractions


def _parse_class_number(word: str) -> int:
    """Read a class number, which numpy writes as 0.0; -1 for what is none."""
    try:
        number = float(word)
    except ValueError:
        return -1
    return int(number) if number.is_integer() else -1


def _to_pixels(fractions: Sequence[float], hw: tuple[int, int]) -> list[float]:
    """Turn corners x, y, x, y, ... from fractions of the image to pixels."""
    height, width = hw
    pixels = []
    for x, y in zip(fractions[::2], fractions[1::2], strict=True):
        pixels += [x * width, y * height]
    return pixels


# --- Layout -----------------------------------------------------------------------------------------------------------


def _splits(path: Path) -> tuple[str, ...]:
    file = _find_description(path)
    if file is None or file.name == _NAME_LIST:
        return ()
    description = _read_description(file)
    declared = description.declared_parts()
    present = [split for split in declared if _has_photos(description, split)]
    return sort_splits(present or declared)


def _is_yolo(path: Path) -> bool:
    """Whether a path is described by classes.txt beside labels/, or by a YAML file with names and where photos are."""
    file = _find_description(path)
    if file is None or not file.is_file():
        return False
    return file.name == _NAME_LIST or _describes_photos(file)


def _describes_photos(file: Path) -> bool:
    """Whether a YAML file names classes and parts; one of another name than data.yaml only if the parts are there."""
    try:
        description = _read_description(file)
        _parse_names(description.content["names"], file)
    except DataError:
        return file.stem in _USUAL_STEMS and (file.parent / "labels").is_dir()
    declared = description.declared_parts()
    if file.stem in _USUAL_STEMS and declared:
        return True
    return description.is_undivided() or any(_has_photos(description, split) for split in declared)


YOLO = Layout(
    kind="yolo",
    title="YOLO segmentation folder",
    expects="data.yaml with names, train and val; photos in images/, polygons in labels/",
    fits=_is_yolo,
    splits=_splits,
    read=read_yolo,
)
