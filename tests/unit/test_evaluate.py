"""`seem evaluate`: what a user types, what is kept, and that neither breaks nor processes change a result."""

from __future__ import annotations

import inspect
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import evaluated
import tiny
from colours import ColourModel, make_pack, make_video
from seem.cli import evaluate as verb
from seem.cli.main import main
from seem.data.records import DataError
from seem.errors import SeemError
from seem.evaluation import image_loop, ranks
from seem.evaluation.interfaces import NoModel
from seem.evaluation.journal import Chunk, Journal, read_chunks
from seem.evaluation.plan import (
    MAKERS,
    EvaluationRequest,
    EvaluationTask,
    plan_evaluation,
    supported_tasks,
)
from seem.evaluation.ranks import Ranks
from seem.evaluation.runner import run_evaluation
from seem.evaluation.selection import Selection
from seem.evaluation.workers import evaluate_in_processes

TESTS = Path(evaluated.__file__).parent
NANO = partial(tiny.tiny_model, "nano")


@pytest.fixture
def pack(tmp_path):
    return make_pack(tmp_path, photos=6)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A run of one process, from end to end: its data, its report and its file."""
    folder = tmp_path_factory.mktemp("unbroken")
    data = make_pack(folder, photos=4).path
    return (
        data,
        run_evaluation(NANO, evaluated.request(data), folder / "whole.json"),
        folder / "whole.json",
    )


def asked(pack, *tasks, **more):
    return EvaluationRequest(data=(f"pack:{pack.path}",), tasks=tasks or None, **more)


def results(report):
    """Everything about the result that is the same when it is run again."""
    return [repr(replace(entry, timings={})) for entry in report.entries]


def told(out):
    """The same, from a file."""
    return [{**entry, "timings": None} for entry in json.loads(out.read_text())["entries"]]


def started(*arguments, **environment):
    command = [sys.executable, str(TESTS / "evaluated.py"), *map(str, arguments)]
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# --- One run ----------------------------------------------------------------------------------------------------------


def test_all_tasks_run_that_data_and_model_can_do(pack):
    report = run_evaluation(ColourModel, asked(pack, clicks=2))
    begin = dict.fromkeys(entry.protocol.split(":")[0] for entry in report.entries)
    assert list(begin) == [
        "panoptic", "instance", "semantic", "phrases", "clicks", "prompts", "composition", "reference", "robustness",
        "caption",
    ]  # fmt: skip
    assert report.time.processes == 1
    assert report.time.loop >= 0


def test_a_report_says_what_was_run(pack, tmp_path):
    out = tmp_path / "new" / "result.json"
    run_evaluation(
        NANO, asked(pack, EvaluationTask.CLICKS, clicks=2, baselines="disc", at_most=2), out
    )
    assert [path.name for path in out.parent.iterdir()] == ["result.json"]
    read = json.loads(out.read_text())
    assert read["format"] == "seem evaluation 2"
    assert (read["model"]["name"], read["model"]["sha256"], read["model"]["precision"]) == (
        "nano",
        "ab" * 32,
        "float32",
    )
    assert (read["model"]["short_side"], read["model"]["device"]) == (64, "cpu")
    (data,) = read["data"]
    assert (data["name"], data["split"], data["kind"], data["photos"]) == (
        "coco_full",
        "val",
        "pack",
        6,
    )
    assert len(data["fingerprint"]) == 64
    assert read["arguments"]["seed"] == 0
    assert "data" not in read["arguments"]
    assert set(read["time"]) == {
        *("wall", "model", "baselines", "user", "loop", "processes", "photos_from_earlier_runs")
    }
    assert read["versions"]["torch"]
    assert read["machine"]["cores"]
    assert [(e["protocol"], e["contestant"]) for e in read["entries"]] == [
        ("clicks: ritm", "model"),
        ("clicks: ritm", "model without memory"),
        ("clicks: ritm", "model, zoom-in refinement"),
        ("clicks: ritm", "disc of 30 px"),
        ("clicks: seem", "model"),
    ]
    assert {e["selection"]["photos"] for e in read["entries"]} == {2}
    assert str(tmp_path) not in out.read_text()


def test_both_click_protocols_and_all_prompts_share_one_encode(tmp_path):
    pack, model = make_pack(tmp_path, photos=3), NANO()
    encode, encoded = model.encode, []
    model.encode = lambda pixels: encoded.append(1) or encode(pixels)
    tasks = (EvaluationTask.CLICKS, EvaluationTask.PROMPTS, EvaluationTask.PHRASES)
    report = run_evaluation(lambda: model, asked(pack, *tasks, clicks=2, baselines="none"))
    assert len(encoded) == 3
    assert {entry.selection.photos for entry in report.entries if "clicks" in entry.protocol} == {3}


def test_baselines_answer_alone_where_there_is_no_model(pack):
    request = asked(pack, EvaluationTask.CLICKS, clicks=3, baselines="disc,grabcut")
    alone, beside = run_evaluation(NoModel, request), run_evaluation(ColourModel, request)
    assert (alone.model.name, alone.model.sha256, alone.time.model) == ("none", None, 0)
    assert results(alone) == [text for text in results(beside) if "contestant='model" not in text]
    with pytest.raises(ValueError, match="none cannot do panoptic; it can do clicks"):
        run_evaluation(NoModel, asked(pack, EvaluationTask.PANOPTIC))
    with pytest.raises(
        ValueError, match="neither a model nor a baseline to score; pass --baselines all"
    ):
        run_evaluation(NoModel, asked(pack, baselines="none"))


def test_only_named_baselines_answer(pack):
    report = run_evaluation(ColourModel, asked(pack, EvaluationTask.CLICKS, clicks=2, at_most=1))
    assert {entry.contestant for entry in report.entries} == {"model", "model without memory"}
    with pytest.raises(ValueError, match="neither a model nor a baseline"):
        run_evaluation(NoModel, asked(pack))


# --- A subset ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def subset(pack, tmp_path):
    """Three photos of the pack, with an object each."""
    file = tmp_path / "subset.json"
    words = ["data", "subset", f"pack:{pack.path}", str(file), "--photos", "3", "--per-photo", "1"]
    assert main(words) == 0
    return file


def test_a_subset_is_all_that_is_scored(pack, subset):
    tasks = (
        EvaluationTask.CLICKS,
        EvaluationTask.PROMPTS,
        EvaluationTask.ROBUSTNESS,
        EvaluationTask.COMPOSITION,
        EvaluationTask.PANOPTIC,
    )
    report = run_evaluation(
        ColourModel, asked(pack, *tasks, subset=str(subset), clicks=2, baselines="disc")
    )
    listed = json.loads(subset.read_text())
    photos = {photo["id"] for photo in listed["photos"]}
    ids = Selection.of(
        "coco_full",
        "val",
        [(photo["id"], each["id"]) for photo in listed["photos"] for each in photo["objects"]],
    )
    found = {entry.protocol: entry.selection for entry in report.entries}
    for protocol in (
        "clicks: ritm",
        "prompts: 1-IoU",
        "robustness: 1 click",
        "composition: clicks and the class name",
    ):
        assert found[protocol] == ids
    assert found["panoptic"].photos == len([number for number in photos if number % 2 == 0])
    assert report.arguments["subset"] == listed["fingerprint"]
    assert all(listed["fingerprint"][:16] in entry.rules[-1] for entry in report.entries)


def test_a_draw_from_a_subset_is_part_of_it(pack, subset):
    whole, drawn = (
        run_evaluation(
            ColourModel, asked(pack, EvaluationTask.PROMPTS, subset=str(subset), at_most=most)
        )
        for most in (None, 2)
    )
    assert [report.entries[0].selection.photos for report in (whole, drawn)] == [3, 2]


def test_workers_score_the_same_subset(pack, subset, tmp_path):
    request = asked(pack, EvaluationTask.PROMPTS, subset=str(subset))
    alone, shared = (
        run_evaluation(NANO, request, tmp_path / f"{n}.json", workers=n) for n in (1, 2)
    )
    assert results(alone) == results(shared)


def changed(subset, place, value):
    listed = json.loads(subset.read_text())
    within = listed
    for step in place[:-1]:
        within = within[step]
    within[place[-1]] = value
    subset.write_text(json.dumps(listed))


PROMPTED = ("photos", 0, "objects", 0, "prompts", "box", "box")


@pytest.mark.parametrize(
    ("place", "value", "kind", "message"),
    [
        (
            ("set",),
            "other",
            ValueError,
            "is of other, part val; the data set is coco_full, part val",
        ),
        (("split",), "train", ValueError, "is of coco_full, part train; the data set"),
        (("photos", 0, "id"), 999, DataError, r"lists \d.png \(999\), which is not so in"),
        (("photos", 0, "height"), 41, DataError, "which is not so in"),
        (("format",), "another", DataError, "is no evaluation subset of this version"),
        (PROMPTED, [1, 2, 3, 4], SeemError, "are not those of the subset's file"),
    ],
)
def test_a_subset_of_something_else_is_refused(pack, subset, place, value, kind, message):
    changed(subset, place, value)
    with pytest.raises(kind, match=message):
        run_evaluation(ColourModel, asked(pack, EvaluationTask.PROMPTS, subset=str(subset)))


def test_a_subset_is_of_one_set_of_photos(pack, subset, tmp_path):
    with pytest.raises(ValueError, match="--subset is of one data set, 2 are given"):
        EvaluationRequest(data=("a", "b"), subset=str(subset))
    changed(subset, ("set",), "davis2016")
    with pytest.raises(ValueError, match="holds videos; a subset lists photos"):
        run_evaluation(
            ColourModel, asked(make_video(tmp_path), EvaluationTask.VIDEO, subset=str(subset))
        )


def test_scores_repeat(pack):
    request = asked(
        pack,
        EvaluationTask.CLICKS,
        EvaluationTask.REFERENCE,
        clicks=2,
        baselines="grabcut",
        at_most=2,
    )
    assert results(run_evaluation(ColourModel, request)) == results(
        run_evaluation(ColourModel, request)
    )


def test_a_video_is_one_piece_of_work(tmp_path):
    report = run_evaluation(
        ColourModel, asked(make_video(tmp_path), EvaluationTask.VIDEO, EvaluationTask.REFERENCE)
    )
    assert [entry.protocol for entry in report.entries] == ["video: first mask given"] * 2 + [
        "reference: in context"
    ]
    assert {entry.scores.objects for entry in report.entries} == {1}


def test_a_video_without_numbers_of_objects_has_nobody_to_follow(tmp_path):
    video = make_video(tmp_path)
    document = json.loads((video.path / "annotations.json").read_text())
    first = document["annotations"][0]
    document["annotations"].append({**first, "id": 99, "track_id": 8})
    (video.path / "annotations.json").write_text(json.dumps(document))
    assert run_evaluation(ColourModel, asked(video, EvaluationTask.VIDEO)).entries
    for each in document["annotations"]:
        del each["track_id"]
    (video.path / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="has no truth for video"):
        run_evaluation(ColourModel, asked(video, EvaluationTask.VIDEO))


def test_several_sets_stand_in_one_report(tmp_path):
    one, other = (
        make_pack(tmp_path / "a", photos=1),
        make_pack(tmp_path / "b", photos=2, name="other"),
    )
    request = EvaluationRequest(
        data=(f"pack:{one.path}", str(other.path)), tasks=(EvaluationTask.PROMPTS,)
    )
    report = run_evaluation(ColourModel, request)
    assert [(e.selection.set_name, e.selection.items) for e in report.entries] == [
        ("coco_full", 3),
        ("other", 6),
    ]


# --- Broken and begun again -------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_and_gives_the_same(unbroken, tmp_path):
    (data, whole, file), out = unbroken, tmp_path / "broken.json"
    process = started(data, out, 0.3)
    journal = Journal.beside(out)
    while len(journal.texts()) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not out.exists()
    done = len({spot for chunk in read_chunks(journal.texts()) for spot in chunk.done})
    assert 2 <= done < 4
    model = NANO()
    encode, encoded = model.encode, []
    model.encode = lambda pixels: encoded.append(1) or encode(pixels)
    report = run_evaluation(lambda: model, evaluated.request(data), out)
    assert report.time.photos_from_earlier_runs == done
    assert len(encoded) == 4 - done
    assert results(report) == results(whole)
    assert told(out) == told(file)
    assert not journal.folder.exists()


@pytest.fixture
def broken(pack, tmp_path, monkeypatch):
    """The report of a run that failed at its fourth photo, everything before it kept."""
    monkeypatch.setattr(image_loop, "WRITE_INTERVAL_SECONDS", 0.0)
    monkeypatch.setattr(image_loop, "WRITE_INTERVAL_SHARE", 0.0)
    out = tmp_path / "out.json"

    class Fails(ColourModel):
        def encode(self, image):
            if self.encoded == 3:
                raise RuntimeError("out of memory\nand more")
            return super().encode(image)

    Fails.__name__ = "ColourModel"
    with pytest.raises(SeemError, match=r"prompts: 1-IoU, 4.png of coco_full: out of memory$"):
        run_evaluation(Fails, asked(pack, EvaluationTask.PROMPTS), out)
    assert not out.exists()
    return out


def test_what_was_done_before_a_failure_is_kept(pack, broken):
    again = ColourModel()
    report = run_evaluation(lambda: again, asked(pack, EvaluationTask.PROMPTS), broken)
    assert (again.encoded, report.time.photos_from_earlier_runs) == (3, 3)
    assert results(report) == results(
        run_evaluation(ColourModel, asked(pack, EvaluationTask.PROMPTS))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, 'another arguments: {"seed": 0} then, {"seed": 1} now'),
        ({"tasks": (EvaluationTask.CAPTION,)}, "another arguments"),
        ({"at_most": 3}, "another arguments"),
    ],
    ids=["seed", "task", "max"],
)
def test_another_run_does_not_go_on_with_it(pack, broken, change, message):
    request = replace(asked(pack, EvaluationTask.PROMPTS), **change)
    with pytest.raises(SeemError, match=message) as failed:
        run_evaluation(ColourModel, request, broken)
    assert "--overwrite" in str(failed.value)
    report = run_evaluation(ColourModel, request, broken, overwrite=True)
    assert report.time.photos_from_earlier_runs == 0


def test_other_data_and_other_weights_do_not_go_on_with_it(pack, broken):
    with pytest.raises(SeemError, match="another model"):
        run_evaluation(NANO, asked(pack, EvaluationTask.PROMPTS), broken)
    document = json.loads((pack.path / "annotations.json").read_text())
    document["annotations"].pop()
    (pack.path / "annotations.json").write_text(json.dumps(document))
    with pytest.raises(SeemError, match="another data"):
        run_evaluation(ColourModel, asked(pack, EvaluationTask.PROMPTS), broken)


def test_overwrite_goes_on_with_the_same_run(pack, broken):
    broken.write_text("{}")
    report = run_evaluation(
        ColourModel, asked(pack, EvaluationTask.PROMPTS), broken, overwrite=True
    )
    assert report.time.photos_from_earlier_runs == 3
    assert json.loads(broken.read_text())["entries"]


def test_what_another_process_still_writes_is_not_counted_twice(pack, broken):
    kept = Journal.beside(broken)
    model = ColourModel()

    def meddle(total, done):
        for (
            name,
            text,
        ) in kept.texts().items():  # a worker of the killed run goes on after the new one has begun
            (kept.folder / f"late-{name}").write_text(text)
        return nullcontext(lambda number: None)

    report = run_evaluation(
        lambda: model, asked(pack, EvaluationTask.PROMPTS), broken, progress=meddle
    )
    assert results(report) == results(
        run_evaluation(ColourModel, asked(pack, EvaluationTask.PROMPTS))
    )


def test_a_journal_is_used_by_one_run_at_a_time(tmp_path):
    journal = Journal(tmp_path / "out.json.journal")
    with (
        journal.in_use(),
        pytest.raises(SeemError, match="Another run is at work"),
        Journal(journal.folder).in_use(),
    ):
        pass
    assert not journal.folder.exists()


def test_a_changed_journal_is_refused(pack, broken):
    name = next(iter(Journal.beside(broken).texts()))
    (Journal.beside(broken).folder / name).write_text('{"done": [[0, 0]]')
    with pytest.raises(SeemError, match=f"{name} of the journal cannot be read; remove it"):
        run_evaluation(ColourModel, asked(pack, EvaluationTask.PROMPTS), broken)


def test_a_chunk_keeps_every_bit():
    import numpy as np

    states = [
        None,
        {
            "a": np.array([[0.1, 2.0]], np.float32),
            "n": [1, np.float64(0.1)],
            "flag": np.bool_(True),
        },
    ]
    read = Chunk.from_json(Chunk(((0, 3), (1, 2)), states, {"model": 0.1}).to_json())
    assert read.done == ((0, 3), (1, 2))
    assert (read.states[1]["a"] == states[1]["a"]).all()
    assert read.states[1]["a"].dtype == np.float32
    assert (read.states[1]["n"], read.states[1]["flag"]) == ([1, 0.1], True)


# --- Several processes ------------------------------------------------------------------------------------------------


def test_two_workers_give_what_one_process_gives(unbroken, tmp_path):
    (data, alone, _), out, seen = unbroken, tmp_path / "two.json", []

    def progress(total, done):
        seen.append((total, done))
        return nullcontext(seen.append)

    shared = run_evaluation(NANO, evaluated.request(data), out, workers=2, progress=progress)
    assert results(shared) == results(alone)
    assert shared.time.processes == 2
    assert seen[0] == (4, 0)
    assert sum(seen[1:]) == 4
    assert list(out.parent.glob("*.journal")) == []


@pytest.mark.parametrize(
    ("opener", "kind", "message"),
    [
        (
            partial(int, "no model"),
            ValueError,
            "invalid literal for int.. with base 10: 'no model'",
        ),
        (partial(os._exit, 3), SeemError, r"A process died \(exit code 3\)"),
    ],
    ids=["raises", "dies"],
)
def test_what_befalls_a_worker_reaches_the_user(pack, tmp_path, opener, kind, message):
    request = asked(pack, EvaluationTask.PROMPTS)
    (step,) = plan_evaluation(request, ColourModel())
    with pytest.raises(kind, match=message):
        evaluate_in_processes(
            opener, request, [step.choice], [(0, 0)], Journal(tmp_path), 1, lambda number: None
        )


def test_a_photo_that_cannot_be_read_is_named(pack, tmp_path):
    (pack.path / "images/5.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"5.png is not a picture that can be read"):
        run_evaluation(ColourModel, asked(pack, EvaluationTask.PROMPTS), tmp_path / "out.json")
    assert Journal.beside(tmp_path / "out.json").exists


def test_torchrun_takes_the_command_of_the_docs_with_every_option():
    from torch.distributed.run import parse_args

    docs = (TESTS.parent / "docs" / "evaluation.md").read_text()
    (documented,) = re.findall(r"`torchrun (.*?) \.\.\.`", docs)
    assert documented in " ".join(verb.evaluate_command.__doc__.split())
    options = [f"--{name}" for name in inspect.signature(verb.evaluate_command).parameters] + [
        "--max",
        "--markdown",
    ]
    told = parse_args([*documented.split(), *options])
    assert (told.module, told.training_script, told.training_script_args) == (
        True,
        "seem",
        ["evaluate", *options],
    )


def test_two_ranks_give_what_one_process_gives(unbroken, tmp_path):
    (data, _, file), out = unbroken, tmp_path / "ranks.json"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [started(data, out, RANK=str(rank), **meeting) for rank in range(2)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [text.strip() for text, _ in said] == ["wrote", "counted"], said
    assert told(out) == told(file)
    assert json.loads(out.read_text())["time"]["processes"] == 2
    assert list(tmp_path.glob("*.journal")) == []


def test_ranks_share_what_they_have_and_must_agree(monkeypatch):
    theirs = [{"a": "1"}, {"b": "2"}]
    monkeypatch.setattr(
        ranks.dist, "all_gather_object", lambda found, mine: found.__setitem__(slice(None), theirs)
    )
    first = Ranks(0, 2)
    assert first.union({"a": "1"}) == {"a": "1", "b": "2"}
    theirs[:] = [{"seed": 0}, {"seed": 1}]
    with pytest.raises(ValueError, match="Rank 1 has another seed than rank 0"):
        first.check_same({"seed": 0})
    assert Ranks().union({"a": "1"}) == {"a": "1"}


def test_workers_and_ranks_do_not_mix(pack, monkeypatch):
    monkeypatch.setattr(Ranks, "joined", classmethod(lambda cls: nullcontext(cls(0, 2))))
    with pytest.raises(ValueError, match="under torchrun its ranks alone"):
        run_evaluation(ColourModel, asked(pack), workers=2)


# --- What can be asked ------------------------------------------------------------------------------------------------


def test_every_task_has_a_protocol():
    assert set(MAKERS) == set(EvaluationTask)


def test_models_are_asked_for_what_they_were_made_for():
    def able(model):
        return {task.value for task in supported_tasks(model)}

    v1 = able(tiny.tiny_model("seem-focal-t-v1"))
    assert not v1 & {"caption", "retrieval", "reference"}
    assert {"clicks", "prompts", "composition", "phrases"} <= v1
    assert {"reference", "clicks"} <= able(tiny.tiny_model("nano"))
    xdecoder = able(tiny.tiny_relative("xdecoder"))
    assert {"caption", "retrieval", "phrases", "panoptic"} <= xdecoder
    assert not xdecoder & {"clicks", "prompts", "composition", "reference", "video"}


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch):
    """Runs the command with a model that sees colours."""
    monkeypatch.setattr(
        verb,
        "opener_of",
        lambda model, device, precision: {"colours": ColourModel, "nano": NANO}[model],
    )

    def run(*words, model="colours"):
        return main(["evaluate", *map(str, words), "--model", model])

    return run


def test_a_line_is_all_a_user_types(pack, tmp_path, command, capsys):
    out = tmp_path / "result.json"
    words = [
        "--data",
        f"pack:{pack.path}",
        "--task",
        "clicks,prompts",
        "--task",
        "panoptic",
        "--clicks",
        2,
    ]
    assert (
        command(
            *words, "--max", 2, "--baselines", "disc", "--out", out, "--plots", tmp_path / "plots"
        )
        == 0
    )
    printed = capsys.readouterr()
    assert [line.split()[1] for line in printed.out.splitlines()] == ["clicks:"] * 3 + [
        "prompts:",
        "panoptic",
    ]
    assert f"{out}: 5 results" in printed.err
    names = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert names == [
        "ColourModel_coco_full_clicks-ritm_disc-of-30-px_worst.png",
        "ColourModel_coco_full_clicks-ritm_model-without-memory_worst.png",
        "ColourModel_coco_full_clicks-ritm_model_worst.png",
        "ColourModel_coco_full_panoptic_classes.png",
        "ColourModel_coco_full_prompts-1-IoU_model_worst.png",
        "coco_full_clicks-ritm.png",
    ]


def test_the_bar_says_why_tasks_take_more_photos_than_max(pack, command, capsys):
    words = [
        "--data",
        f"pack:{pack.path}",
        "--max",
        1,
        "--baselines",
        "none",
        "--clicks",
        1,
        "--seed",
        3,
    ]
    assert command(*words, "--task", "clicks") == 0
    assert " 1/1 " in (alone := capsys.readouterr().err)
    assert "each task" not in alone
    assert command(*words, "--task", "clicks,panoptic") == 0  # only every second photo is panoptic
    assert re.search(r"^1 for each task: +100%.* 2/2 ", capsys.readouterr().err, re.MULTILINE)


def test_a_line_names_the_model_and_says_on_what_it_was_scored(pack, command, capsys):
    words = [
        "--data",
        f"pack:{pack.path}",
        "--task",
        "clicks,prompts,panoptic",
        "--clicks",
        1,
        "--baselines",
        "disc",
    ]
    assert command(*words, "--max", 2) == 0
    lines = [re.split(r"  +", line)[1:4] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["clicks: ritm", "ColourModel", "6 objects of 2 photos"],
        ["clicks: ritm", "ColourModel without memory", "6 objects of 2 photos"],
        ["clicks: ritm", "disc of 30 px", "6 objects of 2 photos"],
        ["prompts: 1-IoU", "ColourModel", "6 objects of 2 photos"],
        ["panoptic", "ColourModel", "2 photos"],
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--task", "clicks"], 2, "There is no data set; pass --data kind:path."),
        (
            ["--data", "{pack}", "--task", "click"],
            2,
            "There is no task 'click'; did you mean clicks?",
        ),
        (["--data", "{pack}", "--task", "xyz"], 2, "there are panoptic, instance"),
        (
            ["--data", "{pack}", "--task", "video"],
            2,
            "coco_full, part val, has no truth for video; it can be asked for ",
        ),
        (
            ["--data", "{pack}", "--split", "train"],
            2,
            "has no part 'train'; it has val ('all': all of them).",
        ),
        (["--data", "{pack}", "--max", "0"], 2, "--max is 0; score at least one photo."),
        (["--data", "{pack}", "--clicks", "0"], 2, "--clicks is 0"),
        (
            ["--data", "{pack}", "--baselines", "snake"],
            2,
            "There is no baseline 'snake'; there are disc, grabcut, walker",
        ),
        (["--data", "{pack}", "--classes", "kit", "--task", "panoptic"], 2, "did you mean 'kite'?"),
        (["--data", "{pack}", "--workers", "0"], 2, "--workers is 0"),
        (["--data", "{pack}/nowhere"], 1, "There is no data set at"),
        (["--data", "cocoa:{pack}"], 2, "There is no format 'cocoa'"),
        (["--data", "coco:{pack}/images"], 1, "is no complete"),
        (
            ["--data", "{pack}", "--out", "{pack}/annotations.json"],
            1,
            "exists already; pass --overwrite",
        ),
        (["--data", "{pack}", "--out", "{pack}"], 2, "is a folder; name the JSON file"),
        (["--data", "{pack}", "--subset", "{pack}/annotations.json"], 1, "is no evaluation subset"),
        (
            ["--data", "{pack}", "--into", "page.md"],
            2,
            "write --compare and the reports before --into",
        ),
        (["a.json"], 2, "write --compare before reports"),
        (["--compare"], 2, "There is nothing to compare"),
        (["--compare", "{pack}/annotations.json"], 1, "is no report of `seem evaluate`"),
        (["--compare", "{pack}/nothing.json"], 1, "No such file"),
    ],
)
def test_a_wrong_call_is_one_line(pack, command, capsys, words, code, message):
    before = sorted(pack.path.rglob("*"))
    assert command(*(word.replace("{pack}", str(pack.path)) for word in words)) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert message in printed.err
    assert sorted(pack.path.rglob("*")) == before  # nothing half-written


def test_a_model_without_the_prompts_is_told_what_it_can(pack, monkeypatch, capsys):
    monkeypatch.setattr(verb, "opener_of", lambda *_: partial(tiny.tiny_relative, "xdecoder"))
    assert main(["evaluate", "--data", str(pack.path), "--task", "clicks"]) == 2
    assert capsys.readouterr().err.startswith(
        "seem: tiny xdecoder cannot do clicks; it can do panoptic, instance,"
    )


def test_a_run_without_any_truth_is_no_result(pack, tmp_path, command, capsys):
    out = tmp_path / "out.json"
    assert command("--data", pack.path, "--task", "instance", "--classes", "dog", "--out", out) == 1
    assert "has no score that is a number" in capsys.readouterr().err
    assert not out.exists()


def test_scores_of_broken_weights_are_no_result(pack, tmp_path, monkeypatch, capsys):
    model = NANO()
    next(model.network.pixel_decoder.parameters()).data.fill_(float("nan"))
    monkeypatch.setattr(verb, "opener_of", lambda *_: lambda: model)
    assert (
        main(
            [
                "evaluate",
                "--data",
                str(pack.path),
                "--task",
                "clicks",
                "--out",
                str(tmp_path / "out.json"),
            ]
        )
        == 1
    )
    assert "1.png of coco_full: nano encodes it as NaN" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()


def test_an_interruption_is_one_line(pack, tmp_path, command, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ColourModel, "encode", interrupted)
    assert command("--data", pack.path, "--task", "prompts", "--out", tmp_path / "out.json") == 130
    assert "interrupted; what was finished is kept." in capsys.readouterr().err


def test_a_rank_takes_the_gpu_of_its_number(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(verb.torch.cuda, "is_available", lambda: True)
    assert verb.opener_of("nano", None, "exact").keywords["device"] == "cuda:3"
    assert verb.opener_of("nano", "cpu", "exact").keywords["device"] == "cpu"
