"""What protocols ask of a model: as much of `seem.api` as they use, so that anything of this shape can be scored."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray

from seem.prompts import Prompt
from seem.results import Results


@runtime_checkable
class Conversation(Protocol):
    """Rounds about one object, as `seem.api.Session` has them."""

    def add(self, *prompts: Prompt) -> Results:
        """Answer again, with these prompts too."""
        ...


@runtime_checkable
class Seen(Protocol):
    """A photo that a model has looked at, as `seem.api.EncodedImage` is one."""

    def session(self) -> Conversation:
        """Begin rounds about one object."""
        ...

    def segment(self, *prompts: Prompt) -> Results:
        """Segment one object."""
        ...

    def panoptic(self) -> Results:
        """Segment every thing and stuff region."""
        ...

    def semantic(self) -> Results:
        """Give every pixel a class."""
        ...


@runtime_checkable
class Scored(Protocol):
    """A model, as `seem.api.Model` is one."""

    def encode(self, image: NDArray[np.uint8]) -> Seen:
        """Look at an H x W x 3 photo."""
        ...


def region(result: Results) -> Bool[np.ndarray, "h w"]:
    """Join all masks of a result; nothing for an empty one."""
    joined = np.zeros(result.photo_hw, np.bool_)
    for mask in result.iter_masks():
        joined |= mask
    return joined
