"""`seem segment` from its arguments to its files, exit codes and lines, with a network of a few thousand weights."""

import errno
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import wave
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import save_file

import seem
from seem import zoo
from seem.checkpoints.network import MODEL_KEY
from seem.checkpoints.safe import write_tensors
from seem.cli.main import main
from seem.cli.report import describe_object
from seem.cli.resuming import denote_the_same
from seem.encoded_image import EncodedImage
from seem.folder_lock import LOCK_FILES, hold_folder
from seem.preprocess import preprocess_image
from tiny import CONFIGS, picture, tiny_network

V1 = "seem-focal-t-v1"


@dataclass(frozen=True)
class Ran:
    """What a call left behind."""

    code: int
    out: str
    err: str

    @property
    def records(self):
        """The JSON lines; standard output must hold nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    write_tensors(path, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    return path


@pytest.fixture
def run(tmp_path, monkeypatch, capfd, weights):
    """Run `seem segment` in an empty folder with the tiny network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEEM_DEBUG", raising=False)
    for name, config in CONFIGS.items():
        monkeypatch.setitem(zoo.MODEL_CARDS, name, replace(zoo.MODEL_CARDS[name], config=config))

    def run(*arguments, model=weights):
        capfd.readouterr()
        code = main(
            [
                "segment",
                *map(str, arguments),
                "--model",
                str(model),
                "--device",
                "cpu",
                "--precision",
                "exact",
            ]
        )
        return Ran(code, *capfd.readouterr())

    return run


@pytest.fixture
def photo(tmp_path):
    picture(53, 37).save(tmp_path / "street.png")
    return "street.png"


def pixels(path):
    with Image.open(path) as opened:
        return np.asarray(opened)


def names(folder="seem-out"):
    return sorted(
        path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()
    )


def refused(ran, code, message):
    """Check that a call failed with one line that says this, and left nothing."""
    assert (ran.code, ran.out) == (code, "")
    assert len(ran.err.splitlines()) == 1, ran.err
    assert ran.err.startswith("seem: ")
    assert message in ran.err
    assert not Path("seem-out").exists()
    return True


# --- What is asked, and what comes of it ------------------------------------------------------------------------------


def test_files_of_a_click_are_where_the_answer_says(run, photo):
    ran = run(photo, "--point", "4,2")
    assert ran.code == 0
    assert names() == ["street.json", "street.mask-0.png", "street.overlay.png"]
    assert "seem-out/: street.overlay.png, street.json, street.mask-0.png" in ran.out
    assert re.search(
        r"encode [\d.]+ s, interactive [\d.]+ s, labels [\d.]+ s, write [\d.]+ s\n", ran.out
    )
    assert ran.err == ""


def test_without_a_prompt_everything_is_segmented(run, photo):
    (record,) = run(
        photo, "--json", "--threshold", "1"
    ).records  # whatever random weights find, not this
    assert record["seem"]["task"] == "panoptic"
    assert names() == ["street.json", "street.overlay.png", "street.panoptic.png"]


@pytest.mark.parametrize("task", ["panoptic", "instance", "semantic"])
def test_each_task_answers(run, photo, task):
    (record,) = run(photo, "--task", task, "--classes", "dog, cat,sky", "--json").records
    assert record["seem"]["task"] == task
    assert [category["name"] for category in record["categories"]] == [
        "unlabelled",
        "dog",
        "cat",
        "sky",
    ]


@pytest.mark.parametrize("options", [["--classes"], ["--find"], ["--find", "a dog", "--against"]])
def test_a_file_of_class_names_is_not_taken_for_a_name(run, photo, tmp_path, options):
    (tmp_path / "data.yaml").write_text("names: [dog]")
    result = run(photo, *options, "data.yaml")
    assert result.code == 2
    assert "data.yaml is a file; write names, such as" in result.err


def test_lists_of_classes_go_by_name(run, photo):
    (record,) = run(photo, "--task", "semantic", "--classes", "ade20k", "--json").records
    assert [category["name"] for category in record["categories"]][:4] == [
        "unlabelled",
        "wall",
        "building",
        "sky",
    ]
    assert len(record["categories"]) == 151
    (record,) = run(photo, "--classes", "coco", "--json", "--overwrite").records
    assert len(record["categories"]) == 134


def test_everything_is_found_without_prompt_or_class(run, photo):
    (record,) = run(photo, "--everything", "--json").records
    assert record["seem"]["task"] == "everything"
    assert record["seem"]["kind"] == "object queries, visual"
    assert record["seem"]["rules"][0].startswith("everything: points_per_side ")
    assert names() == ["street.json", "street.overlay.png"]


def test_a_threshold_leaves_out_what_scores_lower(run, photo):
    counts = [
        len(
            run(photo, "--task", "instance", "--threshold", t, "--json", "--overwrite").records[0][
                "annotations"
            ]
        )
        for t in ("0", "1")
    ]
    assert counts[0] > counts[1] == 0
    assert names() == ["street.json", "street.overlay.png"]


@pytest.mark.parametrize(
    ("label", "tag", "score", "expected"),
    [
        ("cat", "cat 0.90", 0.9, "cat 0.90"),
        ("wall-other-merged", "wall 0.31", 0.9, "wall 0.31 (mask 0.90)"),
        (None, "0.90", 0.9, "unlabelled (mask 0.90)"),
    ],
)
def test_an_object_is_described_as_in_the_overlay(label, tag, score, expected):
    assert describe_object(label, tag, score) == expected


def test_a_phrase_below_the_threshold_finds_nothing(run, photo):
    ran = run(photo, "--text", "a dog", "--threshold", "1")
    assert ran.code == 0
    assert "street.png: nothing found" in ran.out
    assert "'a dog' was not found" in ran.err


def test_prompts_keep_their_order_and_their_objects(run, photo):
    Image.new("L", (53, 37), 255).save("mask.png")
    ran = run(
        *("--point", "4,2", "--not-point", "30.5,20", photo, "--text", "a dog"),
        *("--object", "--width", "5", "--stroke", "1,1 20,20", "--not-stroke", "30,30 40,30"),
        *("--object", "--box=1,2,30,20", "--polygon", "1,1 20,1 20,20"),
        *(
            "--object",
            "--mask",
            "mask.png",
            "--scribble",
            "1,1 2,2; 5,5 9,9",
            "--not-scribble",
            "50,30 52,36",
        ),
        "--json",
    )
    (record,) = ran.records
    kinds = [[prompt["kind"] for prompt in prompts] for prompts in record["seem"]["prompts"]]
    assert kinds == [
        ["point", "point", "text"],
        ["stroke", "stroke"],
        ["box", "polygon"],
        ["mask", "scribble", "scribble"],
    ]
    first, second = record["seem"]["prompts"][:2]
    assert first[:2] == [
        {"kind": "point", "x": 4, "y": 2, "positive": True},
        {"kind": "point", "x": 30.5, "y": 20, "positive": False},
    ]
    assert [prompt["width"] for prompt in second] == [5.0, 5.0]
    assert len(record["annotations"]) == 4


def test_the_answer_is_that_of_python(run, photo, weights):
    (record,) = run(photo, "--box", "5,5,30,30", "--text", "a dog", "--json").records
    model = seem.load(weights, "cpu", "exact")
    expected = model.encode(photo).segment(seem.Box(5, 5, 30, 30), seem.Text("a dog")).to_coco()
    assert record["annotations"] == expected["annotations"]
    assert record["seem"]["sha256"] == model.sha256


def test_size_is_the_short_side_the_network_sees(run, photo, monkeypatch):
    seen = []

    def spy(image, config, size=None):
        seen.append(size)
        return preprocess_image(image, config, size)

    monkeypatch.setattr("seem.inference.prompt_decoder.preprocess_image", spy)
    assert run(photo, "--size", "96").code == 0
    assert seen == [96]


def test_json_is_what_the_file_holds_and_nothing_else(run, photo):
    picture(20, 30).save("grün.png")
    ran = run(photo, "grün.png", "--text", "🐈 on a mat", "--json")
    assert [record["images"][0]["file_name"] for record in ran.records] == [
        "street.png",
        "grün.png",
    ]
    assert ran.records == [
        json.loads(Path("seem-out", f"{stem}.json").read_text()) for stem in ("street", "grün")
    ]
    assert ran.out.isascii()
    assert set(ran.records[0]) == {"images", "annotations", "categories", "seem"}
    assert {"version", "model", "sha256", "task", "prompts", "seconds"} <= set(
        ran.records[0]["seem"]
    )


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools with numpy 2
def test_pycocotools_reads_the_file(run, photo):
    run(photo, "--point", "4,2", "--object", "--box", "5,5,30,30")
    coco = COCO("seem-out/street.json")
    for number, annotation in enumerate(coco.loadAnns(coco.getAnnIds())):
        mask = pixels(f"seem-out/street.mask-{number}.png") > 0
        assert (coco.annToMask(annotation).astype(bool) == mask).all()
        assert annotation["area"] == mask.sum()
    assert number == 1


def test_quiet_says_nothing(run, photo):
    ran = run(photo, "--point", "4,2", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert names()


def test_a_photo_comes_over_standard_input(run, photo, monkeypatch):
    stdin = io.TextIOWrapper(io.BytesIO(Path(photo).read_bytes()))
    monkeypatch.setattr(sys, "stdin", stdin)
    (record,) = run("-", "--point", "4,2", "--json").records
    assert record["images"][0] == {"id": 1, "file_name": "stdin", "width": 53, "height": 37}
    assert names() == ["stdin.json", "stdin.mask-0.png", "stdin.overlay.png"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Standard input is empty (0 bytes)"),
        (b"text", "Standard input is not a picture that can be read"),
    ],
)
def test_standard_input_that_is_no_photo_is_refused(run, monkeypatch, content, message):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert refused(run("-", "--json"), 1, message)


def test_all_that_a_phrase_fits_is_found(run, photo, weights):
    (record,) = run(
        photo, "--find", "red car", "--find", "a dog", "--threshold", "0", "--json"
    ).records
    assert record["seem"]["task"] == "find"
    assert [prompt["phrase"] for (prompt,) in record["seem"]["prompts"]] == ["red car", "a dog"]
    assert {annotation["label"] for annotation in record["annotations"]} <= {"red car", "a dog"}
    expected = (
        seem.load(weights, "cpu", "exact").encode(photo).find(["red car", "a dog"], 0).to_coco()
    )
    assert record["annotations"] == expected["annotations"]


def test_something_shown_in_another_photo_is_segmented(run, photo):
    picture(60, 40, seed=1).save("other.png")
    ran = run(
        photo,
        "--reference",
        "other.png",
        "--reference-box",
        "5,5,30,30",
        "--threshold",
        "0",
        "--json",
    )
    (record,) = ran.records
    assert record["seem"]["kind"] == "reference"
    assert record["seem"]["prompts"] == [
        [
            {
                "kind": "reference",
                "photo": "other.png",
                "prompts": [{"kind": "box", "x0": 5, "y0": 5, "x1": 30, "y1": 30}],
            }
        ]
    ]
    assert len(record["annotations"]) == 1


def test_a_mark_outside_the_other_photo_is_one_line(run, photo):
    picture(60, 40, seed=1).save("other.png")
    ran = run(photo, "--reference", "other.png", "--reference-point", "70,2", "--json")
    assert refused(
        ran,
        2,
        "street.png: In the reference, other.png: Point(70, 2) lies outside the image of 60 x 40",
    )


def test_a_spoken_phrase_is_asked_and_shown(run, photo, monkeypatch, tmp_path):
    samples = (np.sin(np.arange(8_000) / 5) * 20_000).astype("<i2")
    with wave.open("say.wav", "wb") as file:
        file.setparams((1, 2, 8_000, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    monkeypatch.setattr("seem.adapters.speech.transcribe", lambda sound: "a dog")
    (heard,) = run(photo, "--point", "4,2", "--audio", "say.wav", "--json").records
    assert heard["seem"]["prompts"][0][1] == {"kind": "audio", "phrase": "a dog", "file": "say.wav"}
    (read,) = run(photo, "--point", "4,2", "--text", "a dog", "--json", "--overwrite").records
    assert heard["annotations"] == read["annotations"]


def test_candidates_are_asked_for_by_number(run, photo, weights, tmp_path):
    v1 = tmp_path / "v1.safetensors"
    write_tensors(v1, tiny_network("seem-focal-t-v1").state_dict(), {MODEL_KEY: "seem-focal-t-v1"})
    (record,) = run(photo, "--point", "4,2", "--candidates", "3", "--json", model=v1).records
    expected = (
        seem.load(v1, "cpu", "exact")
        .encode(photo)
        .segment(seem.Point(4, 2), candidates=3)
        .to_coco()
    )
    assert record["annotations"] == expected["annotations"]
    ran = run(photo, "--point", "4,2", "--candidates", "3", "--overwrite")
    assert ran.code == 0
    assert (
        ran.err
        == "seem: street.png: nano gives one mask an object: there are no further candidates\n"
    )


def test_zoom_in_refinement_is_asked_for_by_name(run, photo, weights):
    (record,) = run(photo, "--box", "5,5,20,20", "--refine", "zoom", "--json").records
    expected = (
        seem.load(weights, "cpu", "exact")
        .encode(photo)
        .segment(seem.Box(5, 5, 20, 20), refine="zoom")
    )
    assert record["annotations"] == expected.to_coco()["annotations"]
    assert (
        record["annotations"]
        != run(photo, "--box", "5,5,20,20", "--json", "--overwrite").records[0]["annotations"]
    )


def test_the_old_name_of_zoom_in_refinement_still_works(run, photo):
    (record,) = run(photo, "--box", "5,5,20,20", "--refine", "zoom", "--json").records
    old = run(photo, "--box", "5,5,20,20", "--second-look", "--json", "--overwrite")
    assert old.records[0]["annotations"] == record["annotations"]
    assert (
        old.err
        == "seem: --second-look is now --refine zoom; the old option goes in the next version.\n"
    )


def detections(**changes):
    """Write what a detector would."""
    rows = [
        {"image_id": 7, "bbox": [3, 4, 27, 26], "category_id": 17, "score": 0.75},
        {"image_id": 7, "bbox": [1, 1, 20, 9], "category_id": 3, "score": 0.5},
    ]
    content = {
        "images": [{"id": 7, "file_name": "set/street.png"}, {"id": 8, "file_name": "other.png"}],
        "annotations": rows,
        "categories": [{"id": 3, "name": "car"}, {"id": 17, "name": "cat"}],
        **changes,
    }
    Path("found.json").write_text(json.dumps(content))
    return "found.json"


def test_a_detectors_boxes_become_masks(run, photo, weights):
    (record,) = run(photo, "--boxes", detections(), "--json").records
    expected = seem.load(weights, "cpu", "exact").encode(photo).segment_many(
        [[seem.Box(3, 4, 30, 30)], [seem.Box(1, 1, 21, 10)]]
    ).to_coco()  # fmt: skip
    rows, theirs = record["annotations"], expected["annotations"]
    assert [row["segmentation"] for row in rows] == [row["segmentation"] for row in theirs]
    assert [(row["category_id"], row["score"]) for row in rows] == [(17, 0.75), (3, 0.5)]
    picture(20, 20).save("other.png")
    picture(20, 20).save("third.png")
    ran = run(".", "--boxes", "found.json", "--out", "all")
    assert ran.code == 1
    assert "other.png: nothing found" in ran.out
    assert "seem: --boxes has no boxes for third.png; it has other.png, street.png.\n" in ran.err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": [{"id": 7}]},
            "found.json is not laid out as COCO's detections are ('file_name' is missing)",
        ),
        (
            {"annotations": [{"image_id": 9}]},
            "is not laid out as COCO's detections are (row 0: image_id 9 is not among images)",
        ),
        (
            {"images": [{"id": 7, "file_name": "a/b.png"}, {"id": 8, "file_name": "b.png"}]},
            "photos called b.png",
        ),
    ],
)
def test_detections_that_are_laid_out_otherwise_are_refused(run, photo, changes, message):
    assert refused(run(photo, "--boxes", detections(**changes)), 1, message)


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, 1, "found.json cannot be read"),
        ("{", 1, "found.json is no JSON file"),
        ("[]", 1, "found.json is an empty list, without a box and without a photo's name"),
        ("[1]", 1, "is not laid out as COCO's detections are (row 0: it is '1', no object"),
    ],
)
def test_what_holds_no_detections_is_one_line(run, photo, content, code, message):
    if content is not None:
        Path("found.json").write_text(content)
    assert refused(run(photo, "--boxes", "found.json"), code, message)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"bbox": [1, 1, 0, 9]}, "is empty"),
        ({"bbox": [99, 1, 9, 9]}, "lies outside the image"),
        ({"score": None}, "it has no score, and other rows have one"),
    ],
)
def test_a_bad_box_is_left_out_and_named(run, photo, bad, reason):
    row = {"image_id": 7, "bbox": [3, 4, 27, 26], "category_id": 17, "score": 0.9}
    ran = run(photo, "--boxes", detections(annotations=[row, {**row, **bad}]), "--json")
    assert ran.code == 0
    (record,) = ran.records
    assert [one["score"] for one in record["annotations"]] == [0.9]
    (note,) = record["seem"]["notes"]
    assert note.startswith("found.json, row 1 is left out: ")
    assert reason in note
    assert ran.err == f"seem: street.png: {note}\n"


def test_results_of_boxes_go_back_under_the_ids_of_their_file(run, photo):
    Path("truth.json").write_text(
        json.dumps(
            {
                "images": [{"id": 42, "file_name": "street.png", "width": 53, "height": 37}],
                "categories": [{"id": 0, "name": "cat"}, {"id": 5, "name": "dog"}],
            }
        )
    )
    rows = [{"image_id": 42, "bbox": [3, 4, 27, 26], "category_id": id, "score": 0.5} for id in (0, 5)]  # fmt: skip
    Path("found.json").write_text(json.dumps(rows))
    ran = run(photo, "--boxes", "found.json", "--ids-from", "truth.json", "--format", "coco")
    assert ran.code == 0, ran.err
    assert "found.json: category ids count from 0" in ran.err
    written = json.loads(Path("seem-out/coco/results.json").read_text())
    assert [(row["image_id"], row["category_id"]) for row in written] == [(42, 0), (42, 5)]
    assert [row["score"] for row in written] == [0.5, 0.5]


def test_class_names_may_be_said_in_sentences_of_ones_own(run, photo, monkeypatch):
    asked = []
    monkeypatch.setattr(
        EncodedImage, "semantic", lambda self, classes: asked.append(classes) or self.panoptic()
    )
    words = (
        "--task",
        "semantic",
        "--classes",
        "dog,cat",
        "--template",
        "a drawing of a {}.",
        "--background",
    )
    assert run(photo, *words).code == 0
    assert asked == [
        seem.Vocabulary.of(["dog", "cat"], templates=["a drawing of a {}."], background=True)
    ]


def test_a_tuned_model_is_asked_for_its_own_classes_in_sentences_of_ones_own(
    run, photo, weights, monkeypatch
):
    metadata = {"class_names": '["brick", "wall"]', "class_background": "true"}
    write_tensors(weights, tiny_network("nano").state_dict(), {MODEL_KEY: "nano", **metadata})
    asked = []
    monkeypatch.setattr(
        EncodedImage, "semantic", lambda self, classes: asked.append(classes) or self.panoptic()
    )
    try:
        assert run(photo, "--task", "semantic").code == 0
        assert run(photo, "--task", "semantic", "--template", "an old {}.", "--overwrite").code == 0
    finally:
        write_tensors(weights, tiny_network("nano").state_dict(), {MODEL_KEY: "nano"})
    own = seem.Vocabulary.of(["brick", "wall"], background=True)
    assert asked == [own, replace(own, templates=("an old {}.",))]


def test_a_vector_for_each_mask_can_be_kept(run, photo, weights):
    assert run(photo, "--point", "4,2", "--object", "--box", "3,4,30,30", "--embeddings").code == 0
    asked = [[seem.Point(4, 2)], [seem.Box(3, 4, 30, 30)]]
    expected = seem.load(weights, "cpu", "exact").encode(photo).segment_many(asked).embeddings
    np.testing.assert_allclose(np.load("seem-out/street.embeddings.npy"), expected, atol=1e-6)
    assert run(photo, "--point", "4,2", "--overwrite").code == 0
    assert names() == ["street.json", "street.mask-0.png", "street.overlay.png"]
    assert (
        run(photo, "--find", "a cat", "--threshold", "1", "--embeddings", "--overwrite").code == 0
    )
    assert np.load("seem-out/street.embeddings.npy").size == 0


def test_a_caption_is_told_and_kept(run, photo, monkeypatch):
    monkeypatch.setattr("seem.cli.segment_request.check_writes_captions", lambda name, policy: None)
    monkeypatch.setattr(
        EncodedImage, "caption", lambda self, region: f"a street in {region or 'the rain'}"
    )
    ran = run(photo, "--caption")
    assert "\n  a street in the rain\n" in ran.out
    assert (
        json.loads(Path("seem-out/street.json").read_text())["seem"]["caption"]
        == "a street in the rain"
    )
    (record,) = run(photo, "--caption", "--point", "4,2", "--json", "--overwrite").records
    assert record["seem"]["caption"] == "a street in the rain"
    assert {"caption", "interactive"} <= set(record["seem"]["seconds"])
    (record,) = run(photo, "--caption-box", "4,2,9,9", "--json", "--overwrite").records
    assert record["seem"]["caption"] == f"a street in {seem.Box(4, 2, 9, 9)}"


def test_what_is_found_competes_with_what_is_named(run, photo, monkeypatch):
    asked = []
    find = EncodedImage.find

    def noted(self, phrases, threshold, *, against):
        asked.append(against)
        return find(self, phrases, threshold, against=against)

    monkeypatch.setattr(EncodedImage, "find", noted)
    for number, given in enumerate(
        ([], ["--against", "none"], ["--against", "bus, tram"], ["--against", "ade20k"])
    ):
        assert run(photo, "--find", "a car", *given, "--out", f"out{number}").code == 0
    assert asked[:2] == [None, ()]
    assert asked[2].names == ("bus", "tram")
    assert asked[3] == seem.Vocabulary.ade20k()


def test_a_model_without_captions_says_so(run, photo):
    assert refused(
        run(photo, "--caption", "--json"), 2, "seem: nano writes no captions; load an X-Decoder"
    )


# --- Folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Three photos, one of them in a sub-folder, and one bad file between them."""
    for name in ("in/a.jpg", "in/c.png", "in/sub/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(40, 30).save(path)
    (tmp_path / "in" / "b.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes()[:300])
    return "in"


def test_one_bad_file_is_reported_and_the_rest_go_on(run, folder):
    ran = run(folder, "--point", "4,2", "--out", "out", "--json")
    assert ran.code == 1
    assert [record["images"][0]["file_name"] for record in ran.records] == [
        "a.jpg",
        "c.png",
        "sub/a.jpg",
    ]
    assert {name for name in names("out") if name.endswith(".json")} == {
        "a.json",
        "c.json",
        "sub/a.json",
    }
    complaints = [line for line in ran.err.splitlines() if line.startswith("seem: ")]
    assert len(complaints) == 2
    assert complaints[0].startswith("seem: in/b.jpg cannot be read as a picture")
    assert complaints[1] == "seem: 1 of 4 photos failed."


def test_worker_processes_give_the_results_of_one(run, folder):
    common = (folder, "--point", "4,2", "--json", "--quiet")
    alone = run(*common, "--out", "alone")
    shared = run(*common, "--out", "shared", "--workers", "2")
    assert (shared.code, shared.err) == (alone.code, alone.err)
    assert alone.code == 1
    for one, other in zip(alone.records, shared.records, strict=True):
        assert [each["file_name"] for each in one["images"]] == [
            each["file_name"] for each in other["images"]
        ]
        assert one["annotations"] == other["annotations"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--workers", "0"], "workers is 0; use 1 (this process) or more"),
        (["in", "--workers", "4000"], "workers is 4000; this machine has"),
        (["-", "--workers", "2"], "--workers 2 processes read files, not standard input"),
    ],
)
def test_workers_that_cannot_be_are_refused_before_the_model_is_loaded(
    run, folder, arguments, message
):
    assert refused(run(*arguments, model="nowhere.safetensors"), 2, message)


def test_a_folder_has_a_progress_bar_and_a_photo_has_none(run, folder):
    Path("in/b.jpg").unlink()
    ran = run(folder, "--point", "4,2")
    assert "3/3" in ran.err
    assert "The results of 3 photos are in seem-out/." in ran.out
    assert run("in/c.png", "--point", "4,2", "--overwrite").err == ""
    assert run(folder, "--quiet", "--overwrite").err == ""


def test_a_prompt_outside_one_photo_of_several_stops_none(run, folder):
    Path("in/b.jpg").unlink()
    picture(100, 100).save("in/large.png")
    ran = run(folder, "--point", "80,80", "--json")
    assert ran.code == 1
    assert [record["images"][0]["file_name"] for record in ran.records] == ["large.png"]
    assert "seem: in/a.jpg: Point(80, 80) lies outside the image of 40 x 30 pixels" in ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--not-point", "4,2"], "All prompts are negative"),
        (["--threshold", "1.5"], "threshold is 1.5; it must be between 0 and 1"),
        (["--text", "a dog", "--threshold", "nan"], "threshold is nan; it must be between 0 and 1"),
        (
            ["--point", "1,1", "--candidates", "0"],
            "candidates is 0; it is a whole number, at least 1",
        ),
        (["--size", "8"], "size is 8; the short side"),
        (["--caption"], "writes no captions"),
    ],
)
def test_a_call_that_is_wrong_for_every_photo_is_refused_once(run, folder, arguments, message):
    assert refused(run(folder, *arguments, "--json"), 2, message)


def test_a_prompt_that_the_model_does_not_take_is_refused_once(run, folder, tmp_path):
    write_tensors(
        tmp_path / "v1.safetensors", tiny_network("seem-focal-t-v1").state_dict(), {MODEL_KEY: V1}
    )
    shown = ["--reference", "in/a.jpg", "--reference-box", "1,2,20,20"]
    ran = run(folder, *shown, "--json", model=tmp_path / "v1.safetensors")
    assert refused(ran, 2, "seem-focal-t-v1 takes no Reference")


def test_a_wrong_call_is_told_before_results_that_are_there(run, photo):
    run(photo, "--point", "4,2", "--quiet")
    assert "threshold is 3.0" in run(photo, "--threshold", "3").err


def test_a_second_run_refuses_before_any_work(run, folder):
    run("in/c.png", "--point", "4,2")
    before = {name: Path("seem-out", name).stat().st_mtime_ns for name in names()}
    ran = run(folder, model="nowhere.safetensors")
    assert ran.code == 1
    assert ran.err == (
        "seem: 1 of 4 photos have results already: seem-out/c.*; "
        "pass --resume, --overwrite or another --out.\n"
    )
    assert before == {name: Path("seem-out", name).stat().st_mtime_ns for name in names()}


def test_an_interrupted_call_goes_on_with_the_photos_that_have_no_results(run, folder):
    Path("in/b.jpg").unlink()
    run("in/c.png", "--point", "4,2")
    before = {name: Path("seem-out", name).stat().st_mtime_ns for name in names()}
    Path("seem-out/a.overlay.png").write_bytes(b"of a process killed while it renamed")
    ran = run(folder, "--point", "4,2", "--resume")
    assert ran.code == 0
    assert "1 of 3 photos have results already." in ran.err
    assert {Path("seem-out", name).stat().st_mtime_ns for name in before} == set(before.values())
    assert len([name for name in names() if name.endswith(".json")]) == 3
    ran = run(folder, "--point", "4,2", "--resume", model="nowhere.safetensors")
    assert (ran.code, ran.err) == (0, "3 of 3 photos have results already.\n")


@pytest.mark.parametrize(
    ("earlier", "now", "message"),
    [
        (["--point", "4,2"], ["--point", "5,2"], "of --point 4,2, this call has --point 5,2; ask for the same"),
        (["--point", "4,2"], ["--text", "cat"], "a result of --point 4,2, this call has --text cat"),
        (["--point", "4,2"], [], "a result of --point 4,2, this call has no prompt"),
        ([], ["--task", "instance"], "a result of no prompt, this call has --task instance"),
        (["--find", "cat"], ["--find", "dog"], "a result of --find cat, this call has --find dog"),
        (["--everything"], ["--everything", "--embeddings"], "--everything, this call has --everything --embeddings"),
        (["--classes", "cat"], ["--classes", "dog"], "a result of --classes cat, this call has --classes dog"),
        (["--threshold", "1"], ["--threshold", "0.5"], "--threshold 1.0, this call has --threshold 0.5"),
        (["--size", "64"], ["--size", "96"], "a result of --size 64, this call has --size 96"),
        (
            ["--point", "4,2", "--object", "--point", "5,5"],
            ["--point", "4,2", "--point", "5,5"],
            "of --point 4,2 --object --point 5,5, this call has --point 4,2 --point 5,5",
        ),
    ],
)  # fmt: skip
def test_going_on_with_another_question_is_refused(run, folder, earlier, now, message):
    Path("in/b.jpg").unlink()
    run("in/c.png", *earlier)
    before = {name: Path("seem-out", name).stat().st_mtime_ns for name in names()}
    ran = run(folder, *now, "--resume", model="nowhere.safetensors")
    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert ran.err.startswith("seem: seem-out/c.json is a result of ")
    assert message in ran.err
    assert ran.err.endswith("or pass --overwrite or another --out.\n")
    assert before == {name: Path("seem-out", name).stat().st_mtime_ns for name in names()}


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        (["--point", "4,2"], ["--point", "4.0, 2"]),
        (["--find", "cat", "--threshold", "0.50"], ["--find", "cat", "--threshold", ".5"]),
        (["--mask", "mask.png"], ["--mask", "./in/../mask.png"]),
        (
            ["--reference", "in/a.jpg", "--reference-box", "1,2,9,9"],
            ["--reference", "{cwd}/in/a.jpg", "--reference-box", "1,2,9,9.0"],
        ),
        (["--classes", "cat,a dog"], ["--classes", "cat, a  dog"]),
    ],
)  # fmt: skip
def test_what_denotes_the_same_goes_on(run, folder, earlier, now):
    Path("in/b.jpg").unlink()
    Image.open("in/c.png").convert("L").save("mask.png")
    assert run("in/c.png", *earlier, "--quiet").code == 0
    words = [word.format(cwd=Path.cwd()) for word in now]
    ran = run("in/c.png", *words, "--resume", model="nowhere.safetensors")
    assert (ran.code, ran.err) == (0, "1 of 1 photos have results already.\n")


@pytest.mark.parametrize(("earlier", "now"), [("1e3", "1000"), ("nan", "nan ")])
def test_words_are_no_numbers(earlier, now):
    assert denote_the_same([f"--text {earlier}"], [f"--text {now}"]) == (earlier == now.strip())


def test_the_same_question_in_other_words_goes_on(run, folder):
    Path("in/b.jpg").unlink()
    run("in/c.png", "--refine", "zoom", "--point", "4,2", "--quiet")
    assert run(folder, "--point", "4,2", "--second-look", "--resume", "--json").code == 0
    recorded = [json.loads(file.read_bytes())["seem"] for file in Path("seem-out").rglob("*.json")]
    assert [record["options"] for record in recorded] == 3 * [["--point 4,2", "--refine zoom"]]


def test_going_on_with_another_model_is_refused(run, folder):
    Path("in/b.jpg").unlink()
    run("in/c.png", "--point", "4,2", "--quiet")
    file = Path("seem-out/c.json")
    record = json.loads(file.read_bytes())
    record["seem"]["sha256"] = "cd" * 32
    file.write_text(json.dumps(record))
    ran = run(folder, "--point", "4,2", "--resume", "--quiet")
    assert ran.code == 2
    assert ran.err.startswith("seem: seem-out/c.json is a result of nano with other weights than")


def test_results_that_do_not_record_their_options_are_gone_on_with(run, folder):
    Path("in/b.jpg").unlink()
    run("in/c.png", "--point", "4,2", "--quiet")
    file = Path("seem-out/c.json")
    record = json.loads(file.read_bytes())
    del record["seem"]["options"]
    file.write_text(json.dumps(record))
    assert run(folder, "--point", "4,2", "--resume", "--quiet").code == 0


def test_going_on_excludes_overwriting(run, folder):
    message = "--resume leaves results as they are and --overwrite replaces them"
    assert refused(run(folder, "--resume", "--overwrite"), 2, message)


def test_overwriting_leaves_no_older_mask_behind(run, photo):
    run(photo, "--point", "4,2", "--object", "--point", "5,5")
    assert run(photo, "--point", "4,2", "--overwrite").code == 0
    assert names() == ["street.json", "street.mask-0.png", "street.overlay.png"]


def test_an_unforeseen_error_is_one_line_and_the_rest_go_on(run, folder, monkeypatch):
    panoptic = EncodedImage.panoptic

    def stumble(self, *arguments):
        if self.name == "c.png":
            raise RuntimeError("a\nb")
        return panoptic(self, *arguments)

    monkeypatch.setattr(EncodedImage, "panoptic", stumble)
    ran = run(folder)
    assert ran.code == 1
    assert "seem: in/c.png: unexpected RuntimeError: a b (SEEM_DEBUG=1 shows where).\n" in ran.err
    assert "Traceback" not in ran.err
    assert "The results of 2 photos are in seem-out/." in ran.out


def test_seem_debug_shows_the_trace(run, photo, monkeypatch):
    monkeypatch.setenv("SEEM_DEBUG", "1")
    ran = run(photo, "--point", "900,2")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert "seem: street.png: Point(900, 2) lies outside" in ran.err


# --- Photos of every kind ---------------------------------------------------------------------------------------------


def png_header(width, height):
    """Write a PNG that claims a size and holds next to nothing."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


KINDS = {
    "grey.png": picture(40, 30).convert("L"),
    "bit.png": picture(40, 30).convert("1"),
    "palette.png": picture(40, 30).convert("P"),
    "alpha.png": picture(40, 30).convert("RGBA"),
    "cmyk.jpg": picture(40, 30).convert("CMYK"),
    "deep.png": Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50),
    "dot.png": picture(1, 1),
    "column.png": picture(3, 5000),
    "row.png": picture(5000, 3),
}
SHAPES = ("dot.png", "column.png", "row.png")


@pytest.mark.parametrize(
    ("name", "question"),
    [
        *((name, ()) for name in KINDS),
        *((name, ("--point", "0,0")) for name in SHAPES),
        *((name, ("--task", "instance")) for name in SHAPES),
        *((name, ("--task", "semantic")) for name in SHAPES),
    ],
)
def test_every_kind_of_picture_is_segmented(run, name, question):
    image = KINDS[name]
    image.save(name)
    (record,) = run(name, *question, "--json").records
    assert (record["images"][0]["width"], record["images"][0]["height"]) == image.size
    assert pixels(f"seem-out/{Path(name).stem}.overlay.png").shape == (image.height, image.width, 3)


def test_what_a_reader_should_know_is_told(run):
    frames = [picture(40, 30, seed) for seed in range(3)]
    frames[0].save("film.gif", save_all=True, append_images=frames[1:])
    ran = run("film.gif", "--point", "4,2")
    assert ran.code == 0
    assert ran.err == "seem: film.gif: several frames: only the first is read\n"


def test_a_photo_is_upright_and_the_record_says_so(run):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(40, 30).save("turned.jpg", exif=exif)
    (record,) = run("turned.jpg", "--point", "4,35", "--json").records
    assert record["images"][0]["height"] == 40
    assert record["seem"]["orientation"] == 6


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("empty.jpg", b"", 1, "empty.jpg is empty (0 bytes)"),
        ("notes.jpg", b"not a picture", 1, "notes.jpg is not a picture that can be read; use JPEG"),
        (
            "bomb.png",
            png_header(50_000, 50_000),
            1,
            "bomb.png claims 2,500,000,000 pixels, more than the limit",
        ),
        (
            "large.png",
            png_header(10_001, 10_000),
            1,
            "large.png has 10001 x 10000 pixels, more than the limit",
        ),
        ("cut.png", png_header(40, 30), 1, "cut.png cannot be read as a picture"),
        ("missing.jpg", None, 1, "There is no photo at missing.jpg"),
    ],
)
def test_a_bad_photo_is_one_line(run, name, content, code, message):
    if content is not None:
        Path(name).write_bytes(content)
    assert refused(run(name, "--json"), code, message)


def test_a_truncated_jpeg_is_one_line(run):
    picture(200, 200).save("cut.jpg")
    Path("cut.jpg").write_bytes(Path("cut.jpg").read_bytes()[:1500])
    assert refused(
        run("cut.jpg", "--point", "4,2", "--json"), 1, "cut.jpg cannot be read as a picture"
    )


def test_a_file_name_that_is_no_text_is_segmented(run, photo):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        Path(photo).rename(name)
    except OSError:
        pytest.skip("this file system takes only text as names")
    ran = run(name, "--point", "4,2")
    assert ran.code == 0
    assert "caf\\udce9.png: 1 object" in ran.out
    assert len(names()) == 3


# --- Calls that are wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--point", "53,2"],
            "street.png: Point(53, 2) lies outside the image of 53 x 37 pixels; x must be at least 0",
        ),
        (["--point", "-1,2"], "Point(-1, 2) lies outside the image"),
        (
            ["--point=nan,2"],
            "--point 'nan,2': The x of a point is nan; it must be a finite number.",
        ),
        (["--box", "60,1,80,9"], "Box(60, 1, 80, 9) lies outside the image of 53 x 37 pixels"),
        (
            ["--box", "9,9,3,3"],
            "Box(9, 9, 3, 3) is inverted; give the left top corner, then the right bottom one (not width "
            "and height).",
        ),
        (
            ["--stroke", "3,4"],
            "A stroke needs at least 2 points, got 1; use Point for a single click.",
        ),
        (
            ["--stroke", "80,80 90,90"],
            "This stroke, which begins at (80, 80), lies outside the image",
        ),
        (["--text", ""], "The phrase '' is empty; say what to look for."),
        (["--text", "a\tb\x07"], "The phrase holds the control character U+0007; remove it."),
        (
            ["--not-point", "4,2"],
            "All prompts are negative; add at least one that says what is meant.",
        ),
        (["--object"], "Object 1 has no prompt"),
        (["--width", "3"], "--width 3 has no effect"),
        (
            ["--point", "1,1", "--task", "panoptic"],
            "--task panoptic asks about the whole photo, a prompt about one",
        ),
        (["--point", "1,1", "--classes", "a,b"], "--classes a,b asks about the whole photo"),
        (
            ["--point", "1,1", "--threshold", "0.5"],
            "--threshold 0.5 has no effect on prompts without --text",
        ),
        (
            ["--point", "1,1", "--everything"],
            "--everything asks about the whole photo, a prompt about one object",
        ),
        (
            ["--task", "panoptic", "--everything"],
            "--everything asks for neither classes nor scores; leave it or --task",
        ),
        (["--everything", "--classes", "cat"], "leave it or --classes cat out"),
        (["--everything", "--threshold", "0.5"], "leave it or --threshold 0.5 out"),
        (
            ["--task", "semantic", "--threshold", "0.5"],
            "--threshold 0.5 has no effect on --task semantic",
        ),
        (
            ["--point", "1,1", "--find", "a dog"],
            "--find a dog asks about the whole photo, a prompt about one object",
        ),
        (
            ["--find", "a dog", "--task", "instance"],
            "--find a dog names what to look for, and so does --task instance",
        ),
        (
            ["--find", "a dog", "--classes", "a,b"],
            "--find a dog names what to look for, and so does --classes a,b",
        ),
        (
            ["--boxes", "found.json", "--everything"],
            "--boxes found.json says what to segment, all of it",
        ),
        (
            ["--boxes", "found.json", "--point", "1,1"],
            "--boxes found.json asks about the whole photo",
        ),
        (["--background"], "--background has an effect on --task semantic alone"),
        (["--point", "1,1", "--template", "a {}"], "--template a {} is a sentence for class names"),
        (
            ["--template", "a dog"],
            "A template needs one {} where the class name goes, got 'a dog'.",
        ),
        (
            ["--against", "bus"],
            "--against bus names classes that compete with --find; add --find, or leave it out.",
        ),
        (["--caption-box", "4,2"], "--caption-box '4,2': '4,2' is not of the form X0,Y0,X1,Y1"),
        (["--find", ""], "--find '': The phrase '' is empty; say what to look for."),
        (
            ["--candidates", "3"],
            "--candidates 3 are alternatives for one object, not for the whole photo",
        ),
        (
            ["--point", "1,1", "--object", "--point", "2,2", "--candidates", "3"],
            "--candidates 3 are alternatives for one object, not for 2 objects",
        ),
        (
            ["--point", "1,1", "--candidates", "0"],
            "candidates is 0; it is a whole number, at least 1",
        ),
        (["--candidates", "many"], "see seem segment --help"),
        (
            ["--refine", "zoom"],
            "--refine zoom crops around an object; add a prompt that says which one, or leave it out",
        ),
        (["--point", "1,1", "--refine", "twice"], "'twice' is not"),
        (
            ["--reference-box", "1,2,3,4"],
            "--reference-box 1,2,3,4 has no effect: object 1 has no --reference PHOTO",
        ),
        (["--threshold", "1.5"], "threshold is 1.5; it must be between 0 and 1"),
        (["--threshold", "nan"], "threshold is nan; it must be between 0 and 1"),
        (["--threshold", "high"], "see seem segment --help"),
        (["--classes", "dog,,cat"], "Class 1 is '', which says nothing"),
        (["--classes", ""], "Class 0 is '', which says nothing"),
        (["--classes", "dog,Dog"], "'Dog' repeats 'dog'"),
        (["--task", "detect"], "'detect'"),
        (["--size", "8"], "size is 8; the short side"),
        (["--model", "nanno"], "There is no model 'nanno'; did you mean 'nano'?"),
        (["--device", "toaster"], "There is no device 'toaster'; use 'cpu'"),
        (["--precision", "half"], "'half'"),
        (["--pont", "1,1"], "No such option: --pont"),
        (["--point"], "--point"),
        (["https://example.org/cat.jpg", "--quiet"], "is a web address; download the photo first"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(run, photo, arguments, message, capfd, weights):
    given = [] if arguments[0].startswith("https:") else [photo]
    words = ["segment", "--model", str(weights), "--device", "cpu", *given, *arguments]
    ran = Ran(main(words), *capfd.readouterr())
    assert ran.code == 2
    assert len(ran.err.splitlines()) == 1, ran.err
    assert message in ran.err
    assert not Path("seem-out").exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((37, 52), "The mask is 52 x 37 pixels, the image 53 x 37; resize the mask"),
        (None, "is empty; mark at least one"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(run, photo, shape, message):
    inside = np.full(shape, 255, np.uint8) if shape else np.zeros((37, 53), np.uint8)
    Image.fromarray(inside).save("mask.png")
    ran = run(photo, "--mask", "mask.png", "--json")
    assert refused(ran, 2, message)


def test_no_photo_is_a_wrong_call(run):
    assert refused(run(), 2, "Missing argument 'PHOTO'; see seem segment --help.")


@pytest.mark.parametrize("phrase", ["a" * 10_000, "🐈" * 50, "the cat\non the mat", "日本語"])
def test_unusual_phrases_are_answered(run, photo, phrase):
    assert run(photo, "--text", phrase, "--point", "4,2").code == 0


# --- Checkpoints that are wrong ---------------------------------------------------------------------------------------


def cut(weights, path):
    path.write_bytes(weights.read_bytes()[:-1000])


def of_another_network(weights, path):
    write_tensors(path, tiny_network("seem-focal-t-v1").state_dict(), {MODEL_KEY: "nano"})


def without_a_name(weights, path):
    save_file(tiny_network("nano").state_dict(), path)


def of_an_unknown_model(weights, path):
    write_tensors(path, tiny_network("nano").state_dict(), {MODEL_KEY: "nano-2"})


@pytest.mark.parametrize(
    ("make", "code", "message"),
    [
        (cut, 1, "is not a safetensors file, or it is cut short"),
        (of_another_network, 1, "is no nano checkpoint: it misses"),
        (without_a_name, 1, "does not say which model it is"),
        (of_an_unknown_model, 1, "bad.safetensors cannot be used: There is no model 'nano-2'"),
        (lambda weights, path: path.write_bytes(b"hello"), 1, "is not a safetensors file"),
        (lambda weights, path: path.write_bytes(b""), 1, "is empty (0 bytes)"),
        (lambda weights, path: None, 1, "There is no file"),
    ],
)
def test_a_bad_checkpoint_is_one_line(run, photo, weights, tmp_path, make, code, message):
    make(weights, tmp_path / "bad.safetensors")
    assert refused(run(photo, "--json", model=tmp_path / "bad.safetensors"), code, message)


def test_a_pickled_checkpoint_never_runs(run, photo, tmp_path):
    (tmp_path / "bad.pt").write_bytes(pickle.dumps(print))
    assert refused(
        run(photo, "--json", model=tmp_path / "bad.pt"),
        2,
        "convert it once with seem convert bad.pt",
    )


# --- Disks that are full, pipes that are closed, people who have had enough -------------------------------------------


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("what", ["replace", "write_text", "mkdir"])
def test_a_full_disk_is_one_line_and_leaves_nothing(run, photo, monkeypatch, what):
    monkeypatch.setattr(Path, what, full)
    ran = run(photo, "--point", "4,2", "--json")
    assert refused(
        ran, 1, "Cannot write results to seem-out: No space left on device; free some space"
    )


def test_a_full_disk_ends_a_folder(run, folder, monkeypatch):
    monkeypatch.setattr(Path, "replace", full)
    ran = run(folder)
    assert ran.code == 1
    assert ran.err.count("Cannot write results") == 1


def test_an_out_that_is_a_file_is_refused_before_the_model_is_loaded(run, photo):
    ran = run(photo, "--out", photo, model="nowhere.safetensors")
    assert refused(
        ran, 1, "Results cannot go to street.png: street.png is a file; choose another --out."
    )


def test_an_out_that_is_named_like_a_file_is_refused_before_the_model_is_loaded(run, photo):
    ran = run(photo, "--out", "found.png", model="nowhere.safetensors")
    assert refused(ran, 2, "--out found.png is the name of a file; name a folder")
    assert not Path("found.png").exists()


def test_an_interruption_is_told_in_a_word(run, folder, monkeypatch):
    def interrupt(self, *arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(EncodedImage, "panoptic", interrupt)
    ran = run(folder)
    assert ran.code == 130
    assert ran.err.endswith("seem: interrupted; what was finished is kept.\n")
    assert "Traceback" not in ran.err
    assert not Path("seem-out").exists()


def in_a_process(*arguments, **options):
    command = [sys.executable, "-m", "seem", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=300, **options)


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="a device that is always full is Linux's own"
)
def test_a_full_standard_output_is_one_line():
    with Path("/dev/full").open("w") as out:
        ran = in_a_process("models", "--json", stdout=out)
    assert (ran.returncode, ran.stderr) == (1, "seem: No space left on device\n")


def test_a_closed_pipe_ends_in_silence():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = in_a_process("models", "--json", stdout=writer)
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, "")


# --- The model in the package -----------------------------------------------------------------------------------------


def test_the_embedded_model_segments_without_a_network_connection(tmp_path):
    """Needs the weights in the package, as do the users who type this."""
    photo = Path(__file__).parents[2] / "examples" / "photos" / "cat.jpg"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "SEEM_CACHE": str(tmp_path / "cache")}
    arguments = (
        "segment",
        str(photo),
        "--point",
        "230,60",
        "--text",
        "a cat",
        "--json",
        "--precision",
        "exact",
    )
    ran = in_a_process(*arguments, stdout=subprocess.PIPE, cwd=tmp_path, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    (record,) = (json.loads(line) for line in ran.stdout.splitlines())
    assert record["seem"]["model"] == "nano"
    assert len(record["annotations"]) == 1
    assert names(tmp_path / "seem-out") == ["cat.json", "cat.mask-0.png", "cat.overlay.png"]


# ------------------------------------------------------------------------------------------------ several runs


def test_a_second_run_into_a_folder_is_refused_while_the_first_is_at_work(run, photo):
    with hold_folder(Path("seem-out")):
        before = names()
        ran = run(photo)
        assert (ran.code, ran.out) == (1, "")
        assert "Another run is at work on seem-out (process " in ran.err
        assert "wait for it, or pass another --out" in ran.err
        assert len(ran.err.splitlines()) == 1
        assert names() == before
        assert run(photo, "--out", "other").code == 0
    assert run(photo).code == 0


def test_the_lock_of_a_run_that_was_killed_holds_nobody(run, photo):
    Path("seem-out").mkdir()
    for name in LOCK_FILES:
        Path("seem-out", name).write_text("process 1 on a machine that is gone")
    assert run(photo).code == 0
    assert not set(LOCK_FILES) & set(names())


def test_progress_has_the_rate_and_the_remaining_time(run, tmp_path, monkeypatch):
    monkeypatch.setattr("seem.cli.report.LOG_INTERVAL_SECONDS", 0)
    for number in range(3):
        picture(40, 30, seed=number).save(tmp_path / f"{number}.png")
    ran = run(*(f"{number}.png" for number in range(3)))
    assert ran.code == 0
    lines = [
        line for line in ran.err.splitlines() if re.search(r"[12]/3 \[\d\d:\d\d<\d\d:\d\d", line)
    ]
    assert lines
    assert re.search(r"photo/s|s/photo", lines[-1])
