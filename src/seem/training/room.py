"""How much memory there is, and how much a piece of work takes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from seem.errors import SeemError

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
UNKNOWN = 4 << 30  # bytes taken to be free where the system does not tell


@dataclass(slots=True)
class Taken:
    """Bytes that a piece of work needed at its peak, over what was in use before; 0 where it cannot be told."""

    peak: int = 0


def free_bytes(device: torch.device) -> int:
    """Return how much memory a process may still take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _proc_kilobytes(PROC / "meminfo", "MemAvailable")
    limits = []
    with suppress(OSError, ValueError):
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        limits = [int(limit) - int(used)] if limit != "max" else []
    return max(0, min([UNKNOWN if free is None else free, *limits]))


@contextmanager
def measured(device: torch.device) -> Iterator[Taken]:
    """Measure the peak of the memory that a block takes."""
    taken = Taken()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield taken
        taken.peak = torch.cuda.max_memory_allocated(device) - before
        return
    with suppress(OSError):  # Linux forgets the old peak on request
        (PROC / "self" / "clear_refs").write_text("5")
    before = _proc_kilobytes(PROC / "self" / "status", "VmRSS") or 0
    yield taken
    taken.peak = max(0, (_proc_kilobytes(PROC / "self" / "status", "VmHWM") or 0) - before)


def check_disk(folder: Path, needed: int) -> None:
    """Raise `SeemError` if a disk has less room than `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SeemError(
            f"{folder} has {free / 1e6:.0f} MB free, the run needs about {needed / 1e6:.0f} MB; make room or choose "
            "another --out."
        )


def _proc_kilobytes(file: Path, key: str) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None
