"""All parts of a divided data set as one: `--split all`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from seem.data.annotation_notes import note_repeated_files
from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, ParsedObjects
from seem.data.label_map import LabelMap
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.label_maps import remap_values
from seem.data.records import (
    CategoryRecord,
    Flaw,
    ImageRecord,
    ReferringExpression,
    categories_by_id,
)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where an image of the joined set is from: its part, its id there, and the joined classes by their ids there."""

    part: LazyDataset
    image_id: int
    categories: Mapping[int, CategoryRecord]

    def own_image(self, image: ImageRecord) -> ImageRecord:
        """Return an image of the joined set as its part knows it."""
        return replace(image, id=self.image_id)


def join_parts(parts: Sequence[LazyDataset]) -> LazyDataset:
    """Make one data set of the parts of a set.

    Images are numbered anew if two parts use the same id, and classes if they use an id for different classes: then
    classes of one name are one class.
    """
    class_tables = _join_categories([part.category_list for part in parts])
    origins: dict[int, _Origin] = {}
    images: list[ImageRecord] = []
    expressions: list[ReferringExpression] = []
    is_renumbered = _has_repeated_image_id(parts)
    for part, categories in zip(parts, class_tables, strict=True):
        new_ids = {}
        for image in part.images:
            new_id = image.id
            if is_renumbered:
                new_id = len(origins) + 1
            new_ids[image.id] = new_id
            origins[new_id] = _Origin(part, image.id, categories)
            images.append(replace(image, id=new_id))
        for expression in part.expressions:
            number = len(expressions) + 1
            image_id = new_ids[expression.image_id]
            expressions.append(replace(expression, id=number, image_id=image_id))

    def read_map(image: ImageRecord) -> LabelMap | None:
        origin = origins[image.id]
        labels = origin.part.read_map(origin.own_image(image))
        return None if labels is None else _with_classes(labels, origin.categories)

    def read_objects(image: ImageRecord) -> ParsedObjects:
        origin = origins[image.id]
        parsed = origin.part.parse_objects(origin.own_image(image))
        records = []
        for record in parsed.objects:
            category = origin.categories.get(record.category.id, record.category)
            records.append(replace(record, image_id=image.id, category=category))
        return replace(parsed, objects=tuple(records))

    def complete(image: ImageRecord) -> frozenset[str]:
        origin = origins[image.id]
        return origin.part.complete(origin.own_image(image))

    def read_polygons(image: ImageRecord) -> Sequence[AnnotatedPolygons]:
        origin = origins[image.id]
        return origin.part.read_polygons(origin.own_image(image))

    def read_file(image: ImageRecord) -> bytes:
        origin = origins[image.id]
        return origin.part.read_encoded(origin.own_image(image))

    categories_of_all: list[CategoryRecord] = []
    for table in class_tables:
        categories_of_all += table.values()
    flaws: list[Flaw] = []
    notes: list[Flaw] = []
    files: list[Path] = []
    searched: list[Path] = []
    for part in parts:
        flaws += part.flaws
        notes += part.notes
        files += part.files
        searched += part.searched
    notes += note_repeated_files(images)
    return replace(
        parts[0],
        split=ALL_SPLIT,
        category_list=_distinct(categories_of_all),
        images=tuple(images),
        read_map=read_map,
        read_objects=read_objects,
        complete=complete,
        read_polygons=read_polygons,
        expressions=tuple(expressions),
        flaws=tuple(flaws),
        notes=_distinct(notes),
        files=_distinct(files),
        searched=_distinct(searched),
        read_file=read_file,
    )


def _distinct(values: Iterable[Value]) -> tuple[Value, ...]:
    """Return values without those that come again."""
    return tuple(dict.fromkeys(values))


def _has_repeated_image_id(parts: Iterable[LazyDataset]) -> bool:
    ids = [image.id for part in parts for image in part.images]
    return len(set(ids)) < len(ids)


def _join_categories(
    lists: Sequence[Sequence[CategoryRecord]],
) -> list[dict[int, CategoryRecord]]:
    """Return for each part the joined classes by the ids that the part uses."""
    joined: dict[int, CategoryRecord] = {}
    for categories in lists:
        for category in categories:
            if joined.setdefault(category.id, category) != category:
                return _join_by_name(lists)
    return list(map(categories_by_id, lists))


def _join_by_name(lists: Sequence[Sequence[CategoryRecord]]) -> list[dict[int, CategoryRecord]]:
    """Join the classes of all parts by name and kind, numbered from 1; return them for each part by its own ids."""
    joined: dict[tuple[str, str, bool], CategoryRecord] = {}
    tables = []
    for categories in lists:
        table = {}
        for category in categories:
            key = category.name, category.text, category.is_thing
            numbered = replace(category, id=len(joined) + 1)
            table[category.id] = joined.setdefault(key, numbered)
        tables.append(table)
    return tables


def _with_classes(labels: LabelMap, categories: Mapping[int, CategoryRecord]) -> LabelMap:
    """Return a label map whose segments have the joined classes."""
    segments = tuple(
        replace(segment, category=categories.get(segment.category.id, segment.category))
        for segment in labels.segments
    )
    if segments == labels.segments:
        return labels
    semantic = labels.semantic
    if semantic is not None:
        new_ids = {old_id: category.id for old_id, category in categories.items()}
        semantic = remap_values(semantic, new_ids)
    return replace(labels, segments=segments, semantic=semantic)
