"""`make demo`: one photo segmented by four kinds of prompt; results in a folder, and side by side on one sheet.

python -m seem.cli.demo examples/photos/astronaut.jpg demo
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from seem.checkpoints.safe import atomic_write
from seem.cli.errors import write_line
from seem.cli.image_files import check_writable
from seem.cli.interruption import run_program
from seem.cli.report import describe_loaded_model, describe_results
from seem.cli.sheet import FAINT_INK, FONT_SIZE, INK, LINE_HEIGHT, PAPER, draw_page
from seem.encoded_image import EncodedImage
from seem.images import read_shown_hw
from seem.loading import load
from seem.prompts import Box, Point, Text
from seem.results import Results


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One way to segment the photo of an astronaut; `name` is the stem of its files."""

    name: str
    caption: str
    segment: Callable[[EncodedImage], Results]


DEMONSTRATIONS = (
    Demonstration(
        name="click",
        caption="clicks: head, not the suit",
        segment=lambda image: image.segment(
            Point(180, 60), Point(230, 120), Point(225, 200, positive=False)
        ),
    ),
    Demonstration(
        name="box",
        caption="a box around the helmet",
        segment=lambda image: image.segment(Box(272, 340, 505, 512)),
    ),
    Demonstration(
        name="phrase",
        caption='the phrase "person"',
        segment=lambda image: image.segment(Text("person")),
    ),
    Demonstration(
        name="everything",
        caption="no prompt at all",
        segment=lambda image: image.panoptic(),
    ),
)


@dataclass(frozen=True, slots=True)
class TimedResults:
    """The results of one demonstration, and the seconds they took once the image was encoded."""

    demonstration: Demonstration
    results: Results
    seconds: float

    @property
    def caption(self) -> str:
        """The caption of the results, which says so if nothing was found."""
        if len(self.results):
            return self.demonstration.caption
        return f"{self.demonstration.caption}: nothing found"


def demonstrate(photo_file: Path, out: Path, model: str = "nano") -> Path:
    """Run all demonstrations, write their results and the sheet to a folder, and print what was done.

    Files of an earlier call are replaced. Returns the path of the sheet; raises as `load`, `encode` and `save` do.
    """
    started = time.perf_counter()
    network = load(model)
    write_line(describe_loaded_model(network, time.perf_counter() - started))
    image = network.encode(photo_file)
    write_line(
        f"{photo_file}: the image network took {image.encode_seconds:.2f} s, once for all four prompts"
    )
    answers = [run_timed(image, demonstration) for demonstration in DEMONSTRATIONS]
    for answer in answers:
        answer.results.save(out, stem=answer.demonstration.name, overwrite=True)
        description = describe_results(answer.results)
        write_line(f"  {answer.demonstration.caption}: {description} ({answer.seconds:.2f} s)")
    sheet = out / "demo.png"
    with atomic_write(sheet) as aside:
        draw_sheet(image, answers).save(aside)
    write_line(f"Side by side: {sheet}. The overlay, masks and JSON file of each are beside it.")
    write_line(f"All in all {time.perf_counter() - started:.1f} s")
    return sheet


def run_timed(image: EncodedImage, demonstration: Demonstration) -> TimedResults:
    """Run one demonstration and measure its time."""
    started = time.perf_counter()
    results = demonstration.segment(image)
    return TimedResults(demonstration, results, time.perf_counter() - started)


# --- The sheet --------------------------------------------------------------------------------------------------------


def draw_sheet(image: EncodedImage, answers: Sequence[TimedResults]) -> Image.Image:
    """Draw the photo, the results and the times on one page, each under its caption."""
    tiles = [("the photo", image.image)]
    for answer in answers:
        tiles.append((answer.caption, answer.results.overlay()))
    tiles.append(("how long it took", draw_times(image, answers)))
    return draw_page(tiles)


def draw_times(image: EncodedImage, answers: Sequence[TimedResults]) -> Image.Image:
    """Draw a table of the time of each step, in the size of the photo."""
    steps = [("encoding the photo, once", image.encode_seconds)]
    for answer in answers:
        steps.append((answer.demonstration.caption, answer.seconds))
    panel = Image.new("RGB", image.image.size, PAPER)
    draw = ImageDraw.Draw(panel)
    font = ImageFont.load_default(FONT_SIZE)
    top = 0
    for step, seconds in steps:
        draw.text((0, top), step, font=font, fill=INK)
        draw.text((panel.width // 2, top), f"{1000 * seconds:.0f} ms", font=font, fill=INK)
        top += LINE_HEIGHT
    draw.text((0, top + LINE_HEIGHT // 2), describe_network(image), font=font, fill=FAINT_INK)
    return panel


def describe_network(image: EncodedImage) -> str:
    """Word the size of the network that encoded an image, and how it computes."""
    model = image.model
    millions = sum(weight.numel() for weight in model.network.parameters()) / 1e6
    return f"{model.name}: {millions:.1f} million parameters, {model.precision}, on {model.device}"


def main(arguments: Sequence[str]) -> int:
    """Run the demonstrations; returns an exit code."""
    return run_program(partial(demonstrate_arguments, arguments))


def demonstrate_arguments(arguments: Sequence[str]) -> None:
    """Run the demonstrations for the arguments PHOTO OUT [MODEL]; `ValueError` for others."""
    if len(arguments) not in (2, 3):
        raise ValueError("Name a photo and a folder: python -m seem.cli.demo PHOTO OUT [MODEL]")
    photo_file, out, *model = arguments
    read_shown_hw(photo_file)
    check_writable(Path(out), "OUT")
    demonstrate(Path(photo_file), Path(out), *model)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
