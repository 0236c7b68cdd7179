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
class Shown:
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
    Shown(
        "two clicks on the head, one against the suit",
        "astronaut",
        lambda p: p.segment(*HEAD, NOT_SUIT),
    ),
    Shown(
        "a box around the helmet", "astronaut", lambda p: p.segment(seem.Box(272, 340, 505, 512))
    ),
    Shown("a click on the nose", "cat", lambda p: p.segment(seem.Point(260, 245))),
    Shown('the name "cat": some of the wall too', "cat", lambda p: p.segment(seem.Text("cat"))),
    Shown("a box around cup and saucer", "coffee", lambda p: p.segment(seem.Box(75, 20, 500, 390))),
    Shown("a rough polygon around the cup", "coffee", lambda p: p.segment(AROUND_THE_CUP)),
)
BAD = (
    Shown('the name "person": a flag too', "astronaut", lambda p: p.segment(seem.Text("person"))),
    Shown("the two clicks on the head alone", "astronaut", lambda p: p.segment(*HEAD)),
    Shown("panoptic: rough", "astronaut", lambda p: p.panoptic()),
    Shown('the name "spoon": not found', "coffee", lambda p: p.find("spoon")),
    Shown("one click: half of the saucer too", "coffee", lambda p: p.segment(seem.Point(275, 135))),
    Shown("everything: names are guesses", "coffee", lambda p: p.everything()),
)


def main(arguments: list[str]) -> None:
    """Draw both pages."""
    model = seem.load("nano")
    photos = {
        name: model.encode(PHOTOS / f"{name}.jpg")
        for name in {shown.photo for shown in (*GOOD, *BAD)}
    }
    for file, page in zip(arguments, (GOOD, BAD), strict=True):
        tiles = []
        for shown in page:
            picture = shown.ask(photos[shown.photo]).overlay()
            picture.thumbnail((SIDE, SIDE))
            tiles.append((shown.caption, picture))
        draw_page(tiles).save(file)


if __name__ == "__main__":
    main(sys.argv[1:])
