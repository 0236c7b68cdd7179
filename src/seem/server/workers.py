"""A bounded pool of threads: work waits in a short queue, has a deadline, and stops when nobody wants it any more."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

from seem.server.problems import Problem

Answer = TypeVar("Answer")

MAX_RETRY_SECONDS = 60
INITIAL_ESTIMATE_SECONDS = 0.1  # of one piece of work, before any has been measured
SMOOTHING = 0.2  # weight of the newest duration in the moving average


class WorkCancelledError(Exception):
    """Nobody waits for this work any more."""


class ClientGoneError(Exception):
    """The client has closed the connection before its answer was there."""


class WorkerFailedError(Exception):
    """A worker was ended by something that is no error, such as `SystemExit`."""


class Cancellation:
    """Tells work in another thread to stop; `check` raises there."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work is to stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `WorkCancelledError` if the work is to stop."""
        if self.is_cancelled:
            raise WorkCancelledError


_current = threading.local()


@contextmanager
def cancelled_by(cancellation: Cancellation) -> Iterator[None]:
    """Let the network of this thread stop between its passes when `cancellation` says so."""
    _current.cancellation = cancellation
    try:
        yield
    finally:
        _current.cancellation = None


def stop_if_cancelled(_module: nn.Module | None = None, _inputs: object = None) -> None:
    """Raise `WorkCancelledError` in a thread whose work was cancelled; also a hook of modules."""
    cancellation: Cancellation | None = getattr(_current, "cancellation", None)
    if cancellation is not None:
        cancellation.check()


def make_interruptible(network: nn.Module) -> Callable[[], None]:
    """Let cancelled work stop before the next large part of a network runs; returns what undoes that."""
    handles = [part.register_forward_pre_hook(stop_if_cancelled) for part in network.children()]

    def undo() -> None:
        for handle in handles:
            handle.remove()

    return undo


class WorkerPool:
    """Threads that answer requests; `name` is that of its threads and metrics.

    At most `workers` pieces of work run and `queued` wait; more are refused with the time after which to try again.
    """

    def __init__(self, name: str, workers: int, queued: int, torch_threads: int = 1) -> None:
        self.name = name
        self.workers = workers
        self.capacity = workers + queued
        self._executor = ThreadPoolExecutor(
            workers, name, initializer=torch.set_num_threads, initargs=(torch_threads,)
        )
        self._pending: set[Cancellation] = set()
        self._lock = threading.Lock()
        self._mean_seconds = INITIAL_ESTIMATE_SECONDS
        self._is_closed = False

    @property
    def num_pending(self) -> int:
        """How many pieces of work wait or run."""
        return len(self._pending)

    def submit(self, work: Callable[[], Answer], cancellation: Cancellation) -> Future[Answer]:
        """Queue work; `Problem` if the queue is full or the pool is closed."""
        with self._lock:
            if self._is_closed:
                raise shutting_down()
            if len(self._pending) >= self.capacity:
                raise self._queue_full()
            self._pending.add(cancellation)
        try:
            future = self._executor.submit(self._guarded, work, cancellation)
        except BaseException:
            self._forget(cancellation)
            raise
        future.add_done_callback(lambda _: self._forget(cancellation))
        return future

    async def run(
        self,
        work: Callable[[], Answer],
        seconds: float,
        gone: Callable[[], Awaitable[None]] | None = None,
    ) -> Answer:
        """Do work in a thread and return its answer.

        It is cancelled after `seconds` (`Problem`), when `gone` returns (`ClientGoneError`) and when the caller is.
        """
        cancellation = Cancellation()
        answer = asyncio.wrap_future(self.submit(work, cancellation))
        answer.add_done_callback(_retrieve_error)
        waiting: set[asyncio.Future[object]] = {answer}  # type: ignore[arg-type]
        watcher = None
        if gone is not None:
            watcher = asyncio.ensure_future(gone())
            waiting.add(watcher)  # type: ignore[arg-type]
        try:
            await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return _answer_of(answer)
            if watcher is not None and watcher.done():
                raise ClientGoneError
            raise Problem(
                "deadline",
                f"There was no answer within {seconds:g} s; ask for less, or try when fewer are asking.",
            )
        finally:
            cancellation.cancel()
            answer.cancel()
            if watcher is not None:
                watcher.cancel()

    def close(self) -> None:
        """Take no more work, and let what waits or runs stop; returns when the threads have ended."""
        with self._lock:
            self._is_closed = True
            pending = list(self._pending)
        for cancellation in pending:
            cancellation.cancel()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _guarded(self, work: Callable[[], Answer], cancellation: Cancellation) -> Answer:
        """Do work in a worker's thread; nothing that it raises ends the thread or the event loop."""
        started = time.perf_counter()
        try:
            cancellation.check()
            with cancelled_by(cancellation):
                return work()
        except Exception:
            raise
        except BaseException as error:
            raise WorkerFailedError(f"{type(error).__name__}: {error}") from error
        finally:
            seconds = time.perf_counter() - started
            with self._lock:
                self._mean_seconds += SMOOTHING * (seconds - self._mean_seconds)

    def _forget(self, cancellation: Cancellation) -> None:
        with self._lock:
            self._pending.discard(cancellation)

    def _queue_full(self) -> Problem:
        seconds = math.ceil(self._mean_seconds * len(self._pending) / self.workers)
        seconds = min(max(seconds, 1), MAX_RETRY_SECONDS)
        return Problem(
            "queue-full",
            f"{len(self._pending)} requests are waiting; try again in {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )


def shutting_down() -> Problem:
    """Return the problem of work that came too late."""
    return Problem("shutting-down", "The server is shutting down; try again later.")


def _answer_of(answer: asyncio.Future[Answer]) -> Answer:
    """Return the answer of work that nobody has asked to stop but the pool itself, when it is closed."""
    if answer.cancelled():
        raise shutting_down()
    try:
        return answer.result()
    except WorkCancelledError:
        raise shutting_down() from None


def _retrieve_error(future: asyncio.Future[Answer]) -> None:
    """Look at the error of work that nobody waits for, so that asyncio does not report it."""
    if not future.cancelled():
        future.exception()
