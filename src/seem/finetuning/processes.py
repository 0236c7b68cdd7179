"""How many processes of this machine train, and where they wait for each other."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist

from seem.finetuning.plan import read_plan
from seem.finetuning.request import FineTuningRequest
from seem.finetuning.run_folder import RUN_FILE, check_run_folder
from seem.folder_lock import check_not_in_use
from seem.loading import usable_device
from seem.training.distributed import rank_and_world_size, under_torchrun

MAX_DEFAULT_PROCESSES = 8  # each holds the model and the images


def process_count(
    request: FineTuningRequest,
    requested: int | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> int:
    """Return how many processes of this machine train: as many as requested, or as the resumed run began with.

    By default one for each core on a CPU (`seem.training.distributed` says why), one on an accelerator, and one where
    `torchrun` has started this process.
    """
    _check_processes(request, requested)
    check_not_in_use(request.out)
    if requested is not None:
        return requested
    if under_torchrun():
        return 1
    if (request.out / RUN_FILE).is_file() and not overwrite:
        check_run_folder(request.out, resume=resume, overwrite=overwrite)
        return read_plan(request).processes
    if usable_device(request.device).type != "cpu":
        return 1
    return min(torch.get_num_threads(), MAX_DEFAULT_PROCESSES)


def _check_processes(request: FineTuningRequest, requested: int | None) -> None:
    """Raise `ValueError` for a number of processes that cannot be started."""
    if requested is not None and requested < 1:
        raise ValueError(f"--processes is {requested}; it must be 1 or more.")
    if requested is not None and requested > max(MAX_DEFAULT_PROCESSES, os.cpu_count() or 1):
        raise ValueError(
            f"--processes is {requested}; this machine has {os.cpu_count()} cores, one for each is best."
        )
    if request.shard and not under_torchrun():
        raise ValueError(
            "--shard divides the weights between processes of torchrun; start it so, or leave it away."
        )
    if requested is not None and requested > 1 and under_torchrun():
        raise ValueError("torchrun has started the processes already; leave --processes away.")


def wait_for_all_processes() -> None:
    """Wait until all processes of the run are here."""
    if rank_and_world_size()[1] > 1:
        dist.barrier()
