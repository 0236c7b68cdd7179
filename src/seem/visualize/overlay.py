"""The overlay: masks in their colours over the image, then prompts and labels."""

from __future__ import annotations

import colorsys
import math
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seem.mask_codec import PackedMask
from seem.prompts import Point, Prompt
from seem.rasterize import PixelBox
from seem.visualize.label_plates import draw_label_plates
from seem.visualize.prompt_marks import click_box, draw_prompt
from seem.vocabulary import Category, Colour, distinct_colours

HUE_TURN = 0.13  # from one object to the next of the same category; 1 = once round
MIN_LIGHTNESS, MAX_LIGHTNESS = 0.42, 0.75  # of colours that cannot be taken for shadow or glare
EDGE_OPACITY = 0.75  # of the object's colour over white
EDGES_PER_SIDE = 350  # the inner edge of a mask is this part of the image's side wide


def draw_overlay(
    pixels: NDArray[np.uint8],
    masks: Sequence[PackedMask],
    categories: Sequence[Category | None],
    labels: Sequence[str] | None,
    prompts: Sequence[Prompt],
    alpha: float,
) -> Image.Image:
    """Draw masks over an H x W x 3 image, large ones first, with a label each (None: no labels) and the prompts.

    `alpha` (0-1) is the strength of the colours; `ValueError` for another one.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(
            f"alpha is {alpha}; it must be between 0 (image alone) and 1 (colours alone)."
        )
    colours = _object_colours(categories)
    top_mask, edges = _stack(masks, pixels.shape[:2])
    image = _paint(pixels, top_mask, edges, colours, alpha)
    for prompt in prompts:
        draw_prompt(image, prompt)
    if labels is not None:
        clicks = [click_box(image, prompt) for prompt in prompts if isinstance(prompt, Point)]
        draw_label_plates(image, top_mask, labels, colours, masks, clicks)
    return image


def cut_out(read: Callable[[PixelBox], NDArray[np.uint8]], mask: PackedMask) -> Image.Image:
    """Cut one object out along its mask: RGBA, as large as its box; 1 x 1 and transparent for an empty mask.

    `read` returns a box of the image, height x width x 3.
    """
    if mask.area == 0:
        return Image.new("RGBA", (1, 1), (0, 0, 0, 0))
    opacity = mask.crop().view(np.uint8) * np.uint8(255)
    return Image.fromarray(np.dstack([read(mask.box), opacity]))


def _object_colours(categories: Sequence[Category | None]) -> list[Colour]:
    """Choose a colour for each object: its category's, with the hue turned for every further thing of that category.

    Objects without a category get colours of their own.
    """
    things_so_far: Counter[int] = Counter()
    spare = iter(distinct_colours(len(categories)))
    colours = []
    for category in categories:
        if category is None:
            colours.append(next(spare))
            continue
        colours.append(_vivid(category.colour, turn=HUE_TURN * things_so_far[category.id]))
        things_so_far[category.id] += category.is_thing
    return colours


def _vivid(colour: Colour, turn: float) -> Colour:
    """Turn the hue (1 = once round) and keep away from black and white, which cannot be told from shadow and glare."""
    red, green, blue = colour
    hue, lightness, saturation = colorsys.rgb_to_hls(red / 255, green / 255, blue / 255)
    lightness = min(max(lightness, MIN_LIGHTNESS), MAX_LIGHTNESS)
    vivid = colorsys.hls_to_rgb((hue + turn) % 1.0, lightness, saturation)
    return (round(255 * vivid[0]), round(255 * vivid[1]), round(255 * vivid[2]))


def _stack(
    masks: Sequence[PackedMask], image_hw: tuple[int, ...]
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Lay masks on each other, small ones on top.

    Returns two (H, W) maps: the index of the mask on top (-1 where there is none), and whether that is an inner edge.
    """
    height, width = image_hw
    thickness = max(1, round(math.sqrt(height * width) / EDGES_PER_SIDE))
    top_mask = np.full(image_hw, -1, dtype=np.int32)
    edges = np.zeros(image_hw, dtype=np.bool_)
    for index in sorted(range(len(masks)), key=lambda index: -masks[index].area):
        mask, crop = masks[index], masks[index].crop()
        top_mask[mask.window][crop] = index
        np.copyto(edges[mask.window], ~_eroded(mask, crop, thickness), where=crop)
    return top_mask, edges


def _paint(
    pixels: NDArray[np.uint8],
    top_mask: NDArray[np.int32],
    edges: NDArray[np.bool_],
    colours: Sequence[Colour],
    alpha: float,
) -> Image.Image:
    """Tint each pixel in the colour of the mask on top, inner edges more strongly."""
    paints = np.array(colours, dtype=np.float64).reshape(-1, 3)
    levels = np.arange(256.0)
    canvas = np.empty_like(pixels)
    for channel in range(3):
        tints = (1 - alpha) * levels + alpha * paints[:, channel, None]
        table = np.rint(np.vstack([tints, levels])).astype(
            np.uint8
        )  # the last row (index -1) is the image itself
        canvas[..., channel] = table[top_mask, pixels[..., channel]]
    edge_colours = np.rint(EDGE_OPACITY * paints + (1 - EDGE_OPACITY) * 255).astype(np.uint8)
    canvas[edges] = edge_colours[top_mask[edges]]
    return Image.fromarray(canvas)


def _eroded(mask: PackedMask, crop: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Keep pixels of a mask's crop whose whole neighbourhood is inside; the border of the image is no edge."""
    if mask.area == 0:
        return crop
    x0, y0, x1, y1 = mask.box
    height, width = mask.image_hw
    padded: NDArray[np.bool_] = np.pad(crop, reach, mode="edge")
    padded[:reach] &= y0 == 0
    padded[len(padded) - reach :] &= y1 == height
    padded[:, :reach] &= x0 == 0
    padded[:, padded.shape[1] - reach :] &= x1 == width
    side = 2 * reach + 1
    rows_inside = _all_in_run(padded, side)
    inside: NDArray[np.bool_] = _all_in_run(rows_inside.T, side).T
    return inside


def _all_in_run(mask: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """Say for each run of `length` rows whether all are set; runs of 1, 2, 4, ... are joined from shorter ones."""
    joined_length = 1
    while joined_length < length:
        shift = min(joined_length, length - joined_length)
        joined: NDArray[np.bool_] = mask[shift:] & mask[:-shift]
        mask = joined
        joined_length += shift
    return mask
