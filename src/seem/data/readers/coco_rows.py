"""Rows of COCO files: categories, images, annotations and panoptic segments, each checked by itself.

What is wrong with a row becomes a `Flaw` that names it; the other rows are read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from seem.data.classes import parse_category
from seem.data.coco_rle import RleMask, RleSizeError, label_map_to_rles, parse_rle, polygons_to_rle
from seem.data.dataset import AnnotatedPolygons, ParsedObjects
from seem.data.image_files import read_image_hw, read_panoptic_ids
from seem.data.label_map import LabelMap
from seem.data.polygons import is_polygon
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    SegmentRecord,
    object_record,
)
from seem.images import MAX_PIXELS

Row: TypeAlias = Mapping[str, Any]

_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoDocument:
    """The three lists of a COCO file, and its path, which messages name."""

    file: Path
    images: Sequence[Row]
    annotations: Sequence[Row]
    categories: Sequence[Row]
    _image_rows: dict[int, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> CocoDocument:
        """Read a file; `DataError` if it is no COCO file."""
        try:
            content = json.loads(file.read_bytes())
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{file} is not valid JSON ({error}); it may be cut short, copy it again."
            ) from error
        _check_lists(content, file)
        return cls(file, content["images"], content["annotations"], content["categories"])

    def image_ids(self) -> set[int | str]:
        """Return the ids of the images that have a whole number or a text for an id."""
        ids = set()
        for row in self.images:
            image_id = row.get("id")
            if isinstance(image_id, (int, str)):
                ids.add(image_id)
        return ids

    def image_row(self, image_id: int, record_ids: Mapping[Any, int]) -> Row:
        """Return the row of an image by its record's id."""
        if not self._image_rows:
            for row in self.images:
                if row.get("id") in record_ids:
                    self._image_rows[record_ids[row["id"]]] = row
        return self._image_rows[image_id]


def _check_lists(content: Any, file: Path) -> None:
    missing = list(_LISTS)
    if isinstance(content, dict):
        missing = [key for key in _LISTS if not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{file} has no {', '.join(missing)}; a COCO file holds these three lists.")
    for key in _LISTS:
        for number, row in enumerate(content[key]):
            if not isinstance(row, dict):
                raise DataError(f"{file}: row {number} of {key} is {row!r}, no object with fields.")


# --- Categories -------------------------------------------------------------------------------------------------------


def read_categories(
    documents: Sequence[CocoDocument],
) -> tuple[tuple[CategoryRecord, ...], list[Flaw]]:
    """Read the classes of files; where a later file says whether they are things or stuff, it is right."""
    categories: dict[int, CategoryRecord] = {}
    flaws = []
    for index, document in enumerate(documents):
        own_ids: set[int] = set()
        for number, row in enumerate(document.categories):
            category = _parse_category_row(row)
            if category is None:
                where = f"{document.file.name}, category {number}"
                flaws.append(Flaw(FlawKind.UNREADABLE_ROW, where, "it has no whole id or no name"))
            elif category.id in own_ids:
                where = f"{document.file.name}, category {category.id}"
                what = f"used by {categories[category.id].name!r} before"
                flaws.append(Flaw(FlawKind.DUPLICATE_ID, where, what))
            else:
                own_ids.add(category.id)
                if category.id not in categories or "isthing" in row or index == 0:
                    categories[category.id] = category
    return tuple(categories.values()), flaws


def _parse_category_row(row: Row) -> CategoryRecord | None:
    """Read a class; None if it has no whole id or no name."""
    if not isinstance(row.get("id"), int):
        return None
    try:
        return parse_category(dict(row))
    except (KeyError, TypeError, ValueError):
        return None


# --- Images -----------------------------------------------------------------------------------------------------------


def image_file_name(row: Row) -> str:
    """Return where an image is; LVIS gives the address that it was published at. Empty if the row says nothing."""
    if isinstance(row.get("file_name"), str):
        return str(row["file_name"]).replace("\\", "/")  # written on Windows
    address = row.get("coco_url")
    if not isinstance(address, str):
        return ""
    folder_and_name = address.split("/")[-2:]
    return "/".join(folder_and_name)


def image_row_hw(row: Row, path: Path) -> tuple[int, int]:
    """Return height and width as a row says, or else as the file's header says.

    Raises:
        DataError: the image is too large, or its row says no size and its file cannot be read.
    """
    height, width = row.get("height"), row.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        if height * width > MAX_PIXELS:
            message = (
                f"its row says {height} x {width} pixels, more than the limit of {MAX_PIXELS:,}"
            )
            raise DataError(message, FlawKind.WRONG_SIZE)
        return height, width
    if not path.is_file():
        raise DataError(f"{path} does not exist, and its row tells no size", FlawKind.MISSING_IMAGE)
    try:
        return read_image_hw(path)
    except DataError as error:
        raise DataError(str(error), FlawKind.UNREADABLE_IMAGE) from error


# --- Annotations ------------------------------------------------------------------------------------------------------


def group_rows(
    document: CocoDocument,
    record_ids: Mapping[Any, int],
    images: Sequence[ImageRecord],
) -> tuple[dict[int, list[Row]], list[Flaw]]:
    """Group annotations by the id of their image's record; ids that come twice and unlisted images are flaws.

    `record_ids` holds the id of each image's record by its id in the file.
    """
    grouped: dict[int, list[Row]] = {image.id: [] for image in images}
    listed_ids = document.image_ids()
    used_ids: set[int] = set()
    flaws = []
    for number, row in enumerate(document.annotations):
        where = f"{document.file.name}, annotation {row.get('id', f'number {number}')}"
        flaw = _flaw_of_row(row, where, listed_ids, used_ids)
        if flaw is not None:
            flaws.append(flaw)
        elif row["image_id"] in record_ids:
            used_ids.add(row["id"])
            grouped[record_ids[row["image_id"]]].append(row)
    return grouped, flaws


def _flaw_of_row(row: Row, where: str, listed_ids: set[Any], used_ids: set[int]) -> Flaw | None:
    """Return what is wrong with the ids of an annotation."""
    image_id, annotation_id = row.get("image_id"), row.get("id")
    if not isinstance(image_id, (int, str)) or image_id not in listed_ids:
        return Flaw(FlawKind.UNKNOWN_IMAGE, where, f"image_id {image_id!r} is not among the images")
    if not isinstance(annotation_id, int):
        return Flaw(FlawKind.UNREADABLE_ROW, where, "it has no id, or one that is no whole number")
    if annotation_id in used_ids:
        return Flaw(FlawKind.DUPLICATE_ID, where, "two annotations bear it, the second is left out")
    return None


def parse_rows(
    rows: Iterable[Row], image: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> ParsedObjects:
    """Read the annotations of one image."""
    return ParsedObjects.collect(_parse_or_flaw(row, image, categories) for row in rows)


def _parse_or_flaw(
    row: Row, image: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> ObjectRecord | Flaw:
    try:
        return _parse_row(row, image, categories)
    except DataError as error:
        return Flaw(error.kind, _where(row, image), str(error))


def _parse_row(
    row: Row, image: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> ObjectRecord:
    """Read one annotation; `DataError` says what is wrong with it."""
    category_id, track_id = row.get("category_id"), row.get("track_id")
    if not isinstance(category_id, int) or category_id not in categories:
        message = f"category_id {category_id!r} is not among the categories"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    rle = parse_mask(row.get("segmentation"), image.hw)
    return object_record(
        row["id"],
        image,
        categories[category_id],
        rle,
        is_crowd=bool(row.get("iscrowd", 0)),
        quality=str(row.get("quality", "")),
        phrases=(*texts_of(row.get("ref_phrases")), *texts_of(row.get("phrases"))),
        phrase_source=str(row.get("phrase_source", "")),
        track_id=track_id if isinstance(track_id, int) else None,
        box=parse_box(row.get("bbox"), rle),
    )


def parse_mask(segmentation: Any, hw: tuple[int, int]) -> RleMask:
    """Read polygons or a run-length code; `DataError` says what is wrong."""
    if not segmentation:
        raise DataError("it has a box at most; masks are needed", FlawKind.NO_MASK)
    try:
        if isinstance(segmentation, Mapping):
            return parse_rle(dict(segmentation), hw)
        if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
            raise ValueError("its segmentation is neither polygons nor a run-length code")
        return polygons_to_rle(segmentation, hw)
    except RleSizeError as error:
        raise DataError(str(error), FlawKind.WRONG_SIZE) from error
    except ValueError as error:
        raise DataError(str(error), FlawKind.UNREADABLE_ROW) from error


def parse_box(bbox: Any, rle: RleMask) -> tuple[float, float, float, float]:
    """Turn COCO's x, y, width, height to corners xyxy; without a box it is the mask's own."""
    if bbox is None:
        return rle.box
    try:
        x, y, w, h = map(float, bbox)
    except (TypeError, ValueError):
        raise DataError(
            f"its bbox is {bbox!r}, not x, y, width, height", FlawKind.BAD_BOX
        ) from None
    if not all(map(math.isfinite, (x, y, w, h))) or w < 0 or h < 0:
        raise DataError(f"its bbox is {bbox!r}", FlawKind.BAD_BOX)
    return (x, y, x + w, y + h)


def row_polygons(rows: Iterable[Row], image: ImageRecord) -> tuple[AnnotatedPolygons, ...]:
    """Return the polygons of an image's annotations, as far as they are well formed."""
    annotated = []
    for row in rows:
        segmentation = row.get("segmentation")
        if isinstance(segmentation, list):
            polygons = tuple(filter(is_polygon, segmentation))
            annotated.append(AnnotatedPolygons(_where(row, image), polygons))
    return tuple(annotated)


def texts_of(value: Any) -> list[str]:
    """Return a list of texts, empty for anything else."""
    if not isinstance(value, (list, tuple)):
        return []
    return list(map(str, value))


def _where(row: Row, image: ImageRecord) -> str:
    return f"annotation {row.get('id')} of photo {image.id}"


# --- Panoptic maps ----------------------------------------------------------------------------------------------------


def read_panoptic(
    file: Path,
    segments_info: Iterable[Row],
    image: ImageRecord,
    categories: Mapping[int, CategoryRecord],
) -> LabelMap:
    """Read one map of COCO's panoptic format; ids that no segment explains are void."""
    ids = read_panoptic_ids(file, image.hw, image.image_frame)
    rles = label_map_to_rles(ids)
    segments, flaws = [], []
    for row in segments_info:
        where = f"segment {row.get('id')} of photo {image.id}"
        category = categories.get(row.get("category_id", -1))
        if category is None:
            what = f"category_id {row.get('category_id')!r} is not among the categories"
            flaws.append(Flaw(FlawKind.UNKNOWN_CATEGORY, where, what))
        elif row["id"] not in rles:
            flaws.append(Flaw(FlawKind.EMPTY_MASK, where, f"{file.name} has no pixel of it"))
        else:
            area = rles[row["id"]].area
            segments.append(SegmentRecord(row["id"], category, area, bool(row.get("iscrowd", 0))))
    explained = {segment.id for segment in segments}
    for unexplained in rles.keys() - explained:
        ids[ids == unexplained] = 0
    return LabelMap(ids, tuple(segments), void=ids == 0, is_partition=True, flaws=tuple(flaws))
