"""The training loop: a stopped run goes on as if nothing had happened, and several processes train as one."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from seem.errors import SeemError
from seem.training.checkpoint import write_state
from seem.training.config import TrainConfig
from seem.training.distributed import (
    join_world,
    leave_world,
    mean_over_processes,
    rank_and_world_size,
)
from seem.training.engine import DivergedError, Hooks, run_training
from seem.training.optimizer import make_optimizer, schedule

CONFIG = TrainConfig(
    steps=9, learning_rate=0.1, warmup=2, average=0.5, checkpoint_every=4, log_every=3
)


class Toy(nn.Module):
    """`rare` takes part in every third step only, as object queries do."""

    def __init__(self, with_statistics: bool = True):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4) if with_statistics else nn.LayerNorm(4)
        self.last = nn.Linear(4, 1)
        self.rare = nn.Linear(4, 1)


def toy(with_statistics=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Toy(with_statistics).train()


def rows_of(step):
    return torch.randn(4, 3, generator=torch.Generator().manual_seed(step))


def step_on(rows, model, step):
    hidden = model.norm(model.first(rows)).relu()
    answer = model.last(hidden) + (model.rare(hidden) if step % 3 == 0 else 0.0)
    loss = (answer - rows.sum(dim=1, keepdim=True)).square().mean()
    return loss, {"loss": float(loss.detach())}


def a_step(model, step):
    return step_on(rows_of(step), model, step)


class PulledPlug(Exception):
    pass


def until(last, problem=PulledPlug):
    def step(model, number):
        if number == last:
            raise problem
        return a_step(model, number)

    return step


def state_of(out):
    return torch.load(out / "state.pt", weights_only=True)


def log_of(out):
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def assert_same(left, right):
    """Compare nested states bit by bit."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        for name in left:
            assert_same(left[name], right[name])
    elif isinstance(left, list):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, torch.Tensor):
        assert torch.equal(left, right)
    else:
        assert left == right


# ------------------------------------------------------------------------------------------------ stopping, going on


@pytest.mark.parametrize("stopped_at", [1, 4, 5, 7, 8])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, stopped_at):
    unbroken = run_training(toy(), a_step, CONFIG, tmp_path / "unbroken")
    with pytest.raises(PulledPlug):
        run_training(toy(), until(stopped_at), CONFIG, tmp_path / "stopped")
    resumed = run_training(toy(), a_step, CONFIG, tmp_path / "stopped")
    assert_same(resumed.state_dict(), unbroken.state_dict())
    left, right = state_of(tmp_path / "stopped"), state_of(tmp_path / "unbroken")
    assert left.pop("totals").keys() == right.pop("totals").keys()
    assert_same(left, right)
    assert log_of(tmp_path / "stopped") == log_of(tmp_path / "unbroken")
    assert [row["step"] for row in log_of(tmp_path / "stopped")] == [3, 6, 9]


def test_a_run_of_many_short_sittings_is_the_same_run(tmp_path):
    unbroken = run_training(toy(), a_step, CONFIG, tmp_path / "unbroken")
    for sitting in range(1, CONFIG.steps + 1):
        resumed = run_training(toy(), a_step, replace(CONFIG, minutes=0.0), tmp_path / "short")
        assert state_of(tmp_path / "short")["step"] == sitting
    assert_same(resumed.state_dict(), unbroken.state_dict())
    assert log_of(tmp_path / "short") == log_of(tmp_path / "unbroken")


def test_a_run_whose_time_is_up_is_scored_where_it_stops(tmp_path):
    scored = []
    hooks = Hooks(validate=lambda network, step: scored.append(step) or float(step))
    run_training(toy(), a_step, replace(CONFIG, minutes=0.0, validate_every=5), tmp_path, hooks)
    assert scored == [1]
    run_training(toy(), a_step, replace(CONFIG, validate_every=5), tmp_path, hooks)
    assert scored == [1, 5, CONFIG.steps]


def test_a_finished_run_is_not_touched(tmp_path):
    finished = run_training(toy(), a_step, CONFIG, tmp_path)
    before = (tmp_path / "state.pt").read_bytes(), (tmp_path / "log.jsonl").read_bytes()
    again = run_training(toy(), until(0), CONFIG, tmp_path)
    assert_same(again.state_dict(), finished.state_dict())
    assert ((tmp_path / "state.pt").read_bytes(), (tmp_path / "log.jsonl").read_bytes()) == before


def test_a_log_line_cut_short_by_a_crash_is_dropped(tmp_path):
    with pytest.raises(PulledPlug):
        run_training(toy(), until(5), CONFIG, tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    run_training(toy(), a_step, CONFIG, tmp_path)
    assert [row["step"] for row in log_of(tmp_path)] == [3, 6, 9]


def test_a_failing_save_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(PulledPlug):
        run_training(toy(), until(5), CONFIG, tmp_path)
    before = (tmp_path / "state.pt").read_bytes()

    def full_disk(state, file):
        Path(file).write_bytes(b"half a checkpoint")
        raise OSError("No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(torch, "save", full_disk)
        with pytest.raises(OSError, match="No space left"):
            run_training(toy(), a_step, CONFIG, tmp_path)
    assert (tmp_path / "state.pt").read_bytes() == before
    run_training(toy(), a_step, CONFIG, tmp_path)
    assert state_of(tmp_path)["step"] == 9


def test_a_checkpoint_is_never_seen_half_written(tmp_path, monkeypatch):
    written = []

    def watched(state, file, real=torch.save):
        assert file != tmp_path / "state.pt"
        written.append(file)
        real(state, file)

    monkeypatch.setattr(torch, "save", watched)
    write_state(tmp_path / "state.pt", {"step": 1})
    assert written
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("where", ["in a step", "in a checkpoint"])
def test_a_killed_process_goes_on_as_if_it_had_not_been_killed(tmp_path, where):
    unbroken = run_training(toy(), a_step, CONFIG, tmp_path / "unbroken")
    killed = subprocess.run(
        [sys.executable, __file__, str(tmp_path / "killed"), where],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert state_of(tmp_path / "killed")["step"] == 4
    resumed = run_training(toy(), a_step, CONFIG, tmp_path / "killed")
    assert_same(resumed.state_dict(), unbroken.state_dict())
    assert log_of(tmp_path / "killed") == log_of(tmp_path / "unbroken")


def be_killed(out, where):
    """Train until the process is killed: in step 6, or halfway through the second checkpoint."""
    torch.set_num_threads(1)

    def kill():
        os.kill(os.getpid(), signal.SIGKILL)

    def step(model, number):
        if number == 6 and where == "in a step":
            kill()
        return a_step(model, number)

    real, saved = torch.save, []

    def half(state, file):
        saved.append(file)
        if len(saved) == 2:
            Path(file).write_bytes(b"half a checkpoint")
            kill()
        real(state, file)

    torch.save = half
    run_training(toy(), step, CONFIG, out)


# ------------------------------------------------------------------------------------------------ validation


def judged(scores, kept):
    """Make hooks that score validations as the table says."""
    return Hooks(
        lambda model, step: scores[step],
        lambda model, step, score: kept.append(step),
        report=lambda row: None,
    )


VALIDATED = replace(CONFIG, validate_every=2, patience=2)


def test_the_best_is_kept_and_a_run_without_progress_stops(tmp_path):
    kept = []
    run_training(
        toy(), a_step, VALIDATED, tmp_path, judged({2: 1.0, 4: 3.0, 6: 2.0, 8: 3.0, 9: 9.0}, kept)
    )
    assert kept == [2, 4]
    state = state_of(tmp_path)
    assert (state["step"], state["best"]) == (8, {"score": 3.0, "step": 4, "stale": 2})
    run_training(toy(), until(0), VALIDATED, tmp_path, judged({}, kept))  # stays stopped


def test_patience_outlives_a_stop(tmp_path):
    scores, kept = {2: 5.0, 4: 3.0, 6: 2.0}, []
    with pytest.raises(PulledPlug):
        run_training(toy(), until(5), VALIDATED, tmp_path, judged(scores, kept))
    run_training(toy(), a_step, VALIDATED, tmp_path, judged(scores, kept))
    assert kept == [2]
    assert state_of(tmp_path)["step"] == 6


def test_a_run_has_to_be_better_than_its_start(tmp_path):
    kept = []
    hooks = replace(judged({2: 1.0, 4: 2.0}, kept), initial_score=7.0)
    run_training(toy(), a_step, VALIDATED, tmp_path, hooks)
    assert kept == []
    assert state_of(tmp_path)["best"] == {"score": 7.0, "step": 0, "stale": 2}


def test_validation_sees_the_average_and_changes_nothing(tmp_path):
    modes = []
    hooks = Hooks(
        lambda model, step: float(modes.append(model.training) or step), report=lambda row: None
    )
    validated = run_training(
        toy(), a_step, replace(CONFIG, validate_every=3), tmp_path / "a", hooks
    )
    plain = run_training(toy(), a_step, CONFIG, tmp_path / "b")
    assert modes == [False] * 3
    assert_same(validated.state_dict(), plain.state_dict())


# ------------------------------------------------------------------------------------------------ overflow


def broken_from(first, spoil):
    def step(model, number):
        loss, terms = a_step(model, number)
        return (spoil(loss, model) if number >= first else loss), terms

    return step


def endless_slope(loss, model):
    """Add nothing to the loss, by way of a root whose slope at zero is infinite."""
    return loss + (0.0 * model.first.weight).square().sum().sqrt()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda loss, model: loss * math.nan, "loss of step 7 is nan"),
        (lambda loss, model: loss + math.inf, "loss of step 7 is inf"),
        (endless_slope, "gradient of step 7 has length nan"),
    ],
)
def test_what_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path, spoil, what):
    with pytest.raises(FloatingPointError, match=f"{what}; the last good state is .*state.pt"):
        run_training(toy(), broken_from(7, spoil), CONFIG, tmp_path)
    state = state_of(tmp_path)
    assert state["step"] == 4
    assert all(t.isfinite().all() for part in ("model", "average") for t in state[part].values())


def test_a_bad_gradient_is_noticed_before_it_reaches_a_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError, match="gradient of step 7"):
        run_training(
            toy(), broken_from(7, endless_slope), replace(CONFIG, checkpoint_every=1), tmp_path
        )
    assert state_of(tmp_path)["step"] == 7  # the steps 0 to 6
    assert all(t.isfinite().all() for t in state_of(tmp_path)["model"].values())


def test_a_run_that_fails_at_once_says_that_nothing_is_kept(tmp_path):
    with pytest.raises(FloatingPointError, match=r"step 0 .* no state was written yet"):
        run_training(toy(), broken_from(0, lambda loss, model: loss * math.nan), CONFIG, tmp_path)


# ------------------------------------------------------------------------------------------------ rate, decay, average


@pytest.mark.parametrize(
    ("step", "factor"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (35, 0.855018), (60, 0.505), (110, 0.01)],
)
def test_the_rate_warms_up_and_falls_along_half_a_cosine(step, factor):
    assert schedule(step, TrainConfig(steps=110, warmup=10)) == pytest.approx(factor, abs=1e-6)


@pytest.mark.parametrize(
    ("steps", "warmup", "factor"), [(5, 0, 1.0), (5, 5, 0.2), (1, 150, 1 / 150)]
)
def test_short_runs_have_a_first_rate_too(steps, warmup, factor):
    assert schedule(0, TrainConfig(steps=steps, warmup=warmup)) == pytest.approx(factor)


def test_steps_use_the_scheduled_rate(tmp_path):
    run_training(toy(), a_step, CONFIG, tmp_path)
    rates = [group["lr"] for group in state_of(tmp_path)["optimizer"]["param_groups"]]
    assert rates == [0.1 * schedule(8, CONFIG)] * 2


def test_only_matrices_and_convolutions_decay():
    model = nn.ModuleDict(
        {
            "linear": nn.Linear(2, 2),
            "conv": nn.Conv2d(1, 1, 3),
            "norm": nn.LayerNorm(2),
            "words": nn.Embedding(3, 2),
        }
    )
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(1.0)
            p.grad = torch.zeros_like(p)
    make_optimizer(model, TrainConfig(learning_rate=0.1, weight_decay=0.5)).step()
    shrunk = {name for name, p in model.named_parameters() if torch.allclose(p, torch.tensor(0.95))}
    same = {name for name, p in model.named_parameters() if (p == 1.0).all()}
    assert shrunk == {"linear.weight", "conv.weight"}
    assert same == {"linear.bias", "conv.bias", "norm.weight", "norm.bias", "words.weight"}


def test_long_gradients_are_clipped_before_the_step(tmp_path):
    lengths = []

    def steep(model, step):
        lengths.append(math.hypot(*(float(p.grad.norm()) for p in model.parameters())))
        return 1e6 * model.last.weight.sum() + 0.0 * model.first.weight.sum(), {}

    run_training(toy(), steep, replace(CONFIG, steps=2, clip=3.0), tmp_path)
    assert lengths == pytest.approx([0.0, 3.0])  # as the step before left them


def test_the_result_is_the_moving_average_of_weights_and_statistics(tmp_path):
    seen = []

    def watched(model, step):
        seen.append({name: t.detach().clone() for name, t in model.state_dict().items()})
        return a_step(model, step)

    model = toy()
    result = run_training(model, watched, replace(CONFIG, steps=3), tmp_path).state_dict()
    after = [*seen[1:], model.state_dict()]
    for name in ("last.weight", "norm.running_mean"):
        expected = 0.25 * after[0][name] + 0.25 * after[1][name] + 0.5 * after[2][name]
        assert torch.allclose(result[name], expected, atol=1e-6)
        assert not torch.allclose(result[name], after[2][name], atol=1e-4)


def test_frozen_weights_stay(tmp_path):
    model = toy()
    model.first.weight.requires_grad_(False)
    before = model.first.weight.clone()
    result = run_training(model, a_step, CONFIG, tmp_path)
    assert torch.equal(model.first.weight, before)
    assert torch.allclose(result.first.weight, before)


def test_parts_of_a_step_add_up_to_one_step(tmp_path):
    def part(model, number):
        return step_on(rows_of(number // 2).chunk(2)[number % 2], model, number // 2)

    whole = run_training(toy(False), a_step, CONFIG, tmp_path / "whole")
    parts = run_training(toy(False), part, replace(CONFIG, accumulate=2), tmp_path / "parts")
    for name, weights in whole.state_dict().items():
        assert torch.allclose(parts.state_dict()[name], weights, atol=1e-5), name


def test_parts_learn_at_their_own_rates(tmp_path):
    config = replace(CONFIG, steps=3, rates=(("first.", 0.1), ("first.bias", 0.5)))
    run_training(toy(), a_step, config, tmp_path)
    groups = state_of(tmp_path)["optimizer"]["param_groups"]
    assert [(g["factor"], len(g["params"])) for g in groups] == [
        (1.0, 2),
        (1.0, 4),
        (0.1, 1),
        (0.5, 1),
    ]
    assert [g["lr"] for g in groups] == [0.1 * g["factor"] * schedule(2, config) for g in groups]


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.5), (1, 1.0), (88, 1.0), (89, 0.1), (96, 0.1), (97, 0.01)]
)
def test_the_rate_may_fall_in_steps(step, factor):
    assert schedule(step, TrainConfig(steps=100, warmup=2, schedule="steps")) == pytest.approx(
        factor
    )


def test_overflow_in_matching_is_told_like_any_other(tmp_path):
    overflow = ValueError(
        "Matching costs hold NaN or infinity: the network's outputs have overflowed."
    )
    hooks = Hooks(describe=lambda number: f"photos {number}", report=lambda row: None)
    with pytest.raises(
        DivergedError, match=r"outputs of step 5 are not finite; .*state.pt.*\(photos 5\)"
    ):
        run_training(toy(), until(5, overflow), CONFIG, tmp_path, hooks)


def test_a_bad_gradient_names_the_photos_of_all_parts_of_its_step(tmp_path):
    hooks = Hooks(describe=lambda number: f"photo {number}", report=lambda row: None)
    config = replace(CONFIG, accumulate=3)
    with pytest.raises(
        DivergedError, match=r"gradient of step 2 .*batch \(photo 6; photo 7; photo 8\)\."
    ):
        run_training(toy(), broken_from(7, endless_slope), config, tmp_path, hooks)


def test_a_full_disk_is_told_in_one_line(tmp_path):
    with pytest.raises(PulledPlug):
        run_training(toy(), until(5), CONFIG, tmp_path)
    with (
        limit_of_files(2000),
        pytest.raises(SeemError, match=r"Cannot write .* of an earlier step is whole") as found,
    ):
        run_training(toy(), a_step, CONFIG, tmp_path)
    assert "\n" not in str(found.value)
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["log.jsonl", "state.pt"]
    run_training(toy(), a_step, CONFIG, tmp_path)
    assert state_of(tmp_path)["step"] == 9


@contextmanager
def limit_of_files(size):
    """Let no file grow beyond so many bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ------------------------------------------------------------------------------------------------ several processes


def test_a_single_process_is_a_world_of_one(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    join_world()
    assert rank_and_world_size() == (0, 1)
    assert mean_over_processes(3, torch.device("cpu")) == 3.0


@pytest.mark.parametrize(("place", "gpus"), [("0", 1), ("3", 4)])
def test_under_torchrun_each_process_takes_the_gpu_of_its_own_number(monkeypatch, place, gpus):
    done = pretend_gpus(monkeypatch, place, gpus)
    assert join_world()
    assert done == [int(place), "cpu:gloo,cuda:nccl"]


def test_more_processes_than_gpus_are_refused(monkeypatch):
    done = pretend_gpus(monkeypatch, "2", 2)
    with pytest.raises(ValueError, match="no GPU for process 2 of this machine, it has 2; start 2"):
        join_world()
    assert done == []


def pretend_gpus(monkeypatch, place, gpus):
    """Say that torchrun started this process on a machine with GPUs; what is then asked of them is listed."""
    done = []
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", place)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", done.append)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: done.append(backend))
    return done


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path):
    alone = run_training(toy(with_statistics=False), a_step, CONFIG, tmp_path / "alone")
    run_two_processes(tmp_path)
    divided = torch.load(tmp_path / "divided.pt", weights_only=True)  # FSDP2, stopped and resumed
    for name, weights in alone.state_dict().items():
        assert torch.allclose(divided[name], weights, atol=1e-5), name
    for rank in (0, 1):
        shared = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert shared.keys() == alone.state_dict().keys()
        for name, weights in alone.state_dict().items():
            assert torch.allclose(shared[name], weights, atol=1e-5), name
    assert state_of(tmp_path / "together")["step"] == 9
    assert [row["step"] for row in log_of(tmp_path / "together")] == [3, 6, 9]
    # the first process had no time and the second all of it: both stopped after one step
    assert state_of(tmp_path / "stopped")["step"] == 1


def run_two_processes(out):
    """Run `work` in two processes, started as torchrun does: this process holds the store at which they meet."""
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, __file__, str(out)],
            env={
                **os.environ,
                **place,
                "RANK": str(rank),
                "WORLD_SIZE": "2",
                "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=300)
            assert worker.returncode == 0, errors[-3000:]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def work(out):
    """Train on half of every batch, as one of two processes."""
    torch.set_num_threads(1)
    join_world()
    rank, processes = rank_and_world_size()
    assert processes == 2

    def half_step(model, step):
        return step_on(rows_of(step).chunk(2)[rank], model, step)

    result = run_training(toy(with_statistics=False), half_step, CONFIG, out / "together")
    torch.save(result.state_dict(), out / f"rank{rank}.pt")
    assert mean_over_processes(3 * rank, torch.device("cpu")) == 1.5
    hooks = Hooks(describe=lambda number: f"photo {number} of {rank}", report=lambda row: None)
    broken = broken_from(2, endless_slope)
    with pytest.raises(DivergedError, match=r"\(photo 2 of 0; photo 2 of 1\)"):
        run_training(toy(with_statistics=False), broken, CONFIG, out / f"broken{rank}", hooks)
    minutes = 0.0 if rank == 0 else math.inf
    run_training(
        toy(with_statistics=False), half_step, replace(CONFIG, minutes=minutes), out / "stopped"
    )
    shard = replace(CONFIG, shard=True)
    run_training(
        toy(with_statistics=False), half_step, replace(shard, minutes=0.0), out / "divided"
    )
    divided = run_training(toy(with_statistics=False), half_step, shard, out / "divided")
    if rank == 0:
        torch.save(divided.state_dict(), out / "divided.pt")
    del divided
    leave_world()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        be_killed(Path(sys.argv[1]), sys.argv[2])
    work(Path(sys.argv[1]))
