"""What comes back: masks, scores and names of objects, in the pixels of the photo as shown.

`Results` is immutable and behaves like a list of `Segment`. Masks are kept packed (the bounding box alone, a bit a
pixel) and decoded when looked at. Labels may be lazy: they are asked for on the first look at anything that shows a
name (`labels`, `category_ids`, `overlay()`, `to_coco()`, `save()`, `filter(label=...)`), once, whichever thread looks.

`mask_codec.py` packs masks, `coco_format.py` has the records of other programs, `writing.py` writes files.
"""

from __future__ import annotations

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast, get_args, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.coco_format import (
    UNLABELLED_CATEGORY,
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    CocoRecord,
    CocoRle,
    MaskRecord,
    OutputMode,
    SeemRecord,
    encode_mask,
    to_coco_category,
    to_rle,
    to_xywh,
)
from seem.deprecation import renamed_attributes
from seem.mask_codec import PackedMask
from seem.prompts import Prompt
from seem.version import __version__
from seem.visualize import Bounds, cut_out, draw_overlay
from seem.vocabulary import Category, Vocabulary, distinct_colours
from seem.writing import array_writer, checked_stem, png_writer, text_writer, write_together

Picture: TypeAlias = "Image.Image | NDArray[np.uint8]"
Rows: TypeAlias = "slice | Sequence[bool] | Sequence[int] | NDArray[np.bool_] | NDArray[np.int64]"

TRACK_COLOURS = 64  # of objects in a video, before they repeat
LEFTOVERS = r"{}\.(mask-\d+\.png|panoptic\.png|embeddings\.npy)"  # of a longer result under the same stem


@dataclass(frozen=True, slots=True)
class Labels:
    """What N objects are called: a name each, None where none fits, and how sure that is (0-1)."""

    names: tuple[str | None, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.scores):
            raise ValueError(f"Labels come with a score each, got {len(self.names)} names, {len(self.scores)} scores.")

    @classmethod
    def nameless(cls, count: int) -> Labels:
        """Return labels for objects that nobody named."""
        return cls((None,) * count, (0.0,) * count)

    @classmethod
    def said(cls, names: Sequence[str | None], scores: Sequence[float]) -> Labels | None:
        """Return what every object was called by the user; None where one was not called anything."""
        every = [name for name in names if name is not None]
        return cls(tuple(every), tuple(scores)) if len(every) == len(names) else None

    def filled_by(self, names: Sequence[str | None], scores: Sequence[float]) -> Labels:
        """Return these labels, but what an object was called where it was called anything."""
        mine, theirs = zip(self.names, self.scores, strict=True), zip(names, scores, strict=True)
        both = [own if other[0] is None else other for own, other in zip(mine, theirs, strict=True)]
        return Labels(tuple(name for name, _ in both), tuple(score for _, score in both))

    def take(self, rows: Sequence[int]) -> Labels:
        """Return the labels of some of the objects."""
        return Labels(tuple(self.names[row] for row in rows), tuple(self.scores[row] for row in rows))


@renamed_attributes({"photo_name": "image_name"})
@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from: everything that its JSON file says beside the objects.

    `prompts`: one inner sequence for each object that was asked for. `seconds`: wall time of each step. `rules`: how
    prompts were drawn and queries chosen. `notes`: what a reader must know, for example that the photo was turned.
    `orientation`: the EXIF orientation that was undone, 1 for none. `image_name`: the file's name, with its suffix.
    `caption`: a sentence about the photo, if one was asked for.
    """

    task: str
    model: str
    model_sha256: str | None = None
    precision: str = "float32"
    prompts: tuple[tuple[Prompt, ...], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    image_name: str | None = None
    orientation: int = 1
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Proposal:
    """How `everything` came by a mask: how good (0-1) and how stable (0-1) it is, where it was looked for.

    `point` is the position (x, y) of the click that it answers, None for an object query; `crop_box` is x0, y0, x1, y1.
    """

    predicted_iou: float
    stability_score: float
    point: tuple[float, float] | None
    crop_box: Bounds


@renamed_attributes({"photo_hw": "image_hw"})
@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Results:
    """The N objects found in one photo of H x W pixels; make one with `Results.of`.

    `photo` is shared, not copied. `scores` (N,) are in 0-1. `ids` (N,) are positive and all different: segment ids of a
    panoptic map, stable identities in a video. `kind` names the rule that answered. `logits` (N, h, w) are
    low-resolution mask logits that go back in as `Mask(logits=...)`, one for every 4 x 4 pixels of the network's padded
    input; `embeddings` are (N, D); `proposals` say how `everything` found each mask. Each of them may be None.
    Of a video, `frame` is the index of the frame and `time` when it is shown, in seconds (None where nobody knows).
    """

    photo: Picture
    packed: tuple[PackedMask, ...]
    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    vocabulary: Vocabulary
    kind: str
    provenance: Provenance
    naming: LazyLabels
    logits: NDArray[np.float32] | None = None
    embeddings: NDArray[np.float32] | None = None
    proposals: tuple[Proposal, ...] | None = None
    frame: int | None = None
    time: float | None = None

    @classmethod
    def of(
        cls,
        photo: Picture,
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
        """Pack N masks of the photo's size into a result.

        `masks` may be an N x H x W array or a generator: one mask at a time is enough; packed ones stay as they are.
        `labels` may be a function: it is then called at the first look at a name, at most once, also among threads and
        slices; if it raises, the next look calls it again. A label that is no name of the vocabulary (a phrase) stays a
        label and has category id 0.

        Raises `ValueError` for a mask of another size than the photo, scores outside 0-1, ids below 1 or used twice,
        and columns of different lengths.
        """
        image_hw = _photo_hw(photo)
        packed = tuple(PackedMask.pack(mask, image_hw) for mask in masks)
        count = len(packed)
        result = cls(
            photo=photo,
            packed=packed,
            scores=_checked_scores(scores),
            ids=_checked_ids(range(1, count + 1) if ids is None else ids),
            vocabulary=vocabulary,
            kind=kind,
            provenance=provenance,
            naming=LazyLabels(Labels.nameless(count) if labels is None else labels),
            logits=None if logits is None else read_only(logits),
            embeddings=None if embeddings is None else read_only(embeddings),
        )
        lengths = {
            "scores": len(result.scores),
            "ids": len(result.ids),
            "labels": len(labels.names) if isinstance(labels, Labels) else count,
            "logits": count if logits is None else len(logits),
            "embeddings": count if embeddings is None else len(embeddings),
        }
        for name, length in lengths.items():
            if length != count:
                raise ValueError(f"There are {count} masks, but {length} {name}; give one for each mask.")
        return result

    def __len__(self) -> int:
        return len(self.packed)

    def __iter__(self) -> Iterator[Segment]:
        return (Segment(self, index) for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: Rows) -> Results: ...
    def __getitem__(self, index: int | Rows) -> Segment | Results:
        """`results[0]` is a `Segment`; a slice, a list of row numbers, or N booleans give `Results`."""
        if isinstance(index, (int, np.integer)):
            return Segment(self, _chosen_row(int(index), len(self)))
        return self._take(_chosen_rows(index, len(self)))

    def __repr__(self) -> str:
        height, width = self.image_hw
        objects = "1 object" if len(self) == 1 else f"{len(self)} objects"
        names = ""
        if self.naming.known:
            shown = self.tags
            names = ": " + ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "") if shown else ""
        notes = f"; {'; '.join(self.notes)}" if self.notes else ""
        return f"<Results of {self.provenance.task}: {objects} in {width} x {height} pixels{names}{notes}>"

    def filter(self, label: str | None = None, min_score: float = 0.0, min_area: int = 0) -> Results:
        """Keep the objects that have this label (any case), at least this score and at least this area in pixels."""
        chosen = (self.scores >= min_score) & (self.areas >= min_area)
        if label is not None:
            wanted = label.casefold()
            spellings = {
                c.name.casefold() for c in self.vocabulary if wanted in (c.name.casefold(), c.phrase.casefold())
            }
            spellings.add(wanted)
            chosen &= np.array(
                [name is not None and name.casefold() in spellings for name in self.labels], dtype=np.bool_
            )
        return self[chosen]

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the photo as shown."""
        return _photo_hw(self.photo)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """All masks at once, (N, H, W) bool, decoded anew; `iter_masks()` holds one at a time."""
        masks = np.zeros((len(self), *self.image_hw), dtype=np.bool_)
        for mask, packed in zip(masks, self.packed, strict=True):
            mask[packed.window] = packed.crop()
        return masks

    def iter_masks(self) -> Iterator[NDArray[np.bool_]]:
        """Decode one mask after the other, each (H, W) bool."""
        return (packed.decode() for packed in self.packed)

    @property
    def rle(self) -> tuple[CocoRle, ...]:
        """The masks as COCO's compressed run-length code, which pycocotools reads."""
        return tuple(to_rle(mask) for mask in self.iter_masks())

    @property
    def boxes(self) -> NDArray[np.int64]:
        """Tight boxes (N, 4) as x0, y0, x1, y1 with exclusive maxima; zeros for an empty mask."""
        return np.array([packed.box for packed in self.packed], dtype=np.int64).reshape(-1, 4)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in each mask, (N,)."""
        return np.array([packed.area for packed in self.packed], dtype=np.int64)

    @property
    def labels(self) -> tuple[str | None, ...]:
        """Names, None where there is none. The first look may run the model (see the top of the file)."""
        return self.naming.get(len(self)).names

    @property
    def label_scores(self) -> tuple[float, ...]:
        """How sure each label is, 0-1; 0 where there is none."""
        return self.naming.get(len(self)).scores

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, for example that a model answered without a reference, or what was not found."""
        return self.provenance.notes

    @property
    def category_ids(self) -> NDArray[np.int64]:
        """Ids of the labels in the vocabulary, (N,); 0 = unlabelled."""
        return np.array([category.id if category else 0 for category in self._categories()], dtype=np.int64)

    @property
    def categories(self) -> tuple[CocoCategory, ...]:
        """What category ids stand for: "unlabelled" (0), then the vocabulary."""
        return (UNLABELLED_CATEGORY, *map(to_coco_category, self.vocabulary))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each step; "labels" joins when lazy labels have been looked at."""
        asked = {} if self.naming.seconds is None else {"labels": self.naming.seconds}
        return {**self.provenance.seconds, **asked}

    def panoptic_map(self) -> NDArray[np.int32]:
        """Return (H, W) with the id of the object at each pixel, 0 where there is none.

        Raises `ValueError` when masks overlap: then no such map exists.
        """
        drawn = np.zeros(self.image_hw, dtype=np.int32)
        for number, packed in zip(self.ids.tolist(), self.packed, strict=True):
            view, crop = drawn[packed.window], packed.crop()
            if view[crop].any():
                raise ValueError(f"Mask {number} overlaps another, a panoptic map has one object a pixel; use masks.")
            view[crop] = number
        return drawn

    def overlay(self, alpha: float = 0.5, labels: bool = True, prompts: bool = True) -> Image.Image:
        """Draw the objects over the photo, in its size, RGB. Larger objects lie below smaller ones.

        `alpha` (0-1) is the strength of the colours. `labels` writes name and score on a plate inside each mask, or
        beside a small one, never over another plate; what finds no place is left out. `prompts` shows the clicks,
        strokes and boxes that were asked with. Raises `ValueError` for another `alpha`.
        """
        return draw_overlay(
            _pixels(self.photo),
            self.packed,
            self._categories() if self.frame is None else self._tracks(),
            list(self.tags) if labels else None,
            [prompt for group in self.provenance.prompts for prompt in group] if prompts else [],
            alpha,
        )

    def show(self) -> None:
        """Open the overlay in the system's picture viewer."""
        self.overlay().show()

    def cutouts(self) -> tuple[Image.Image, ...]:
        """Cut every object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask."""
        pixels = _pixels(self.photo)
        return tuple(cut_out(pixels, packed) for packed in self.packed)

    def to_coco(self, image_id: int = 1) -> CocoRecord:
        """Return one COCO-style object: `images`, `annotations`, `categories`, and `seem` with the provenance."""
        categories = self._categories()
        labels = self.naming.get(len(self))
        height, width = self.image_hw
        annotations = [
            CocoAnnotation(
                id=int(self.ids[index]),
                image_id=image_id,
                category_id=category.id if category else 0,
                segmentation=rle,
                bbox=to_xywh(packed.box),
                area=packed.area,
                iscrowd=0,
                score=round(float(self.scores[index]), 6),
                label=labels.names[index],
                label_score=round(labels.scores[index], 6),
            )
            for index, (packed, category, rle) in enumerate(zip(self.packed, categories, self.rle, strict=True))
        ]
        return CocoRecord(
            images=[
                CocoImage(id=image_id, file_name=self.provenance.image_name or "photo", width=width, height=height)
            ],
            annotations=annotations,
            categories=list(self.categories),
            seem=_to_seem_record(self),
        )

    def to_records(self, output_mode: OutputMode = "binary_mask") -> list[MaskRecord]:
        """Return the objects as segment-anything's automatic mask generator does; what reads its output reads this.

        `output_mode`: "binary_mask" (H, W bool), "uncompressed_rle" or "coco_rle" (as pycocotools encodes). `bbox` is
        x, y, width, height. Of other results than those of `everything`, `predicted_iou` is the score and
        `stability_score` None. An object query has no click: its `point_coords` is empty. Raises `ValueError` for
        another mode.
        """
        if output_mode not in get_args(OutputMode):
            raise ValueError(f"output_mode is {output_mode!r}; it is one of {', '.join(get_args(OutputMode))}.")
        height, width = self.image_hw
        return [
            MaskRecord(
                segmentation=encode_mask(packed.decode(), output_mode),
                area=packed.area,
                bbox=to_xywh(packed.box),
                predicted_iou=float(score) if how is None else how.predicted_iou,
                point_coords=[] if how is None or how.point is None else [list(how.point)],
                stability_score=None if how is None else how.stability_score,
                crop_box=to_xywh((0, 0, width, height) if how is None else how.crop_box),
            )
            for packed, score, how in zip(self.packed, self.scores, self.proposals or (None,) * len(self), strict=True)
        ]

    def to_supervision(self) -> Any:
        """Return the objects as `supervision.Detections`; needs the extra `supervision`.

        Masks, tight boxes, scores, class ids that count from 0 (-1 = unlabelled), class names, and `ids` as tracker
        ids. Raises `SeemError` where supervision is not installed.
        """
        from seem.adapters.supervision import to_detections

        return to_detections(self)

    def save(
        self, folder: str | Path, stem: str | None = None, overwrite: bool = False, *, embeddings: bool = False
    ) -> tuple[Path, ...]:
        """Write `<stem>.overlay.png`, `<stem>.json`, `<stem>.mask-<k>.png` (0 and 255, k from 0); return their paths.

        A panoptic result also gets `<stem>.panoptic.png` (id = R + 256 G + 65536 B). With `embeddings`, a vector
        for each mask is in `<stem>.embeddings.npy` (N x D float32, length 1). The stem is the photo's file name without
        suffix, or "photo". Everything is written aside and then renamed: a failure leaves nothing new behind.
        `overwrite` replaces all files of that stem, also masks left over from a longer result.

        Raises `FileExistsError` for a file that exists, `OSError` where the folder cannot be written or the disk is
        full, `ValueError` for a stem that is no file name and for embeddings of a result that has none.
        """
        if embeddings and self.embeddings is None and len(self):
            raise ValueError(f"A result of {self.provenance.task} has no embeddings; leave embeddings out.")
        name = checked_stem(Path(self.provenance.image_name or "photo").stem if stem is None else stem)
        files: dict[str, Callable[[Path], None]] = {
            f"{name}.overlay.png": png_writer(self.overlay, level=3),  # half the time, a fifth more bytes
            f"{name}.json": text_writer(lambda: json.dumps(self.to_coco(), ensure_ascii=False)),
        }
        for index, packed in enumerate(self.packed):
            files[f"{name}.mask-{index}.png"] = png_writer(packed.to_image)
        if self.provenance.task == "panoptic":
            files[f"{name}.panoptic.png"] = png_writer(self._panoptic_picture)
        if embeddings:
            vectors = np.zeros((0, 0), np.float32) if self.embeddings is None else self.embeddings
            files[f"{name}.embeddings.npy"] = array_writer(vectors)
        return write_together(Path(folder), files, overwrite, leftovers=re.compile(LEFTOVERS.format(re.escape(name))))

    def _repr_png_(self) -> bytes:
        """Draw what a notebook shows: the overlay, at most 1280 pixels wide or high."""
        picture = self.overlay()
        picture.thumbnail((1280, 1280))
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        return buffer.getvalue()

    def _take(self, rows: list[int]) -> Results:
        return Results(
            photo=self.photo,
            packed=tuple(self.packed[row] for row in rows),
            scores=read_only(self.scores[rows]),
            ids=read_only(self.ids[rows]),
            vocabulary=self.vocabulary,
            kind=self.kind,
            provenance=self.provenance,
            naming=self.naming.take(rows, len(self)),
            logits=None if self.logits is None else read_only(self.logits[rows]),
            embeddings=None if self.embeddings is None else read_only(self.embeddings[rows]),
            proposals=None if self.proposals is None else tuple(self.proposals[row] for row in rows),
            frame=self.frame,
            time=self.time,
        )

    def _categories(self) -> list[Category | None]:
        """Look up the category of each object: None for those without a label and for free phrases."""
        known = {category.name: category for category in self.vocabulary}
        return [None if label is None else known.get(label) for label in self.labels]

    def _tracks(self) -> list[Category]:
        """Return a category for each object of a video: it has the colour of its id in every frame."""
        colours = distinct_colours(TRACK_COLOURS)
        return [Category(id, "", "", True, colours[(id - 1) % TRACK_COLOURS]) for id in self.ids.tolist()]

    @property
    def tags(self) -> tuple[str, ...]:
        """What the overlay writes on each object: its name as it is said and how sure that is, in a video its id first.

        Without a name it is the score of the mask.
        """
        said = [
            category.phrase if category else label
            for category, label in zip(self._categories(), self.labels, strict=True)
        ]
        ids = [None if self.frame is None else f"{number}:" for number in self.ids]
        sure = [a if name else b for name, a, b in zip(said, self.label_scores, self.scores, strict=True)]
        return tuple(
            " ".join(filter(None, (number, name, f"{score:.2f}")))
            for number, name, score in zip(ids, said, sure, strict=True)
        )

    def _panoptic_picture(self) -> Image.Image:
        ids = self.panoptic_map()
        return Image.fromarray(np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=-1).astype(np.uint8))


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
    def box(self) -> Bounds:
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
        """The object's name; the first look may run the model."""
        return self.results.labels[self.index]

    @property
    def label_score(self) -> float:
        """How sure the label is, 0-1."""
        return self.results.label_scores[self.index]

    @property
    def category_id(self) -> int:
        """The id of the label in the vocabulary, 0 = unlabelled."""
        return int(self.results.category_ids[self.index])

    @property
    def logits(self) -> NDArray[np.float32] | None:
        """Low-resolution mask logits (h, w), for `Mask(logits=...)`."""
        return None if self.results.logits is None else self.results.logits[self.index]

    @property
    def embedding(self) -> NDArray[np.float32] | None:
        """The object's embedding, (D,)."""
        return None if self.results.embeddings is None else self.results.embeddings[self.index]

    def cutout(self) -> Image.Image:
        """Cut the object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask."""
        return cut_out(_pixels(self.results.photo), self.results.packed[self.index])


class LazyLabels:
    """The labels of a result: known from the start, or asked for once, at the first look, whichever thread looks."""

    __slots__ = ("_ask", "_lock", "known", "seconds")

    def __init__(self, labels: Labels | Callable[[], Labels]) -> None:
        self.known: Labels | None = labels if isinstance(labels, Labels) else None
        self.seconds: float | None = None  # what asking took
        self._ask: Callable[[], Labels] | None = None if isinstance(labels, Labels) else labels
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[LazyLabels], tuple[Labels]]:
        """To be sent to another process, labels must be known."""
        return LazyLabels, (self._resolve(),)

    def get(self, count: int) -> Labels:
        """Return the labels of the `count` objects, asking for them if need be."""
        labels = self.known or self._resolve()
        if len(labels.names) != count:
            raise ValueError(f"There are {count} masks, but {len(labels.names)} labels; give one for each mask.")
        return labels

    def take(self, rows: list[int], count: int) -> LazyLabels:
        """Return the naming of some of the objects; it asks through this one, so nothing is asked twice."""
        if self.known is not None:
            return LazyLabels(self.known.take(rows))
        return LazyLabels(lambda: self.get(count).take(rows))

    def _resolve(self) -> Labels:
        with self._lock:
            if self.known is None:
                assert self._ask is not None
                start = time.perf_counter()
                self.known = self._ask()
                self.seconds = time.perf_counter() - start
                self._ask = None  # lets go of what the function holds
            return self.known


def _photo_hw(photo: Picture) -> tuple[int, int]:
    if isinstance(photo, Image.Image):
        return photo.height, photo.width
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8:
        raise ValueError(f"A photo is H x W x 3 uint8 or a PIL image, got {photo.dtype} of {photo.shape}.")
    return photo.shape[0], photo.shape[1]


def _pixels(photo: Picture) -> NDArray[np.uint8]:
    return np.asarray(photo.convert("RGB")) if isinstance(photo, Image.Image) else photo


def _checked_scores(scores: Sequence[float] | NDArray[np.float32]) -> NDArray[np.float32]:
    values = np.array(scores, dtype=np.float32).reshape(-1)
    slack = 1e-4  # means of float32 numbers may overshoot
    if not ((values >= -slack) & (values <= 1 + slack)).all():
        raise ValueError(f"Scores are between 0 and 1, got {values.tolist()}.")
    return read_only(values.clip(0, 1))


def _checked_ids(ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    values = np.array(ids, dtype=np.int64).reshape(-1)
    if (values < 1).any() or len(np.unique(values)) != len(values):
        raise ValueError(f"Ids are positive and all different, got {values.tolist()}.")
    return read_only(values)


def _chosen_rows(index: Rows, count: int) -> list[int]:
    if isinstance(index, slice):
        return list(range(count))[index]
    chosen = np.asarray(index)
    if chosen.dtype == np.bool_:
        if chosen.shape != (count,):
            raise IndexError(f"{chosen.shape} booleans cannot choose among {count} objects; give one for each.")
        return cast("list[int]", np.flatnonzero(chosen).tolist())
    if chosen.size and not (chosen.ndim == 1 and np.issubdtype(chosen.dtype, np.integer)):
        raise TypeError(f"Results are indexed by numbers, a slice or booleans, not by {index!r}.")
    return [_chosen_row(row, count) for row in chosen.tolist()]


def _chosen_row(row: int, count: int) -> int:
    if not -count <= row < count:
        raise IndexError(f"There is no object {row}; the result has {count}, counted from 0.")
    return row % count


Column = TypeVar("Column", NDArray[np.float32], NDArray[np.int64])


def read_only(column: Column) -> Column:
    """Return a view that cannot be written to: results do not change."""
    view: Column = column.view()
    view.setflags(write=False)
    return view


def _to_seem_record(results: Results) -> SeemRecord:
    provenance = results.provenance
    record = SeemRecord(
        version=__version__,
        model=provenance.model,
        sha256=provenance.model_sha256,
        task=provenance.task,
        kind=results.kind,
        prompts=[[prompt.to_dict() for prompt in group] for group in provenance.prompts],
        seconds={step: round(seconds, 6) for step, seconds in results.seconds.items()},
        precision=provenance.precision,
        orientation=provenance.orientation,
        rules=list(provenance.rules),
        notes=list(provenance.notes),
    )
    if provenance.caption is not None:
        record["caption"] = provenance.caption
    return record
