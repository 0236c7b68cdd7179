"""The training loop: steps, averaged weights, validation, checkpoints.

A run is a pure function of its configuration, seed and step, so it resumes where its last checkpoint stands. Under
torchrun every process takes its share of each batch and gradients are averaged; `TrainConfig.shard` also divides
weights and optimizer between the processes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from seem.errors import SeemError
from seem.training.checkpoint import STATE_FILE, Progress, resume, run_state, write_state
from seem.training.config import TrainConfig
from seem.training.distributed import (
    average_gradients,
    decide_together,
    gather_lists,
    rank_and_world_size,
)
from seem.training.optimizer import make_optimizer, schedule
from seem.training.replicas import ReplicatedWeights, StepFunction, TrainedWeights
from seem.training.run_log import append_to_log, print_log_row, truncate_log


class DivergedError(SeemError, FloatingPointError):
    """A loss or a gradient that is not finite. The message names the step, its images and the last good checkpoint."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop calls; apart from `describe`, in the first process only.

    `validate(model, step)` scores the averaged weights, higher is better. `save_best(model, step, score)` is called
    when they are the best so far; a new run has to be better than `initial_score`. `describe(number)` names the images
    of a step, for the message when its loss is not finite. `report(row)` gets every row of the log.
    """

    validate: Callable[[nn.Module, int], float] | None = None
    save_best: Callable[[nn.Module, int, float], None] | None = None
    describe: Callable[[int], str] | None = None
    report: Callable[[Mapping[str, float]], None] = print_log_row
    initial_score: float = -math.inf


def run_training(
    model: nn.Module,
    step_function: StepFunction,
    config: TrainConfig,
    out: Path,
    hooks: Hooks = Hooks(),
) -> nn.Module:
    """Train a model, or resume its run in the folder `out`; return the model with averaged weights.

    `step_function(model, number)` draws its own batch from the number of the step (with `accumulate` = a, numbers
    a * step to a * step + a - 1) and returns the loss and its terms for the log. Writes `log.jsonl` and `state.pt`
    under `out`.

    Raises:
        DivergedError: a loss or gradient is not finite; the last good checkpoint stays.
        SeemError: a checkpoint cannot be written; the one before stays.
    """
    out.mkdir(parents=True, exist_ok=True)
    return _TrainingRun(_hold_weights(model, step_function, config), config, out, hooks).go()


def _hold_weights(
    model: nn.Module, step_function: StepFunction, config: TrainConfig
) -> TrainedWeights:
    _, world_size = rank_and_world_size()
    if not config.shard or world_size == 1:
        return ReplicatedWeights(model, step_function, config.average)
    from seem.training.sharding import ShardedWeights

    return ShardedWeights(model, step_function, config.average)


class _TrainingRun:
    """One sitting of a run: from its last checkpoint, or its start, to its end or until the time is up."""

    def __init__(
        self, weights: TrainedWeights, config: TrainConfig, out: Path, hooks: Hooks
    ) -> None:
        self.weights = weights
        self.config = config
        self.out = out
        self.hooks = hooks
        self.rank, self.world_size = rank_and_world_size()
        self.device = next(weights.model.parameters()).device
        self.optimizer = make_optimizer(weights.model, config)
        self.state_file = out / STATE_FILE
        self.progress = self._begin()
        self.started = time.monotonic()

    def _begin(self) -> Progress:
        """Load the last checkpoint, if there is one."""
        if self.state_file.exists():
            progress = resume(self.state_file, self.weights, self.optimizer)
        elif self.hooks.initial_score > -math.inf:
            progress = Progress(best_score=self.hooks.initial_score, best_step=0)
        else:
            progress = Progress()
        if self.rank == 0:
            truncate_log(self.out, progress.step)
        for p in (
            self.weights.model.parameters()
        ):  # zero, not None, where a step has no gradient: so does a resumed run
            p.grad = torch.zeros_like(p) if p.requires_grad else None
        return progress

    def go(self) -> nn.Module:
        """Run the steps that are left; return the model with averaged weights."""
        while self.progress.step < self.config.steps and not self._out_of_patience():
            self._step(self.progress.step)
            self._log()
            if self._end_step():
                break
        return self.weights.averaged_model()

    def _step(self, step: int) -> None:
        """Compute gradients, move the weights and their average."""
        started = time.monotonic()
        for group in self.optimizer.param_groups:
            group["lr"] = (
                self.config.learning_rate * group.get("factor", 1.0) * schedule(step, self.config)
            )
        terms = self._compute_gradients(step)
        if self.world_size > 1:
            average_gradients(self.weights.replicated_parameters(), self.world_size)
        norm = self.weights.clip_gradients(self.config.clip)
        if not torch.isfinite(norm):
            raise self._diverged(
                f"The gradient of step {step} has length {float(norm)}",
                self._numbers(step),
                all_processes=True,
            )
        self.optimizer.step()
        self.weights.update_average()
        self.progress.step = step + 1
        self.progress.add({"seconds": time.monotonic() - started, **terms})

    def _compute_gradients(self, step: int) -> dict[str, float]:
        """Add up the gradients of a step's parts; return the mean of each loss term."""
        means: dict[str, float] = {}
        for part, number in enumerate(self._numbers(step)):
            loss, terms = self._compute_loss(step, number)
            if part == 0:
                self.optimizer.zero_grad(set_to_none=False)
            (loss / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                means[name] = means.get(name, 0.0) + value / self.config.accumulate
        return means

    def _compute_loss(self, step: int, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of one part of a step and its terms; `DivergedError` if it is not finite."""
        try:
            loss, terms = self.weights.run_step(number)
        except ValueError as error:  # matching notices infinite outputs before the loss does
            if "overflowed" not in str(error):
                raise
            raise self._diverged(f"The outputs of step {step} are not finite", [number]) from error
        if not torch.isfinite(loss):
            raise self._diverged(f"The loss of step {step} is {float(loss.detach())}", [number])
        return loss, terms

    def _log(self) -> None:
        """Write a row of the log, if one is due."""
        is_last = self.progress.step == self.config.steps
        if self.progress.step % self.config.log_every and not is_last:
            return
        means = self.progress.pop_means()
        if self.rank == 0:
            self.hooks.report(append_to_log(self.out, self.progress.step, means))

    def _end_step(self) -> bool:
        """Validate and write a checkpoint, if they are due; return whether to stop."""
        step, config = self.progress.step, self.config
        time_is_up = decide_together(
            time.monotonic() - self.started > 60 * config.minutes, self.device
        )
        is_last = time_is_up or step == config.steps
        validates = config.validate_every > 0 and (is_last or step % config.validate_every == 0)
        stops = time_is_up
        if validates:
            self._validate()
            stops = time_is_up or decide_together(self._out_of_patience(), self.device)
        if validates or is_last or stops or step % config.checkpoint_every == 0:
            self._write_checkpoint()
        return stops

    def _validate(self) -> None:
        """Score the averaged weights, and save them if they are the best."""
        model = self.weights.averaged_model()
        if self.rank != 0 or self.hooks.validate is None:
            return
        with _evaluation_mode(model):
            score = self.hooks.validate(model, self.progress.step)
            if self.progress.judge(score) and self.hooks.save_best is not None:
                self.hooks.save_best(model, self.progress.step, score)

    def _write_checkpoint(self) -> None:
        tensors = self.weights.state(self.optimizer)
        if self.rank == 0:
            write_state(self.state_file, run_state(tensors, self.progress, self.config))

    def _out_of_patience(self) -> bool:
        """Return whether the last validations brought nothing better."""
        return self.config.patience > 0 and self.progress.stale >= self.config.patience

    def _numbers(self, step: int) -> range:
        """Return the numbers that a step hands to the step function."""
        return range(step * self.config.accumulate, (step + 1) * self.config.accumulate)

    def _diverged(
        self, problem: str, numbers: Sequence[int], *, all_processes: bool = False
    ) -> DivergedError:
        """Make the error that names the problem, the images of the step, and the last good checkpoint.

        `all_processes`: all of them have noticed the problem (they share gradients) and are here, so that the images of
        all can be named.
        """
        images = (
            []
            if self.hooks.describe is None
            else [self.hooks.describe(number) for number in numbers]
        )
        if all_processes:
            images = gather_lists(images)
        named = f" ({'; '.join(images)})" if images else ""
        if self.state_file.exists():
            last_good = f"the last good state is {self.state_file}"
        else:
            last_good = "no state was written yet"
        return DivergedError(
            f"{problem}; {last_good}. Lower the learning rate or look at that step's batch{named}."
        )


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.eval()
    yield
    model.train(was_training)
