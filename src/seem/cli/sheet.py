"""Images side by side on one page, each under its caption."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

INK, FAINT_INK, PAPER = (24, 26, 31), (110, 115, 126), (255, 255, 255)  # RGB
COLUMNS, MARGIN, FONT_SIZE = 3, 20, 19  # columns of a page; pixels; pixels
LINE_HEIGHT = 2 * FONT_SIZE


def draw_page(tiles: Sequence[tuple[str, Image.Image]], columns: int = COLUMNS) -> Image.Image:
    """Arrange captioned images in rows, each row as high as its highest image.

    Raises `ValueError` for no image at all.
    """
    if not tiles:
        raise ValueError("There is no image for the page; pass at least one.")
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    heights = list(map(row_height, rows))
    column_width = MARGIN + max(image.width for _, image in tiles)
    page = Image.new("RGB", (MARGIN + columns * column_width, MARGIN + sum(heights)), PAPER)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        draw_row(page, row, top, column_width)
        top += height
    return page


def row_height(row: Sequence[tuple[str, Image.Image]]) -> int:
    """Return the height of a row with its captions and the margin below it, in pixels."""
    return LINE_HEIGHT + max(image.height for _, image in row) + MARGIN


def draw_row(
    page: Image.Image, row: Sequence[tuple[str, Image.Image]], top: int, column_width: int
) -> None:
    """Draw one row of captioned images on a page."""
    draw = ImageDraw.Draw(page)
    font = ImageFont.load_default(FONT_SIZE)
    left = MARGIN
    for caption, image in row:
        draw.text((left, top), caption, font=font, fill=INK)
        page.paste(image, (left, top + LINE_HEIGHT))
        left += column_width
