"""Several processes of this machine that share one piece of work: one thread each, started and ended together."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import torch

from seem.errors import SeemError

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

PAUSE = 0.1  # seconds between two looks at the processes
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_in_processes(
    work: Callable[..., object],
    shares: Sequence[tuple[Any, ...]],
    *,
    way_out: str,
    meanwhile: Callable[[], object] = lambda: None,
) -> None:
    """Run `work(*share)` for every share, each in a process of its own with one thread; returns when all are done.

    `work` and the shares have to be picklable. `meanwhile` is called here while they work. The first error ends all:
    a `ValueError` stays one, everything else becomes a `SeemError`; so does a process that died, with `way_out` as
    advice. Processes do not outlive this one, even if it is killed.
    """
    context = multiprocessing.get_context(
        "spawn"
    )  # the same on every system, and safe beside threads
    failures: SimpleQueue[Exception] = context.SimpleQueue()
    processes = [
        context.Process(target=_be_one, args=(work, share, failures), daemon=True)
        for share in shares
    ]
    with one_thread_each(), interrupts_blocked():
        for process in processes:
            process.start()
    try:
        while (
            any(process.is_alive() for process in processes)
            and failures.empty()
            and not _dead(processes)
        ):
            time.sleep(PAUSE)
            meanwhile()
        if not failures.empty():
            raise failures.get()
        if lost := _dead(processes):
            raise SeemError(
                f"A process died (exit code {lost[0].exitcode}), perhaps for want of memory; {way_out}"
            )
        meanwhile()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _be_one(
    work: Callable[..., object], share: tuple[Any, ...], failures: SimpleQueue[Exception]
) -> None:
    begin_worker()
    try:
        work(*share)
    except Exception as error:
        failures.put(_portable(error))


def begin_worker(num_threads: int = 1) -> None:
    """Prepare a process that works for another: it ends with that one, and leaves interruptions to it."""
    with suppress(ValueError):
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # the parent decides what an interruption means
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    _use_threads(num_threads)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody waits for the rest, and the work may have been begun anew


def _portable(error: Exception) -> Exception:
    """Word an error so that it can travel: a wrong call stays one, everything else is work that failed."""
    kind = ValueError if isinstance(error, ValueError) else SeemError
    return kind(str(error) or type(error).__name__)


def _use_threads(count: int) -> None:
    torch.set_num_threads(count)
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(count)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Start processes that Ctrl-C never reaches, also while they import; it reaches this one afterwards."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Let processes that are started meanwhile begin with one thread."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _dead(processes: Sequence[BaseProcess]) -> list[BaseProcess]:
    return [process for process in processes if process.exitcode not in (None, 0)]
