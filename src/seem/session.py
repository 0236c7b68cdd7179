"""A conversation about one object: rounds with memory, and undo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seem.inference.object_prompts import ObjectPrompts
from seem.prompts import Prompt
from seem.results import Results


class Answering(Protocol):
    """A photo as a session needs it: `EncodedImage` is one."""

    @property
    def name(self) -> str | None:
        """The file's name."""
        ...

    def _brings_a_mask(self, prompt: Prompt) -> bool: ...

    def _answer(
        self,
        objects: Sequence[ObjectPrompts],
        text_threshold: float | None = None,
        previous: Float[Tensor, "1 n h w"] | None = None,
        candidates: int = 1,
        second_look: bool = False,
    ) -> Results: ...


PhotoT = TypeVar("PhotoT", bound=Answering)


class Session(Generic[PhotoT]):
    """Rounds about one object: every answer becomes the memory of the next round.

    `add` returns the new result; `undo` takes the last `add` back, memory and all. Not for several threads at once.
    """

    def __init__(self, photo: PhotoT, second_look: bool = False) -> None:
        self.photo = photo
        self.second_look = second_look
        self._rounds: list[Round] = []

    def __repr__(self) -> str:
        return f"<Session on {self.photo.name or 'photo'}: {len(self._rounds)} rounds, {len(self.prompts)} prompts>"

    def add(self, *prompts: Prompt) -> Results:
        """Add prompts to those so far and answer again, remembering the previous mask.

        `Mask(logits=...)` takes the place of the previous mask in this round; to nano, so does a `Polygon`: it is the
        outline of the object. What is only said or shown, and is not in the photo, gives an empty result, as in
        `EncodedImage.segment`. Raises `ValueError` as that does; the session is then as it was before.
        """
        said = ObjectPrompts.of((*self.prompts, *prompts))
        if not prompts:
            raise ValueError("add() needs at least one prompt; read the last answer from .result.")
        handed_in = any(self.photo._brings_a_mask(prompt) for prompt in prompts)
        previous = self._rounds[-1].logits if self._rounds and not handed_in else None
        result = self.photo._answer([said], previous=previous, second_look=self.second_look)
        logits = None
        if result.logits is not None and len(result):
            logits = torch.from_numpy(np.array(result.logits))[None]
        self._rounds.append(Round(said.prompts, logits, result))
        return result

    def undo(self) -> Results | None:
        """Forget the last `add`; returns the result before it, None at the beginning."""
        if not self._rounds:
            raise ValueError("There is nothing to undo.")
        self._rounds.pop()
        return self.result

    def reset(self) -> None:
        """Forget everything; the photo stays encoded."""
        self._rounds.clear()

    @property
    def result(self) -> Results | None:
        """The latest answer, None before the first prompt."""
        return self._rounds[-1].result if self._rounds else None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Everything said so far, in order."""
        return self._rounds[-1].prompts if self._rounds else ()


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a session: all prompts so far, and what they gave."""

    prompts: tuple[Prompt, ...]
    logits: Float[Tensor, "1 1 h w"] | None
    result: Results
