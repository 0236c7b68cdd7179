"""Exit codes follow one rule in every verb: 2 if the call needs other words, 1 if other files would do."""

from pathlib import Path

import pytest
from PIL import Image

import tiny_data
from seem.cli.main import VERBS, main

FAILED, WRONG_CALL = 1, 2

FILES = {
    "nothing": "there is nothing there",
    "bad": "there is something that cannot be read",
    "other": "there is something of another layout",
}
"""What is wrong with a file, by the word that stands for it in a call."""

CALLS_WITH_A_FILE = {
    "segment": ["segment {}.png", "segment photo.png --boxes {}.json", "segment photo.png --mask {}.png",
                "segment photo.png --reference {}.png --reference-point 1,1",
                "segment photo.png --model {}.safetensors"],
    "label": ["label {}.png --classes cat", "label photo.png --classes cat --ids-from {}.json"],
    "track": ["track {}.mp4 --point 1,1"],
    "retrieve": ["retrieve {}.png --text cat"],
    "page": ["page --out out --runtime {}", "page --out out --model {}.safetensors"],
    "models": ["models {}.safetensors"],
    "convert": ["convert {}.pt out.safetensors --model seem-focal-t-v1 --no-classes"],
    "export": ["export --model {}.safetensors --out out"],
    "serve": ["serve --model {}.safetensors --port 0"],
    "finetune": ["finetune --data {} --out run --processes 1"],
    "train": ["train seem --data {} --out run --processes 1", "train nano --data pack:{} --out run --processes 1"],
    "evaluate": ["evaluate --data {}", "evaluate --compare {}.json", "evaluate --data coco:coco --subset {}.json"],
    "data": ["data check {}", "data subset {} out.json", "data shards {} out"],
}  # fmt: skip

WRONG_CALLS = {
    "segment": ["segment", "segment photo.png --size 7", "segment photo.png --point 90,2",
                "segment photo.png --nonsense"],
    "label": ["label photo.png", "label photo.png --classes cat --format paper",
              "label photo.png --classes cat --format coco-panoptic,yolo"],
    "track": ["track frames --frame 9 --point 1,1", "track frames --point x"],
    "retrieve": ["retrieve photo.png"],
    "page": ["page", "page --out out --nonsense"],
    "models": ["models no-such-model", "models --nonsense"],
    "convert": ["convert a.pt out.txt --model seem-focal-t-v1", "convert a.pt out.safetensors --model nano"],
    "export": ["export --out out --format paper", "export --out out --opset 3"],
    "serve": ["serve --port 99999999", "serve --model no-such-model"],
    "finetune": ["finetune --data coco:coco*0 --out run", "finetune --data cocoa:coco --out run", "finetune --out run"],
    "train": ["train nothing --data coco --out run", "train nano --data coco:coco --out run", "train seem --out run"],
    "evaluate": ["evaluate --data coco:coco --split trian", "evaluate --data cocoa:coco", "evaluate --compare"],
    "data": ["data check coco --split trian", "data shards coco out --split trian", "data check cocoa:coco",
             "data subset coco:coco out.json --split trian", "data subset coco:coco out.json --photos 5"],
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder with a photo, frames, a data set, and files that cannot be used."""
    monkeypatch.chdir(tmp_path)
    for name in ("photo.png", "frames/0.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), "white").save(name)
    tiny_data.coco(Path("coco"))
    for word, content in (("bad", b"\x89PNG{"), ("other", b"[1, 2]")):
        for ending in ("png", "json", "mp4", "pt", "safetensors"):
            Path(f"{word}.{ending}").write_bytes(content)
        Path(word).mkdir()
        Path(word, "annotations.json").write_bytes(content)
    return tmp_path


def calls_of(table):
    return [call for calls in table.values() for call in calls]


def test_every_verb_has_calls():
    assert set(CALLS_WITH_A_FILE) == set(WRONG_CALLS) == set(VERBS)


@pytest.mark.parametrize("word", FILES)
@pytest.mark.parametrize("call", calls_of(CALLS_WITH_A_FILE))
def test_a_file_that_cannot_be_used_is_work_that_failed(here, capfd, call, word):
    check_one_line(here, capfd, call.format(word), FAILED)


@pytest.mark.parametrize("call", calls_of(WRONG_CALLS))
def test_words_that_no_file_makes_right_are_a_wrong_call(here, capfd, call):
    check_one_line(here, capfd, call, WRONG_CALL)


def check_one_line(here, capfd, call, code):
    if call.startswith("track"):
        pytest.importorskip("av")
    if call.startswith("serve"):
        pytest.importorskip("fastapi")
    before = sorted(here.rglob("*"))
    ended = main(call.split())
    ran = capfd.readouterr()
    assert ended == code, ran.err
    assert ran.err.startswith("seem: ")
    assert ran.err.count("\n") == 1, ran.err
    assert "unexpected" not in ran.err
    assert sorted(here.rglob("*")) == before
