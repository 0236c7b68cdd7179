"""Several rounds of prompts about one object, with memory and undo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.argument_types import explains_arguments
from seem.inference.object_prompts import ObjectPrompts, replaces_previous_mask
from seem.models.kind import ModelKind
from seem.prompts import Point, Prompt
from seem.results import Results

SegmentRound: TypeAlias = "Callable[[ObjectPrompts, Float[Tensor, '1 1 h w'] | None], Results]"
"""Prompts so far and the mask logits of the previous round to a result."""


@explains_arguments
class Session:
    """Rounds about one object: every answer becomes the memory of the next round. `EncodedImage.session` makes one.

    `add` returns the new result; `undo` takes the last `add` back, memory and all. Not for several threads at once.
    """

    def __init__(
        self, segment: SegmentRound, kind: ModelKind, image_name: str | None = None
    ) -> None:
        self._segment = segment
        self._kind = kind
        self._image_name = image_name
        self._rounds: list[Round] = []

    def __repr__(self) -> str:
        image = self._image_name or "image"
        return f"<Session on {image}: {len(self._rounds)} rounds, {len(self.prompts)} prompts>"

    def add(self, *prompts: Prompt) -> Results:
        """Add prompts to those so far and answer again, remembering the previous mask.

        `Mask(logits=...)` takes the place of the previous mask in this round; to nano, so does a `Polygon`: it is the
        outline of the object. To nano, a click that was made before says nothing new: the result stays. An object
        without visual prompts that is not in the image gives an empty result, as in `EncodedImage.segment`. Raises
        `ValueError` as that does; the session is then as it was before.
        """
        all_prompts = ObjectPrompts.of((*self.prompts, *prompts))
        if not prompts:
            raise ValueError("add() needs at least one prompt; read the last answer from .result.")
        if self._repeats_clicks(prompts):
            self._rounds.append(self._rounds[-1])
            return self._rounds[-1].result
        result = self._segment(all_prompts, self._previous_mask(prompts))
        self._rounds.append(Round(all_prompts.prompts, mask_logits(result), result))
        return result

    def undo(self) -> Results | None:
        """Forget the last `add`; returns the result before it, None at the beginning."""
        if not self._rounds:
            raise ValueError("There is nothing to undo.")
        self._rounds.pop()
        return self.result

    def reset(self) -> None:
        """Forget all rounds; the image stays encoded."""
        self._rounds.clear()

    @property
    def result(self) -> Results | None:
        """The latest result, None before the first prompt."""
        return self._rounds[-1].result if self._rounds else None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All prompts so far, in order."""
        return self._rounds[-1].prompts if self._rounds else ()

    def _repeats_clicks(self, new_prompts: tuple[Prompt, ...]) -> bool:
        """Whether all new prompts are clicks that the mask obeys already: another round could only change the rest."""
        if not self._kind.obeys_clicks:
            return False
        clicks = [prompt for prompt in self.prompts if isinstance(prompt, Point)]
        return all(prompt in clicks for prompt in new_prompts)

    def _previous_mask(self, new_prompts: tuple[Prompt, ...]) -> Float[Tensor, "1 1 h w"] | None:
        """Return the mask logits of the last round, unless a new prompt takes their place."""
        if not self._rounds:
            return None
        if any(replaces_previous_mask(prompt, self._kind) for prompt in new_prompts):
            return None
        return self._rounds[-1].logits


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a session: all prompts so far, and what came of them."""

    prompts: tuple[Prompt, ...]
    logits: Float[Tensor, "1 1 h w"] | None
    result: Results


def mask_logits(result: Results) -> Float[Tensor, "1 1 h w"] | None:
    """Return the mask logits of a result about one object; None where it is empty or has none."""
    if result.logits is None or not len(result):
        return None
    return torch.from_numpy(np.array(result.logits))[None]
