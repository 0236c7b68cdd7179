"""Training by several processes of this machine."""

import json
import os
import time
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

import tiny_training as tiny
from seem.cli.main import main
from seem.errors import SeemError
from seem.finetuning.processes import MAX_DEFAULT_PROCESSES, process_count
from seem.training.distributed import mean_over_processes, rank_and_world_size, run_distributed
from seem.worker_process import THREADS, one_thread_each


def note(folder):
    """Write down who this is, and what all are on average."""
    rank, count = rank_and_world_size()
    mean = mean_over_processes(10 * rank, torch.device("cpu"))
    (folder / f"{rank}.json").write_text(json.dumps([count, mean, torch.get_num_threads()]))


def fail(kind):
    """Fail in one process, wait in the other for a message that never comes."""
    if rank_and_world_size()[0]:
        raise kind("the second has had enough")
    dist.barrier()


def die():
    if rank_and_world_size()[0]:
        os._exit(9)
    time.sleep(600)


def test_processes_form_one_world(tmp_path):
    run_distributed(2, note, tmp_path)
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [
        [2, 5.0, 1]
    ] * 2


def test_one_process_is_this_one(tmp_path):
    here = []
    run_distributed(1, here.append, os.getpid())
    assert here == [os.getpid()]
    assert not dist.is_initialized()


@pytest.mark.parametrize(
    ("kind", "becomes"), [(ValueError, ValueError), (SeemError, SeemError), (OSError, SeemError)]
)
def test_the_error_of_one_ends_all(kind, becomes):
    with pytest.raises(becomes, match="the second has had enough"):
        run_distributed(2, fail, kind)


def test_a_process_that_dies_ends_all():
    with pytest.raises(SeemError, match=r"exit code 9\).*--resume"):
        run_distributed(2, die)


def test_threads_are_as_before_afterwards(monkeypatch):
    monkeypatch.setenv(THREADS[0], "7")
    monkeypatch.delenv(THREADS[1], raising=False)
    with one_thread_each():
        assert [os.environ[name] for name in THREADS] == ["1"] * 3
    assert os.environ[THREADS[0]] == "7"
    assert THREADS[1] not in os.environ


def test_how_many_processes(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    request = tiny.request_for(["bricks"], tmp_path / "run", "nano")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    assert process_count(request) == 6
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert process_count(request) == MAX_DEFAULT_PROCESSES
    assert process_count(request, 3) == 3
    with pytest.raises(ValueError, match="--processes is 0"):
        process_count(request, 0)
    monkeypatch.setenv("RANK", "1")
    assert process_count(request) == 1
    with pytest.raises(ValueError, match="torchrun has started the processes"):
        process_count(request, 2)


def test_a_run_by_two_processes_goes_on_with_two(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("RANK", raising=False)
    data, out = tiny.bricks(tmp_path / "bricks"), tmp_path / "run"
    words = ["finetune", "--data", str(data), "--out", str(out), "--steps", "2", "--size", "64"]
    assert main([*words, "--processes", "2"]) == 0
    said = capfd.readouterr().out
    assert "in each of 2 processes" in said
    assert said.count("Training:") == 1
    assert json.loads((out / "run.json").read_text())["processes"] == 2
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    request = tiny.request_for([data], out, "nano")
    assert (process_count(request, resume=True), process_count(request, overwrite=True)) == (2, 1)
    with pytest.raises(FileExistsError, match="holds a run already"):
        process_count(replace(request, data=("elsewhere/bricks",)))
    assert main([*words, "--processes", "1", "--resume"]) == 2
    assert "was begun with 2 processes" in capfd.readouterr().err
    assert main([*words, "--resume"]) == 0
