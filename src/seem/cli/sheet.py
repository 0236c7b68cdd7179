"""Pictures side by side on one page, each under its caption."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

INK, FAINT, PAPER = (24, 26, 31), (110, 115, 126), (255, 255, 255)
COLUMNS, MARGIN, FONT_SIZE = 3, 20, 19  # pixels
LINE = 2 * FONT_SIZE


def draw_page(tiles: Sequence[tuple[str, Image.Image]], columns: int = COLUMNS) -> Image.Image:
    """Set captioned pictures in rows, each as high as its highest picture.

    Raises `ValueError` without any picture.
    """
    if not tiles:
        raise ValueError("There is no picture to set; pass at least one.")
    rows = [tiles[first : first + columns] for first in range(0, len(tiles), columns)]
    width = max(picture.width for _, picture in tiles) + MARGIN
    heights = [LINE + max(picture.height for _, picture in row) + MARGIN for row in rows]
    page = Image.new("RGB", (MARGIN + columns * width, MARGIN + sum(heights)), PAPER)
    draw = ImageDraw.Draw(page)
    top = MARGIN
    for row, height in zip(rows, heights, strict=True):
        for place, (caption, picture) in enumerate(row):
            left = MARGIN + place * width
            draw.text((left, top), caption, font=ImageFont.load_default(FONT_SIZE), fill=INK)
            page.paste(picture, (left, top + LINE))
        top += height
    return page
