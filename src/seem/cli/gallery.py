"""The pictures that the examples make, side by side: `python -m seem.cli.gallery examples docs/gallery.png`.

Every example runs as a person would run it, in a folder of its own that is thrown away.
"""

from __future__ import annotations

import contextlib
import io
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from seem.cli.errors import explain, write_line
from seem.cli.sheet import draw_page

TILE = (400, 300)  # pixels


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture of the gallery: which example makes it, as which file, and what it shows."""

    example: str
    file: str
    caption: str


PICTURES = (
    Picture("click", "seem-out/click.overlay.png", "click.py: clicks"),
    Picture("box_and_text", "box.png", "box_and_text.py: a box"),
    Picture("several_objects", "several_objects.png", "several_objects.py: one pass"),
    Picture("refine", "seem-out/refine.overlay.png", "refine.py: go on from a mask"),
    Picture("reference", "reference_box.png", "reference.py: as in the other photo"),
    Picture("find", "seem-out/find.overlay.png", "find.py: everything that fits"),
    Picture("everything", "everything.png", "everything.py: every mask"),
    Picture("detector_boxes", "seem-out/detector_boxes.overlay.png", "detector_boxes.py: boxes to masks"),
    Picture("own_classes", "seem-out/own_classes.overlay.png", "own_classes.py: your own words"),
)


def make_gallery(examples: Path, out: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """Run the examples and set their pictures on one page.

    Raises `FileNotFoundError` for an example, or a picture of one, that is not there.
    """
    tiles = []
    for picture in pictures:
        script = (examples / f"{picture.example}.py").resolve(strict=True)
        with tempfile.TemporaryDirectory() as folder, inside(Path(folder)):
            runpy.run_path(str(script), run_name="__main__")
            with Image.open(picture.file) as made:
                tiles.append((picture.caption, ImageOps.pad(made.convert("RGB"), TILE, color=(255, 255, 255))))
    page = draw_page(tiles)
    out.parent.mkdir(parents=True, exist_ok=True)
    page.save(out)
    return out


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder, without arguments and with nothing printed."""
    before, arguments = Path.cwd(), sys.argv
    os.chdir(folder)
    sys.argv = [""]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before)
        sys.argv = arguments


def main(arguments: Sequence[str]) -> int:
    """Make the gallery; returns an exit code."""
    try:
        if len(arguments) != 2:
            raise ValueError("The gallery takes the folder of the examples and a file: EXAMPLES OUT.png")
        write_line(f"{make_gallery(Path(arguments[0]), Path(arguments[1]))}: {len(PICTURES)} pictures")
    except BaseException as error:
        return explain(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
