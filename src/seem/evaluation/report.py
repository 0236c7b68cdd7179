"""What was run and what came out, as one JSON file."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from seem.checkpoints.network import FineTuningData
from seem.checkpoints.safe import atomic_write
from seem.evaluation.metrics.caption import CaptionResult
from seem.evaluation.metrics.clicks import ClickResult
from seem.evaluation.metrics.composition import CompositionResult
from seem.evaluation.metrics.in_context import InContextResult
from seem.evaluation.metrics.instances import InstanceResult
from seem.evaluation.metrics.open_vocabulary import OpenVocabularyResult
from seem.evaluation.metrics.overlap import OverlapResult
from seem.evaluation.metrics.panoptic import PanopticResult
from seem.evaluation.metrics.prompt_kinds import PromptKindResult
from seem.evaluation.metrics.refusal import RefusalResult
from seem.evaluation.metrics.retrieval import RetrievalResult
from seem.evaluation.metrics.robustness import RobustnessResult
from seem.evaluation.metrics.semantic import SemanticResult
from seem.evaluation.metrics.video import VideoResult
from seem.evaluation.selection import Selection

WholePhotoScores: TypeAlias = InstanceResult | PanopticResult | SemanticResult
RegionScores: TypeAlias = (
    ClickResult | CompositionResult | OverlapResult | PromptKindResult | RefusalResult | RobustnessResult
)
SequenceScores: TypeAlias = InContextResult | VideoResult
LanguageScores: TypeAlias = CaptionResult | RetrievalResult | OpenVocabularyResult[WholePhotoScores]
Scores: TypeAlias = WholePhotoScores | RegionScores | SequenceScores | LanguageScores

PACKAGES = ("seem", "torch", "numpy", "pillow", "pycocotools", "opencv-python-headless", "scikit-image")


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a step was taken and how long it took, wall clock."""

    count: int
    seconds: float
    median_ms: float
    mean_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Sum up how long a step took every time."""
        total = math.fsum(seconds)
        return cls(
            count=len(seconds),
            seconds=round(total, 3),
            median_ms=round(1000 * statistics.median(seconds), 3) if seconds else math.nan,
            mean_ms=round(1000 * total / len(seconds), 3) if seconds else math.nan,
        )


@dataclass(frozen=True, slots=True)
class Case:
    """One item that went badly, to be looked at: masks as compressed COCO run-length codes of the photo's size."""

    photo: int
    file: str
    what: str
    title: str
    iou: float
    hw: tuple[int, int]
    truth: str
    predicted: str


@dataclass(frozen=True, slots=True)
class Entry:
    """The scores of one contestant on one selection under one protocol.

    `rules` say in words what the protocol's name leaves open. `counts` are cases worth knowing, such as fallbacks.
    `worst` are the cases that went worst.
    """

    protocol: str
    contestant: str
    selection: Selection
    scores: Scores
    timings: Mapping[str, Timing]
    rules: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: tuple[Case, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Which model answered: `sha256` is that of its weights file, sizes are in network pixels.

    `learnt` are the parts of data sets that it was fine-tuned on.
    """

    name: str
    sha256: str | None
    parameters: int
    short_side: int
    long_side: int
    precision: str
    device: str
    learnt: tuple[FineTuningData, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it ran; `accelerator` is None for a processor alone."""

    processor: str
    cores: int
    threads: int
    accelerator: str | None = None

    @classmethod
    def here(cls, threads: int, accelerator: str | None = None) -> Machine:
        """Describe this machine."""
        return cls(_processor(), os.cpu_count() or 1, threads, accelerator)


@dataclass(frozen=True, slots=True)
class DataCard:
    """Which data were asked about: `fingerprint` is that of the whole part, not of what was drawn from it."""

    name: str
    split: str
    kind: str
    photos: int
    fingerprint: str
    classes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spent:
    """Where the time went, in seconds.

    `wall` is that of the last run alone, from its first photo to its last; all others add up what all processes and
    earlier, broken runs took. `user` is the simulated user, who decides where to click; `loop` is what is left: reading
    photos, counting, keeping the journal.
    """

    wall: float
    model: float
    baselines: float
    user: float
    loop: float
    processes: int
    photos_from_earlier_runs: int = 0


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """A whole evaluation. Everything but times is the same when it is run again."""

    model: ModelCard
    machine: Machine
    arguments: Mapping[str, object]
    entries: Sequence[Entry]
    seconds: float
    versions: Mapping[str, str]
    data: Sequence[DataCard] = ()
    time: Spent | None = None
    format: str = "seem evaluation 2"

    def to_json(self) -> str:
        """Return the file's text; numbers that do not exist are null."""
        return json.dumps(_finite(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the file: aside, then renamed."""
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(place) as aside:
            aside.write_text(self.to_json(), encoding="utf-8")


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
