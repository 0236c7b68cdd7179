"""Reader of the photo pack: images, object masks and texts of several public sets in one COCO-style layout.

A set is a folder with `annotations.json`, `images/` and, for some, `panoptic.json` with `panoptic/`. `Pack` reads one
split of one set; `seem.data.image_bank` holds all images that may be trained on.

Frames: pixels of the image as shown (`seem.data.frames`), boxes xyxy with exclusive ends, masks bool H x W.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from seem.data.classes import UNNAMED
from seem.data.dataset import ALL_SPLIT, AnnotatedPolygons, ParsedObjects
from seem.data.image_files import existing_files, path_inside, read_rgb, rgb_to_ids
from seem.data.layout import Layout, sort_splits
from seem.data.readers.coco_files import is_pack
from seem.data.readers.coco_rows import CocoDocument, group_rows, parse_rows, row_polygons
from seem.data.records import (
    CategoryRecord,
    DataError,
    Flaw,
    ImageRecord,
    ObjectRecord,
    PanopticTruth,
    ReferringExpression,
    SegmentRecord,
    categories_by_id,
    category_names,
    things_of,
)


class PackError(DataError):
    """A folder that does not have the layout of the photo pack; the message is one line and names the path."""


SHIPPABLE_SETS: Mapping[str, frozenset[str] | None] = {
    "coco_full": None,
    "coco_person": None,
    "davis2016": None,
    "ccp": None,
    "voc_animals": None,
    "voc_general": None,
    "duts": None,
    "open_mix": frozenset({"A", "B"}),
}
"""Sets whose training images may go into weights that are shipped, and of which licence groups (None: all of them).

camvid, carparts and bsds500 are research only; group C of open_mix states no terms.
"""

VOID_VALUE = 255
"""Value of unlabelled pixels in a semantic map; no set has so many classes."""

_USUAL_SPLITS = ("train", "val", ALL_SPLIT)
_SPLIT_FIELD = re.compile(rb'"split":\s*("(?:[^"\\]|\\.)*")')
_FULLY_LABELLED = ("panoptic", "semantic", "semantic+instances", "parts")


@dataclass(frozen=True, slots=True)
class TrainableSet:
    """A set folder that may be trained on for shipping, restricted to `licence_groups` (None: every image)."""

    path: Path
    licence_groups: frozenset[str] | None

    @property
    def name(self) -> str:
        """The folder's name, which is the set's."""
        return self.path.name

    def admits(self, image: ImageRecord) -> bool:
        """Whether this image may go into shipped weights: a training image of an admitted licence group."""
        is_licensed = self.licence_groups is None or image.licence_group in self.licence_groups
        return image.split == "train" and is_licensed


class Pack:
    """One split of one set, a `Dataset`. On opening only its files are looked for; all else is read on first access."""

    def __init__(self, path: Path, split: str) -> None:
        self.path = path
        self.split = split

    @classmethod
    def open(cls, path: str | os.PathLike[str], split: str = "train") -> Pack:
        """Open the set folder `path`; `split` is train, val, another that its images name, or all.

        Raises:
            PackError: the folder, its annotations.json or its images are missing, or there is no such split.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise PackError(
                f"{folder} is no folder; give the folder of one set, such as data/coco_full."
            )
        if not (folder / "annotations.json").is_file():
            raise PackError(
                f"{folder} has no annotations.json; give the folder of one set, such as data/coco_full."
            )
        if not (folder / "images").is_dir():
            raise PackError(
                f"{folder} has annotations.json but no images/; copy the set's photos beside it."
            )
        if split not in _USUAL_SPLITS and split not in _pack_splits(folder):
            names = ", ".join(dict.fromkeys([*_pack_splits(folder), *_USUAL_SPLITS]))
            raise PackError(f"{folder} has no split {split!r}; use one of {names}.")
        return cls(folder, split)

    def with_images(self, images: Sequence[ImageRecord]) -> Pack:
        """Return the set with some of its images alone."""
        other = Pack(self.path, self.split)
        other.__dict__["images"] = tuple(images)  # in place of what the cached property would read
        return other

    @staticmethod
    def trainable(root: str | os.PathLike[str]) -> list[TrainableSet]:
        """List the sets under `root` whose training images may go into shipped weights (see `SHIPPABLE_SETS`).

        Raises:
            PackError: `root` holds none of them.
        """
        folder = Path(root)
        sets = []
        for name, licence_groups in SHIPPABLE_SETS.items():
            if (folder / name / "annotations.json").is_file():
                sets.append(TrainableSet(folder / name, licence_groups))
        if not sets:
            names = ", ".join(SHIPPABLE_SETS)
            raise PackError(
                f"{folder} holds none of the sets {names}; give the pack's root folder."
            )
        return sets

    @property
    def name(self) -> str:
        """The set's name."""
        return self.path.name

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that describe more than one image."""
        names = ("annotations.json", "panoptic.json", "referring.json")
        return existing_files(map(self.path.joinpath, names))

    @cached_property
    def categories(self) -> Mapping[int, CategoryRecord]:
        """Categories by their id in this set."""
        try:
            return categories_by_id(map(_parse_category, self._document["categories"]))
        except KeyError as error:
            raise PackError(f"{self.path}/annotations.json: a category has no {error}.") from error

    @cached_property
    def images(self) -> tuple[ImageRecord, ...]:
        """The split's images, in the order of the file."""
        images = []
        try:
            for row in self._document["images"]:
                if self.split in (ALL_SPLIT, row.get("split", "train")):
                    images.append(self._parse_image(row))
            return tuple(images)
        except KeyError as error:
            raise PackError(f"{self.path}/annotations.json: an image has no {error}.") from error

    @cached_property
    def objects(self) -> Mapping[int, tuple[ObjectRecord, ...]]:
        """Objects by image id, for every image of the split (an empty tuple where nothing is annotated)."""
        by_image: dict[int, list[ObjectRecord]] = {image.id: [] for image in self.images}
        try:
            for row in self._document["annotations"]:
                if row["image_id"] in by_image:
                    by_image[row["image_id"]].append(self._parse_object(row))
        except (KeyError, TypeError) as error:
            message = f"{self.path}/annotations.json: an annotation lacks {error} or has it in an unknown form."
            raise PackError(message) from error
        return {image_id: tuple(records) for image_id, records in by_image.items()}

    @cached_property
    def expressions(self) -> tuple[ReferringExpression, ...]:
        """Written phrases that single out an object: `referring.json`, where a set has it."""
        file = self.path / "referring.json"
        if not file.is_file():
            return ()
        image_ids = {image.id for image in self.images}
        expressions = []
        for number, row in enumerate(json.loads(file.read_bytes()), 1):
            if row["image_id"] in image_ids:
                expressions.append(
                    ReferringExpression(number, row["image_id"], row["ann_id"], (row["text"],))
                )
        return tuple(expressions)

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """What is wrong with the lists of the set: ids that come twice, annotations of images that are not listed."""
        _, flaws = self._rows_by_image
        return flaws

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(self.images)

    def pixels(self, image: ImageRecord) -> UInt8[np.ndarray, "h w 3"]:
        """Decode an image to RGB.

        Raises:
            PackError: the file is missing, unreadable or of another size than the record says.
        """
        try:
            pixels = read_rgb(image.path, hw=image.hw)
        except DataError as error:
            raise PackError(f"{error} It is one of the set's images; copy them again.") from error
        if pixels.shape[:2] != image.hw:
            raise PackError(
                f"{image.path} is {pixels.shape[:2]} (h, w), but annotations.json says {image.hw}."
            )
        return pixels

    def read_encoded(self, image: ImageRecord) -> bytes:
        """Read an image's file as it is stored, byte for byte."""
        return image.path.read_bytes()

    def panoptic(self, image: ImageRecord) -> PanopticTruth | None:
        """Read the panoptic partition of an image, stuff included; None where the set has none for it."""
        if image.panoptic_path is None:
            return None
        segments = self._panoptic_segments[image.id]
        with Image.open(image.panoptic_path) as opened:
            channels = np.asarray(opened.convert("RGB")).astype(np.int32)
        return PanopticTruth(rgb_to_ids(channels), segments)

    def semantic(self, image: ImageRecord) -> UInt8[np.ndarray, "h w"] | None:
        """Read the map of category ids of an image (void as its set's README says); None where the set has none."""
        if image.semantic_path is None:
            return None
        with Image.open(image.semantic_path) as opened:
            return np.asarray(opened)

    def void(self, image: ImageRecord) -> Bool[np.ndarray, "h w"] | None:
        """Return the mask of unlabelled pixels, neither object nor background; None = there are none."""
        panoptic = self.panoptic(image)
        if panoptic is not None:
            return np.asarray(panoptic.ids == 0)
        category_ids = self.semantic(image)
        if category_ids is None:
            return None
        return np.asarray(category_ids == VOID_VALUE)

    def parse_objects(self, image: ImageRecord) -> ParsedObjects:
        """Read an image's objects; those that cannot be read become flaws."""
        rows, _ = self._rows_by_image
        return parse_rows(rows[image.id], image, self.categories)

    def polygons(self, image: ImageRecord) -> Sequence[AnnotatedPolygons]:
        """Return the polygons that an image's masks are drawn from: the pack's masks are run-length codes."""
        rows, _ = self._rows_by_image
        return row_polygons(rows[image.id], image)

    def complete_names(self, image: ImageRecord) -> frozenset[str]:
        """Names for which the image's annotation is complete: one of them without a mask is truly absent.

        COCO panoptic: all 133; COCO instances: the 80 things; person-only: person; VOC and CCP: all their classes;
        open_mix: the classes of that image's source where `labelled` is instances; salient objects: none.
        """
        if image.labelled in _FULLY_LABELLED:
            return category_names(self.categories.values()) - {""}
        if image.labelled == "instances":
            return self._names_of_source.get(image.source, frozenset()) - {""}
        if image.labelled == "person-only":
            return frozenset({"person"})
        return frozenset()

    @cached_property
    def _document(self) -> Mapping[str, Any]:
        file = self.path / "annotations.json"
        try:
            document = CocoDocument.read(file)
        except DataError as error:
            raise PackError(str(error)) from error
        for row in (*document.images, *document.categories):
            if not isinstance(row.get("id"), int):
                raise PackError(f"{file} has a row whose id is no whole number: {row}.")
        for row in document.images:
            for name in ("file_name", "split"):
                if not isinstance(row.get(name, ""), str):
                    raise PackError(
                        f"{file}: the {name} of image {row['id']} is {row[name]!r}, no text."
                    )
        return {
            "images": document.images,
            "annotations": document.annotations,
            "categories": document.categories,
        }

    @cached_property
    def _rows_by_image(self) -> tuple[dict[int, list[Mapping[str, Any]]], tuple[Flaw, ...]]:
        document = CocoDocument(
            file=self.path / "annotations.json",
            images=self._document["images"],
            annotations=self._document["annotations"],
            categories=self._document["categories"],
        )
        record_ids = {image.id: image.id for image in self.images}
        grouped = group_rows(document, record_ids, self.images)
        return grouped.rows, grouped.flaws

    @cached_property
    def _names_of_source(self) -> Mapping[str, frozenset[str]]:
        """Classes that instance annotations cover: all things, or where a set mixes sources, the classes of each."""
        source_of = {}
        for row in self._document["images"]:
            source_of[row["id"]] = row.get("source_set", self.name)
        if set(source_of.values()) <= {self.name}:
            return {self.name: category_names(things_of(self.categories.values()))}
        names: dict[str, set[str]] = {}
        for row in self._document["annotations"]:
            category = self.categories[row["category_id"]]
            names.setdefault(source_of[row["image_id"]], set()).add(category.text)
        return {source: frozenset(texts) for source, texts in names.items()}

    @cached_property
    def _panoptic_segments(self) -> Mapping[int, tuple[SegmentRecord, ...]]:
        file = self.path / "panoptic.json"
        if not file.is_file():
            raise PackError(
                f"{self.path} names panoptic maps but has no panoptic.json; copy it beside them."
            )
        rows = json.loads(file.read_bytes())["annotations"]
        return {row["image_id"]: self._parse_segments(row["segments_info"]) for row in rows}

    def _parse_segments(self, rows: Iterable[Mapping[str, Any]]) -> tuple[SegmentRecord, ...]:
        segments = []
        for row in rows:
            category = self.categories[row["category_id"]]
            segment = SegmentRecord(row["id"], category, row["area"], bool(row["iscrowd"]))
            segments.append(segment)
        return tuple(segments)

    def _parse_image(self, row: Mapping[str, Any]) -> ImageRecord:
        return ImageRecord(
            id=row["id"],
            set_name=self.name,
            path=path_inside(self.path, row["file_name"]),
            hw=(row["height"], row["width"]),
            split=row.get("split", "train"),
            labelled=row.get("labelled", ""),
            source=row.get("source_set") or row.get("sequence") or self.name,
            licence_group=row.get("license_group", ""),
            captions=tuple(row.get("captions", ())),
            panoptic_path=self._named_file(row, "panoptic_file"),
            semantic_path=self._named_file(row, "semantic_file"),
            sequence=row.get("sequence", ""),
            frame=row.get("frame"),
        )

    def _named_file(self, row: Mapping[str, Any], key: str) -> Path | None:
        name: str | None = row.get(key)
        if not name:
            return None
        return self.path / name

    def _parse_object(self, row: Mapping[str, Any]) -> ObjectRecord:
        x, y, w, h = map(float, row["bbox"])
        height, width = row["segmentation"]["size"]
        written_phrases = tuple(row.get("phrases", ()))
        return ObjectRecord(
            id=row["id"],
            image_id=row["image_id"],
            category=self.categories[row["category_id"]],
            counts=row["segmentation"]["counts"],
            hw=(height, width),
            box=(x, y, x + w, y + h),
            area=row["area"],
            is_crowd=bool(row.get("iscrowd", 0)),
            quality=row.get("quality", ""),
            phrases=tuple(row.get("ref_phrases", ())) + written_phrases,
            phrase_source=row.get("phrase_source", "written" if written_phrases else ""),
            track_id=row.get("track_id"),
        )


def _parse_category(row: Mapping[str, Any]) -> CategoryRecord:
    text = str(row.get("text") or row["name"]).strip()
    if text in UNNAMED:
        text = ""
    return CategoryRecord(
        id=row["id"],
        name=row["name"],
        text=text,
        is_thing=bool(row.get("isthing", 1)),
    )


def _pack_splits(path: Path) -> tuple[str, ...]:
    file = path / "annotations.json"
    if not file.is_file():
        return ()
    names = set(_SPLIT_FIELD.findall(file.read_bytes()))
    return sort_splits(map(json.loads, names)) or ("train",)


PACK = Layout(
    kind="pack",
    title="set of the photo pack",
    expects="annotations.json (with `labelled` on every photo) and images/",
    fits=lambda path: path.is_dir() and is_pack(path),
    splits=_pack_splits,
    read=Pack.open,
    reads_all=True,
)
