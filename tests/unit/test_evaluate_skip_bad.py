"""`seem evaluate --skip-bad`: bad photos are left out and named, and the others score what they score without them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import tiny_data
from colours import ColourModel, make_pack
from seem.cli import evaluate as verb
from seem.cli.main import main
from seem.data.opening import open_dataset
from seem.data.readable_images import find_unreadable_images, without_skipped
from seem.errors import SeemError
from seem.evaluation.plan import EvaluationRequest, EvaluationTask
from seem.evaluation.runner import run_evaluation

TASKS = (EvaluationTask.PROMPTS, EvaluationTask.PANOPTIC, EvaluationTask.INSTANCE)


def request_for(spec, **changes):
    return EvaluationRequest(data=(spec,), tasks=TASKS, baselines="none", **changes)


def results(report):
    return [repr(replace(entry, timings={})) for entry in report.entries]


def spoil(pack):
    (pack.path / "images/5.png").write_bytes(b"no picture")
    (pack.path / "panoptic/4.png").unlink()
    return ["4.png", "5.png"]


def remove_rows(pack, ids):
    file = pack.path / "annotations.json"
    document = json.loads(file.read_text())
    document["images"] = [row for row in document["images"] if row["id"] not in ids]
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] not in ids]
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_other_photos_score_what_they_score_alone(tmp_path, workers):
    pack, sound = make_pack(tmp_path / "bad", photos=6), make_pack(tmp_path / "sound", photos=6)
    remove_rows(sound, {4, 5})
    expected = run_evaluation(ColourModel, request_for(f"pack:{sound.path}"))
    names = spoil(pack)
    out = tmp_path / "result.json"
    request = request_for(f"pack:{pack.path}", skip_bad=True)
    report = run_evaluation(ColourModel, request, out, workers=workers)
    assert results(report) == results(expected)
    written = json.loads(out.read_text())
    (data,) = written["data"]
    assert [row["file"] for row in data["skipped"]] == names
    assert "5.png" in data["skipped"][1]["why"]
    assert (data["photos"], written["arguments"]["skip_bad"]) == (4, True)
    assert "skip_bad" not in expected.arguments


def test_the_first_bad_photo_names_the_option(tmp_path, capsys, monkeypatch):
    pack = make_pack(tmp_path, photos=6)
    spoil(pack)
    monkeypatch.setattr(verb, "opener_of", lambda *_: ColourModel)
    command = ["evaluate", "--data", f"pack:{pack.path}", "--task", "prompts"]
    assert main(command) != 0
    error = capsys.readouterr().err.strip()
    assert "images/5.png" in error
    assert error.endswith("To leave such photos out, pass --skip-bad.")
    assert main([*command, "--skip-bad"]) == 0
    assert "2 left out by --skip-bad, 4 photos scored: 4.png (" in capsys.readouterr().err


def test_a_missing_set_does_not_name_the_option(tmp_path):
    with pytest.raises(ValueError, match="no data set at") as failed:
        run_evaluation(ColourModel, request_for(f"coco:{tmp_path / 'nowhere'}"))
    assert "--skip-bad" not in str(failed.value)


def bad_coco(tmp_path):
    """Photo a has a row of an unknown class; the file lists a photo that is not there."""
    tiny_data.photos(tmp_path / "images")
    document = tiny_data.coco_document()
    document["annotations"][0]["category_id"] = 99
    document["images"].append({"id": 11, "file_name": "gone.jpg"})
    tiny_data.text(tmp_path / "annotations.json", document)
    return f"coco:{tmp_path}"


def test_annotations_that_cannot_be_read_leave_out_their_photo(tmp_path):
    spec = bad_coco(tmp_path)
    with pytest.raises(ValueError, match=r"gone.jpg does not exist.*pass --skip-bad"):
        run_evaluation(ColourModel, request_for(spec))
    dataset = open_dataset(spec, tolerant=True)
    skipped = find_unreadable_images(dataset)
    assert [(each.photo, each.file) for each in skipped] == [
        (None, "annotations.json, photo 11"),
        (7, "a.jpg"),
    ]
    assert "category_id 99" in skipped[1].why
    readable = without_skipped(dataset, skipped)
    assert [image.path.name for image in readable.images] == ["b.jpg"]
    assert readable.categories == dataset.categories


def test_nothing_but_bad_photos_is_an_error(tmp_path):
    pack = make_pack(tmp_path, photos=1)
    (pack.path / "images/1.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of its photos can be read; first 1.png"):
        run_evaluation(ColourModel, request_for(f"pack:{pack.path}", skip_bad=True))


def test_a_run_without_the_option_is_not_resumed_with_it(tmp_path):
    pack = make_pack(tmp_path, photos=6)
    (pack.path / "images/5.png").write_bytes(b"no picture")
    out = tmp_path / "result.json"
    with pytest.raises(ValueError, match="--skip-bad"):
        run_evaluation(ColourModel, request_for(f"pack:{pack.path}"), out)
    request = request_for(f"pack:{pack.path}", skip_bad=True)
    with pytest.raises(SeemError, match="--overwrite"):
        run_evaluation(ColourModel, request, out)
    report = run_evaluation(ColourModel, request, out, overwrite=True)
    assert report.data[0].photos == 5


def test_a_video_with_a_bad_frame_is_left_out_whole(tmp_path):
    from colours import make_video

    dataset = make_video(tmp_path)
    frames = [image for image in dataset.images if image.sequence]
    frames[1].path.write_bytes(b"no picture")
    skipped = find_unreadable_images(dataset)
    assert {each.photo for each in skipped} >= {
        image.id for image in frames if image.sequence == frames[1].sequence
    }
