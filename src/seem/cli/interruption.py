"""Signals that end the command line: the first is an interrupt, so that what was finished is kept."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from seem.cli.errors import EXIT_INTERRUPTED, report_error
from seem.startup import ENDING_SIGNALS, end_without_traceback

REPEAT_SECONDS = 1.0  # `timeout` and terminals may send a signal twice
RETRY_SECONDS = 0.05


class Interrupter:
    """Raises `KeyboardInterrupt` at the first signal, which is enough to end a run.

    A further one within `REPEAT_SECONDS` would only break off what is being put in order; a later one ends the program
    at once. `received` are the numbers of the signals that were raised.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._hook_before = sys.unraisablehook
        self._first_time = 0.0
        self._is_lost = False

    def set_hook(self) -> None:
        """Be told of exceptions that Python drops."""
        sys.unraisablehook = self.take_unraisable

    def restore_hook(self) -> None:
        """Let exceptions that Python drops be printed as before."""
        sys.unraisablehook = self._hook_before

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self._is_lost or not self.received:
            self._is_lost = False
            self._first_time = time.monotonic()
            self.received.append(number)
            raise KeyboardInterrupt
        if time.monotonic() - self._first_time > REPEAT_SECONDS:
            end_without_traceback(number, frame)

    def take_unraisable(self, unraisable: Any) -> None:
        """Raise an interrupt again that came where Python drops exceptions (a finalizer); print others as usual."""
        if not self.received or not issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._hook_before(unraisable)
            return
        self._is_lost = True
        number = self.received[-1]
        timer = threading.Timer(RETRY_SECONDS, _thread.interrupt_main, (number,))
        timer.daemon = True
        timer.start()


@contextmanager
def signals_as_interrupts() -> Iterator[list[int]]:
    """Raise `KeyboardInterrupt` for signals that end programs; yields the list of those that came.

    A signal that is ignored, as SIGHUP under nohup, stays ignored.
    """
    interrupter = Interrupter()
    before: dict[int, Any] = {}
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)  # no SIGHUP on Windows
        if number is None or signal.getsignal(number) == signal.SIG_IGN:
            continue
        with suppress(ValueError):  # not the main thread, which alone gets signals
            before[number] = signal.signal(number, interrupter.handle)
    interrupter.set_hook()
    try:
        yield interrupter.received
    finally:
        interrupter.restore_hook()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupts_put_off() -> Iterator[None]:
    """Put off signals that end programs until a block has ended: what belongs together is written whole.

    A further one after `REPEAT_SECONDS` ends the program at once.
    """
    held: list[int] = []
    times: list[float] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if times and time.monotonic() - times[0] > REPEAT_SECONDS:
            end_without_traceback(number, frame)
        held.append(number)
        times.append(time.monotonic())

    before: dict[int, Any] = {}
    for name in ENDING_SIGNALS:
        number = getattr(signal, name, None)
        if number is None or not callable(signal.getsignal(number)):
            continue
        with suppress(ValueError):  # not the main thread, which alone gets signals
            before[number] = signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])


def run_program(work: Callable[[], object]) -> int:
    """Run the work of a program and return its exit code: what the work returns, if it is a number.

    Errors are reported and never raised; a signal ends the work as an interrupt, with the code that shells give it.
    """
    received: list[int] = []
    try:
        with signals_as_interrupts() as received:
            code = _call(work)
    except KeyboardInterrupt as error:  # while an error was reported
        code = report_error(error)
    if code == EXIT_INTERRUPTED and received:
        return 128 + received[0]
    return code


def _call(work: Callable[[], object]) -> int:
    try:
        code = work()
    except BaseException as error:
        return report_error(error)
    return code if isinstance(code, int) else 0
