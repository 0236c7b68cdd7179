"""Errors as a person at a terminal reads them: one line on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path

import typer
from tqdm import tqdm

from seem.errors import FULL_DISK, UnusableFileError

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130

MAX_MESSAGE_CHARACTERS = 1000  # a value of ten thousand letters would hide the way out

USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[
    0
]  # has moved between versions of typer; this finds it


def report_error(error: BaseException, about: str = "") -> int:
    """Print an error in one line to standard error and return the exit code for it.

    `about` is the path of the image that was processed; it is put in front unless the message names it. With
    SEEM_DEBUG=1 the traceback is printed as well.
    """
    if os.environ.get("SEEM_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, SystemExit):  # raised by typer when the reader of our output has gone
        if isinstance(error.code, int):
            return error.code
        return EXIT_FAILED
    message, code = message_and_code(error)
    if message:
        print_error(with_path(message, about))
    return code


def with_path(message: str, path: str) -> str:
    """Put a path in front of a message unless it is there; a file name at its start is replaced by the path."""
    if path in message:
        return message
    name = Path(path).name
    if message.startswith(f"{name} "):
        return path + message.removeprefix(name)
    return f"{path}: {message}"


def message_and_code(error: BaseException) -> tuple[str, int]:
    """Return the message of an error (empty if the reader of our output has gone) and the exit code."""
    match error:
        case KeyboardInterrupt() | typer.Abort():
            return "interrupted; what was finished is kept.", EXIT_INTERRUPTED
        case USAGE_ERROR():
            return usage_message(error), EXIT_USAGE
        case UnusableFileError(is_wrong_call=False):
            return single_line(error), EXIT_FAILED
        case ValueError():
            return single_line(error), EXIT_USAGE
        case BrokenPipeError():
            return "", EXIT_FAILED
        case OSError():
            return single_line(error), EXIT_FAILED
        case MemoryError():
            return (
                "there is not enough memory; use a smaller photo or a smaller --size.",
                EXIT_FAILED,
            )
        case _:
            message = f"unexpected {type(error).__name__}: {single_line(error)} (SEEM_DEBUG=1 shows where)."
            return message, EXIT_FAILED


def usage_message(error: Exception) -> str:
    """Return the message of a wrong call with the command that prints its help."""
    message = str(getattr(error, "format_message", error.__str__)()).replace("Value error, ", "")
    verb = getattr(getattr(error, "ctx", None), "command_path", "seem")
    return f"{' '.join(message.split()).rstrip('.')}; see {verb} --help."


def single_line(error: BaseException) -> str:
    """Return the message of an error in one line of limited length, with the file that a system error is about."""
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = error.strerror
        if error.filename:
            message = f"{error.filename}: {message}"
        if error.filename and error.errno in FULL_DISK:
            message = f"Cannot write {message}; free some space or choose another folder."
    message = " ".join(message.split()) or type(error).__name__
    if len(message) <= MAX_MESSAGE_CHARACTERS:
        return message
    half = MAX_MESSAGE_CHARACTERS // 2
    return f"{message[:half]} ... {message[-half:]}"


def print_error(message: str) -> None:
    """Write one line to standard error, if it is open."""
    with suppress(OSError, ValueError):
        write_line(f"seem: {message}", to_errors=True)


def write_line(text: str, *, to_errors: bool = False) -> None:
    """Write a line at once to standard output or standard error, above the progress bar on a terminal."""
    stream = sys.stderr if to_errors else sys.stdout
    if sys.stderr.isatty():
        tqdm.write(text, file=stream)
    else:
        stream.write(f"{text}\n")
    stream.flush()


def discard_output() -> None:
    """Send what is still buffered for standard output to the null device, so that the interpreter can exit."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
