"""What is asked about one object: its prompts, sorted by kind, and whether a model was made for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seem.models.decoder.policy import RowKind
from seem.models.segmenter import Segmenter
from seem.prompts import Audio, Mask, Polygon, Prompt, Reference, Text, VisualPrompt
from seem.tasks.reference import place_of

VISUAL = "Point, Stroke, Scribble, Polygon, Box, Mask"


@dataclass(frozen=True, slots=True)
class Asked:
    """The prompts about one object, sorted by kind."""

    prompts: tuple[Prompt, ...]
    visual: tuple[VisualPrompt, ...]
    words: tuple[Text | Audio, ...]
    reference: Reference | None = None

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> Asked:
        """Sort and check what is asked about one object."""
        prompts = tuple(prompts)
        if not prompts:
            raise ValueError(f"There is no prompt; pass a {VISUAL}, Text, Reference or Audio.")
        for prompt in prompts:
            if not isinstance(prompt, Prompt):
                raise ValueError(not_a_prompt(prompt))
        visual = tuple(p for p in prompts if isinstance(p, VisualPrompt))
        words = tuple(p for p in prompts if isinstance(p, (Text, Audio)))
        references = [p for p in prompts if isinstance(p, Reference)]
        if len(references) > 1:
            raise ValueError(
                f"There are {len(references)} References about one object; give one, with all its prompts."
            )
        if len(visual) == len(prompts) and not any(p.positive for p in visual):
            raise ValueError("All prompts are negative; add at least one that says what is meant.")
        return cls(prompts, visual, words, references[0] if references else None)

    def phrases(self) -> Iterator[tuple[str, bool]]:
        """Go through what is said, each phrase with whether it was spoken; listens to what nobody has heard yet."""
        return ((prompt.phrase, isinstance(prompt, Audio)) for prompt in self.words)

    @property
    def said(self) -> str | None:
        """All that is said about the object, in one line; None where nothing is."""
        return ", ".join(phrase for phrase, _ in self.phrases()) or None

    @property
    def previous(self) -> NDArray[np.float32] | None:
        """Mask logits that were handed in; they count as the previous round's answer."""
        given = [p.logits for p in self.visual if isinstance(p, Mask) and p.logits is not None]
        return given[-1] if given else None

    @property
    def drawn(self) -> tuple[VisualPrompt, ...]:
        """The prompts that become marks: all, but mask logits only if nothing else says where the object is."""
        marks = tuple(p for p in self.visual if not (isinstance(p, Mask) and p.logits is not None))
        return marks if any(p.positive for p in marks) else self.visual

    def outlined_for(self, network: Segmenter) -> tuple[Polygon, ...]:
        """Return the polygons that are outlines of the object to a model, not only marks on it.

        To one with a dense head they also bound the object, and their area is its mask so far. As marks alone they gave
        masks that were further from the truth than the polygons themselves (`docs/nano/`).
        """
        return tuple(p for p in self.visual if is_outline(p, network))

    def heard_by(self, network: Segmenter) -> Asked:
        """Return what a model makes use of: a dense head (nano) does not follow marks well with a reference beside.

        With one, its first click of 60 objects fell from 53 to 37 mean IoU.
        """
        unseen = network.mask_refiner is not None and self.visual and self.reference
        return replace(self, reference=None) if unseen else self

    def kind_under(self, network: Segmenter) -> str:
        """Name the rule that answers: marks before words before a reference, and what else is heard or seen.

        Under SEEM v0 a reference stands where marks would.
        """
        stands_in = self.reference is not None and place_of(network) is RowKind.VISUAL_TOKENS
        first = "visual" if self.visual else "reference" if stands_in or not self.words else "phrase"
        heard = ", hearing the phrase" if self.words and first != "phrase" else ""
        seen = ", seeing the reference" if self.reference and first != "reference" else ""
        return first + heard + seen


def is_outline(prompt: Prompt, network: Segmenter) -> TypeGuard[Polygon]:
    """Say whether a prompt is the outline of its object to a model."""
    takes = network.mask_refiner is not None and network.config.polygon_rule == "filled"
    return takes and isinstance(prompt, Polygon)


def brings_a_mask(prompt: Prompt, network: Segmenter) -> bool:
    """Say whether a new prompt takes the place of an earlier answer: it is the mask so far by itself.

    An outline drawn after a click then answers as it does alone (nano: 86.7 mean IoU of 70 objects of coco_full, with
    the mask of the click and without, and better without where it is drawn badly).
    """
    return is_outline(prompt, network) or (isinstance(prompt, Mask) and prompt.logits is not None)


def check_taken(asked: Asked, name: str, network: Segmenter) -> None:
    """Raise `ValueError`, with what the model does take, for prompts that it was not made for."""
    place = place_of(network)
    kinds = [VISUAL] if network.decoder.policy.visual else []
    kinds += ["Text", "Audio", *(["Reference"] if place else [])]
    takes = f"it takes {', '.join(kinds)}"
    if asked.visual and not network.decoder.policy.visual:
        raise ValueError(f"{name} takes no visual prompts; {takes}. Load nano or a SEEM model for {VISUAL}.")
    if asked.reference and place is None:
        raise ValueError(f"{name} takes no Reference; {takes}. Load nano, seem-focal-t-v0 or seem-focal-t-demo for it.")
    if asked.reference and asked.visual and place is RowKind.VISUAL_TOKENS:
        raise ValueError(
            f"{name} takes a Reference in the place of visual prompts, not beside them; leave one of the two out, "
            "or load nano or seem-focal-t-demo."
        )


def check_writes(name: str, network: Segmenter) -> None:
    """Raise `ValueError` for a model that has not learned to write captions."""
    if network.decoder.captions is None:
        raise ValueError(f"{name} writes no captions; load an X-Decoder, for example xdecoder-focal-t.")


def check_lists(objects: object) -> None:
    """Raise `ValueError` unless several objects come as a list of lists."""
    for prompts in objects if isinstance(objects, Sequence) else (objects,):
        if isinstance(prompts, str) or not isinstance(prompts, Sequence):
            raise ValueError(
                f"segment_many takes a list of lists of prompts, one list for each object; got {prompts!r}."
            )


def not_a_prompt(given: object) -> str:
    """Say what may have been meant by something that is no prompt."""
    if isinstance(given, (list, tuple)) and all(isinstance(part, Prompt) for part in given):
        return f"A {type(given).__name__} is no prompt; pass the prompts one by one, segment(*prompts)."
    what = type(given).__name__ if isinstance(given, (np.ndarray, Tensor)) else repr(given)
    return (
        f"{what} is no prompt; pass seem.Point(x, y), seem.Box(...), seem.Mask(array), seem.Text(phrase) or the like."
    )


def checked_share(value: object, name: str) -> float:
    """Return a threshold that lies in 0-1."""
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{name} is {value!r}; it must be between 0 and 1.")
    return float(value)


def checked_count(value: object, name: str) -> int:
    """Return a number of things, at least one."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}; it is a whole number, at least 1.")
    return int(value)
