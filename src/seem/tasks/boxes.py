"""Boxes of a detector as prompts: what it found, how sure it was and whom it tracks is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from seem.prompts import Box
from seem.results import Labels, LazyLabels, Results, read_only
from seem.vocabulary import Category, Classes, Vocabulary, distinct_colours


@runtime_checkable
class Detections(Protocol):
    """The columns of `supervision.Detections` that are read; all but `xyxy` may be None, `data` may be empty."""

    xyxy: Any
    class_id: Any
    confidence: Any
    tracker_id: Any
    data: Any


NUM_COLOURS = 1000  # class ids beyond share the colours of those before
Boxes: TypeAlias = Detections | Sequence[Sequence[float]] | NDArray[Any] | torch.Tensor


@dataclass(frozen=True, slots=True)
class DetectedBoxes:
    """N boxes, and what the detector said about them; None where it said nothing."""

    boxes: tuple[Box, ...]
    scores: tuple[float, ...] | None = None
    ids: tuple[int, ...] | None = None
    labels: Labels | None = None
    vocabulary: Vocabulary | None = None


def read_boxes(given: Boxes, image_hw: tuple[int, int], classes: Classes = None) -> DetectedBoxes:
    """Read N x 4 boxes (x0, y0, x1, y1 in the photo's pixels), alone or with what a detector said about them.

    `classes` are the names that class ids count in, from 0; names that come with the detections go first. A class id
    without a name is called "class 3".

    Raises `ValueError` that names the row (from 0) for a box that is not finite, inverted, empty or wholly outside the
    photo, a score outside 0-1, a class id below 0 or beyond `classes`, and a tracker id below 1 or used twice.
    """
    if not isinstance(given, Detections):
        if classes is not None:
            raise ValueError("classes has no effect on boxes alone, which have no class ids; hand over detections.")
        return DetectedBoxes(_boxes(given, image_hw))
    boxes = _boxes(given.xyxy, image_hw)
    scores = _scores(_column(given.confidence, "confidence", len(boxes)))
    ids = _ids(_column(given.tracker_id, "tracker_id", len(boxes)))
    class_ids = _class_ids(_column(given.class_id, "class_id", len(boxes)))
    names = _column((given.data or {}).get("class_name"), "class_name", len(boxes))
    if class_ids is None and names is None:
        return DetectedBoxes(boxes, scores, ids)
    said, vocabulary = _names(class_ids, names, None if classes is None else Vocabulary.coerce(classes))
    return DetectedBoxes(boxes, scores, ids, Labels(said, scores or (1.0,) * len(boxes)), vocabulary)


def with_detections(results: Results, detected: DetectedBoxes) -> Results:
    """Give the masks of the boxes, in their order, the scores, names and ids that the detector had for them."""
    provenance = results.provenance
    if detected.scores is not None:
        provenance = replace(provenance, rules=(*provenance.rules, "score: the detector's"))
    return replace(
        results,
        scores=results.scores if detected.scores is None else read_only(np.array(detected.scores, dtype=np.float32)),
        ids=results.ids if detected.ids is None else read_only(np.array(detected.ids, dtype=np.int64)),
        vocabulary=detected.vocabulary or results.vocabulary,
        naming=results.naming if detected.labels is None else LazyLabels(detected.labels),
        provenance=provenance,
    )


def _boxes(given: Any, image_hw: tuple[int, int]) -> tuple[Box, ...]:
    table = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else _table(given)
    if table.size == 0:
        return ()
    if table.ndim != 2 or table.shape[1] != 4 or not np.issubdtype(table.dtype, np.number):
        hint = "; put a single box into a list" if table.shape == (4,) else ""
        raise ValueError(f"Boxes are N x 4 numbers, x0, y0, x1, y1; got {table.dtype} of shape {table.shape}{hint}.")
    return tuple(_box(row, sides, image_hw) for row, sides in enumerate(table.tolist()))


def _table(given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError:
        raise ValueError("Boxes are N x 4 numbers, x0, y0, x1, y1; these have rows of different lengths.") from None


def _box(row: int, sides: Sequence[float], image_hw: tuple[int, int]) -> Box:
    try:
        box = Box(*sides)
        box.check_inside(image_hw)
    except ValueError as error:
        raise ValueError(f"Row {row} of the boxes: {error}") from None
    return box


def _column(given: Any, name: str, count: int) -> list[Any] | None:
    if given is None:
        return None
    column = given.tolist() if isinstance(given, (np.ndarray, torch.Tensor)) else list(given)
    if len(column) != count:
        raise ValueError(f"There are {count} boxes, but {len(column)} values of {name}; give one for each box.")
    return column


def _is_from(value: Any, lowest: float) -> bool:
    return isinstance(value, Real) and float(value) >= lowest  # NaN is not


def _scores(column: list[Any] | None) -> tuple[float, ...] | None:
    for row, score in enumerate(column or ()):
        if not _is_from(score, 0) or score > 1:
            raise ValueError(f"Row {row} of the boxes has the confidence {score}; it must be between 0 and 1.")
    return None if column is None else tuple(map(float, column))


def _ids(column: list[Any] | None) -> tuple[int, ...] | None:
    seen: dict[int, int] = {}
    for row, number in enumerate(column or ()):
        if not _is_from(number, 1):
            raise ValueError(f"Row {row} of the boxes has the tracker id {number}; they start at 1, or there are none.")
        if number in seen:
            raise ValueError(f"Rows {seen[number]} and {row} of the boxes both have the tracker id {number}; keep one.")
        seen[number] = row
    return None if column is None else tuple(map(int, column))


def _class_ids(column: list[Any] | None) -> list[int] | None:
    for row, number in enumerate(column or ()):
        if not _is_from(number, 0):
            raise ValueError(f"Row {row} of the boxes has the class id {number}; class ids count from 0.")
    return None if column is None else [int(number) for number in column]


def _names(
    class_ids: list[int] | None, names: list[Any] | None, vocabulary: Vocabulary | None
) -> tuple[tuple[str, ...], Vocabulary | None]:
    """Name every box, and return the categories that the names stand for, whose ids are class ids plus 1."""
    if names is not None:
        said = tuple(str(name) for name in names)
    elif vocabulary is not None:
        for row, number in enumerate(class_ids or ()):
            if number >= len(vocabulary):
                raise ValueError(
                    f"Row {row} of the boxes has class id {number}, but classes has {len(vocabulary)} names."
                )
        return tuple(vocabulary[number].name for number in class_ids or ()), vocabulary
    else:
        said = tuple(f"class {number}" for number in class_ids or ())
    places = {name: place for place, name in enumerate(dict.fromkeys(said))}
    numbers: dict[str, int] = {}
    owners: dict[int, str] = {}
    for row, name in enumerate(said):
        number = places[name] if class_ids is None else class_ids[row]
        if numbers.setdefault(name, number) != number or owners.setdefault(number, name) != name:
            raise ValueError(f"Row {row} of the boxes calls class {number} {name!r}; another row says otherwise.")
    if not numbers:
        return said, None
    colours = distinct_colours(NUM_COLOURS)
    return said, Vocabulary(
        tuple(
            Category(number + 1, name, name, True, colours[number % NUM_COLOURS])
            for name, number in sorted(numbers.items(), key=lambda item: item[1])
        )
    )
