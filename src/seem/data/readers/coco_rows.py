"""Rows of COCO files: categories, images, annotations and panoptic segments, each checked by itself.

What is wrong with a row becomes a `Flaw` that names it; the other rows are read. What a row contradicts itself in
becomes a note: its mask counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from seem.data.classes import parse_category
from seem.data.coco_rle import RleMask, label_map_to_rles
from seem.data.dataset import AnnotatedPolygons, ParsedObjects
from seem.data.image_files import read_image_hw, read_panoptic_ids
from seem.data.label_map import LabelMap
from seem.data.polygons import is_polygon
from seem.data.readers.coco_masks import (
    Box,
    describe_area_conflict,
    describe_box_conflict,
    list_rings,
    parse_box,
    parse_mask,
)
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
from seem.data.text_files import parse_json, read_content
from seem.images import MAX_PIXELS

Row: TypeAlias = Mapping[str, Any]

_NAME_KEYS = ("file_name", "path", "filename")  # the first is COCO's
_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoDocument:
    """The three lists of a COCO file, its path, which messages name, and its licences, by which exporters are known."""

    file: Path
    images: Sequence[Row]
    annotations: Sequence[Row]
    categories: Sequence[Row]
    licences: Any = None
    _image_rows: dict[int, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> CocoDocument:
        """Read a file; `DataError` if it is no COCO file."""
        return cls.parse(read_content(file), file)

    @classmethod
    def parse(cls, text: str | bytes, file: Path) -> CocoDocument:
        """Read the content of a file, whose path messages name; `DataError` if it is no COCO file."""
        content = parse_json(text, file)
        _check_lists(content, file)
        images, annotations, categories = (content[key] for key in _LISTS)
        return cls(file, images, annotations, categories, content.get("licenses"))

    def image_ids(self) -> dict[str, int | str]:
        """Return the ids of the images, those that have a whole number or a text for an id, by their text."""
        ids = {}
        for row in self.images:
            image_id = parse_image_id(row.get("id"))
            if image_id is not None:
                ids[str(image_id)] = image_id
        return ids

    def image_row(self, image_id: int, record_ids: Mapping[Any, int]) -> Row:
        """Return the row of an image by its record's id."""
        if not self._image_rows:
            for row in self.images:
                own_id = parse_image_id(row.get("id"))
                if own_id in record_ids:
                    self._image_rows[record_ids[own_id]] = row
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
    for key in _NAME_KEYS:
        if isinstance(row.get(key), str):
            return str(row[key]).replace("\\", "/")  # written on Windows
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


@dataclass(frozen=True, slots=True)
class GroupedRows:
    """Annotations by the id of their image's record, each with an id of its own."""

    rows: dict[int, list[Row]]
    flaws: tuple[Flaw, ...]
    notes: tuple[Flaw, ...]


def group_rows(
    document: CocoDocument,
    record_ids: Mapping[Any, int],
    images: Sequence[ImageRecord],
) -> GroupedRows:
    """Group annotations by the id of their image's record; those of an image that is not listed are flaws.

    `record_ids` holds the id of each image's record by its id in the file. An annotation without an id of its own gets
    a number that no other one has; one that is listed twice, word for word, is left out the second time.
    """
    grouped: dict[int, list[Row]] = {image.id: [] for image in images}
    listed_ids = document.image_ids()
    numbering = _Numbering.of(document.annotations)
    flaws = []
    for number, row in enumerate(document.annotations):
        where = f"{document.file.name}, annotation {row.get('id', f'number {number}')}"
        image_id = listed_ids.get(str(parse_image_id(row.get("image_id"))))
        if image_id is None:
            what = f"image_id {row.get('image_id')!r} is not among the images"
            flaws.append(Flaw(FlawKind.UNKNOWN_IMAGE, where, what))
        elif image_id in record_ids:
            own_row = numbering.with_own_id(row, where)
            if own_row is not None:
                grouped[record_ids[image_id]].append(own_row)
    return GroupedRows(grouped, tuple(flaws), numbering.notes())


@dataclass(slots=True)
class _Numbering:
    """The ids of annotations: which are taken, which annotations needed a new one, which are repeated."""

    next_id: int
    rows: dict[int, Row] = field(default_factory=dict)
    renumbered: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, rows: Iterable[Row]) -> _Numbering:
        ids = [row["id"] for row in rows if _has_whole_id(row)]
        return cls(max([0, *ids]) + 1)

    def with_own_id(self, row: Row, where: str) -> Row | None:
        """Return a row with an id that no other one has; None for one that came before, word for word."""
        if _has_whole_id(row) and row["id"] not in self.rows:
            self.rows[row["id"]] = row
            return row
        if _has_whole_id(row) and self.rows[row["id"]] == row:
            self.repeated.append(where)
            return None
        self.renumbered.append(where)
        numbered = {**row, "id": self.next_id}
        self.next_id += 1
        return numbered

    def notes(self) -> tuple[Flaw, ...]:
        """Say how many annotations got a new id, and how many are left out."""
        notes = []
        if self.renumbered:
            what = f"no whole id, or that of another annotation; numbered from {self.next_id - len(self.renumbered)}"
            notes.append(Flaw(FlawKind.NEW_ID, count_and_first(self.renumbered), what))
        if self.repeated:
            what = "two annotations bear it, the same word for word; read once"
            notes.append(Flaw(FlawKind.DUPLICATE_ID, count_and_first(self.repeated), what))
        return tuple(notes)


def count_and_first(places: Sequence[str]) -> str:
    """Word where something is: the one place, or the number of places and the first of them."""
    if len(places) == 1:
        return places[0]
    return f"{len(places)} times, first {places[0]}"


def parse_image_id(value: Any) -> int | str | None:
    """Return the id of an image as a whole number or a text; None if it is neither."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) else None


def _has_whole_id(row: Row) -> bool:
    return isinstance(row.get("id"), int)


def parse_rows(
    rows: Iterable[Row], image: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> ParsedObjects:
    """Read the annotations of one image."""
    notes: list[Flaw] = []
    results = [_parse_or_flaw(row, image, categories, notes) for row in rows]
    parsed = ParsedObjects.collect(results)
    return ParsedObjects(parsed.objects, parsed.flaws, tuple(notes))


def _parse_or_flaw(
    row: Row, image: ImageRecord, categories: Mapping[int, CategoryRecord], notes: list[Flaw]
) -> ObjectRecord | Flaw:
    try:
        return _parse_row(row, image, categories, notes)
    except DataError as error:
        return Flaw(error.kind, _where(row, image), str(error))


def _parse_row(
    row: Row, image: ImageRecord, categories: Mapping[int, CategoryRecord], notes: list[Flaw]
) -> ObjectRecord:
    """Read one annotation; `DataError` says what is wrong with it."""
    category_id, track_id = row.get("category_id"), row.get("track_id")
    if not isinstance(category_id, int) or category_id not in categories:
        message = f"category_id {category_id!r} is not among the categories"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    mask = parse_mask(row.get("segmentation"), image.hw, row.get("area"))
    where = _where(row, image)
    if mask.lost_rings:
        notes.append(Flaw(FlawKind.LOST_RING, where, mask.lost_rings))
    if mask.inner_rings:
        notes.append(Flaw(FlawKind.INNER_RING, where, mask.inner_rings))
    area_conflict = describe_area_conflict(row.get("area"), mask.rle)
    if area_conflict:
        notes.append(Flaw(FlawKind.AREA_UNLIKE_MASK, where, area_conflict))
    return object_record(
        row["id"],
        image,
        categories[category_id],
        mask.rle,
        is_crowd=is_crowd_row(row),
        quality=str(row.get("quality", "")),
        phrases=tuple(texts_of(row.get("ref_phrases")) + texts_of(row.get("phrases"))),
        phrase_source=str(row.get("phrase_source", "")),
        track_id=track_id if isinstance(track_id, int) else None,
        box=_box_of_row(row, mask.rle, where, notes),
    )


def _box_of_row(row: Row, rle: RleMask, where: str, notes: list[Flaw]) -> Box:
    """Return the box of a row; its mask's where it has none, or one that is none or contradicts the mask."""
    try:
        box = parse_box(row.get("bbox"))
    except DataError as error:
        notes.append(Flaw(error.kind, where, f"{error}; its mask's is used"))
        return rle.box
    if box is None or rle.area == 0:
        return box or rle.box
    conflict = describe_box_conflict(box, rle)
    if not conflict:
        return box
    notes.append(Flaw(FlawKind.BOX_UNLIKE_MASK, where, conflict))
    return rle.box


def is_crowd_row(row: Row) -> bool:
    """Whether a row is marked as a crowd, by a number, a truth value or a text."""
    mark = str(row.get("iscrowd")).strip().lower()
    return mark in ("1", "1.0", "true", "yes")


def row_polygons(rows: Iterable[Row], image: ImageRecord) -> tuple[AnnotatedPolygons, ...]:
    """Return the polygons of an image's annotations, as far as they are well formed."""
    annotated = []
    for row in rows:
        segmentation = row.get("segmentation")
        if isinstance(segmentation, list):
            polygons = tuple(filter(is_polygon, _rings_or_none(segmentation)))
            annotated.append(AnnotatedPolygons(_where(row, image), polygons))
    return tuple(annotated)


def _rings_or_none(segmentation: list[Any]) -> list[Any]:
    try:
        return list_rings(segmentation)
    except ValueError:
        return []


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
            is_crowd = bool(row.get("iscrowd", 0))
            segments.append(SegmentRecord(row["id"], category, area, is_crowd))
    explained = {segment.id for segment in segments}
    for unexplained in rles.keys() - explained:
        ids[ids == unexplained] = 0
    void = ids == 0
    return LabelMap(ids, tuple(segments), void=void, is_partition=True, flaws=tuple(flaws))
