"""What a person at a terminal is told when something is wrong: one line, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import typer
from tqdm import tqdm

FAILED, USAGE, INTERRUPTED = 1, 2, 130  # exit codes

LONGEST = 1000  # characters of a line; a value of ten thousand letters would bury the way out

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]  # has moved between versions of typer; this finds it


def explain(error: BaseException, about: str = "") -> int:
    """Say on standard error, in one line, what went wrong; returns the exit code.

    `about` is the photo at hand; it is put in front unless the error names it. SEEM_DEBUG=1 shows the trace as well.
    """
    if os.environ.get("SEEM_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, SystemExit):  # of typer: whoever read our output has gone
        return error.code if isinstance(error.code, int) else FAILED
    text, code = worded(error)
    if text and about not in text:
        name = Path(about).name  # which many an error begins with: it gets its folder
        text = f"{about}{text[len(name) :]}" if text.startswith(f"{name} ") else f"{about}: {text}"
    if text:
        complain(text)
    return code


def worded(error: BaseException) -> tuple[str, int]:
    """Return what to say about an error (nothing, if nobody listens any more) and the exit code."""
    match error:
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted; what was finished is kept.", INTERRUPTED
        case USAGE_ERROR():
            return usage_line(error), USAGE
        case ValueError():
            return one_line(error), USAGE
        case BrokenPipeError():
            return "", FAILED
        case OSError():
            return one_line(error), FAILED
        case MemoryError():
            return "there is not enough memory; use a smaller photo or a smaller --size.", FAILED
        case _:
            return f"unexpected {type(error).__name__}: {one_line(error)} (SEEM_DEBUG=1 shows where).", FAILED


def usage_line(error: Exception) -> str:
    """Word a wrong call, and where its rules stand."""
    message = str(getattr(error, "format_message", error.__str__)()).replace("Value error, ", "")
    verb = getattr(getattr(error, "ctx", None), "command_path", "seem")
    return f"{' '.join(message.split()).rstrip('.')}; see {verb} --help."


def one_line(error: BaseException) -> str:
    """Word an error in one line, not too long, with the file that the system complains about."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(text.split()) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"


def complain(line: str) -> None:
    """Write one line to standard error, if there is one."""
    with suppress(OSError, ValueError):
        write_line(f"seem: {line}", to_errors=True)


def write_line(text: str, *, to_errors: bool = False) -> None:
    """Write a line at once to standard output or error, above the progress bar where one is watched."""
    stream = sys.stderr if to_errors else sys.stdout
    if sys.stderr.isatty():
        tqdm.write(text, file=stream)
    else:
        stream.write(f"{text}\n")
    stream.flush()


def abandon_output() -> None:
    """Send what is still in the buffer of standard output nowhere: it takes no more, and the interpreter must end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
