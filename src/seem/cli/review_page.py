"""`review/index.html`: labels of a model for a person to look through, the least certain images first."""

from __future__ import annotations

import heapq
import html
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from seem.annotation_formats.annotated_image import AnnotatedImage
from seem.writing import text_writer, write_together

FOLDER = "review"
PAGE = "index.html"
MAX_IMAGES = 500  # on the page: nobody looks through more
THUMBNAIL_PIXELS = 480  # longest side
JPEG_QUALITY = 82
NO_OBJECT = 2.0  # behind every score
OLD_FILES = re.compile(r"\d+\.jpg")
STYLE = """
:root { color-scheme: light dark; --line: #8884; --faint: #888; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 100rem; padding: 0 1.5rem; }
h1 { font-size: 1.35rem; margin: 0; }
p { color: var(--faint); margin: .3rem 0 1.5rem; }
ol { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); }
ol { list-style: none; padding: 0; }
li { border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
img { aspect-ratio: 4 / 3; background: #8882; display: block; object-fit: contain; width: 100%; }
div { padding: .6rem .8rem .8rem; }
strong { display: block; overflow-wrap: anywhere; }
span { color: var(--faint); }
meter { float: right; width: 5rem; }
"""


@dataclass(frozen=True, slots=True, order=True)
class ReviewedImage:
    """An image on the page: its lowest score (`NO_OBJECT` without any), its overlay, and a line about its objects."""

    certainty: float
    number: int
    name: str
    objects: str
    overlay: Path


class ReviewPage:
    """Collects images, of which the least certain are shown; those without any object come last."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._images: list[tuple[float, int, ReviewedImage]] = []  # a heap, the most certain first
        self._num_images = 0

    def add(self, image: AnnotatedImage, overlay: Path) -> None:
        """Take the next image; `overlay` is a picture of its masks."""
        certainty = min((one.score for one in image.objects), default=NO_OBJECT)
        reviewed = ReviewedImage(
            certainty, self._num_images, image.file_name, describe_objects(image), overlay
        )
        self._num_images += 1
        entry = (-certainty, -reviewed.number, reviewed)
        if len(self._images) < MAX_IMAGES:
            heapq.heappush(self._images, entry)
        else:
            heapq.heappushpop(self._images, entry)

    def write(self, folder: Path) -> Path:
        """Write the page and its thumbnails into a sub-folder, all or none, and return the page.

        Raises `OSError` where that is not possible.
        """
        images = sorted(reviewed for _, _, reviewed in self._images)
        home = folder / FOLDER
        files: dict[str, Callable[[Path], None]] = {}
        for number, image in enumerate(images, start=1):
            files[thumbnail_name(number)] = partial(write_thumbnail, image.overlay)
        files[PAGE] = text_writer(lambda: self._to_html(images, home))
        write_together(home, files, overwrite=True, leftovers=OLD_FILES)
        return home / PAGE

    def _to_html(self, images: Sequence[ReviewedImage], home: Path) -> str:
        heading = html.escape(self._title)
        summary = f"{self._num_images} photos, the least certain first."
        if len(images) < self._num_images:
            summary = f"The {len(images)} least certain of {self._num_images} photos."
        items = [to_item(number, image, home) for number, image in enumerate(images, start=1)]
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en"><head><meta charset="utf-8">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<title>{heading}</title><style>{STYLE}</style></head><body>",
                f"<h1>{heading}</h1><p>{summary}</p><ol>",
                *items,
                "</ol></body></html>",
            ]
        )


def to_item(number: int, image: ReviewedImage, home: Path) -> str:
    """Return the HTML of an image: its thumbnail, which links to the overlay, its name and its objects."""
    link = html.escape(relative_url(image.overlay, home))
    name, objects = html.escape(image.name), html.escape(image.objects)
    meter = ""
    if image.certainty < NO_OBJECT:
        meter = f'<meter value="{image.certainty:.3f}" title="lowest score {image.certainty:.2f}"></meter>'
    thumbnail = f'<img src="{thumbnail_name(number)}" loading="lazy" alt="Masks on {name}">'
    return f'<li><a href="{link}">{thumbnail}</a><div>{meter}<strong>{name}</strong><span>{objects}</span></div></li>'


def relative_url(file: Path, home: Path) -> str:
    """Return the address of a file as a page in a folder has it; the absolute one on another drive."""
    try:
        return quote(Path(os.path.relpath(file, home)).as_posix())
    except ValueError:
        return file.absolute().as_uri()


def describe_objects(image: AnnotatedImage) -> str:
    """Word the objects of an image, those of the lowest scores first: "dog 0.51, cat 0.87"."""
    if not image.objects:
        return "no object"
    ordered = sorted(image.objects, key=lambda one: one.score)
    return ", ".join(f"{one.class_name} {one.score:.2f}" for one in ordered)


def thumbnail_name(number: int) -> str:
    """Return the file name of a thumbnail."""
    return f"{number:04}.jpg"


def write_thumbnail(overlay: Path, path: Path) -> None:
    """Write a smaller picture as JPEG."""
    with Image.open(overlay) as opened:
        small = opened.convert("RGB")
    small.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    small.save(path, format="JPEG", quality=JPEG_QUALITY)
