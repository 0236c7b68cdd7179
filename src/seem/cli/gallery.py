"""Draws the images that the examples write on one page: `python -m seem.cli.gallery examples docs/gallery.png`.

Every example runs as a script, in a temporary folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from seem.checkpoints.safe import atomic_write
from seem.cli.errors import write_line
from seem.cli.interruption import run_program
from seem.cli.sheet import PAPER, draw_page
from seem.errors import naming_file
from seem.part_files import temporary_folder

TILE_SIZE = (400, 300)  # width and height in pixels


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """One image of the gallery: the example that writes it, its file, and its caption."""

    example: str
    file: str
    caption: str


GALLERY_IMAGES = (
    GalleryImage("click", "seem-out/click.overlay.png", "click.py: clicks"),
    GalleryImage("box_and_text", "box.png", "box_and_text.py: a box"),
    GalleryImage("several_objects", "several_objects.png", "several_objects.py: one pass"),
    GalleryImage("refine", "seem-out/refine.overlay.png", "refine.py: start from a mask"),
    GalleryImage("reference", "reference_box.png", "reference.py: as marked in another photo"),
    GalleryImage("find", "seem-out/find.overlay.png", "find.py: all that fits a phrase"),
    GalleryImage("everything", "everything.png", "everything.py: every mask"),
    GalleryImage(
        "detector_boxes", "seem-out/detector_boxes.overlay.png", "detector_boxes.py: boxes to masks"
    ),
    GalleryImage(
        "own_classes", "seem-out/own_classes.overlay.png", "own_classes.py: your own classes"
    ),
)


def make_gallery(
    examples: Path, out: Path, images: Sequence[GalleryImage] = GALLERY_IMAGES
) -> Path:
    """Run the examples and draw their images on one page, `out`, which is returned.

    Raises `FileNotFoundError` for an example that does not exist, or does not write its image.
    """
    page = draw_page([(image.caption, run_example(examples, image)) for image in images])
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out) as aside:
        page.save(aside, format="PNG")
    return out


def run_example(examples: Path, image: GalleryImage) -> Image.Image:
    """Run an example in a temporary folder and return its image, padded to a tile."""
    script = (examples / f"{image.example}.py").resolve(strict=True)
    with temporary_folder() as folder, working_directory(folder), naming_file(image.file):
        runpy.run_path(str(script), run_name="__main__")
        with Image.open(image.file) as opened:
            return ImageOps.pad(opened.convert("RGB"), TILE_SIZE, color=PAPER)


@contextlib.contextmanager
def working_directory(folder: Path) -> Iterator[None]:
    """Change to a folder, with no command-line arguments and without printing."""
    previous, arguments = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = [""]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(previous)
        sys.argv = arguments


def main(arguments: Sequence[str]) -> int:
    """Make the gallery; returns an exit code."""
    return run_program(partial(make_gallery_of_arguments, arguments))


def make_gallery_of_arguments(arguments: Sequence[str]) -> None:
    """Make the gallery for the arguments EXAMPLES OUT.png; `ValueError` for others."""
    if len(arguments) != 2:
        raise ValueError("Name the folder of the examples and the file to write: EXAMPLES OUT.png")
    page = make_gallery(Path(arguments[0]), Path(arguments[1]), GALLERY_IMAGES)
    write_line(f"{page}: {len(GALLERY_IMAGES)} pictures")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
