"""Copy-paste augmentation: a thing of one training sample in front of another one."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from seem.data.augmentation import MIN_VISIBLE_PIXELS
from seem.data.training_sample import TrainingSample

_EDGE_BLUR_SIGMA = 0.6  # pixels


def paste_object(
    sample: TrainingSample,
    donor: TrainingSample,
    rng: np.random.Generator,
    *,
    share: tuple[float, float] = (0.02, 0.4),
    min_visible: int = MIN_VISIBLE_PIXELS,
    about: str | None = None,
) -> TrainingSample:
    """Paste a thing of another sample into this one, anywhere, so that a thing is not known by where it stands.

    Taken are things that the donor's window does not cut off, that cover a `share` of this image, and whose class is
    annotated completely here, of the class `about` before others; if there is none, the sample stays as it is. Phrases
    and captions go: they may have become untrue. What is left of covered objects is kept from `min_visible` pixels on,
    and ignored below.
    """
    candidates = _pasteable_objects(sample, donor, share, about)
    if not candidates:
        return sample
    index = candidates[int(rng.integers(len(candidates)))]
    mask, pixels = _cut_out(donor, index, sample.valid_hw)
    if rng.random() < 0.5:
        mask, pixels = mask[:, ::-1], pixels[:, :, ::-1]
    region = _choose_region(mask.shape, sample.valid_hw, rng)
    pasted = np.zeros(donor.masks[index].shape, bool)
    pasted[region] = mask
    return _put_in_front(
        sample, donor, index, pasted, _blend(sample.image, pasted, region, pixels), min_visible
    )


def _pasteable_objects(
    sample: TrainingSample,
    donor: TrainingSample,
    share: tuple[float, float],
    about: str | None,
) -> list[int]:
    """Return the donor's objects that may be pasted: those of the class `about`, if there are any."""
    height, width = sample.valid_hw
    area_fractions = donor.areas / (height * width)
    has_size = (area_fractions >= share[0]) & (area_fractions <= share[1])
    is_pasteable = has_size & donor.is_thing & ~_touches_border(donor)
    indices, preferred = [], []
    for index in np.flatnonzero(is_pasteable).tolist():
        if donor.names[index] in sample.complete_names:
            indices.append(index)
            if donor.names[index] == about:
                preferred.append(index)
    return preferred or indices


def _touches_border(sample: TrainingSample) -> Bool[np.ndarray, " n"]:
    """Return which masks reach the border of the image, so that they may be cut off."""
    height, width = sample.valid_hw
    outer_rows = sample.masks[:, [0, height - 1], :]
    outer_columns = sample.masks[:, :, [0, width - 1]]
    touches_top_or_bottom = outer_rows.any(axis=(1, 2))
    touches_side = outer_columns.any(axis=(1, 2))
    return np.asarray(touches_top_or_bottom | touches_side)


def _cut_out(
    donor: TrainingSample,
    index: int,
    max_hw: tuple[int, int],
) -> tuple[Bool[np.ndarray, "h w"], UInt8[np.ndarray, "3 h w"]]:
    """Return the mask of an object and its pixels in its box, which is cut to at most `max_hw`."""
    mask = donor.masks[index]
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    top, left = rows[0], columns[0]
    bottom = min(rows[-1] + 1, top + max_hw[0])
    right = min(columns[-1] + 1, left + max_hw[1])
    pixels = donor.image[:, top:bottom, left:right]
    return np.asarray(mask[top:bottom, left:right]), pixels


def _choose_region(
    hw: tuple[int, ...], canvas_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[slice, slice]:
    """Draw where a box of this size lies on the canvas."""
    height, width = hw
    canvas_height, canvas_width = canvas_hw
    top = int(rng.integers(canvas_height - height + 1))
    left = int(rng.integers(canvas_width - width + 1))
    return slice(top, top + height), slice(left, left + width)


def _blend(
    image: UInt8[np.ndarray, "3 s s"],
    pasted: Bool[np.ndarray, "s s"],
    region: tuple[slice, slice],
    pixels: UInt8[np.ndarray, "3 h w"],
) -> UInt8[np.ndarray, "3 s s"]:
    """Draw the pasted pixels with soft edges, inside of the mask alone: no rim of the old background."""
    import cv2

    hard = pasted.astype(np.float32)
    blurred = np.asarray(cv2.GaussianBlur(hard, (0, 0), _EDGE_BLUR_SIGMA))
    opacity = blurred * pasted
    rows, columns = region
    blended = image.copy()
    background: Float32[np.ndarray, "3 h w"] = image[:, rows, columns].astype(np.float32)
    background += opacity[region] * (pixels.astype(np.float32) - background)
    blended[:, rows, columns] = np.rint(background)
    return np.asarray(blended)


def _put_in_front(
    sample: TrainingSample,
    donor: TrainingSample,
    index: int,
    pasted: Bool[np.ndarray, "s s"],
    image: UInt8[np.ndarray, "3 s s"],
    min_visible: int,
) -> TrainingSample:
    """Return the sample with the pasted object last, and what it leaves of the others."""
    masks = sample.masks & ~pasted
    is_visible = np.count_nonzero(masks, axis=(1, 2)) >= min_visible
    names = (*compress(sample.names, is_visible), donor.names[index])
    return replace(
        sample,
        image=image,
        masks=np.concatenate((masks[is_visible], pasted[None])),
        ignore=(sample.ignore & ~pasted) | masks[~is_visible].any(axis=0),
        names=names,
        is_thing=np.append(sample.is_thing[is_visible], True),
        qualities=(*compress(sample.qualities, is_visible), donor.qualities[index]),
        phrases=((),) * len(names),
        present_names=sample.present_names | {donor.names[index]},
        captions=(),
        object_ids=(*compress(sample.object_ids, is_visible), donor.object_ids[index]),
    )
