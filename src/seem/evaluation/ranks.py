"""The processes that `torchrun` starts, maybe on several machines: what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch.distributed as dist

PATIENCE = timedelta(days=7)  # until the slowest rank has finished


@dataclass(frozen=True, slots=True)
class Ranks:
    """How many processes there are, and which of them this one is; without `torchrun` the only one.

    Only counts travel, as Python objects: by gloo, also where models run on GPUs.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    @contextmanager
    def joined(cls) -> Iterator[Ranks]:
        """Meet the others."""
        if dist.is_available() and dist.is_initialized():
            yield cls(dist.get_rank(), dist.get_world_size())
        elif int(os.environ.get("WORLD_SIZE", "1")) > 1 and "MASTER_ADDR" in os.environ:
            dist.init_process_group("gloo", timeout=PATIENCE)
            try:
                yield cls(dist.get_rank(), dist.get_world_size())
            finally:
                dist.destroy_process_group()
        else:
            yield cls()

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait for the others."""
        if self.count > 1:
            dist.barrier()

    def union(self, mine: Mapping[str, str]) -> dict[str, str]:
        """Join what all have, by its name."""
        return {name: text for theirs in self._all(dict(mine)) for name, text in theirs.items()}

    def check_same(self, key: Mapping[str, Any]) -> None:
        """Raise `ValueError` unless all are about to run the same."""
        for rank, theirs in enumerate(self._all(dict(key))):
            if theirs != key:
                what = next(name for name in key if theirs.get(name) != key[name])
                raise ValueError(f"Rank {rank} has another {what} than rank {self.rank}; give all ranks the same.")

    def _all(self, mine: Any) -> list[Any]:
        if self.count == 1:
            return [mine]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, mine)
        return found
