"""Turn a banked image into a training sample: one random window with random colours.

Everything that happens to the image's geometry is a single affine map from bank pixels to canvas pixels
(`seem.data.window`), so image and masks cannot drift apart. Texts are carried along: a flip swaps left and right in
phrases, and a crop drops the phrases that it may have made untrue.

Frames: the canvas is a square of S pixels; its upper left part of `valid_hw` holds the image, the rest is padding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress, filterfalse

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from seem.data.augmentation import Augmentation
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.colour_jitter import jitter_colours
from seem.data.phrases import is_relative_phrase, mirror_phrases
from seem.data.records import ObjectRecord
from seem.data.window import (
    PAD_RGB,
    ImageWindow,
    MaskPatch,
    choose_window,
    draw_patches,
    warp_object,
    warp_pixels,
)

_CAPTION_MIN_FRACTION = 0.7  # of the image that the window must show for its captions to hold
_WEAK_PHRASE_MIN_FRACTION = 0.6  # the same for phrases that were taken from captions
_OBJECT_MIN_FRACTION = 0.6  # of an object that the window must show for comparisons with it to hold


@dataclass(frozen=True, slots=True)
class TrainingSample:
    """One window of one image with all that is known about it.

    Attributes:
        image: RGB, padded with `PAD_RGB`.
        valid_hw: rows and columns of the canvas that hold the image, from the upper left corner.
        masks: every object and stuff region with at least `Augmentation.min_visible` pixels in the window. They may
            overlap (a person and its clothes).
        ignore: pixels that are neither object nor background: crowds, groups, unlabelled parts of panoptic images,
            objects beyond `Augmentation.max_objects`.
        names: class name to prompt with, one a mask; empty for class-agnostic masks.
        is_thing: false for stuff, one a mask.
        qualities: how the mask came about, one a mask: empty, object, box-verified, component, derived-union.
        phrases: phrases that still single the object out in this window, one list a mask.
        complete_names: classes whose annotation is complete on this image.
        present_names: classes of which any pixel is in the window, dropped objects and crowds included.
        captions: sentences about the full image; none when the window shows too little of it.
        set_name: the set that the image is from.
        image_id: its id there.
        object_ids: annotation ids, one a mask.
    """

    image: UInt8[np.ndarray, "3 s s"]
    valid_hw: tuple[int, int]
    masks: Bool[np.ndarray, "n s s"]
    ignore: Bool[np.ndarray, "s s"]
    names: tuple[str, ...]
    is_thing: Bool[np.ndarray, " n"]
    qualities: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]
    complete_names: frozenset[str]
    present_names: frozenset[str]
    captions: tuple[str, ...]
    set_name: str
    image_id: int
    object_ids: tuple[int, ...]

    @property
    def absent_names(self) -> frozenset[str]:
        """Classes that are certainly nowhere in the window."""
        return self.complete_names - self.present_names

    @property
    def areas(self) -> Int64[np.ndarray, " n"]:
        """Mask areas in canvas pixels."""
        return np.asarray(np.count_nonzero(self.masks, axis=(1, 2)))


@dataclass(frozen=True, slots=True)
class _VisibleObject:
    """An object of which the window shows a part."""

    banked: BankedObject
    patch: MaskPatch

    @property
    def name(self) -> str:
        return self.banked.name

    @property
    def record(self) -> ObjectRecord:
        return self.banked.record


def augment(
    image: BankedImage,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
    preferred_name: str | None = None,
) -> TrainingSample:
    """Draw one sample from an image.

    Args:
        image: an image of the bank.
        size: side of the canvas in pixels.
        rng: decides everything that is random.
        augmentation: how samples vary.
        preferred_name: the class of which the window keeps an object, if the image has one.
    """
    window = choose_window(image, size, rng, augmentation, preferred_name)
    canvas = _draw_canvas(image, window, size, rng, augmentation)
    visible = _visible_objects(image.objects, window)
    visible_groups = _visible_objects(image.ignored, window)
    chosen, dropped = _choose_objects(visible, rng, augmentation)
    records = [item.record for item in chosen]
    ignored = _draw_masks([*visible_groups, *dropped], size)
    return TrainingSample(
        image=np.ascontiguousarray(canvas.transpose(2, 0, 1)),
        valid_hw=window.valid_hw,
        masks=_draw_masks(chosen, size),
        ignore=np.asarray(ignored.any(axis=0)),
        names=_names_of(chosen),
        is_thing=np.array([record.category.is_thing for record in records], bool),
        qualities=tuple(record.quality for record in records),
        phrases=_phrases_in_window(image, chosen, visible, window),
        complete_names=image.complete_names,
        present_names=frozenset(_names_of([*visible, *visible_groups])) - {""},
        captions=_captions_in_window(image, window),
        set_name=image.record.set_name,
        image_id=image.record.id,
        object_ids=tuple(record.id for record in records),
    )


def choose_objects(
    sample: TrainingSample,
    count: int,
    rng: np.random.Generator,
    *,
    min_area: float = 0.003,
    things_only: bool = False,
) -> Int64[np.ndarray, " k"]:
    """Draw up to `count` masks of a sample to prompt for, first a class, then one of its masks, without repetition.

    Dense classes therefore do not crowd out rare ones. Masks under `min_area` of the valid part of the canvas are not
    drawn, nor masks that fill it. Fewer than `count` indices come back when there are not enough.
    """
    height, width = sample.valid_hw
    area_fractions = sample.areas / max(1, height * width)
    is_eligible = (area_fractions >= min_area) & (area_fractions <= 0.95)
    if things_only:
        is_eligible &= sample.is_thing
    indices_by_name: dict[str, list[int]] = {}
    for index in rng.permutation(np.flatnonzero(is_eligible)).tolist():
        indices_by_name.setdefault(sample.names[index], []).append(index)
    chosen: list[int] = []
    while indices_by_name and len(chosen) < count:
        name = list(indices_by_name)[int(rng.integers(len(indices_by_name)))]
        chosen.append(indices_by_name[name].pop())
        if not indices_by_name[name]:
            del indices_by_name[name]
    return np.array(chosen, np.int64)


def _draw_canvas(
    image: BankedImage,
    window: ImageWindow,
    size: int,
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> UInt8[np.ndarray, "s s 3"]:
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:] = PAD_RGB
    height, width = window.valid_hw
    canvas[:height, :width] = jitter_colours(warp_pixels(image.image, window), rng, augmentation)
    return canvas


def _draw_masks(visible: Sequence[_VisibleObject], size: int) -> Bool[np.ndarray, "n s s"]:
    return draw_patches([item.patch for item in visible], size)


def _names_of(visible: Sequence[_VisibleObject]) -> tuple[str, ...]:
    return tuple(item.name for item in visible)


def _visible_objects(entries: Iterable[BankedObject], window: ImageWindow) -> list[_VisibleObject]:
    visible = []
    for entry in entries:
        patch = warp_object(entry, window)
        if patch is not None:
            visible.append(_VisibleObject(entry, patch))
    return visible


def _choose_objects(
    visible: Sequence[_VisibleObject],
    rng: np.random.Generator,
    augmentation: Augmentation,
) -> tuple[list[_VisibleObject], list[_VisibleObject]]:
    """Split visible objects into those that the sample keeps and those that it has to ignore."""
    areas = np.array([item.patch.area for item in visible])
    is_chosen = areas >= augmentation.min_visible
    indices = np.flatnonzero(is_chosen)
    if len(indices) > augmentation.max_objects:
        excess = rng.permutation(indices)[augmentation.max_objects :]
        is_chosen[excess] = False
    chosen = list(compress(visible, is_chosen))
    dropped = list(compress(visible, ~is_chosen))
    return chosen, dropped


# --- Texts ------------------------------------------------------------------------------------------------------------


def _captions_in_window(image: BankedImage, window: ImageWindow) -> tuple[str, ...]:
    if window.image_fraction < _CAPTION_MIN_FRACTION or window.is_quarter_turned:
        return ()
    return _mirrored_if_flipped(image.record.captions, window)


def _phrases_in_window(
    image: BankedImage,
    chosen: Sequence[_VisibleObject],
    visible: Sequence[_VisibleObject],
    window: ImageWindow,
) -> tuple[tuple[str, ...], ...]:
    """Return for each chosen object the phrases that still single it out; the only one of its class gets its name."""
    fractions = {item.record.id: item.patch.visible_fraction for item in visible}
    # classes of which the window lost an object: comparisons may no longer hold
    cut_off_names = set()
    counts: Counter[str] = Counter()
    for entry in image.objects:
        fraction = fractions.get(entry.record.id, 0.0)
        if fraction < _OBJECT_MIN_FRACTION:
            cut_off_names.add(entry.name)
        if fraction > 0:
            counts[entry.name] += 1
    group_names = {entry.name for entry in image.ignored}
    fully_known_names = image.complete_names - group_names

    phrases = []
    for item in chosen:
        texts = _true_phrases(item.record, window, is_cut_off=item.name in cut_off_names)
        is_unique = counts[item.name] == 1 and item.name in fully_known_names
        own_phrase = f"the {item.name}"
        if item.record.category.is_thing and is_unique and own_phrase not in texts:
            texts = (*texts, own_phrase)
        phrases.append(texts)
    return tuple(phrases)


def _true_phrases(
    record: ObjectRecord, window: ImageWindow, *, is_cut_off: bool
) -> tuple[str, ...]:
    """Return the phrases of an object that the window leaves true, mirrored where it is."""
    if window.is_quarter_turned:
        return ()
    phrases = record.phrases
    if "weak" in record.phrase_source:  # from a caption about the full image
        if window.image_fraction < _WEAK_PHRASE_MIN_FRACTION:
            return ()
    elif is_cut_off:
        phrases = tuple(filterfalse(is_relative_phrase, phrases))
    return _mirrored_if_flipped(phrases, window)


def _mirrored_if_flipped(texts: tuple[str, ...], window: ImageWindow) -> tuple[str, ...]:
    if not window.is_flipped:
        return texts
    return mirror_phrases(texts)
