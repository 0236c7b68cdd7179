"""What comes back: masks, scores and names of objects, in the pixels of the photo as shown.

`Results` is immutable and behaves like a list of `Segment`. Masks are kept packed (the bounding box alone, a bit a
pixel) and decoded when looked at. Labels may be lazy: they are asked for on the first look at anything that shows a
name (`labels`, `category_ids`, `overlay()`, `to_coco()`, `save()`, `filter(label=...)`), once, whichever thread looks.

The file reads in this order: the result, how it is stored, its pictures, its files.
"""

from __future__ import annotations

import colorsys
import contextlib
import io
import json
import math
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TypeAlias, TypedDict, TypeVar, cast, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from seem.prompts import Box, Coordinates, Json, Mask, Point, Polygon, Prompt, Scribble, Stroke, Text
from seem.vocabulary import Category, Colour, Vocabulary, distinct_colours

Picture: TypeAlias = "Image.Image | NDArray[np.uint8]"
Rows: TypeAlias = "slice | Sequence[bool] | Sequence[int] | NDArray[np.bool_] | NDArray[np.int64]"
Bounds: TypeAlias = "tuple[int, int, int, int]"

UNLABELLED = "unlabelled"  # the name of category id 0


# --- The result -------------------------------------------------------------------------------------------------------


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

    def take(self, rows: Sequence[int]) -> Labels:
        """Return the labels of some of the objects."""
        return Labels(tuple(self.names[row] for row in rows), tuple(self.scores[row] for row in rows))


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from: everything that its JSON file says beside the objects.

    `prompts`: one inner sequence for each object that was asked for. `seconds`: wall time of each step. `rules`: how
    prompts were drawn and queries chosen. `notes`: what a reader must know, for example that the photo was turned.
    `orientation`: the EXIF orientation that was undone, 1 for none. `photo_name`: the file's name, with its suffix.
    """

    task: str
    model: str
    model_sha256: str | None = None
    precision: str = "exact"
    prompts: tuple[tuple[Prompt, ...], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    photo_name: str | None = None
    orientation: int = 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Results:
    """The N objects found in one photo of H x W pixels; make one with `Results.of`.

    `photo` is shared, not copied. `scores` (N,) are in 0-1. `ids` (N,) are positive and all different: segment ids of a
    panoptic map, stable identities in a video. `kind` names the rule that answered. `logits` (N, h, w) are
    low-resolution mask logits that go back in as `Mask(logits=...)`, one for every 4 x 4 pixels of the network's padded
    input; `embeddings` are (N, D). Either may be None.
    """

    photo: Picture
    packed: tuple[PackedMask, ...]
    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    vocabulary: Vocabulary
    kind: str
    provenance: Provenance
    naming: Naming
    logits: NDArray[np.float32] | None = None
    embeddings: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        photo: Picture,
        masks: Iterable[NDArray[np.bool_]],
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

        `masks` may be an N x H x W array or a generator: one mask at a time is enough. `labels` may be a function: it
        is then called at the first look at a name, at most once, also among threads and slices; if it raises, the next
        look calls it again. A label that is no name of the vocabulary (a phrase) stays a label and has category id 0.

        Raises `ValueError` for a mask of another size than the photo, scores outside 0-1, ids below 1 or used twice,
        and columns of different lengths.
        """
        photo_hw = _photo_hw(photo)
        packed = tuple(PackedMask.pack(mask, photo_hw) for mask in masks)
        count = len(packed)
        result = cls(
            photo=photo,
            packed=packed,
            scores=_checked_scores(scores),
            ids=_checked_ids(range(1, count + 1) if ids is None else ids),
            vocabulary=vocabulary,
            kind=kind,
            provenance=provenance,
            naming=Naming(Labels.nameless(count) if labels is None else labels),
            logits=None if logits is None else _read_only(logits),
            embeddings=None if embeddings is None else _read_only(embeddings),
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
            return Segment(self, range(len(self))[index])
        return self._take(_chosen_rows(index, len(self)))

    def __repr__(self) -> str:
        height, width = self.photo_hw
        objects = "1 object" if len(self) == 1 else f"{len(self)} objects"
        names = ""
        if labels := self.naming.known:
            shown = [f"{name or UNLABELLED} {score:.2f}" for name, score in zip(labels.names, self.scores, strict=True)]
            names = ": " + ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "") if shown else ""
        return f"<Results of {self.provenance.task}: {objects} in {width} x {height} pixels{names}>"

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
    def photo_hw(self) -> tuple[int, int]:
        """Height and width of the photo as shown."""
        return _photo_hw(self.photo)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """All masks at once, (N, H, W) bool, decoded anew; `iter_masks()` holds one at a time."""
        masks = np.zeros((len(self), *self.photo_hw), dtype=np.bool_)
        for mask, packed in zip(masks, self.packed, strict=True):
            mask[packed.window] = packed.crop()
        return masks

    def iter_masks(self) -> Iterator[NDArray[np.bool_]]:
        """Decode one mask after the other, each (H, W) bool."""
        return (packed.decode() for packed in self.packed)

    @property
    def rle(self) -> tuple[CocoRle, ...]:
        """The masks as COCO's compressed run-length code, which pycocotools reads."""
        return tuple(_to_rle(mask) for mask in self.iter_masks())

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
    def category_ids(self) -> NDArray[np.int64]:
        """Ids of the labels in the vocabulary, (N,); 0 = unlabelled."""
        return np.array([category.id if category else 0 for category in self._categories()], dtype=np.int64)

    @property
    def categories(self) -> tuple[CocoCategory, ...]:
        """What category ids stand for: "unlabelled" (0), then the vocabulary."""
        return (_UNLABELLED_CATEGORY, *map(_to_coco_category, self.vocabulary))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each step; "labels" joins when lazy labels have been looked at."""
        asked = {} if self.naming.seconds is None else {"labels": self.naming.seconds}
        return {**self.provenance.seconds, **asked}

    def panoptic_map(self) -> NDArray[np.int32]:
        """Return (H, W) with the id of the object at each pixel, 0 where there is none.

        Raises `ValueError` when masks overlap: then no such map exists.
        """
        drawn = np.zeros(self.photo_hw, dtype=np.int32)
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
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}; it must be between 0 (photo alone) and 1 (colours alone).")
        colours = _object_colours(self._categories())
        picture, owner = _paint(_pixels(self.photo), self.packed, colours, alpha)
        shown = [prompt for group in self.provenance.prompts for prompt in group] if prompts else []
        for prompt in shown:
            _draw_prompt(picture, prompt)
        if labels:
            clicks = [_click_bounds(picture, prompt) for prompt in shown if isinstance(prompt, Point)]
            _draw_plates(picture, owner, self._captions(), colours, self.packed, clicks)
        return picture

    def show(self) -> None:
        """Open the overlay in the system's picture viewer."""
        self.overlay().show()

    def cutouts(self) -> tuple[Image.Image, ...]:
        """Cut every object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask."""
        pixels = _pixels(self.photo)
        return tuple(_cut_out(pixels, packed) for packed in self.packed)

    def to_coco(self, image_id: int = 1) -> CocoRecord:
        """Return one COCO-style object: `images`, `annotations`, `categories`, and `seem` with the provenance."""
        categories = self._categories()
        labels = self.naming.get(len(self))
        height, width = self.photo_hw
        annotations = [
            CocoAnnotation(
                id=int(self.ids[index]),
                image_id=image_id,
                category_id=category.id if category else 0,
                segmentation=rle,
                bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
                area=packed.area,
                iscrowd=0,
                score=round(float(self.scores[index]), 6),
                label=labels.names[index],
                label_score=round(labels.scores[index], 6),
            )
            for index, (packed, category, rle) in enumerate(zip(self.packed, categories, self.rle, strict=True))
            for box in [packed.box]
        ]
        return CocoRecord(
            images=[
                CocoImage(id=image_id, file_name=self.provenance.photo_name or "photo", width=width, height=height)
            ],
            annotations=annotations,
            categories=list(self.categories),
            seem=_to_seem_record(self),
        )

    def save(self, folder: str | Path, stem: str | None = None, overwrite: bool = False) -> tuple[Path, ...]:
        """Write `<stem>.overlay.png`, `<stem>.json`, `<stem>.mask-<k>.png` (0 and 255, k from 0); return their paths.

        A panoptic result also gets `<stem>.panoptic.png` (id = R + 256 G + 65536 B). The stem is the photo's file name
        without suffix, or "photo". Everything is written aside and then renamed: a failure leaves nothing new behind.
        `overwrite` replaces all files of that stem, also masks left over from a longer result.

        Raises `FileExistsError` for a file that exists, `OSError` where the folder cannot be written or the disk is
        full, `ValueError` for a stem that is no file name.
        """
        name = _checked_stem(Path(self.provenance.photo_name or "photo").stem if stem is None else stem)
        files: dict[str, Callable[[Path], None]] = {
            f"{name}.overlay.png": _png_writer(self.overlay, level=3),  # half the time, a fifth more bytes
            f"{name}.json": lambda path: _write_text(path, json.dumps(self.to_coco(), ensure_ascii=False)),
        }
        for index, packed in enumerate(self.packed):
            files[f"{name}.mask-{index}.png"] = _png_writer(packed.to_image)
        if self.provenance.task == "panoptic":
            files[f"{name}.panoptic.png"] = _png_writer(self._panoptic_picture)
        return _write_together(Path(folder), files, overwrite, leftovers=re.compile(_LEFTOVERS.format(re.escape(name))))

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
            scores=_read_only(self.scores[rows]),
            ids=_read_only(self.ids[rows]),
            vocabulary=self.vocabulary,
            kind=self.kind,
            provenance=self.provenance,
            naming=self.naming.take(rows, len(self)),
            logits=None if self.logits is None else _read_only(self.logits[rows]),
            embeddings=None if self.embeddings is None else _read_only(self.embeddings[rows]),
        )

    def _categories(self) -> list[Category | None]:
        """Look up the category of each object: None for those without a label and for free phrases."""
        known = {category.name: category for category in self.vocabulary}
        return [None if label is None else known.get(label) for label in self.labels]

    def _captions(self) -> list[str]:
        """Word what the overlay writes on each object: its name as it is said, and its score."""
        said = [
            category.phrase if category else label
            for category, label in zip(self._categories(), self.labels, strict=True)
        ]
        return [
            f"{name} {score:.2f}" if name else f"{score:.2f}" for name, score in zip(said, self.scores, strict=True)
        ]

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
        return _cut_out(_pixels(self.results.photo), self.results.packed[self.index])


# --- How it is stored -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class PackedMask:
    """One mask: its tight box (x0, y0, x1, y1), the pixels inside that box at eight a byte, and its area."""

    photo_hw: tuple[int, int]
    box: Bounds
    bits: NDArray[np.uint8]
    area: int

    @classmethod
    def pack(cls, mask: NDArray[np.bool_], photo_hw: tuple[int, int]) -> PackedMask:
        """Pack an (H, W) bool mask; `ValueError` if it has not the photo's size."""
        mask = np.asarray(mask)
        if mask.shape != photo_hw or mask.dtype != np.bool_:
            raise ValueError(f"A mask is {mask.dtype} of {mask.shape}; the photo needs bool of {photo_hw}.")
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if len(rows) == 0:
            return cls(photo_hw, (0, 0, 0, 0), np.zeros(0, dtype=np.uint8), 0)
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        crop = mask[box[1] : box[3], box[0] : box[2]]
        return cls(photo_hw, box, np.packbits(crop), int(np.count_nonzero(crop)))

    @property
    def window(self) -> tuple[slice, slice]:
        """The box as an index into an (H, W) array."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)

    def crop(self) -> NDArray[np.bool_]:
        """Unpack what is inside the box."""
        x0, y0, x1, y1 = self.box
        shape = y1 - y0, x1 - x0
        return np.unpackbits(self.bits, count=shape[0] * shape[1]).reshape(shape).view(np.bool_)

    def decode(self) -> NDArray[np.bool_]:
        """Unpack the whole (H, W) mask."""
        mask = np.zeros(self.photo_hw, dtype=np.bool_)
        mask[self.window] = self.crop()
        return mask

    def to_image(self) -> Image.Image:
        """Return the mask as a grey picture of 0 and 255."""
        return Image.fromarray(self.decode().view(np.uint8) * np.uint8(255))


class Naming:
    """The labels of a result: known from the start, or asked for once, at the first look, whichever thread looks."""

    __slots__ = ("_ask", "_lock", "known", "seconds")

    def __init__(self, labels: Labels | Callable[[], Labels]) -> None:
        self.known: Labels | None = labels if isinstance(labels, Labels) else None
        self.seconds: float | None = None  # what asking took
        self._ask: Callable[[], Labels] | None = None if isinstance(labels, Labels) else labels
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Naming], tuple[Labels]]:
        """To be sent to another process, labels must be known."""
        return Naming, (self._resolve(),)

    def get(self, count: int) -> Labels:
        """Return the labels of the `count` objects, asking for them if need be."""
        labels = self.known or self._resolve()
        if len(labels.names) != count:
            raise ValueError(f"There are {count} masks, but {len(labels.names)} labels; give one for each mask.")
        return labels

    def take(self, rows: list[int], count: int) -> Naming:
        """Return the naming of some of the objects; it asks through this one, so nothing is asked twice."""
        if self.known is not None:
            return Naming(self.known.take(rows))
        return Naming(lambda: self.get(count).take(rows))

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
    return _read_only(values.clip(0, 1))


def _checked_ids(ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    values = np.array(ids, dtype=np.int64).reshape(-1)
    if (values < 1).any() or len(np.unique(values)) != len(values):
        raise ValueError(f"Ids are positive and all different, got {values.tolist()}.")
    return _read_only(values)


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
    return [range(count)[row] for row in chosen.tolist()]


Column = TypeVar("Column", NDArray[np.float32], NDArray[np.int64])


def _read_only(column: Column) -> Column:
    view: Column = column.view()
    view.setflags(write=False)
    return view


# --- Its pictures -----------------------------------------------------------------------------------------------------

_PLATE = (18, 20, 24, 215)
_MOST_HIDDEN = 0.15  # of the photo, by plates
_WHITE = (255, 255, 255)
_POSITIVE, _NEGATIVE = (34, 197, 94), (239, 68, 68)
_SMOOTHING = 4  # small shapes are drawn this much larger, then reduced


def _object_colours(categories: Sequence[Category | None]) -> list[Colour]:
    """Choose a colour for each object: its category's, turned a little for every further thing of that category.

    Objects without a category get colours of their own.
    """
    seen: Counter[int] = Counter()
    spare = iter(distinct_colours(len(categories)))
    colours = []
    for category in categories:
        if category is None:
            colours.append(next(spare))
            continue
        colours.append(_vivid(category.colour, turn=0.075 * seen[category.id]))
        seen[category.id] += category.is_thing
    return colours


def _vivid(colour: Colour, turn: float) -> Colour:
    """Turn the hue (1 = once round) and keep away from black and white, which cannot be told from shadow and glare."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    rgb = colorsys.hls_to_rgb((hue + turn) % 1.0, min(max(lightness, 0.42), 0.75), saturation)
    return (round(255 * rgb[0]), round(255 * rgb[1]), round(255 * rgb[2]))


def _paint(
    photo: NDArray[np.uint8], masks: Sequence[PackedMask], colours: Sequence[Colour], alpha: float
) -> tuple[Image.Image, NDArray[np.int32]]:
    """Tint each mask and draw its inner edge, large masks first; also return which mask is on top (-1: none)."""
    owner = np.full(photo.shape[:2], -1, dtype=np.int32)
    edge = np.zeros(photo.shape[:2], dtype=np.bool_)
    thickness = max(1, round(math.sqrt(photo.shape[0] * photo.shape[1]) / 350))
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        mask, crop = masks[index], masks[index].crop()
        owner[mask.window][crop] = index
        np.copyto(edge[mask.window], ~_eroded(mask, crop, thickness), where=crop)
    paints = np.array(colours, dtype=np.float64).reshape(-1, 3)
    levels = np.arange(256.0)
    canvas = np.empty_like(photo)
    for channel in range(3):
        tints = (1 - alpha) * levels + alpha * paints[:, channel, None]
        table = np.rint(np.vstack([tints, levels])).astype(np.uint8)  # the last row, owner -1, is the photo itself
        canvas[..., channel] = table[owner, photo[..., channel]]
    canvas[edge] = np.rint(0.75 * paints + 0.25 * 255).astype(np.uint8)[owner[edge]]
    return Image.fromarray(canvas), owner


def _eroded(mask: PackedMask, crop: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Keep pixels whose whole neighbourhood is inside; the border of the photo is no edge."""
    (x0, y0, x1, y1), (height, width) = mask.box, mask.photo_hw
    if mask.area == 0:
        return crop
    padded: NDArray[np.bool_] = np.pad(crop, reach, mode="edge")
    padded[:reach] &= y0 == 0
    padded[len(padded) - reach :] &= y1 == height
    padded[:, :reach] &= x0 == 0
    padded[:, padded.shape[1] - reach :] &= x1 == width
    kept: NDArray[np.bool_] = _all_within(_all_within(padded, 2 * reach + 1).T, 2 * reach + 1).T
    return kept


def _all_within(mask: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Say for each run of `length` rows whether all are set; runs of 1, 2, 4, ... are joined from shorter ones."""
    covered = 1
    while covered < length:
        shift = min(covered, length - covered)
        joined: NDArray[np.bool_] = mask[shift:] & mask[:-shift]
        mask, covered = joined, covered + shift
    return mask


def _cut_out(pixels: NDArray[np.uint8], mask: PackedMask) -> Image.Image:
    if mask.area == 0:
        return Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    opacity = mask.crop().view(np.uint8) * np.uint8(255)
    return Image.fromarray(np.dstack([pixels[mask.window], opacity]))


def _line_width(picture: Image.Image) -> int:
    return max(1, round(math.sqrt(picture.width * picture.height) / 250))


def _draw_prompt(picture: Image.Image, prompt: Prompt) -> None:
    """Show what was asked with: green means "this", red "not this". Masks and phrases are not drawn."""
    draw = ImageDraw.Draw(picture)
    width = _line_width(picture)
    match prompt:
        case Point():
            _draw_click(picture, prompt)
        case Stroke():
            _draw_line(draw, prompt.positions, prompt.positive, width)
        case Scribble():
            for positions in prompt.positions:
                _draw_line(draw, positions, prompt.positive, width)
        case Polygon():
            _draw_line(draw, (*prompt.positions, prompt.positions[0]), prompt.positive, width)
        case Box():
            corners = ((prompt.x0, prompt.y0), (prompt.x1, prompt.y0), (prompt.x1, prompt.y1), (prompt.x0, prompt.y1))
            _draw_line(draw, (*corners, corners[0]), prompt.positive, width)
        case Mask() | Text():
            pass


def _draw_line(draw: ImageDraw.ImageDraw, positions: Sequence[Coordinates], positive: bool, width: int) -> None:
    draw.line(list(positions), fill=_WHITE, width=3 * width, joint="curve")
    draw.line(list(positions), fill=_POSITIVE if positive else _NEGATIVE, width=width, joint="curve")


def _draw_click(picture: Image.Image, point: Point) -> None:
    """Draw a disc with a white rim, and a plus or a minus on it."""
    left, top, right, _ = _click_bounds(picture, point)
    big = (right - left) * _SMOOTHING
    tile = Image.new("RGBA", (big, big), (0, 0, 0, 0))
    draw = ImageDraw.Draw(tile)
    draw.ellipse((0, 0, big - 1, big - 1), fill=(*_WHITE, 255))
    rim = big * 0.12
    draw.ellipse((rim, rim, big - 1 - rim, big - 1 - rim), fill=(*(_POSITIVE if point.positive else _NEGATIVE), 255))
    near, far, low, high = big * 0.28, big * 0.72, big * 0.44, big * 0.56
    draw.rectangle((near, low, far, high), fill=(*_WHITE, 255))
    if point.positive:
        draw.rectangle((low, near, high, far), fill=(*_WHITE, 255))
    tile = tile.reduce(_SMOOTHING)
    picture.paste(tile, (left, top), tile)


def _click_bounds(picture: Image.Image, point: Point) -> Bounds:
    radius = max(2, 3 * _line_width(picture))
    x, y = int(point.position[0]), int(point.position[1])
    return x - radius, y - radius, x + radius + 1, y + radius + 1


def _draw_plates(
    picture: Image.Image,
    owner: NDArray[np.int32],
    captions: Sequence[str],
    colours: Sequence[Colour],
    masks: Sequence[PackedMask],
    clicks: Sequence[Bounds],
) -> None:
    """Write each caption on a small dark plate, large objects first, and never over a click.

    Left out is what finds no place, what is far smaller than its plate, and what would hide too much of the photo.
    """
    font_size = max(11, round(math.sqrt(picture.width * picture.height) / 44))
    font = ImageFont.load_default(font_size)
    taken = list(clicks)
    hidden, most_hidden = 0, _MOST_HIDDEN * picture.width * picture.height
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        plate = _plate(captions[index], colours[index], font, font_size)
        size = plate.width * plate.height
        if masks[index].area < size / 3 or (hidden and hidden + size > most_hidden):
            continue
        bounds = _place_plate(plate.size, owner, index, masks[index].box, taken)
        if bounds is not None:
            picture.paste(plate, bounds[:2], plate)
            taken.append(bounds)
            hidden += size


def _plate(
    caption: str, colour: Colour, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, font_size: int
) -> Image.Image:
    """Draw white text on a dark plate with a stripe of the object's colour."""
    margin, stripe = max(2, font_size // 3), max(2, font_size // 4)
    left, _, right, _ = font.getbbox(caption)
    width = math.ceil(right - left) + 2 * margin + stripe
    height = font_size + margin
    big = Image.new("RGBA", (width * _SMOOTHING, height * _SMOOTHING), (0, 0, 0, 0))
    draw = ImageDraw.Draw(big)
    outline = (0, 0, big.width - 1, big.height - 1)
    draw.rounded_rectangle(outline, radius=margin * _SMOOTHING, fill=_PLATE)
    ends = Image.new("L", big.size, 0)
    ImageDraw.Draw(ends).rounded_rectangle(outline, radius=margin * _SMOOTHING, fill=255)
    big.paste(
        (*colour, 255), (0, 0, stripe * _SMOOTHING, big.height), ends.crop((0, 0, stripe * _SMOOTHING, big.height))
    )
    plate = big.reduce(_SMOOTHING)
    ImageDraw.Draw(plate).text((stripe + margin - left, height / 2), caption, font=font, fill=_WHITE, anchor="lm")
    return plate


def _place_plate(
    plate_wh: tuple[int, int], owner: NDArray[np.int32], index: int, box: Bounds, taken: Sequence[Bounds]
) -> Bounds | None:
    """Find the best free place: well inside the visible mask, else beside the object; None if neither is free."""
    (width, height), (photo_height, photo_width) = plate_wh, owner.shape
    if width > photo_width or 2 * height > photo_height:
        return None
    x0, y0, x1, y1 = box
    visible = owner[y0:y1, x0:x1] == index
    if np.count_nonzero(visible) > 2 * width * height:
        inside = _best_inside(visible, (x0, y0), plate_wh, owner.shape, taken)
        if inside is not None:
            return inside
    middle_x, middle_y = (x0 + x1 - width) // 2, (y0 + y1 - height) // 2
    for x, y in ((middle_x, y0 - height - 1), (middle_x, y1 + 1), (x1 + 1, middle_y), (x0 - width - 1, middle_y)):
        bounds = (x, y, x + width, y + height)
        in_photo = x >= 0 and y >= 0 and bounds[2] <= photo_width and bounds[3] <= photo_height
        if in_photo and not any(_meet(bounds, other) for other in taken):
            return bounds
    return None


def _meet(one: Bounds, other: Bounds) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _best_inside(
    visible: NDArray[np.bool_],
    corner: tuple[int, int],
    plate_wh: tuple[int, int],
    photo_hw: tuple[int, ...],
    taken: Sequence[Bounds],
) -> Bounds | None:
    """Try a grid of places over the mask: as much of the plate on the mask as possible, then near its middle."""
    (width, height), (x0, y0) = plate_wh, corner
    xs = np.unique(
        np.linspace(max(x0 - width // 2, 0), min(x0 + visible.shape[1], photo_hw[1]) - 1, 64, dtype=np.int64)
    )
    ys = np.unique(
        np.linspace(max(y0 - height // 2, 0), min(y0 + visible.shape[0], photo_hw[0]) - 1, 64, dtype=np.int64)
    )
    xs, ys = xs[xs + width <= photo_hw[1]], ys[ys + height <= photo_hw[0]]
    if len(xs) == 0 or len(ys) == 0:
        return None
    coarse = max(1, height // 8)  # count one pixel in so many: precise enough to place a plate
    cells = visible[::coarse, ::coarse]
    rows, columns = cells.shape
    sums = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    sums[1:, 1:] = cells.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    left, right = (np.clip((edge - x0) // coarse, 0, columns) for edge in (xs, xs + width))
    top, bottom = (np.clip((edge - y0) // coarse, 0, rows)[:, None] for edge in (ys, ys + height))
    inside = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    share = inside * coarse * coarse / (width * height)
    middle_x = cells.sum(axis=0) @ np.arange(columns) / max(sums[-1, -1], 1)
    middle_y = cells.sum(axis=1) @ np.arange(rows) / max(sums[-1, -1], 1)
    away_x = ((xs + width / 2 - x0) / coarse - middle_x) / columns
    away_y = ((ys + height / 2 - y0) / coarse - middle_y) / rows
    worth = share - 0.25 * np.hypot(away_x[None, :], away_y[:, None])
    for other in taken:
        meets_x = (xs < other[2]) & (other[0] < xs + width)
        meets_y = (ys < other[3]) & (other[1] < ys + height)
        worth[np.ix_(meets_y, meets_x)] = -np.inf
    worth[share < 0.6] = -np.inf
    row, column = np.unravel_index(int(worth.argmax()), worth.shape)
    if not np.isfinite(worth[row, column]):
        return None
    x, y = int(xs[column]), int(ys[row])
    return x, y, x + width, y + height


# --- Its files --------------------------------------------------------------------------------------------------------

_LEFTOVERS = r"{}\.(mask-\d+\.png|panoptic\.png)"


class CocoRle(TypedDict):
    """A mask in compressed run-length code; `size` is (height, width)."""

    size: list[int]
    counts: str


class CocoImage(TypedDict):
    """The photo, upright."""

    id: int
    file_name: str
    width: int
    height: int


class CocoAnnotation(TypedDict):
    """One object; `bbox` is x, y, width, height. `label` may be a phrase that no category holds."""

    id: int
    image_id: int
    category_id: int
    segmentation: CocoRle
    bbox: list[int]
    area: int
    iscrowd: int
    score: float
    label: str | None
    label_score: float


class CocoCategory(TypedDict):
    """One name; id 0 is "unlabelled"."""

    id: int
    name: str
    isthing: int
    color: list[int]


class SeemRecord(TypedDict):
    """Where the result comes from."""

    version: str
    model: str
    sha256: str | None
    task: str
    kind: str
    prompts: list[list[dict[str, Json]]]
    seconds: dict[str, float]
    precision: str
    orientation: int
    rules: list[str]
    notes: list[str]


class CocoRecord(TypedDict):
    """One photo's result as `<stem>.json` holds it."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]
    seem: SeemRecord


_UNLABELLED_CATEGORY = CocoCategory(id=0, name=UNLABELLED, isthing=1, color=[128, 128, 128])


def _to_rle(mask: NDArray[np.bool_]) -> CocoRle:
    from pycocotools import mask as coco_mask

    code = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
    return CocoRle(size=[int(side) for side in code["size"]], counts=code["counts"].decode("ascii"))


def _to_coco_category(category: Category) -> CocoCategory:
    return CocoCategory(
        id=category.id,
        name=category.name,
        isthing=int(category.is_thing),
        color=[int(part) for part in category.colour],
    )


def _to_seem_record(results: Results) -> SeemRecord:
    provenance = results.provenance
    return SeemRecord(
        version=metadata.version("seem"),
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


def _checked_stem(stem: str) -> str:
    if not stem or stem in (".", "..") or any(character in stem for character in "/\\\0"):
        raise ValueError(f"The stem {stem!r} is no file name; give a plain name without folders.")
    return stem


def _png_writer(draw: Callable[[], Image.Image], level: int = 6) -> Callable[[Path], None]:
    return lambda path: draw().save(path, format="PNG", compress_level=level)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")


def _write_together(
    folder: Path, files: Mapping[str, Callable[[Path], None]], overwrite: bool, leftovers: re.Pattern[str]
) -> tuple[Path, ...]:
    """Write all files or none: each aside under a passing name, then all renamed.

    With `overwrite`, files of that folder whose names match `leftovers` and were not written anew are removed.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"Cannot write results to {folder}: it is a file; choose a folder.")
    targets = {name: folder / name for name in files}
    present = [path for path in targets.values() if path.exists()]
    if present and not overwrite:
        raise FileExistsError(f"{present[0]} exists already; pass overwrite=True or another folder or stem.")
    new_folders = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    token = secrets.token_hex(4)
    aside = {name: folder / f".seem-{token}-{index}.part" for index, name in enumerate(files)}
    renamed: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, write in files.items():
            write(aside[name])
        for name, target in targets.items():
            aside[name].replace(target)
            renamed.append(target)
        if overwrite:
            for path in folder.iterdir():
                if leftovers.fullmatch(path.name) and path.name not in files:
                    path.unlink()
    except BaseException as error:
        _remove([*aside.values(), *(path for path in renamed if path not in present)], new_folders)
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
            raise OSError(
                f"Cannot write results to {folder}: {reason}; free some space or choose another folder."
            ) from error
        raise
    return tuple(targets.values())


def _remove(files: Iterable[Path], folders: Iterable[Path]) -> None:
    """Take back what a failed write left; what cannot be removed stays."""
    for path in files:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    for path in folders:
        with contextlib.suppress(OSError):
            path.rmdir()
