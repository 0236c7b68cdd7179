"""Next click of a simulated user: in the middle of the largest error of a predicted mask.

Two rules, kept apart because their scores are not comparable. `ritm_click` is the rule of the interactive segmentation
literature (one object, original resolution, exact distances); `seem_next_clicks` that of the released SEEM code (many
objects at once, network resolution, approximate distances), which training rounds use too.

Frames: pixels of the given masks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

FINISHED_IOU = 0.925
"""IoU from which the released code clicks no more on an object."""

_SHARPNESS = 0.35  # of the approximate distance transform: its taps are exp(-r / 0.35)

MaskArray: TypeAlias = Bool[np.ndarray, "h w"]
TruthArray: TypeAlias = Bool[np.ndarray, "h w"] | Integer[np.ndarray, "h w"]
"""1 or true on the object, -1 for pixels that do not count."""

MaskBatch: TypeAlias = Bool[Tensor, "n h w"]
RingArray: TypeAlias = Integer[np.ndarray, "h2 w2"]
IndexArray: TypeAlias = Integer[np.ndarray, " p"]


@dataclass(frozen=True, slots=True)
class Click:
    """One click on a pixel; a positive one adds to the object, a negative one removes from it."""

    x: int
    y: int
    positive: bool


@dataclass(frozen=True, slots=True)
class PointPrompts:
    """Pixels clicked so far on each of N objects and on its background."""

    positive: MaskBatch
    negative: MaskBatch


def ritm_click(
    truth: TruthArray, predicted: MaskArray, clicked: MaskArray | None = None
) -> Click | None:
    """Click the pixel farthest from the border of the missing or of the surplus area, whichever is deeper.

    Distances are exact (L2), the edge of the image counts as border, the first of several maxima in row order is taken,
    and equal depths give a negative click: the protocol of RITM (Sofiiuk et al., 2021).

    Args:
        truth: 1 or true for the object, -1 for pixels that do not count.
        predicted: the predicted mask.
        clicked: pixels of earlier clicks, which are not clicked again; None where there are none.

    Returns:
        The click, or None when no error is left.
    """
    is_counted = truth != -1
    is_object = truth == 1
    missing = _squared_depth(is_object & ~predicted & is_counted)
    surplus = _squared_depth(~is_object & predicted & is_counted)
    if clicked is not None:
        missing[clicked] = 0
        surplus[clicked] = 0
    positive = bool(missing.max() > surplus.max())
    depth = missing if positive else surplus
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    if depth[y, x] <= 0:
        return None
    return Click(x, y, positive)


def first_click(truth: TruthArray) -> Click | None:
    """Click the pixel of an object that is farthest from any border; None for an empty mask."""
    return ritm_click(truth, np.zeros(truth.shape, bool))


def _squared_depth(region: MaskArray) -> Float[np.ndarray, "h w"]:
    """Return the squared distance of every pixel of a region to the nearest pixel outside, the image's edge included.

    OpenCV's distances differ in the last bit from one pixel to another; their squares are whole numbers, so that equal
    depths compare as equal.
    """
    import cv2

    depth = np.zeros(region.shape, np.float32)
    rows = np.flatnonzero(region.any(axis=1))
    columns = np.flatnonzero(region.any(axis=0))
    if rows.size:
        # Nothing outside of the bounding box and a frame around it can be nearer.
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        framed = np.pad(region[box].view(np.uint8), 1)
        distance = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        depth[box] = np.rint(np.square(distance))
    return depth


def seem_next_clicks(
    truth: MaskBatch,
    mask_logits: Float[Tensor, "n h4 w4"],
    positive: MaskBatch,
    negative: MaskBatch,
) -> PointPrompts:
    """Add one 3x3 click to every object whose prediction still differs from its truth, as the released SEEM code does.

    The larger of the missing and the surplus area (earlier prompts left out; equal areas count as surplus) is clicked
    where `approximate_depth` is greatest. Padding of the canvas is background and may be clicked. Objects with an IoU
    of `FINISHED_IOU` or more stay as they are. Where an unfinished object has no unprompted error left, the upper left
    pixel is clicked negatively, as in the released code.

    Args:
        truth: masks on the padded canvas, at network resolution.
        mask_logits: predictions at any resolution; they are resized to the canvas bilinearly and cut at 0.
        positive: pixels of the positive prompts so far.
        negative: pixels of the negative prompts so far.
    """
    resized = F.interpolate(
        mask_logits[None], truth.shape[-2:], mode="bilinear", align_corners=False
    )[0]
    predicted = resized.sigmoid() > 0.5
    unprompted = ~(positive | negative)
    missing = truth & ~predicted & unprompted
    surplus = ~truth & predicted & unprompted
    is_positive = missing.sum(dim=(-2, -1)) > surplus.sum(dim=(-2, -1))
    is_positive = is_positive[:, None, None]
    is_unfinished = (_iou(truth, predicted) < FINISHED_IOU)[:, None, None]
    error = torch.where(is_positive, missing, surplus)
    clicks = _square_around(_deepest_pixel(error), truth) & is_unfinished
    return PointPrompts(positive | (clicks & is_positive), negative | (clicks & ~is_positive))


def seem_first_clicks(truth: MaskBatch) -> MaskBatch:
    """Draw the first click on each object, 3x3 pixels: the released point prompt. Empty truths get none."""
    is_visible = truth.any(dim=-1).any(dim=-1)
    return _square_around(_deepest_pixel(truth), truth) & is_visible[:, None, None]


def approximate_depth(region: MaskBatch) -> Float[Tensor, "n h w"]:
    """Measure approximately how deep every pixel lies in its region; the edge of the mask counts as outside.

    The approximate distance transform that the released code uses (Pham, Dahan and Dokladal, "A differentiable
    approximation of the distance transform", 2021, with 3x3 taps): rings are peeled off one after the other, and ring i
    adds floor(3i / 2) minus 0.35 times the logarithm of the taps that reach it. Float32, zero outside the region.

    The ring of a pixel is its chessboard distance from outside, and the taps that reach it are those of its neighbours
    in earlier rings, so nothing has to be peeled.
    """
    depth = np.zeros(region.shape, np.float32)
    for mask_depth, mask in zip(depth, region.cpu().numpy(), strict=True):
        rings, (top, left) = _rings(mask)
        rows, columns = np.nonzero(rings)
        mask_depth[rows - 1 + top, columns - 1 + left] = _ring_depth(rings, rows, columns)
    return torch.from_numpy(depth).to(region.device)


def _deepest_pixel(region: MaskBatch) -> Integer[Tensor, " n"]:
    """Return the flat index of the first pixel at which `approximate_depth` is greatest; 0 for an empty region.

    It lies in the innermost ring: there every depth is at least 0.42 above the ring's floor(3i / 2), which is at
    least 1 above that of the ring before, where nothing is more than 1.4143 above its own.
    """
    deepest = [_deepest_in_mask(mask) for mask in region.cpu().numpy()]
    return torch.tensor(deepest, dtype=torch.int64, device=region.device)


def _deepest_in_mask(mask: MaskArray) -> int:
    rings, (top, left) = _rings(mask)
    innermost = max(1, int(rings.max(initial=0)))
    rows, columns = np.nonzero(rings == innermost)
    if not rows.size:
        return 0
    first = int(_ring_depth(rings, rows, columns).argmax())
    row, column = int(rows[first]) - 1 + top, int(columns[first]) - 1 + left
    return row * int(mask.shape[1]) + column


def _rings(region: MaskArray) -> tuple[RingArray, tuple[int, int]]:
    """Return the rings of a region, numbered inward, 1, 2, ..., 0 outside, in its bounding box with a frame of 1 pixel.

    Also returns the box's top row and left column.
    """
    import cv2

    rows = np.flatnonzero(region.any(axis=1))
    columns = np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return np.zeros((2, 2), np.int32), (0, 0)
    top, left = int(rows[0]), int(columns[0])
    box = region[top : rows[-1] + 1, left : columns[-1] + 1]
    framed = np.pad(box.view(np.uint8), 1)
    # With steps of cost 1 the 3x3 transform is exact for the chessboard distance.
    rings = cv2.distanceTransform(framed, cv2.DIST_C, 3).astype(np.int32)
    return rings, (top, left)


def _ring_depth(rings: RingArray, rows: IndexArray, columns: IndexArray) -> Float[np.ndarray, " p"]:
    """Return the approximate depth of pixels of a ring map."""
    ring = rings[rows, columns]
    reached = np.zeros(len(ring), np.int64)  # a bit for every neighbour in an earlier ring
    for bit, (y, x) in enumerate(_NEIGHBOURS):
        is_earlier = rings[rows + y, columns + x] < ring
        reached |= is_earlier.astype(np.int64) << bit
    ring_floor = (3 * (ring - 1) // 2).astype(np.float32)
    return np.asarray(ring_floor + _tap_sums()[reached])


_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@cache
def _tap_sums() -> Float[np.ndarray, " 256"]:
    """Return what the taps add, by the bits of the neighbours that reach a pixel.

    Summed tap by tap in row order in single precision, as a convolution sums them: the last bit decides ties.
    """
    taps = [np.float32(math.exp(-math.hypot(y, x) / _SHARPNESS)) for y, x in _NEIGHBOURS]
    sums = np.zeros(1 << len(taps), np.float32)
    for bit, tap in enumerate(taps):
        is_set = np.arange(len(sums)) >> bit & 1
        sums += np.where(is_set, tap, np.float32(0))
    sums[0] = 1  # no neighbour: this never occurs
    return np.asarray(-_SHARPNESS * torch.log(torch.from_numpy(sums)).numpy(), np.float32)


def _square_around(pixel: Integer[Tensor, " n"], like: MaskBatch) -> MaskBatch:
    """Draw 3x3 pixels around a flat index in masks of the same size as `like`."""
    height, width = like.shape[-2:]
    rows = torch.arange(height, device=like.device)
    columns = torch.arange(width, device=like.device)
    is_near_row = (rows - (pixel // width)[:, None]).abs() <= 1
    is_near_column = (columns - (pixel % width)[:, None]).abs() <= 1
    return is_near_row[:, :, None] & is_near_column[:, None, :]


def _iou(first: MaskBatch, second: MaskBatch) -> Float[Tensor, " n"]:
    """Return the intersection over union of each pair of masks; two empty masks score 1."""
    intersection = (first & second).sum(dim=(-2, -1))
    union = (first | second).sum(dim=(-2, -1))
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)
