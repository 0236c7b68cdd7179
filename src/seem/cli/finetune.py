"""`seem finetune`: from one's own photos and masks to a model that knows them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seem.cli.data import SPEC
from seem.cli.errors import write_line

if TYPE_CHECKING:
    from seem.finetuning.run import FineTuningRequest

PROCESSES = "Processes of this machine; default: one for each core on a CPU."
EVERY = 10.0  # seconds between two lines of progress where nobody watches


def finetune(
    data: Annotated[list[str], typer.Option(metavar="SPEC[*WEIGHT]", help=f"What to learn from: {SPEC}; repeatable.")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run.")],
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Where to begin: a name, a file, or the folder of a run.")
    ] = "nano",
    minutes: Annotated[float | None, typer.Option(metavar="N", help="How long to train; scoring comes on top.")] = None,
    steps: Annotated[
        int | None, typer.Option(metavar="N", help="How many steps; default: at most half an hour.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(metavar="RATE", help="The highest learning rate.")] = None,
    freeze: Annotated[
        str | None, typer.Option(metavar="PARTS", help="Parts that do not learn: backbone,text,...; none = none.")
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(metavar="PART=FACTOR", help="A part learns so much faster or slower; repeatable."),
    ] = None,
    size: Annotated[int | None, typer.Option(metavar="PIXELS", help="Side of the training canvas.")] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Photos a step; default: found by itself.")] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="cpu, cuda, cuda:1, ...")] = None,
    processes: Annotated[int | None, typer.Option(metavar="N", help=PROCESSES)] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another run.")] = 0,
    patience: Annotated[
        int | None,
        typer.Option(metavar="N", help="Stop after so many looks without progress, 0 = never; default: 4."),
    ] = None,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", metavar=" ", help="Begin with random weights, to compare.")
    ] = False,
    shard: Annotated[
        bool, typer.Option("--shard", metavar=" ", help="Under torchrun: divide the weights between processes.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", metavar=" ", help="Go on with the run in RUN.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", metavar=" ", help="Replace the run in RUN.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", metavar=" ", help="Say nothing but errors.")] = False,
) -> None:
    """Fine-tune a model on your own photos and masks; seem.load(RUN) opens the best one."""
    from seem.finetuning.run import FineTuningRequest, process_count
    from seem.training.team import together

    request = FineTuningRequest(
        data=tuple(data),
        out=out,
        model=model,
        minutes=minutes,
        steps=steps,
        learning_rate=learning_rate,
        freeze=parts(freeze),
        size=size,
        batch=batch,
        device=device,
        seed=seed,
        patience=patience,
        shard=shard,
        rates=rates(rate or ()),
        scratch=from_scratch,
    )
    count = process_count(request, processes, resume=resume, overwrite=overwrite)
    with told_how_to_go_on(out):
        together(count, work, request, resume, overwrite, quiet)


def work(request: FineTuningRequest, resume: bool, overwrite: bool, quiet: bool) -> None:
    """Be one of the processes of a run, or the only one."""
    from seem.finetuning.run import finetune

    screen = Screen(quiet)
    try:
        finetune(request, resume=resume, overwrite=overwrite, say=screen.say, live=screen.live)
    finally:
        screen.end()


@contextmanager
def told_how_to_go_on(out: Path) -> Iterator[None]:
    """Say after an interruption that the run in `out` can be gone on with, if there is one."""
    from seem.training.engine import STATE_FILE

    try:
        yield
    except KeyboardInterrupt:
        if (out / STATE_FILE).is_file():
            write_line(f"{out} is kept as of its last checkpoint: the same command with --resume goes on.")
        raise


def parts(text: str | None) -> tuple[str, ...] | None:
    """Read a list of parts; "none" is the empty one."""
    if text is None:
        return None
    return tuple(part.strip() for part in text.split(",") if part.strip() not in ("", "none"))


def rates(texts: Sequence[str]) -> tuple[tuple[str, float], ...]:
    """Read factors of the learning rate."""
    read = []
    for text in texts:
        part, _, factor = text.partition("=")
        try:
            read.append((part.strip(), float(factor)))
        except ValueError:
            raise ValueError(f"--rate is {text!r}; write PART=FACTOR, such as backbone=0.1.") from None
    return tuple(read)


class Screen:
    """Lines for a person: one line that is written over on a terminal, a new one now and then elsewhere."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self._width = 0
        self._told = 0.0

    def say(self, text: str) -> None:
        """Write a line that stays."""
        if not self.quiet:
            self.end()
            write_line(text)

    def live(self, text: str) -> None:
        """Show where the run is."""
        if self.quiet:
            return
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text:<{self._width}}")
            sys.stderr.flush()
            self._width = len(text)
        elif time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            write_line(text)

    def end(self) -> None:
        """Leave the line that is written over."""
        if self._width:
            sys.stderr.write("\n")
            self._width = 0
