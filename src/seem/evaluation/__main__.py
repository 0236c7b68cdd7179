"""`python -m seem.evaluation` is `seem evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seem evaluate` and return its exit code.

    The command line is a layer above this one, so it is imported by name.
    """
    command_line = sys.argv[1:] if arguments is None else arguments
    return int(import_module("seem.cli.main").main(["evaluate", *command_line]))


if __name__ == "__main__":
    sys.exit(main())
