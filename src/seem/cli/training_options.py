"""Options that `seem finetune` and `seem train` share, and what both print while a run goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from seem.cli.errors import write_line
from seem.cli.options import FLAG, OptionGroup

PROGRESS_INTERVAL_SECONDS = (
    10.0  # between two lines of progress where standard error is no terminal
)

OutOption: TypeAlias = Annotated[
    Path, typer.Option(metavar="RUN", help="Folder of the run: weights, scores, log.")
]
MinutesOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        metavar="N", help="Minutes of training; the scoring before and after it comes on top."
    ),
]
LearningRateOption: TypeAlias = Annotated[
    float | None, typer.Option(metavar="RATE", help="Highest learning rate of the schedule.")
]


@dataclass(frozen=True, slots=True)
class RunOptions(OptionGroup):
    """Randomness, processes and folder of a training run."""

    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Training processes on this machine. Default: one for each core on a CPU.",
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option(
            metavar="N", help="Random seed for sampling images and for the validation split."
        ),
    ] = 0
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            metavar=FLAG,
            help="Divide the weights between the processes of torchrun (FSDP).",
        ),
    ] = False
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", metavar=FLAG, help="Go on with the run in RUN from its last checkpoint."
        ),
    ] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", metavar=FLAG, help="Replace the run in RUN.")
    ] = False
    quiet: Annotated[
        bool, typer.Option("--quiet", metavar=FLAG, help="Print nothing but errors.")
    ] = False


def parse_parts(text: str | None) -> tuple[str, ...] | None:
    """Parse a list of network parts, "backbone,text"; "none" is the empty list."""
    if text is None:
        return None
    parts = []
    for name in map(str.strip, text.split(",")):
        if name not in ("", "none"):
            parts.append(name)
    return tuple(parts)


@contextmanager
def resume_hint(out: Path) -> Iterator[None]:
    """Say after an interruption that the run in `out` can be resumed, if it has a checkpoint."""
    from seem.training.checkpoint import STATE_FILE

    try:
        yield
    except KeyboardInterrupt:
        if (out / STATE_FILE).is_file():
            write_line(
                f"{out} is kept as of its last checkpoint: the same command with --resume goes on."
            )
        raise


class ProgressScreen:
    """Prints the lines of a run; its progress is one line that is replaced, or, without a terminal, a few lines."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._progress_width = 0
        self._last_progress = 0.0

    def write_line(self, text: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            self.end_progress()
            write_line(text)

    def write_progress(self, text: str) -> None:
        """Print the progress of the run in place of what it was before."""
        if self.quiet:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text:<{self._progress_width}}")
            sys.stderr.flush()
            self._progress_width = len(text)
        elif time.monotonic() - self._last_progress >= PROGRESS_INTERVAL_SECONDS:
            self._last_progress = time.monotonic()
            write_line(text)

    def end_progress(self) -> None:
        """Begin a new line after the progress."""
        if self._progress_width:
            sys.stderr.write("\n")
            self._progress_width = 0
