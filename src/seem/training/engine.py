"""The training loop: steps, schedule, averages, checkpoints.

A run is a pure function of its configuration, seed and step, so it resumes where its last checkpoint stands. Under
torchrun every process takes its share of each batch and gradients are averaged.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

LOG_FILE = "log.jsonl"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How long, how fast, how often. A step takes `batch` photos in every process."""

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


StepFunction = Callable[[nn.Module, int], "tuple[Tensor, dict[str, float]]"]


def world() -> tuple[int, int]:
    """Return this process's rank and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def join_world() -> None:
    """Join the processes that torchrun started, if it did."""
    if "RANK" in os.environ and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")


def train(model: nn.Module, step_function: StepFunction, config: TrainConfig, out: Path) -> nn.Module:
    """Run, or resume, and return the averaged model.

    `step_function(model, step)` draws its own batch from the step's number and returns the loss and what to print.
    Writes `log.jsonl` and `state.pt` under `out`. Raises `FloatingPointError` on a loss or gradient that is not finite,
    with the last good checkpoint kept.
    """
    rank, processes = world()
    out.mkdir(parents=True, exist_ok=True)
    optimizer = make_optimizer(model, config)
    keep: Callable[..., None] = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=keep, use_buffers=True)
    state_file = out / "state.pt"
    first, totals = resume(state_file, model, average, optimizer) if state_file.exists() else (0, {})
    if rank == 0:
        forget_after(first, out)
    for p in model.parameters():  # what a step does not reach has gradient zero, not none: else a resumed run differs
        p.grad = torch.zeros_like(p) if p.requires_grad else None
    started = time.monotonic()
    for step in range(first, config.steps):
        began = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, config)
        loss, terms = step_function(model, step)
        if not torch.isfinite(loss):
            raise not_finite(f"The loss of step {step} is {float(loss.detach())}", state_file)
        optimizer.zero_grad(set_to_none=False)
        loss.backward()  # type: ignore[no-untyped-call]
        if processes > 1:
            average_gradients(model, processes)
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise not_finite(f"The gradient of step {step} has length {float(norm)}", state_file)
        optimizer.step()
        average.update_parameters(model)
        for name, value in {"seconds": time.monotonic() - began, **terms}.items():
            totals[name] = totals.get(name, 0.0) + value / config.log_every
        if (step + 1) % config.log_every == 0:
            if rank == 0:
                log(out, step + 1, totals)
            totals = {}
        late = loss.new_tensor(time.monotonic() - started > 60 * config.minutes, dtype=torch.uint8)
        if processes > 1:
            dist.broadcast(late, 0)  # clocks differ, and a process that goes on alone would wait for ever
        if rank == 0 and ((step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps or late):
            save(state_file, model, average, optimizer, step + 1, totals, config)
        if late:
            break
    return average.module


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Decay matrices and convolutions, not norms, biases, embeddings or single vectors."""
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decayed = [p for p in model.parameters() if p.ndim > 1 and id(p) not in tables]
    chosen = {id(p) for p in decayed}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.98))


def schedule(step: int, config: TrainConfig) -> float:
    """Return the learning rate's factor: linear warm-up, then half a cosine down to 1%."""
    if step < config.warmup:
        return (step + 1) / config.warmup
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def average_gradients(model: nn.Module, processes: int) -> None:
    """Replace every gradient by the mean over processes, in one message."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= processes
    for gradient, part in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view(gradient.shape))


def not_finite(what: str, state_file: Path) -> FloatingPointError:
    """Say what went wrong and where the last good state is."""
    kept = f"the last good state is {state_file}" if state_file.exists() else "no state was written yet"
    return FloatingPointError(f"{what}; {kept}. Lower the learning rate or look at that step's batch.")


def save(
    file: Path,
    model: nn.Module,
    average: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    totals: Mapping[str, float],
    config: TrainConfig,
) -> None:
    """Write everything that resuming needs, aside first, then renamed."""
    aside = file.with_suffix(".part")
    state = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "totals": dict(totals),
        "config": asdict(config),
    }
    torch.save(state, aside)
    aside.replace(file)


def resume(
    file: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, float]]:
    """Load a checkpoint and return the step to go on with, and what the log's next line has gathered so far."""
    state = torch.load(file, weights_only=True)
    model.load_state_dict(state["model"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), dict(state.get("totals", {}))


def forget_after(step: int, out: Path) -> None:
    """Drop the lines of the log that a resumed run writes again, and one that a crash cut short."""
    file = out / LOG_FILE
    if file.exists():
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        file.write_text("".join(kept), encoding="utf-8")


def log(out: Path, step: int, terms: Mapping[str, float]) -> None:
    """Append one line to the log and show it."""
    row = {"step": step, **{name: round(value, 4) for name, value in terms.items()}}
    with (out / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)  # noqa: T201
