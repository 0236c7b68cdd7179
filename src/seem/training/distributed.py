"""Several processes that train one model: started here or by `torchrun`, and what they exchange."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from seem.part_files import temporary_folder
from seem.processes import run_in_processes

GROUP_TIMEOUT = timedelta(
    days=1
)  # the first process reads all images and validates while the others wait


def run_distributed(count: int, work: Callable[..., object], *arguments: Any) -> None:
    """Run `work(*arguments)` in `count` processes of this machine that form one process group.

    A count of 1 runs it in this process, in the process group of `torchrun` if that has started this process.

    Two processes of one thread get through nearly twice the images of one process with two threads: most of a step of a
    small model are small operations, which gain little from a second thread.

    Raises what a process raised, worded as `seem.processes.run_in_processes` says.
    """
    if count == 1:
        joined = join_world()
        try:
            work(*arguments)
        finally:
            if joined:
                leave_world()
        return
    with temporary_folder() as folder:
        store_file = folder / "store"  # through this file the processes find each other
        shares = [(store_file, rank, count, work, arguments) for rank in range(count)]
        run_in_processes(
            _run_as_member,
            shares,
            way_out="try fewer --processes, and go on with --resume where it was.",
        )


def _run_as_member(
    store_file: Path, rank: int, count: int, work: Callable[..., object], arguments: tuple[Any, ...]
) -> None:
    store = dist.FileStore(str(store_file), count)  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=GROUP_TIMEOUT)
    work(*arguments)
    leave_world()  # not after an error: that must be reported before the other processes notice that this one is gone


def under_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "RANK" in os.environ


def join_world() -> bool:
    """Join the process group of `torchrun`, if it started this process; return whether there was one to join.

    On machines with CUDA each process takes the GPU of its local rank; `ValueError` if there are too few.
    """
    if not under_torchrun() or dist.is_initialized():
        return False
    if not torch.cuda.is_available():
        dist.init_process_group("gloo", timeout=GROUP_TIMEOUT)
        return True
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    num_gpus = torch.cuda.device_count()
    if local_rank >= num_gpus:
        raise ValueError(
            f"There is no GPU for process {local_rank} of this machine, it has {num_gpus}; start {num_gpus}."
        )
    torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl", timeout=GROUP_TIMEOUT)
    return True


def leave_world() -> None:
    """Leave the process group that `join_world` joined.

    Objects that still hold a group (a sharded network, in reference cycles) have to be collected while the interpreter
    is complete: their threads would abort the process at exit.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()
        gc.collect()


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes: (0, 1) without a process group."""
    if not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def mean_over_processes(count: float, device: torch.device) -> float:
    """Return the mean of a number over all processes; each of them must call it."""
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return float(count)
    total = torch.tensor([float(count)], device=device)
    dist.all_reduce(total)
    return float(total) / world_size


def decide_together(decision: bool, device: torch.device) -> bool:
    """Return the decision of the first process on all of them; each must call it.

    Clocks differ, and a process that goes on alone would wait for ever.
    """
    if rank_and_world_size()[1] == 1:
        return decision
    shared = torch.tensor(decision, dtype=torch.uint8, device=device)
    dist.broadcast(shared, 0)
    return bool(shared)


def gather_lists(items: list[str]) -> list[str]:
    """Return the items of all processes, by rank; each of them must call it."""
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return items
    lists: list[list[str]] = [[]] * world_size
    dist.all_gather_object(lists, items)
    return list(itertools.chain.from_iterable(lists))


def average_gradients(parameters: Iterable[nn.Parameter], processes: int) -> None:
    """Replace every gradient by the mean over processes, in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= processes
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(mean.view(gradient.shape))
