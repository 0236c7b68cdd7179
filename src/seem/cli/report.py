"""What `seem segment` tells while it works: lines for people, or one JSON object a photo."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from seem.api import Model
from seem.cli.errors import complain, write_line
from seem.cli.photos import Job
from seem.coco_format import UNLABELLED
from seem.results import Results

NAMED = 5  # objects that a line names
PATIENCE = 10.0  # seconds between two looks of the progress bar where nobody watches it


@dataclass(frozen=True, slots=True)
class Report:
    """Where what is told goes: standard output belongs to the answers, the progress bar to standard error."""

    num_photos: int
    out: Path
    as_json: bool = False
    quiet: bool = False

    def loaded(self, model: Model, seconds: float) -> None:
        """Say which model answers."""
        if not self.as_json:
            self.say(f"{model.name} on {model.device}, {model.precision}: loaded in {seconds:.2f} s")

    def progress(self, jobs: Sequence[Job]) -> Iterator[Job]:
        """Go through the photos, with a bar where there are several."""
        hidden = self.quiet or self.num_photos < 2
        if sys.stderr.isatty():
            yield from tqdm(jobs, unit="photo", file=sys.stderr, disable=hidden)
        else:
            yield from tqdm(jobs, unit="photo", file=Lines(), mininterval=PATIENCE, ncols=80, disable=hidden)

    def saved(self, job: Job, results: Results, paths: Sequence[Path], write_seconds: float) -> None:
        """Tell what was found in a photo and where it is."""
        for note in results.notes if not self.quiet else ():
            complain(f"{job.photo.source}: {note}")
        if self.as_json:
            record = json.loads((job.folder / f"{job.stem}.json").read_text(encoding="utf-8"))
            write_line(json.dumps(record))  # plain ASCII, whatever the terminal
            return
        steps = took({**results.seconds, "write": write_seconds})
        caption = f"\n  {results.provenance.caption}" if results.provenance.caption is not None else ""
        if self.num_photos > 1:
            self.say(f"{job.photo.name}: {what_is_in(results)} ({steps}){caption}")
        else:
            self.say(f"{job.photo.name}: {what_is_in(results)}{caption}\n  {files_in(job.folder, paths)}\n  {steps}")

    def finished(self, num_failed: int) -> None:
        """Sum up a run over several photos."""
        if self.num_photos < 2:
            return
        if num_failed < self.num_photos and not self.as_json:
            self.say(f"The results of {self.num_photos - num_failed} photos are in {self.out}/.")
        if num_failed:
            complain(f"{num_failed} of {self.num_photos} photos failed.")

    def say(self, text: str) -> None:
        """Tell a person."""
        if not self.quiet:
            write_line(text)


class Lines(io.TextIOBase):
    """Standard error for a progress bar that cannot go back to the start of its line: in a log or a pipe."""

    def write(self, text: str) -> int:
        """Give every state of the bar a line of its own."""
        if text.strip():
            sys.stderr.write(f"{text.strip()}\n")
        return len(text)


def what_is_in(results: Results) -> str:
    """Word a result: "2 objects: cup 0.93, spoon 0.31 (mask 0.80)".

    A name is followed by how sure it is, as in the overlay, and by the score of the mask where that is another.
    """
    count = "nothing found" if not len(results) else "1 object" if len(results) == 1 else f"{len(results)} objects"
    shown = results[:NAMED]
    names = [named(one.label, tag, one.score) for one, tag in zip(shown, shown.tags, strict=True)]
    more = ", ..." if len(results) > NAMED else ""
    return f"{count}: {', '.join(names)}{more}" if names else count


def named(label: str | None, tag: str, score: float) -> str:
    """Word an object: what the overlay says of it, and the score of its mask where that says something else."""
    if label is None:
        return f"{UNLABELLED} (mask {score:.2f})"
    return tag if tag.endswith(f" {score:.2f}") else f"{tag} (mask {score:.2f})"


def files_in(folder: Path, paths: Sequence[Path]) -> str:
    """List files of one folder: the first with the folder, masks as a range."""
    masks = [path.name for path in paths if ".mask-" in path.name]
    others = [path.name for path in paths if ".mask-" not in path.name]
    shown = masks if len(masks) < 3 else [f"{masks[0]} to {masks[-1]}"]
    return f"{folder}/: {', '.join([*others, *shown])}"


def took(seconds: Mapping[str, float]) -> str:
    """Word how long each step took: "encode 0.08 s, panoptic 0.02 s"."""
    return ", ".join(f"{step} {value:.2f} s" for step, value in seconds.items())
