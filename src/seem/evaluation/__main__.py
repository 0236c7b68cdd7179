"""`python -m seem.evaluation` is `seem evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from seem.evaluation.formatting import summary

__all__ = ["main", "summary"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `seem evaluate`, and return its exit code.

    The command line is a room above this one, so it is opened by name.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    return int(import_module("seem.cli.main").main(["evaluate", *words]))


if __name__ == "__main__":
    sys.exit(main())
