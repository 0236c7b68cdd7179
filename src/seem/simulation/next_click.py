"""Where a person would click next: in the middle of the largest error.

Two rules, kept apart because their scores are not comparable. `ritm_click` is the rule of the interactive segmentation
literature (one object, original resolution, exact distances); `seem_next_clicks` that of the released SEEM code (many
objects at once, network resolution, approximate distances), which training rounds use too.

Frames: pixels of the masks given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

FINISHED_IOU = 0.925
"""Agreement from which the released code clicks no more on an object."""

_SHARPNESS = 0.35  # of the approximate distance transform: its taps are exp(-r / 0.35)


@dataclass(frozen=True, slots=True)
class Click:
    """One click on a pixel; `positive` adds to the object, otherwise it takes away."""

    x: int
    y: int
    positive: bool


@dataclass(frozen=True, slots=True)
class PointPrompts:
    """Pixels clicked so far, for each of N objects."""

    positive: Bool[Tensor, "n h w"]
    negative: Bool[Tensor, "n h w"]


def ritm_click(
    truth: Bool[np.ndarray, "h w"] | Integer[np.ndarray, "h w"],
    predicted: Bool[np.ndarray, "h w"],
    clicked: Bool[np.ndarray, "h w"] | None = None,
) -> Click | None:
    """Click the pixel farthest from the border of the missing or of the surplus area, whichever is deeper.

    Distances are exact (L2), the photo's edge counts as border, the first of several maxima in row order is taken, and
    equal depths give a negative click: the protocol of RITM (Sofiiuk et al., 2021).

    Args:
        truth: 1 or true for the object, -1 for pixels that do not count.
        predicted: the current answer.
        clicked: pixels that were clicked before and are not clicked again; None: there are none.

    Returns:
        The click, or None when no error is left to click on.
    """
    counts = truth != -1
    wanted = truth == 1
    missing = _depth(wanted & ~predicted & counts)
    surplus = _depth(~wanted & predicted & counts)
    if clicked is not None:
        missing[clicked] = 0
        surplus[clicked] = 0
    positive = bool(missing.max() > surplus.max())
    depth = missing if positive else surplus
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return Click(x, y, positive) if depth[y, x] > 0 else None


def first_click(truth: Bool[np.ndarray, "h w"] | Integer[np.ndarray, "h w"]) -> Click | None:
    """Click the middle of an object: its pixel farthest from any border. None for an empty mask."""
    return ritm_click(truth, np.zeros(truth.shape, bool))


def _depth(region: Bool[np.ndarray, "h w"]) -> Float[np.ndarray, "h w"]:
    """Measure how far every pixel of the region is from the nearest pixel outside, the frame included, squared.

    OpenCV's distances differ from place to place in the last bit; their squares are whole numbers, and ties stay ties.
    """
    import cv2

    depth = np.zeros(region.shape, np.float32)
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if rows.size:
        part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]  # nothing outside can be nearer
        framed = np.pad(region[part].view(np.uint8), 1)
        distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        depth[part] = np.rint(np.square(distance))
    return depth


def seem_next_clicks(
    truth: Bool[Tensor, "n h w"],
    mask_logits: Float[Tensor, "n h4 w4"],
    positive: Bool[Tensor, "n h w"],
    negative: Bool[Tensor, "n h w"],
) -> PointPrompts:
    """Add one 3x3 click to every object that still differs from its truth, by the rule of the released SEEM code.

    The larger of the missing and the surplus area (earlier prompts left out; equal areas count as surplus) is clicked
    in its middle by `approximate_depth`. Padding of the canvas is background and may be clicked. Objects that agree to
    `FINISHED_IOU` or better stay as they are. Where an unfinished object has no unprompted error left, the upper left
    pixel is clicked negatively, as there.

    Args:
        truth: masks on the padded canvas, at network resolution.
        mask_logits: answers at any resolution; they are brought to the canvas bilinearly and cut at 0.
        positive: pixels prompted so far.
        negative: pixels prompted against so far.
    """
    answer = F.interpolate(mask_logits[None], truth.shape[-2:], mode="bilinear", align_corners=False)[0]
    predicted = answer.sigmoid() > 0.5
    fresh = ~(positive | negative)
    missing = truth & ~predicted & fresh
    surplus = ~truth & predicted & fresh
    adds = missing.sum(dim=(-2, -1)) > surplus.sum(dim=(-2, -1))
    clicks = _square_around(_deepest(torch.where(adds[:, None, None], missing, surplus)), truth)
    clicks &= (_iou(truth, predicted) < FINISHED_IOU)[:, None, None]
    return PointPrompts(positive | (clicks & adds[:, None, None]), negative | (clicks & ~adds[:, None, None]))


def seem_first_clicks(truth: Bool[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    """Draw the first click on each object, 3x3 pixels: the released point prompt. Empty truths get none."""
    return _square_around(_deepest(truth), truth) & truth.any(dim=-1).any(dim=-1)[:, None, None]


def approximate_depth(region: Bool[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Measure roughly how deep every pixel lies in its region; the frame counts as outside.

    The approximate distance transform that the released code uses (Pham, Dahan and Dokladal, "A differentiable
    approximation of the distance transform", 2021, with 3x3 taps): rings are peeled off one after the other, and ring i
    adds floor(3i / 2) minus 0.35 times the logarithm of the taps that reach it. Float32, zero outside the region.

    A pixel's ring is its chessboard distance from outside, and the taps that reach it are those of its neighbours in
    earlier rings, so nothing has to be peeled.
    """
    depth = np.zeros(region.shape, np.float32)
    for drawn, mask in zip(depth, region.cpu().numpy(), strict=True):
        rings, (top, left) = _rings(mask)
        rows, columns = np.nonzero(rings)
        drawn[rows - 1 + top, columns - 1 + left] = _depth_of(rings, rows, columns)
    return torch.from_numpy(depth).to(region.device)


def _deepest(region: Bool[Tensor, "n h w"]) -> Integer[Tensor, " n"]:
    """Find the flat index of the first pixel at which `approximate_depth` is largest; 0 in an empty region.

    It lies in the innermost ring: there every depth is at least 0.42 above the ring's floor(3i / 2), which is at
    least 1 above that of the ring before, where nothing is more than 1.4143 above its own.
    """
    found = []
    for mask in region.cpu().numpy():
        rings, (top, left) = _rings(mask)
        rows, columns = np.nonzero(rings == max(1, int(rings.max(initial=0))))
        if not rows.size:
            found.append(0)
            continue
        first = int(_depth_of(rings, rows, columns).argmax())
        found.append(int(rows[first] - 1 + top) * mask.shape[1] + int(columns[first] - 1 + left))
    return torch.tensor(found, dtype=torch.int64, device=region.device)


def _rings(region: Bool[np.ndarray, "h w"]) -> tuple[Integer[np.ndarray, "h2 w2"], tuple[int, int]]:
    """Count rings inward, 1, 2, ..., 0 outside, in the region's bounding box with a frame of 1 pixel around it.

    Also returns the box's top row and left column.
    """
    import cv2

    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return np.zeros((2, 2), np.int32), (0, 0)
    part = region[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    framed = np.pad(part.view(np.uint8), 1)
    # with steps of cost 1 the 3x3 transform is exact for the chessboard distance
    return cv2.distanceTransform(framed, cv2.DIST_C, 3).astype(np.int32), (int(rows[0]), int(columns[0]))


def _depth_of(
    rings: Integer[np.ndarray, "h2 w2"], rows: Integer[np.ndarray, " p"], columns: Integer[np.ndarray, " p"]
) -> Float[np.ndarray, " p"]:
    own = rings[rows, columns]
    reached = np.zeros(len(own), np.int64)
    for bit, (y, x) in enumerate(_NEIGHBOURS):
        reached |= (rings[rows + y, columns + x] < own).astype(np.int64) << bit
    return np.asarray((3 * (own - 1) // 2).astype(np.float32) + _steps()[reached])


_NEIGHBOURS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@cache
def _steps() -> Float[np.ndarray, " 256"]:
    """Return what the taps add, by the bits of the neighbours that reach a pixel.

    Summed tap by tap in row order in single precision, as a convolution sums them: the last bit decides ties.
    """
    taps = [np.float32(math.exp(-math.hypot(y, x) / _SHARPNESS)) for y, x in _NEIGHBOURS]
    sums = np.zeros(1 << len(taps), np.float32)
    for bit, tap in enumerate(taps):
        sums += np.where(np.arange(len(sums)) >> bit & 1, tap, np.float32(0))
    sums[0] = 1  # no neighbour: never asked for
    return np.asarray(-_SHARPNESS * torch.log(torch.from_numpy(sums)).numpy(), np.float32)


def _square_around(pixel: Integer[Tensor, " n"], like: Bool[Tensor, "n h w"]) -> Bool[Tensor, "n h w"]:
    height, width = like.shape[-2:]
    rows, columns = (torch.arange(length, device=like.device) for length in (height, width))
    near_row = (rows - (pixel // width)[:, None]).abs() <= 1
    near_column = (columns - (pixel % width)[:, None]).abs() <= 1
    return near_row[:, :, None] & near_column[:, None, :]


def _iou(first: Bool[Tensor, "n h w"], second: Bool[Tensor, "n h w"]) -> Float[Tensor, " n"]:
    """Intersection over union; two empty masks agree fully."""
    shared = (first & second).sum(dim=(-2, -1))
    either = (first | second).sum(dim=(-2, -1))
    return torch.where(either > 0, shared / either.clamp(min=1), 1.0)
