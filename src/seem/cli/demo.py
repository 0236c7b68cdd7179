"""`make demo`: one photo asked in four ways, as pictures in a folder and side by side on one sheet.

python -m seem.cli.demo examples/photos/astronaut.jpg demo
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seem.api import EncodedImage
from seem.cli.errors import explain, write_line
from seem.cli.report import what_is_in
from seem.cli.sheet import FAINT, FONT_SIZE, INK, LINE, PAPER, draw_page
from seem.loading import load
from seem.prompts import Box, Point, Text
from seem.results import Results


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask about the photo of an astronaut; `name` is that of its files."""

    name: str
    caption: str
    ask: Callable[[EncodedImage], Results]


WAYS = (
    Way(
        "click",
        "clicks: head, not the suit",
        lambda photo: photo.segment(Point(180, 60), Point(230, 120), Point(225, 200, positive=False)),
    ),
    Way("box", "a box around the helmet", lambda photo: photo.segment(Box(272, 340, 505, 512))),
    Way("phrase", 'the phrase "person"', lambda photo: photo.segment(Text("person"))),
    Way("everything", "no prompt at all", lambda photo: photo.panoptic()),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long the question took once the photo was encoded."""

    way: Way
    results: Results
    seconds: float

    @property
    def caption(self) -> str:
        """How it was asked, and whether that led to nothing."""
        return self.way.caption if len(self.results) else f"{self.way.caption}: nothing found"


def demonstrate(photo_file: Path, out: Path, model: str = "nano") -> Path:
    """Ask about a photo in four ways, write the answers and the sheet to a folder, and tell about it.

    Files of an earlier demonstration are replaced. Returns the sheet; errors as those of `load`, `encode` and `save`.
    """
    started = time.perf_counter()
    network = load(model)
    loaded = time.perf_counter() - started
    write_line(f"{network.name} on {network.device}, {network.precision}: loaded in {loaded:.2f} s")
    photo = network.encode(photo_file)
    write_line(f"{photo_file}: the image network took {photo.encode_seconds:.2f} s, once for all four questions")
    answers = [ask(photo, way) for way in WAYS]
    for answer in answers:
        answer.results.save(out, stem=answer.way.name, overwrite=True)
        write_line(f"  {answer.way.caption}: {what_is_in(answer.results)} ({answer.seconds:.2f} s)")
    draw_sheet(photo, answers).save(out / "demo.png")
    write_line(f"Side by side: {out / 'demo.png'}. The overlay, masks and JSON file of each are beside it.")
    write_line(f"All in all {time.perf_counter() - started:.1f} s")
    return out / "demo.png"


def ask(photo: EncodedImage, way: Way) -> Answer:
    """Ask in one way."""
    started = time.perf_counter()
    results = way.ask(photo)
    return Answer(way, results, time.perf_counter() - started)


# --- The sheet --------------------------------------------------------------------------------------------------------


def draw_sheet(photo: EncodedImage, answers: Sequence[Answer]) -> Image.Image:
    """Set the photo, the answers and what they cost on one page, each under its caption."""
    tiles = [
        ("the photo", photo.photo.picture),
        *((answer.caption, answer.results.overlay()) for answer in answers),
        ("how long it took", draw_facts(photo, answers)),
    ]
    return draw_page(tiles)


def draw_facts(photo: EncodedImage, answers: Sequence[Answer]) -> Image.Image:
    """Write what each step took, in the size of the photo."""
    model = photo.model
    millions = sum(weight.numel() for weight in model.network.parameters()) / 1e6
    panel = Image.new("RGB", photo.photo.picture.size, PAPER)
    draw, font = ImageDraw.Draw(panel), ImageFont.load_default(FONT_SIZE)
    steps = [("looking at the photo, once", photo.encode_seconds), *((a.way.caption, a.seconds) for a in answers)]
    for row, (step, seconds) in enumerate(steps):
        draw.text((0, row * LINE), step, font=font, fill=INK)
        draw.text((panel.width // 2, row * LINE), f"{1000 * seconds:.0f} ms", font=font, fill=INK)
    about = f"{model.name}: {millions:.1f} million parameters, {model.precision}, on {model.device}"
    draw.text((0, (len(steps) + 0.5) * LINE), about, font=font, fill=FAINT)
    return panel


def main(arguments: Sequence[str]) -> int:
    """Run the demonstration; returns an exit code."""
    try:
        if len(arguments) < 2:
            raise ValueError("The demonstration takes a photo and a folder: python -m seem.cli.demo PHOTO OUT [MODEL]")
        photo_file, out, *model = arguments
        demonstrate(Path(photo_file), Path(out), *model)
    except BaseException as error:
        return explain(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
