"""`seem finetune` and `seem train`: what they take, what they say, and how they fail; the tutorial's own commands."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

import seem
import tiny_training as tiny
from seem import zoo
from seem.cli.main import main
from seem.cli.train import RECIPES, AblationOptions
from seem.cli.training_options import ProgressScreen, parse_parts
from seem.finetuning import processes, run
from seem.recipes import nano
from seem.recipes import seem as seem_recipe
from seem.training import distributed, steps
from seem.training.captions import caption_terms
from seem.training.objectives.published_config import Ablation
from seem.training.run_log import LOG_FILE

TUTORIAL = Path(__file__).parents[2] / "docs" / "finetune.md"


@pytest.fixture(autouse=True)
def tiny_nano(tmp_path_factory, monkeypatch):
    """Let the embedded model be tiny, weights and all."""
    known, file = tiny.use_tiny_nano(tmp_path_factory.mktemp("weights"))
    monkeypatch.setattr(zoo, "MODEL_CARDS", known)
    monkeypatch.setattr("seem.loading.files", lambda package: Here(file))
    monkeypatch.setattr("seem.loading.as_file", lambda place: place)
    monkeypatch.delenv("RANK", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Here:
    """Stands in for the package's assets: whatever is asked for, it is this file."""

    def __init__(self, file):
        self.file = file

    def __truediv__(self, name):
        return self

    def __enter__(self):
        return self.file

    def __exit__(self, *error):
        return None


def commands_of(page):
    """List the shell commands of a page, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_the_tutorial_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny.bricks(tmp_path / "bricks")
    tiny.coco_bricks(tmp_path / "coco")
    tiny.yolo_bricks(tmp_path / "yolo")
    commands = commands_of(TUTORIAL)
    run = [shlex.split(command) for command in commands if command.startswith("seem ")]
    assert len(run) >= 6
    for words in run:
        short = ["--steps", "1", "--size", "64", "--batch", "2"] if words[1] == "finetune" else []
        words = [
            word
            for place, word in enumerate(words)
            if "--minutes" not in words[max(0, place - 1) : place + 1]
        ]
        assert main([*words[1:], *short]) == 0, (words, capsys.readouterr().err)
        capsys.readouterr()
    assert seem.load(tmp_path / "runs" / "bricks").name == "nano"
    code = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL)
    for block in code:
        exec(block, {})
    assert (tmp_path / "brick.png").stat().st_size


def test_whoever_interrupts_a_run_is_told_how_to_go_on(tmp_path, capsys, monkeypatch):
    data = tiny.bricks(tmp_path / "bricks")
    words = [
        "finetune",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
        "--steps",
        "4",
        "--size",
        "64",
    ]
    with monkeypatch.context() as patch:
        patch.setattr(steps, "compute_loss", interrupted_at(3, steps.compute_loss))
        assert main([*words, "--processes", "1"]) == 130
    out, err = capsys.readouterr()
    assert out.endswith(
        f"{tmp_path / 'run'} is kept as of its last checkpoint: the same command with --resume goes on.\n"
    )
    assert err == "seem: interrupted; what was finished is kept.\n"
    assert main([*words, "--processes", "1", "--resume"]) == 0


def test_before_a_run_has_begun_there_is_nothing_to_go_on_with(tmp_path, capsys, monkeypatch):
    data = tiny.bricks(tmp_path / "bricks")
    monkeypatch.setattr(steps, "compute_loss", interrupted_at(1, steps.compute_loss))
    assert (
        main(["finetune", "--data", str(data), "--out", str(tmp_path / "run"), "--processes", "1"])
        == 130
    )
    assert "--resume" not in capsys.readouterr().out


def interrupted_at(count, work):
    """Press Ctrl-C in the call with the number `count`."""
    calls = []

    def pressed(*rest):
        calls.append(rest)
        if len(calls) == count:
            raise KeyboardInterrupt
        return work(*rest)

    return pressed


def test_a_run_is_told_line_by_line(tmp_path, capsys):
    data = tiny.bricks(tmp_path / "bricks")
    words = [
        "finetune",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "run"),
        "--steps",
        "1",
        "--size",
        "64",
    ]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Training: 5 photos" in out
    assert "Use it: seem.load(" in out
    assert main(words) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([*words, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["finetune", "--out", "run"], 2, "--data"),
        (["finetune", "--data", "nowhere", "--out", "run"], 1, "nowhere"),
        (["finetune", "--data", "what:nowhere", "--out", "run"], 2, "no format 'what'"),
        (["finetune", "--data", ".", "--out", "run"], 1, "no data set"),
        (["finetune", "--data", ".", "--out", "run", "--model", "nanno"], 2, "did you mean 'nano'"),
        (["finetune", "--data", ".", "--out", "run", "--processes", "9999"], 2, "one for each is best"),
        (["finetune", "--data", ".", "--out", "run", "--size", "100000"], 2, "at most 4096 pixels"),
        (["finetune", "--data", ".", "--out", "run", "--shard"], 2, "processes of torchrun"),
        (["finetune", "--data", ".", "--out", "run", "--freeze", "head"], 2, "no part 'head'"),
        (["finetune", "--data", ".", "--out", "run", "--rate", "text"], 2, "PART=FACTOR"),
        (["finetune", "--data", ".*-1", "--out", "run"], 2, "weight"),
        (["finetune", "--data", ".", "--out", "run", "--resume"], 2, "no run to go on with"),
        (["train", "magic", "--data", ".", "--out", "run"], 2, "no recipe 'magic'"),
        (["train", "seem", "--data", ".", "--out", "run", "--model", "nano"], 2, "SEEM family"),
        (["train", "nano", "--data", ".", "--data", ".", "--out", "run"], 2, "photo pack"),
        (["train", "nano", "--data", ".", "--out", "run", "--model", "no.safetensors"], 2, "file of weights"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(tmp_path, monkeypatch, capsys, words, code, told):
    monkeypatch.chdir(tmp_path)
    assert main(words) == code
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_options_become_the_request(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(run, "finetune", lambda request, **more: asked.append((request, more)))
    monkeypatch.setattr(processes, "under_torchrun", lambda: True)
    main(["finetune", "--data", "a*2", "--data", "b", "--out", "run", "--minutes", "5", "--freeze", "backbone,text",
          "--learning-rate", "1e-3", "--patience", "2", "--shard", "--seed", "7", "--resume", "--from-scratch",
          "--rate", "backbone=0.1", "--rate", "text = 2"])  # fmt: skip
    request, more = asked[0]
    assert request.data == ("a*2", "b")
    assert (request.minutes, request.learning_rate, request.patience, request.seed) == (
        5.0,
        1e-3,
        2,
        7,
    )
    assert (request.freeze, request.shard, request.scratch) == (("backbone", "text"), True, True)
    assert request.rates == (("backbone", 0.1), ("text", 2.0))
    assert (more["resume"], more["overwrite"]) == (True, False)


@pytest.mark.parametrize(
    ("text", "expected"), [(None, None), ("none", ()), ("text, backbone", ("text", "backbone"))]
)
def test_parts_are_read(text, expected):
    assert parse_parts(text) == expected


def test_the_published_recipe_takes_its_ablations(monkeypatch):
    asked = []

    def note(request, **more):
        asked.append((request, more))
        return run.FineTuningResult({}, {}, 0, 0, Path())

    monkeypatch.setattr(seem_recipe, "finetune", note)
    words = ["train", "seem", "--data", "coco:x", "--out", "run", "--rounds", "3", "--no-memory", "--no-positive",
             "--no-negative",
             "--finer-masks", "lvis"]  # fmt: skip
    assert main(words) == 0
    request, more = asked[0]
    assert (request.model, request.epochs) == ("seem-focal-t-v1", 50)
    recipe = more["recipe"]
    assert recipe.ablation == Ablation(rounds=3, memory=False, positive=False, negative=False)
    assert recipe.finer_masks == Path("lvis")
    assert (recipe.config.schedule, recipe.config.learning_rate, recipe.config.clip) == (
        "steps",
        1e-4,
        5.0,
    )


def test_every_ablation_is_an_option_and_off_by_default():
    assert AblationOptions().to_ablation() == Ablation()


@pytest.mark.parametrize("asked", [True, False])
def test_xdecoder_learns_from_captions_phrases_and_nouns(tmp_path, monkeypatch, capsys, asked):
    weights = tiny.use_tiny_xdecoder(tmp_path, monkeypatch)
    data = tiny.coco_bricks(tmp_path / "coco", change=tiny.with_captions)
    charged = []

    def note(*given):
        charged.append(caption_terms(*given))
        return charged[-1]

    monkeypatch.setattr("seem.training.objectives.published.caption_terms", note)
    words = ["train", "seem", "--data", str(data), "--out", str(tmp_path / "run"), "--model", str(weights),
             "--steps", "1", "--size", "64", "--batch", "2", "--device", "cpu"]  # fmt: skip
    assert main([*words, *([] if asked else ["--no-captions"])]) == 0, capsys.readouterr().err
    log = [json.loads(line) for line in (tmp_path / "run" / LOG_FILE).read_text().splitlines()]
    terms = {name for row in log for name in row}
    assert {"objects", "phrases"} <= terms
    assert ("captions" in terms) == asked == bool(charged)
    assert all(cost.item() > 0 for terms in charged for cost in terms.nouns)
    assert all(len(terms.nouns) == 3 for terms in charged)


def test_a_run_is_described_as_a_model(tmp_path, capsys):
    data = tiny.bricks(tmp_path / "bricks")
    assert (
        main(
            [
                "finetune",
                "--data",
                str(data),
                "--out",
                str(tmp_path / "run"),
                "--steps",
                "1",
                "--size",
                "64",
            ]
        )
        == 0
    )
    capsys.readouterr()
    assert main(["models", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^classes +brick$", told, re.MULTILINE)
    assert f"{data}, part all" in told
    assert main(["models", str(tmp_path / "run" / "best.safetensors"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "nano"
    assert main(["models", str(data)]) == 1
    assert "holds neither model.safetensors nor best.safetensors" in capsys.readouterr().err


def test_the_nano_recipe_is_run_with_its_settings(tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(nano, "train_nano", lambda *args, **options: calls.append((args, options)))
    command = ["train", "nano", "--data", "pack:p", "--out", str(tmp_path)]
    assert main([*command, "--steps", "20", "--seed", "3", "--minutes", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    legs = nano.adapted_legs(steps=20, seed=3)
    assert lines[0] == f"heads: {legs[0].config.steps} steps of 16 photos at learning rate 0.001"
    assert len(lines) == len(legs) + 1
    assert lines[-1] == f"Use it: seem.load({str(tmp_path / 'nano.safetensors')!r})"
    (args, options) = calls[0]
    assert args == (Path("p"), tmp_path, legs, None)
    assert options["minutes"] == 5
    assert set(RECIPES) == {"nano", "seem"}


def test_the_nano_recipe_replaces_a_run_only_with_overwrite(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(nano, "train_nano", lambda *args, **options: calls.append(args))
    leg = tmp_path / "large"
    leg.mkdir()
    files = (tmp_path / "begun.json", leg / "state.pt", leg / "finished.safetensors")
    for file in files:
        file.write_bytes(b"")
    (leg / "mine.txt").write_text("kept")
    command = ["train", "nano", "--data", "p", "--out", str(tmp_path)]
    assert main(command) == 1
    assert not calls
    given = tmp_path / "given.safetensors"
    given.write_bytes(b"weights")
    assert main([*command, "--model", str(given), "--overwrite"]) == 0
    assert calls[0][2:] == (nano.LEGS[-1:], given)  # given weights see the last leg alone
    assert not any(file.exists() for file in files)
    assert (leg / "mine.txt").exists()


def test_the_nano_recipe_goes_on_in_as_many_processes_as_it_began_in(tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(distributed, "run_distributed", lambda count, work: counts.append(count))
    settings = {"processes": 3, "legs": [leg.to_json() for leg in nano.LEGS]}
    (tmp_path / "begun.json").write_text(json.dumps(settings))
    command = ["train", "nano", "--data", "p", "--out", str(tmp_path)]
    assert main([*command, "--resume"]) == 0
    assert main([*command, "--resume", "--processes", "2"]) == 0
    assert counts == [3, 2]  # the run itself refuses the second
    for module in (distributed, processes):
        monkeypatch.setattr(
            module, "under_torchrun", lambda: True
        )  # which has started as many as it was told
    assert main([*command, "--resume"]) == 0
    assert counts == [3, 2, 1]


def test_the_nano_recipe_leaves_other_weights_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(nano, "train_nano", lambda *arguments: pytest.fail("it ran"))
    (tmp_path / "nano.safetensors").write_bytes(b"made elsewhere")
    assert main(["train", "nano", "--data", "p", "--out", str(tmp_path)]) == 1
    assert "--overwrite or another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "--freeze head", "--size 64", "--device cpu", "--rounds 0", "--no-negative", "--finer-masks lvis", "--shard",
        "--learning-rate -1", "--minutes nan", "--steps 0", "--data coco:x", "--data pack:p*2", "--resume",
        "--resume --overwrite",
    ],
)  # fmt: skip
def test_the_nano_recipe_refuses_what_it_does_not_know(tmp_path, monkeypatch, capsys, words):
    monkeypatch.setattr(nano, "train_nano", lambda *arguments: pytest.fail("it ran"))
    data = [] if "--data" in words else ["--data", "pack:p"]
    assert main(["train", "nano", "--out", str(tmp_path / "run"), *data, *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_progress_is_one_line_on_a_terminal(monkeypatch, capsys):
    screen = ProgressScreen(quiet=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    screen.write_progress("step 1/9")
    screen.write_progress("step 2/9")
    screen.end_progress()
    assert capsys.readouterr().err == "\rstep 1/9\rstep 2/9\n"
