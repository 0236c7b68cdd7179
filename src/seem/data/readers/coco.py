"""COCO: instances, panoptic maps and captions in the 2017 layout, or one JSON file beside its images; LVIS.

    annotations/{instances,panoptic,captions}_<split><year>.json    annotations/panoptic_<split><year>/*.png
    <split><year>/*.jpg    (or images/<split><year>, images/<split>, <split>, images)

    annotations.json + images/                 (any name; of several JSON files each is a part)
    train/_annotations.coco.json + images      (valid/, test/: exports of labelling services)

    annotations/lvis_v1_<split>.json + train2017/, val2017/, or the JSON files beside the image folders

Objects are the rows of the instances file and, where there is a panoptic map, its stuff; without instances all of its
segments. Their ids are COCO's; stuff gets numbers above a billion. Image ids that are no numbers become their number in
the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product, starmap
from pathlib import Path
from typing import Any

from seem.data.annotation_notes import note_repeated_files
from seem.data.dataset import ALL_SPLIT, ParsedObjects
from seem.data.image_files import path_inside
from seem.data.label_map import LabelMap, segment_records
from seem.data.layout import Layout, incomplete_layout_error, sort_splits
from seem.data.lazy_dataset import LazyDataset
from seem.data.readers.coco_category_ids import with_positive_category_ids
from seem.data.readers.coco_conventions import Conventions, restore_things
from seem.data.readers.coco_files import (
    CocoFiles,
    find_coco_parts,
    find_lvis_parts,
    is_pack,
    looks_like_coco,
)
from seem.data.readers.coco_rows import (
    CocoDocument,
    GroupedRows,
    Row,
    group_rows,
    image_file_name,
    image_row_hw,
    parse_image_id,
    parse_rows,
    read_categories,
    read_panoptic,
    row_polygons,
    texts_of,
)
from seem.data.readers.tool_files import read_json_file
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    categories_by_id,
    category_names,
    image_record,
    things_of,
)

FIRST_STUFF_ID = 1_000_000_000

_MAX_TRIED_IMAGES = 20  # images that are looked for to find out where all of them are


# --- Reading ----------------------------------------------------------------------------------------------------------


def read_coco(path: Path, split: str) -> LazyDataset:
    """Open one part of a COCO set."""
    parts = find_coco_parts(path)
    if split not in parts:
        raise incomplete_layout_error(
            "COCO set",
            path,
            "annotations/instances_<split>.json, or one JSON file and images/",
            way_out="Give the folder that holds them, or the JSON file itself.",
        )
    return _read_part(parts[split], path, split, "coco")


def read_lvis(path: Path, split: str) -> LazyDataset:
    """Open one part of an LVIS set: like COCO, and each image says which classes were looked for in it."""
    parts = find_lvis_parts(path)
    if split not in parts:
        raise incomplete_layout_error(
            "LVIS set", path, "lvis_v1_<split>.json here or in annotations/"
        )
    return _read_part(parts[split], path, split, "lvis")


def _read_part(files: CocoFiles, path: Path, split: str, kind: str) -> LazyDataset:
    documents = [CocoDocument.read(files.instances or files.panoptic or path)]
    if files.panoptic:
        documents.append(CocoDocument.read(files.panoptic))
    documents = with_positive_category_ids(documents)
    main = documents[0]
    panoptic = None
    if files.panoptic:
        panoptic = documents[-1]
    name = path.stem if path.is_file() else path.resolve().name
    categories, flaws = read_categories(documents)
    categories, notes = restore_things(categories, main if files.instances else None)
    images, record_ids, image_flaws, image_notes = _read_images(main, files, name, split, panoptic)
    notes += image_notes
    grouped = GroupedRows({}, (), ())
    conventions = Conventions(crowds_are_objects=False, has_fractions=False, notes=())
    if files.instances:
        grouped = group_rows(main, record_ids, images)
        conventions = Conventions.of(main)
    by_id = categories_by_id(categories)
    read_map = _panoptic_reader(panoptic, record_ids, by_id)
    all_names = category_names(categories)
    thing_names = category_names(things_of(categories))

    def rows_of(image: ImageRecord) -> list[Row]:
        return conventions.apply(grouped.rows.get(image.id, ()), image)

    def read_objects(image: ImageRecord) -> ParsedObjects:
        parsed = parse_rows(rows_of(image), image, by_id)
        labels = read_map(image)
        if labels is None:
            return parsed
        segments = segment_records(labels, image)
        if files.instances:
            segments = _stuff_records(segments, image)
        return ParsedObjects(parsed.objects + segments, parsed.flaws + labels.flaws, parsed.notes)

    def complete(image: ImageRecord) -> frozenset[str]:
        if kind == "lvis":
            image_row = main.image_row(image.id, record_ids)
            return _lvis_complete_names(image_row, rows_of(image), by_id)
        return all_names if image.labelled == "panoptic" else thing_names

    return LazyDataset(
        name=name,
        kind=kind,
        split=split,
        path=path,
        category_list=categories,
        images=images,
        read_map=read_map,
        read_objects=read_objects,
        complete=complete,
        read_polygons=lambda image: row_polygons(rows_of(image), image),
        flaws=(*flaws, *image_flaws, *grouped.flaws),
        notes=(*notes, *grouped.notes, *conventions.notes),
        files=files.all,
        searched=(path,) if path.is_dir() and kind == "coco" else (),
    )


def _read_images(
    document: CocoDocument,
    files: CocoFiles,
    set_name: str,
    split: str,
    panoptic: CocoDocument | None,
) -> tuple[tuple[ImageRecord, ...], dict[Any, int], list[Flaw], list[Flaw]]:
    """Read the images, the id of each image's record by its id in the file, what is wrong with them, and notes."""
    captions = _read_captions(files.captions)
    finder = _image_finder(document, files)
    panoptic_rows = _rows_by_image_id(panoptic)
    has_integer_ids = all(map(_has_integer_id, document.images))
    record_ids: dict[Any, int] = {}
    rows_by_id = _group_image_rows(document)
    images = []
    flaws, notes = _check_image_rows(document, rows_by_id)
    for number, row in enumerate(document.images):
        where = f"{document.file.name}, photo {row.get('id', f'number {number}')}"
        image_id = parse_image_id(row.get("id"))
        if image_id is None or not image_file_name(row):
            flaws.append(Flaw(FlawKind.UNREADABLE_ROW, where, "it has no id or no file_name"))
            continue
        if image_id in record_ids or _has_other_file(rows_by_id[image_id]):
            continue
        try:
            path = finder.checked_path(image_file_name(row), _root_of(document))
            hw = image_row_hw(row, path)
            panoptic_path = None
            if files.panoptic and image_id in panoptic_rows:
                panoptic_name = panoptic_rows[image_id]["file_name"]
                panoptic_path = path_inside(files.panoptic.with_suffix(""), panoptic_name)
        except DataError as error:
            flaws.append(Flaw(error.kind, where, str(error)))
            continue
        record_ids[image_id] = int(image_id) if has_integer_ids else number + 1
        image = image_record(
            record_ids[image_id],
            set_name,
            path,
            hw,
            split,
            labelled="panoptic" if panoptic_path else "instances",
            captions=[*captions.get(image_id, ()), *texts_of(row.get("captions"))],
            panoptic_path=panoptic_path,
        )
        images.append(image)
    return tuple(images), record_ids, flaws, [*notes, *note_repeated_files(images)]


def _group_image_rows(document: CocoDocument) -> dict[int | str, list[Row]]:
    """Group the rows of images by their id; rows without one are left out."""
    grouped: dict[int | str, list[Row]] = {}
    for row in document.images:
        image_id = parse_image_id(row.get("id"))
        if image_id is not None:
            grouped.setdefault(image_id, []).append(row)
    return grouped


def _has_other_file(rows: Sequence[Row]) -> bool:
    """Whether rows with one id are of several files, so that nobody knows whose the annotations are."""
    return len(set(map(image_file_name, rows))) > 1


def _check_image_rows(
    document: CocoDocument, rows_by_id: Mapping[int | str, Sequence[Row]]
) -> tuple[list[Flaw], list[Flaw]]:
    """Return what is wrong with ids that several photos bear, and notes about photos that are merely repeated."""
    flaws, notes = [], []
    for image_id, rows in rows_by_id.items():
        where = f"{document.file.name}, photo {image_id}"
        if _has_other_file(rows):
            names = ", ".join(map(image_file_name, rows[:3]))
            what = f"{len(rows)} photos bear it ({names}), so whose its annotations are is unknown: all are left out"
            flaws.append(Flaw(FlawKind.DUPLICATE_ID, where, what))
        elif len(rows) > 1:
            what = f"{len(rows)} photos bear it, all of them {image_file_name(rows[0])}; read once"
            notes.append(Flaw(FlawKind.DUPLICATE_ID, where, what))
    return flaws, notes


def _image_finder(document: CocoDocument, files: CocoFiles) -> _ImageFinder:
    """Find out where the images are by looking for the first of them, with the folders in their names and without."""
    file_names = map(image_file_name, document.images[:_MAX_TRIED_IMAGES])
    tried_names = list(filter(None, file_names))
    finders = starmap(_ImageFinder, product(files.folders, (False, True)))
    return max(finders, key=lambda finder: finder.count_existing(tried_names))


@dataclass(frozen=True, slots=True)
class _ImageFinder:
    """A folder of images; `is_flat`: without the sub-folders in their names."""

    folder: Path
    is_flat: bool

    def path(self, file_name: str) -> Path:
        if self.is_flat:
            file_name = Path(file_name).name
        return self.folder / file_name

    def checked_path(self, file_name: str, root: Path) -> Path:
        """Return the path of an image; `DataError` for one outside of the folder and of the set."""
        return path_inside(self.folder, Path(file_name).name if self.is_flat else file_name, root)

    def count_existing(self, file_names: Iterable[str]) -> int:
        return sum(self.path(name).is_file() for name in file_names)


def _root_of(document: CocoDocument) -> Path:
    """Return the folder of the set that an annotation file belongs to."""
    folder = document.file.parent
    return folder.parent if folder.name == "annotations" else folder


def _read_captions(file: Path | None) -> Mapping[Any, Sequence[str]]:
    """Read the captions by image id."""
    if file is None:
        return {}
    captions: dict[Any, list[str]] = {}
    try:
        for row in read_json_file(file)["annotations"]:
            caption = " ".join(str(row["caption"]).split())
            captions.setdefault(row["image_id"], []).append(caption)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} holds no captions that can be read ({error!r}); copy it again."
        ) from error
    return captions


def _has_integer_id(row: Row) -> bool:
    return isinstance(parse_image_id(row.get("id")), int)


def _rows_by_image_id(panoptic: CocoDocument | None) -> Mapping[Any, Row]:
    """Return the panoptic annotation of each image by its id in the file."""
    if panoptic is None:
        return {}
    return {row["image_id"]: row for row in panoptic.annotations if "image_id" in row}


def _panoptic_reader(
    panoptic: CocoDocument | None,
    record_ids: Mapping[Any, int],
    categories: Mapping[int, CategoryRecord],
) -> Callable[[ImageRecord], LabelMap | None]:
    """Return what reads the panoptic map of an image; it returns None where there is none."""
    if panoptic is None:
        return lambda _: None
    folder = panoptic.file.with_suffix("")
    rows = {}
    for row in panoptic.annotations:
        image_id = row.get("image_id")
        if image_id in record_ids:
            rows[record_ids[image_id]] = row

    def read(image: ImageRecord) -> LabelMap | None:
        row = rows.get(image.id)
        if row is None:
            return None
        return read_panoptic(folder / row["file_name"], row["segments_info"], image, categories)

    return read


def _stuff_records(
    segments: Sequence[ObjectRecord], image: ImageRecord
) -> tuple[ObjectRecord, ...]:
    """Return the stuff among panoptic segments, with ids that no instance has."""
    first_id = FIRST_STUFF_ID + image.id * 1000
    stuff = []
    for segment in segments:
        if not segment.category.is_thing:
            stuff.append(replace(segment, id=first_id + segment.id % 10_000))
    return tuple(stuff)


def _lvis_complete_names(
    image_row: Row,
    rows: Sequence[Row],
    categories: Mapping[int, CategoryRecord],
) -> frozenset[str]:
    """Return the classes that LVIS marks completely on an image, and those that it knows to be absent."""
    present = {row.get("category_id") for row in rows}
    incomplete = set(image_row.get("not_exhaustive_category_ids", ()))
    absent = set(image_row.get("neg_category_ids", ()))
    complete = (present - incomplete) | absent
    return category_names(categories[number] for number in categories.keys() & complete)


def _is_coco(path: Path) -> bool:
    if path.is_file():
        return (
            path.suffix.lower() == ".json"
            and not path.name.startswith("lvis")
            and looks_like_coco(path)
        )
    is_other_format = is_pack(path) or bool(find_lvis_parts(path)) or any(path.glob("refs(*).p"))
    return not is_other_format and bool(find_coco_parts(path))


COCO = Layout(
    kind="coco",
    title="COCO: instances, panoptic, captions",
    expects="annotations/instances_<split>.json and photo folders, or one JSON file and images/",
    fits=_is_coco,
    splits=lambda path: sort_splits(find_coco_parts(path).keys() - {ALL_SPLIT}),
    read=read_coco,
)

LVIS = Layout(
    kind="lvis",
    title="LVIS",
    expects="lvis_v1_<split>.json and COCO's photo folders",
    fits=lambda path: bool(find_lvis_parts(path)),
    splits=lambda path: sort_splits(find_lvis_parts(path).keys() - {ALL_SPLIT}),
    read=read_lvis,
)
