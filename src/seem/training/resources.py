"""Memory and disk of this machine: how much is available, and how much a piece of work needs."""

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
FALLBACK_BYTES = 4 << 30  # taken to be available where the system does not tell


@dataclass(slots=True)
class PeakMemory:
    """Bytes that a piece of work needed at its peak, over what was in use before; 0 where it cannot be measured."""

    peak: int = 0


def available_bytes(device: torch.device) -> int:
    """Return how much memory a process may still take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    available = _proc_bytes(PROC / "meminfo", "MemAvailable")
    limits = [FALLBACK_BYTES if available is None else available]
    in_group = _available_in_control_group()
    if in_group is not None:
        limits.append(in_group)
    return max(0, min(limits))


def _available_in_control_group() -> int | None:
    """Return what the limit of a container leaves; None without a limit."""
    with suppress(OSError, ValueError):
        limit = (CGROUP / "memory.max").read_text().strip()
        used = (CGROUP / "memory.current").read_text().strip()
        if limit != "max":
            return int(limit) - int(used)
    return None


@contextmanager
def measure_peak_memory(device: torch.device) -> Iterator[PeakMemory]:
    """Measure the memory that a block needs at its peak."""
    memory = PeakMemory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield memory
        memory.peak = torch.cuda.max_memory_allocated(device) - before
        return
    with suppress(OSError):  # Linux resets the peak on request
        (PROC / "self" / "clear_refs").write_text("5")
    status = PROC / "self" / "status"
    before = _proc_bytes(status, "VmRSS") or 0
    yield memory
    peak = _proc_bytes(status, "VmHWM") or 0
    memory.peak = max(0, peak - before)


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise `SeemError` if a disk has less than `needed` free bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SeemError(
            f"{folder} has {free / 1e6:.0f} MB free, the run needs about {needed / 1e6:.0f} MB; make room or choose "
            "another --out."
        )


def _proc_bytes(file: Path, key: str) -> int | None:
    """Return a size in bytes from a file of /proc, which gives kilobytes; None if it is not there."""
    with suppress(OSError, ValueError, IndexError):
        for line in file.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) * 1024
    return None
