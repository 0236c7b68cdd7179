"""Many images are encoded in their order while others are read, and an error ends one image alone."""

import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from seem import SeemError
from seem.encode_many import READ_AHEAD, encode_each
from seem.inference import prompt_decoder
from tiny import CONFIGS, picture, tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("nano")


@pytest.fixture
def folder(tmp_path):
    """Two photos, a bad one between them, and files that are none."""
    (tmp_path / "sub").mkdir()
    picture(40, 30).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff")
    picture(30, 40).save(tmp_path / "sub" / "c.png")
    for name in (".hidden.png", "a.overlay.png"):
        picture(9, 9).save(tmp_path / name)
    (tmp_path / "a.json").write_text("{}")
    return tmp_path


def assert_same_encoding(one, other):
    assert (one.name, one.hw) == (other.name, other.hw)
    torch.testing.assert_close(one.batch.pixels, other.batch.pixels)
    torch.testing.assert_close(
        one.encoding.pixels.mask_features.cells, other.encoding.pixels.mask_features.cells
    )
    torch.testing.assert_close(one.encoding.text_map, other.encoding.text_map)


@pytest.mark.parametrize("name", CONFIGS)
def test_images_of_every_kind_are_encoded_in_their_order(name, tmp_path):
    model = tiny_model(name)
    path = tmp_path / "photo.png"
    picture(40, 30).save(path)
    images = [path, np.asarray(picture(33, 47)), picture(50, 20)]
    for many, one in zip(model.encode_many(images, 96), images, strict=True):
        assert_same_encoding(many, model.encode(one, 96))


def test_a_folder_gives_its_photos_without_results_and_hidden_files(model, folder):
    with pytest.warns(UserWarning, match=r"Image 1 is left out: .*b\.jpg"):
        images = list(model.encode_many(folder))
    assert [image.name for image in images] == ["a.png", "c.png"]


def test_an_error_is_raised_or_returned_where_that_is_asked(model, folder):
    images = model.encode_many(folder, errors="raise")
    assert next(images).name == "a.png"
    with pytest.raises(SeemError, match=r"b\.jpg"):
        next(images)
    _, error, last = model.encode_many(folder, errors="return")
    assert isinstance(error, SeemError)
    assert last.name == "c.png"


def test_few_images_are_in_memory_ahead_of_the_one_that_is_taken(model):
    begun = 0

    def endless():
        nonlocal begun
        while True:
            begun += 1
            yield picture(20, 20)

    images = model.encode_many(endless())
    for number in (1, 2, 3):
        next(images)
        assert begun <= number + READ_AHEAD
    images.close()
    assert not any(thread.name.startswith("seem-read") for thread in threading.enumerate())


def test_the_next_image_is_read_while_one_is_encoded(model, monkeypatch):
    second_is_read = threading.Event()
    preprocess, network = prompt_decoder.preprocess_image, model.image_network
    waited = []

    def read(image, *arguments):
        if image.hw == (22, 22):
            second_is_read.set()
        return preprocess(image, *arguments)

    def encode(batch):
        waited.append(second_is_read.wait(timeout=30))
        return network(batch)

    monkeypatch.setattr(prompt_decoder, "preprocess_image", read)
    monkeypatch.setattr(model, "image_network", encode)
    assert len(list(model.encode_many([picture(11, 11), picture(22, 22)]))) == 2
    assert waited == [True, True]


@pytest.mark.parametrize("name", ["nano", "seem-focal-t-v1"])
def test_worker_processes_encode_what_this_one_would(name, folder):
    model = tiny_model(name)
    here = list(model.encode_many(folder, errors="return"))
    there = list(model.encode_many(folder, errors="return", workers=2))
    assert [type(each) for each in there] == [type(each) for each in here]
    for index in (0, 2):
        torch.testing.assert_close(there[index].batch.pixels, here[index].batch.pixels)
        assert (
            there[index].panoptic(["cat", "dog"]).to_coco()["images"]
            == (here[index].panoptic(["cat", "dog"]).to_coco()["images"])
        )
        assert_same_masks(there[index], here[index])
    assert str(there[1]) == str(here[1])


def assert_same_masks(one, other):
    masks, expected = one.semantic(["cat", "dog"]).masks, other.semantic(["cat", "dog"]).masks
    assert masks.shape == expected.shape
    assert (masks != expected).mean() < 0.001


def test_a_process_that_dies_is_one_error(model):
    with pytest.raises(SeemError, match="A worker process ended before its work"):
        list(encode_each(model, [3], os._exit, workers=2))


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (picture(9, 9), {}, "put a single one into a list"),
        (np.zeros((9, 9, 3), np.uint8), {}, "put a single one into a list"),
        (torch.zeros((3, 9, 9), dtype=torch.uint8), {}, "put a single one into a list"),
        (3, {}, "images is 3; use a list of images"),
        ([], {"workers": 0}, "workers is 0; use 1"),
        ([], {"workers": True}, "workers is True"),
        ([], {"workers": 4000}, "workers is 4000; this machine has"),
        ([], {"errors": "ignore"}, "errors is 'ignore'; "),
        ([], {"size": 7}, "size is 7; the short side"),
    ],
)
def test_a_wrong_call_is_refused_before_any_work(model, images, options, message):
    with pytest.raises(ValueError, match=message):
        model.encode_many(images, **options)


def test_a_folder_without_images_is_an_error(model, tmp_path):
    with pytest.raises(SeemError, match="holds no photo"):
        model.encode_many(tmp_path)


def test_a_stack_of_arrays_is_several_images(model):
    stack = np.stack([np.asarray(picture(30, 20)), np.asarray(Image.new("RGB", (30, 20)))])
    assert [image.hw for image in model.encode_many(stack)] == [(20, 30), (20, 30)]
