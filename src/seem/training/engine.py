"""The training loop: steps, schedule, averages, validation, checkpoints.

A run is a pure function of its configuration, seed and step, so it resumes where its last checkpoint stands. Under
torchrun every process takes its share of each batch and gradients are averaged; `TrainConfig.shard` also divides
weights and optimizer between the processes.
"""

from __future__ import annotations

import copy
import gc
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from seem.checkpoints.safe import flush_to_disk
from seem.errors import SeemError
from seem.training.muon import Muon

LOG_FILE = "log.jsonl"
STATE_FILE = "state.pt"
PATIENCE = timedelta(days=1)  # with the first process, which reads all photos and scores while the others wait
HOLD = 0.7  # share of a run that keeps its learning rate under the schedule of that name


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How long, how fast, how often. A step takes `batch` photos in every process, `accumulate` times."""

    steps: int = 3000
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 150
    clip: float = 3.0
    average: float = 0.998
    """Decay of the moving average of weights, which is what is kept in the end."""
    seed: int = 0
    checkpoint_every: int = 200
    log_every: int = 20
    minutes: float = math.inf
    """Stop (with a checkpoint) when this much time has passed, whatever the step."""
    accumulate: int = 1
    schedule: Literal["cosine", "steps", "hold"] = "cosine"
    """How the learning rate falls after the warm-up: along half a cosine, to a tenth at each of `drops`, or straight
    down after the first `HOLD` of the run, so that a run can be made longer or shorter while it goes on."""
    drops: tuple[float, ...] = (0.88889, 0.96296)
    """Shares of the run at which the rate falls to a tenth (those of SEEM)."""
    rates: tuple[tuple[str, float], ...] = ()
    """Factors of the learning rate by the beginning of parameter names; the longest that fits counts."""
    betas: tuple[float, float] = (0.9, 0.98)
    optimizer: Literal["adamw", "muon"] = "adamw"
    """Muon teaches nano more per step from given weights (docs/nano/); from nothing it was not measured."""
    validate_every: int = 0
    """Steps between two validations; 0 = none."""
    patience: int = 0
    """Stop after so many validations in a row that were no better than the best; 0 = never."""
    shard: bool = False
    """Divide weights, gradients and optimizer between the processes (FSDP2) instead of keeping copies."""

    def to_json(self) -> dict[str, Any]:
        """Say it in plain values; what is endless is null."""
        return {**asdict(self), "minutes": None if math.isinf(self.minutes) else self.minutes}


StepFunction = Callable[[nn.Module, int], "tuple[Tensor, dict[str, float]]"]
Run = Callable[[int], "tuple[Tensor, dict[str, float]]"]


class DivergedError(SeemError, FloatingPointError):
    """A loss or a gradient that is not finite. The message names the step, its photos and the last good state."""


def show(row: Mapping[str, float]) -> None:
    """Print one line of the log."""
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)  # noqa: T201


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the loop asks of whoever started it, in the first process only.

    `validate(model, step)` scores the averaged weights, higher is better. `keep(model, step, score)` is called when
    they are the best so far; a run that is new has to be better than `first`. `describe(step)` names the photos of a
    step, for the message when its loss is not finite. `report(row)` is told every line of the log.
    """

    validate: Callable[[nn.Module, int], float] | None = None
    keep: Callable[[nn.Module, int, float], None] | None = None
    describe: Callable[[int], str] | None = None
    report: Callable[[Mapping[str, float]], None] = show
    first: float = -math.inf


@dataclass(slots=True)
class Progress:
    """Where a run stands: steps done, what the log's next line has gathered, the best validation.

    `stale` counts the validations since the best one.
    """

    step: int = 0
    totals: dict[str, tuple[float, int]] = field(default_factory=dict)
    best_score: float = -math.inf
    best_step: int = -1
    stale: int = 0

    def judge(self, score: float) -> bool:
        """Take note of a validation; returns whether it is the best so far."""
        better = score > self.best_score
        self.best_score, self.best_step = (score, self.step) if better else (self.best_score, self.best_step)
        self.stale = 0 if better else self.stale + 1
        return better


def world() -> tuple[int, int]:
    """Return this process's rank and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def mean_over_processes(count: float, device: torch.device) -> float:
    """Return the mean of a number over all processes; each of them must call it."""
    if world()[1] == 1:
        return float(count)
    total = torch.tensor([float(count)], device=device)
    dist.all_reduce(total)
    return float(total) / world()[1]


def under_torchrun() -> bool:
    """Return whether torchrun started this process."""
    return "RANK" in os.environ


def join_world() -> bool:
    """Join the processes that torchrun started, if it did; returns whether there was anything to join.

    On machines with CUDA each process takes the GPU of its own number there; `ValueError` if there are too few.
    """
    if not under_torchrun() or dist.is_initialized():
        return False
    if torch.cuda.is_available():
        place, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= there:
            raise ValueError(f"There is no GPU for process {place} of this machine, it has {there}; start {there}.")
        torch.cuda.set_device(place)
        dist.init_process_group("cpu:gloo,cuda:nccl", timeout=PATIENCE)
    else:
        dist.init_process_group("gloo", timeout=PATIENCE)
    return True


def leave_world() -> None:
    """Leave the processes that `join_world` joined.

    What still holds a group (a sharded network, in circles) has to go while the interpreter is whole: its threads would
    abort the process at the very end.
    """
    if dist.is_initialized():
        gc.collect()
        dist.destroy_process_group()
        gc.collect()


def train(
    model: nn.Module, step_function: StepFunction, config: TrainConfig, out: Path, hooks: Hooks = Hooks()
) -> nn.Module:
    """Run, or resume, and return the averaged model.

    `step_function(model, step)` draws its own batch from the step's number (with `accumulate` = a, numbers a * step to
    a * step + a - 1) and returns the loss and what to print. Writes `log.jsonl` and `state.pt` under `out`. Raises
    `DivergedError` (a `FloatingPointError`) on a loss or gradient that is not finite, with the last good checkpoint
    kept, and `SeemError` when a checkpoint cannot be written: the one before stays.
    """
    rank, processes = world()
    out.mkdir(parents=True, exist_ok=True)
    keep: Callable[..., None] = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=keep, use_buffers=True)
    sharded = config.shard and processes > 1
    run: Run = partial(step_function, model)
    result: nn.Module = average.module
    if sharded:
        from seem.training import sharding

        result = copy.deepcopy(average.module)
        run = sharding.divide(model, average.module, step_function)
    optimizer = make_optimizer(model, config)
    state_file = out / STATE_FILE
    progress = Progress(best_score=hooks.first, best_step=0 if hooks.first > -math.inf else -1)
    if state_file.exists():
        progress = resume(state_file, model, average, optimizer, sharded=sharded)
    if rank == 0:
        forget_after(progress.step, out)
    for p in model.parameters():  # what a step does not reach has gradient zero, not none: else a resumed run differs
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    started = time.monotonic()
    for step in range(progress.step, config.steps):
        if worn_out(progress, config):
            break
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * group.get("factor", 1.0) * schedule(step, config)
        loss, terms = gradients(run, optimizer, step, config, state_file, hooks)
        if processes > 1:
            average_gradients(sharding.undivided(model) if sharded else model.parameters(), processes)
        if sharded:
            norm = sharding.clip(model, config.clip)
        else:
            norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if not torch.isfinite(norm):
            what = f"The gradient of step {step} has length {float(norm)}"
            raise not_finite(what, numbers_of(step, config), state_file, hooks, together=True)
        optimizer.step()
        follow(average, model, config.average, sharded=sharded)
        progress.step = step + 1
        for name, value in {"seconds": time.monotonic() - began, **terms}.items():
            total, count = progress.totals.get(name, (0.0, 0))
            progress.totals[name] = (total + value, count + 1)  # not every step has every term
        if progress.step % config.log_every == 0:
            if rank == 0:
                log(out, progress.step, {name: a / b for name, (a, b) in progress.totals.items()}, hooks.report)
            progress.totals = {}
        late = agreed(time.monotonic() - started > 60 * config.minutes, loss)
        last = late or step + 1 == config.steps
        due = config.validate_every > 0 and (progress.step % config.validate_every == 0 or last)
        if due:
            if sharded:
                sharding.put_together(average.module, result)
            if rank == 0:
                validate(result, progress, hooks)
        stop = late or (due and agreed(worn_out(progress, config), loss))
        if due or progress.step % config.checkpoint_every == 0 or last or stop:
            state = (
                state_of(model, average, optimizer, progress, config, sharded=sharded) if rank == 0 or sharded else {}
            )
            if rank == 0:
                write_state(state_file, state)
        if stop:
            break
    if sharded:
        sharding.put_together(average.module, result)
    return result


def agreed(answer: bool, loss: Tensor) -> bool:
    """Return what the first process answers: clocks differ, and one that goes on alone would wait for ever."""
    if world()[1] == 1:
        return answer
    told = loss.new_tensor(answer, dtype=torch.uint8)
    dist.broadcast(told, 0)
    return bool(told)


def worn_out(progress: Progress, config: TrainConfig) -> bool:
    """Whether the last validations brought nothing."""
    return config.patience > 0 and progress.stale >= config.patience


def numbers_of(step: int, config: TrainConfig) -> range:
    """Return the numbers that a step hands to the step function."""
    return range(step * config.accumulate, (step + 1) * config.accumulate)


def gradients(
    run: Run,
    optimizer: torch.optim.Optimizer,
    step: int,
    config: TrainConfig,
    state_file: Path,
    hooks: Hooks,
) -> tuple[Tensor, dict[str, float]]:
    """Add up the gradients of a step's parts; returns the last loss and the mean terms."""
    sums: dict[str, float] = {}
    for part, number in enumerate(numbers_of(step, config)):
        try:
            loss, terms = run(number)
        except ValueError as error:  # matching notices it before the loss does
            if "overflowed" not in str(error):
                raise
            raise not_finite(f"The outputs of step {step} are not finite", [number], state_file, hooks) from error
        if not torch.isfinite(loss):
            raise not_finite(f"The loss of step {step} is {float(loss.detach())}", [number], state_file, hooks)
        if part == 0:
            optimizer.zero_grad(set_to_none=False)
        (loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value / config.accumulate
    return loss, sums


def validate(average: nn.Module, progress: Progress, hooks: Hooks) -> None:
    """Score the averaged weights, and keep them if they are the best."""
    if hooks.validate is None:
        return
    mode = average.training
    average.eval()
    score = hooks.validate(average, progress.step)
    if progress.judge(score) and hooks.keep is not None:
        hooks.keep(average, progress.step, score)
    average.train(mode)


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Decay matrices and convolutions, not norms, biases, embeddings or single vectors.

    With Muon the weights of linear layers and convolutions are its matrices; tables (queries, places) are AdamW's.
    """
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for factor in (1.0, *sorted({factor for _, factor in config.rates} - {1.0})):
        groups[factor, True], groups[factor, False] = [], []
    for name, p in model.named_parameters():
        groups[rate_of(name, config.rates), p.ndim > 1 and id(p) not in tables].append(p)
    rows = [
        {"params": members, "weight_decay": config.weight_decay if decays else 0.0, "factor": factor}
        for (factor, decays), members in groups.items()
        if members or factor == 1.0
    ]
    if config.optimizer == "muon":
        if config.shard:
            raise ValueError("Muon needs whole matrices, and `shard` divides them; use the optimizer 'adamw'.")
        return Muon(by_rule(model, rows), config.learning_rate, config.betas)
    single = False if config.shard else None  # divided and undivided tensors do not go through one kernel
    return torch.optim.AdamW(rows, lr=config.learning_rate, betas=config.betas, foreach=single)


def by_rule(model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Divide groups into those of Muon's matrices and the others; a depthwise convolution mixes nothing."""
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.MultiheadAttention))]
    layers = [m for m in layers if not (isinstance(m, nn.Conv2d) and m.groups > 1)]
    matrices = {id(p) for layer in layers for p in layer.parameters(recurse=False) if p.ndim > 1}
    return [
        {**group, "params": members, "orthogonal": orthogonal}
        for group in groups
        for orthogonal in (True, False)
        if (members := [p for p in group["params"] if (id(p) in matrices) is orthogonal])
    ]


def rate_of(name: str, rates: tuple[tuple[str, float], ...]) -> float:
    """Return the factor of a parameter's learning rate."""
    fitting = [(len(start), factor) for start, factor in rates if name.startswith(start)]
    return max(fitting)[1] if fitting else 1.0


def schedule(step: int, config: TrainConfig) -> float:
    """Return the learning rate's factor: linear warm-up, then half a cosine down to 1% (at once or late), or steps."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    if config.schedule == "steps":
        return float(0.1 ** sum(step >= drop * config.steps for drop in config.drops))
    start = max(config.warmup, int(HOLD * config.steps)) if config.schedule == "hold" else config.warmup
    if step < start:
        return 1.0
    done = (step - start) / max(config.steps - start, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def average_gradients(parameters: Iterable[nn.Parameter], processes: int) -> None:
    """Replace every gradient by the mean over processes, in one message."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= processes
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def follow(average: AveragedModel, model: nn.Module, decay: float, *, sharded: bool) -> None:
    """Move the average towards the model; the first time it becomes the model."""
    if not sharded:
        average.update_parameters(model)
        return
    from seem.training import sharding

    sharding.follow(average.module, model, decay if int(average.n_averaged) else 0.0)
    average.n_averaged += 1


def not_finite(
    what: str, numbers: Sequence[int], state_file: Path, hooks: Hooks, *, together: bool = False
) -> DivergedError:
    """Say what went wrong, with which photos, and where the last good state is.

    `together`: all processes have noticed it (they share gradients) and are here, so that all their photos are named.
    """
    kept = f"the last good state is {state_file}" if state_file.exists() else "no state was written yet"
    photos = [] if hooks.describe is None else [hooks.describe(number) for number in numbers]
    if together and world()[1] > 1:
        everybody: list[list[str]] = [[] for _ in range(world()[1])]
        dist.all_gather_object(everybody, photos)
        photos = [named for each in everybody for named in each]
    named = f" ({'; '.join(photos)})" if photos else ""
    return DivergedError(f"{what}; {kept}. Lower the learning rate or look at that step's batch{named}.")


def save(
    file: Path,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    totals: Mapping[str, tuple[float, int]],
    config: TrainConfig,
) -> None:
    """Write everything that resuming needs, aside first, then renamed."""
    write_state(file, state_of(model, average, optimizer, Progress(step, dict(totals)), config, sharded=False))


def state_of(
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    config: TrainConfig,
    *,
    sharded: bool,
) -> dict[str, Any]:
    """Gather everything that resuming needs; with divided weights all processes must call it."""
    if sharded:
        from seem.training import sharding

        tensors = sharding.gather(model, average, optimizer)
    else:
        tensors = {
            "model": model.state_dict(), "average": average.state_dict(), "optimizer": optimizer.state_dict(),
        }  # fmt: skip
    best = {"score": progress.best_score, "step": progress.best_step, "stale": progress.stale}
    return {
        **tensors,
        "step": progress.step,
        "totals": dict(progress.totals),
        "config": asdict(config),
        "best": best,
    }


def write_state(file: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint aside, then rename it: the one before stays until the new one is whole."""
    aside = file.with_suffix(".part")
    try:
        torch.save(dict(state), aside)
        flush_to_disk(aside)
        aside.replace(file)
    except (OSError, RuntimeError) as error:  # torch says RuntimeError when a disk is full
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).split(". ")[0]
        kept = f"; {file} of an earlier step is whole" if file.exists() else ""
        raise SeemError(f"Cannot write {file} ({reason}){kept}. Make room, then resume.") from error


def resume(
    file: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, *, sharded: bool = False
) -> Progress:
    """Load a checkpoint and return where its run stands."""
    state = torch.load(file, weights_only=True, map_location="cpu")  # wherever it was saved
    if sharded:
        from seem.training import sharding

        sharding.spread(state, model, average, optimizer)
    else:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    progress = Progress(int(state["step"]), dict(state.get("totals", {})))
    if best := state.get("best"):
        progress = replace(progress, best_score=best["score"], best_step=best["step"], stale=best["stale"])
    return progress


def step_of(state_file: Path) -> int:
    """Return how many steps a checkpoint has behind it."""
    return int(torch.load(state_file, weights_only=True, mmap=True, map_location="cpu")["step"])


def forget_after(step: int, out: Path) -> None:
    """Drop the lines of the log that a resumed run writes again, and one that a crash cut short."""
    file = out / LOG_FILE
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        file.write_text("".join(kept), encoding="utf-8")


def log(out: Path, step: int, terms: Mapping[str, float], report: Callable[[Mapping[str, float]], None] = show) -> None:
    """Append one line to the log and show it."""
    row = {"step": step, **{name: round(value, 4) for name, value in terms.items()}}
    with (out / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    report(row)
