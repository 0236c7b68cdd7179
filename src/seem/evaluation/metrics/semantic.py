"""Mean IoU of classes, from one confusion matrix over all photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

from seem.evaluation.metrics.metric import State
from seem.evaluation.metrics.overlap import mean_percent

IGNORED = -1
"""Class of pixels that do not count (truth only)."""

IGNORED_IN_FILES = 255
"""The same in the stored maps of most data sets."""


@dataclass(frozen=True, slots=True)
class SemanticResult:
    """Scores over `photos` photos and the `classes` classes that occur in truth or answer.

    `mean_iou` is their mean: a class that is only told, never true, counts with 0, as in the official evaluation.
    `frequency_weighted_iou` weighs classes by their true pixels, `pixel_accuracy` is the share of counted pixels with
    the right class, `per_class` the IoU of each class index.
    """

    photos: int
    classes: int
    mean_iou: float
    pixel_accuracy: float
    per_class: Mapping[int, float]
    frequency_weighted_iou: float


class SemanticIou:
    """Counts which of K classes was told where which is true; the truth does not count where it is `ignored`."""

    def __init__(self, classes: int, ignored: int = IGNORED) -> None:
        if 0 <= ignored < classes:
            raise ValueError(f"{ignored} is both a class and the sign for pixels that do not count; choose another.")
        self.classes = classes
        self.ignored = ignored
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._photos = 0
        self._confusion = np.zeros((self.classes, self.classes), np.int64)  # true x told

    def update(self, predicted: Integer[np.ndarray, "h w"], truth: Integer[np.ndarray, "h w"]) -> None:
        """Add one photo, a class index at each pixel; where the truth is ignored, the answer may be anything."""
        counted = truth != self.ignored
        true, told = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
        if true.size and not (min(true.min(), told.min()) >= 0 and max(true.max(), told.max()) < self.classes):
            raise ValueError(f"A class index is outside 0 ... {self.classes - 1}; give every counted pixel a class.")
        pairs = np.bincount(true * self.classes + told, minlength=self.classes**2)
        self._confusion += pairs.reshape(self.classes, self.classes)
        self._photos += 1

    def merge(self, other: SemanticIou) -> None:
        """Add what another process counted."""
        if other.classes != self.classes:
            raise ValueError(f"Confusions of {other.classes} and of {self.classes} classes cannot be merged.")
        self._confusion += other._confusion
        self._photos += other._photos

    def compute(self) -> SemanticResult:
        """Score all photos so far."""
        right, true = self._confusion.diagonal(), self._confusion.sum(axis=1)
        either = self._confusion.sum(axis=0) + true - right
        present = np.flatnonzero(either).tolist()
        shares = {k: int(right[k]) / int(either[k]) for k in present}
        pixels = int(true.sum())
        return SemanticResult(
            photos=self._photos,
            classes=len(present),
            mean_iou=mean_percent(shares.values()),
            pixel_accuracy=mean_percent([int(right.sum()) / pixels] if pixels else []),
            per_class={k: 100 * share for k, share in shares.items()},
            frequency_weighted_iou=mean_percent(
                [sum(int(true[k]) * share for k, share in shares.items()) / pixels] if pixels else []
            ),
        )

    def state(self) -> State:
        """Return what was counted."""
        return {
            "classes": self.classes,
            "ignored": self.ignored,
            "photos": self._photos,
            "confusion": self._confusion.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> SemanticIou:
        """Go on from what was counted."""
        metric = cls(int(state["classes"]), int(state["ignored"]))
        metric._photos = int(state["photos"])
        metric._confusion += np.asarray(state["confusion"], np.int64)
        return metric
