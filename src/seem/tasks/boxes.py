"""Boxes of a detector as prompts; its scores, tracker ids and class names are passed on to the masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from seem.errors import short_reason
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


NUM_COLOURS = 1000  # class ids from here on share the colours of the first ones
Boxes: TypeAlias = Detections | Sequence[Sequence[float]] | NDArray[Any] | torch.Tensor


@dataclass(frozen=True, slots=True)
class DetectedBoxes:
    """N boxes, and the detector's columns for them; None where it has none."""

    boxes: tuple[Box, ...]
    scores: tuple[float, ...] | None = None
    ids: tuple[int, ...] | None = None
    labels: Labels | None = None
    vocabulary: Vocabulary | None = None


def read_boxes(given: Boxes, image_hw: tuple[int, int], classes: Classes = None) -> DetectedBoxes:
    """Read N x 4 boxes (x0, y0, x1, y1 in the image's pixels), alone or with the columns of a detector.

    `classes` are the names of the class ids, which count from 0; names that come with the detections go first. A class
    id without a name is called "class 3".

    Raises `ValueError` that names the row (from 0) for a box that is not finite, inverted, empty or wholly outside the
    image, a score outside 0-1, a class id below 0 or beyond `classes`, and a tracker id below 1 or used twice.
    """
    if not isinstance(given, Detections):
        if classes is not None:
            raise ValueError(
                "classes has no effect on boxes alone, which have no class ids; hand over detections."
            )
        return DetectedBoxes(_boxes(given, image_hw))
    boxes = _boxes(given.xyxy, image_hw)
    count = len(boxes)
    scores = _scores(_column(given.confidence, "confidence", count))
    ids = _tracker_ids(_column(given.tracker_id, "tracker_id", count))
    class_ids = _class_ids(_column(given.class_id, "class_id", count))
    given_names = (given.data or {}).get("class_name")
    names = _column(given_names, "class_name", count)
    if class_ids is None and names is None:
        return DetectedBoxes(boxes, scores, ids)
    vocabulary = None
    if classes is not None:
        vocabulary = Vocabulary.coerce(classes)
    box_names, vocabulary = _name_boxes(class_ids, names, vocabulary)
    labels = Labels(box_names, scores or (1.0,) * count)
    return DetectedBoxes(boxes, scores, ids, labels, vocabulary)


def with_detections(results: Results, detected: DetectedBoxes) -> Results:
    """Give the masks of the boxes, in their order, the scores, names and ids of the detector."""
    if detected.scores is not None:
        rules = (*results.provenance.rules, "score: the detector's")
        results = replace(
            results,
            scores=read_only(np.array(detected.scores, dtype=np.float32)),
            provenance=replace(results.provenance, rules=rules),
        )
    if detected.ids is not None:
        results = replace(results, ids=read_only(np.array(detected.ids, dtype=np.int64)))
    if detected.labels is not None:
        results = replace(results, lazy_labels=LazyLabels(detected.labels))
    return replace(results, vocabulary=detected.vocabulary or results.vocabulary)


# --- Reading columns --------------------------------------------------------------------------------------------------


def _boxes(given: Any, image_hw: tuple[int, int]) -> tuple[Box, ...]:
    table = _tensor_table(given) if isinstance(given, torch.Tensor) else _table(given)
    if table.size == 0:
        return ()
    if table.ndim != 2 or table.shape[1] != 4 or not np.issubdtype(table.dtype, np.number):
        hint = "; put a single box into a list" if table.shape == (4,) else ""
        raise ValueError(
            f"Boxes are N x 4 numbers, x0, y0, x1, y1; got {table.dtype} of shape {table.shape}{hint}."
        )
    return tuple(_box(row, sides, image_hw) for row, sides in enumerate(table.tolist()))


def _tensor_table(given: torch.Tensor) -> NDArray[Any]:
    try:
        return given.detach().to("cpu", torch.float64).numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise ValueError(
            f"Boxes are N x 4 numbers, got a tensor without plain values ({short_reason(error)})."
        ) from None


def _table(given: Any) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError:
        raise ValueError(
            "Boxes are N x 4 numbers, x0, y0, x1, y1; these have rows of different lengths."
        ) from None


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
        raise ValueError(
            f"There are {count} boxes, but {len(column)} values of {name}; give one for each box."
        )
    return column


def _is_at_least(value: Any, minimum: float) -> bool:
    return isinstance(value, Real) and float(value) >= minimum  # NaN is not


def _scores(column: list[Any] | None) -> tuple[float, ...] | None:
    if column is None:
        return None
    for row, score in enumerate(column):
        if not _is_at_least(score, 0) or score > 1:
            raise ValueError(
                f"Row {row} of the boxes has the confidence {score}; it must be between 0 and 1."
            )
    return tuple(map(float, column))


def _tracker_ids(column: list[Any] | None) -> tuple[int, ...] | None:
    if column is None:
        return None
    row_of: dict[int, int] = {}
    for row, number in enumerate(column):
        if not _is_at_least(number, 1):
            raise ValueError(
                f"Row {row} of the boxes has the tracker id {number}; they start at 1, or there are none."
            )
        if number in row_of:
            first = row_of[number]
            raise ValueError(
                f"Rows {first} and {row} of the boxes both have the tracker id {number}; keep one."
            )
        row_of[number] = row
    return tuple(map(int, column))


def _class_ids(column: list[Any] | None) -> list[int] | None:
    if column is None:
        return None
    for row, number in enumerate(column):
        if not _is_at_least(number, 0):
            raise ValueError(
                f"Row {row} of the boxes has the class id {number}; class ids count from 0."
            )
    return list(map(int, column))


# --- Names and categories ---------------------------------------------------------------------------------------------


def _name_boxes(
    class_ids: list[int] | None, names: list[Any] | None, vocabulary: Vocabulary | None
) -> tuple[tuple[str, ...], Vocabulary | None]:
    """Return the name of every box, and the categories that the names stand for, whose ids are class ids plus 1."""
    if names is None and vocabulary is not None:
        return _names_in(vocabulary, class_ids or []), vocabulary
    if names is not None:
        box_names = tuple(map(str, names))
    else:
        box_names = tuple(f"class {number}" for number in class_ids or ())
    if class_ids is None:
        class_ids = _numbered(box_names)
    return box_names, _vocabulary_of(box_names, class_ids)


def _names_in(vocabulary: Vocabulary, class_ids: Sequence[int]) -> tuple[str, ...]:
    """Look class ids up in a vocabulary."""
    for row, number in enumerate(class_ids):
        if number >= len(vocabulary):
            raise ValueError(
                f"Row {row} of the boxes has class id {number}, but classes has {len(vocabulary)} names."
            )
    return tuple(vocabulary[number].name for number in class_ids)


def _numbered(names: Sequence[str]) -> list[int]:
    """Return a number for each name, in the order in which names appear first."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]


def _vocabulary_of(names: Sequence[str], class_ids: Sequence[int]) -> Vocabulary | None:
    """Make a category of each class id and its name; None for no boxes, `ValueError` if an id has two names."""
    number_of: dict[str, int] = {}
    name_of: dict[int, str] = {}
    for row, (name, number) in enumerate(zip(names, class_ids, strict=True)):
        if number_of.setdefault(name, number) != number or name_of.setdefault(number, name) != name:
            raise ValueError(
                f"Row {row} of the boxes calls class {number} {name!r}; another row says otherwise."
            )
    if not name_of:
        return None
    colours = distinct_colours(NUM_COLOURS)
    categories = []
    for number, name in sorted(name_of.items()):
        colour = colours[number % NUM_COLOURS]
        categories.append(
            Category(id=number + 1, name=name, phrase=name, is_thing=True, colour=colour)
        )
    return Vocabulary(tuple(categories))
