"""Uploaded images: opened within limits, and encoded for questions."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image

from seem.errors import SeemError
from seem.images import open_image
from seem.model import Model
from seem.server.problems import Problem
from seem.server.settings import ServerSettings
from seem.server.stored_images import RecentStore, StoredImage, StoredSession

READ_FORMATS = frozenset(
    {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP"}
)
"""Pillow opens more, some with the help of other programs."""


def open_upload(content: bytes, name: str, max_pixels: int) -> Image.Image:
    """Open the bytes of an image file; its pixels are not decoded yet."""
    if not content:
        raise Problem("unreadable", "The body is empty; send the bytes of an image file.")
    try:
        image = open_image(io.BytesIO(content), name, max_pixels)
    except ValueError as error:
        raise Problem("too-many-pixels", str(error)) from None
    except SeemError as error:
        raise Problem("unreadable", str(error)) from None
    if image.format not in READ_FORMATS:
        raise Problem(
            "unsupported-media-type",
            f"{name} is {image.format}; send JPEG, PNG, WebP, TIFF, GIF or BMP.",
        )
    if image.width * image.height > max_pixels:
        raise Problem(
            "too-many-pixels",
            f"{name} has {image.width} x {image.height} pixels, more than the limit of {max_pixels:,}.",
        )
    image.filename = name
    return image


def encode_upload(
    model: Model, settings: ServerSettings, open_uploaded: Callable[[], Image.Image]
) -> StoredImage:
    """Decode and encode an uploaded image."""
    limits = settings.limits
    encoded = model.encode(open_uploaded(), settings.size, max_pixels=limits.image_pixels)
    sessions: RecentStore[StoredSession] = RecentStore(
        "session",
        max_bytes=limits.cache_bytes,
        idle_seconds=limits.idle_seconds,
        max_items=limits.sessions,
    )
    return StoredImage(encoded, sessions)
