"""All of nano's scores with one command: what is there stays, what has changed is made anew, all ends in one page."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from colours import ColourModel, make_pack
from seem.evaluation.plan import Task

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "nano_scores.py"


@pytest.fixture(scope="module")
def command():
    spec = importlib.util.spec_from_file_location("nano_scores", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["nano_scores"] = module  # where dataclasses look their annotations up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["nano_scores"]


@pytest.fixture
def place(tmp_path, command, monkeypatch):
    """A pack, a folder for reports, and a model that sees colours."""
    make_pack(tmp_path / "data", photos=4)
    (tmp_path / "out" / "subsets").mkdir(parents=True)
    monkeypatch.setattr(command, "opened", lambda name: ColourModel())
    return tmp_path


def played(command, run, place):
    return command.play_one(run, "colours", place / "data", place / "out")


def test_what_is_there_stays_until_something_changes(command, place):
    run = command.Run("clicks", "coco_full", (Task.CLICKS,), 1, objects=(3, 1), clicks=2)
    assert "processor time" in played(command, run, place)
    report = (place / "out" / "clicks.json").read_bytes()
    assert played(command, run, place) == "is there already"
    assert (place / "out" / "clicks.json").read_bytes() == report
    assert "processor time" in played(command, replace(run, clicks=3), place)
    assert "processor time" in played(command, run, place)
    (place / "out" / "clicks.json").write_text("{}")
    assert "processor time" in played(command, run, place)


def test_other_data_are_scored_anew_and_baselines_do_not_mind_other_weights(command, place, monkeypatch):
    base = command.Run("base", "coco_full", (Task.CLICKS,), 1, (3, 1), None, 2, "disc", is_model=False)
    own = command.Run("own", "coco_full", (Task.CLICKS,), 1, objects=(3, 1), clicks=2)
    for run in (base, own):
        played(command, run, place)

    class Other(ColourModel):
        pass

    monkeypatch.setattr(command, "opened", lambda name: Other())
    assert played(command, base, place) == "is there already"
    assert "processor time" in played(command, own, place)
    annotations = place / "data" / "coco_full" / "annotations.json"
    annotations.write_text(annotations.read_text() + " ")
    assert "processor time" in played(command, base, place)


def test_all_reports_end_in_one_page(command, place, monkeypatch, capsys):
    runs = (
        command.Run("base", "coco_full", (Task.CLICKS,), 1, (3, 1), None, 2, "disc", is_model=False),
        command.Run("own", "coco_full", (Task.CLICKS, Task.ROBUSTNESS), 1, objects=(3, 1), clicks=2),
    )
    monkeypatch.setattr(command, "RUNS", runs)
    monkeypatch.setattr(command, "play", lambda chosen, *_: [played(command, run, place) for run in chosen])
    command.main(["--data", str(place / "data"), "--out", str(place / "out")])
    page = (place / "out" / "SCORES.md").read_text()
    assert capsys.readouterr().out.strip() == page.strip()
    assert "| disc of 30 px |" in page
    assert "| robustness: 1 click | coco_full | 3 / 3 | **ColourModel** |" in page
    with pytest.raises(SystemExit, match="No run begins with 'x'; there are base, own"):
        command.main(["--data", str(place / "data"), "--only", "x"])


def test_the_model_is_asked_wherever_baselines_answer(command):
    def asked(runs):
        return {(run.data, run.objects, run.clicks) for run in runs}

    alone = [run for run in command.RUNS if not run.is_model]
    assert asked(alone) <= asked(run for run in command.RUNS if run.is_model and Task.CLICKS in run.tasks)
    names = [run.name for run in (*command.RUNS, *command.EVERY_SET)]
    assert len(set(names)) == len(names)
