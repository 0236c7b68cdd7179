"""What protocols ask of a model: as much of `seem.api` as they use, so that anything of this shape can be scored.

A protocol needs the one or other of these; `plan.abilities` says which a model has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from seem.prompts import Prompt
from seem.results import Results
from seem.vocabulary import Vocabulary


@runtime_checkable
class Conversation(Protocol):
    """Rounds about one object, as `seem.api.Session` has them."""

    def add(self, *prompts: Prompt) -> Results:
        """Answer again, with these prompts too."""
        ...


@runtime_checkable
class Seen(Protocol):
    """A photo that a model has looked at, as `seem.api.EncodedImage` is one."""

    def session(self, second_look: bool = False) -> Conversation:
        """Begin rounds about one object; `second_look` zooms in on what is small."""
        ...

    def segment(self, *prompts: Prompt, text_threshold: float | None = None) -> Results:
        """Segment one object."""
        ...

    def find(self, phrases: str) -> Results:
        """Segment everything that a phrase fits."""
        ...

    def panoptic(self, classes: Vocabulary | None = None) -> Results:
        """Segment every thing and stuff region."""
        ...

    def instances(
        self,
        classes: Vocabulary | None = None,
        threshold: float | None = None,
        *,
        mask_nms_thresh: float | None = None,
    ) -> Results:
        """Segment every countable thing."""
        ...

    def semantic(self, classes: Vocabulary | None = None) -> Results:
        """Give every pixel a class."""
        ...

    def caption(self) -> str:
        """Describe the photo in a sentence."""
        ...


@runtime_checkable
class ModelUnderTest(Protocol):
    """A model, as `seem.api.Model` is one."""

    def encode(self, image: NDArray[np.uint8]) -> Seen:
        """Look at an H x W x 3 photo."""
        ...


@runtime_checkable
class Tracking(Protocol):
    """A model that follows objects through a video."""

    def track(
        self, video: Iterable[NDArray[np.uint8]], prompts: Sequence[Sequence[Prompt]], frame: int = 0
    ) -> Iterable[Results]:
        """Answer one result a frame, with an id for every object: 1, 2, ... in the order of `prompts`."""
        ...


NO_MODEL = "none"
"""The name of `Nobody`."""


class NoModel:
    """No model: the baselines answer alone."""

    def encode(self, image: NDArray[np.uint8]) -> Seen:  # noqa: ARG002
        """Refuse to look; nobody should have asked."""
        raise ValueError("there is no model to look at photos; the baselines answer alone")


def region(result: Results) -> Bool[np.ndarray, "h w"]:
    """Join all masks of a result; nothing for an empty one."""
    joined = np.zeros(result.image_hw, np.bool_)
    for mask in result.iter_masks():
        joined |= mask
    return joined
