"""Several processes of this machine share the photos of a run; each has the model to itself and one thread."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from seem.evaluation.image_loop import play_spots
from seem.evaluation.interfaces import ModelUnderTest
from seem.evaluation.journal import Journal, Spot
from seem.evaluation.plan import Decided, EvaluationRequest, plan_as
from seem.processes import run_in_processes

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized


def play_in_processes(
    opener: Callable[[], ModelUnderTest],
    request: EvaluationRequest,
    decided: Sequence[Decided],
    spots: Sequence[Spot],
    journal: Journal,
    workers: int,
    step: Callable[[int], object],
) -> None:
    """Play photos in so many processes.

    Raises what a worker raised, and `SeemError` for one that died.
    """
    counter: Synchronized[int] = multiprocessing.get_context("spawn").Value("i", 0)
    shares = [spots[number::workers] for number in range(workers)]
    shown = 0

    def advance() -> None:
        nonlocal shown
        if number := counter.value - shown:
            step(number)
            shown += number

    run_in_processes(
        work,
        [
            (opener, request, tuple(decided), share, journal.folder, journal.session, counter)
            for share in shares
            if share
        ],
        way_out="start again with fewer --workers: it goes on where it was.",
        meanwhile=advance,
    )


def work(
    opener: Callable[[], ModelUnderTest],
    request: EvaluationRequest,
    decided: Sequence[Decided],
    spots: Sequence[Spot],
    folder: Any,
    session: str,
    counter: Synchronized[int],
) -> None:
    """Be one of the processes."""

    def step(number: int) -> None:
        with counter.get_lock():
            counter.value += number

    model = opener()
    play_spots(model, plan_as(decided, request, model), spots, Journal(folder), step, session)
