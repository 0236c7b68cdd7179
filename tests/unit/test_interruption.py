"""Interruptions of the command line: while it imports, while it works, by Ctrl-C and by other signals."""

import os
import signal
import subprocess
import sys

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
import seem
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
        (["-m"], ["python", "-m", "pytest"], False),
        (["train.py"], ["python", "train.py"], False),
        ([""], ["python"], False),
    ],
)
def test_only_the_command_line_watches_signals(monkeypatch, argv, orig_argv, expected):
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", orig_argv)
    assert is_command_line() == expected
