"""Zoom-in refinement: where an object is small in its image, encode the square around it and answer again.

The network sees an image at its working size; something 30 pixels wide is much better told from its surroundings after
a zoom. The first answer says where to zoom, and is the previous mask of the second; inside the square the second counts
three quarters. Measured for nano (`docs/nano/decisions.md`, `MODEL_CARD.md`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from seem.inference.object_prompts import ObjectPrompts
from seem.inference.prompt_decoder import NO_REFERENCES, PromptDecoder
from seem.prompts import Box, Mask, Point, Points, Polygon, Scribble, Stroke, VisualPrompt
from seem.tasks.interactive import ObjectAnswer
from seem.tasks.postprocess import to_image_size, to_input_size
from seem.tasks.reference import ReferenceFeatures

MARGIN = 1.5  # side of the square, in longer sides of what it must show
MAX_IMAGE_SHARE = 0.75  # of the image that a square may cover; a larger one shows nothing new
MAX_REUSED_MARGIN = (
    2.5  # an encoded square is used again up to this side, in longer sides of what it must show
)
MIN_SIDE_PIXELS = 32  # of what a square must show, in image pixels
ZOOMED_WEIGHT = 0.75  # of the second answer inside the square

Coordinates: TypeAlias = "tuple[float, float]"


@dataclass(frozen=True, slots=True)
class Window:
    """Part of an image: pixels, xyxy, maxima exclusive."""

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

    def can_replace(self, other: Window) -> bool:
        """Tell whether this window shows what `other` of the same image is to show, and closely enough."""
        inside_x = self.x0 <= other.x0 and other.x1 <= self.x1
        inside_y = self.y0 <= other.y0 and other.y1 <= self.y1
        longest_side = max(other.hw) * MAX_REUSED_MARGIN / MARGIN
        return inside_x and inside_y and max(self.hw) <= longest_side


class ZoomRefiner:
    """Refines answers about one image; keeps the window that was encoded last, for the next click on the same object.

    Safe to use from several threads.
    """

    def __init__(self, decoder: PromptDecoder) -> None:
        self.decoder = decoder
        self._last: tuple[Window, PromptDecoder] | None = None
        self._lock = threading.Lock()

    def refine(
        self, prompts: ObjectPrompts, reference: ReferenceFeatures | None, answer: ObjectAnswer
    ) -> ObjectAnswer | None:
        """Answer visual prompts again from a closer view: logits at the size of the image.

        None where there is nothing to gain: no mark, an empty answer, or one that is large in the image.
        """
        if not prompts.visual or answer.is_empty:
            return None
        window = self._window(prompts, answer)
        if window is None:
            return None
        window, closer = self._encode(window)
        marks = prompts_in_window(window, prompts.marks)
        if not marks:
            return None
        first = to_image_size(answer.logits[None], self.decoder.frame)[0]
        previous = previous_mask_in(window, first, closer.frame.input_hw, closer.frame.padded_hw)
        references: Mapping[int, ReferenceFeatures] = (
            NO_REFERENCES if reference is None else {0: reference}
        )
        zoomed_prompts = replace(prompts, prompts=marks, visual=marks)
        second = closer.answer([zoomed_prompts], references, previous)[0][0]
        second_logits = to_image_size(second.logits[None], closer.frame)[0]
        return replace(second, logits=blend_logits(first, window, second_logits))

    def _window(self, prompts: ObjectPrompts, answer: ObjectAnswer) -> Window | None:
        """Return the window around an answer and its marks."""
        height, width = self.decoder.frame.input_hw
        rasterized, _ = self.decoder.rasterize([prompts])
        marks = (rasterized.inside | rasterized.negative)[0, 0, :height, :width]
        mask = to_input_size(answer.logits[None], self.decoder.frame)[0] > 0
        return window_around((mask | marks).cpu().numpy(), self.decoder.image.hw)

    def _encode(self, window: Window) -> tuple[Window, PromptDecoder]:
        """Encode a window of the image, or return the last one where it can replace it."""
        with self._lock:
            if self._last is None or not self._last[0].can_replace(window):
                self._last = (window, self.decoder.crop(window.box))
            return self._last


def window_around(
    region: Bool[np.ndarray, "h w"], image_hw: tuple[int, int], margin: float = MARGIN
) -> Window | None:
    """Return the square around a region, cut at the border of the image; None if there is nothing to gain.

    `region` is mask and marks together, at any resolution.
    """
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return None
    height, width = image_hw
    scale_y, scale_x = height / region.shape[0], width / region.shape[1]
    top, bottom = rows[0] * scale_y, (rows[-1] + 1) * scale_y
    left, right = columns[0] * scale_x, (columns[-1] + 1) * scale_x
    half = max(bottom - top, right - left, MIN_SIDE_PIXELS) * margin / 2
    y, x = (top + bottom) / 2, (left + right) / 2
    window = Window(
        x0=max(int(x - half), 0),
        y0=max(int(y - half), 0),
        x1=min(int(x + half + 1), width),
        y1=min(int(y + half + 1), height),
    )
    area = window.hw[0] * window.hw[1]
    return window if area < MAX_IMAGE_SHARE * height * width else None


def prompts_in_window(window: Window, prompts: Iterable[VisualPrompt]) -> tuple[VisualPrompt, ...]:
    """Move prompts from the image's frame into the window's, without those that lie outside."""
    inside = []
    for prompt in prompts:
        shifted = shift_prompt(prompt, window)
        if shifted is None:
            continue
        try:
            shifted.check_inside(window.hw)
        except ValueError:
            continue
        inside.append(shifted)
    return tuple(inside)


def shift_prompt(prompt: VisualPrompt, window: Window) -> VisualPrompt | None:
    """Move one prompt into the window's frame; None for mask logits and for a mask that is empty there."""

    def shift(points: Points) -> tuple[Coordinates, ...]:
        pairs = cast(
            "tuple[Coordinates, ...]", points
        )  # a prompt that has checked itself holds tuples of numbers
        return tuple((x - window.x0, y - window.y0) for x, y in pairs)

    match prompt:
        case Point():
            return Point(prompt.x - window.x0, prompt.y - window.y0, prompt.positive)
        case Stroke() | Polygon():
            return replace(prompt, points=shift(prompt.points))
        case Scribble():
            return replace(prompt, strokes=tuple(shift(stroke) for stroke in prompt.strokes))
        case Box(x0, y0, x1, y1):
            return Box(x0 - window.x0, y0 - window.y0, x1 - window.x0, y1 - window.y0)
        case Mask():
            if prompt.array is None:
                return None
            part = prompt.array[window.pixels]
            return Mask(part) if part.any() else None


def previous_mask_in(
    window: Window,
    logits: Float[Tensor, "h w"],
    input_hw: tuple[int, int],
    padded_hw: tuple[int, int],
) -> Float[Tensor, "1 1 h4 w4"]:
    """Cut logits at the size of the image to the window, as a previous mask of its network frame (stride 4)."""
    part = logits[window.pixels][None, None].float()
    resized = F.interpolate(
        part, size=input_hw, mode="bilinear", align_corners=False, antialias=True
    )
    padding = (0, padded_hw[1] - input_hw[1], 0, padded_hw[0] - input_hw[0])
    return F.avg_pool2d(F.pad(resized, padding), 4)


def blend_logits(
    first: Float[Tensor, "h w"], window: Window, second: Float[Tensor, "hw ww"]
) -> Float[Tensor, "h w"]:
    """Average two answers inside the window (logits at image size), the second weighted by `ZOOMED_WEIGHT`."""
    blended = first.clone()
    blended[window.pixels] = torch.lerp(first[window.pixels], second.to(first.dtype), ZOOMED_WEIGHT)
    return blended


def to_previous_mask(
    logits: Float[Tensor, "h w"], input_hw: tuple[int, int], padded_hw: tuple[int, int]
) -> Float[Tensor, "h4 w4"]:
    """Bring logits at the size of the image to the frame of previous masks (stride 4, padded)."""
    full_image = Window(0, 0, logits.shape[1], logits.shape[0])
    return previous_mask_in(full_image, logits, input_hw, padded_hw)[0, 0]
