"""What is wrong with the words and the files of a call is said before a model is loaded, with the right exit code."""

import io
import json
import sys
from pathlib import Path

import pytest
from PIL import Image

import tiny_data
from seem import zoo
from seem.cli.main import main


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with photos, frames and a data set, where no model can be loaded."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "small.png", "frames/0.png", "frames/1.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 20) if name == "small.png" else (40, 30), "white").save(name)
    Path("bad.jpg").write_bytes(b"\xff\xd8\xff")
    tiny_data.coco(Path("coco"))
    (tmp_path / "notes.json").write_text("{}")
    header = json.dumps({"__metadata__": {"seem_model": "seem-focal-t-v1"}}).encode()
    for name in ("tiny.safetensors", "trained/best.safetensors"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(len(header).to_bytes(8, "little") + header)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"words")))

    def refuse(*_arguments):
        raise AssertionError("the model is loaded")

    monkeypatch.setattr("seem.loading.open_network", refuse)
    monkeypatch.setattr("seem.finetuning.planning.open_network", refuse)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("segment nothing.jpg", 1, "There is no photo at nothing.jpg; check the path."),
        ("segment bad.jpg", 1, "bad.jpg is not a picture"),
        ("segment photo.png --point 90,2", 2, "photo.png: Point(90, 2) lies outside the image"),
        ("segment photo.png --box 50,1,60,9", 2, "lies outside the image of 40 x 30 pixels"),
        ("segment photo.png --mask small.png", 2, "The mask is 20 x 20 pixels, the image 40 x 30"),
        (
            "segment photo.png --reference small.png --reference-point 30,3",
            2,
            "photo.png: In the reference, small.png: Point(30, 3) lies outside",
        ),
        ("segment photo.png --caption-box 50,1,60,9 --model xdecoder-focal-t", 2, "lies outside the image of 40 x 30"),
        ("segment photo.png --template none", 2, "A template needs one {}"),
        ("segment photo.png --size 7", 2, "size is 7; the short side is a whole number of pixels"),
        ("segment photo.png --out a.png", 2, "--out a.png is the name of a file; name a folder"),
        ("segment photo.png --caption", 2, "nano writes no captions; load an X-Decoder"),
        ("segment photo.png --caption --model tiny.safetensors", 2, "seem-focal-t-v1 writes no captions"),
        ("segment photo.png --size 7 --model tiny.safetensors", 2, "size is 7; the short side"),
        ("segment photo.png --point 1,1 --model xdecoder-focal-t", 2, "takes no visual prompts"),
        ("segment photo.png --reference small.png --reference-point 1,1 --model trained", 2, "takes no Reference"),
        ("segment -", 1, "Standard input is not a picture that can be read"),
        ("track frames --point 1,1 --model xdecoder-focal-t", 2, "takes no visual prompts"),
        ("segment http://a.b/c.jpg", 2, "is a web address; download the photo first"),
        ("retrieve nothing.jpg --text cat", 1, "There is no photo at nothing.jpg"),
        ("retrieve photo.png --text cat --size 7", 2, "size is 7"),
        ("track nothing.mp4 --point 1,1", 1, "There is no video at nothing.mp4"),
        ("track http://a.b/c.mp4 --point 1,1", 2, "is a web address; download the video first"),
        ("track frames --point 1,1 --frame 9", 2, "Frame 9 does not exist: frames has 2 frames"),
        ("track frames --point 90,1", 2, "Point(90, 1) lies outside the image of 40 x 30 pixels"),
        ("track frames --point 1,1 --size 7", 2, "size is 7"),
        ("models nothing.safetensors", 1, "There is no file nothing.safetensors; check the path."),
        ("models nothing", 2, "There is no model 'nothing'"),
        ("evaluate --data nowhere", 1, "There is no data set at nowhere"),
        ("evaluate --data coco:coco --split trian", 2, "coco has no part 'trian'; it has val"),
        ("evaluate --data coco:coco --subset notes.json", 1, "is no evaluation subset"),
        ("evaluate --data coco:coco --classes cta", 2, "The data set has no class 'cta'"),
        ("evaluate --data coco:coco --workers 4000", 2, "--workers is 4000, each with a model"),
        ("evaluate --data coco:coco --threads 4000", 2, "--threads is 4000; use 1 to 1024"),
        ("evaluate --data coco:coco --out notes.json/a.json", 1, "notes.json is a file; choose"),
        ("evaluate --data coco:coco --plots notes.json", 1, "is a file; choose another --plots."),
        ("finetune --data nowhere --out run --processes 1", 1, "There is no data set at nowhere"),
        ("finetune --data coco:coco*0 --out run --processes 1", 2, "write a positive number"),
        ("data", 2, "Missing command; see seem data --help."),
        ("data check coco --split trian", 2, "coco has no part 'trian'; it has val"),
        ("data check notes.json", 1, "notes.json is no data set in a format that is known"),
        ("data shards coco out --split trian", 2, "coco has no part 'trian'; it has val"),
        ("data shards coco notes.json", 1, "notes.json is a file; name a folder."),
        ("data subset coco coco", 1, "coco is a folder; name the file to write as OUT."),
        ("data subset coco no/a.json", 1, "There is no folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_a_model_is_loaded(here, capfd, words, code, message):
    if words.startswith("track"):
        pytest.importorskip("av")
    before = sorted(here.rglob("*"))
    assert main(words.split()) == code
    ran = capfd.readouterr()
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""
    assert sorted(here.rglob("*")) == before


def test_several_photos_of_which_none_can_be_used_are_each_reported(capfd):
    assert main(["segment", "nothing.jpg", "photo.png", "--point", "90,2"]) == 1
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "seem: There is no photo at nothing.jpg; check the path."
    assert lines[1].startswith("seem: photo.png: Point(90, 2) lies outside the image")
    assert lines[2:] == ["seem: 2 of 2 photos failed."]


def test_one_photo_that_can_be_used_is_worth_a_model(capfd):
    assert main(["segment", "nothing.jpg", "photo.png", "--quiet"]) == 1
    assert "the model is loaded" in capfd.readouterr().err


def test_the_size_of_every_named_model_is_checked(capfd):
    for name, card in zoo.MODEL_CARDS.items():
        if card.config is not None:
            assert main(["segment", "photo.png", "--model", name, "--size", "7"]) == 2
            assert "size is 7" in capfd.readouterr().err
