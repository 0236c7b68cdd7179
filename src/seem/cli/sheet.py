"""Pictures side by side on one page, each under its caption."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

INK, FAINT, PAPER = (24, 26, 31), (110, 115, 126), (255, 255, 255)
COLUMNS, MARGIN, FONT_SIZE = 3, 20, 19  # pixels
LINE = 2 * FONT_SIZE


def draw_page(tiles: Sequence[tuple[str, Image.Image]], columns: int = COLUMNS) -> Image.Image:
    """Set captioned pictures in rows; cells have the size of the largest picture.

    Raises `ValueError` without any picture.
    """
    if not tiles:
        raise ValueError("There is no picture to set; pass at least one.")
    width = max(picture.width for _, picture in tiles) + MARGIN
    height = LINE + max(picture.height for _, picture in tiles) + MARGIN
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (MARGIN + columns * width, MARGIN + rows * height), PAPER)
    draw = ImageDraw.Draw(page)
    for index, (caption, picture) in enumerate(tiles):
        left, top = MARGIN + index % columns * width, MARGIN + index // columns * height
        draw.text((left, top), caption, font=ImageFont.load_default(FONT_SIZE), fill=INK)
        page.paste(picture, (left, top + LINE))
    return page
