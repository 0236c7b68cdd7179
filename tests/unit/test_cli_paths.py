"""Empty paths, pipes and devices on the command line are refused."""

import os
import signal
import stat
from pathlib import Path

import pytest
from PIL import Image

import tiny_data
from seem.cli.main import main
from seem.errors import SeemError
from seem.regular_file import check_replaceable

pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")


@pytest.mark.parametrize(
    ("words", "about"),
    [
        (["segment", ""], "An argument"),
        (["segment", "--quiet", ""], "A photo"),
        (["segment", "a.jpg", "--out", ""], "--out"),
        (["segment", "a.jpg", "--out="], "--out"),
        (["track", ""], "An argument"),
        (["finetune", "--data", "", "--out", "run"], "--data"),
        (["data", "check", ""], "An argument"),
        (["segment", "a.jpg", "--model", ""], "--model"),
        (["evaluate", "--data", "coco:a", "--subset", ""], "--subset"),
    ],
)
def test_an_empty_path_is_a_wrong_call(tmp_path, monkeypatch, capfd, words, about):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    expected = f"seem: {about} is an empty text; name a file or a folder (. is this one).\n"
    assert capfd.readouterr().err == expected
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a photo, a data set, and pipes that nobody writes into."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30)).save("photo.png")
    tiny_data.coco(Path("coco"))
    for name in ("a.jpg", "a.mp4", "a.safetensors", "a.wav", "a.json", "a.zip"):
        os.mkfifo(name)
    return tmp_path


@pipes
@pytest.mark.parametrize(
    "words",
    [
        "segment a.jpg --quiet",
        "segment photo.png --mask a.jpg",
        "segment photo.png --audio a.wav",
        "segment photo.png --reference a.jpg --reference-point 1,1",
        "segment photo.png --reference photo.png --reference-mask a.jpg",
        "segment photo.png --boxes a.json",
        "segment photo.png --format coco --ids-from a.json",
        "track a.mp4 --point 1,1",
        "retrieve a.jpg --text cat",
        "models a.safetensors",
        "convert a.safetensors b.safetensors --model seem-focal-t-v1",
        "data check a.json",
        "data check coco:a.json",
        "data check a.zip",
        "evaluate --data a.json",
        "evaluate --data coco:coco --subset a.json",
        "evaluate --compare a.json",
        "finetune --data a.json --out run --processes 1",
        "finetune --data coco:coco --out run --processes 1 --model a.safetensors",
    ],
)
def test_a_pipe_is_refused_and_never_read(here, capfd, words):
    pytest.importorskip("av")
    before = sorted(here.rglob("*"))
    (name,) = {
        word.partition("coco:")[2] or word
        for word in words.split()
        if ":a." in word or word.startswith("a.")
    }
    assert main(words.split()) in (1, 2)
    error = capfd.readouterr().err
    assert f"{name} is a pipe, no" in error
    assert error.count("\n") == 1
    assert sorted(here.rglob("*")) == before


@pipes
@pytest.mark.parametrize("name", ["val2017/a.jpg", "annotations/instances_val2017.json"])
def test_a_pipe_inside_a_data_set_is_no_file_of_it(here, capfd, name):
    file = Path("coco", name)
    file.unlink()
    os.mkfifo(file)
    assert main(["data", "check", "coco:coco"]) == 1
    ran = capfd.readouterr()
    assert "Traceback" not in ran.err


@pytest.fixture
def waits_for_nobody():
    """Reading a pipe that nobody writes into ends with an error after some seconds."""

    def give_up(_number, _frame):
        raise TimeoutError("something waits for a pipe")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pipes
@pytest.mark.parametrize(
    ("write", "name"),
    [
        (tiny_data.youtube_vos, "valid/meta.json"),
        (tiny_data.berkeley, "masks/a#1.png"),
        (tiny_data.cityscapes, "gtFine/val/ulm/ulm_0_gtFine_instanceIds.png"),
        (tiny_data.openimages, "class-descriptions-boxable.csv"),
        (tiny_data.yolo, "data.yaml"),
        (tiny_data.voc, "VOC2012/ImageSets/Segmentation/val.txt"),
    ],
)
@pytest.mark.usefixtures("waits_for_nobody")
def test_a_pipe_among_the_files_of_a_set_is_never_read(tmp_path, capfd, write, name):
    write(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    main(["data", "check", str(tmp_path)])
    assert "unexpected" not in capfd.readouterr().err


@pipes
@pytest.mark.parametrize(
    "words",
    [
        "data subset coco:coco a.json --photos 1 --overwrite",
        "convert photo.png a.safetensors --model seem-focal-t-v1 --overwrite",
        "evaluate --data coco:coco --out a.json --overwrite",
    ],
)
def test_a_pipe_is_not_replaced_by_a_file(here, capfd, words):
    assert main(words.split()) in (1, 2)
    assert "is a pipe, no file; name a file to write." in capfd.readouterr().err
    for name in ("a.json", "a.safetensors"):
        assert stat.S_ISFIFO(Path(name).stat().st_mode)


def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(SeemError, match="is a device, no file; name a file to write"):
        check_replaceable(os.devnull)
    check_replaceable("nothing-is-here")
