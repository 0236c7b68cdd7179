"""Fine-tuning: what is decided and said, what stands there afterwards, and that it survives what goes wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image
from safetensors import safe_open

import seem
import tiny_training as tiny
from seem import zoo
from seem.cli.main import main
from seem.data.image_bank import ImageBank
from seem.data.opening import open_dataset
from seem.data.readers.shards import write_shards
from seem.data.records import DataError
from seem.errors import SeemError
from seem.finetuning import datasets, planning, run, run_folder, step_cost
from seem.finetuning.datasets import inspect_source, open_image_bank, open_training_data
from seem.finetuning.plan import Plan
from seem.finetuning.processes import process_count
from seem.finetuning.profile import DENSE_PROFILE, QUERY_PROFILE, profile_for
from seem.finetuning.request import PublishedRecipe
from seem.finetuning.run import finetune
from seem.finetuning.step_cost import StepCost, StepMeasurement, StepTimer
from seem.folder_lock import LOCK_FILES, hold_folder
from seem.loading import open_network
from seem.models.build import build
from seem.part_files import new_part
from seem.recipes.seem import published_config
from seem.simulation.strokes import DEFAULT_STROKES, PUBLISHED_STROKES
from seem.training import resources, steps
from seem.training.batch_sampler import BatchSampler
from seem.training.calibration import PresenceCalibration, RegionCalibration
from seem.training.config import TrainConfig
from seem.training.figures import round_values
from seem.training.validation import ValidationScores
from tiny import tiny_network

NAN = float("nan")
PLACES = os.pathsep.join(
    str(place) for place in (Path(tiny.__file__).parent, Path(seem.__file__).parents[1])
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": PLACES, "OMP_NUM_THREADS": "1"}

NANO = DENSE_PROFILE.default_config(shard=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(autouse=True)
def weights(home, monkeypatch):
    """Let nano be tiny; returns its weights."""
    known, file = tiny.use_tiny_nano(home)
    monkeypatch.setattr(zoo, "MODEL_CARDS", known)
    return file


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(home):
    """A run on six photos of bricks: its folder, what it said, its outcome, its request."""
    with pytest.MonkeyPatch.context() as patch:
        known, file = tiny.use_tiny_nano(home)
        patch.setattr(zoo, "MODEL_CARDS", known)
        request = tiny.request_for([tiny.bricks(home / "bricks")], home / "run", file)
        said: list[str] = []
        outcome = finetune(request, write_line=said.append)
    return home / "run", "\n".join(said), outcome, request


def quiet_finetune(request, **options):
    return finetune(request, write_line=lambda line: None, **options)


def tensors_of(file):
    with safe_open(file, framework="pt") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def log_of(out):
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def results_of(out):
    with (out / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


# ------------------------------------------------------------------------------------------------ a whole run


def test_the_best_weights_load_as_a_model(finished):
    out, _, outcome, _ = finished
    for place in (out, out / "best.safetensors", str(out)):
        assert seem.load(place, device="cpu", precision="exact").name == "nano"
    assert outcome.weights == out / "best.safetensors"


def test_the_file_says_how_it_was_made(finished):
    out, _, _, request = finished
    with safe_open(out / "best.safetensors", framework="pt") as file:
        metadata = file.metadata()
    assert metadata["seem_model"] == "nano"
    assert json.loads(metadata["class_names"]) == ["brick"]
    notes = json.loads(metadata["made_by"])
    assert notes["recipe"] == "finetune"
    assert notes["sources"][0]["spec"] == request.data[0]
    assert metadata["data_fingerprint"] == json.loads((out / "run.json").read_text())["fingerprint"]
    assert len(metadata["start_sha256"]) == 64


def test_object_queries_of_nano_are_not_trained(finished):
    out, _, _, _ = finished
    rows = log_of(out)
    assert all(row["objects"] == 0 for row in rows)
    assert all(row["refined"] > 0 for row in rows)


def test_scores_stand_in_a_table(finished):
    out, _, outcome, _ = finished
    rows = results_of(out)
    assert [int(row["step"]) for row in rows] == [0, 1, 2, 3, 4, 5, 6]
    assert set(rows[0]) == {"step", "click_iou", "name_miou", "score", "loss"}
    assert outcome.before.keys() == outcome.after.keys() == {"click_iou", "name_miou"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["after"] == dict(outcome.after)
    assert summary["before"] == dict(outcome.before)


def test_the_best_is_that_of_the_highest_score(finished):
    out, _, outcome, _ = finished
    scores = {int(row["step"]): float(row["score"]) for row in results_of(out)}
    assert scores[outcome.best_step] == max(scores.values())


def test_pictures_are_drawn(finished):
    out, _, _, _ = finished
    for name in ("curves.png", "worst.png"):
        with Image.open(out / name) as picture:
            assert picture.size[0] >= 640


@pytest.mark.parametrize(
    ("low", "high", "lines"),
    [
        (0.45, 63.49, [0, 20, 40, 60, 80]),
        (26.4, 61.2, [20, 30, 40, 50, 60, 70]),
        (99.9, 100.0, [99.9, 99.92, 99.94, 99.96, 99.98, 100.0]),
        (-0.5, 0.5, [-0.5, 0.0, 0.5]),
        (1e6, 1e6 + 1e-3, None),
    ],
)
def test_curves_stand_between_lines_at_round_values(low, high, lines):
    found = round_values(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert 2 <= len(found) <= 6
    assert lines is None or found == pytest.approx(lines)


def test_everything_is_said_before_and_after(finished):
    _, said, _, _ = finished
    for words in (
        "6 photos, 6 objects", "a tenth of the training photos is held out", "Training: 5 photos, 1 class (brick)",
        "Validation: 1 held-out photo", "Scores of 1 photo are rough", "frozen: nothing", "s a step",
        "2 photos at a time and 2 for class names alone", "6 steps at learning rate 0.001", "about",
        "Before: IoU after one click", " before, ", "best.safetensors", "seem.load",
    ):  # fmt: skip
        assert words in said, words


def test_the_plan_comes_back_as_it_was_written(finished):
    plan = Plan.from_json(json.loads((finished[0] / "run.json").read_text()))
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert (plan.size, plan.config.steps, plan.sources[0].validation_split) == (64, 6, None)


def test_a_finished_run_sums_up_again(finished):
    out, _, outcome, request = finished
    before = (out / "best.safetensors").read_bytes()
    assert quiet_finetune(request, resume=True).after == outcome.after
    assert (out / "best.safetensors").read_bytes() == before


def test_what_counts_as_being_there_is_measured_and_kept(finished, weights, tmp_path, monkeypatch):
    whole, _, _, request = finished
    out = Path(shutil.copytree(whole, tmp_path / "run"))
    before = tensors_of(out / "best.safetensors")
    evens = []

    def regions(model, held):
        evens.append(model.network.config.presence_midpoint)
        return RegionCalibration(0.23, 71.0)

    monkeypatch.setattr(
        run, "calibrate_presence", lambda model, held, most: PresenceCalibration(0.07, 81.0, 92.0)
    )
    monkeypatch.setattr(run, "calibrate_regions", regions)
    said: list[str] = []
    finetune(replace(request, out=out), resume=True, write_line=said.append)
    model = seem.load(out, device="cpu", precision="exact")
    kept = model.network.config
    assert (kept.presence_midpoint, kept.panoptic_threshold, kept.instance_threshold) == (
        0.07,
        0.23,
        0.23,
    )
    assert evens == [0.07]  # scores of regions depend on it
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["names_found"], summary["names_refused"]) == (81.0, 92.0)
    assert (summary["region_threshold"], summary["region_f1"]) == (0.23, 71.0)
    assert any(
        "81% of those that are there are found, 92% of those that are not are refused" in line
        for line in said
    )
    assert any("F1 71 at IoU 0.5, kept from a score of 0.23 on" in line for line in said)
    after = tensors_of(out / "best.safetensors")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_too_few_photos_to_measure_thresholds_are_said(finished):
    _, said, _, _ = finished
    assert "Too few held-out photos to measure which class names to refuse" in said
    assert "Too few to measure which regions panoptic() and instances() keep" in said


@pytest.mark.parametrize(
    ("write", "background"), [(tiny.bricks, True), (tiny.walls, False)], ids=["objects", "all over"]
)
def test_pixels_may_be_none_of_the_classes_unless_all_have_one(
    weights, tmp_path, write, background
):
    quiet_finetune(tiny.request_for([write(tmp_path / "set")], tmp_path / "run", weights, steps=1))
    model = seem.load(tmp_path / "run", device="cpu", precision="exact")
    assert model.vocabulary().background is background


def test_whoever_scores_a_model_on_what_it_learnt_from_is_told(finished, tmp_path, capsys):
    out, _, _, request = finished
    words = [
        "evaluate",
        "--model",
        str(out),
        "--task",
        "clicks",
        "--clicks",
        "1",
        "--baselines",
        "none",
        "--max",
        "1",
    ]
    who, share = "nano fine-tuned on bricks", f"nine tenths of this part of {request.data[0]}"
    note = f"{who} was trained on {share}: its scores do not generalise."
    assert main([*words, "--data", request.data[0], "--out", str(tmp_path / "report.json")]) == 0
    assert note in capsys.readouterr().err.splitlines()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["model"]["fine_tuned_on"] == [
        {"spec": request.data[0], "part": "all", "is_whole": False}
    ]
    assert (
        main(
            [
                *words,
                "--data",
                request.data[0],
                "--out",
                str(tmp_path / "report.json"),
                "--overwrite",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main([*words, "--data", str(tiny.bricks(tmp_path / "others"))]) == 0
    assert "remembers" not in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ stopping, going on


def copy_of_plan(out, to):
    to.mkdir()
    shutil.copy(out / "run.json", to / "run.json")
    return to


def start(out, weights, data, *more):
    script = Path(tiny.__file__)
    return subprocess.run(
        [sys.executable, str(script), str(out), str(weights), str(data), *more],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_killed_run_goes_on_as_if_it_had_not_been_killed(finished, weights, tmp_path):
    whole, _, _, request = finished
    out = copy_of_plan(whole, tmp_path / "killed")
    killed = start(out, weights, request.data[0], "--plug", "3")
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert [row["step"] for row in log_of(out)] == [1, 2, 3]
    assert seem.load(out, device="cpu").name == "nano"  # something loads at any moment
    (out / "results.csv").write_text(
        (out / "results.csv").read_text() + "99,1,1,1,1\n"
    )  # of a step not yet taken
    quiet_finetune(tiny.request_for(request.data, out, weights), resume=True)
    assert log_of(out) == log_of(whole)
    assert results_of(out) == results_of(whole)
    left, right = tensors_of(out / "best.safetensors"), tensors_of(whole / "best.safetensors")
    assert all(torch.equal(left[name], tensor) for name, tensor in right.items())


def test_a_run_stops_where_nothing_gets_better(finished, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(
        run.FineTuningRun, "score", lambda self, network, most=None: ValidationScores(1, click=50.0)
    )
    said: list[str] = []
    request = tiny.request_for(finished[3].data, tmp_path / "stale", weights, patience=2)
    outcome = finetune(request, write_line=said.append)
    assert (outcome.steps, outcome.best_step) == (2, 0)
    assert any("No step was better than the start" in line for line in said)
    assert any("Stopped after step 2 of 6" in line for line in said)
    assert finetune(request, resume=True, write_line=said.append).steps == 2


def asked_of(out, **changes):
    return tiny.request_for(["data"], out, "nano", **{"steps": None, **changes})


@pytest.mark.parametrize(
    ("photos", "step_seconds", "steps"),
    [
        (1000, 0.01, 5000),
        (200, 0.5, 1500),
        (100_000, 6.0, 255),
        (100_000, 60.0, 150),
        (2, 0.5, 150),
    ],
    ids=[
        "not for ever",
        "so many looks",
        "half an hour",
        "some steps at least",
        "of few photos, too",
    ],
)
def test_a_run_of_no_given_length_takes_half_an_hour_at_most(tmp_path, photos, step_seconds, steps):
    config = planning.make_schedule(asked_of(tmp_path), NANO, 8, 1, photos, step_seconds)
    assert config.steps == steps


def test_parts_learn_at_the_rates_that_are_asked_for(tmp_path):
    request = asked_of(tmp_path, rates=(("backbone", 0.05), ("decoder", 2.0)))
    request.check()
    for profile, others in ((DENSE_PROFILE, {}), (QUERY_PROFILE, {"text.": 0.1})):
        config = planning.make_schedule(request, profile.default_config(shard=False), 8, 1, 10, 1.0)
        assert dict(config.rates) == {
            **others,
            "backbone.": 0.05,
            "decoder.": 2.0,
            "image_projection": 2.0,
        }


@pytest.mark.parametrize(
    ("asked", "looks"),
    [({}, 4), ({"scratch": True}, 0), ({"scratch": True, "patience": 3}, 3), ({"patience": 0}, 0)],
)
def test_random_weights_are_given_the_time_that_was_asked_for(tmp_path, asked, looks):
    request = asked_of(tmp_path, **{"patience": None, **asked})
    assert planning.make_schedule(request, NANO, 8, 1, 10, 1.0).patience == looks


def test_time_is_kept(finished, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "measure_step_cost", lambda *rest: StepCost(2, "float32", 5.5, 0))
    monkeypatch.setattr(planning, "measure_update_seconds", lambda network, config: 0.5)
    request = tiny.request_for(finished[3].data, tmp_path, weights, steps=None, minutes=2.0)
    plan = planning.make_plan(request, torch.device("cpu"), lambda text: None)
    assert plan.config.steps == 17  # 85% of two minutes, of 6 seconds each
    assert plan.config.minutes == 2.5


def test_nano_is_fine_tuned_with_muon_where_weights_are_whole():
    cases = ((DENSE_PROFILE, False), (DENSE_PROFILE, True), (QUERY_PROFILE, False))
    configs = [profile.default_config(shard=shard) for profile, shard in cases]
    assert [(config.optimizer, config.learning_rate) for config in configs] == [
        ("muon", 1e-3), ("adamw", 1e-3), ("adamw", 1e-4),
    ]  # fmt: skip


def test_upkeep_is_timed_on_weights_that_stay():
    network = tiny_network("nano")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for optimizer in ("adamw", "muon"):
        assert 0 < step_cost.measure_update_seconds(network, TrainConfig(optimizer=optimizer)) < 60
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


# ------------------------------------------------------------------------------------------------ what goes wrong


def test_a_loss_that_is_not_finite_names_its_photos_and_keeps_the_best(
    finished, weights, tmp_path, monkeypatch
):
    real, calls = steps.compute_loss, []

    def spoilt(*rest):
        calls.append(rest)
        loss, terms = real(*rest)
        return (loss * NAN if len(calls) > 3 else loss), terms

    out = copy_of_plan(finished[0], tmp_path / "run")
    monkeypatch.setattr(steps, "compute_loss", spoilt)
    with pytest.raises(
        SeemError, match=r"loss of step 3 is nan; the last good state .*\(photos bricks \d"
    ) as found:
        quiet_finetune(tiny.request_for(finished[3].data, out, weights), resume=True)
    assert "\n" not in str(found.value)
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 3
    assert seem.load(out, device="cpu").name == "nano"


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(finished, weights, tmp_path, monkeypatch):
    real, calls = torch.save, []

    def full(state, file):
        calls.append(file)
        if len(calls) > 2:
            Path(file).write_bytes(b"half")
            raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")
        real(state, file)

    out = copy_of_plan(finished[0], tmp_path / "run")
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SeemError, match=r"Cannot write .*state.pt .* of an earlier step is whole"):
        quiet_finetune(tiny.request_for(finished[3].data, out, weights), resume=True)
    assert not (out / "state.part").exists()
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 2
    assert seem.load(out, device="cpu").name == "nano"


def test_a_full_disk_is_noticed_before_the_run(finished, weights, tmp_path, monkeypatch):
    monkeypatch.setattr(
        resources.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 9, 1000)
    )
    with pytest.raises(SeemError, match="MB free, the run needs about"):
        quiet_finetune(tiny.request_for(finished[3].data, tmp_path / "run", weights))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": ()}, "no data set"),
        ({"steps": 0}, "--steps is 0"),
        ({"minutes": NAN}, "--minutes is nan"),
        ({"learning_rate": -1.0}, "--learning-rate is -1.0"),
        ({"size": 50}, "multiple of 32"),
        ({"freeze": ("head",)}, "no part 'head'"),
        ({"rates": (("head", 0.1),)}, "no part 'head'"),
        (
            {"rates": (("text", 0.0),)},
            r"--rate text=0: the factor must be more than 0; .* --freeze",
        ),
        ({"patience": -1}, "0 or more"),
        ({"batch": 0}, "--batch is 0"),
        ({"batch": 1}, "--batch is 1; images are drawn in pairs"),
        ({"model": "nanno"}, "did you mean 'nano'"),
        ({"device": "toaster"}, "no device"),
    ],
)
def test_wrong_requests_are_refused(finished, weights, tmp_path, changes, words):
    asked = {"data": finished[3].data, "model": weights, **changes}
    request = tiny.request_for(out=tmp_path / "run", **asked)
    with pytest.raises(ValueError, match=words):
        quiet_finetune(request)


def test_everything_frozen_is_refused(finished, weights, tmp_path):
    every = ("backbone", "pixel-decoder", "text", "prompts", "decoder", "refiner", "text-map")
    with pytest.raises(ValueError, match="nothing is left to train"):
        quiet_finetune(tiny.request_for(finished[3].data, tmp_path / "run", weights, freeze=every))


def test_a_folder_that_exists_is_not_touched(finished, weights, tmp_path):
    data = finished[3].data
    (tmp_path / "letters.txt").write_text("dear")
    for out, changes, words in (
        (finished[0], {}, "holds a run already"),
        (tmp_path, {}, "holds no run"),
        (tmp_path, {"overwrite": True}, "holds no run"),
        (tmp_path, {"resume": True}, "no run to go on with"),
        (tmp_path / "letters.txt", {}, "is a file"),
        (finished[0], {"resume": True, "overwrite": True}, "choose one"),
    ):
        with pytest.raises((ValueError, OSError), match=words):
            quiet_finetune(tiny.request_for(data, out, weights), **changes)
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_what_cannot_begin_leaves_no_folder_and_replaces_no_run(finished, weights, tmp_path):
    old = shutil.copytree(finished[0], tmp_path / "old")
    kept = sorted(path.name for path in old.iterdir())
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    for request, changes in (
        (tiny.request_for([str(nothing)], tmp_path / "new", weights), {}),
        (tiny.request_for([str(nothing)], old, weights), {"overwrite": True}),
        (tiny.request_for(finished[3].data, old, "nanno"), {"overwrite": True}),
    ):
        with pytest.raises((ValueError, OSError)):
            quiet_finetune(request, **changes)
    assert not (tmp_path / "new").exists()
    assert sorted(path.name for path in old.iterdir()) == kept


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_that_fails_before_it_begins_can_be_asked_for_again(
    finished, weights, tmp_path, monkeypatch, no_trial, overwrite
):
    out, data = tmp_path / "run", finished[3].data
    if overwrite:
        shutil.copytree(finished[0], out)
    with monkeypatch.context() as patch:
        patch.setattr(planning, "measure_step_cost", no_objects)
        with pytest.raises(SeemError, match="in a row"):
            quiet_finetune(tiny.request_for(data, out, weights), overwrite=overwrite)
    new_part(out).touch()
    new_part(out).mkdir()
    for name in ("state.part", *LOCK_FILES):
        (out / name).touch()
    assert not (out / "run.json").exists()
    with pytest.raises(ValueError, match="no run to go on with"):
        run_folder.check_run_folder(out, resume=True, overwrite=False)
    for again in (False, True):
        run_folder.check_run_folder(out, resume=False, overwrite=again)
    with run_folder.hold_run_folder(out):
        run_folder.prepare_run_folder(out)
    assert list(out.iterdir()) == []
    (out / "film.part").touch()
    with pytest.raises(FileExistsError, match="holds no run"):
        run_folder.check_run_folder(out, resume=False, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_in_which_a_run_is_at_work_is_left_alone(finished, weights, overwrite):
    out, _, _, request = finished
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    message = rf"Another run is at work on .* \(process {os.getpid()} on .* since 20"
    with hold_folder(out):
        with pytest.raises(SeemError, match=message):
            quiet_finetune(request, overwrite=overwrite, resume=not overwrite)
        with pytest.raises(SeemError, match=message):
            process_count(request, overwrite=overwrite, resume=not overwrite)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def no_objects(*arguments):
    raise SeemError("20 photos in a row showed no object")


def test_a_run_goes_on_only_as_it_began(finished, weights, tmp_path):
    out, _, _, request = finished
    other = tiny.bricks(tmp_path / "others")
    with pytest.raises(ValueError, match="was begun with --data"):
        quiet_finetune(tiny.request_for([other], out, weights), resume=True)
    with pytest.raises(ValueError, match="was begun with --model"):
        quiet_finetune(tiny.request_for(request.data, out, "nano"), resume=True)
    for changes, words in (
        ({"size": 96}, "with --size 64, here it is 96"),
        ({"steps": None}, "with --steps 6, here it is left to the run"),
        ({"freeze": ("text",)}, "with --freeze left to the run, here it is text"),
        ({"rates": (("text", 0.5),)}, r"with --rate none, here it is \['text', 0.5\]"),
        ({"scratch": True}, "with --from-scratch False"),
    ):
        with pytest.raises(ValueError, match=words):
            quiet_finetune(tiny.request_for(request.data, out, weights, **changes), resume=True)
    copy = copy_of_plan(out, tmp_path / "run")
    plain = json.loads((copy / "run.json").read_text())
    changes = (
        ({"fingerprint": "ab"}, "have changed"),
        ({"processes": 2}, "begun with 2 processes"),
        ({"start_sha256": "ab"}, r"weights of .* have changed"),
        ({"config": 3}, "cannot be read"),
    )
    for change, words in changes:
        (copy / "run.json").write_text(json.dumps(plain | change))
        with pytest.raises((ValueError, OSError), match=words):
            quiet_finetune(tiny.request_for(request.data, copy, weights), resume=True)


# ------------------------------------------------------------------------------------------------ data of all kinds


def planned(data, out, weights, recipe=None, **changes):
    said: list[str] = []
    out.mkdir()
    request = tiny.request_for(data, out, weights, **changes)
    plan = planning.make_plan(request, torch.device("cpu"), said.append, recipe)
    return plan, "\n".join(said)


@pytest.fixture
def no_trial(monkeypatch):
    monkeypatch.setattr(planning, "measure_step_cost", lambda *rest: StepCost(2, "float32", 1.0, 0))
    monkeypatch.setattr(planning, "measure_validation_seconds", lambda *rest: 0.1)


def bad_rows(document):
    """Add everything that exports get wrong to four sound photos."""
    sound = document["annotations"][0]

    def row(number, **changes):
        document["annotations"].append({**sound, "id": number, **changes})

    row(101, segmentation=[[3, 3] * 3], bbox=[3, 3, 0, 0])  # no area
    row(102, segmentation=[[1, 2, 600, 2, 600, 9]])  # out of range
    row(103, segmentation=[[5, 5, 30, 30, 30, 5, 5, 30]])  # crosses itself
    row(104, category_id=77)
    row(105, bbox=[NAN, 2, 5, 7])
    row(1)  # the id of another
    document["images"].append({"id": 9, "file_name": "gone.png", "height": 48, "width": 64})
    document["annotations"].append({**sound, "id": 106, "image_id": 9})
    document["images"].append({"id": 10, "file_name": "p1.png", "height": 99, "width": 64})
    document["annotations"].append({**sound, "id": 107, "image_id": 10})


def test_what_cannot_be_used_is_left_out_and_said(tmp_path, weights, no_trial):
    folder = tiny.coco_bricks(tmp_path / "coco", change=bad_rows)
    plan, said = planned([folder], tmp_path / "run", weights)
    for words in (
        "empty mask", "outside the photo", "self-crossing polygon", "unknown category", "bad box", "duplicate id",
        "missing photo", "wrong size", "2 photos and all annotations that cannot be read, or are empty, are left out",
        "Training: 3 photos",
    ):  # fmt: skip
        assert words in said, words
    assert plan.sources[0].unusable_train == (9, 10)
    data = open_training_data(plan.sources, 0)
    kept = [record for each in (*(w.dataset for w in data.train), *data.validation)
            for photo in each.images for record in each.objects[photo.id]]  # fmt: skip
    assert all(record.area > 0 and np.isfinite(record.box).all() for record in kept)
    assert not {101, 104, 106, 107} & {record.id for record in kept}


def test_where_an_object_is_left_out_no_class_is_said_to_be_absent(tmp_path):
    def with_cats(document):
        document["categories"].append({"id": 2, "name": "cat"})
        document["annotations"].append(
            {**document["annotations"][0], "id": 9, "category_id": 2, "segmentation": []}
        )

    data = open_training_data(
        [inspect_source(str(tiny.coco_bricks(tmp_path / "coco", change=with_cats)))[0]], 0
    )
    told = {
        photo.id: each.complete_names(photo)
        for each in (data.train[0].dataset, *data.validation)
        for photo in each.images
    }
    assert told == {1: {"brick"}, **{key: {"brick", "cat"} for key in (2, 3, 4)}}


def test_broken_data_still_train(tmp_path, weights):
    folder = tiny.coco_bricks(tmp_path / "coco", change=bad_rows)
    outcome = quiet_finetune(tiny.request_for([folder], tmp_path / "run", weights, steps=1))
    assert outcome.steps == 1


def test_a_part_of_its_own_is_what_a_run_is_judged_on(tmp_path, weights, no_trial):
    plan, said = planned([tiny.yolo_bricks(tmp_path / "yolo")], tmp_path / "run", weights)
    assert (plan.sources[0].train_split, plan.sources[0].validation_split) == ("train", "val")
    assert "Validation: 1 held-out photo" in said


def test_a_single_photo_is_judged_on_itself(tmp_path, weights, no_trial):
    plan, said = planned([tiny.bricks(tmp_path / "one", count=1)], tmp_path / "run", weights)
    assert "the training photos, because there are no others" in said
    assert open_training_data(plan.sources, 0).is_shared


def test_masks_without_a_class_are_enough(tmp_path, weights, no_trial):
    _, said = planned([tiny.bricks(tmp_path / "plain", classes=())], tmp_path / "run", weights)
    assert "5 photos, 0 classes" in said


@pytest.mark.parametrize(
    ("write", "named", "words"),
    [
        (tiny.walls, 8, "2 photos at a time and 16 for class names alone"),
        (tiny.bricks, 1, "2 photos at a time and 2 for class names alone"),
        (lambda root: tiny.bricks(root, classes=()), 0, "2 photos at a time, float32"),
    ],
    ids=["labelled all over", "named objects", "objects without names"],
)
def test_how_many_photos_are_asked_for_names_alone_depends_on_the_labels(
    tmp_path, weights, no_trial, write, named, words
):
    plan, said = planned([write(tmp_path / "set")], tmp_path / "run", weights)
    assert plan.naming_ratio == named
    assert words in said


def test_labels_all_over_are_judged_pixel_by_pixel(tmp_path, weights):
    outcome = finetune(
        tiny.request_for([tiny.walls(tmp_path / "walls")], tmp_path / "run", weights, steps=2),
        write_line=lambda text: None,
    )
    assert outcome.before.keys() == outcome.after.keys() == {"semantic_miou"}


def test_shards_are_learnt_from(tmp_path, weights, no_trial):
    whole = open_dataset(str(tiny.bricks(tmp_path / "bricks")))
    write_shards(whole, tmp_path / "shards")
    plan, said = planned([f"shards:{tmp_path}/shards"], tmp_path / "run", weights)
    assert "Training: 5 photos, 1 class (brick)" in said
    bank = open_image_bank(open_training_data(plan.sources, 0), 64, tmp_path / "run")
    assert bank.by_name == {"brick": (0, 1, 2, 3, 4)}


def test_photos_that_the_disk_has_no_room_for_are_read_when_they_are_drawn(tmp_path, monkeypatch):
    data = open_training_data([inspect_source(str(tiny.bricks(tmp_path / "bricks")))[0]], 0)
    samples = []
    for place, share in (("kept", 0.5), ("drawn", 0.0)):
        (tmp_path / place).mkdir()
        monkeypatch.setattr(datasets, "CACHE_SHARE", share)
        bank = open_image_bank(data, 64, tmp_path / place)
        assert (tmp_path / place / run_folder.CACHE_FILE).is_file() == (place == "kept")
        samples.append(BatchSampler(bank, 64, 2, 0).draw_samples(3))
    assert all(np.array_equal(one.image, other.image) for one, other in zip(*samples, strict=True))


def test_random_weights_to_compare_with_are_the_same_every_time(tmp_path, weights, no_trial):
    folder = tiny.bricks(tmp_path / "bricks")
    plan, said = planned([folder], tmp_path / "run", weights, scratch=True)
    assert plan.scratch
    assert "from random weights" in said
    first, again, other = (
        planning.open_start_network(str(weights), True, seed).network.state_dict()
        for seed in (1, 1, 2)
    )
    loaded = planning.open_start_network(str(weights), False, 1).network.state_dict()
    name = "backbone.stem.conv.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])
    assert not torch.equal(first[name], loaded[name])


@pytest.mark.parametrize(("processes", "expected"), [(1, (2, 8)), (4, (2, 2))])
def test_the_published_recipe_takes_sixteen_photos_a_step(
    tmp_path, monkeypatch, no_trial, processes, expected
):
    weights = tiny.use_tiny_xdecoder(tmp_path, monkeypatch)
    folder = tiny.bricks(tmp_path / "bricks", count=40)
    monkeypatch.setattr(planning, "rank_and_world_size", lambda: (0, processes))
    recipe = PublishedRecipe(published_config())
    plan, _ = planned([folder], tmp_path / "run", weights, recipe, size=None, batch=None)
    assert (plan.config.batch, plan.config.accumulate) == expected
    assert (plan.config.learning_rate, plan.size) == (1e-4, 1024)
    network = planning.open_start_network(str(weights), False, 0).network
    drawn = [strokes_of(network, by_published_recipe=each) for each in (True, False)]
    assert drawn == [
        PUBLISHED_STROKES,
        replace(DEFAULT_STROKES, polygon_rule="curve"),
    ]  # as the network reads them


def strokes_of(network, *, by_published_recipe=False):
    profile = profile_for(network, by_published_recipe=by_published_recipe)
    return profile.batch_sampler(network, ImageBank([]), 64, 2, 0, 0).mix.strokes


def test_nano_is_trained_on_polygons_as_users_draw_them():
    strokes = strokes_of(tiny_network("nano"))
    assert strokes == DEFAULT_STROKES
    assert strokes.polygon_rule == "filled"


def test_nano_has_no_published_recipe():
    with pytest.raises(ValueError, match="trains models of the SEEM family"):
        profile_for(tiny_network("nano"), by_published_recipe=True)


@pytest.mark.parametrize(
    ("model", "as_published", "size"),
    [
        ("nano", False, 224),
        ("seem-focal-t-v1", False, 512),
        ("seem-focal-t-v1", True, 1024),
        ("seem-samvit-b-v1", False, 1024),
    ],
)
def test_every_model_is_trained_at_a_size_that_it_takes(model, as_published, size):
    with torch.device("meta"):
        network = build(zoo.MODEL_CARDS[model].config())
    assert profile_for(network, by_published_recipe=as_published).default_size(network) == size
    planning.check_size(size, network)
    if model == "seem-samvit-b-v1":
        with pytest.raises(
            ValueError, match="--size is 512; seem-samvit-b-v1 takes multiples of 1024"
        ):
            planning.check_size(512, network)


def test_a_mixture_keeps_its_weights(tmp_path, weights, no_trial):
    one, two = tiny.bricks(tmp_path / "one"), tiny.coco_bricks(tmp_path / "two")
    plan, _ = planned([f"{one}*2", two], tmp_path / "run", weights)
    assert [each.weight for each in open_training_data(plan.sources, 0).train] == [2.0, 1.0]


@pytest.mark.parametrize("count", [0, 3])
def test_data_without_a_mask_are_refused(tmp_path, weights, no_trial, count):
    folder = tiny.bricks(tmp_path / "empty", count=count)
    for file in (folder / "masks").iterdir():
        Image.new("L", (64, 48)).save(file)
    with pytest.raises(DataError) as found:
        planned([folder], tmp_path / "run", weights)
    assert "\n" not in str(found.value)


def test_held_out_photos_depend_on_the_seed_alone(tmp_path):
    folder = tiny.bricks(tmp_path / "many", count=20)
    source, _ = inspect_source(str(folder))
    held = [
        [photo.id for photo in open_training_data([source], seed).validation[0].images]
        for seed in (0, 0, 1)
    ]
    assert len(held[0]) == 2
    assert held[0] == held[1] != held[2]


def test_a_trial_leaves_the_network_as_it_was(tmp_path, weights):
    loaded = open_network(weights)
    before = {name: tensor.clone() for name, tensor in loaded.network.state_dict().items()}
    source, _ = inspect_source(str(tiny.bricks(tmp_path / "bricks")))
    bank = open_image_bank(open_training_data([source], 0), 64, tmp_path)
    loaded.network.train()
    objective = DENSE_PROFILE.make_objective(loaded.network, loaded.tokenizer(), None, float)
    trial = step_cost.measure_step_cost(loaded.network, BatchSampler(bank, 64, 2, 0), objective, 4)
    assert trial.batch in (2, 4)
    assert trial.seconds > 0
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in loaded.network.state_dict().items()
    )
    assert all(p.grad is None for p in loaded.network.parameters())


@pytest.mark.parametrize(
    ("loss", "work", "chosen"),
    [(1.01, 0.5, "bfloat16"), (1.2, 0.5, "float32"), (1.0, 0.99, "float32")],
    ids=["faster and alike", "another loss", "no faster"],
)
def test_precision_is_chosen_by_processor_time_not_by_the_clock(
    monkeypatch, weights, loss, work, chosen
):
    def measured(timer, precision, batch, number):
        if precision == "float32":
            return StepMeasurement(loss=1.0, seconds=3.0, processor_seconds=1.0)
        return StepMeasurement(loss=loss, seconds=9.0, processor_seconds=work)

    monkeypatch.setattr(StepTimer, "run_once", measured)
    network = open_network(str(weights)).network
    cost = step_cost.measure_step_cost(
        network, BatchSampler(ImageBank([]), 64, 2, 0), objective=None, max_batch=2
    )
    assert (cost.precision, cost.seconds) == (chosen, 9.0 if chosen == "bfloat16" else 3.0)


def test_two_processes_follow_one_plan(finished, weights, tmp_path):
    script = Path(tiny.__file__)
    out = copy_of_plan(finished[0], tmp_path / "two")
    plain = json.loads((out / "run.json").read_text())
    plain["config"] |= {
        "steps": 2,
        "validate_every": 2,
        "checkpoint_every": 2,
        "shard": True,
        "optimizer": "adamw",
    }
    (out / "run.json").write_text(json.dumps(plain | {"processes": 2}))
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    place = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(out), str(weights), finished[3].data[0]],
            env={**ENVIRONMENT, **place, "RANK": str(rank), "WORLD_SIZE": "2"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=280)
            assert worker.returncode == 0, errors[-3000:]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 2
    assert {"before", "after"} <= json.loads((out / "summary.json").read_text()).keys()
