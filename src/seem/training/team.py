"""Training by several processes of this machine, one core each, without `torchrun`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.distributed as dist

from seem.processes import run_in_processes
from seem.training.engine import PATIENCE, join_world, leave_world


def together(count: int, work: Callable[..., object], *arguments: Any) -> None:
    """Run `work(*arguments)` in so many processes that form one world.

    One alone runs it here, in the world of `torchrun` where that has started this process.

    Two processes of one thread get through nearly twice the photos of one process with two: most of a step of a small
    model are small operations, which gain little from a second thread.

    Raises what a process raised, worded as `seem.processes.spread` says.
    """
    if count == 1:
        joined = join_world()
        try:
            work(*arguments)
        finally:
            if joined:
                leave_world()
        return
    with tempfile.TemporaryDirectory(prefix="seem-") as folder:  # the processes find each other by a file in it
        meeting = Path(folder) / "meeting"
        run_in_processes(
            _belong,
            [(meeting, rank, count, work, arguments) for rank in range(count)],
            way_out="try fewer --processes, and go on with --resume where it was.",
        )


def _belong(meeting: Path, rank: int, count: int, work: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    store = dist.FileStore(str(meeting), count)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=PATIENCE)
    work(*arguments)
    leave_world()  # not after an error: that has to be told before the others notice that this one is gone
