"""Interruptions of the command line: while it imports, while it works, by Ctrl-C and by other signals."""

import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from seem.cli import interruption, main
from seem.startup import is_command_line

INTERRUPTED_WHILE_IMPORTING = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os.kill(os.getpid(), int(sys.argv[1]))
sys.argv[0] = "bin/seem"
sys.meta_path.insert(0, Interrupting())
import seem.loading
"""

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
posix = pytest.mark.skipif(os.name != "posix", reason="signals of other systems differ")


@pytest.fixture(autouse=True)
def signals_that_end_programs():
    """Set the signals as a terminal has them: a program that runs in the background inherits some as ignored."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        ends = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, ends)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_modules_are_imported_is_one_line(number):
    command = [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING, str(int(number))]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (128 + number, "")
    assert ran.stderr == "seem: interrupted.\n"


@posix
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_every_signal_that_ends_programs_keeps_what_was_finished(monkeypatch, capfd, number, code):
    finished = []

    def work(*arguments, **options):
        try:
            os.kill(os.getpid(), number)
        finally:
            finished.append("the file so far")

    monkeypatch.setattr(
        main, "get_command", lambda app: typer.main.get_command(interrupted_app(work))
    )
    before = signal.getsignal(number)
    assert main.main(["work"]) == code
    assert capfd.readouterr().err.strip() == "seem: interrupted; what was finished is kept."
    assert finished == ["the file so far"]
    assert signal.getsignal(number) == before


def interrupted_app(work):
    app = typer.Typer()
    app.command("work")(lambda: work())
    app.callback()(lambda: None)
    return app


@posix
def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption.signals_as_interrupts() as received:
            os.kill(os.getpid(), signal.SIGHUP)
        assert received == []
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("argv", "orig_argv", "expected"),
    [
        (["/usr/bin/seem", "segment"], ["python", "/usr/bin/seem"], True),
        (["-m", "segment"], ["python", "-W", "ignore", "-m", "seem", "segment"], True),
        (["-m", "photo.png"], ["python", "-m", "seem.cli.demo", "photo.png"], True),
        (["-m"], ["python", "-m", "pytest"], False),
        (["train.py"], ["python", "train.py"], False),
        ([""], ["python"], False),
    ],
)
def test_only_the_command_line_watches_signals(monkeypatch, argv, orig_argv, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert is_command_line() == expected


@posix
def test_a_signal_that_comes_twice_breaks_off_nothing(monkeypatch, capfd):
    """`timeout` sends a signal to a program and to its group."""
    finished = []

    def work():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            finished.append("put in order")

    monkeypatch.setattr(
        main, "get_command", lambda app: typer.main.get_command(interrupted_app(work))
    )
    assert main.main(["work"]) == 128 + signal.SIGTERM
    assert finished == ["put in order"]
    assert capfd.readouterr().err.strip() == "seem: interrupted; what was finished is kept."


INTERRUPTED_AGAIN = """
import os, signal, time
from seem.cli import interruption
interruption.REPEAT_SECONDS = 0.0
with interruption.signals_as_interrupts():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
"""


@posix
def test_a_later_signal_ends_the_program_at_once():
    command = [sys.executable, "-c", INTERRUPTED_AGAIN]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert (ran.returncode, ran.stderr) == (130, "seem: interrupted.\n")


class Interrupting:
    """Is interrupted where Python drops exceptions."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(10))  # where the signal is noticed


@posix
def test_an_interrupt_that_a_finalizer_drops_comes_again(monkeypatch, capfd):
    def work():
        Interrupting()
        for _ in range(1000):
            time.sleep(0.01)
        raise AssertionError("the interrupt was lost")

    monkeypatch.setattr(
        main, "get_command", lambda app: typer.main.get_command(interrupted_app(work))
    )
    hook = sys.unraisablehook
    assert main.main(["work"]) == 130
    assert capfd.readouterr().err.strip() == "seem: interrupted; what was finished is kept."
    assert sys.unraisablehook == hook


@posix
def test_a_signal_while_an_error_is_reported_is_one_line_more(monkeypatch, capfd):
    report = interruption.report_error

    def report_late(error, about=""):
        if not isinstance(error, KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        return report(error, about)

    monkeypatch.setattr(interruption, "report_error", report_late)
    assert main.main(["nothing"]) == 128 + signal.SIGTERM
    assert "Traceback" not in capfd.readouterr().err


def test_processes_that_others_start_leave_signals_alone(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bin/seem"])
    command = ["python", "-c", "from multiprocessing.spawn import spawn_main"]
    monkeypatch.setattr(sys, "orig_argv", [*command, "--multiprocessing-fork"])
    assert not is_command_line()
