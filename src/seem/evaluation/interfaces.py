"""Interfaces of the system under test: as much of `seem.Model` as protocols use, so that other models can be scored.

A protocol needs one or several of these; `plan.supported_tasks` lists what a model can do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from seem.encoded_image import Refine
from seem.prompts import Prompt
from seem.results import Results
from seem.vocabulary import Vocabulary


@runtime_checkable
class SessionUnderTest(Protocol):
    """An interactive session about one object, such as `seem.Session`."""

    def add(self, *prompts: Prompt) -> Results:
        """Add prompts and predict the mask of the object again."""
        ...


@runtime_checkable
class ImageUnderTest(Protocol):
    """An image that a model has encoded, such as `seem.EncodedImage`."""

    def session(self, refine: Refine | None = None) -> SessionUnderTest:
        """Start an interactive session about one object; `refine` "zoom" zooms in on small ones."""
        ...

    def segment(self, *prompts: Prompt, text_threshold: float | None = None) -> Results:
        """Segment one object."""
        ...

    def find(self, phrases: str) -> Results:
        """Segment all objects that match a phrase."""
        ...

    def panoptic(self, classes: Vocabulary | None = None) -> Results:
        """Segment every thing and stuff region."""
        ...

    def instances(
        self,
        classes: Vocabulary | None = None,
        threshold: float | None = None,
        *,
        mask_nms_threshold: float | None = None,
    ) -> Results:
        """Segment every countable object."""
        ...

    def semantic(self, classes: Vocabulary | None = None) -> Results:
        """Classify every pixel."""
        ...

    def caption(self) -> str:
        """Describe the image in a sentence."""
        ...


@runtime_checkable
class ModelUnderTest(Protocol):
    """A model, such as `seem.Model`."""

    def encode(self, image: NDArray[np.uint8]) -> ImageUnderTest:
        """Encode an RGB image of H x W x 3."""
        ...


@runtime_checkable
class TrackerUnderTest(Protocol):
    """A model that tracks objects through a video."""

    def track(
        self,
        video: Iterable[NDArray[np.uint8]],
        prompts: Sequence[Sequence[Prompt]],
        frame: int = 0,
    ) -> Iterable[Results]:
        """Return one result a frame; objects have the ids 1, 2, ... in the order of `prompts`."""
        ...


NO_MODEL = "none"
"""The name of `NoModel`."""


class NoModel:
    """Stands for the model when only baselines are scored."""

    def encode(self, image: NDArray[np.uint8]) -> ImageUnderTest:  # noqa: ARG002
        """Raise `ValueError`: there is nothing to encode an image with."""
        raise ValueError("there is no model to encode images; only baselines can be scored")


def union_mask(result: Results) -> Bool[np.ndarray, "h w"]:
    """Return the union of all masks of a result; an empty mask for an empty result."""
    union = np.zeros(result.image_hw, np.bool_)
    for mask in result.iter_masks():
        union |= mask
    return union
