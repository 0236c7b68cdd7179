"""Small pictures of photos."""

from __future__ import annotations

import io

from PIL import Image

from seem.images import read_image
from seem.server.projects.photo_folder import PhotoContent
from seem.server.uploads import open_upload

THUMBNAIL_SIDE = 320
JPEG_QUALITY = 80


def draw_thumbnail(file: PhotoContent, max_pixels: int) -> bytes:
    """Return a photo as shown, as a JPEG file of at most `THUMBNAIL_SIDE` pixels a side; `Problem` if it is none."""
    with open_upload(file.content, file.name, max_pixels) as opened:
        opened.draft(
            "RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE)
        )  # a JPEG is decoded at a smaller size
        rgb = read_image(opened, max_pixels).rgb
    rgb.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    small = io.BytesIO()
    rgb.save(small, format="JPEG", quality=JPEG_QUALITY)
    return small.getvalue()
