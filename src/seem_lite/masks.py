"""Mask logits to masks of the photo: resizing, clicks that are obeyed, connected components, merging."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from seem_lite.drawing import XY, Frame

CLICK_REACH, CLICK_MARGIN = 0.05, 0.1
MIN_OBJECT_RATIO, MIN_REGION_RATIO = (
    0.1,
    0.005,
)  # to the largest component: of an object, of what is no noise
MIN_OWN_SHARE = 0.6  # of its mask that a region of a panoptic map must own


def sigmoid(values: np.ndarray) -> np.ndarray:
    """Return probabilities of logits."""
    return 1 / (1 + np.exp(-np.clip(values, -80, 80)))


def to_network(logits: np.ndarray, frame: Frame) -> np.ndarray:
    """Enlarge logits to the network frame and cut off the padding."""
    height, width = frame.padded
    padded = Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(padded)[: frame.network[0], : frame.network[1]]


def to_photo(logits: np.ndarray, frame: Frame) -> np.ndarray:
    """Bring logits to the size of the photo."""
    inside = Image.fromarray(to_network(logits, frame))
    return np.asarray(inside.resize(frame.photo[::-1], Image.Resampling.BICUBIC))


def obey_click(logits: np.ndarray, frame: Frame, point: XY, sign: int, area: int) -> np.ndarray:
    """Add a bump around a click whose pixel is on the wrong side of the mask (`area` in cells); `sign` 1 = inside."""
    stride = frame.padded[0] // len(logits)
    column, row = (value // stride for value in frame.pixel_at(point))
    around = sign * logits[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    if around.min() > 0:
        return logits
    sigma = min(max(CLICK_REACH * math.sqrt(area), 1.0), 8.0)
    rows, columns = np.ogrid[: logits.shape[0], : logits.shape[1]]
    bump = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
    gain = (CLICK_MARGIN - around.min()) / math.exp(-1 / sigma**2)
    return (logits + sign * gain * bump).astype(np.float32)


# --- Connected components ---------------------------------------------------------------------------------------------


def label(mask: np.ndarray, corners: bool) -> np.ndarray:
    """Return the number of the connected component of every pixel, 0 outside; `corners` connect too."""
    width = mask.shape[1] + 2
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).ravel().astype(np.int8), prepend=0, append=0)
    starts, ends = (
        np.flatnonzero(steps == 1),
        np.flatnonzero(steps == -1),
    )  # runs of pixels in a row
    reach = int(corners)
    first = np.searchsorted(ends, starts + width - reach, side="right")
    counts = np.maximum(
        np.searchsorted(starts, ends + width + reach) - first, 0
    )  # runs below that touch
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = np.arange(len(upper)) + np.repeat(first - np.cumsum(counts) + counts, counts)
    numbers, before = np.arange(len(starts)), None
    while before is None or (numbers != before).any():
        before = numbers.copy()
        smaller = np.minimum(numbers[upper], numbers[lower])
        np.minimum.at(numbers, before[upper], smaller)
        np.minimum.at(numbers, before[lower], smaller)
        numbers = numbers[numbers]
    labels = np.zeros(len(mask) * width, dtype=np.int64)
    inside = np.repeat(np.unique(numbers, return_inverse=True)[1] + 1, ends - starts)
    labels[steps[:-1].cumsum() > 0] = inside
    return labels.reshape(len(mask), width)[:, 1:-1]


def split(logits: np.ndarray) -> list[np.ndarray]:
    """Split a mask into its large components, the largest first; pixels of the others get the opposite logit."""
    labels = label(logits > 0, corners=True)
    areas = np.bincount(labels.ravel())[1:]
    large = [
        number
        for number in np.argsort(-areas, kind="stable")
        if areas[number] >= MIN_OBJECT_RATIO * areas.max()
    ]
    return [np.where((labels == number + 1) | (labels == 0), logits, -logits) for number in large]


def clean(mask: np.ndarray) -> np.ndarray:
    """Fill holes and remove components that are small beside the largest component."""
    if not mask.any():
        return mask
    limit = int(MIN_REGION_RATIO * np.bincount(label(mask, corners=True).ravel())[1:].max())
    if limit <= 1:
        return mask
    holes = label(~mask, corners=False)
    areas = np.bincount(holes.ravel())
    areas[0] = limit
    filled = mask | (areas < limit)[holes]
    labels = label(filled, corners=True)
    areas = np.bincount(labels.ravel())
    large = (areas >= limit) | (areas == areas[1:].max())
    large[0] = False
    return large[labels]


# --- Panoptic maps ----------------------------------------------------------------------------------------------------


def merge(
    masks: list[np.ndarray], scores: np.ndarray, groups: list[int]
) -> tuple[np.ndarray, list[int]]:
    """Let logits (photo size, best score first) compete for pixels; returns ids, 0 = none, and the row of each id.

    Rows of one group, -1 = none, become one region.
    """
    best = np.full(masks[0].shape if masks else (0, 0), -1.0, dtype=np.float32)
    owner = np.zeros(best.shape, dtype=int)
    for row, logits in enumerate(masks):
        claim = sigmoid(logits) * scores[row]
        owner[claim > best] = row
        best = np.maximum(best, claim)
    ids, rows, ids_of_groups = np.zeros(best.shape, dtype=np.int32), [], {}
    for row, logits in enumerate(masks):
        owned, inside = owner == row, logits >= 0
        if not (owned & inside).any() or owned.sum() / inside.sum() < MIN_OWN_SHARE:
            continue
        if groups[row] not in ids_of_groups:
            rows.append(row)
            if groups[row] >= 0:
                ids_of_groups[groups[row]] = len(rows)
        ids[owned & inside] = ids_of_groups.get(groups[row], len(rows))
    return clean_map(ids, len(rows)), rows


def clean_map(ids: np.ndarray, count: int) -> np.ndarray:
    """Clean every region of a map; none takes pixels from another."""
    masks = {number: clean(ids == number) for number in range(1, count + 1)}
    cleaned = ids.copy()
    for number, mask in masks.items():
        cleaned[(ids == number) & ~mask] = 0
    for number, mask in masks.items():
        cleaned[mask & (cleaned == 0)] = number
    return cleaned
