"""Windows of a large image: tiles that cover it and share a band with their neighbours, and views around prompts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np

from seem.inference.zoom import MARGIN, Window, shift_prompt
from seem.mask_codec import reduce_region
from seem.prompts import Box, Mask, Point, Points, Polygon, Scribble, Stroke, VisualPrompt
from seem.rasterize import PixelBox
from seem.tasks.tile_merging import SharedBands

Coordinates: TypeAlias = "tuple[float, float]"

VIEWS_PER_SIDE = 2  # steps by which views move, in their side: a prompt is a quarter of it from the border at least


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of the image, and how many of its pixels neighbouring tiles show too."""

    window: Window
    bands: SharedBands


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles of one size that cover an image: the first pixel of every column and every row of tiles.

    Neighbours share `overlap` pixels or more, evenly, so that all tiles are equally large and none leaves the image.
    """

    image_hw: tuple[int, int]
    side: int
    xs: tuple[int, ...]
    ys: tuple[int, ...]

    @classmethod
    def of(cls, image_hw: tuple[int, int], side: int, overlap: int) -> TileGrid:
        """Lay out tiles of `side` pixels."""
        height, width = image_hw
        return cls(
            image_hw, side, tile_starts(width, side, overlap), tile_starts(height, side, overlap)
        )

    def __len__(self) -> int:
        return len(self.xs) * len(self.ys)

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles row by row."""
        for row in range(len(self.ys)):
            for column in range(len(self.xs)):
                yield self.tile(row, column)

    def tile(self, row: int, column: int) -> Tile:
        """Return the tile of a row and a column."""
        left, right = _shared(self.xs, column, self.side)
        top, bottom = _shared(self.ys, row, self.side)
        x0, y0 = self.xs[column], self.ys[row]
        height, width = self.image_hw
        window = Window(x0, y0, min(x0 + self.side, width), min(y0 + self.side, height))
        return Tile(window, SharedBands(left, top, right, bottom))

    def rows_of(self, box: PixelBox) -> Iterator[list[Tile]]:
        """Yield the tiles that meet a box, a list a row."""
        x0, y0, x1, y1 = box
        columns = [i for i, x in enumerate(self.xs) if x < x1 and x + self.side > x0]
        for row, y in enumerate(self.ys):
            if y < y1 and y + self.side > y0:
                yield [self.tile(row, column) for column in columns]


def tile_starts(length: int, side: int, overlap: int) -> tuple[int, ...]:
    """Return where tiles begin along a side of the image: neighbours share `overlap` pixels or more, all evenly."""
    if length <= side:
        return (0,)
    count = -(-(length - overlap) // (side - overlap))
    return tuple(round(index * (length - side) / (count - 1)) for index in range(count))


def _shared(starts: tuple[int, ...], index: int, side: int) -> tuple[int, int]:
    """Return how many pixels the tile of an index shares with the one before and the one behind."""
    before = starts[index - 1] + side - starts[index] if index else 0
    behind = starts[index] + side - starts[index + 1] if index + 1 < len(starts) else 0
    return before, behind


# --- Views around prompts ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """A window, read with `factor` x `factor` pixels averaged into one."""

    window: Window
    factor: int

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width as read."""
        height, width = self.window.hw
        return -(-height // self.factor), -(-width // self.factor)


def view_around(box: PixelBox, image_hw: tuple[int, int], side: int, min_factor: int = 1) -> View:
    """Return the view of about `side` x `side` pixels that shows a box with a margin, and as little else as possible.

    `min_factor` is the smallest one allowed, a power of 2. Views move in steps, so that prompts nearby share one.
    """
    x0, y0, x1, y1 = box
    longest = max(x1 - x0, y1 - y0)
    factor = min_factor
    while side * factor < MARGIN * longest:
        factor *= 2
    columns = _view_range((x0 + x1) / 2, image_hw[1], side * factor)
    rows = _view_range((y0 + y1) / 2, image_hw[0], side * factor)
    return View(Window(columns[0], rows[0], columns[1], rows[1]), factor)


def _view_range(centre: float, length: int, side: int) -> tuple[int, int]:
    if length <= side:
        return 0, length
    step = side // VIEWS_PER_SIDE
    start = min(max(round((centre - side / 2) / step) * step, 0), length - side)
    return start, start + side


def reaches_past(box: PixelBox, view: View, image_hw: tuple[int, int]) -> bool:
    """Whether what fills a box (pixels of the view) may go on outside of it: it touches a border within the image."""
    height, width = view.hw
    x0, y0, x1, y1 = box
    window = view.window
    return (
        (x0 == 0 and window.x0 > 0)
        or (y0 == 0 and window.y0 > 0)
        or (x1 == width and window.x1 < image_hw[1])
        or (y1 == height and window.y1 < image_hw[0])
    )


def prompt_in_view(prompt: VisualPrompt, view: View) -> VisualPrompt | None:
    """Move a prompt from the image's frame into a view's; None for one that a view cannot take."""
    shifted = shift_prompt(prompt, view.window)
    if shifted is None or view.factor == 1:
        return shifted
    return _scaled(shifted, view)


def _scaled(prompt: VisualPrompt, view: View) -> VisualPrompt:
    """Reduce a prompt as the view's pixels are: points name pixels, boxes and polygons run along edges."""
    factor = view.factor

    def pixels(points: Points) -> tuple[Coordinates, ...]:
        pairs = cast("tuple[Coordinates, ...]", points)
        return tuple(((x + 0.5) / factor - 0.5, (y + 0.5) / factor - 0.5) for x, y in pairs)

    match prompt:
        case Point():
            ((x, y),) = pixels(((prompt.x, prompt.y),))
            return replace(prompt, x=x, y=y)
        case Stroke():
            return replace(prompt, points=pixels(prompt.points), width=prompt.width / factor)
        case Scribble():
            strokes = tuple(pixels(stroke) for stroke in prompt.strokes)
            return replace(prompt, strokes=strokes, width=prompt.width / factor)
        case Polygon():
            corners = cast("tuple[Coordinates, ...]", prompt.points)
            return Polygon(tuple((x / factor, y / factor) for x, y in corners))
        case Box(x0, y0, x1, y1):
            return Box(x0 / factor, y0 / factor, x1 / factor, y1 / factor)
        case Mask():
            assert prompt.array is not None
            return Mask(reduce_region(prompt.array.astype(np.bool_, copy=False), factor))


def extent_of(prompts: tuple[VisualPrompt, ...], image_hw: tuple[int, int]) -> PixelBox:
    """Return the box of what prompts mark inside the image."""
    height, width = image_hw
    corners = np.array([corner for prompt in prompts for corner in _corners_of(prompt)])
    x0, y0 = np.floor(corners.min(axis=0)).astype(int).tolist()
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int).tolist()
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return x0, y0, max(min(x1, width), x0 + 1), max(min(y1, height), y0 + 1)


def _corners_of(prompt: VisualPrompt) -> list[Coordinates]:
    match prompt:
        case Point():
            return [prompt.position]
        case Stroke() | Polygon():
            return list(prompt.positions)
        case Scribble():
            return [position for stroke in prompt.positions for position in stroke]
        case Box(x0, y0, x1, y1):
            return [(x0, y0), (x1, y1)]
        case Mask():
            if prompt.array is None:
                raise ValueError(
                    "Mask logits are those of one encoding, and a tiled image has many; give the mask itself."
                )
            rows = np.flatnonzero(prompt.array.any(axis=1))
            columns = np.flatnonzero(prompt.array.any(axis=0))
            return [
                (float(columns[0]), float(rows[0])),
                (columns[-1] + 1.0, rows[-1] + 1.0),
            ]
