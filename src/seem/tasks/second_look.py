"""A second look: where an object is small in its photo, look again at the square around it.

The network sees a photo at its own working size; what is 30 pixels wide there is told from its surroundings much better
after a zoom. The first answer says where to look, and is the second's previous mask; inside the square the second one
counts three quarters. Measured for nano (`docs/nano/`, `MODEL_CARD.md`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.prompts import Box, Mask, Point, Points, Polygon, Scribble, Stroke, VisualPrompt

MARGIN = 1.5  # side of the square, in longer sides of what it must show
LARGEST = 0.75  # share of the photo above which a square shows nothing new
LOOSEST = 2.5  # an earlier square serves again up to this side, in longer sides of what it must show
SMALLEST = 32  # photo pixels; there is nothing to see in less
SHARE = 0.75  # of the second answer, where both look

Coordinates: TypeAlias = "tuple[float, float]"


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a photo: photo pixels, xyxy, maxima exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The corners."""
        return self.x0, self.y0, self.x1, self.y1

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def serves(self, other: Window) -> bool:
        """Say whether looking here shows what `other`, made for the same photo, is there to show."""
        inside = self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1
        return inside and max(self.hw) * MARGIN <= max(other.hw) * LOOSEST


def window_around(shown: Bool[np.ndarray, "h w"], image_hw: tuple[int, int], margin: float = MARGIN) -> Window | None:
    """Return the square to look at again, cut at the photo's border; None if nothing is to be gained.

    `shown` marks what it must show (mask and marks), at any resolution.
    """
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    if not rows.size:
        return None
    height, width = image_hw
    down, across = height / shown.shape[0], width / shown.shape[1]
    top, bottom = rows[0] * down, (rows[-1] + 1) * down
    left, right = columns[0] * across, (columns[-1] + 1) * across
    half = max(bottom - top, right - left, SMALLEST) * margin / 2
    y, x = (top + bottom) / 2, (left + right) / 2
    window = Window(
        max(int(x - half), 0), max(int(y - half), 0), min(int(x + half + 1), width), min(int(y + half + 1), height)
    )
    area = window.hw[0] * window.hw[1]
    return window if area < LARGEST * height * width else None


def prompts_in(window: Window, prompts: Iterable[VisualPrompt]) -> tuple[VisualPrompt, ...]:
    """Carry prompts from the photo into the window's frame, without those that lie outside."""
    carried = []
    for prompt in prompts:
        mine = moved(prompt, window)
        if mine is not None:
            try:
                mine.check_inside(window.hw)
            except ValueError:
                continue
            carried.append(mine)
    return tuple(carried)


def moved(prompt: VisualPrompt, window: Window) -> VisualPrompt | None:
    """Shift one prompt; mask logits have no place of their own and are left out."""

    def shifted(points: Iterable[Coordinates]) -> tuple[Coordinates, ...]:
        return tuple((x - window.x0, y - window.y0) for x, y in points)

    match prompt:
        case Point():
            return Point(prompt.x - window.x0, prompt.y - window.y0, prompt.positive)
        case Stroke() | Polygon():
            return replace(prompt, points=shifted(kept(prompt.points)))
        case Scribble():
            return replace(prompt, strokes=tuple(shifted(kept(stroke)) for stroke in prompt.strokes))
        case Box(x0, y0, x1, y1):
            return Box(x0 - window.x0, y0 - window.y0, x1 - window.x0, y1 - window.y0)
        case Mask():
            part = None if prompt.array is None else prompt.array[window.pixels]
            return Mask(part) if part is not None and part.any() else None


def kept(points: Points) -> tuple[Coordinates, ...]:
    """Return the points of a prompt that has checked itself: whatever was given, it keeps tuples of plain numbers."""
    return cast("tuple[Coordinates, ...]", points)


def previous_in(
    window: Window, logits: Float[Tensor, "h w"], input_hw: tuple[int, int], padded_hw: tuple[int, int]
) -> Float[Tensor, "1 1 h4 w4"]:
    """Cut the first answer (logits at the photo's size) to the window, as its network's previous mask (stride 4)."""
    part = logits[window.pixels][None, None].float()
    seen = F.interpolate(part, size=input_hw, mode="bilinear", align_corners=False, antialias=True)
    padding = (0, padded_hw[1] - input_hw[1], 0, padded_hw[0] - input_hw[0])
    return F.avg_pool2d(F.pad(seen, padding), 4)


def blend(first: Float[Tensor, "h w"], window: Window, second: Float[Tensor, "hw ww"]) -> Float[Tensor, "h w"]:
    """Average two answers where both look (logits at the photo's size), the second with a weight of `SHARE`."""
    both = first.clone()
    both[window.pixels] = torch.lerp(first[window.pixels], second.to(first.dtype), SHARE)
    return both


def as_previous(
    logits: Float[Tensor, "h w"], input_hw: tuple[int, int], padded_hw: tuple[int, int]
) -> Float[Tensor, "h4 w4"]:
    """Bring a blended answer back to the size in which answers go in and out (stride 4, padded)."""
    whole = Window(0, 0, logits.shape[1], logits.shape[0])
    return previous_in(whole, logits, input_hw, padded_hw)[0, 0]
