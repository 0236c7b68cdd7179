"""COCO files that clients send, to go on with their annotations."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from seem.annotation_formats.coco_ids import and_more
from seem.coco_format import UNLABELLED
from seem.data.readers.coco_category_ids import with_positive_category_ids
from seem.data.readers.coco_conventions import Conventions
from seem.data.readers.coco_rows import (
    CocoDocument,
    Row,
    image_file_name,
    is_crowd_row,
    parse_image_id,
    parse_rows,
    read_categories,
)
from seem.data.records import (
    CategoryRecord,
    FlawKind,
    ImageRecord,
    categories_by_id,
    image_record,
)
from seem.server.exports import MAX_ANNOTATIONS
from seem.server.workers import stop_if_cancelled

FILE = Path("The file")  # what messages call it


@dataclass(frozen=True, slots=True)
class ImportedObject:
    """An object of a COCO file: label (None for none), score, mask as a compressed code, and its area in pixels."""

    label: str | None
    score: float
    counts: str
    area: int


@dataclass(slots=True)
class CocoImport:
    """A COCO file, ready to be asked for the objects of a photo by its name. `notes` say what was left out."""

    image_rows: dict[str, list[Row]]
    annotation_rows: dict[str, list[Row]]
    categories: dict[int, CategoryRecord]
    conventions: Conventions
    notes: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, content: bytes) -> CocoImport:
        """Read the content of a file; `SeemError` if it is no COCO file."""
        (document,) = with_positive_category_ids([CocoDocument.parse(content, FILE)])
        categories, flaws = read_categories([document])
        image_rows: defaultdict[str, list[Row]] = defaultdict(list)
        for row in document.images:
            image_rows[image_file_name(row)].append(row)
        annotation_rows: defaultdict[str, list[Row]] = defaultdict(list)
        for number, row in enumerate(document.annotations):
            image_id = str(parse_image_id(row.get("image_id")))
            annotation_rows[image_id].append({**row, "id": number})
        return cls(
            image_rows=dict(image_rows),
            annotation_rows=dict(annotation_rows),
            categories=categories_by_id(categories),
            conventions=Conventions.of(document),
            notes=[str(flaw) for flaw in flaws],
        )

    @property
    def class_names(self) -> list[str]:
        """The names of all classes, in the order of the file."""
        names = [category.name for category in self.categories.values()]
        return [name for name in names if name != UNLABELLED]

    def match(self, names: Sequence[str]) -> dict[str, str]:
        """Return how the file calls those of the given photos that it lists.

        By the whole path, or else by its last part, if that is unique among the rest of the photos and of the file.
        """
        matches = {name: name for name in names if name in self.image_rows}
        unmatched = by_last_part(name for name in names if name not in matches)
        listed = by_last_part(name for name in self.image_rows if name not in matches)
        for last in unmatched.keys() & listed.keys():
            if len(unmatched[last]) == len(listed[last]) == 1:
                matches[unmatched[last][0]] = listed[last][0]
        return matches

    def objects_of_only(self, name: str, hw: tuple[int, int]) -> list[ImportedObject]:
        """Return the objects of a photo as `objects_of`; if the file lists one photo alone, it is it under any name."""
        listed = self.match([name]).get(name)
        if listed is None and len(self.image_rows) == 1:
            listed = next(iter(self.image_rows))
        if listed is None:
            raise ValueError(f"The file lists no photo {name}; {self._listed_photos()}.")
        return self.objects_of(listed, name, hw)

    def objects_of(self, listed: str, name: str, hw: tuple[int, int]) -> list[ImportedObject]:
        """Return the objects of a photo of height and width `hw` that the file calls `listed`.

        Raises `ValueError` if the file lists it in another size, or with too many objects.
        """
        objects = []
        for row in self.image_rows[listed]:
            check_row_size(row, name, hw)
            objects += self._objects_of_row(row, name, hw)
        if len(objects) > MAX_ANNOTATIONS:
            raise ValueError(
                f"{name} has {len(objects):,} objects in the file; {MAX_ANNOTATIONS:,} are the most."
            )
        return objects

    def _objects_of_row(self, row: Row, name: str, hw: tuple[int, int]) -> list[ImportedObject]:
        rows = self.annotation_rows.get(str(parse_image_id(row.get("id"))), [])
        image = image_record(1, "", Path(name), hw, "", "instances")
        rows = self.conventions.apply(rows, image)
        objects = []
        for one in rows:
            stop_if_cancelled()
            parsed = self._object_of_row(one, image)
            if parsed is not None:
                objects.append(parsed)
        return objects

    def _object_of_row(self, row: Row, image: ImageRecord) -> ImportedObject | None:
        """Read one annotation; None, with a note, for one that is no object."""
        where = f"{image.path.as_posix()}: an annotation is left out"
        if is_crowd_row(row):
            self.notes.append(f"{where}: it is a crowd.")
            return None
        parsed = parse_rows([row], image, self.categories)
        for flaw in parsed.flaws:
            if flaw.kind == FlawKind.WRONG_SIZE:
                raise ValueError(f"{image.path.as_posix()}: {flaw.what}; nothing is imported.")
            self.notes.append(f"{where}: {flaw.what}.")
        for one in parsed.objects:
            if one.area:
                label = None if one.category.name == UNLABELLED else one.category.name
                return ImportedObject(label, score_of(row), one.counts, one.area)
        return None

    def _listed_photos(self) -> str:
        if not self.image_rows:
            return "it lists none"
        first, *others = self.image_rows
        return f"it lists {and_more(first, len(others))}"


def by_last_part(names: Iterable[str]) -> dict[str, list[str]]:
    """Group paths by their last part."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[PurePosixPath(name).name].append(name)
    return dict(groups)


def check_row_size(row: Row, name: str, hw: tuple[int, int]) -> None:
    """Raise `ValueError` if a row says another size than that of the photo."""
    width, height = row.get("width"), row.get("height")
    if isinstance(width, int) and isinstance(height, int) and (height, width) != hw:
        raise ValueError(
            f"{name} is {hw[1]} x {hw[0]} pixels, in the file {width} x {height}; nothing is imported."
        )


def score_of(row: Row) -> float:
    """Return the score of an annotation, 1 where it has none."""
    score = row.get("score")
    if isinstance(score, (int, float)) and 0 <= score <= 1:
        return float(score)
    return 1.0


def summarized(notes: Sequence[str], limit: int = 20) -> list[str]:
    """Return different notes, at most `limit` of them, and how many more there were."""
    distinct = [
        note if count == 1 else f"{note} ({count} times)" for note, count in Counter(notes).items()
    ]
    if len(distinct) <= limit:
        return distinct
    return [*distinct[:limit], f"... and {len(distinct) - limit} more."]
