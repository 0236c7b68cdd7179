"""Several processes of this machine share the photos of a run; each has the model to itself and one thread."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

import torch

from seem.errors import SeemError
from seem.evaluation.journal import Journal, Spot
from seem.evaluation.plan import Decided, Request, plan_as
from seem.evaluation.subject import Scored

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.sharedctypes import Synchronized

PAUSE = 0.1  # seconds between two looks at the workers
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def play_in_processes(
    opener: Callable[[], Scored],
    request: Request,
    decided: Sequence[Decided],
    spots: Sequence[Spot],
    journal: Journal,
    workers: int,
    step: Callable[[int], object],
) -> None:
    """Play photos in so many processes.

    Raises what a worker raised, and `SeemError` for one that died.
    """
    context = multiprocessing.get_context("spawn")  # the same on every system, and safe beside threads
    counter: Synchronized[int] = context.Value("i", 0)
    failures: SimpleQueue[Exception] = context.SimpleQueue()
    shares = [spots[number::workers] for number in range(workers)]
    processes = [
        context.Process(
            target=work,
            args=(opener, request, tuple(decided), share, journal.folder, journal.session, counter, failures),
            daemon=True,
        )
        for share in shares
        if share
    ]
    with one_thread_each():
        for process in processes:
            process.start()
    shown = 0
    try:
        while any(process.is_alive() for process in processes) and failures.empty() and not _dead(processes):
            time.sleep(PAUSE)
            shown += _advance(step, counter.value - shown)
        if not failures.empty():
            raise failures.get()
        if lost := _dead(processes):
            raise SeemError(
                f"A worker died (exit code {lost[0].exitcode}), perhaps for want of memory; start again with fewer "
                "--workers: it goes on where it was."
            )
        _advance(step, counter.value - shown)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def work(
    opener: Callable[[], Scored],
    request: Request,
    decided: Sequence[Decided],
    spots: Sequence[Spot],
    folder: Any,
    session: str,
    counter: Synchronized[int],
    failures: SimpleQueue[Exception],
) -> None:
    """Be one of the processes."""
    from seem.evaluation.runner import play_spots  # which itself starts this one

    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interruption means
    _use_one_thread()
    parent = multiprocessing.parent_process()

    def step(number: int) -> None:
        with counter.get_lock():
            counter.value += number
        if parent is not None and not parent.is_alive():
            os._exit(1)  # nobody waits for the rest, and a new run may have begun

    try:
        model = opener()
        play_spots(model, plan_as(decided, request, model), spots, Journal(folder), step, session)
    except Exception as error:
        failures.put(_portable(error))


def _portable(error: Exception) -> Exception:
    """Word an error so that it can travel: a wrong call stays one, everything else is work that failed."""
    kind = ValueError if isinstance(error, ValueError) else SeemError
    return kind(str(error) or type(error).__name__)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)


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


def _advance(step: Callable[[int], object], number: int) -> int:
    if number:
        step(number)
    return number
