"""What was run and what came out, as one JSON file."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from seem.evaluation.metrics.clicks import ClickResult
from seem.evaluation.metrics.overlap import OverlapResult
from seem.evaluation.metrics.panoptic import PanopticResult
from seem.evaluation.metrics.refusal import RefusalResult
from seem.evaluation.metrics.semantic import SemanticResult
from seem.evaluation.selection import Selection

Scores: TypeAlias = ClickResult | OverlapResult | PanopticResult | RefusalResult | SemanticResult

PACKAGES = ("seem", "torch", "numpy", "pillow", "pycocotools", "opencv-python-headless", "scikit-image")


class Stopwatch:
    """Adds up the time of one kind of step."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time a block."""
        started = time.perf_counter()
        yield
        self._seconds.append(time.perf_counter() - started)

    def read(self) -> Timing:
        """Return what was measured so far."""
        total = math.fsum(self._seconds)
        return Timing(
            count=len(self._seconds),
            seconds=round(total, 3),
            median_ms=round(1000 * statistics.median(self._seconds), 3) if self._seconds else math.nan,
            mean_ms=round(1000 * total / len(self._seconds), 3) if self._seconds else math.nan,
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a step was taken and how long it took, wall clock."""

    count: int
    seconds: float
    median_ms: float
    mean_ms: float


@dataclass(frozen=True, slots=True)
class Entry:
    """The scores of one contestant on one selection under one protocol.

    `rules` say in words what the protocol's name leaves open. `counts` are cases worth knowing, such as fallbacks.
    """

    protocol: str
    contestant: str
    selection: Selection
    scores: Scores
    timings: Mapping[str, Timing]
    rules: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model answered: `sha256` is that of its weights file, sizes are in network pixels."""

    name: str
    sha256: str | None
    parameters: int
    short_side: int
    long_side: int
    precision: str
    device: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran."""

    processor: str
    cores: int
    threads: int

    @classmethod
    def here(cls, threads: int) -> Machine:
        """Describe this machine."""
        return cls(_processor(), os.cpu_count() or 1, threads)


@dataclass(frozen=True, slots=True)
class Report:
    """A whole evaluation. Everything but `timings` and `seconds` is the same when it is run again."""

    model: ModelCard
    machine: Machine
    arguments: Mapping[str, object]
    entries: Sequence[Entry]
    seconds: float
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """Return the file's text; numbers that do not exist are null."""
        return json.dumps(_finite(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the file: aside, then renamed."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{place.name}.part")
        aside.write_text(self.to_json(), encoding="utf-8")
        aside.replace(place)


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide about a score."""
    packages = {name: _version(name) for name in PACKAGES}
    return {"python": platform.python_version()} | {name: found for name, found in packages.items() if found}


def _processor() -> str:
    """Name the processor; Python knows it on some systems, Linux keeps it in a file."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
