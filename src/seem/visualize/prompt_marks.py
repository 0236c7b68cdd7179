"""The prompts of a result, drawn over it: green marks the object, red what is not part of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw

from seem.prompts import Audio, Box, Mask, Point, Polygon, Prompt, Reference, Scribble, Stroke, Text
from seem.rasterize import Coordinates, PixelBox, clip_segments, polyline_segments
from seem.vocabulary import Colour

WHITE: Colour = (255, 255, 255)
POSITIVE: Colour = (34, 197, 94)
NEGATIVE: Colour = (239, 68, 68)
LINES_PER_SIDE = 250  # a line is this part of the image's side wide
SUPERSAMPLING = 4  # small shapes are drawn this much larger, then reduced


def line_width(image: Image.Image) -> int:
    """Return the width of lines on a picture of that size, in pixels."""
    return max(1, round(math.sqrt(image.width * image.height) / LINES_PER_SIDE))


def draw_prompt(image: Image.Image, prompt: Prompt) -> None:
    """Draw one prompt; masks, phrases and references are not drawn."""
    match prompt:
        case Point():
            _draw_click(image, prompt)
        case Stroke():
            _draw_line(image, prompt.positions, prompt.positive)
        case Scribble():
            for positions in prompt.positions:
                _draw_line(image, positions, prompt.positive)
        case Polygon():
            _draw_line(image, (*prompt.positions, prompt.positions[0]), prompt.positive)
        case Box(x0, y0, x1, y1):
            _draw_line(image, ((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)), prompt.positive)
        case Mask() | Text() | Reference() | Audio():
            pass


def _draw_line(image: Image.Image, positions: Sequence[Coordinates], positive: bool) -> None:
    """Draw a coloured line on a broader white one."""
    draw = ImageDraw.Draw(image)
    width = line_width(image)
    colour = POSITIVE if positive else NEGATIVE
    for breadth, fill in ((3 * width, WHITE), (width, colour)):
        for piece in _pieces_near(positions, image.size, 2 * width):
            draw.line(piece, fill=fill, width=breadth, joint="curve")


def _pieces_near(
    positions: Sequence[Coordinates], size: tuple[int, int], margin: int
) -> Iterator[list[Coordinates]]:
    """Leave out what lies far outside of the picture, along which Pillow would walk pixel by pixel."""
    width, height = size
    far = max(width, height)
    if all(-far <= x <= width + far and -far <= y <= height + far for x, y in positions):
        yield list(positions)
        return
    framed_hw = (height + 2 * margin, width + 2 * margin)
    near = clip_segments(polyline_segments(positions) + margin, framed_hw) - margin
    for (x0, y0), (x1, y1) in near.tolist():
        yield [(x0, y0), (x1, y1)]


def _draw_click(image: Image.Image, point: Point) -> None:
    """Draw a disc with a white rim, and a plus or a minus on it."""
    left, top, right, _ = click_box(image, point)
    side = (right - left) * SUPERSAMPLING
    disc = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw = ImageDraw.Draw(disc)
    colour = POSITIVE if point.positive else NEGATIVE
    rim = side * 0.12
    draw.ellipse((0, 0, side - 1, side - 1), fill=(*WHITE, 255))
    draw.ellipse((rim, rim, side - 1 - rim, side - 1 - rim), fill=(*colour, 255))
    bar_start, bar_end = side * 0.28, side * 0.72
    bar_low, bar_high = side * 0.44, side * 0.56
    draw.rectangle((bar_start, bar_low, bar_end, bar_high), fill=(*WHITE, 255))
    if point.positive:
        draw.rectangle((bar_low, bar_start, bar_high, bar_end), fill=(*WHITE, 255))
    disc = disc.reduce(SUPERSAMPLING)
    image.paste(disc, (left, top), disc)


def click_box(image: Image.Image, point: Point) -> PixelBox:
    """Return the box that the disc of a click covers."""
    radius = max(2, 3 * line_width(image))
    x, y = (int(coordinate) for coordinate in point.position)
    return x - radius, y - radius, x + radius + 1, y + radius + 1
