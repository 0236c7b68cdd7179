"""The settings of a training run: length, learning rate, optimizer, validation, checkpoints."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

HOLD_SHARE = 0.7  # of a run keeps its learning rate under the schedule "hold"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How long, how fast, how often. A step takes `batch` images in every process, `accumulate` times."""

    steps: int = 3000
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 150
    clip: float = 3.0
    """Largest norm of the gradient; a longer one is scaled down to it."""
    average: float = 0.998
    """Decay of the moving average of weights, which is the result of a run."""
    seed: int = 0
    checkpoint_every: int = 200
    log_every: int = 20
    minutes: float = math.inf
    """Stop (with a checkpoint) after this much time, whatever the step."""
    accumulate: int = 1
    schedule: Literal["cosine", "steps", "hold"] = "cosine"
    """How the learning rate falls after the warm-up: along half a cosine ("cosine"), to a tenth at each of `drops`
    ("steps"), or along half a cosine that begins after `HOLD_SHARE` of the run ("hold"), so that a run can be made
    longer or shorter while it goes on."""
    drops: tuple[float, ...] = (0.88889, 0.96296)
    """Shares of the run at which the rate falls to a tenth (those of SEEM)."""
    rates: tuple[tuple[str, float], ...] = ()
    """Pairs (prefix of parameter names, factor of the learning rate); the longest matching prefix counts."""
    betas: tuple[float, float] = (0.9, 0.98)
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Muon teaches nano more per step from given weights (docs/nano/); from random weights it was not measured."""
    validate_every: int = 0
    """Steps between two validations; 0 = none."""
    patience: int = 0
    """Stop after so many validations in a row that were no better than the best; 0 = never."""
    shard: bool = False
    """Divide weights, gradients and optimizer between the processes (FSDP2) instead of keeping copies."""

    def to_json(self) -> dict[str, Any]:
        """Return all settings as plain values; an unlimited time is null."""
        minutes = None if math.isinf(self.minutes) else self.minutes
        return {**asdict(self), "minutes": minutes}
