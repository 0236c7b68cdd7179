"""What nano is good and bad at, as pictures of the example photos for the model card.

    python -m benchmarks.nano_pictures docs/nano_good.png docs/nano_bad.png

Run from the repository's root.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import seem
from seem.cli.sheet import draw_page
from seem.encoded_image import EncodedImage
from seem.results import Results

PHOTOS = Path("examples/photos")
SIDE = 420  # pixels of a picture's longer side


@dataclass(frozen=True)
class Example:
    """One question and its picture."""

    caption: str
    photo: str
    ask: Callable[[EncodedImage], Results]


HEAD, NOT_SUIT = (seem.Point(180, 60), seem.Point(230, 120)), seem.Point(225, 200, positive=False)
AROUND_THE_CUP = seem.Polygon([
    (172, 70), (225, 20), (320, 12), (395, 40), (412, 95), (385, 190), (335, 240), (250, 245), (230, 285), (195, 270),
    (205, 215), (180, 130),
])  # fmt: skip

GOOD = (
    Example(
        "two clicks on the head, one against the suit",
        "astronaut",
        lambda p: p.segment(*HEAD, NOT_SUIT),
    ),
    Example(
        "a box around the helmet", "astronaut", lambda p: p.segment(seem.Box(272, 340, 505, 512))
    ),
    Example("a click on the nose", "cat", lambda p: p.segment(seem.Point(260, 245))),
    Example('the name "cat": some of the wall too', "cat", lambda p: p.segment(seem.Text("cat"))),
    Example(
        "a box around cup and saucer", "coffee", lambda p: p.segment(seem.Box(75, 20, 500, 390))
    ),
    Example("a rough polygon around the cup", "coffee", lambda p: p.segment(AROUND_THE_CUP)),
)
BAD = (
    Example('the name "person": a flag too', "astronaut", lambda p: p.segment(seem.Text("person"))),
    Example("the two clicks on the head alone", "astronaut", lambda p: p.segment(*HEAD)),
    Example("panoptic: rough", "astronaut", lambda p: p.panoptic()),
    Example('the name "spoon": not found', "coffee", lambda p: p.find("spoon")),
    Example(
        "one click: half of the saucer too", "coffee", lambda p: p.segment(seem.Point(275, 135))
    ),
    Example("everything: names are guesses", "coffee", lambda p: p.everything()),
)


def main(arguments: list[str]) -> None:
    """Draw both pages."""
    model = seem.load("nano")
    photos = {
        name: model.encode(PHOTOS / f"{name}.jpg")
        for name in {example.photo for example in (*GOOD, *BAD)}
    }
    for file, page in zip(arguments, (GOOD, BAD), strict=True):
        tiles = []
        for example in page:
            overlay = example.ask(photos[example.photo]).overlay()
            overlay.thumbnail((SIDE, SIDE))
            tiles.append((example.caption, overlay))
        draw_page(tiles).save(file)


if __name__ == "__main__":
    main(sys.argv[1:])
