"""`seem`: the command line's verbs; every call ends with an exit code, every error is one line."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperCommand
from typer.main import get_command

import seem
from seem import startup
from seem.cli.errors import EXIT_INTERRUPTED, discard_output, report_error
from seem.cli.interruption import run_program
from seem.cli.options import PATH_OPTIONS
from seem.cli.prompts import OrderedCommand
from seem.errors import SeemError

VERBS = (
    "segment",
    "label",
    "track",
    "retrieve",
    "serve",
    "page",
    "models",
    "convert",
    "export",
    "finetune",
    "train",
    "evaluate",
    "data",
)
"""Every verb is a module of `seem.cli`: its function is `<verb>_command`, or its group of verbs `<verb>_commands`."""

NEEDS_PYTORCH = "Needs PyTorch, which is not installed: pip install torch"

ANY_WORDS = {"ignore_unknown_options": True, "allow_extra_args": True}

VERBS_WITH_PROMPTS = ("segment", "track")


def app_with(verbs: Sequence[str]) -> typer.Typer:
    """Return the command line with some of its verbs; only their modules are imported."""
    app = typer.Typer(
        epilog=(
            "Exit codes: 0 = success, 1 = the work failed (a file is missing, damaged, of another layout or in the "
            "way, a disk is full, ...), 2 = the call is wrong (an option, its value, or what is asked of the files), "
            "130 = interrupted. "
            "SEEM_DEBUG=1 prints the traceback of an error."
        ),
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(describe_program)
    for verb in verbs:
        try:
            module = import_module(f"seem.cli.{verb}")
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            app.command(verb, help=NEEDS_PYTORCH, context_settings=ANY_WORDS)(
                refuse_without_pytorch(verb)
            )
            continue
        commands = getattr(module, f"{verb}_commands", None)
        if commands is not None:
            app.add_typer(commands, name=verb)
        else:
            cls = OrderedCommand if verb in VERBS_WITH_PROMPTS else TyperCommand
            app.command(verb, cls=cls)(getattr(module, f"{verb}_command"))
    return app


def refuse_without_pytorch(verb: str) -> Callable[[], None]:
    """Return a verb that says that it cannot run here."""

    def refuse() -> None:
        raise SeemError(f"seem {verb} needs PyTorch, which is not installed: pip install torch")

    return refuse


def needed_verbs(words: Sequence[str]) -> tuple[str, ...]:
    """Return the verb that a command line calls; all where it calls none, or one that there is not."""
    if words and words[0] in VERBS:
        return (words[0],)
    return VERBS


def show_version(requested: bool) -> bool:
    """Print the version and exit, if it was requested."""
    if requested:
        typer.echo(f"seem {seem.__version__}")
        raise typer.Exit
    return requested


def describe_program(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Segment anything in a photo by clicks, boxes, strokes, phrases or regions of other photos."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of this process, and return its exit code; never raises."""
    prepare_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    code = run_program(partial(call_verb, words))
    try:
        sys.stdout.flush()
    except OSError as error:
        discard_output()
        code = code or report_error(error)
    return code


def call_verb(words: Sequence[str]) -> object:
    """Run one command line and return its exit code, None for success."""
    check_no_empty_path(words)
    startup.suspend_garbage_collection()
    app = app_with(needed_verbs(words))
    startup.resume_garbage_collection()
    code: object = get_command(app).main(
        args=list(words) or ["--help"], prog_name="seem", standalone_mode=False
    )
    if code == EXIT_INTERRUPTED:  # newer versions of typer catch what older ones let through
        raise KeyboardInterrupt
    return code


def check_no_empty_path(words: Sequence[str]) -> None:
    """Raise `ValueError` for a path that is an empty text, which would mean the current folder."""
    for before, word in pairwise(["", *words]):
        option, equals, value = word.partition("=")
        is_path = before in PATH_OPTIONS or not before.startswith("--")
        if (not word and is_path) or (equals and not value and option in PATH_OPTIONS):
            about = next((name for name in (option, before) if name in PATH_OPTIONS), "An argument")
            raise ValueError(f"{about} is an empty text; name a file or a folder (. is this one).")


def prepare_streams() -> None:
    """Replace closed output streams by the null device, and let them print file names that are not valid text."""
    null_device = Path(os.devnull)
    sys.stdout = sys.stdout or null_device.open("w", encoding="utf-8")
    sys.stderr = sys.stderr or null_device.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
