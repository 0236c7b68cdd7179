"""The checkpoint of a training run, `state.pt`: everything that resuming needs, in one file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from seem.checkpoints.safe import flush_to_disk
from seem.errors import SeemError, short_reason
from seem.training.config import TrainConfig
from seem.training.replicas import TrainedWeights

STATE_FILE = "state.pt"

TORCH_CHECK_PREFIX = re.compile(r"^\[enforce fail at [^\]]*\][\s.]*")
"""How errors of PyTorch's writer begin: the line of its source."""


@dataclass(slots=True)
class Progress:
    """Where a run stands: steps done, sums for the log's next row, and the best validation.

    `totals` holds (sum, count) of each loss term since the last row; `stale` counts validations since the best one.
    """

    step: int = 0
    totals: dict[str, tuple[float, int]] = field(default_factory=dict)
    best_score: float = -math.inf
    best_step: int = -1
    stale: int = 0

    def add(self, terms: Mapping[str, float]) -> None:
        """Add the loss terms of a step; not every step has every term."""
        for name, value in terms.items():
            total, count = self.totals.get(name, (0.0, 0))
            self.totals[name] = (total + value, count + 1)

    def pop_means(self) -> dict[str, float]:
        """Return the mean of every loss term since the last call, and start anew."""
        means = {name: total / count for name, (total, count) in self.totals.items()}
        self.totals = {}
        return means

    def judge(self, score: float) -> bool:
        """Record the score of a validation; return whether it is the best so far."""
        if score > self.best_score:
            self.best_score = score
            self.best_step = self.step
            self.stale = 0
            return True
        self.stale += 1
        return False


def run_state(
    tensors: Mapping[str, Any], progress: Progress, config: TrainConfig
) -> dict[str, Any]:
    """Return everything that resuming needs; `tensors` are those of model, average and optimizer."""
    return {
        **tensors,
        "step": progress.step,
        "totals": dict(progress.totals),
        "config": asdict(config),
        "best": {"score": progress.best_score, "step": progress.best_step, "stale": progress.stale},
    }


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint aside, then rename it: the one before stays until the new one is complete."""
    aside = file.with_suffix(".part")
    try:
        torch.save(dict(state), aside)
        flush_to_disk(aside)
        aside.replace(file)
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError when a disk is full
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        remaining = f"; {file} of an earlier step is whole" if file.exists() else ""
        raise SeemError(
            f"Cannot write {file} ({_reason(error)}){remaining}. Make room, then resume."
        ) from error


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return short_reason(RuntimeError(TORCH_CHECK_PREFIX.sub("", str(error))))


def resume(file: Path, weights: TrainedWeights, optimizer: torch.optim.Optimizer) -> Progress:
    """Load a checkpoint into a model, its average and its optimizer; return where the run stands."""
    state = torch.load(
        file, weights_only=True, map_location="cpu"
    )  # on whichever device it was saved
    weights.load_state(state, optimizer)
    progress = Progress(step=int(state["step"]), totals=dict(state.get("totals", {})))
    best = state.get("best")
    if not best:
        return progress
    return replace(progress, best_score=best["score"], best_step=best["step"], stale=best["stale"])


def checkpoint_step(state_file: Path) -> int:
    """Return the number of steps done when a checkpoint was written."""
    return int(torch.load(state_file, weights_only=True, mmap=True, map_location="cpu")["step"])
