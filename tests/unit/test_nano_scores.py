"""All of nano's scores with one command: what is there stays, what has changed is made anew, all ends in one page."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from colours import ColourModel, make_pack
from seem.evaluation.plan import EvaluationTask

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
    monkeypatch.setattr(command, "load_model", lambda name: ColourModel())
    return tmp_path


def played(command, run, place):
    return command.make_report(run, "colours", place / "data", place / "out")


def test_what_is_there_stays_until_something_changes(command, place):
    run = command.Run("clicks", "coco_full", (EvaluationTask.CLICKS,), 1, objects=(3, 1), clicks=2)
    assert "processor time" in played(command, run, place)
    report = (place / "out" / "clicks.json").read_bytes()
    assert played(command, run, place) == "is there already"
    assert (place / "out" / "clicks.json").read_bytes() == report
    assert "processor time" in played(command, replace(run, clicks=3), place)
    assert "processor time" in played(command, run, place)
    (place / "out" / "clicks.json").write_text("{}")
    assert "processor time" in played(command, run, place)


def test_other_data_and_other_weights_are_scored_anew(command, place, monkeypatch):
    run = command.Run("clicks", "coco_full", (EvaluationTask.CLICKS,), 1, (3, 1), None, 2, "disc")
    played(command, run, place)

    class Other(ColourModel):
        pass

    monkeypatch.setattr(command, "load_model", lambda name: Other())
    assert "processor time" in played(command, run, place)
    annotations = place / "data" / "coco_full" / "annotations.json"
    annotations.write_text(annotations.read_text() + " ")
    assert "processor time" in played(command, run, place)


def test_all_reports_end_in_one_page(command, place, monkeypatch, capsys):
    runs = (
        command.Run("clicks", "coco_full", (EvaluationTask.CLICKS,), 1, (3, 1), None, 2, "disc"),
        command.Run("every", "coco_full", None, 1, clicks=2),
    )
    monkeypatch.setattr(command, "RUNS", runs)
    monkeypatch.setattr(command, "EVERY_SET", ())
    monkeypatch.setattr(
        command, "make_reports", lambda chosen, *_: [played(command, run, place) for run in chosen]
    )
    (place / "out" / "baselines-of-an-older-command.json").write_text("{}")
    command.main(["--data", str(place / "data"), "--out", str(place / "out")])
    page = (place / "out" / "SCORES.md").read_text()
    assert capsys.readouterr().out.strip() == page.strip()
    assert "| clicks: ritm | coco_full | 3 objects of 3 photos | disc of 30 px |" in page
    assert "| robustness: 1 click | coco_full | 12 objects of 4 photos | **ColourModel** |" in page
    assert "another run" not in page
    with pytest.raises(SystemExit, match="No run begins with 'x'; there are clicks, every"):
        command.main(["--data", str(place / "data"), "--only", "x"])


def test_model_and_baselines_answer_in_one_run_on_every_main_set(command):
    beside = {
        run.data
        for run in command.RUNS
        if run.baselines == "all" and EvaluationTask.CLICKS in run.tasks
    }
    assert beside == {"coco_full", "open_mix", "duts", "voc_general", "voc_animals"}
    for run in command.RUNS:
        assert run.clicks == (10 if run.baselines == "all" else 20)
    for run in (*command.RUNS, *command.EVERY_SET):
        assert run.objects is None or run.at_most is None
    assert {run.baselines for run in command.EVERY_SET} == {"none"}
    names = [run.name for run in (*command.RUNS, *command.EVERY_SET)]
    assert len(set(names)) == len(names)


def test_a_table_is_of_these_weights_alone(command, place, monkeypatch):
    runs = tuple(
        command.Run(name, "coco_full", (EvaluationTask.PROMPTS,), 1) for name in ("old", "new")
    )
    monkeypatch.setattr(command, "RUNS", runs)
    monkeypatch.setattr(command, "EVERY_SET", ())

    class Other(ColourModel):
        pass

    played(command, runs[0], place)
    monkeypatch.setattr(command, "load_model", lambda name: Other())
    played(command, runs[1], place)
    assert [file.stem for file in command.up_to_date("any", place / "data", place / "out")] == [
        "new"
    ]
