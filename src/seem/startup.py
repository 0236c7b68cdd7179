"""The first second of the command line, in which modules are imported: it is short and can be interrupted quietly.

Imported first by the package. Does nothing in programs that import the package.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType

PROGRAM = "seem"
ENDING_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
COMPILING_VERBS = ("train", "finetune")  # whose optimizers may use PyTorch's compiler

COMPILER_RULES = "torch._meta_registrations"
"""What PyTorch imports for its compiler alone: a quarter of its start, with all that this module imports."""

COMPILERS = ("torch._dynamo", "torch._inductor")
"""Modules that need the rules before they are imported themselves."""


def is_command_line() -> bool:
    """Tell whether this process was started as `seem` or as `python -m seem`."""
    started_as = sys.argv[0] if sys.argv else ""
    if started_as == "-m":  # what runpy leaves there while it imports the package
        arguments = sys.orig_argv
        return PROGRAM in [
            arguments[i + 1] for i in range(len(arguments) - 1) if arguments[i] == "-m"
        ]
    return Path(started_as).stem == PROGRAM


def end_without_traceback(number: int, _frame: FrameType | None) -> None:
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


# --- Imports ----------------------------------------------------------------------------------------------------------


class DeferredModule(ModuleType):
    """A module that is executed when something of it is first asked for."""

    def __getattr__(self, name: str) -> object:
        """Execute the module at the first name that it has to define itself."""
        if name.startswith("__"):
            raise AttributeError(name)
        execute(self)
        return getattr(self, name)


def execute(module: DeferredModule) -> None:
    """Execute a module that was deferred."""
    spec = module.__spec__
    assert spec is not None
    assert isinstance(spec.loader, DeferringLoader)
    module.__class__ = ModuleType  # type: ignore[assignment]  # a module like any other from now on
    spec.loader = module.__loader__ = spec.loader.loader
    spec.loader.exec_module(module)


class DeferringLoader(Loader):
    """Defers the execution of a module that another loader executes."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the other loader make the module."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty for now."""
        module.__class__ = DeferredModule


class DeferringFinder(MetaPathFinder):
    """Defers the rules of PyTorch's compiler, until a compiler is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return where the rules are, with a loader that defers them; None for every other module."""
        if fullname != COMPILER_RULES:
            rules = sys.modules.get(COMPILER_RULES)
            if fullname in COMPILERS and isinstance(rules, DeferredModule):
                execute(rules)
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = DeferringLoader(spec.loader)
        return spec


def defer_compiler_rules() -> None:
    """Defer what only training may need."""
    if not any(verb in COMPILING_VERBS for verb in sys.argv[1:2]):
        sys.meta_path.insert(0, DeferringFinder())


def pause_garbage_collection() -> None:
    """Collect no garbage while the package is imported: there is none, and looking for it takes a tenth of the time."""
    gc.disable()


def resume_garbage_collection() -> None:
    """Collect garbage again, if it was paused; what has been imported stays and is not searched any more."""
    if not gc.isenabled() and is_command_line():
        gc.freeze()
        gc.enable()


if is_command_line():
    watch_signals()
    defer_compiler_rules()
    pause_garbage_collection()
