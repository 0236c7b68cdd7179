"""Reader of the photo pack: photos, object masks and texts of several public sets in one COCO-style layout.

A set is a folder with `annotations.json`, `images/` and, for some, `panoptic.json` with `panoptic/`. `Pack` reads one
split of one set; `PhotoBank` keeps every photo that may be trained on in memory (or memory-mapped from one file), small
enough and ready enough that a training loop on one CPU core never waits for it.

Frames: pixels of the stored photo, boxes xyxy with exclusive ends, masks bool H x W.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from seem.data.classes import NAMELESS
from seem.data.dataset import AnnotatedPolygons, Dataset, ParsedObjects, WeightedDataset, validation_objects
from seem.data.readers.coco import Document, group_rows, parse_rows, row_outlines
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
    SegmentRecord,
    ValidationObject,
)

__all__ = [
    "SHIPPABLE",
    "BankedImage",
    "BankedObject",
    "CategoryRecord",
    "ImageBank",
    "ImageRecord",
    "ObjectRecord",
    "Pack",
    "PackError",
    "PanopticTruth",
    "SegmentRecord",
    "TrainableSet",
    "ValidationObject",
    "validation_objects",
]


class PackError(DataError):
    """A folder that does not have the layout of the photo pack; the message is one line and names the place."""


SHIPPABLE: Mapping[str, frozenset[str] | None] = {
    "coco_full": None,
    "coco_person": None,
    "davis2016": None,
    "ccp": None,
    "voc_animals": None,
    "voc_general": None,
    "duts": None,
    "open_mix": frozenset({"A", "B"}),
}
"""Sets whose training photos may go into weights that are shipped, and of which licence groups (None: all of them).

camvid, carparts and bsds500 are research only; group C of open_mix states no terms.
"""

VOID = 255
"""Value of a semantic map that stands for nothing; no set has so many classes."""


@dataclass(frozen=True, slots=True)
class TrainableSet:
    """A set folder that may be trained on for shipping, restricted to `licence_groups` (None: every photo)."""

    path: Path
    licence_groups: frozenset[str] | None

    @property
    def name(self) -> str:
        """The folder's name, which is the set's."""
        return self.path.name

    def admits(self, photo: ImageRecord) -> bool:
        """Whether this photo may go into shipped weights: a training photo of an admitted licence group."""
        return photo.split == "train" and (self.licence_groups is None or photo.licence_group in self.licence_groups)


class Pack:
    """One split of one set. Nothing is read before it is asked for, except that the layout is looked at on opening."""

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self.split = split

    @classmethod
    def open(cls, path: str | os.PathLike[str], split: str = "train") -> Pack:
        """Open the set folder `path`; `split` is train, val or all.

        Raises:
            PackError: the folder, its annotations.json or its images are missing.
        """
        folder = Path(path)
        if split not in ("train", "val", "all"):
            raise PackError(f"Unknown split {split!r}; use train, val or all.")
        if not folder.is_dir():
            raise PackError(f"{folder} is no folder; give the folder of one set, such as data/coco_full.")
        if not (folder / "annotations.json").is_file():
            raise PackError(f"{folder} has no annotations.json; give the folder of one set, such as data/coco_full.")
        if not (folder / "images").is_dir():
            raise PackError(f"{folder} has annotations.json but no images/; copy the set's photos beside it.")
        return cls(folder, split)

    @staticmethod
    def trainable(root: str | os.PathLike[str]) -> list[TrainableSet]:
        """List the sets under `root` whose training photos may go into shipped weights (see `SHIPPABLE`).

        Raises:
            PackError: `root` holds none of them.
        """
        folder = Path(root)
        found = [
            TrainableSet(folder / name, groups)
            for name, groups in SHIPPABLE.items()
            if (folder / name / "annotations.json").is_file()
        ]
        if not found:
            raise PackError(f"{folder} holds none of the sets {', '.join(SHIPPABLE)}; give the pack's root folder.")
        return found

    @property
    def name(self) -> str:
        """The set's name."""
        return self.path.name

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        place = self.path / "annotations.json"
        try:
            document = json.loads(place.read_bytes())
        except ValueError as error:
            raise PackError(f"{place} is not valid JSON ({error}); it may be cut short, copy it again.") from error
        missing = [key for key in ("images", "annotations", "categories") if key not in document]
        if missing:
            raise PackError(f"{place} has no {', '.join(missing)}; a COCO-style file is needed.")
        return dict(document)

    @cached_property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Categories by their id in this set."""
        return {
            row["id"]: CategoryRecord(row["id"], row["name"], _prompt_name(row), bool(row.get("isthing", 1)))
            for row in self._document["categories"]
        }

    @cached_property
    def images(self) -> tuple[ImageRecord, ...]:
        """The split's photos, in the order of the file."""
        rows = self._document["images"]
        try:
            return tuple(
                self._photo(row) for row in rows if self.split == "all" or row.get("split", "train") == self.split
            )
        except KeyError as error:
            raise PackError(f"{self.path}/annotations.json: an image has no {error}.") from error

    @cached_property
    def objects(self) -> Mapping[int, tuple[ObjectRecord, ...]]:
        """Objects by photo id, for every photo of the split (an empty tuple where nothing is annotated)."""
        grouped: dict[int, list[ObjectRecord]] = {photo.id: [] for photo in self.images}
        try:
            for row in self._document["annotations"]:
                if row["image_id"] in grouped:
                    grouped[row["image_id"]].append(self._object(row))
        except (KeyError, TypeError) as error:
            message = f"{self.path}/annotations.json: an annotation lacks {error} or has it in an unknown form."
            raise PackError(message) from error
        return {image_id: tuple(records) for image_id, records in grouped.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.images)

    def pixels(self, photo: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode a photo to RGB.

        Raises:
            PackError: the file is missing, unreadable or of another size than the record says.
        """
        try:
            with Image.open(photo.path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise PackError(f"{photo.path} cannot be read ({error}); copy the set's images again.") from error
        if pixels.shape[:2] != photo.hw:
            raise PackError(f"{photo.path} is {pixels.shape[:2]} (h, w), but annotations.json says {photo.hw}.")
        return pixels

    def read_encoded(self, photo: ImageRecord) -> bytes:
        """Read a photo as it is stored, byte for byte."""
        return photo.path.read_bytes()

    def panoptic(self, photo: ImageRecord) -> PanopticTruth | None:
        """Read the panoptic partition of a photo, stuff included; None where the set has none for it."""
        if photo.panoptic_path is None:
            return None
        segments = self._panoptic_segments[photo.id]
        with Image.open(photo.panoptic_path) as picture:
            red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(np.int32), -1, 0)
        return PanopticTruth(red + 256 * green + 65536 * blue, segments)

    def semantic(self, photo: ImageRecord) -> UInt8[np.ndarray, "h w"] | None:
        """Read the map of category ids of a photo (void as its set's README says); None where the set has none."""
        if photo.semantic_path is None:
            return None
        with Image.open(photo.semantic_path) as picture:
            return np.asarray(picture)

    def void(self, photo: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Tell which pixels nobody labelled, neither object nor background; None = there are none."""
        whole = self.panoptic(photo)
        if whole is not None:
            return np.asarray(whole.ids == 0)
        classes = self.semantic(photo)
        return None if classes is None else np.asarray(classes == VOID)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that describe more than one photo."""
        names = ("annotations.json", "panoptic.json", "referring.json")
        return tuple(self.path / name for name in names if (self.path / name).is_file())

    @cached_property
    def expressions(self) -> tuple[ReferringExpression, ...]:
        """Written phrases that single out an object: `referring.json`, where a set has it."""
        place = self.path / "referring.json"
        if not place.is_file():
            return ()
        here = {photo.id for photo in self.images}
        rows = json.loads(place.read_bytes())
        return tuple(
            ReferringExpression(number, row["image_id"], row["ann_id"], (row["text"],))
            for number, row in enumerate(rows, 1)
            if row["image_id"] in here
        )

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """What is wrong with the lists of the set: ids that come twice, annotations of photos that nobody knows."""
        return self._grouped[1]

    def parse_objects(self, photo: ImageRecord) -> ParsedObjects:
        """Read a photo's objects, and say of those that cannot be read why, instead of raising."""
        return parse_rows(self._grouped[0][photo.id], photo, self.categories)

    def polygons(self, photo: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons that a photo's masks are drawn from: the pack's masks are run-length codes."""
        return row_outlines(self._grouped[0][photo.id], photo)

    @cached_property
    def _grouped(self) -> tuple[dict[int, list[Mapping[str, Any]]], tuple[Flaw, ...]]:
        document = Document(
            self.path / "annotations.json", *(self._document[key] for key in ("images", "annotations", "categories"))
        )
        rows, flaws = group_rows(document, {photo.id: photo.id for photo in self.images}, self.images)
        return rows, tuple(flaws)

    def complete_names(self, photo: ImageRecord) -> frozenset[str]:
        """Names for which the photo's annotation is complete: one of them without a mask is truly absent.

        COCO panoptic: all 133; COCO instances: the 80 things; person-only: person; VOC and CCP: all their classes;
        open_mix: the classes of that photo's source where `labelled` is instances; salient objects: none.
        """
        match photo.labelled:
            case "panoptic" | "semantic" | "semantic+instances" | "parts":
                kept = {c.text for c in self.categories.values()}
            case "instances":
                kept = set(self._names_of_source.get(photo.source, ()))
            case "person-only":
                kept = {"person"}
            case _:
                kept = set()
        return frozenset(kept - {""})

    @cached_property
    def _names_of_source(self) -> Mapping[str, frozenset[str]]:
        """What an instance annotation covers: all things, or where a set mixes sources, the things seen in each."""
        source_of = {row["id"]: row.get("source_set", self.name) for row in self._document["images"]}
        if set(source_of.values()) <= {self.name}:
            return {self.name: frozenset(c.text for c in self.categories.values() if c.is_thing)}
        seen: dict[str, set[str]] = {}
        for row in self._document["annotations"]:
            seen.setdefault(source_of[row["image_id"]], set()).add(self.categories[row["category_id"]].text)
        return {source: frozenset(names) for source, names in seen.items()}

    @cached_property
    def _panoptic_segments(self) -> Mapping[int, tuple[SegmentRecord, ...]]:
        place = self.path / "panoptic.json"
        if not place.is_file():
            raise PackError(f"{self.path} names panoptic maps but has no panoptic.json; copy it beside them.")
        rows = json.loads(place.read_bytes())["annotations"]
        return {
            row["image_id"]: tuple(
                SegmentRecord(s["id"], self.categories[s["category_id"]], s["area"], bool(s["iscrowd"]))
                for s in row["segments_info"]
            )
            for row in rows
        }

    def _photo(self, row: Mapping[str, Any]) -> ImageRecord:
        def beside(key: str) -> Path | None:
            return self.path / row[key] if row.get(key) else None

        return ImageRecord(
            id=row["id"],
            set_name=self.name,
            path=self.path / row["file_name"],
            hw=(row["height"], row["width"]),
            split=row.get("split", "train"),
            labelled=row.get("labelled", ""),
            source=row.get("source_set") or row.get("sequence") or self.name,
            licence_group=row.get("license_group", ""),
            captions=tuple(row.get("captions", ())),
            panoptic_path=beside("panoptic_file"),
            semantic_path=beside("semantic_file"),
            sequence=row.get("sequence", ""),
            frame=row.get("frame"),
        )

    def _object(self, row: Mapping[str, Any]) -> ObjectRecord:
        x, y, w, h = (float(value) for value in row["bbox"])
        height, width = row["segmentation"]["size"]
        category = self.categories[row["category_id"]]
        return ObjectRecord(
            id=row["id"],
            image_id=row["image_id"],
            category=category,
            counts=row["segmentation"]["counts"],
            hw=(height, width),
            box=(x, y, x + w, y + h),
            area=row["area"],
            is_crowd=bool(row.get("iscrowd", 0)),
            quality=row.get("quality", ""),
            phrases=tuple(row.get("ref_phrases", ())) + tuple(row.get("phrases", ())),
            phrase_source=row.get("phrase_source", "written" if row.get("phrases") else ""),
            track_id=row.get("track_id"),
        )


def _prompt_name(row: Mapping[str, Any]) -> str:
    name = str(row.get("text") or row["name"]).strip()
    return "" if name in NAMELESS else name


# ---------------------------------------------------------------------------------------------------------------------
# The bank: everything in memory, ready to be cropped


@dataclass(frozen=True, slots=True)
class BankedObject:
    """One object at the bank's photo size: its soft mask (0-255, 128 and more is inside) cut to `box` (xyxy)."""

    record: ObjectRecord
    box: tuple[int, int, int, int]
    soft_mask: UInt8[np.ndarray, "bh bw"]
    area: float


@dataclass(frozen=True, slots=True)
class BankedImage:
    """One training photo at the bank's size, with what was annotated on it.

    `objects` are single objects and stuff regions; `ignored` are soft masks (with their boxes) of what is annotated as
    neither object nor background: crowds, groups, the unlabelled part of a panoptic map.
    """

    record: ImageRecord
    image: UInt8[np.ndarray, "h w 3"]
    objects: tuple[BankedObject, ...]
    ignored: tuple[BankedObject, ...]
    complete_names: frozenset[str]


class DrawnPhotos(Sequence[BankedImage]):
    """Photos that are read and shrunk whenever they are asked for."""

    def __init__(self, chosen: Sequence[tuple[Dataset, ImageRecord]], longest_side: int) -> None:
        self._chosen = tuple(chosen)
        self._longest_side = longest_side

    @overload
    def __getitem__(self, index: int) -> BankedImage: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[BankedImage]: ...

    def __getitem__(self, index: int | slice) -> BankedImage | Sequence[BankedImage]:
        if isinstance(index, slice):
            return DrawnPhotos(self._chosen[index], self._longest_side)
        dataset, photo = self._chosen[index]
        return _decode_any(dataset, photo, self._longest_side)

    def __len__(self) -> int:
        return len(self._chosen)

    @property
    def set_names(self) -> Iterator[str]:
        """The set of each photo."""
        return (photo.set_name for _, photo in self._chosen)

    def names(self) -> Iterator[set[str]]:
        """Tell the classes of each photo's objects, groups left out."""
        for dataset, photo in self._chosen:
            yield {record.category.text for record in dataset.objects[photo.id] if not record.is_group}


class ImageBank:
    """All trainable photos, decoded once, at most `longest_side` pixels long.

    About 12,000 photos at 320 px are 2.4 GB and take a minute of one core to decode. With `cache` they are written to
    that file once and memory-mapped afterwards, which costs two seconds and is shared by all processes of a machine.

    `fingerprint` (64 hexadecimal digits) tells what a bank of the pack holds: sets, annotations, size; else empty.
    """

    def __init__(
        self, photos: Sequence[BankedImage], weights: Mapping[str, float] | None = None, fingerprint: str = ""
    ) -> None:
        self.fingerprint = fingerprint
        self.images = photos if isinstance(photos, DrawnPhotos) else tuple(photos)
        groups: dict[str, list[int]] = {}
        for index, name in enumerate(
            self.images.set_names
            if isinstance(self.images, DrawnPhotos)
            else (photo.record.set_name for photo in self.images)
        ):
            groups.setdefault(name, []).append(index)
        self.by_set: Mapping[str, tuple[int, ...]] = {name: tuple(rows) for name, rows in groups.items()}
        self.weights: Mapping[str, float] = dict.fromkeys(groups, 1.0) if weights is None else dict(weights)

    @cached_property
    def by_name(self) -> Mapping[str, tuple[int, ...]]:
        """The photos that show an object of each class."""
        groups: dict[str, list[int]] = {}
        told = (
            self.images.names()
            if isinstance(self.images, DrawnPhotos)
            else ({entry.record.category.text for entry in photo.objects} for photo in self.images)
        )
        for index, names in enumerate(told):
            for name in names - {""}:
                groups.setdefault(name, []).append(index)
        return {name: tuple(rows) for name, rows in groups.items()}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> BankedImage:
        return self.images[index]

    @classmethod
    def load(
        cls,
        root: str | os.PathLike[str],
        *,
        longest_side: int = 320,
        cache: str | os.PathLike[str] | None = None,
        sets: Sequence[str] | None = None,
        max_photos: int | None = None,
    ) -> ImageBank:
        """Load every training photo under `root` that may go into shipped weights.

        Args:
            root: the pack's root folder, which holds the set folders.
            longest_side: photos longer than this are shrunk, masks with them; smaller photos stay as they are.
            cache: a file (created when missing or out of date) that makes later calls fast.
            sets: only these sets; None takes all of `Pack.trainable`.
            max_photos: only the first so many photos of each set, for trials.

        Raises:
            PackError: the layout is wrong, a photo cannot be read, or a set in `sets` may not be trained on.
        """
        chosen = Pack.trainable(root)
        if sets is not None:
            refused = sorted(set(sets) - {entry.name for entry in chosen})
            if refused:
                raise PackError(f"{', '.join(refused)} under {root}: missing or not free for shipped weights.")
            chosen = [entry for entry in chosen if entry.name in sets]
        packs = [(entry, Pack.open(entry.path, "train")) for entry in chosen]
        fingerprint = _fingerprint([entry.path for entry in chosen], longest_side, max_photos)
        told = fingerprint.decode()
        if cache is None:
            photos = [_decode(pack, photo, longest_side) for pack, photo in _admitted(packs, max_photos)]
            return cls(photos, fingerprint=told)
        place = Path(cache)
        if not _cache_is_valid(place, fingerprint):
            _write_cache(
                place, fingerprint, (_decode(pack, photo, longest_side) for pack, photo in _admitted(packs, max_photos))
            )
        return cls(list(_read_cache(place, _admitted(packs, max_photos))), fingerprint=told)

    @classmethod
    def from_datasets(
        cls,
        datasets: Sequence[Dataset | WeightedDataset],
        *,
        longest_side: int = 320,
        cache: str | os.PathLike[str] | None = None,
        max_photos: int | None = None,
        keep: bool = True,
    ) -> ImageBank:
        """Load every photo of any data sets; photos about which a set says nothing are left out.

        The bank's `weights` hold how often each set is to be drawn (`TrainingSampler(bank, weights=bank.weights)`).
        Two sets of one name are told apart by a number.

        Args:
            datasets: what `open_dataset` or `open_mixture` returns; a set without a weight has 1.
            longest_side: photos longer than this are shrunk, masks with them; smaller photos stay as they are.
            cache: a file (created when missing or out of date) that makes later calls fast. A set has changed when one
                of its photos, of their label maps or of its lists is another file than before.
            max_photos: only the first so many photos of each set, for trials.
            keep: false reads a photo anew whenever it is drawn: for sets that are too large to be kept.

        Raises:
            DataError: a photo or an annotation cannot be read (without `keep` when it is drawn), or no photo is left.
        """
        told = [each if isinstance(each, WeightedDataset) else WeightedDataset(each, 1.0) for each in datasets]
        names = _different([each.dataset.name for each in told])
        weights = {name: each.weight for name, each in zip(names, told, strict=True)}
        chosen = [
            (each.dataset, replace(photo, set_name=name) if photo.set_name != name else photo)
            for name, each in zip(names, told, strict=True)
            for photo in _told_about(each.dataset)[:max_photos]
        ]
        if not chosen:
            raise DataError(f"{', '.join(names) or 'The list of data sets'} holds no photo with annotations.")
        if not keep:
            return cls(DrawnPhotos(chosen, longest_side), weights)
        decoded = (_decode_any(dataset, photo, longest_side) for dataset, photo in chosen)
        if cache is None:
            return cls(list(decoded), weights)
        place = Path(cache)
        fingerprint = _fingerprint_of(chosen, longest_side)
        if not _cache_is_valid(place, fingerprint):
            _write_cache(place, fingerprint, decoded)
        return cls(list(_read_cache(place, chosen)), weights)


_Cut: TypeAlias = tuple[tuple[int, int, int, int], UInt8[np.ndarray, "_ _"]]
"""A soft mask cut to its box (xyxy), after the box."""


def _admitted(packs: Sequence[tuple[TrainableSet, Pack]], max_photos: int | None) -> Iterator[tuple[Pack, ImageRecord]]:
    for entry, pack in packs:
        kept = [photo for photo in pack.images if entry.admits(photo)]
        yield from ((pack, photo) for photo in kept[:max_photos])


def _decode(pack: Pack, photo: ImageRecord, longest_side: int) -> BankedImage:
    import cv2

    cv2.setNumThreads(1)  # training runs one process per core
    pixels = cv2.imread(os.fspath(photo.path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise PackError(f"{photo.path} is missing or no photo; copy the set's images again.")
    if pixels.shape[:2] != photo.hw:
        raise PackError(f"{photo.path} is {pixels.shape[:2]} (h, w), but annotations.json says {photo.hw}.")
    void = None
    if photo.panoptic_path is not None:
        truth = pack.panoptic(photo)
        assert truth is not None
        void = np.asarray(truth.ids == 0)
    return _bank(pack, photo, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), void, longest_side)


def _decode_any(dataset: Dataset, photo: ImageRecord, longest_side: int) -> BankedImage:
    return _bank(dataset, photo, dataset.pixels(photo), dataset.void(photo), longest_side)


def _told_about(dataset: Dataset) -> list[ImageRecord]:
    return [photo for photo in dataset.images if photo.labelled or dataset.objects[photo.id]]


def _different(names: Sequence[str]) -> list[str]:
    """Tell equal names apart by a number."""
    return [
        f"{name}-{names[:place].count(name) + 1}" if name in names[:place] else name for place, name in enumerate(names)
    ]


def _bank(
    dataset: Dataset,
    photo: ImageRecord,
    pixels: UInt8[np.ndarray, "h w 3"],
    void: Bool[np.ndarray, "h w"] | None,
    longest_side: int,
) -> BankedImage:
    """Shrink a photo and everything that is annotated on it."""
    scale = min(1.0, longest_side / max(photo.hw))
    hw = (max(1, round(photo.hw[0] * scale)), max(1, round(photo.hw[1] * scale)))
    records = dataset.objects[photo.id]
    regions = [(record, _cut(_shrink(record.mask().view(np.uint8) * np.uint8(255), hw))) for record in records]
    if void is not None:
        regions.append((_void_record(photo), _cut(_shrink(void.view(np.uint8) * np.uint8(255), hw))))
    return _assemble(dataset, photo, _shrink(pixels, hw), regions)


def _assemble(
    dataset: Dataset,
    photo: ImageRecord,
    pixels: UInt8[np.ndarray, "h w 3"],
    regions: Sequence[tuple[ObjectRecord, _Cut]],
) -> BankedImage:
    banked = [
        BankedObject(record, box, soft, float(soft.sum(dtype=np.int64)) / 255.0)
        for record, (box, soft) in regions
        if soft.size
    ]
    return BankedImage(
        record=photo,
        image=pixels,
        objects=tuple(entry for entry in banked if not entry.record.is_group),
        ignored=tuple(entry for entry in banked if entry.record.is_group),
        complete_names=dataset.complete_names(photo),
    )


def _void_record(photo: ImageRecord) -> ObjectRecord:
    """Stand in for the part of a panoptic photo that nobody labelled: a group without a name."""
    nothing = CategoryRecord(0, "void", "", False)
    box = (0.0, 0.0, float(photo.hw[1]), float(photo.hw[0]))
    return ObjectRecord(-1, photo.id, nothing, "", photo.hw, box, 0, True, "void", (), "", None)


def _shrink(pixels: UInt8[np.ndarray, "h w *c"], hw: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 *c"]:
    import cv2

    if pixels.shape[:2] == hw:
        return pixels
    return np.asarray(cv2.resize(pixels, (hw[1], hw[0]), interpolation=cv2.INTER_AREA))


def _cut(
    soft: UInt8[np.ndarray, "h w"],
) -> _Cut:
    import cv2

    x, y, w, h = cv2.boundingRect(soft)
    return (x, y, x + w, y + h), np.ascontiguousarray(soft[y : y + h, x : x + w])


# The cache file: a header of two numbers and the fingerprint, then pixels and soft masks back to back, then a table
# of int64 that says where they lie. Records are not stored: they are read from the annotations again, whose digest the
# fingerprint holds.
_HEADER = np.dtype([("table_at", "<i8"), ("table_len", "<i8"), ("fingerprint", "S64")])
_LAYOUT = 1


def _fingerprint(folders: Sequence[Path], longest_side: int, max_photos: int | None) -> bytes:
    digest = hashlib.sha256(f"{_LAYOUT} {longest_side} {max_photos}".encode())
    for folder in folders:
        digest.update(folder.name.encode())
        digest.update((folder / "annotations.json").read_bytes())
    return digest.hexdigest().encode()


def _fingerprint_of(photos: Sequence[tuple[Dataset, ImageRecord]], longest_side: int) -> bytes:
    """Describe photos of any sets by their files, as far as that can be seen without reading them."""
    digest = hashlib.sha256(f"any {_LAYOUT} {longest_side}".encode())
    lists = dict.fromkeys(file for dataset, _ in photos for file in dataset.files)
    maps = (file for _, photo in photos for file in (photo.path, photo.semantic_path, photo.panoptic_path) if file)
    for file in (*lists, *maps):
        state = file.stat() if file.is_file() else None
        digest.update(f"{file} {state and (state.st_size, state.st_mtime_ns)}\n".encode())
    for dataset, photo in photos:
        digest.update(f"{dataset.split} {photo.set_name} {photo.id} {photo.hw}\n".encode())
    return digest.hexdigest().encode()


def _cache_is_valid(place: Path, fingerprint: bytes) -> bool:
    if not place.is_file() or place.stat().st_size < _HEADER.itemsize:
        return False
    header = np.fromfile(place, _HEADER, 1)[0]
    complete = int(header["table_at"]) + 8 * int(header["table_len"]) == place.stat().st_size
    return complete and bool(header["fingerprint"] == fingerprint)


def _write_cache(place: Path, fingerprint: bytes, photos: Iterator[BankedImage]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(f"{place.name}.{os.getpid()}.part")
    table: list[int] = []
    try:
        with aside.open("wb") as file:
            file.write(bytes(_HEADER.itemsize))
            for photo in photos:
                table += [file.tell(), *photo.image.shape[:2]]
                file.write(photo.image.tobytes())
                regions = photo.objects + photo.ignored
                table.append(len(regions))
                for entry in regions:
                    table += [entry.record.id, file.tell(), *entry.box]
                    file.write(entry.soft_mask.tobytes())
            file.write(bytes(-file.tell() % 8))
            header = np.array([(file.tell(), len(table), fingerprint)], _HEADER)
            file.write(np.asarray(table, "<i8").tobytes())
            file.seek(0)
            file.write(header.tobytes())
        aside.replace(place)
    finally:
        aside.unlink(missing_ok=True)


def _read_cache(place: Path, photos: Iterable[tuple[Dataset, ImageRecord]]) -> Iterator[BankedImage]:
    header = np.fromfile(place, _HEADER, 1)[0]
    blob = np.asarray(np.memmap(place, np.uint8, "r"))
    numbers = iter(np.fromfile(place, "<i8", int(header["table_len"]), offset=int(header["table_at"])).tolist())
    for dataset, photo in photos:
        at, height, width, count = (next(numbers) for _ in range(4))
        pixels = blob[at : at + height * width * 3].reshape(height, width, 3)
        records = {record.id: record for record in dataset.objects[photo.id]}
        regions = []
        for _ in range(count):
            record_id, at, x0, y0, x1, y1 = (next(numbers) for _ in range(6))
            soft = blob[at : at + (y1 - y0) * (x1 - x0)].reshape(y1 - y0, x1 - x0)
            regions.append((records.get(record_id) or _void_record(photo), ((x0, y0, x1, y1), soft)))
        yield _assemble(dataset, photo, pixels, regions)
