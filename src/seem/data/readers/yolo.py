"""YOLO segmentation folders: data.yaml, photos, and a text file of polygons a photo.

    data.yaml: path (optional), train, val, test (a folder, several, or a list of files), names (a list or number: name)
    .../images/.../a.jpg  <->  .../labels/.../a.txt        rows: class x y x y x y ..., corners as shares of the photo

Category ids are the file's class numbers plus one. A photo without a text file has no object. A row of five numbers is
a box; masks are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seem.data import coco_rle
from seem.data.classes import said
from seem.data.dataset import AnnotatedPolygons, LazyDataset, ParsedObjects, object_record
from seem.data.image_files import photos_in
from seem.data.layout import Layout, in_order, refuse
from seem.data.readers.label_maps import pair_photos
from seem.data.records import CategoryRecord, DataError, Flaw, FlawKind, ImageRecord

PARTS = ("train", "val", "test")
NUMBERS_OF_A_BOX = 5


def yaml_file(path: Path) -> Path | None:
    """Find the description: data.yaml, or the only YAML file of the folder that tells names and photos."""
    if path.is_file():
        return path if path.suffix in (".yaml", ".yml") else None
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (path / name).is_file():
            return path / name
    files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
    return files[0] if len(files) == 1 else None


def read_description(file: Path) -> dict[str, Any]:
    """Read data.yaml; only plain values are built."""
    try:
        import yaml
    except ImportError as error:
        raise DataError("YOLO folders need PyYAML; pip install pyyaml.") from error
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError(f"{file} cannot be read as YAML ({' '.join(str(error).split())}).") from error
    if not isinstance(content, dict) or "names" not in content:
        raise DataError(f"{file} tells no names; a YOLO description has names, train and val.")
    return content


def read_yolo(path: Path, split: str) -> LazyDataset:
    """Open one part of a YOLO folder."""
    file = yaml_file(path)
    if file is None:
        raise refuse("YOLO folder", path, "data.yaml")
    description = read_description(file)
    categories = _categories(description["names"], file)
    by_number = {category.id - 1: category for category in categories}
    files = _photo_files(description, file, split)
    name = file.resolve().parent.name
    photos, flaws = pair_photos(((each, _labels_of(each)) for each in files), name, split, "instances")
    names = frozenset(category.text for category in categories)

    def read_objects(photo: ImageRecord) -> ParsedObjects:
        assert photo.semantic_path is not None
        return read_rows(photo.semantic_path, photo, by_number)

    return LazyDataset(
        name=name,
        kind="yolo",
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_objects=read_objects,
        complete=lambda _: names,
        read_outlines=lambda photo: row_outlines(photo, by_number),
        flaws=flaws,
        files=(file,),
    )


def read_rows(file: Path, photo: ImageRecord, categories: dict[int, CategoryRecord]) -> ParsedObjects:
    """Read the text file of a photo; without one there is nothing on it."""
    if not file.is_file():
        return ParsedObjects(())
    objects, flaws = [], []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            category, ring = _row(line, categories)
            coded = coco_rle.polygons_to_rle([_in_pixels(ring, photo.hw)], photo.hw)
        except DataError as error:
            flaws.append(Flaw(error.kind, f"{file.name}, line {number}", str(error)))
        except ValueError as error:
            flaws.append(Flaw(FlawKind.UNREADABLE_ROW, f"{file.name}, line {number}", str(error)))
        else:
            objects.append(object_record(photo.id * 10_000 + number, photo, category, coded))
    return ParsedObjects(tuple(objects), tuple(flaws))


def row_outlines(photo: ImageRecord, categories: dict[int, CategoryRecord]) -> tuple[AnnotatedPolygons, ...]:
    """Return the polygons of a photo's text file, as far as they can be read."""
    file = photo.semantic_path
    if file is None or not file.is_file():
        return ()
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        with suppress(ValueError, IndexError):
            found.append(
                AnnotatedPolygons(f"{file.name}, line {number}", (_in_pixels(_row(line, categories)[1], photo.hw),))
            )
    return tuple(found)


def _row(line: str, categories: dict[int, CategoryRecord]) -> tuple[CategoryRecord, list[float]]:
    words = line.split()
    if not words[0].isdecimal() or int(words[0]) not in categories:
        message = f"its class is {words[0][:20]}, the names go from 0 to {max(categories)}"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    if len(words) == NUMBERS_OF_A_BOX:
        raise DataError("it is a box (5 numbers); masks are needed, export polygons", FlawKind.NO_MASK)
    ring = [float(word) for word in words[1:]]
    coco_rle.check_polygon(ring)
    if min(ring) < -0.01 or max(ring) > 1.01:
        raise DataError(f"a corner lies at {max(ring, key=abs):g}; corners are shares from 0 to 1", FlawKind.OUTSIDE)
    return categories[int(words[0])], ring


def _in_pixels(ring: Sequence[float], hw: tuple[int, int]) -> list[float]:
    return [share * hw[1 - place % 2] for place, share in enumerate(ring)]


def _categories(names: Any, file: Path) -> tuple[CategoryRecord, ...]:
    rows = names.items() if isinstance(names, dict) else enumerate(names) if isinstance(names, list) else ()
    try:
        found = tuple(CategoryRecord(int(number) + 1, str(name), said(str(name)), True) for number, name in rows)
    except (TypeError, ValueError):
        found = ()
    if not found:
        raise DataError(f"{file}: names is {names!r}; write a list, or number: name.")
    return found


def _photo_files(description: dict[str, Any], file: Path, split: str) -> list[Path]:
    told = description.get(split)
    found: list[Path] = []
    tried: list[str] = []
    for entry in told if isinstance(told, list) else [told]:
        places = [place for place in _places(str(entry), description, file) if place.exists()]
        tried.append(str(entry))
        if places and places[0].is_dir():
            found += photos_in(places[0], deep=True)
        elif places:
            lines = places[0].read_text(encoding="utf-8").splitlines()
            found += [
                place if (place := Path(line)).is_absolute() else places[0].parent / line for line in lines if line
            ]
    if not found:
        raise refuse(
            "YOLO folder", file.parent, f"photos of {split!r} in {', '.join(tried)}, as {file.name} says",
            way_out="Correct the path in the YAML file; it counts from `path`, or from the file itself.",
        )  # fmt: skip
    return found


def _places(entry: str, description: dict[str, Any], file: Path) -> list[Path]:
    """Return where photos may be: as the file says, or, as many exports mean it, with "../" for "here"."""
    home = file.parent
    root = Path(str(description.get("path") or ""))
    here = Path(*[part for part in Path(entry).parts if part != ".."] or ["."])
    return [root / entry, home / root / entry, home / entry, home / here, home / "images" / Path(entry).name]


def _labels_of(photo: Path) -> Path:
    """Return the text file of a photo: the last folder called images becomes labels."""
    parts = list(photo.with_suffix(".txt").parts)
    places = [place for place, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts)


def _splits(path: Path) -> tuple[str, ...]:
    file = yaml_file(path)
    told = read_description(file) if file else {}
    return in_order({part for part in PARTS if told.get(part)})


def _is_yolo(path: Path) -> bool:
    file = yaml_file(path)
    if file is None or not file.is_file():
        return False
    text = file.read_text(encoding="utf-8", errors="replace")
    return "names" in text and ("train" in text or "val" in text)


YOLO = Layout(
    "yolo",
    "YOLO segmentation folder",
    "data.yaml with names, train and val; photos in images/, polygons in labels/",
    _is_yolo,
    _splits,
    read_yolo,
)
