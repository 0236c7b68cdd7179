"""Several processes of this machine that share one piece of work: one thread each, started and ended together."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any

from seem.errors import SeemError
from seem.worker_process import begin_worker, interrupts_blocked, one_thread_each

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

PAUSE = 0.1  # seconds between two looks at the processes


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
    _use_one_opencv_thread()
    try:
        work(*share)
    except Exception as error:
        failures.put(_portable(error))


def _use_one_opencv_thread() -> None:
    with suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)


def _portable(error: Exception) -> Exception:
    """Word an error so that it can travel: a wrong call stays one, everything else is work that failed."""
    kind = ValueError if isinstance(error, ValueError) else SeemError
    return kind(str(error) or type(error).__name__)


def _dead(processes: Sequence[BaseProcess]) -> list[BaseProcess]:
    return [process for process in processes if process.exitcode not in (None, 0)]
