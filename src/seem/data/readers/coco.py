"""COCO: instances, panoptic maps and captions in the 2017 layout, or one JSON file beside its photos; LVIS.

    annotations/{instances,panoptic,captions}_<split><year>.json    annotations/panoptic_<split><year>/*.png
    <split><year>/*.jpg    (or images/<split><year>, images/<split>, <split>, images)

    annotations.json + images/                 (any name, one JSON file)
    train/_annotations.coco.json + photos      (valid/, test/: exports of labelling services)

    annotations/lvis_v1_<split>.json + train2017/, val2017/, or the JSON files beside the photo folders

Objects are the rows of the instances file and, where there is a panoptic map, its stuff; without instances all of its
segments. Their ids are COCO's; stuff gets numbers above a billion. Photo ids that are no numbers become positions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seem.data import coco_rle
from seem.data.classes import category_of
from seem.data.dataset import (
    ALL_SPLIT,
    AnnotatedPolygons,
    LabelMap,
    LazyDataset,
    ParsedObjects,
    image_record,
    object_record,
    segment_records,
)
from seem.data.image_files import image_hw, read_colour_ids, wrong_size
from seem.data.layout import Layout, in_order, refuse
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    FlawKind,
    ImageRecord,
    ObjectRecord,
    SegmentRecord,
)
from seem.images import MAX_PIXELS

FIRST_STUFF_ID = 1_000_000_000
TRIED = 20  # photos that are looked for to find out where all of them are
_NAME = re.compile(r"(instances|panoptic|captions|lvis_v\d(?:\.\d)?)_(.+)\.json")
_YEAR = re.compile(r"20\d\d$")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CocoFiles:
    """The files of one part of a set; `folders` are places where its photos may be."""

    title: str
    instances: Path | None = None
    panoptic: Path | None = None
    captions: Path | None = None
    folders: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """The files that are there."""
        return tuple(file for file in (self.instances, self.panoptic, self.captions) if file is not None)


def find_parts(path: Path) -> dict[str, CocoFiles]:
    """Find the parts of a COCO set; one part called `ALL` if it is not divided, none if it is no COCO set."""
    if path.is_file():
        return {ALL_SPLIT: _lone(path)} if path.suffix == ".json" else {}
    parts = _named_parts(path, ("instances", "panoptic", "captions"))
    if not parts:
        parts = {
            folder.name: CocoFiles("COCO export", lone, folders=(folder, folder / "images"))
            for folder in sorted(path.glob("*/"))
            if folder.name not in ("annotations", "images") and (lone := _lone_json(folder)) is not None
        }
    if not parts and (lone := _lone_json(path)) is not None:
        return {ALL_SPLIT: _lone(lone)}
    if not parts and (lone := _lone_json(path / "annotations")) is not None:
        return {ALL_SPLIT: CocoFiles("COCO file", lone, folders=(path / "images", path))}
    return {ALL_SPLIT: parts["default"]} if set(parts) == {"default"} else parts


def find_lvis_parts(path: Path) -> dict[str, CocoFiles]:
    """Find the parts of an LVIS set."""
    if path.is_file():
        return {ALL_SPLIT: _lone(path)} if path.suffix == ".json" and path.name.startswith("lvis") else {}
    return _named_parts(path, ("lvis",))


def _named_parts(path: Path, wanted: tuple[str, ...]) -> dict[str, CocoFiles]:
    """Group files that are called <what>_<split><year>.json by what follows the underscore."""
    grouped: dict[str, dict[str, Path]] = {}
    for folder in (path / "annotations", path):
        for file in sorted(folder.glob("*.json")):
            match = _NAME.fullmatch(file.name)
            if match and match[1].startswith(wanted):
                what = "instances" if match[1].startswith("lvis") else match[1]
                grouped.setdefault(match[2], {}).setdefault(what, file)
    grouped = {name: files for name, files in grouped.items() if files.keys() & {"instances", "panoptic"}}
    bare = [_YEAR.sub("", name) for name in grouped]
    parts = {}
    for name, files in grouped.items():
        split = _YEAR.sub("", name)
        places = [path / name, path / "images" / name, path / "images" / split, path / split]
        places += sorted(folder for root in (path, path / "images") for folder in root.glob(f"{split}20*"))
        parts[split if bare.count(split) == 1 else name] = CocoFiles(
            f"COCO {name}", files.get("instances"), files.get("panoptic"), files.get("captions"),
            (*dict.fromkeys(places), path / "images", path),
        )  # fmt: skip
    return parts


def _lone(file: Path) -> CocoFiles:
    home = file.parent
    return CocoFiles("COCO file", file, folders=(home / "images", home, home.parent / "images", home / file.stem))


def _lone_json(folder: Path) -> Path | None:
    """Return the annotation file of a folder: the one that is called so, or the only one that looks like one."""
    if not folder.is_dir():
        return None
    for name in ("_annotations.coco.json", "annotations.json", "instances.json"):
        if (folder / name).is_file():
            return folder / name
    files = [file for file in folder.glob("*.json") if looks_like_coco(file)]
    return files[0] if len(files) == 1 else None


def looks_like_coco(file: Path) -> bool:
    """Whether a JSON file names what a COCO file holds, going by its text."""
    text = file.read_bytes()
    return all(f'"{key}"'.encode() in text for key in ("images", "annotations", "categories"))


def read_coco(path: Path, split: str) -> LazyDataset:
    """Open one part of a COCO set."""
    parts = find_parts(path)
    if split not in parts:
        raise refuse(
            "COCO set", path, "annotations/instances_<split>.json, or one JSON file and images/",
            way_out="Give the folder that holds them, or the JSON file itself.",
        )  # fmt: skip
    return read_files(parts[split], path, split, "coco")


def read_lvis(path: Path, split: str) -> LazyDataset:
    """Open one part of an LVIS set: like COCO, and each photo says which classes were looked for in it."""
    parts = find_lvis_parts(path)
    if split not in parts:
        raise refuse("LVIS set", path, "lvis_v1_<split>.json here or in annotations/")
    return read_files(parts[split], path, split, "lvis")


def read_files(files: CocoFiles, path: Path, split: str, kind: str) -> LazyDataset:
    """Open the files of one part."""
    main = Document.read(files.instances or files.panoptic or path)
    whole = Document.read(files.panoptic) if files.panoptic else None
    name = path.stem if path.is_file() else path.resolve().name
    categories, flaws = read_categories([main, whole] if whole else [main])
    sentences = _captions(files.captions)
    photos, numbers, more = read_photos(main, files, name, split, sentences, whole)
    flaws += more
    rows, more = group_rows(main, numbers, photos) if files.instances else ({}, [])
    flaws += more
    by_id = {category.id: category for category in categories}
    maps = _maps(whole, files, numbers, by_id) if whole else None
    things = frozenset(category.text for category in categories if category.is_thing)
    everything = frozenset(category.text for category in categories)

    def read_objects(photo: ImageRecord) -> ParsedObjects:
        found = ParsedObjects((), ())
        if files.instances:
            found = parse_rows(rows.get(photo.id, ()), photo, by_id)
        if maps is None:
            return found
        cut = maps(photo)
        if cut is None:
            return found
        segments = segment_records(cut, photo)
        if files.instances:
            segments = tuple(_renumbered(each, photo) for each in segments if not each.category.is_thing)
        return ParsedObjects(found.objects + segments, found.flaws + cut.flaws)

    def complete(photo: ImageRecord) -> frozenset[str]:
        if kind == "lvis":
            return _looked_for(main.photo_row(photo.id, numbers), found_in(photo), by_id)
        return everything if photo.labelled == "panoptic" else things

    def found_in(photo: ImageRecord) -> set[int]:
        return {row["category_id"] for row in rows.get(photo.id, ()) if row.get("category_id") in by_id}

    return LazyDataset(
        name=name,
        kind=kind,
        split=split,
        path=path,
        category_list=categories,
        images=photos,
        read_map=maps or (lambda _: None),
        read_objects=read_objects,
        complete=complete,
        read_outlines=lambda photo: row_outlines(rows.get(photo.id, ()), photo),
        flaws=tuple(flaws),
        files=files.all,
    )


@dataclass(frozen=True)
class Document:
    """A COCO file: its lists, with the place that messages name."""

    file: Path
    images: Sequence[Row]
    annotations: Sequence[Row]
    categories: Sequence[Row]
    rows_by_id: dict[int, Row] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> Document:
        """Read a file; `DataError` if it is no COCO file."""
        try:
            content = json.loads(file.read_bytes())
        except OSError as error:
            raise DataError(f"{file} cannot be read ({error.strerror or error}).") from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{file} is not valid JSON ({error}); it may be cut short, copy it again.") from error
        keys = ("images", "annotations", "categories")
        missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
        if missing:
            raise DataError(f"{file} has no {', '.join(missing)}; a COCO file holds these three lists.")
        for key in keys:
            bad = next((place for place, row in enumerate(content[key]) if not isinstance(row, dict)), None)
            if bad is not None:
                raise DataError(f"{file}: row {bad} of {key} is {content[key][bad]!r}, no object with fields.")
        return cls(file, content["images"], content["annotations"], content["categories"])

    def photo_row(self, image_id: int, numbers: Mapping[Any, int]) -> Row:
        """Return the row of a photo."""
        if not self.rows_by_id:
            self.rows_by_id.update({numbers[row["id"]]: row for row in self.images if row.get("id") in numbers})
        return self.rows_by_id[image_id]


def read_categories(documents: Sequence[Document]) -> tuple[tuple[CategoryRecord, ...], list[Flaw]]:
    """Read the classes of files; the later ones know more about things and stuff."""
    found: dict[int, CategoryRecord] = {}
    flaws = []
    for number, document in enumerate(documents):
        own: set[int] = set()
        for place, row in enumerate(document.categories):
            try:
                category = category_of(dict(row))
            except (KeyError, TypeError, ValueError):
                category = None
            if category is None or not isinstance(category.id, int):
                what = "it has no whole id or no name"
                flaws.append(Flaw(FlawKind.UNREADABLE_ROW, f"{document.file.name}, category {place}", what))
            elif category.id in own:
                where = f"{document.file.name}, category {category.id}"
                flaws.append(Flaw(FlawKind.DUPLICATE_ID, where, f"used by {found[category.id].name!r} before"))
            else:
                own.add(category.id)
                if category.id not in found or "isthing" in row or number == 0:
                    found[category.id] = category
    return tuple(found.values()), flaws


def read_photos(
    document: Document,
    files: CocoFiles,
    name: str,
    split: str,
    captions: Mapping[Any, Sequence[str]],
    whole: Document | None,
) -> tuple[tuple[ImageRecord, ...], dict[Any, int], list[Flaw]]:
    """Read the photos, the number of each id, and what is wrong with them."""
    place_of = _photo_finder(document, files)
    panoptic = {row["image_id"]: row for row in whole.annotations if "image_id" in row} if whole else {}
    folder = files.panoptic.with_suffix("") if files.panoptic else None
    whole_ids = all(isinstance(row.get("id"), int) for row in document.images)
    numbers: dict[Any, int] = {}
    photos, flaws = [], []
    for place, row in enumerate(document.images):
        where = f"{document.file.name}, photo {row.get('id', f'number {place}')}"
        if not isinstance(row.get("id"), (int, str)) or not _file_name(row):
            flaws.append(Flaw(FlawKind.UNREADABLE_ROW, where, "it has no id or no file_name"))
            continue
        if row["id"] in numbers:
            flaws.append(Flaw(FlawKind.DUPLICATE_ID, where, "two photos bear it, the second is left out"))
            continue
        try:
            path = place_of(row)
            hw = _size(row, path)
        except DataError as error:
            flaws.append(Flaw(error.kind, where, str(error)))
            continue
        numbers[row["id"]] = row["id"] if whole_ids else place + 1
        told = panoptic.get(row["id"])
        photos.append(
            image_record(
                numbers[row["id"]],
                name,
                path,
                hw,
                split,
                "panoptic" if told else "instances",
                captions=[*captions.get(row["id"], ()), *_texts(row.get("captions"))],
                panoptic_path=folder / told["file_name"] if folder and told else None,
            )
        )
    return tuple(photos), numbers, flaws


def group_rows(
    document: Document, numbers: Mapping[Any, int], photos: Sequence[ImageRecord]
) -> tuple[dict[int, list[Row]], list[Flaw]]:
    """Sort annotations by photo; ids that come twice and photos that nobody knows are flaws."""
    grouped: dict[int, list[Row]] = {photo.id: [] for photo in photos}
    listed = {row.get("id") for row in document.images if isinstance(row.get("id"), (int, str))}
    used: set[Any] = set()
    flaws = []
    for place, row in enumerate(document.annotations):
        number = row.get("id", f"number {place}")
        where = f"{document.file.name}, annotation {number}"
        image_id = row.get("image_id")
        if not isinstance(image_id, (int, str)) or image_id not in listed:
            flaws.append(Flaw(FlawKind.UNKNOWN_IMAGE, where, f"image_id {image_id!r} is not among the images"))
        elif not isinstance(number, int):
            flaws.append(Flaw(FlawKind.UNREADABLE_ROW, where, "it has no id, or one that is no whole number"))
        elif number in used:
            flaws.append(Flaw(FlawKind.DUPLICATE_ID, where, "two annotations bear it, the second is left out"))
        elif image_id in numbers:
            used.add(number)
            grouped[numbers[image_id]].append(row)
    return grouped, flaws


def parse_rows(rows: Iterable[Row], photo: ImageRecord, categories: Mapping[int, CategoryRecord]) -> ParsedObjects:
    """Read the annotations of one photo."""
    read = [_tried(row, photo, categories) for row in rows]
    return ParsedObjects(
        tuple(each for each in read if isinstance(each, ObjectRecord)),
        tuple(each for each in read if isinstance(each, Flaw)),
    )


def _tried(row: Row, photo: ImageRecord, categories: Mapping[int, CategoryRecord]) -> ObjectRecord | Flaw:
    try:
        return parse_row(row, photo, categories)
    except DataError as error:
        return Flaw(error.kind, f"annotation {row.get('id')} of photo {photo.id}", str(error))


def row_outlines(rows: Iterable[Row], photo: ImageRecord) -> tuple[AnnotatedPolygons, ...]:
    """Return the polygons of a photo's annotations, as far as they are polygons."""
    found = []
    for row in rows:
        rings = row.get("segmentation")
        if isinstance(rings, list):
            sound = tuple(ring for ring in rings if coco_rle.is_polygon(ring))
            found.append(AnnotatedPolygons(f"annotation {row.get('id')} of photo {photo.id}", sound))
    return tuple(found)


def parse_row(row: Row, photo: ImageRecord, categories: Mapping[int, CategoryRecord]) -> ObjectRecord:
    """Read one annotation; `DataError` says what is wrong with it."""
    category = categories.get(row["category_id"]) if isinstance(row.get("category_id"), int) else None
    if category is None:
        message = f"category_id {row.get('category_id')!r} is not among the categories"
        raise DataError(message, FlawKind.UNKNOWN_CATEGORY)
    coded = parse_mask(row.get("segmentation"), photo.hw)
    return object_record(
        row["id"],
        photo,
        category,
        coded,
        is_crowd=bool(row.get("iscrowd", 0)),
        quality=str(row.get("quality", "")),
        phrases=(*_texts(row.get("ref_phrases")), *_texts(row.get("phrases"))),
        phrase_source=str(row.get("phrase_source", "")),
        track_id=track if isinstance(track := row.get("track_id"), int) else None,
        box=parse_box(row.get("bbox"), coded),
    )


def parse_mask(segmentation: Any, hw: tuple[int, int]) -> coco_rle.RleMask:
    """Read polygons or a run-length code; `DataError` says what is wrong."""
    if not segmentation:
        raise DataError("it has a box at most; masks are needed", FlawKind.NO_MASK)
    try:
        if isinstance(segmentation, Mapping):
            return coco_rle.parse_rle(dict(segmentation), hw)
        if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
            raise ValueError("its segmentation is neither polygons nor a run-length code")
        return coco_rle.polygons_to_rle(segmentation, hw)
    except ValueError as error:
        kind = FlawKind.WRONG_SIZE if "the photo" in str(error) else FlawKind.UNREADABLE_ROW
        raise DataError(str(error), kind) from error


def parse_box(bbox: Any, coded: coco_rle.RleMask) -> tuple[float, float, float, float]:
    """Turn COCO's x, y, width, height to corners; without a box it is the mask's own."""
    if bbox is None:
        return coded.box
    try:
        x, y, w, h = (float(value) for value in bbox)
    except (TypeError, ValueError):
        raise DataError(f"its bbox is {bbox!r}, not x, y, width, height", FlawKind.BAD_BOX) from None
    if not all(map(math.isfinite, (x, y, w, h))) or w < 0 or h < 0:
        raise DataError(f"its bbox is {bbox!r}", FlawKind.BAD_BOX)
    return (x, y, x + w, y + h)


def _photo_finder(document: Document, files: CocoFiles) -> Callable[[Row], Path]:
    """Find out where the photos are by looking for the first of them, with the folders in their names and without."""
    names = [name for row in document.images[:TRIED] if (name := _file_name(row))]
    best: tuple[int, Path, bool] = (-1, files.folders[0], False)
    for folder in files.folders:
        for plain in (False, True):
            there = sum((folder / (Path(name).name if plain else name)).is_file() for name in names)
            if there > best[0]:
                best = (there, folder, plain)
    _, folder, plain = best

    def find(row: Row) -> Path:
        name = _file_name(row)
        return folder / (Path(name).name if plain else name)

    return find


def _file_name(row: Row) -> str:
    """Return where a photo is; LVIS says it by the address that the photo was published at."""
    if isinstance(row.get("file_name"), str):
        return str(row["file_name"]).replace("\\", "/")  # written on Windows
    address = row.get("coco_url")
    return "/".join(address.split("/")[-2:]) if isinstance(address, str) else ""


def _texts(value: Any) -> list[str]:
    """Return a list of texts, empty for anything else."""
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else []


def _size(row: Row, path: Path) -> tuple[int, int]:
    height, width = row.get("height"), row.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        if height * width > MAX_PIXELS:
            message = f"its row says {height} x {width} pixels, more than the limit of {MAX_PIXELS:,}"
            raise DataError(message, FlawKind.WRONG_SIZE)
        return height, width
    if not path.is_file():
        raise DataError(f"{path} does not exist, and its row tells no size", FlawKind.MISSING_IMAGE)
    try:
        return image_hw(path)
    except DataError as error:
        raise DataError(str(error), FlawKind.UNREADABLE_IMAGE) from error


def _captions(file: Path | None) -> Mapping[Any, Sequence[str]]:
    if file is None:
        return {}
    found: dict[Any, list[str]] = {}
    try:
        for row in json.loads(file.read_bytes())["annotations"]:
            found.setdefault(row["image_id"], []).append(" ".join(str(row["caption"]).split()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} holds no captions that can be read ({error!r}); copy it again.") from error
    return found


def _maps(
    document: Document, files: CocoFiles, numbers: Mapping[Any, int], categories: Mapping[int, CategoryRecord]
) -> Callable[[ImageRecord], LabelMap | None]:
    by_photo = {numbers[row["image_id"]]: row for row in document.annotations if row.get("image_id") in numbers}
    assert files.panoptic is not None
    folder = files.panoptic.with_suffix("")

    def read(photo: ImageRecord) -> LabelMap | None:
        row = by_photo.get(photo.id)
        return (
            None if row is None else read_panoptic(folder / row["file_name"], row["segments_info"], photo, categories)
        )

    return read


def read_panoptic(
    file: Path, segments_info: Iterable[Row], photo: ImageRecord, categories: Mapping[int, CategoryRecord]
) -> LabelMap:
    """Read one map of COCO's panoptic format; ids that no segment explains are void."""
    ids = read_colour_ids(file)
    if ids.shape != photo.hw:
        wrong_size(file, ids.shape, photo.hw)
    coded = coco_rle.label_map_to_rles(ids)
    segments, flaws = [], []
    for row in segments_info:
        where = f"segment {row.get('id')} of photo {photo.id}"
        category = categories.get(row.get("category_id", -1))
        if category is None:
            what = f"category_id {row.get('category_id')!r} is not among the categories"
            flaws.append(Flaw(FlawKind.UNKNOWN_CATEGORY, where, what))
        elif row["id"] not in coded:
            flaws.append(Flaw(FlawKind.EMPTY_MASK, where, f"{file.name} has no pixel of it"))
        else:
            segments.append(SegmentRecord(row["id"], category, coded[row["id"]].area, bool(row.get("iscrowd", 0))))
    known = {segment.id for segment in segments}
    for number in coded.keys() - known:
        ids[ids == number] = 0
    return LabelMap(ids, tuple(segments), void=ids == 0, is_partition=True, flaws=tuple(flaws))


def _renumbered(record: ObjectRecord, photo: ImageRecord) -> ObjectRecord:
    return replace(record, id=FIRST_STUFF_ID + photo.id * 1000 + record.id % 10_000)


def _looked_for(row: Row, present: set[int], categories: Mapping[int, CategoryRecord]) -> frozenset[str]:
    """LVIS: classes that are marked completely, and classes that are known to be absent."""
    certain = (present - set(row.get("not_exhaustive_category_ids", ()))) | set(row.get("neg_category_ids", ()))
    return frozenset(categories[number].text for number in certain if number in categories)


def _is_coco(path: Path) -> bool:
    if path.is_file():
        return path.suffix == ".json" and not path.name.startswith("lvis") and looks_like_coco(path)
    others = is_pack(path) or bool(find_lvis_parts(path)) or any(path.glob("refs(*).p"))
    return not others and bool(find_parts(path))


def is_pack(path: Path) -> bool:
    """Whether a folder is a set of our photo pack: its rows say what is labelled."""
    file = path / "annotations.json"
    return file.is_file() and (path / "images").is_dir() and b'"labelled"' in file.read_bytes()


def _parts(find: Callable[[Path], dict[str, CocoFiles]]) -> Callable[[Path], tuple[str, ...]]:
    return lambda path: in_order(set(find(path)) - {ALL_SPLIT})


COCO = Layout(
    "coco",
    "COCO: instances, panoptic, captions",
    "annotations/instances_<split>.json and photo folders, or one JSON file and images/",
    _is_coco,
    _parts(find_parts),
    read_coco,
)

LVIS = Layout(
    "lvis",
    "LVIS",
    "lvis_v1_<split>.json and COCO's photo folders",
    lambda path: bool(find_lvis_parts(path)),
    _parts(find_lvis_parts),
    read_lvis,
)
