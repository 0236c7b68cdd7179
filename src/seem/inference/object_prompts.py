"""The prompts about one object, sorted by kind, and whether a model takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real

import numpy as np
from numpy.typing import NDArray

from seem.argument_types import is_tensor
from seem.models.decoder.policy import Policy, RowKind
from seem.models.kind import ModelKind
from seem.prompts import Audio, Mask, Point, Polygon, Prompt, Reference, Text, VisualPrompt

VISUAL_PROMPT_NAMES = "Point, Stroke, Scribble, Polygon, Box, Mask"


@dataclass(frozen=True, slots=True)
class ObjectPrompts:
    """The prompts about one object: all of them in order, and by kind."""

    prompts: tuple[Prompt, ...]
    visual: tuple[VisualPrompt, ...]
    text: tuple[Text | Audio, ...]
    reference: Reference | None = None

    @classmethod
    def of(cls, prompts: Sequence[Prompt]) -> ObjectPrompts:
        """Sort and check the prompts about one object."""
        if not prompts:
            raise ValueError(
                f"There is no prompt; pass a {VISUAL_PROMPT_NAMES}, Text, Reference or Audio."
            )
        visual: list[VisualPrompt] = []
        text: list[Text | Audio] = []
        references: list[Reference] = []
        for prompt in prompts:
            if isinstance(prompt, VisualPrompt):
                visual.append(prompt)
            elif isinstance(prompt, (Text, Audio)):
                text.append(prompt)
            elif isinstance(prompt, Reference):
                references.append(prompt)
            else:
                raise ValueError(describe_non_prompt(prompt))
        if len(references) > 1:
            raise ValueError(
                f"There are {len(references)} References about one object; give one, with all its prompts."
            )
        only_visual = len(visual) == len(prompts)
        if only_visual and not has_positive_mark(visual):
            raise ValueError("All prompts are negative; add at least one that says what is meant.")
        return cls(tuple(prompts), tuple(visual), tuple(text), next(iter(references), None))

    @property
    def phrases(self) -> tuple[str, ...]:
        """The phrases in order; a spoken prompt is transcribed now, if it was not before."""
        return tuple(prompt.phrase for prompt in self.text)

    @property
    def label(self) -> str | None:
        """All phrases in one line; None without text."""
        return ", ".join(self.phrases) or None

    @property
    def has_phrase_beside_mark(self) -> bool:
        """Whether there is a phrase beside a visual prompt that marks the object itself."""
        return bool(self.text) and has_positive_mark(self.visual)

    @property
    def has_only_clicks(self) -> bool:
        """Whether all visual prompts are points."""
        return all(isinstance(prompt, Point) for prompt in self.visual)

    @property
    def previous_logits(self) -> NDArray[np.float32] | None:
        """Mask logits among the prompts: they count as the mask of the previous round."""
        for prompt in reversed(self.visual):
            if isinstance(prompt, Mask) and prompt.logits is not None:
                return prompt.logits
        return None

    def has_outline(self, kind: ModelKind) -> bool:
        """Tell whether an outline of the object is among the prompts (`is_outline`)."""
        return any(is_outline(prompt, kind) for prompt in self.visual)

    @property
    def marks(self) -> tuple[VisualPrompt, ...]:
        """The visual prompts to rasterise: all, but mask logits only if nothing else marks the object."""
        marks = tuple(prompt for prompt in self.visual if not _is_mask_logits(prompt))
        return marks if has_positive_mark(marks) else self.visual

    def without_unsupported_reference(self, kind: ModelKind) -> ObjectPrompts:
        """Drop a reference beside visual prompts where a kind of model makes no use of it."""
        if self.reference and self.visual and not kind.takes_reference_beside_marks:
            return replace(self, reference=None)
        return self

    def answering_rule(self, policy: Policy) -> str:
        """Name the rule that answers: visual prompts before phrases before a reference, and what else it uses.

        Under SEEM v0 a reference counts as a visual prompt.
        """
        if self.visual:
            first = "visual"
        elif not self.text or (self.reference and policy.reference is RowKind.VISUAL_TOKENS):
            first = "reference"
        else:
            first = "phrase"
        rule = first
        if self.text and first != "phrase":
            rule += ", with the phrase"
        if self.reference and first != "reference":
            rule += ", with the reference"
        return rule


def _is_mask_logits(prompt: Prompt) -> bool:
    return isinstance(prompt, Mask) and prompt.logits is not None


def has_positive_mark(marks: Iterable[VisualPrompt]) -> bool:
    """Tell whether any of some visual prompts marks the object itself."""
    return any(mark.positive for mark in marks)


def is_outline(prompt: Prompt, kind: ModelKind) -> bool:
    """Tell whether a prompt is the outline of its object to a kind of model (`ModelKind.polygons_are_outlines`).

    An outline bounds its object, and its area is the first mask. As marks alone, polygons gave nano masks further from
    the truth than the polygons themselves (`docs/nano/decisions.md`).
    """
    return kind.polygons_are_outlines and isinstance(prompt, Polygon)


def replaces_previous_mask(prompt: Prompt, kind: ModelKind) -> bool:
    """Tell whether a new prompt takes the place of the previous round's mask.

    Mask logits do, and an outline: drawn after a click it then answers as it does alone (nano: 86.7 mean IoU of 70
    objects of coco_full, with the click's mask and without; better without where it is drawn badly).
    """
    return is_outline(prompt, kind) or _is_mask_logits(prompt)


def check_supported(prompts: ObjectPrompts, name: str, policy: Policy) -> None:
    """Raise `ValueError`, with what the model takes, for prompts that it was not made for."""
    supported = ["Text", "Audio"]
    if policy.visual:
        supported.insert(0, VISUAL_PROMPT_NAMES)
    if policy.reference:
        supported.append("Reference")
    takes = f"it takes {', '.join(supported)}"
    if prompts.visual and not policy.visual:
        raise ValueError(
            f"{name} takes no visual prompts; {takes}. Load nano or a SEEM model for {VISUAL_PROMPT_NAMES}."
        )
    if prompts.reference and policy.reference is None:
        raise ValueError(
            f"{name} takes no Reference; {takes}. Load nano, seem-focal-t-v0 or seem-focal-t-demo for it."
        )
    if prompts.reference and prompts.visual and policy.reference is RowKind.VISUAL_TOKENS:
        raise ValueError(
            f"{name} takes a Reference in the place of visual prompts, not beside them; leave one of the two out, "
            "or load nano or seem-focal-t-demo."
        )


def check_writes_captions(name: str, policy: Policy) -> None:
    """Raise `ValueError` for a model that was not trained to write captions."""
    if policy.group(RowKind.CAPTION) is None:
        raise ValueError(
            f"{name} writes no captions; load an X-Decoder, for example xdecoder-focal-t."
        )


def check_object_lists(objects: object) -> None:
    """Raise `ValueError` unless several objects come as a list of lists."""
    for prompts in objects if isinstance(objects, Sequence) else (objects,):
        if isinstance(prompts, str) or not isinstance(prompts, Sequence):
            raise ValueError(
                f"segment_many takes a list of lists of prompts, one list for each object; got {prompts!r}."
            )


def describe_non_prompt(value: object) -> str:
    """Say what may have been meant by a value that is no prompt."""
    if isinstance(value, (list, tuple)) and all(isinstance(part, Prompt) for part in value):
        return f"A {type(value).__name__} is no prompt; pass the prompts one by one, segment(*prompts)."
    is_array = isinstance(value, np.ndarray) or is_tensor(value)
    what = type(value).__name__ if is_array else repr(value)
    return (
        f"{what} is no prompt; pass seem.Point(x, y), seem.Box(...), seem.Mask(array), "
        "seem.Text(phrase) or the like."
    )


def checked_probability(value: object, name: str) -> float:
    """Return a threshold that lies in 0-1."""
    if not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"{name} is {value!r}; it must be between 0 and 1.")
    return float(value)


def checked_count(value: object, name: str) -> int:
    """Return a whole number that is at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} is {value!r}; it is a whole number, at least 1.")
    return int(value)
