"""Judging a model on held-out photos: what is asked of which set, and which answers are remembered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tiny_training as tiny
from seem.data.dataset import photo_record
from seem.data.opening import open_dataset
from seem.evaluation.metrics.semantic import IGNORED
from seem.training.validation import WORST, Worst, is_semantic, score, spread, true_classes
from tiny import tiny_model, tiny_relative


@pytest.mark.parametrize(
    ("write", "all_over"),
    [(tiny.walls, True), (tiny.bricks, False), (tiny.coco_bricks, False), (tiny.yolo_bricks, False)],
    ids=["every pixel has a class", "one class of a map", "objects", "objects in parts"],
)
def test_only_sets_that_are_labelled_all_over_are_asked_for_every_pixel(tmp_path, write, all_over):
    assert is_semantic(open_dataset(str(write(tmp_path / "set")), "train")) is all_over


def test_pixels_of_no_class_do_not_count(tmp_path):
    dataset = open_dataset(str(tiny.walls(tmp_path / "set", count=1)), "train")
    photo = dataset.photos[0]
    both = true_classes(dataset, photo, {1: 0, 2: 1})
    assert set(np.unique(both)) == {0, 1}
    bricks = true_classes(dataset, photo, {1: 0})
    assert np.array_equal(bricks == IGNORED, both == 1)


def test_a_set_is_asked_what_it_knows(tmp_path):
    model, steps = tiny_model("nano"), []
    pixels = score(model, [open_dataset(str(tiny.walls(tmp_path / "walls")), "train")], 2, lambda: steps.append(1))
    objects = score(model, [open_dataset(str(tiny.coco_bricks(tmp_path / "coco")), "train")], 1)
    assert (pixels.parts.keys(), objects.parts.keys()) == ({"semantic_miou"}, {"click_iou", "name_miou"})
    assert (pixels.photos, objects.photos, len(steps)) == (2, 1, 2)
    assert objects.main == pytest.approx((objects.click + objects.names) / 2)


def test_a_model_without_clicks_is_asked_for_names(tmp_path):
    dataset = open_dataset(str(tiny.coco_bricks(tmp_path / "coco")), "train")
    assert score(tiny_relative("xdecoder"), [dataset], 1).parts.keys() == {"name_miou"}


@pytest.mark.parametrize(("most", "chosen"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (2, [0, 2]), (1, [0])])
def test_photos_are_spread_over_the_set(most, chosen):
    photos = [photo_record(number, "set", Path(f"{number}.png"), (1, 1), "train", "") for number in range(5)]
    assert [photo.id for photo in spread(photos, most)] == chosen


def mask(inside, size=10):
    return np.arange(size) < inside


def test_the_worst_answers_are_remembered_one_a_photo():
    worst = Worst()
    dataset = SimpleNamespace(name="set")
    for number in range(WORST + 2):
        photo = SimpleNamespace(id=number)
        assert worst.add(dataset, photo, "half", mask(5)[None], mask(10)[None]) == 0.5
        assert worst.add(dataset, photo, "some", mask(1 + number)[None], mask(10)[None]) == (1 + number) / 10
        worst.add(dataset, photo, "right", mask(4)[None], mask(4)[None])
    cases = worst.cases()
    assert [case.photo.id for case in cases] == [0, 1, 2, 3, 4, 5]
    assert [case.what for case in cases] == ["some"] * 4 + ["half"] * 2
    assert [case.iou for case in cases] == pytest.approx([10, 20, 30, 40, 50, 50])


def test_of_equally_wrong_answers_the_larger_is_remembered():
    worst, photo = Worst(), SimpleNamespace(id=1)
    for what, size in (("small", 2), ("large", 6), ("middling", 4)):
        worst.add(SimpleNamespace(name="set"), photo, what, mask(0)[None], mask(size)[None])
    assert [case.what for case in worst.cases()] == ["large"]
