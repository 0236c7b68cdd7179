"""The pool of workers: queue, deadline, cancellation, and work that dies."""

import asyncio
import threading
import time

import pytest
import torch

from seem.server.problems import Problem
from seem.server.workers import (
    Cancellation,
    ClientGoneError,
    WorkCancelledError,
    WorkerFailedError,
    WorkerPool,
    cancelled_by,
    make_interruptible,
)


@pytest.fixture
def pool():
    pool = WorkerPool("test", workers=1, queued=2)
    yield pool
    pool.close()


class Gate:
    """Work that waits until it may go on."""

    def __init__(self):
        self.has_begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self):
        self.has_begun.set()
        assert self.may_end.wait(20)
        return "done"


def kind_of(caught) -> str:
    assert isinstance(caught, Problem), caught
    return caught.kind


def test_work_is_done_in_another_thread(pool):
    name = asyncio.run(pool.run(lambda: threading.current_thread().name, 5))
    assert name.startswith("test")
    assert pool.num_pending == 0


def test_errors_of_work_reach_the_caller(pool):
    with pytest.raises(ZeroDivisionError):
        asyncio.run(pool.run(lambda: 1 // 0, 5))


def test_a_full_queue_refuses_and_says_when_to_come_back(pool):
    async def fill():
        gate = Gate()
        running = [asyncio.create_task(pool.run(gate, 20))]
        await asyncio.to_thread(gate.has_begun.wait)
        running += [asyncio.create_task(pool.run(lambda: "queued", 20)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await pool.run(lambda: "late", 20)
        gate.may_end.set()
        return caught.value, await asyncio.gather(*running)

    problem, answers = asyncio.run(fill())
    assert (kind_of(problem), problem.status_code) == ("queue-full", 429)
    assert 1 <= int(problem.headers["Retry-After"]) <= 60
    assert answers == ["done", "queued", "queued"]
    assert asyncio.run(pool.run(lambda: "free again", 5)) == "free again"


def test_a_deadline_ends_the_wait_and_stops_queued_work(pool):
    ran = []

    async def overrun():
        gate = Gate()
        long = asyncio.create_task(pool.run(gate, 20))
        await asyncio.to_thread(gate.has_begun.wait)
        with pytest.raises(Problem) as caught:
            await pool.run(lambda: ran.append(1), 0.05)
        gate.may_end.set()
        await long
        return caught.value

    assert kind_of(asyncio.run(overrun())) == "deadline"
    assert asyncio.run(pool.run(lambda: "next", 5)) == "next"
    assert ran == []


def test_a_client_that_leaves_cancels_its_work(pool):
    stopped = threading.Event()
    current = Cancellation()

    def work():
        while not current.is_cancelled:
            time.sleep(0.005)
        stopped.set()

    async def leave():
        async def gone():
            await asyncio.sleep(0.05)

        submit = pool.submit
        pool.submit = lambda work, cancellation: remember(submit, work, cancellation)
        with pytest.raises(ClientGoneError):
            await pool.run(work, 20, gone)

    def remember(submit, work, cancellation):
        nonlocal current
        current = cancellation
        return submit(work, cancellation)

    asyncio.run(leave())
    assert stopped.wait(5)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_a_worker_that_dies_is_an_error_and_the_pool_lives_on(pool, error):
    def die():
        raise error

    with pytest.raises(WorkerFailedError, match=type(error).__name__):
        asyncio.run(pool.run(die, 5))
    assert asyncio.run(pool.run(lambda: "alive", 5)) == "alive"


def test_a_closed_pool_stops_what_runs_and_refuses_the_rest():
    pool = WorkerPool("test", workers=1, queued=2)

    async def close():
        begun = threading.Event()
        current = []

        def work():
            begun.set()
            while True:
                current[0].check()
                time.sleep(0.005)

        submit = pool.submit

        def remember(work, cancellation):
            current.append(cancellation)
            return submit(work, cancellation)

        pool.submit = remember
        running = asyncio.create_task(pool.run(work, 20))
        await asyncio.to_thread(begun.wait)
        queued = asyncio.create_task(pool.run(lambda: None, 20))
        await asyncio.sleep(0)
        await asyncio.to_thread(pool.close)
        answers = await asyncio.gather(running, queued, return_exceptions=True)
        with pytest.raises(Problem) as caught:
            await pool.run(lambda: None, 1)
        return [*answers, caught.value]

    assert [kind_of(error) for error in asyncio.run(close())] == ["shutting-down"] * 3


def test_a_cancelled_network_stops_before_its_next_part():
    network = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity())
    undo = make_interruptible(network)
    cancellation = Cancellation()
    with cancelled_by(cancellation):
        network(torch.zeros(1))
        cancellation.cancel()
        with pytest.raises(WorkCancelledError):
            network(torch.zeros(1))
    network(torch.zeros(1))
    with cancelled_by(cancellation):
        undo()
        network(torch.zeros(1))
