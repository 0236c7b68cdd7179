"""Signals that end the command line: each is an interrupt, so that what was finished is kept."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from seem.startup import ENDING_SIGNALS


@contextmanager
def signals_as_interrupts() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` for signals that end programs; yields the list of those that came.

    A signal that is ignored, as SIGHUP under nohup, stays ignored.
    """
    received: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)  # no SIGHUP on Windows
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        with suppress(ValueError):  # not the main thread, which alone gets signals
            before[number] = signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
