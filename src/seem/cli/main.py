"""`seem`: the verbs, and what each owes its caller: an exit code, and one line when something is wrong."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

import seem
from seem.cli.convert import convert
from seem.cli.data import data
from seem.cli.errors import INTERRUPTED, abandon_output, explain
from seem.cli.evaluate import evaluate
from seem.cli.finetune import finetune
from seem.cli.models import models
from seem.cli.prompts import InOrder
from seem.cli.retrieve import retrieve
from seem.cli.segment import segment
from seem.cli.track import track
from seem.cli.train import train

app = typer.Typer(
    epilog="Exit codes: 0, 1 for work that failed, 2 for a wrong call. SEEM_DEBUG=1 shows where an error comes from.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(cls=InOrder)(segment)
app.command(cls=InOrder)(track)
app.command()(retrieve)
app.command()(models)
app.command()(convert)
app.command()(finetune)
app.command()(train)
app.command()(evaluate)
app.add_typer(data, name="data")


def show_version(wanted: bool) -> bool:
    """Print the version and stop."""
    if wanted:
        typer.echo(f"seem {seem.__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Segment anything in a picture by saying, clicking or showing what you mean."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default this process's own, and return its exit code; no exception leaves."""
    prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = get_command(app).main(args=words or ["--help"], prog_name="seem", standalone_mode=False)
        if code == INTERRUPTED:  # newer versions of typer catch what older ones let through
            raise KeyboardInterrupt
    except BaseException as error:
        code = explain(error)
    try:
        sys.stdout.flush()
    except OSError as error:
        abandon_output()
        code = code or explain(error)
    return code if isinstance(code, int) else 0


def prepare_streams() -> None:
    """Let file names that are no text be printed, and a stream that the caller has closed lead nowhere."""
    nowhere = Path(os.devnull)
    sys.stdout = sys.stdout or nowhere.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
