"""`Results` and `Segment`: the objects of one image, as columns and one by one."""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.argument_types import explains_arguments
from seem.coco_format import (
    UNLABELLED,
    CocoRecord,
    MaskRecord,
    OutputMode,
    to_panoptic_png,
)
from seem.deprecation import renamed_attributes
from seem.large_images import WindowedImage, thumbnail
from seem.mask_codec import PackedMask
from seem.prompts import Prompt
from seem.rasterize import PixelBox
from seem.results.columns import (
    ResultImage,
    Rows,
    check_id_column,
    check_score_column,
    read_only,
    rgb_crop,
    rgb_pixels,
    selected_row,
    selected_rows,
    size_of,
    take_column,
    take_values,
)
from seem.results.export import (
    to_class_ids,
    to_coco_record,
    to_geojson_record,
    to_mask_records,
    to_table_columns,
    to_yolo_lines,
)
from seem.results.geo_files import object_files
from seem.results.labels import Labels, LazyLabels
from seem.results.objects import ObjectColumns
from seem.results.provenance import Provenance
from seem.visualize import cut_out, draw_overlay
from seem.vocabulary import Category, Vocabulary, distinct_colours
from seem.writing import (
    array_writer,
    checked_stem,
    names_file,
    png_writer,
    text_writer,
    write_together,
)

NUM_TRACK_COLOURS = 64  # of objects in a video, before they repeat
NUM_LABELS_IN_REPR = 5
LARGE_OVERLAY_SIDE = (
    2048  # pixels of the longest side of the overlay of an image that is read by windows
)
NOTEBOOK_PIXELS = 1280  # longest side of the overlay that a notebook shows
# of a longer result under the same stem
LEFTOVERS = r"{}\.(mask-\d+\.png|panoptic\.png|embeddings\.npy|segments\.(npy|tif)|geojson)"


@explains_arguments
@renamed_attributes({"photo": "image", "photo_hw": "image_hw"})
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Results(ObjectColumns):
    """The N objects found in one image of H x W pixels; make one with `Results.of`.

    `image` is shared, not copied. `scores` (N,) are in 0-1. `ids` (N,) are positive and all different: segment ids of a
    panoptic map, stable identities in a video. `kind` names the rule that answered. `logits` (N, h, w) are
    low-resolution mask logits that go back in as `Mask(logits=...)`, one for every 4 x 4 pixels of the network's padded
    input; `embeddings` are (N, D); `proposals` say how `everything` found each mask. Each of them may be None.
    Of a video, `frame` is the index of the frame and `time` when it is shown, in seconds (None where it is unknown).
    """

    @classmethod
    def of(
        cls,
        image: ResultImage,
        masks: Iterable[NDArray[np.bool_] | PackedMask],
        scores: Sequence[float] | NDArray[np.float32],
        *,
        vocabulary: Vocabulary,
        kind: str,
        provenance: Provenance,
        labels: Labels | Callable[[], Labels] | None = None,
        ids: Sequence[int] | NDArray[np.int64] | None = None,
        logits: NDArray[np.float32] | None = None,
        embeddings: NDArray[np.float32] | None = None,
    ) -> Results:
        """Pack N masks of the image's size into a result.

        `masks` may be an N x H x W array or a generator: one mask at a time is enough; packed ones stay as they are.
        `labels` may be a function: it is then called at the first access to a name, at most once, also among threads
        and slices; if it raises, the next access calls it again. A label that is no name of the vocabulary (a phrase)
        stays a label and has category id 0.

        Raises `ValueError` for a mask of another size than the image, scores outside 0-1, ids below 1 or used twice,
        and columns of different lengths.
        """
        image_hw = size_of(image)
        packed = tuple(PackedMask.pack(mask, image_hw) for mask in masks)
        count = len(packed)
        if ids is None:
            ids = range(1, count + 1)
        if labels is None:
            labels = Labels.nameless(count)
        if logits is not None:
            logits = read_only(logits)
        if embeddings is not None:
            embeddings = read_only(embeddings)
        result = cls(
            image=image,
            packed=packed,
            scores=check_score_column(scores),
            ids=check_id_column(ids),
            vocabulary=vocabulary,
            kind=kind,
            provenance=provenance,
            lazy_labels=LazyLabels(labels),
            logits=logits,
            embeddings=embeddings,
        )
        result._check_lengths()
        return result

    def __iter__(self) -> Iterator[Segment]:
        return (Segment(self, index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: Rows) -> Results: ...
    def __getitem__(self, index: int | Rows) -> Segment | Results:
        """`results[0]` is a `Segment`; a slice, a list of row numbers, or N booleans give `Results`."""
        if isinstance(index, (int, np.integer)):
            return Segment(self, selected_row(int(index), len(self)))
        return self._take(selected_rows(index, len(self)))

    def __repr__(self) -> str:
        height, width = self.image_hw
        plural = "s" if len(self) != 1 else ""
        text = f"{len(self)} object{plural} in {width} x {height} pixels"
        if self.lazy_labels.known and len(self):
            tags = list(self.tags[:NUM_LABELS_IN_REPR])
            if len(self) > NUM_LABELS_IN_REPR:
                tags.append("...")
            text += f": {', '.join(tags)}"
        text = "; ".join([text, *self.notes])
        return f"<Results of {self.provenance.task}: {text}>"

    def filter(
        self, label: str | None = None, min_score: float = 0.0, min_area: int = 0
    ) -> Results:
        """Keep the objects that have this label (any case), at least this score and at least this area in pixels."""
        selected = (self.scores >= min_score) & (self.areas >= min_area)
        if label is not None:
            selected &= self._has_label(label)
        return self[selected]

    def _has_label(self, label: str) -> NDArray[np.bool_]:
        """Say for each object whether it is called `label`; a category also goes by its phrase ("sky")."""
        spellings = {label.casefold()}
        for category in self.vocabulary:
            if label.casefold() in (category.name.casefold(), category.phrase.casefold()):
                spellings.add(category.name.casefold())
        has_label = np.zeros(len(self), dtype=np.bool_)
        for row, name in enumerate(self.labels):
            has_label[row] = name is not None and name.casefold() in spellings
        return has_label

    def _take(self, rows: list[int]) -> Results:
        proposals = self.proposals
        if proposals is not None:
            proposals = take_values(proposals, rows)
        return Results(
            image=self.image,
            packed=take_values(self.packed, rows),
            scores=read_only(self.scores[rows]),
            ids=read_only(self.ids[rows]),
            vocabulary=self.vocabulary,
            kind=self.kind,
            provenance=self.provenance,
            lazy_labels=self.lazy_labels.take(rows, len(self)),
            logits=take_column(self.logits, rows),
            embeddings=take_column(self.embeddings, rows),
            proposals=proposals,
            frame=self.frame,
            time=self.time,
        )

    # --- Images -------------------------------------------------------------------------------------------------------

    def panoptic_map(self) -> NDArray[np.int32]:
        """Return (H, W) with the id of the object at each pixel, 0 where there is none.

        Raises `ValueError` when masks overlap: then no such map exists.
        """
        ids = np.zeros(self.image_hw, dtype=np.int32)
        for number, packed in zip(self.ids.tolist(), self.packed, strict=True):
            view, crop = ids[packed.window], packed.crop()
            if view[crop].any():
                raise ValueError(
                    f"Mask {number} overlaps another, a panoptic map has one object a pixel; use masks."
                )
            view[crop] = number
        return ids

    def overlay(self, alpha: float = 0.5, labels: bool = True, prompts: bool = True) -> Image.Image:
        """Draw the objects over the image, in its size, RGB. Larger objects lie below smaller ones.

        An image that is read by windows (`Model.encode_tiled`) is reduced so that no side is longer than 2,048 pixels,
        without its prompts.

        `alpha` (0-1) is the strength of the colours. `labels` writes name and score on a plate inside each mask, or
        beside a small one, never over another plate; a plate without a free spot is left out. `prompts` draws the
        clicks, strokes and boxes of the request. Raises `ValueError` for another `alpha`.
        """
        tags = list(self.tags) if labels else None
        if isinstance(self.image, WindowedImage):
            picture, factor = thumbnail(self.image, LARGE_OVERLAY_SIDE)
            masks = [packed.reduced(factor) for packed in self.packed]
            return draw_overlay(
                np.asarray(picture), masks, self._coloured_categories(), tags, (), alpha
            )
        drawn_prompts: list[Prompt] = []
        if prompts:
            drawn_prompts += itertools.chain.from_iterable(self.provenance.prompts)
        return draw_overlay(
            rgb_pixels(self.image),
            self.packed,
            self._coloured_categories(),
            tags,
            drawn_prompts,
            alpha,
        )

    def _coloured_categories(self) -> Sequence[Category | None]:
        """Return the category of each object that gives it its colour."""
        if self.frame is None:
            return self._categories()
        return self._track_categories()

    def _track_categories(self) -> list[Category]:
        """Return a category for each object of a video: it has the colour of its id in every frame."""
        colours = distinct_colours(NUM_TRACK_COLOURS)
        return [
            Category(id, "", "", True, colours[(id - 1) % NUM_TRACK_COLOURS])
            for id in self.ids.tolist()
        ]

    def show(self) -> None:
        """Open the overlay in the system's image viewer."""
        self.overlay().show()

    def _repr_png_(self) -> bytes:
        """Draw what a notebook shows: the overlay, at most 1280 pixels wide or high."""
        overlay = self.overlay()
        overlay.thumbnail((NOTEBOOK_PIXELS, NOTEBOOK_PIXELS))
        buffer = io.BytesIO()
        overlay.save(buffer, format="PNG")
        return buffer.getvalue()

    def cutouts(self) -> tuple[Image.Image, ...]:
        """Cut every object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask."""
        read = partial(rgb_crop, self.image)
        return tuple(cut_out(read, packed) for packed in self.packed)

    # --- Other formats and files --------------------------------------------------------------------------------------

    def to_coco(self, image_id: int = 1) -> CocoRecord:
        """Return one COCO-style object: `images`, `annotations`, `categories`, and `seem` with the provenance."""
        return to_coco_record(self, image_id)

    def to_records(self, output_mode: OutputMode = "binary_mask") -> list[MaskRecord]:
        """Return the objects as segment-anything's automatic mask generator does; what reads its output reads this.

        `output_mode`: "binary_mask" (H, W bool), "uncompressed_rle" or "coco_rle" (as pycocotools encodes). `bbox` is
        x, y, width, height. Of other results than those of `everything`, `predicted_iou` is the score and
        `stability_score` None. An object query has no click: its `point_coords` is empty. Raises `ValueError` for
        another mode.
        """
        modes = get_args(OutputMode)
        if output_mode not in modes:
            raise ValueError(f"output_mode is {output_mode!r}; it is one of {', '.join(modes)}.")
        return to_mask_records(self, output_mode)

    def to_geojson(self, transform: Sequence[float] | None = None) -> dict[str, Any]:
        """Return the objects as a GeoJSON FeatureCollection (RFC 7946): polygons with holes along the edges of pixels.

        Coordinates are pixels of the image as shown, x to the right and y down: pixel (i, j) covers i to i + 1 and j to
        j + 1. With `transform` they are those of a map: (a, b, c, d, e, f) as rasterio's `Affine` begins, x = a column
        + b row + c and y = d column + e row + f. Class names and colours are in `properties.classification`. The
        geometry of an empty mask is None. Raises `ValueError` for a transform that is none.
        """
        return to_geojson_record(self, transform)

    def to_yolo(self, names: Sequence[str] | None = None) -> list[str]:
        """Return the lines of a YOLO segmentation label file: class index, then corners as fractions of the image.

        `names` are the classes in the order of their indices; None = those of the vocabulary. One line is one polygon:
        holes are reached by a bridge of zero width, parts are joined by lines. Empty masks have no line. Raises
        `ValueError` for an object whose label is not among the names. `save_dataset` writes whole data sets.
        """
        return to_yolo_lines(self, names)

    def to_dataframe(self) -> Any:
        """Return the objects as a `pandas.DataFrame`, a row each; needs the extra `pandas`.

        Columns: image (file name), id, label, label_score, category_id, score, x0, y0, x1, y1 (the tight box, in
        pixels), area, segmentation (compressed run-length code); results of a video have frame and time too. Raises
        `SeemError` where pandas is not installed.
        """
        from seem.adapters.pandas import to_frame

        return to_frame(to_table_columns(self))

    def to_supervision(self) -> Any:
        """Return the objects as `supervision.Detections`; needs the extra `supervision`.

        Masks, tight boxes, scores, class ids that count from 0 (-1 = unlabelled), class names, and `ids` as tracker
        ids. Raises `SeemError` where supervision is not installed.
        """
        from seem.adapters.supervision import to_detections

        return to_detections(
            boxes=self.boxes,
            masks=self.masks,
            scores=self.scores,
            class_ids=to_class_ids(self.category_ids, self.vocabulary),
            class_names=[label or UNLABELLED for label in self.labels],
            tracker_ids=self.ids,
        )

    def save(
        self,
        folder: str | Path,
        stem: str | None = None,
        overwrite: bool = False,
        *,
        embeddings: bool = False,
    ) -> tuple[Path, ...]:
        """Write `<stem>.overlay.png`, `<stem>.json`, `<stem>.mask-<k>.png` (0 and 255, k from 0); return their paths.

        Of an image that is read by windows there are no mask images; the JSON file has the masks. Of one that is also
        georeferenced, `<stem>.segments.tif` has the ids (smaller objects on larger ones), and `<stem>.geojson` the
        polygons.

        A panoptic result also gets `<stem>.panoptic.png` (id = R + 256 G + 65536 B). With `embeddings`, a vector
        for each mask is in `<stem>.embeddings.npy` (N x D float32, length 1). The stem is the image's file name without
        suffix, or "photo". Everything is written aside and then renamed: a failure leaves nothing new behind.
        `overwrite` replaces all files of that stem, also masks left over from a longer result.

        Raises `FileExistsError` for a file that exists, `OSError` where the folder cannot be written or the disk is
        full, `ValueError` for a folder that is named like a file, a stem that is no file name, and for embeddings of a
        result that has none.
        """
        if embeddings and self.embeddings is None and len(self):
            raise ValueError(
                f"A result of {self.provenance.task} has no embeddings; leave embeddings out."
            )
        if stem is None:
            stem = Path(self.provenance.image_name or "photo").stem
        stem = checked_stem(stem)
        if names_file(Path(folder)):
            raise ValueError(
                f"{folder} is the name of a file, and a result is several; name a folder, or save one image: "
                "result.overlay().save(path)."
            )
        leftovers = re.compile(LEFTOVERS.format(re.escape(stem)))
        return write_together(Path(folder), self._files(stem, embeddings), overwrite, leftovers)

    def _files(self, stem: str, embeddings: bool) -> dict[str, Callable[[Path], None]]:
        """Return how each file of a saved result is written, by its name."""
        files: dict[str, Callable[[Path], None]] = {
            f"{stem}.overlay.png": png_writer(
                self.overlay, level=3
            ),  # half the time, a fifth more bytes
            f"{stem}.json": text_writer(lambda: json.dumps(self.to_coco(), ensure_ascii=False)),
        }
        is_large = isinstance(self.image, WindowedImage)
        for index, packed in enumerate(() if is_large else self.packed):
            files[f"{stem}.mask-{index}.png"] = png_writer(packed.to_image)
        if isinstance(self.image, WindowedImage) and self.image.georeference is not None:
            georeference = self.image.georeference
            files |= object_files(
                stem,
                self.image_hw,
                zip(self.ids.tolist(), self.packed, strict=True),
                partial(self.to_geojson, georeference.transform),
                georeference,
            )
        if self.provenance.task == "panoptic":
            files[f"{stem}.panoptic.png"] = png_writer(lambda: to_panoptic_png(self.panoptic_map()))
        if embeddings:
            vectors = self.embeddings
            if vectors is None:
                vectors = np.zeros((0, 0), np.float32)
            files[f"{stem}.embeddings.npy"] = array_writer(vectors)
        return files


@dataclass(frozen=True, slots=True)
class Segment:
    """One object of a result. Nothing is copied: every property reads from the result it belongs to."""

    results: Results
    index: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask, (H, W) bool, decoded anew."""
        return self.results.packed[self.index].decode()

    @property
    def box(self) -> PixelBox:
        """Tight box x0, y0, x1, y1 with exclusive maxima; zeros for an empty mask."""
        return self.results.packed[self.index].box

    @property
    def area(self) -> int:
        """Pixels in the mask."""
        return self.results.packed[self.index].area

    @property
    def score(self) -> float:
        """The object's score, 0-1."""
        return float(self.results.scores[self.index])

    @property
    def id(self) -> int:
        """The object's id, positive."""
        return int(self.results.ids[self.index])

    @property
    def label(self) -> str | None:
        """The object's name; the first access may run the model."""
        return self.results.labels[self.index]

    @property
    def label_score(self) -> float:
        """The score of the label, 0-1."""
        return self.results.label_scores[self.index]

    @property
    def category_id(self) -> int:
        """The id of the label in the vocabulary, 0 = unlabelled."""
        return int(self.results.category_ids[self.index])

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """Low-resolution mask logits (h, w), for `Mask(logits=...)`."""
        return self._row_of(self.results.logits)

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """The object's embedding, (D,)."""
        return self._row_of(self.results.embeddings)

    def _row_of(self, column: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
        if column is None:
            return None
        row: NDArray[np.float32] = column[self.index]
        return row

    def cutout(self) -> Image.Image:
        """Cut the object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask."""
        return cut_out(partial(rgb_crop, self.results.image), self.results.packed[self.index])
