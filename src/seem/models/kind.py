"""What differs between the two kinds of model, decided once when a network is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seem.config import SegmenterConfig


@dataclass(frozen=True, slots=True)
class ModelKind:
    """A kind of model, and what it does with prompts. `Segmenter.kind` holds it.

    - `query`: the published models. Object queries hold the classes and masks of an image.
    - `dense`: nano. A text embedding map tells what each cell of an image shows, and a mask refiner improves answers.

    Code on tensors asks whether a module is there (`mask_refiner`). What a kind needs further up is looked up by its
    name: how it recognizes (`seem.inference.recognizer`), its training objective (`seem.training.objectives`) and its
    fine-tuning profile (`seem.finetuning.profile`).
    """

    name: Literal["query", "dense"]
    polygons_are_outlines: bool
    """Whether a `Polygon` is the outline of its object: a bound and a first mask, not only a mark on it."""
    takes_reference_beside_marks: bool
    """Whether a `Reference` has an effect beside visual prompts.

    Without practice in training it harms: the first click of 60 objects fell from 53 to 37 mean IoU with nano.
    """
    obeys_clicks: bool
    """Whether the pixel of a `Point` is on the side of the mask that it says, and a repeated `Point` changes nothing.

    The published models answer as their authors' code does.
    """
    scores_presence: bool
    """Whether a model tells how surely an image shows a phrase.

    Fine-tuning measures from which probability on a class counts as present, and stores it in the weights file.
    """


QUERY = ModelKind(
    name="query",
    polygons_are_outlines=False,
    takes_reference_beside_marks=True,
    obeys_clicks=False,
    scores_presence=False,
)
DENSE = ModelKind(
    name="dense",
    polygons_are_outlines=True,
    takes_reference_beside_marks=False,
    obeys_clicks=True,
    scores_presence=True,
)


def kind_of(config: SegmenterConfig) -> ModelKind:
    """Return the kind of model that a configuration describes."""
    return QUERY if config.mask_refiner is None else DENSE
