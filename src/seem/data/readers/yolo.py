"""YOLO segmentation folders: data.yaml, images, and a text file of polygons an image.

    data.yaml: path (optional), train, val, test (a folder, several, or a list of files), names (a list or number: name)
    classes.txt (a name a line), images/ and labels/: the same without a description, as Label Studio exports it
    .../images/.../a.jpg  <->  .../labels/.../a.txt        rows: class x y x y ..., corners as fractions of the image

Category ids are the file's class numbers plus one. An image without a text file has no object; in a set with
classes.txt alone nothing is known about it. A row of five numbers is a box; masks are needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import starmap
from pathlib import Path
from typing import Any

from seem.data.classes import prompt_name
from seem.data.coco_rle import polygons_to_rle
from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, ParsedObjects
from seem.data.image_files import first_file, list_images, only_path
from seem.data.label_map import numbered_object_id
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.polygons import check_polygon
from seem.data.readers.label_maps import pair_images
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    category_names,
    object_record,
)

_SPLITS = ("train", "val", "test")
_NAME_LIST = "classes.txt"
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
    categories = _parse_names(description["names"], file)
    by_number = {category.id - 1: category for category in categories}
    name = file.resolve().parent.name
    image_files = _find_image_files(description, file, split)
    if file.name == _NAME_LIST:
        pairs, unmatched = _pair_uploads(image_files, file.parent / "labels")
    else:
        pairs, unmatched = [(file, _label_file_of(file)) for file in image_files], []
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
        files=(file,),
    )


# --- Description ------------------------------------------------------------------------------------------------------


def _find_description(path: Path) -> Path | None:
    """Find the description: data.yaml, or the only YAML file of the folder."""
    if path.is_file():
        if path.suffix not in (".yaml", ".yml"):
            return None
        return path
    usual = first_file(path / "data.yaml", path / "data.yml", path / "dataset.yaml")
    if usual is not None:
        return usual
    return only_path([*path.glob("*.yaml"), *path.glob("*.yml")]) or _find_name_list(path)


def _find_name_list(path: Path) -> Path | None:
    """Find classes.txt of a set without a description, as Label Studio exports it: images/ and labels/ beside it."""
    names = path / _NAME_LIST
    has_labels = any((path / "labels").rglob("*.txt"))
    return names if names.is_file() and (path / "images").is_dir() and has_labels else None


def _read_description(file: Path) -> dict[str, Any]:
    """Read data.yaml, of which only plain values are built, or the names of classes.txt, one a line."""
    if file.name == _NAME_LIST:
        lines = file.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
        return {"names": [line.strip() for line in lines if line.strip()], ALL_SPLIT: "images"}
    try:
        import yaml
    except ImportError as error:
        raise DataError("YOLO folders need PyYAML; pip install pyyaml.") from error
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(
            f"{file} cannot be read as YAML ({' '.join(str(error).split())})."
        ) from error
    if not isinstance(content, dict) or "names" not in content:
        raise DataError(f"{file} tells no names; a YOLO description has names, train and val.")
    return content


def _parse_names(names: Any, file: Path) -> tuple[CategoryRecord, ...]:
    """Read the classes: a list of names, or names by number."""
    rows = dict(enumerate(names)) if isinstance(names, list) else names
    categories: list[CategoryRecord] = []
    if isinstance(rows, dict):
        with suppress(TypeError, ValueError):
            categories = list(starmap(_parse_name, rows.items()))
    if not categories:
        raise DataError(f"{file}: names is {names!r}; write a list, or number: name.")
    return tuple(categories)


def _parse_name(number: Any, name: Any) -> CategoryRecord:
    return CategoryRecord(int(number) + 1, str(name), prompt_name(str(name)), is_thing=True)


# --- Images -----------------------------------------------------------------------------------------------------------


def _find_image_files(description: Mapping[str, Any], file: Path, split: str) -> list[Path]:
    given = description.get(split)
    if not isinstance(given, list):
        given = [given]
    entries = list(map(str, given))
    image_files: list[Path] = []
    for entry in entries:
        candidates = _candidate_paths(entry, description, file)
        existing = next(filter(Path.exists, candidates), None)
        if existing is None:
            continue
        if existing.is_dir():
            image_files += list_images(existing, deep=True)
        else:
            image_files += _read_image_list(existing)
    if not image_files:
        raise incomplete_layout_error(
            "YOLO folder",
            file.parent,
            f"photos of {split!r} in {', '.join(entries)}, as {file.name} says",
            way_out="Correct the path in the YAML file; it counts from `path`, or from the file itself.",
        )
    return image_files


def _candidate_paths(entry: str, description: Mapping[str, Any], file: Path) -> list[Path]:
    """Return where images may be: as the file says, or, as many exports mean it, with "../" for "here"."""
    home = file.parent
    root = Path(str(description.get("path") or ""))
    here = Path(*(part for part in Path(entry).parts if part != ".."))
    return [
        root / entry,
        home / root / entry,
        home / entry,
        home / here,
        home / "images" / Path(entry).name,
    ]


def _read_image_list(file: Path) -> list[Path]:
    """Read a list of image files, one a line; relative ones count from the list."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [file.parent / line for line in lines if line]


def _label_file_of(image_file: Path) -> Path:
    """Return the text file of an image: the last folder called images becomes labels."""
    *folders, name = image_file.with_suffix(".txt").parts
    for index in reversed(range(len(folders))):
        if folders[index] == "images":
            folders[index] = "labels"
            break
    return Path(*folders, name)


def _pair_uploads(
    image_files: Sequence[Path], label_folder: Path
) -> tuple[list[tuple[Path, Path | None]], list[Flaw]]:
    """Pair images with text files, whose names may begin with eight letters of an upload; left over ones are flaws.

    An image without a text file gets none: nothing is known about it.
    """
    label_files = {file.stem: file for file in sorted(label_folder.rglob("*.txt"))}
    by_bare_name = {_UPLOAD_PREFIX.sub("", stem): file for stem, file in label_files.items()}
    pairs = [
        (file, label_files.get(file.stem) or by_bare_name.get(file.stem)) for file in image_files
    ]
    used = {label_file for _, label_file in pairs}
    left_over = [file for file in label_files.values() if file not in used]
    what = "there is no photo of that name"
    return pairs, [Flaw(FlawKind.UNKNOWN_IMAGE, file.name, what) for file in left_over]


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
    for number, line in enumerate(
        file.read_text(encoding="utf-8", errors="replace").splitlines(), 1
    ):
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
    if not class_word.isdecimal() or int(class_word) not in categories:
        message = f"its class is {class_word[:20]}, the names go from 0 to {max(categories)}"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    if len(numbers) == _NUMBERS_OF_BOX_ROW - 1:
        raise DataError(
            "it is a box (5 numbers); masks are needed, export polygons", FlawKind.NO_MASK
        )
    fractions = list(map(float, numbers))
    check_polygon(fractions)
    low, high = _CORNER_RANGE
    if min(fractions) < low or max(fractions) > high:
        message = f"a corner lies at {max(fractions, key=abs):g}; corners are shares from 0 to 1"
        raise DataError(message, FlawKind.OUT_OF_BOUNDS)
    return categories[int(class_word)], fractions


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
    if file is None:
        return ()
    description = _read_description(file)
    return sort_splits(filter(description.get, _SPLITS))


def _is_yolo(path: Path) -> bool:
    file = _find_description(path)
    if file is None or not file.is_file():
        return False
    if file.name == _NAME_LIST:
        return True
    text = file.read_text(encoding="utf-8", errors="replace")
    return "names" in text and ("train" in text or "val" in text)


YOLO = Layout(
    kind="yolo",
    title="YOLO segmentation folder",
    expects="data.yaml with names, train and val; photos in images/, polygons in labels/",
    fits=_is_yolo,
    splits=_splits,
    read=read_yolo,
)
