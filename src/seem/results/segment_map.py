"""The segments of an image that is too large for masks in memory: a map of ids in a file, and a table."""

from __future__ import annotations

import json
import re
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from PIL import Image

from seem.annotation_formats.geojson import FeatureDescription
from seem.coco_format import to_coco_category, to_xywh
from seem.large_images import WindowedImage, strips, thumbnail
from seem.mask_codec import PackedMask
from seem.part_files import new_temporary_folder, remove_part
from seem.rasterize import PixelBox
from seem.results.export import to_seem_record
from seem.results.geo_files import map_files
from seem.results.labels import Labels
from seem.results.provenance import Provenance
from seem.results.results import LARGE_OVERLAY_SIDE, Results
from seem.visualize import draw_overlay
from seem.vocabulary import Vocabulary
from seem.writing import checked_stem, png_writer, text_writer, write_together

BLOCK_SIDE = 1024  # pixels of a block of the map that is in memory
MAP_SUFFIX = "segments.npy"
DTYPE = np.dtype(np.int32)


class SegmentMapFile:
    """An H x W map of ids in a temporary `.npy` file, 0 = no segment; it vanishes with the object.

    Windows are mapped into memory while they are read or written, and not longer.
    """

    def __init__(self, hw: tuple[int, int]) -> None:
        """Make a map of zeros, in the folder for temporary files; `OSError` where the disk is full."""
        self.hw = hw
        folder = new_temporary_folder()
        self._remove = weakref.finalize(self, remove_part, folder)
        self.path = folder / MAP_SUFFIX
        with self.path.open("wb") as file:
            header = {
                "descr": npy_format.dtype_to_descr(DTYPE),
                "fortran_order": False,
                "shape": hw,
            }
            npy_format.write_array_header_1_0(file, header)
            self._offset = file.tell()
            file.truncate(self._offset + hw[0] * hw[1] * DTYPE.itemsize)

    def read(self, box: PixelBox) -> NDArray[np.int32]:
        """Read a window."""
        x0, y0, x1, y1 = box
        return np.array(self._mapped("r")[y0:y1, x0:x1])

    def write(self, box: PixelBox, ids: NDArray[np.int32]) -> None:
        """Write a window."""
        x0, y0, x1, y1 = box
        self._mapped("r+")[y0:y1, x0:x1] = ids

    def _mapped(self, mode: Any) -> NDArray[np.int32]:
        return np.memmap(self.path, DTYPE, mode, self._offset, self.hw)


@dataclass(frozen=True, slots=True)
class MapSegment:
    """One segment of a map: its id there, name, score (0-1), pixels, and tight box (xyxy, maxima exclusive)."""

    id: int
    label: str
    is_thing: bool
    score: float
    area: int
    box: PixelBox


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SegmentMap:
    """The segments of a large image of H x W pixels; they do not overlap. `TiledImage.panoptic` makes one.

    The ids of all pixels are in a temporary file, four bytes a pixel; `read` and `results_in` return windows, `save`
    writes all. `kind` names the rule that answered.
    """

    image: WindowedImage
    file: SegmentMapFile
    segments: tuple[MapSegment, ...]
    vocabulary: Vocabulary
    kind: str
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.segments)

    def __iter__(self) -> Iterator[MapSegment]:
        return iter(self.segments)

    def __repr__(self) -> str:
        height, width = self.hw
        return f"<SegmentMap: {len(self)} segments in {width} x {height} pixels>"

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.file.hw

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know."""
        return self.provenance.notes

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the segments."""
        return tuple(segment.label for segment in self.segments)

    @property
    def tags(self) -> tuple[str, ...]:
        """What the overlay writes on each segment: its name as a phrase, and its score."""
        phrases = {category.name: category.phrase for category in self.vocabulary}
        return tuple(f"{phrases[one.label]} {one.score:.2f}" for one in self.segments)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall time of each step."""
        return self.provenance.seconds

    def read(self, box: PixelBox) -> NDArray[np.int32]:
        """Return the ids of the pixels in a window (x0, y0, x1, y1), 0 = no segment.

        Raises `ValueError` for a window that is empty or not inside the image.
        """
        return self.file.read(checked_window(box, self.hw))

    def results_in(self, box: PixelBox) -> Results:
        """Return the segments in a window (x0, y0, x1, y1) as results about that part of the image.

        Ids and scores are those of the full image. Raises `ValueError` as `read` does, `SeemError` for an image that is
        no longer there.
        """
        x0, y0, x1, y1 = checked_window(box, self.hw)
        ids = self.file.read((x0, y0, x1, y1))
        present = set(np.unique(ids).tolist())
        segments = [segment for segment in self.segments if segment.id in present]
        return self._results(
            Image.fromarray(self.image.read((x0, y0, x1, y1))),
            segments,
            [ids == segment.id for segment in segments],
        )

    def _results(
        self, image: Image.Image, segments: Sequence[MapSegment], masks: Sequence[NDArray[np.bool_]]
    ) -> Results:
        scores = tuple(segment.score for segment in segments)
        return Results.of(
            image,
            masks,
            scores,
            vocabulary=self.vocabulary,
            kind=self.kind,
            provenance=self.provenance,
            labels=Labels(tuple(segment.label for segment in segments), scores),
            ids=[segment.id for segment in segments],
        )

    def overlay(self, alpha: float = 0.5, longest_side: int = LARGE_OVERLAY_SIDE) -> Image.Image:
        """Draw the segments over the image, reduced so that no side is longer than `longest_side` pixels."""
        picture, factor = thumbnail(self.image, longest_side)
        ids = self._reduced_ids(factor)
        masks, categories = [], []
        by_name = {category.name: category for category in self.vocabulary}
        for segment in self.segments:
            masks.append(PackedMask.pack(ids == segment.id, ids.shape))
            categories.append(by_name[segment.label])
        return draw_overlay(np.asarray(picture), masks, categories, self.tags, (), alpha)

    def _reduced_ids(self, factor: int) -> NDArray[np.int32]:
        """Return the id in the middle of every `factor` x `factor` pixels."""
        width = self.hw[1]
        rows = []
        for box in strips(self.hw, factor):
            strip = self.file.read(box)
            row = np.minimum(np.arange(0, strip.shape[0], factor) + factor // 2, len(strip) - 1)
            column = np.minimum(np.arange(0, width, factor) + factor // 2, width - 1)
            rows.append(strip[row][:, column])
        return np.concatenate(rows)

    def to_coco(self, map_name: str, image_id: int = 1) -> dict[str, Any]:
        """Return a COCO panoptic object: `images`, `annotations` with `segments_info`, `categories`, and `seem`.

        `map_name` is the file of the ids. Segments have their name and score besides.
        """
        height, width = self.hw
        ids = {category.name: category.id for category in self.vocabulary}
        info = []
        for segment in self.segments:
            info.append(
                {
                    "id": segment.id,
                    "category_id": ids[segment.label],
                    "isthing": int(segment.is_thing),
                    "area": segment.area,
                    "bbox": to_xywh(segment.box),
                    "iscrowd": 0,
                    "label": segment.label,
                    "score": round(segment.score, 6),
                }
            )
        name = self.provenance.image_name or "photo"
        return {
            "images": [{"id": image_id, "file_name": name, "width": width, "height": height}],
            "annotations": [{"image_id": image_id, "file_name": map_name, "segments_info": info}],
            "categories": list(map(to_coco_category, self.vocabulary)),
            "seem": to_seem_record(self.provenance, self.kind, self.provenance.seconds),
        }

    def save(
        self, folder: str | Path, stem: str | None = None, overwrite: bool = False
    ) -> tuple[Path, ...]:
        """Write `<stem>.segments.npy` (ids), `<stem>.overlay.png` (reduced) and `<stem>.json`; return their paths.

        `numpy.load(path, mmap_mode="r")` opens the ids without reading them. Of a georeferenced image they are in
        `<stem>.segments.tif` instead, and its polygons in `<stem>.geojson`. All files are written or none. Raises
        `FileExistsError` for a file that exists, without `overwrite`; `OSError` where the folder cannot be written or
        the disk is full.
        """
        stem = checked_stem(stem or Path(self.provenance.image_name or "photo").stem)
        leftovers = re.compile(rf"{re.escape(stem)}\.(segments\.(npy|tif)|geojson)")
        return write_together(Path(folder), self._files(stem), overwrite, leftovers)

    def _files(self, stem: str) -> dict[str, Callable[[Path], None]]:
        """Return how each file of a saved map is written, by its name."""
        files = self._map_files(stem)
        map_name = next(iter(files))
        return {
            f"{stem}.overlay.png": png_writer(self.overlay, level=3),
            **files,
            f"{stem}.json": text_writer(lambda: json.dumps(self.to_coco(map_name))),
        }

    def _map_files(self, stem: str) -> dict[str, Callable[[Path], None]]:
        """Return how the file of the ids is written, and the polygons of a georeferenced image."""
        georeference = self.image.georeference
        if georeference is None:
            return {f"{stem}.{MAP_SUFFIX}": partial(shutil.copyfile, self.file.path)}
        descriptions = [
            FeatureDescription(one.id, one.label, one.score, one.area) for one in self.segments
        ]
        categories = map(to_coco_category, self.vocabulary)
        return map_files(stem, self.hw, self.file.read, descriptions, categories, georeference)


def checked_window(box: Sequence[int], hw: tuple[int, int]) -> PixelBox:
    """Return a window of an image; `ValueError` for one that is empty or not inside."""
    height, width = hw
    x0, y0, x1, y1 = (int(value) for value in box)
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(
            f"The window {tuple(box)} (x0, y0, x1, y1) is not inside the image of {width} x {height} pixels."
        )
    return x0, y0, x1, y1


def blocks(hw: tuple[int, int]) -> Iterator[PixelBox]:
    """Cut a map into blocks."""
    height, width = hw
    for y0 in range(0, height, BLOCK_SIDE):
        for x0 in range(0, width, BLOCK_SIDE):
            yield x0, y0, min(x0 + BLOCK_SIDE, width), min(y0 + BLOCK_SIDE, height)


@dataclass(frozen=True, slots=True)
class SegmentExtent:
    """The pixels of a segment, and its tight box."""

    area: int
    box: PixelBox


def renumber(file: SegmentMapFile, new_ids: NDArray[np.int32]) -> dict[int, SegmentExtent]:
    """Replace every id of a map, block by block; return the extent of the segments that have pixels, by new id."""
    extents: dict[int, SegmentExtent] = {}
    for block in blocks(file.hw):
        ids = new_ids[file.read(block)]
        file.write(block, ids)
        areas = np.bincount(ids.ravel(), minlength=1)
        for number in (np.flatnonzero(areas[1:]) + 1).tolist():
            x0, y0, x1, y1 = PackedMask.pack(ids == number, ids.shape).box
            left, top = block[:2]
            here = SegmentExtent(int(areas[number]), (x0 + left, y0 + top, x1 + left, y1 + top))
            extents[number] = _joined(extents.get(number), here)
    return extents


def _joined(one: SegmentExtent | None, other: SegmentExtent) -> SegmentExtent:
    if one is None:
        return other
    (x0, y0, x1, y1), (u0, v0, u1, v1) = one.box, other.box
    box = (min(x0, u0), min(y0, v0), max(x1, u1), max(y1, v1))
    return SegmentExtent(one.area + other.area, box)
