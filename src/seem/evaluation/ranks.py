"""Communication between the processes that `torchrun` starts, maybe on several machines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

RANK_TIMEOUT = timedelta(days=7)  # until the slowest rank has finished


@dataclass(frozen=True, slots=True)
class Ranks:
    """The rank of this process and the number of processes; without `torchrun` it is the only one.

    Only Python objects with counts are exchanged: by gloo, also where models run on GPUs.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    @contextmanager
    def joined(cls) -> Iterator[Ranks]:
        """Join the process group, and leave it at the end."""
        if dist.is_available() and dist.is_initialized():
            yield cls(dist.get_rank(), dist.get_world_size())
        elif _is_started_by_torchrun():
            dist.init_process_group("gloo", timeout=RANK_TIMEOUT)
            try:
                yield cls(dist.get_rank(), dist.get_world_size())
            finally:
                dist.destroy_process_group()
        else:
            yield cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes the report."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.count > 1:
            dist.barrier()

    def union(self, mine: Mapping[str, str]) -> dict[str, str]:
        """Return the union of the mappings of all processes."""
        union: dict[str, str] = {}
        for theirs in self._gather(dict(mine)):
            union.update(theirs)
        return union

    def check_same(self, key: Mapping[str, Any]) -> None:
        """Raise `ValueError` unless all processes have the same key."""
        for rank, theirs in enumerate(self._gather(dict(key))):
            for name, value in key.items():
                if theirs.get(name) != value:
                    raise ValueError(
                        f"Rank {rank} has another {name} than rank {self.rank}; give all ranks the same."
                    )

    def _gather(self, mine: Any) -> list[Any]:
        """Return one object of every process, by rank."""
        if self.count == 1:
            return [mine]
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, mine)
        return gathered


def _is_started_by_torchrun() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ
