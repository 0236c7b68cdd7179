"""What a user asks of a fine-tuning run; checked before anything is opened."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seem.training.config import TrainConfig
from seem.training.objectives.published_config import Ablation
from seem.training.parts import check_parts, learning_rate_factors

SIZE_STEP = 32  # pixels; the canvas of every network is a multiple of it
MAX_SIZE = 4096  # pixels
MAX_SEED = 2**63 - 1  # what PyTorch takes
MAX_STEPS, MAX_BATCH = 10**9, 2**16

RESUME_OPTIONS = (
    "minutes",
    "steps",
    "learning_rate",
    "freeze",
    "size",
    "batch",
    "seed",
    "patience",
    "shard",
    "rates",
    "scratch",
)
"""Fields of a request that a resumed run must repeat."""


@dataclass(frozen=True, slots=True)
class FineTuningRequest:
    """What a user asks for. None leaves the decision to the plan of the run, which reports it.

    Attributes:
        data: data sets as KIND:PATH or PATH, each with an optional weight, such as "bricks*2".
        out: folder of the run.
        model: what to start from: the name of a model, a file of weights, or the folder of a run.
        minutes: time for training and validation; scores before and after come on top.
        steps: number of training steps.
        learning_rate: highest learning rate.
        freeze: parts of the network that are not trained.
        size: side of the training canvas in pixels.
        batch: images of a step in each process.
        device: "cpu", "cuda", "cuda:1", ...
        seed: random seed of the validation split, of sampling, and of random weights.
        patience: validations without progress after which the run stops, 0 = never. None: 4, from random weights 0.
        shard: divide the weights between the processes of torchrun.
        epochs: passes over the training images, where neither `steps` nor `minutes` is given.
        rates: pairs (part of the network, factor of its learning rate).
        scratch: start from random weights, to measure what the given ones are worth.
    """

    data: tuple[str, ...]
    out: Path
    model: str = "nano"
    minutes: float | None = None
    steps: int | None = None
    learning_rate: float | None = None
    freeze: tuple[str, ...] | None = None
    size: int | None = None
    batch: int | None = None
    device: str | None = None
    seed: int = 0
    patience: int | None = None
    shard: bool = False
    epochs: int | None = None
    rates: tuple[tuple[str, float], ...] = ()
    scratch: bool = False

    def check(self) -> None:
        """Raise `ValueError` for the first value that no run can have."""
        if not self.data:
            raise ValueError("There is no data set to train on; name one with --data KIND:PATH.")
        self._check_positive_numbers()
        self._check_size()
        if self.batch == 1:
            raise ValueError(
                "--batch is 1; images are drawn in pairs, of which one may be the other's reference: use 2."
            )
        if (self.patience or 0) < 0 or self.seed < 0:
            raise ValueError("--patience and --seed must be 0 or more.")
        if self.seed > MAX_SEED:
            raise ValueError(f"--seed is {self.seed}; it may be {MAX_SEED} at most.")
        check_parts(self.freeze or ())
        self._check_rates()

    def _check_positive_numbers(self) -> None:
        options = {
            "--minutes": self.minutes,
            "--steps": self.steps,
            "--batch": self.batch,
            "--learning-rate": self.learning_rate,
        }
        for option, value in options.items():
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{option} is {value}; it must be more than 0.")
        for option, most in (("--steps", MAX_STEPS), ("--batch", MAX_BATCH)):
            value = options[option]
            if value is not None and value > most:
                raise ValueError(f"{option} is {value}; it may be {most} at most.")

    def _check_size(self) -> None:
        if self.size is None:
            return
        if self.size < SIZE_STEP or self.size % SIZE_STEP:
            raise ValueError(
                f"--size is {self.size}; it must be a multiple of {SIZE_STEP}, such as 224."
            )
        if self.size > MAX_SIZE:
            raise ValueError(
                f"--size is {self.size}; the canvas may have at most {MAX_SIZE} pixels a side."
            )

    def _check_rates(self) -> None:
        for prefix, factor in learning_rate_factors(dict(self.rates)):
            if not 0 < factor < math.inf:
                raise ValueError(
                    f"--rate {prefix.rstrip('.')}={factor:g}: the factor must be more than 0; to keep a part as it is, "
                    "use --freeze."
                )

    def resume_options(self) -> dict[str, Any]:
        """Return the options that a resumed run must repeat, as JSON holds them."""
        values = asdict(self)
        options = {name: values[name] for name in RESUME_OPTIONS}
        return dict(json.loads(json.dumps(options)))


@dataclass(frozen=True, slots=True)
class PublishedRecipe:
    """Settings of a published training run; they replace those of fine-tuning.

    Attributes:
        config: optimizer, schedule and batch size, for what the request leaves open.
        ablation: which parts of the published objective are trained.
        finer_masks: LVIS folder; its masks replace those of objects whose boxes match.
    """

    config: TrainConfig
    ablation: Ablation = field(default_factory=Ablation)
    finer_masks: Path | None = None
