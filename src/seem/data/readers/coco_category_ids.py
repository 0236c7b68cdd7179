"""Category ids of COCO files as tools write them: from 0, as floats, as texts, too large for a map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from seem.data.readers.coco_rows import CocoDocument, Row

_Id: TypeAlias = "int | str | None"

_MAX_ID = 2**31 - 1  # of a map of 32 bits; 0 is none of its classes
_ID_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


def with_positive_category_ids(documents: Sequence[CocoDocument]) -> list[CocoDocument]:
    """Return files in which categories have whole ids from 1 on, and annotations and segments refer to those.

    Ids that fit stay as they are. Those from 0 (or below) move up together; other ids become the number of their
    category. An annotation of an unknown category keeps its id as a text.
    """
    if all(map(_has_positive_ids, documents)):
        return list(documents)
    keys: list[int | str] = []
    for document in documents:
        for row in document.categories:
            key = _read_id(row.get("id"))
            if key is not None:
                keys.append(key)
    new_ids = _number_ids(keys)

    def translate(value: Any) -> Any:
        return new_ids.get(_read_id(value), str(value))

    return [_translated(document, translate) for document in documents]


def _has_positive_ids(document: CocoDocument) -> bool:
    ids = [row.get("id") for row in document.categories]
    ids += _referred_ids(document.annotations)
    return all(map(_is_positive_id, ids))


def _referred_ids(annotations: Iterable[Row]) -> Iterable[Any]:
    for row in annotations:
        if "category_id" in row:
            yield row["category_id"]
        for segment in _segments_of(row):
            yield segment.get("category_id")


def _segments_of(row: Row) -> list[Row]:
    """Return the segments of a panoptic annotation, as far as they are objects with fields."""
    segments = row.get("segments_info")
    if not isinstance(segments, list):
        return []
    return [segment for segment in segments if isinstance(segment, dict)]


def _is_positive_id(value: Any) -> bool:
    return type(value) is int and 0 < value <= _MAX_ID


def _read_id(value: Any) -> _Id:
    """Return an id as a whole number if it is one, also written 1.0 or "1"; None for what is no id."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    return None


def _number_ids(keys: Sequence[int | str]) -> dict[_Id, int]:
    """Return a positive id for every id: the same, moved up so that the lowest is 1, or its number."""
    new_ids: dict[_Id, int] = {}
    for key in keys:
        new_ids.setdefault(key, len(new_ids) + 1)
    numbers = [key for key in keys if isinstance(key, int)]
    if not numbers or len(numbers) < len(keys):
        return new_ids
    shift = max(0, 1 - min(numbers))
    if max(numbers) + shift > _MAX_ID:
        return new_ids
    for number in numbers:
        new_ids[number] = number + shift
    return new_ids


def _translated(document: CocoDocument, translate: Callable[[Any], Any]) -> CocoDocument:
    """Return a file in which all category ids are translated."""

    def with_id(row: Row) -> Row:
        return _with_id(row, translate)

    def with_category_ids(row: Row) -> Row:
        return _with_category_ids(row, translate)

    def with_id_lists(row: Row) -> Row:
        return _with_id_lists(row, translate)

    return replace(
        document,
        images=list(map(with_id_lists, document.images)),
        annotations=list(map(with_category_ids, document.annotations)),
        categories=list(map(with_id, document.categories)),
    )


def _with_id(row: Row, translate: Callable[[Any], Any]) -> Row:
    if _read_id(row.get("id")) is None:
        return row
    return {**row, "id": translate(row["id"])}


def _with_category_ids(row: Row, translate: Callable[[Any], Any]) -> Row:
    changed = dict(row)
    if "category_id" in row:
        changed["category_id"] = translate(row["category_id"])
    segments = _segments_of(row)
    if segments:
        changed["segments_info"] = [_with_category_ids(each, translate) for each in segments]
    return changed


def _with_id_lists(row: Row, translate: Callable[[Any], Any]) -> Mapping[str, Any]:
    changed = dict(row)
    for name in _ID_LISTS:
        if isinstance(row.get(name), list):
            changed[name] = list(map(translate, row[name]))
    return changed
