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


@dataclass(frozen=True, slots=True)
class SemanticResult:
    """Scores over `photos` images and the `classes` classes that occur in truth or prediction.

    `mean_iou` is their mean: a class that is only predicted, never true, counts with 0, as in the official evaluation.
    `frequency_weighted_iou` weights classes by their true pixels, `pixel_accuracy` is the share of counted pixels with
    the correct class, `per_class` the IoU of each class index.
    """

    photos: int
    classes: int
    mean_iou: float
    pixel_accuracy: float
    per_class: Mapping[int, float]
    frequency_weighted_iou: float


class SemanticIou:
    """Counts a confusion matrix of K classes; pixels whose truth is `ignored` do not count."""

    def __init__(self, classes: int, ignored: int = IGNORED) -> None:
        if 0 <= ignored < classes:
            raise ValueError(
                f"{ignored} is both a class and the sign for pixels that do not count; choose another."
            )
        self.classes = classes
        self.ignored = ignored
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._images = 0
        self._confusion = np.zeros((self.classes, self.classes), np.int64)  # true x predicted

    def update(
        self, predicted: Integer[np.ndarray, "h w"], truth: Integer[np.ndarray, "h w"]
    ) -> None:
        """Add the class indices of one image; where the truth is ignored, the prediction may be anything."""
        is_counted = truth != self.ignored
        true = truth[is_counted].astype(np.int64)
        classified = predicted[is_counted].astype(np.int64)
        if true.size:
            lowest, highest = min(true.min(), classified.min()), max(true.max(), classified.max())
            if lowest < 0 or highest >= self.classes:
                raise ValueError(
                    f"A class index is outside 0 ... {self.classes - 1}; give every counted pixel a class."
                )
        pairs = np.bincount(true * self.classes + classified, minlength=self.classes**2)
        self._confusion += pairs.reshape(self.classes, self.classes)
        self._images += 1

    def merge(self, other: SemanticIou) -> None:
        """Add what another process counted."""
        if other.classes != self.classes:
            raise ValueError(
                f"Confusions of {other.classes} and of {self.classes} classes cannot be merged."
            )
        self._confusion += other._confusion
        self._images += other._images

    def compute(self) -> SemanticResult:
        """Score all images so far."""
        intersection = self._confusion.diagonal()
        true = self._confusion.sum(axis=1)
        union = self._confusion.sum(axis=0) + true - intersection
        indices = np.flatnonzero(union)  # of the classes that occur
        ious = intersection[indices] / union[indices]
        percentages = 100 * ious
        pixels = int(true.sum())
        accuracy, weighted_iou = [], []
        if pixels:
            accuracy = [int(intersection.sum()) / pixels]
            weighted_iou = [sum((true[indices] * ious).tolist()) / pixels]
        return SemanticResult(
            photos=self._images,
            classes=len(indices),
            mean_iou=mean_percent(ious.tolist()),
            pixel_accuracy=mean_percent(accuracy),
            per_class=dict(zip(indices.tolist(), percentages.tolist(), strict=True)),
            frequency_weighted_iou=mean_percent(weighted_iou),
        )

    def state(self) -> State:
        """Return what was counted."""
        return {
            "classes": self.classes,
            "ignored": self.ignored,
            "photos": self._images,
            "confusion": self._confusion.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> SemanticIou:
        """Restore the metric from its `state`."""
        metric = cls(int(state["classes"]), int(state["ignored"]))
        metric._images = int(state["photos"])
        metric._confusion += np.asarray(state["confusion"], np.int64)
        return metric
