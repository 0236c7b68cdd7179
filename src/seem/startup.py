"""The first second of the command line, in which modules are imported: it is short and can be interrupted quietly.

Imported first by the package, so it imports little itself. Does nothing in programs that import the package.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from itertools import pairwise

PROGRAM = "seem"
STARTED_BY_MULTIPROCESSING = "--multiprocessing-fork"
ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def started_module() -> str | None:
    """Return which module of the package this process runs; None where it runs another program.

    "seem" for the command `seem` and for `python -m seem`, else a name such as "seem.recipes.tower".
    """
    if STARTED_BY_MULTIPROCESSING in sys.orig_argv:
        return None  # the process that started this one says how it ended
    started_as = sys.argv[0] if sys.argv else ""
    if started_as == "-m":  # what runpy leaves there while it imports the package
        modules = [name for flag, name in pairwise(sys.orig_argv) if flag == "-m"]
        return next((name for name in modules if name.partition(".")[0] == PROGRAM), None)
    name = os.path.basename(started_as)  # noqa: PTH119  (pathlib takes longer to import than all of this)
    return PROGRAM if name.partition(".")[0] == PROGRAM else None


def is_command_line() -> bool:
    """Tell whether this process was started as `seem`, or as `python -m seem` or a module of it."""
    return started_module() is not None


def end_without_traceback(number: int, _frame: object) -> None:
    """Say that the program ends, and end it: an exception may be lost in what is being imported."""
    with suppress(OSError):
        os.write(2, b"seem: interrupted.\n")
    os._exit(128 + number)


def watch_signals() -> None:
    """End quietly by every signal that ends programs, unless it is ignored, as under nohup."""
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)  # no SIGHUP on Windows
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            with suppress(ValueError):  # not the main thread
                signal.signal(number, end_without_traceback)


def suspend_garbage_collection() -> None:
    """Collect no garbage while the command line imports what it needs; `resume_garbage_collection` ends that."""
    if is_command_line():
        gc.disable()  # looking for garbage takes a tenth of the time of the imports


def resume_garbage_collection() -> None:
    """Collect garbage again after the package was imported: there is none among imports, and they stay."""
    if is_command_line() and not gc.isenabled():
        gc.freeze()
        gc.enable()


if is_command_line():
    watch_signals()
    suspend_garbage_collection()

    if started_module() == PROGRAM:
        from seem.deferred_imports import defer_compiler_rules

        defer_compiler_rules()
