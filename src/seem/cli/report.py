"""What `seem segment` and `seem retrieve` print while they work: lines for people, or one JSON object an image."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from seem.cli.errors import EXIT_FAILED, print_error, write_line
from seem.cli.image_files import ImageJob
from seem.coco_format import UNLABELLED
from seem.results import Results, Segment
from seem.results.segment_map import MapSegment, SegmentMap

MAX_NAMED_OBJECTS = 5  # in one line
LOG_INTERVAL_SECONDS = 10.0  # between two lines of a progress bar that is not on a terminal
LOG_WIDTH = 80  # characters of such a line

Item = TypeVar("Item")


class AnsweringModel(Protocol):
    """What is printed about a model and compared with earlier results: of PyTorch's, or of exported graphs."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def sha256(self) -> str:
        """The digest of its weights."""
        ...

    @property
    def device(self) -> object:
        """Where it runs."""
        ...

    @property
    def precision(self) -> str:
        """Which arithmetic runs."""
        ...


@dataclass(frozen=True, slots=True)
class SavedImage:
    """What is said about an image whose results are saved, in words."""

    answer: str
    files: str
    steps: str
    caption: str | None
    notes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        job: ImageJob,
        results: Results | SegmentMap,
        paths: Sequence[Path],
        write_seconds: float,
    ) -> SavedImage:
        """Word the results about an image."""
        return cls(
            f"{job.image.name}: {describe_results(results)}",
            describe_files(job.folder, paths),
            describe_seconds({**results.seconds, "write": write_seconds}),
            results.provenance.caption,
            results.notes,
        )


@dataclass(frozen=True, slots=True)
class ProgressReporter:
    """Prints answers to standard output, and the progress bar and errors to standard error."""

    num_images: int
    out: Path
    as_json: bool = False
    quiet: bool = False

    def model_loaded(self, model: AnsweringModel, seconds: float) -> None:
        """Print which model answers."""
        if not self.as_json:
            self.print_line(describe_loaded_model(model, seconds))

    def iterate(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yield what there is about every image, with a progress bar if there are several."""
        yield from with_progress_bar(
            items,
            unit="photo",
            disable=self.quiet or self.num_images < 2,
            total=self.num_images,
        )

    @contextmanager
    def counting(self, unit: str) -> Iterator[Callable[[int, int], None] | None]:
        """Give a function that shows how many parts of an image are done, of how many; None where nothing is shown."""
        if self.quiet or self.num_images > 1:  # then the bar counts images
            yield None
            return
        with ExitStack() as stack:
            bars: list[tqdm[Any]] = []  # none before there is something to count

            def show(num_done: int, total: int) -> None:
                if not bars:
                    style = progress_bar_style()
                    bars.append(stack.enter_context(tqdm(unit=unit, total=total, **style)))
                bars[0].update(num_done - bars[0].n)

            yield show

    def image_saved(
        self,
        job: ImageJob,
        results: Results | SegmentMap,
        paths: Sequence[Path],
        write_seconds: float,
    ) -> None:
        """Print what was found in an image, and the files about it."""
        self.print_saved(job, SavedImage.of(job, results, paths, write_seconds))

    def print_saved(self, job: ImageJob, saved: SavedImage) -> None:
        """Print what is to be said about an image whose results are saved."""
        if not self.quiet:
            for note in saved.notes:
                print_error(f"{job.image.source}: {note}")
        if self.as_json:
            record = json.loads(job.record_file.read_text(encoding="utf-8"))
            write_line(json.dumps(record))  # ASCII, whatever the encoding of the terminal
            return
        caption = f"\n  {saved.caption}" if saved.caption is not None else ""
        if self.num_images > 1:
            self.print_line(f"{saved.answer} ({saved.steps}){caption}")
        else:
            self.print_line(f"{saved.answer}{caption}\n  {saved.files}\n  {saved.steps}")

    def finished(self, codes: Sequence[int]) -> int:
        """Print a summary of a run over several images and return its exit code, from those of the images.

        It is that of a single image, or 1 if any of several failed.
        """
        if len(codes) == 1:
            return codes[0]
        num_failed = sum(code > 0 for code in codes)
        if num_failed < self.num_images and not self.as_json:
            self.print_line(
                f"The results of {self.num_images - num_failed} photos are in {self.out}/."
            )
        if num_failed:
            print_error(f"{num_failed} of {self.num_images} photos failed.")
            return EXIT_FAILED
        return 0

    def print_line(self, text: str) -> None:
        """Print a line to standard output, unless quiet."""
        if not self.quiet:
            write_line(text)


# --- Progress bars ----------------------------------------------------------------------------------------------------


class LogStream(io.TextIOBase):
    """Standard error for a progress bar that cannot return to the start of its line: in a log or a pipe."""

    def write(self, text: str) -> int:
        """Write every state of the bar as a line of its own."""
        if text.strip():
            sys.stderr.write(f"{text.strip()}\n")
        return len(text)


def progress_bar_style() -> dict[str, Any]:
    """Return tqdm's arguments for standard error: a moving bar on a terminal, else a line from time to time."""
    if sys.stderr.isatty():
        return {"file": sys.stderr}
    return {"file": LogStream(), "mininterval": LOG_INTERVAL_SECONDS, "ncols": LOG_WIDTH}


def with_progress_bar(
    items: Iterable[Item], *, unit: str, disable: bool = False, total: int | None = None
) -> Iterator[Item]:
    """Yield items, with a progress bar on standard error."""
    yield from tqdm(items, total=total, unit=unit, disable=disable, **progress_bar_style())


# --- Lines ------------------------------------------------------------------------------------------------------------


def describe_loaded_model(model: AnsweringModel, seconds: float) -> str:
    """Word a model and the time that loading it took."""
    return f"{model.name} on {model.device}, {model.precision}: loaded in {seconds:.2f} s"


def describe_results(results: Results | SegmentMap) -> str:
    """Word a result: "2 objects: cup 0.93, spoon 0.31 (mask 0.80)".

    A label is followed by its score, as in the overlay, and by the mask's score if that differs.
    """
    count = describe_count(len(results))
    objects: Iterator[Segment | MapSegment] = islice(results, MAX_NAMED_OBJECTS)
    names = []
    for one, tag in zip(objects, results.tags, strict=False):
        names.append(describe_object(one.label, tag, one.score))
    if not names:
        return count
    if len(results) > MAX_NAMED_OBJECTS:
        names.append("...")
    return f"{count}: {', '.join(names)}"


def describe_count(number: int) -> str:
    """Word a number of objects."""
    if number == 0:
        return "nothing found"
    if number == 1:
        return "1 object"
    return f"{number} objects"


def describe_object(label: str | None, tag: str, score: float) -> str:
    """Word an object: its tag in the overlay, and the score of its mask if the tag ends with another."""
    if label is None:
        return f"{UNLABELLED} (mask {score:.2f})"
    if tag.endswith(f" {score:.2f}"):
        return tag
    return f"{tag} (mask {score:.2f})"


def describe_files(folder: Path, paths: Sequence[Path]) -> str:
    """List files of one folder, masks last and as a range."""
    masks, others = [], []
    for path in paths:
        if ".mask-" in path.name:
            masks.append(path.name)
        else:
            others.append(path.name)
    if len(masks) > 2:
        masks = [f"{masks[0]} to {masks[-1]}"]
    return f"{folder}/: {', '.join(others + masks)}"


def describe_seconds(seconds: Mapping[str, float]) -> str:
    """Word the time of each step: "encode 0.08 s, panoptic 0.02 s"."""
    return ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
