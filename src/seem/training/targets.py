"""What a training step asks about an image: objects, and the prompts of a simulated user about them.

For a few objects of every image a kind of prompt is drawn, then the prompt itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from seem.data.training_sample import TrainingSample, choose_objects
from seem.simulation.strokes import (
    DEFAULT_STROKES,
    PromptKind,
    SimulatedPrompt,
    StrokeDistribution,
    draw_negative_points,
    sample_prompt,
)

P_PHRASE = 0.4  # how often an object with both a phrase and a class name is asked for by its phrase
MIN_REFERENCE_SHARE = (
    0.005  # of the area of all objects of an image: smaller ones are no references
)


@dataclass(frozen=True, slots=True)
class PromptMix:
    """Probabilities of the kinds of prompts about an object; what is left is a visual prompt alone."""

    text: float = 0.45
    text_and_visual: float = 0.08
    absent: float = 0.3
    """Of the text prompts: share that names a class which is not in the image."""
    negative: float = 0.25
    """Of the visual prompts: share with negative marks."""
    strokes: StrokeDistribution = DEFAULT_STROKES
    """How visual prompts are drawn."""
    repeat_objects: bool = True
    """Whether an image of few objects is asked about them again, by other visual prompts."""
    reference: float = 0.2
    """How often the prompt is a region of the partner image."""
    reference_absent: float = 0.2
    """Of the references: share that shows a class which is not in the image."""


@dataclass(frozen=True, slots=True)
class PromptedTarget:
    """The mask that a step wants, and the prompts that ask for it, all on the canvas of an image.

    Attributes:
        truth: the wanted mask; empty for a class that is not in the image.
        positive: marks on the object.
        negative: marks on what is not meant.
        bounds: a filled box, or the area of a polygon, which is `positive` too.
        reference: a region of the partner image; empty without a reference.
        phrase: the text prompt; empty without text.
        name: class name of the object; empty if it has none, or if it was not prompted for as one object.
    """

    truth: Bool[np.ndarray, "s s"]
    positive: Bool[np.ndarray, "s s"]
    negative: Bool[np.ndarray, "s s"]
    bounds: Bool[np.ndarray, "s s"]
    reference: Bool[np.ndarray, "s s"]
    phrase: str = ""
    name: str = ""

    @classmethod
    def of(
        cls,
        truth: Bool[np.ndarray, "s s"],
        *,
        phrase: str = "",
        name: str = "",
        positive: Bool[np.ndarray, "s s"] | None = None,
        negative: Bool[np.ndarray, "s s"] | None = None,
        bounds: Bool[np.ndarray, "s s"] | None = None,
        reference: Bool[np.ndarray, "s s"] | None = None,
    ) -> PromptedTarget:
        """Make a target; maps that are not given are empty."""
        empty = np.zeros_like(truth)
        return cls(
            truth=truth,
            positive=_first_given(positive, empty),
            negative=_first_given(negative, empty),
            bounds=_first_given(bounds, empty),
            reference=_first_given(reference, empty),
            phrase=phrase,
            name=name,
        )


def draw_targets(
    sample: TrainingSample,
    count: int,
    mix: PromptMix,
    rng: np.random.Generator,
    partner: TrainingSample | None = None,
) -> tuple[PromptedTarget, ...]:
    """Choose `count` objects of an image, and draw prompts about each.

    An image with fewer objects is asked about them again, by other visual prompts (`mix.repeat_objects`), or gets
    targets without any prompt. An image without objects is asked for a class that it is known not to show.
    """
    indices = choose_objects(sample, count, rng).tolist()
    targets = [_draw_target(sample, index, mix, rng, partner) for index in indices]
    absent = sorted(sample.absent_names)
    if not indices and absent:
        targets = [absent_target(sample, absent[int(rng.integers(len(absent)))])]
    while len(targets) < count:
        if indices and mix.repeat_objects:
            index = indices[int(rng.integers(len(indices)))]
            targets.append(visual_target(sample, index, mix, rng, with_text=False))
        else:
            targets.append(PromptedTarget.of(_empty_mask(sample)))
    return tuple(targets)


def _draw_target(
    sample: TrainingSample,
    index: int,
    mix: PromptMix,
    rng: np.random.Generator,
    partner: TrainingSample | None,
) -> PromptedTarget:
    """Draw a kind of prompt and a prompt of that kind; a visual one where the other kinds cannot ask."""
    kind = rng.random()
    if partner is not None and rng.random() < mix.reference:
        target = reference_target(sample, partner, mix, rng)
        if target is not None:
            return target
    if kind < mix.text:
        absent = sorted(sample.absent_names)
        if absent and rng.random() < mix.absent:
            return absent_target(sample, absent[int(rng.integers(len(absent)))])
        target = phrase_target(sample, index, rng)
        if target is not None:
            return target
    with_text = kind < mix.text + mix.text_and_visual
    if with_text:
        index = _object_with_siblings(sample, index, rng)
    return visual_target(sample, index, mix, rng, with_text=with_text)


def _object_with_siblings(sample: TrainingSample, index: int, rng: np.random.Generator) -> int:
    """Return an object whose class has others in the image; `index` if there is none.

    A phrase with a mark means one object of a class: where there is only one, the mark teaches nothing.
    """
    counts = Counter(name for name in sample.names if name)
    siblings = [i for i, name in enumerate(sample.names) if counts[name] > 1]
    if not siblings:
        return index
    return siblings[int(rng.integers(len(siblings)))]


def absent_target(sample: TrainingSample, name: str) -> PromptedTarget:
    """Ask for a class that is not in the image."""
    return PromptedTarget.of(_empty_mask(sample), phrase=name)


def phrase_target(
    sample: TrainingSample, index: int, rng: np.random.Generator
) -> PromptedTarget | None:
    """Ask by text alone: a phrase means its object, a bare class name every object of the class.

    None for an object that has neither a phrase nor a class that is annotated completely.
    """
    name, phrases = sample.names[index], sample.phrases[index]
    is_complete = name in sample.complete_names
    if phrases and (not is_complete or rng.random() < P_PHRASE):
        phrase = phrases[int(rng.integers(len(phrases)))]
        return PromptedTarget.of(sample.masks[index], phrase=phrase, name=name)
    if is_complete:
        return PromptedTarget.of(class_mask(sample, name), phrase=name, name=name)
    return None


def reference_target(
    sample: TrainingSample, partner: TrainingSample, mix: PromptMix, rng: np.random.Generator
) -> PromptedTarget | None:
    """Ask for the class of an object of the partner image; None if no class of the partner is annotated here."""
    present_names = sample.complete_names & set(sample.names)
    present, absent = [], []
    for i in reference_objects(partner):
        if partner.names[i] in present_names:
            present.append(i)
        elif partner.names[i] in sample.absent_names:
            absent.append(i)
    candidates = present
    if absent and rng.random() < mix.reference_absent:
        candidates = absent
    if not candidates:
        return None
    index = candidates[int(rng.integers(len(candidates)))]
    return PromptedTarget.of(
        class_mask(sample, partner.names[index]), reference=partner.masks[index]
    )


def reference_objects(sample: TrainingSample) -> list[int]:
    """Return the objects of an image that can be references: those with a class, and not too small beside the rest."""
    is_large = sample.areas >= MIN_REFERENCE_SHARE * sample.areas.sum()
    has_name = np.array(sample.names, dtype=str) != ""
    indices: list[int] = np.flatnonzero(is_large & has_name).tolist()
    return indices


def complete_objects(sample: TrainingSample) -> list[int]:
    """Return the objects of an image whose class is annotated completely there."""
    return [i for i, name in enumerate(sample.names) if name in sample.complete_names]


def complete_names_of(samples: Iterable[TrainingSample]) -> set[str]:
    """Return the class names that at least one of the images is completely annotated for."""
    names: set[str] = set()
    for sample in samples:
        names |= sample.complete_names
    return names


def visual_target(
    sample: TrainingSample, index: int, mix: PromptMix, rng: np.random.Generator, *, with_text: bool
) -> PromptedTarget:
    """Ask by a drawn prompt, sometimes with negative marks, and with the class name if `with_text`."""
    truth = sample.masks[index]
    valid = np.zeros_like(truth)
    valid[: sample.valid_hw[0], : sample.valid_hw[1]] = True
    drawn = sample_prompt(truth, rng, mix.strokes)
    marks = drawn.mask & valid
    negative = None
    if rng.random() < mix.negative:
        wrong_points = draw_negative_points(truth, rng, allowed=valid)
        if wrong_points is not None:
            negative = wrong_points.mask & valid
    name = sample.names[index]
    return PromptedTarget.of(
        truth,
        phrase=name if with_text else "",
        name=name,
        positive=None if drawn.kind is PromptKind.BOX else marks,
        negative=negative,
        bounds=marks if _bounds_object(drawn, mix) else None,
    )


def _bounds_object(drawn: SimulatedPrompt, mix: PromptMix) -> bool:
    """Return whether a drawn prompt limits its object: a box, or the area of a polygon."""
    if drawn.kind is PromptKind.POLYGON:
        return mix.strokes.polygon_rule == "filled"
    return drawn.kind is PromptKind.BOX


def class_mask(sample: TrainingSample, name: str) -> Bool[np.ndarray, "s s"]:
    """Return all objects of a class as one mask."""
    is_class = np.array(sample.names, dtype=str) == name
    return np.asarray(sample.masks[is_class].any(axis=0))


def _first_given(
    mask: Bool[np.ndarray, "s s"] | None, default: Bool[np.ndarray, "s s"]
) -> Bool[np.ndarray, "s s"]:
    return default if mask is None else mask


def _empty_mask(sample: TrainingSample) -> Bool[np.ndarray, "s s"]:
    return np.zeros(sample.image.shape[1:], dtype=bool)
