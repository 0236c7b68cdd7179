"""Label Studio: one JSON file of tasks (the full export, or JSON-MIN), and the photos beside it.

    project-1-at-2026-01-01.json  images/a.jpg       names may begin with the eight letters of an upload

Coordinates are percent of the image as shown; boxes turn clockwise about their upper left corner, ellipses about their
centre, both in pixels. Brush masks are run-length codes of four channels, of which the alpha counts. Of several
annotations of a photo the one marked as ground truth is read, else the first that was not skipped. Tasks that hold
predictions alone, as a model's results are written for import, are read as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from jaxtyping import Bool, UInt8

from seem.data.image_files import IMAGE_SUFFIXES
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.shape_sets import (
    ShapeImage,
    ShapeRow,
    UnreadCounts,
    find_part_folders,
    named_parts,
    open_shape_set,
    read_or_flaw,
)
from seem.data.readers.shapes import (
    MAX_BITMAP_PIXELS,
    Ellipse,
    FullBitmap,
    PolygonShape,
    Shape,
    decode_base64,
    decode_bitmap,
    rotated_outline,
)
from seem.data.readers.tool_files import (
    Fields,
    ImageIndex,
    has_text_file,
    list_text_files,
    read_json_file,
)
from seem.data.records import DataError, Flaw, FlawKind

_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_SIZE_KEYS = ("original_width", "original_height")
_KIND_OF_FIELD = {
    "rle": "brush", "imageDataURL": "bitmask", "points": "polygon", "vertices": "vector", "radiusX": "ellipse",
    "height": "rectangle", "x": "keypoint",
}  # fmt: skip
_CHANNELS = 4  # of a brush mask: red, green, blue, alpha
_NUM_LENGTHS = 4


@dataclass(frozen=True, slots=True)
class _Page:
    """What was annotated: an image by the name that was recorded, and the results that are about it."""

    recorded: str
    results: Sequence[Fields]


def read_label_studio(path: Path, split: str) -> LazyDataset:
    """Open one part of a Label Studio export."""
    parts = find_part_folders(path, is_label_studio)
    if split not in parts:
        raise incomplete_layout_error("Label Studio export", path, "a JSON file of tasks")
    folder = parts[split]
    files = [folder] if folder.is_file() else _task_files(folder)
    index = ImageIndex(folder)
    results: list[ShapeImage | Flaw] = []
    unread = UnreadCounts()
    for file in files:
        for number, task in enumerate(read_json_file(file), 1):
            where = f"{file.name}, task {_id_of(task, number)}"
            pages = read_or_flaw(where, _read_task, task, where, index, unread)
            results += [pages] if isinstance(pages, Flaw) else pages
    return open_shape_set(path, split, "labelstudio", results, unread=unread, files=files)


# --- Tasks ------------------------------------------------------------------------------------------------------------


def _read_task(
    task: Fields, where: str, index: ImageIndex, unread: UnreadCounts
) -> list[ShapeImage]:
    return [_read_page(page, where, index, unread) for page in _pages(task, unread)]


def _pages(task: Fields, unread: UnreadCounts) -> Iterator[_Page]:
    """Yield the annotated images of a task; one that nobody annotated, or that was skipped, has none."""
    if "data" not in task:
        yield _Page(_recorded_images(task)[0], list(_minimal_results(task)))
        return
    recorded = _recorded_images(task["data"]) or [str(task.get("file_upload") or "")]
    annotation = _annotation_of(task, unread)
    if annotation is None:
        unread.others["photos that were skipped or not annotated"] += len(recorded)
        unread.others["predictions for such photos"] += len(task.get("predictions") or ())
        return
    results = annotation["result"]
    for number, name in enumerate(recorded):
        own_results = [row for row in results if row.get("item_index", 0) == number]
        yield _Page(name, own_results)


def _annotation_of(task: Fields, unread: UnreadCounts) -> Fields | None:
    """Return the annotation of a task that counts: the ground truth, else the first that was not skipped."""
    all_annotations = task.get("annotations", task.get("completions"))
    if all_annotations is None:  # nobody has opened it yet: the results of a model
        all_annotations = task.get("predictions")
    usable = []
    for annotation in all_annotations or ():
        if not annotation.get("was_cancelled"):
            usable.append(annotation)
    unread.others["second annotations of one photo"] += len(usable[1:])
    usable.sort(key=lambda annotation: not annotation.get("ground_truth"))
    return next(iter(usable), None)


def _recorded_images(data: Fields) -> list[str]:
    """Return the addresses of the images of a task: a value that ends like an image, or several of them."""
    for value in (data.get("image"), *data.values()):
        addresses = value if isinstance(value, list) else [value]
        images = list(filter(_is_image_address, addresses))
        if images:
            return images
    raise DataError("its data names no photo", FlawKind.MISSING_IMAGE)


def _is_image_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return Path(recorded_image_name(value)).suffix.lower() in IMAGE_SUFFIXES


def _minimal_results(task: Fields) -> Iterator[Fields]:
    """Yield the results of a task of the minimal export in the form of the full one."""
    for rows in task.values():
        if not isinstance(rows, list):
            continue
        for row in rows:
            if isinstance(row, Mapping) and _has_size(row):
                yield {**row, "value": row}


def _id_of(task: Any, number: int) -> object:
    return task.get("id", number) if isinstance(task, Mapping) else number


# --- Results ----------------------------------------------------------------------------------------------------------


def _read_page(page: _Page, where: str, index: ImageIndex, unread: UnreadCounts) -> ShapeImage:
    rows: list[ShapeRow | Flaw] = []
    hw = None
    unread.others["relations between regions"] += _count_relations(page.results)
    for number, results in enumerate(_results_by_region(page.results), 1):
        problem = _describe_problem(results)
        if problem:
            region_where = f"{where}, region {number}"
            rows.append(Flaw(FlawKind.UNREADABLE_ROW, region_where, problem))
            continue
        kind, result = _find_geometry(results)
        if kind is None:
            unread.others["choices and texts of whole photos"] += 1
            continue
        height, width = result["original_height"], result["original_width"]
        hw = int(height), int(width)
        row_where = f"{where}, region {number} ({kind})"
        drawn = read_or_flaw(row_where, _draw, kind, result["value"], hw)
        if drawn is None:
            unread.shapes[kind] += 1
        elif isinstance(drawn, Flaw):
            rows.append(drawn)
        else:
            rows.append(ShapeRow(row_where, _read_label(results, unread), (drawn,)))
    return ShapeImage(_find_image(page.recorded, index), hw, tuple(rows))


def _results_by_region(results: Sequence[Fields]) -> list[list[Fields]]:
    """Group results by the region that they are about: its outline, its labels, its choices."""
    regions: dict[object, list[Fields]] = {}
    for number, result in enumerate(results):
        if result.get("type") != "relation":
            regions.setdefault(result.get("id", number), []).append(result)
    return list(regions.values())


def _describe_problem(results: Sequence[Fields]) -> str:
    """Say why a region cannot be read, by what its results lack; empty if it can."""
    if not all(isinstance(result.get("value"), Mapping) for result in results):
        return "it has no value"
    has_shape = any(_kind_of(result["value"]) for result in results)
    if has_shape and not any(map(_has_size, results)):
        return "it has no original_width and original_height"
    return ""


def _count_relations(results: Sequence[Fields]) -> int:
    return sum(result.get("type") == "relation" for result in results)


def _find_geometry(results: Sequence[Fields]) -> tuple[str | None, Fields]:
    """Return the kind of a region's shape and the result that holds it; None if it has no shape."""
    for result in results:
        kind = _kind_of(result["value"])
        if kind is not None and _has_size(result):
            return kind, result
    return None, {}


def _has_size(row: Fields) -> bool:
    return all(key in row for key in _SIZE_KEYS)


def _kind_of(value: Fields) -> str | None:
    """Tell a shape by its fields, which are the same with labels of its own and with a separate tag of labels."""
    for field, kind in _KIND_OF_FIELD.items():
        if field in value:
            is_open = kind == "polygon" and value.get("closed") is False
            return "polyline" if is_open else kind
    return None


def _draw(kind: str, value: Fields, hw: tuple[int, int]) -> Shape | None:
    """Return the shape of a region in pixels; None if it has no area."""
    x_scale, y_scale = hw[1] / 100, hw[0] / 100  # pixels in a percent
    degrees = value.get("rotation") or 0.0
    match kind:
        case "polygon":
            corners = np.multiply(value["points"], (x_scale, y_scale))
            return PolygonShape((corners.ravel().tolist(),))
        case "rectangle":
            x, y = value["x"] * x_scale, value["y"] * y_scale
            width, height = value["width"] * x_scale, value["height"] * y_scale
            return rotated_outline(x, y, width, height, degrees, (x, y))
        case "ellipse":
            x, y = value["x"] * x_scale, value["y"] * y_scale
            rx, ry = value["radiusX"] * x_scale, value["radiusY"] * y_scale
            return Ellipse(x, y, rx, ry, degrees)
        case "brush":
            return FullBitmap(lambda: _decode_brush(value["rle"], hw))
        case "bitmask":
            return FullBitmap(lambda: _decode_data_address(value["imageDataURL"]))
        case _:
            return None


def _read_label(results: Sequence[Fields], unread: UnreadCounts) -> str:
    """Return the first label of a region; empty if it has none. What else was said about it is counted."""
    labels: dict[str, None] = {}
    for result in results:
        for key, value in result["value"].items():
            if key.endswith("labels") and isinstance(value, list):
                labels.update(dict.fromkeys(map(str, value)))
            elif key in ("choices", "text", "rating", "number", "taxonomy"):
                unread.attributes[str(result.get("from_name", key))] += 1
    if len(labels) > 1:
        unread.others["second labels of one region"] += len(labels) - 1
    return next(iter(labels), "")


# --- Masks ------------------------------------------------------------------------------------------------------------


def decode_brush_code(code: bytes, num_values: int) -> UInt8[np.ndarray, " n"]:
    """Decode the run-length code of brush masks (the format of thi.ng/rle-pack), which must hold `num_values`.

    Big-endian bits: 32 of the number of values, 5 of the bits of a value less one, four times 4 of the bits of a length
    less one. Then blocks: one bit (repeat one value?), two for which of the four lengths, the length less one, values.

    Raises:
        ValueError: it holds another number of values, or is cut short.
    """
    bits = _BitReader(code)
    num_coded = bits.number(32)
    if num_coded != num_values:
        raise ValueError(f"its brush mask has {num_coded} values, the photo needs {num_values}")
    value_bits = bits.number(5) + 1
    length_bits = [bits.number(4) + 1 for _ in range(_NUM_LENGTHS)]
    values = np.zeros(num_values, np.uint8)
    start = 0
    while start < num_values:
        is_run = bits.number(1)
        length = bits.number(length_bits[bits.number(2)]) + 1
        end = min(start + length, num_values)
        if is_run:
            values[start:end] = bits.number(value_bits) & 255
        else:
            values[start:end] = bits.bytes(end - start, value_bits)
        start = end
    return values


class _BitReader:
    """Reads numbers of any length in bits; `ValueError` behind the last of them."""

    def __init__(self, code: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(code, np.uint8))
        self._position = 0

    def number(self, num_bits: int) -> int:
        """Read one number."""
        digits = self._take(num_bits)
        return int("".join(map(str, digits)), 2)

    def bytes(self, count: int, num_bits: int) -> UInt8[np.ndarray, " n"]:
        """Read several numbers of at most eight bits each."""
        digits = self._take(count * num_bits).reshape(count, num_bits)
        return np.packbits(digits, axis=1)[:, 0] >> max(8 - num_bits, 0)

    def _take(self, count: int) -> UInt8[np.ndarray, " n"]:
        end = self._position + count
        if end > len(self._bits):
            raise ValueError("its brush mask is cut short")
        digits = self._bits[self._position : end]
        self._position = end
        return digits


def _decode_brush(code: object, hw: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    height, width = hw
    if not isinstance(code, list) or height * width > MAX_BITMAP_PIXELS:
        raise ValueError("its brush mask is no list of numbers, or too large")
    values = decode_brush_code(bytes(code), height * width * _CHANNELS)
    return values.reshape(height, width, _CHANNELS)[:, :, 3] > 0


def _decode_data_address(address: str) -> Bool[np.ndarray, "h w"]:
    return decode_bitmap(decode_base64(address.partition(",")[2])) > 0


# --- Images -----------------------------------------------------------------------------------------------------------


def recorded_image_name(address: str) -> str:
    """Return the path of an image from its address: of an upload, a storage, a local file (`?d=`) or the web."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return local[-1] if local else unquote(parts.path)


def _find_image(address: str, index: ImageIndex) -> Path:
    name = recorded_image_name(address).lstrip("/")
    bare = _UPLOAD_PREFIX.sub("", Path(name).name)
    return index.find(name) or index.find(bare) or index.expected(name)


# --- Layout -----------------------------------------------------------------------------------------------------------


def is_label_studio(path: Path) -> bool:
    """Whether a path holds a JSON file of tasks, going by its text."""
    return has_text_file(path, ".json", _looks_like_tasks)


def _task_files(folder: Path) -> list[Path]:
    return list_text_files(folder, ".json", _looks_like_tasks)


def _looks_like_tasks(text: bytes) -> bool:
    is_list = text.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[")
    is_full = b'"data"' in text and (b'"annotations"' in text or b'"completions"' in text)
    return is_list and (is_full or b'"original_width"' in text)


LABEL_STUDIO = Layout(
    kind="labelstudio",
    title="Label Studio export",
    expects="a JSON export of tasks, and the photos beside it",
    fits=lambda path: bool(find_part_folders(path, is_label_studio)),
    splits=lambda path: sort_splits(named_parts(find_part_folders(path, is_label_studio))),
    read=read_label_studio,
)
