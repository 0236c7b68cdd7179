"""`seem`: the verbs, and what every one of them owes its caller, an exit code and one line when something is wrong."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

import seem
from seem.cli.convert import convert
from seem.cli.models import models
from seem.cli.prompts import InOrder
from seem.cli.segment import segment

FAILED, USAGE, INTERRUPTED = 1, 2, 130  # exit codes
LONGEST = 1000  # characters of an error; a value of ten thousand letters would bury the way out

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]  # has moved between versions of typer; this finds it

app = typer.Typer(
    help="Segment anything in a picture by saying, clicking or showing what you mean.",
    epilog="Exit codes: 0, 1 for work that failed, 2 for a wrong call. SEEM_DEBUG=1 shows where an error comes from.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command(cls=InOrder, no_args_is_help=True)(segment)
app.command()(models)
app.command(no_args_is_help=True)(convert)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's own) and return its exit code; no exception leaves."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may hold bytes that are no text
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = get_command(app).main(args=words or ["--help"], prog_name="seem", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:
        if os.environ.get("SEEM_DEBUG"):
            traceback.print_exc()
        return explain(error)
    return code if isinstance(code, int) else 0


def explain(error: BaseException) -> int:
    """Say on standard error, in one line, what went wrong; returns the exit code."""
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return complain("interrupted; what was finished is kept.", INTERRUPTED)
    if isinstance(error, SystemExit):  # the reader of our output has gone, see below
        return error.code if isinstance(error.code, int) else FAILED
    if isinstance(error, USAGE_ERROR):
        return explain_usage(error)
    if isinstance(error, ValueError):
        return complain(one_line(error), USAGE)
    if isinstance(error, OSError):
        abandon_output()
        quiet = isinstance(error, BrokenPipeError)
        return FAILED if quiet else complain(one_line(error), FAILED)
    if isinstance(error, MemoryError):
        return complain("there is not enough memory; use a smaller photo or --size.", FAILED)
    return complain(f"{unexpected(error)}; SEEM_DEBUG=1 shows where.", FAILED)


def explain_usage(error: Exception) -> int:
    """Say what is wrong with a call, and where its rules are; a bare verb shows them right away."""
    context = getattr(error, "ctx", None)
    text = str(getattr(error, "format_message", error.__str__)())
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{text}\n" if text.strip() else "")
        return USAGE
    verb = getattr(context, "command_path", "seem")
    return complain(f"{' '.join(text.split()).rstrip('.')}; see {verb} --help.", USAGE)


def complain(line: str, code: int) -> int:
    """Write one line to standard error; returns the exit code."""
    with suppress(OSError):
        sys.stderr.write(f"seem: {line}\n")
    return code


def one_line(error: BaseException) -> str:
    """Word an error in one line, not too long, with the file that the system complains about."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def unexpected(error: BaseException) -> str:
    """Word an error that nobody foresaw."""
    return f"unexpected {type(error).__name__}: {one_line(error)}"


def abandon_output() -> None:
    """Let the interpreter end in silence although standard output takes no more."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
