"""What inference returns before it becomes `Results`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seem.mask_codec import PackedMask
from seem.results import Labels
from seem.results.notes import absence_note, quoted
from seem.tasks.labels import MaskCategories
from seem.tasks.panoptic import PredictedSegment
from seem.tasks.semantic import SemanticPrediction
from seem.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The rows of a result: N masks with scores (0-1), labels and class vectors.

    `kind` names the rule that produced them. `logits` are the mask logits at stride 4 in the padded network frame, in
    which they can be prompts again. `ids` are object numbers, None = 1, 2, 3, ... `notes` say what a user must know.
    """

    masks: Sequence[PackedMask]
    scores: Sequence[float]
    labels: Labels | Callable[[], Labels]
    kind: str
    vectors: Float[Tensor, "n d"] | None = None
    logits: Float[Tensor, "n h4 w4"] | None = None
    notes: tuple[str, ...] = ()
    ids: tuple[int, ...] | None = None


def empty_prediction(kind: str, notes: tuple[str, ...] = ()) -> Prediction:
    """Return a prediction without rows."""
    return Prediction((), (), Labels((), ()), kind, notes=notes)


@dataclass(frozen=True, slots=True)
class ImageRegions:
    """Regions that need no prompt: class vectors, and mask logits at stride 4 in the padded network frame."""

    class_vectors: Float[Tensor, "q d"]
    mask_logits: Float[Tensor, "q h w"]


def clamped_scores(scores: Iterable[float]) -> list[float]:
    """Bring scores to 0-1, which a predicted IoU or rounding may leave."""
    return [min(max(score, 0.0), 1.0) for score in scores]


def names_of_classes(vocabulary: Vocabulary, indices: Iterable[int]) -> tuple[str, ...]:
    """Return the names of classes by their index."""
    return tuple(vocabulary[index].name for index in indices)


def missing_phrase_notes(
    vocabulary: Vocabulary, labels: Sequence[str | None], suppressed: Collection[str] = ()
) -> tuple[str, ...]:
    """Say which phrases have no object; `suppressed` are those whose objects fit another phrase better."""
    notes = []
    for name in vocabulary.names:
        if name in labels:
            continue
        if name in suppressed:
            notes.append(f"{quoted(name)} fits what another phrase fits better")
        else:
            notes.append(f"{quoted(name)} was not found")
    return tuple(notes)


def explain_absence(prediction: Prediction, vocabulary: Vocabulary, threshold: float) -> Prediction:
    """Add a note to a prediction without any region that says what was looked for, and what may help."""
    if prediction.masks:
        return prediction
    note = absence_note(vocabulary, threshold)
    return replace(prediction, notes=(*prediction.notes, note))


def panoptic_prediction(
    ids: NDArray[np.int32],
    segments: Sequence[PredictedSegment],
    vocabulary: Vocabulary,
    kind: str,
    vectors: Float[Tensor, "n d"],
) -> Prediction:
    """Turn a panoptic map (H, W; 0 = no region) and its segments into a prediction."""
    height, width = ids.shape
    names, scores, masks = [], [], []
    for segment in segments:
        names.append(vocabulary[segment.category].name)
        scores.append(segment.score)
        masks.append(PackedMask.pack(ids == segment.id, (height, width)))
    return Prediction(masks, scores, Labels(tuple(names), tuple(scores)), kind, vectors)


def semantic_prediction(
    best: SemanticPrediction, vocabulary: Vocabulary, classifier: Float[Tensor, "k1 d"], kind: str
) -> Prediction:
    """Turn the best class of every pixel into one mask for each class that is there; no row for the background."""
    classes = best.classes.cpu().numpy()
    height, width = classes.shape
    present = np.unique(classes)
    present = present[present < len(vocabulary)].tolist()
    scores, masks = [], []
    for index in present:
        scores.append(float(best.scores[best.classes == index].mean().clamp(0, 1)))
        masks.append(PackedMask.pack(classes == index, (height, width)))
    labels = Labels(names_of_classes(vocabulary, present), tuple(scores))
    return Prediction(masks, scores, labels, kind, classifier[present])


def labels_of(vocabulary: Vocabulary, categories: MaskCategories) -> Labels:
    """Name the categories of masks; None where a mask has none."""
    names: list[str | None] = []
    for category in categories.categories:
        names.append(None if category is None else vocabulary[category].name)
    return Labels(tuple(names), categories.scores)
