"""`ObjectColumns`: what a result holds of its objects, and the columns that follow from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seem.coco_format import (
    UNLABELLED_CATEGORY,
    CocoCategory,
    CocoRle,
    packed_to_rle,
    to_coco_category,
)
from seem.mask_codec import PackedMask
from seem.results.columns import ResultImage, size_of
from seem.results.labels import LazyLabels
from seem.results.provenance import Proposal, Provenance
from seem.vocabulary import Category, Vocabulary


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ObjectColumns:
    """The N objects of one image of H x W pixels; `Results` says what each column is and adds methods."""

    image: ResultImage
    packed: tuple[PackedMask, ...]
    scores: NDArray[np.float32]
    ids: NDArray[np.int64]
    vocabulary: Vocabulary
    kind: str
    provenance: Provenance
    lazy_labels: LazyLabels
    logits: NDArray[np.float32] | None = None
    embeddings: NDArray[np.float32] | None = None
    proposals: tuple[Proposal, ...] | None = None
    frame: int | None = None
    time: float | None = None

    def __len__(self) -> int:
        return len(self.packed)

    def _check_lengths(self) -> None:
        columns: dict[str, Sequence[object] | NDArray[Any] | None] = {
            "scores": self.scores,
            "ids": self.ids,
            "labels": None,
            "logits": self.logits,
            "embeddings": self.embeddings,
        }
        if self.lazy_labels.known is not None:
            columns["labels"] = self.lazy_labels.known.names
        for name, column in columns.items():
            if column is not None and len(column) != len(self):
                raise ValueError(
                    f"There are {len(self)} masks, but {len(column)} {name}; give one for each mask."
                )

    @property
    def image_hw(self) -> tuple[int, int]:
        """Height and width of the image as shown."""
        return size_of(self.image)

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
        return tuple(map(packed_to_rle, self.packed))

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
        """Names, None where there is none. The first access may run the model (see the top of the package)."""
        return self.lazy_labels.get(len(self)).names

    @property
    def label_scores(self) -> tuple[float, ...]:
        """The score of each label, 0-1; 0 where there is none."""
        return self.lazy_labels.get(len(self)).scores

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, for example that a model answered without a reference, or what was not found."""
        return self.provenance.notes

    @property
    def category_ids(self) -> NDArray[np.int64]:
        """Ids of the labels in the vocabulary, (N,); 0 = unlabelled."""
        ids = np.zeros(len(self), dtype=np.int64)
        for row, category in enumerate(self._categories()):
            if category is not None:
                ids[row] = category.id
        return ids

    @property
    def categories(self) -> tuple[CocoCategory, ...]:
        """What category ids stand for: "unlabelled" (0), then the vocabulary."""
        return (UNLABELLED_CATEGORY, *map(to_coco_category, self.vocabulary))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each step; "labels" joins when lazy labels have been computed."""
        seconds = dict(self.provenance.seconds)
        if self.lazy_labels.seconds is not None:
            seconds["labels"] = self.lazy_labels.seconds
        return seconds

    @property
    def tags(self) -> tuple[str, ...]:
        """What the overlay writes on each object: its name as a phrase and the label's score, in a video its id first.

        Without a name it is the score of the mask.
        """
        rows = zip(
            self.ids.tolist(),
            self.labels,
            self._categories(),
            self.label_scores,
            self.scores,
            strict=True,
        )
        tags = []
        for number, label, category, label_score, score in rows:
            words = []
            if self.frame is not None:
                words.append(f"{number}:")
            name = category.phrase if category else label
            if name:
                words += [name, f"{label_score:.2f}"]
            else:
                words.append(f"{score:.2f}")
            tags.append(" ".join(words))
        return tuple(tags)

    def _categories(self) -> list[Category | None]:
        """Look up the category of each object: None for those without a label and for free phrases."""
        by_name: dict[str | None, Category] = {}
        for category in self.vocabulary:
            by_name[category.name] = category
        return [by_name.get(label) for label in self.labels]
