"""The report of an evaluation: what was run and its scores, as one JSON file.

Names of fields are keys of the file.
"""

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
from seem.data.readable_images import SkippedImage
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

FullImageScores: TypeAlias = InstanceResult | PanopticResult | SemanticResult
RegionScores: TypeAlias = (
    ClickResult
    | CompositionResult
    | OverlapResult
    | PromptKindResult
    | RefusalResult
    | RobustnessResult
)
SequenceScores: TypeAlias = InContextResult | VideoResult
LanguageScores: TypeAlias = CaptionResult | RetrievalResult | OpenVocabularyResult[FullImageScores]
Scores: TypeAlias = FullImageScores | RegionScores | SequenceScores | LanguageScores

PACKAGES = (
    "seem",
    "torch",
    "numpy",
    "pillow",
    "pycocotools",
    "opencv-python-headless",
    "scikit-image",
)


@dataclass(frozen=True, slots=True)
class Timing:
    """How often a step was executed and how long it took, in wall-clock time."""

    count: int
    seconds: float
    median_ms: float
    mean_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Timing:
        """Summarize the durations of a step."""
        if not seconds:
            return cls(count=0, seconds=0.0, median_ms=math.nan, mean_ms=math.nan)
        total = math.fsum(seconds)
        return cls(
            count=len(seconds),
            seconds=round(total, 3),
            median_ms=round(1000 * statistics.median(seconds), 3),
            mean_ms=round(1000 * total / len(seconds), 3),
        )


@dataclass(frozen=True, slots=True)
class WorstCase:
    """One item with a low score, for people to look at.

    Attributes:
        photo: id of the image.
        file: name of its file.
        what: identifies the item in the image.
        title: describes the item.
        iou: IoU of its prediction, 0-100.
        hw: size of the image.
        truth: the true mask as compressed COCO run-length codes.
        predicted: the predicted mask, likewise.
    """

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
    """The scores of one method on one selection under one protocol.

    Attributes:
        protocol: name of the protocol.
        contestant: name of the method that is scored: "model", with its setting, or a baseline.
        selection: the items that were scored.
        scores: the result of the metric.
        timings: durations by step.
        rules: what the name of the protocol leaves open, in words.
        counts: how often noteworthy cases occurred, such as fallbacks.
        worst: the cases with the lowest scores.
    """

    protocol: str
    contestant: str
    selection: Selection
    scores: Scores
    timings: Mapping[str, Timing]
    rules: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    worst: tuple[WorstCase, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """The model that was scored.

    Attributes:
        name: its name, and what it was fine-tuned on.
        sha256: of its weights file; None for one without.
        parameters: number of parameters.
        short_side: size of the images that the network sees, in pixels.
        long_side: its limit, in pixels.
        precision: arithmetic of the network.
        device: where it ran.
        fine_tuned_on: splits of data sets that it was fine-tuned on.
    """

    name: str
    sha256: str | None
    parameters: int
    short_side: int
    long_side: int
    precision: str
    device: str
    fine_tuned_on: tuple[FineTuningData, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that the evaluation ran on; `accelerator` is None for a CPU alone."""

    processor: str
    cores: int
    threads: int
    accelerator: str | None = None

    @classmethod
    def here(cls, threads: int, accelerator: str | None = None) -> Machine:
        """Describe this machine."""
        return cls(_processor(), os.cpu_count() or 1, threads, accelerator)


@dataclass(frozen=True, slots=True)
class DatasetDescription:
    """A data set that was scored; `fingerprint` covers the full split, not the sample of it.

    `skipped` are images that cannot be read and were left out on request; they count neither among `photos` nor in the
    fingerprint.
    """

    name: str
    split: str
    kind: str
    photos: int
    fingerprint: str
    classes: Mapping[int, str] = field(default_factory=dict)
    skipped: Sequence[SkippedImage] = ()


@dataclass(frozen=True, slots=True)
class TimeSpent:
    """Where the time went, in seconds.

    Attributes:
        wall: wall-clock time of the last run alone. All others are sums over all processes and interrupted runs.
        model: the model.
        baselines: the baselines.
        user: the simulated user, who chooses where to click.
        loop: what is left: reading images, counting, writing the journal.
        processes: number of processes.
        photos_from_earlier_runs: number of images that interrupted runs had evaluated.
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
    """A complete evaluation. Everything but times is the same when it is run again."""

    model: ModelDescription
    machine: Machine
    arguments: Mapping[str, object]
    entries: Sequence[Entry]
    seconds: float
    versions: Mapping[str, str]
    data: Sequence[DatasetDescription] = ()
    time: TimeSpent | None = None
    format: str = "seem evaluation 2"

    def to_json(self) -> str:
        """Return the report as JSON; NaN and infinity become null."""
        return (
            json.dumps(_finite(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        )

    def save(self, path: str | Path) -> None:
        """Write the report to a file: aside, then renamed."""
        out = Path(path)
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(out) as aside:
            aside.write_text(self.to_json(), encoding="utf-8")


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that can change a score."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        version = _version(name)
        if version:
            versions[name] = version
    return versions


def _processor() -> str:
    """Return the name of the processor: Linux keeps it in a file, Python knows it on other systems."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _finite(value: Any) -> Any:
    """Replace NaN and infinity in a nested structure by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
