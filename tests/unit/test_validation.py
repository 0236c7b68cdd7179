"""Judging a model on held-out photos: what is asked of which set, and which answers are remembered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import tiny_training as tiny
from seem.data.opening import open_dataset
from seem.data.records import image_record
from seem.evaluation.metrics.semantic import IGNORED
from seem.training import calibration
from seem.training.calibration import RegionCalibration, calibrate_presence, calibrate_regions
from seem.training.validation import (
    NUM_WORST_CASES,
    WorstCases,
    is_fully_labelled,
    labelled_class_map,
    sample_evenly,
    score,
)
from seem.vocabulary import Vocabulary
from tiny import tiny_model, tiny_relative


@pytest.mark.parametrize(
    ("write", "all_over"),
    [
        (tiny.walls, True),
        (tiny.bricks, False),
        (tiny.coco_bricks, False),
        (tiny.yolo_bricks, False),
    ],
    ids=["every pixel has a class", "one class of a map", "objects", "objects in parts"],
)
def test_only_sets_that_are_labelled_all_over_are_asked_for_every_pixel(tmp_path, write, all_over):
    assert is_fully_labelled(open_dataset(str(write(tmp_path / "set")), "train")) is all_over


def test_pixels_of_no_class_do_not_count(tmp_path):
    dataset = open_dataset(str(tiny.walls(tmp_path / "set", count=1)), "train")
    photo = dataset.images[0]
    both = labelled_class_map(dataset, photo, {1: 0, 2: 1})
    assert set(np.unique(both)) == {0, 1}
    bricks = labelled_class_map(dataset, photo, {1: 0})
    assert np.array_equal(bricks == IGNORED, both == 1)


def test_a_set_is_asked_what_it_knows(tmp_path):
    model, steps = tiny_model("nano"), []
    pixels = score(
        model,
        [open_dataset(str(tiny.walls(tmp_path / "walls")), "train")],
        2,
        lambda: steps.append(1),
    )
    objects = score(model, [open_dataset(str(tiny.coco_bricks(tmp_path / "coco")), "train")], 1)
    assert (pixels.parts.keys(), objects.parts.keys()) == (
        {"semantic_miou"},
        {"click_iou", "name_miou"},
    )
    assert (pixels.photos, objects.photos, len(steps)) == (2, 1, 2)
    assert objects.main == pytest.approx((objects.click + objects.names) / 2)


def test_a_model_without_clicks_is_asked_for_names(tmp_path):
    dataset = open_dataset(str(tiny.coco_bricks(tmp_path / "coco")), "train")
    assert score(tiny_relative("xdecoder"), [dataset], 1).parts.keys() == {"name_miou"}


@pytest.mark.parametrize(
    ("most", "chosen"), [(None, [0, 1, 2, 3, 4]), (9, [0, 1, 2, 3, 4]), (2, [0, 2]), (1, [0])]
)
def test_photos_are_spread_over_the_set(most, chosen):
    photos = [
        image_record(number, "set", Path(f"{number}.png"), (1, 1), "train", "")
        for number in range(5)
    ]
    assert [photo.id for photo in sample_evenly(photos, most)] == chosen


def mask(inside, size=10):
    return np.arange(size) < inside


def test_the_worst_answers_are_remembered_one_a_photo():
    worst = WorstCases()
    dataset = SimpleNamespace(name="set")
    for number in range(NUM_WORST_CASES + 2):
        photo = SimpleNamespace(id=number)
        assert worst.add(dataset, photo, "half", mask(5)[None], mask(10)[None]) == 0.5
        assert (
            worst.add(dataset, photo, "some", mask(1 + number)[None], mask(10)[None])
            == (1 + number) / 10
        )
        worst.add(dataset, photo, "right", mask(4)[None], mask(4)[None])
    cases = worst.cases()
    assert [case.photo.id for case in cases] == [0, 1, 2, 3, 4, 5]
    assert [case.prompt for case in cases] == ["some"] * 4 + ["half"] * 2
    assert [case.iou for case in cases] == pytest.approx([10, 20, 30, 40, 50, 50])


def test_of_equally_wrong_answers_the_larger_is_remembered():
    worst, photo = WorstCases(), SimpleNamespace(id=1)
    for what, size in (("small", 2), ("large", 6), ("middling", 4)):
        worst.add(SimpleNamespace(name="set"), photo, what, mask(0)[None], mask(size)[None])
    assert [case.prompt for case in worst.cases()] == ["large"]


# --- Is it there? -----------------------------------------------------------------------------------------------------


def bricks_and_tiles(document):
    """Call every other object a tile."""
    document["categories"].append({"id": 2, "name": "tile"})
    for record in document["annotations"][::2]:
        record["category_id"] = 2


@pytest.fixture
def scored(monkeypatch):
    """Encoded images of `Sure` are their own recognizers."""
    monkeypatch.setattr(calibration, "dense_recognizer", lambda image: image)


class Sure:
    """A model that is as sure of class `k` in the `n`-th photo as the table says, with a half at `even`."""

    classes = Vocabulary.of(["brick", "tile"])
    network = SimpleNamespace(config=SimpleNamespace(presence_midpoint=0.2))

    def __init__(self, probabilities):
        self.rows = iter(probabilities)

    def classifier(self, vocabulary):
        return torch.eye(len(vocabulary) + 1)

    def encode(self, pixels):
        row = np.asarray(next(self.rows))
        even = self.network.config.presence_midpoint
        return SimpleNamespace(presence=lambda vectors: torch.from_numpy(row / (row + even)))


def written(tmp_path, count):
    return open_dataset(str(tiny.coco_bricks(tmp_path / "coco", count, bricks_and_tiles)), "train")


@pytest.mark.parametrize(
    ("there", "gone", "share", "highest"),
    [
        ([0.5, 0.6, 0.7, 0.4, 0.9, 0.8], [0.1, 0.3, 0.2, 0.05, 0.3, 0.02], 100.0, 0.5),
        ([0.5, 0.6, 0.7, 0.1, 0.9, 0.8], [0.1, 0.3, 0.65, 0.05, 0.3, 0.02], 100 * 5 / 6, 0.6),
    ],
    ids=["names can be parted", "the worse of both shares is as good as can be"],
)
def test_the_threshold_parts_names_that_are_there_from_those_that_are_not(
    tmp_path, there, gone, share, highest, scored
):
    rows = [  # of brick and tile: there is a tile on the photos with even numbers, a brick on the others
        (absent, present) if n % 2 == 0 else (present, absent)
        for n, (present, absent) in enumerate(zip(there, gone, strict=True))
    ]
    measured = calibrate_presence(Sure(rows), [written(tmp_path, 6)])
    assert (measured.found, measured.refused) == pytest.approx((share, share))
    assert 0.3 < measured.midpoint < highest


def test_of_few_names_nothing_is_measured(tmp_path, scored):
    assert calibrate_presence(Sure([(0.1, 0.5)] * 4), [written(tmp_path, 4)]) is None


def test_a_model_without_classes_of_its_own_is_not_asked(tmp_path):
    assert calibrate_presence(tiny_model("nano"), [written(tmp_path, 6)]) is None


def test_a_network_is_asked_about_its_own_classes(tmp_path):
    model = tiny_model("nano")
    model.classes = Vocabulary.of(["brick", "tile"])
    measured = calibrate_presence(model, [written(tmp_path, 6)])
    assert 1e-3 <= measured.midpoint <= 0.9
    assert min(measured.found, measured.refused) >= 50.0 - 100 / 6  # never much worse than guessing


# --- Where is it? -----------------------------------------------------------------------------------------------------


class Pointing:
    """A model that answers the `n`-th photo with the regions that are listed: class, score, mask."""

    classes = Vocabulary.of(["brick", "tile"], stuff=["tile"])

    def __init__(self, answers):
        self.answers = iter(answers)

    def encode(self, pixels):
        return next(self.answers)


@pytest.fixture
def pointing(monkeypatch):
    monkeypatch.setattr(calibration, "regions_by_score", lambda seen, classes: seen)
    return Pointing


def truth(dataset, number, name):
    photo = dataset.images[number]
    return next(each.mask() for each in dataset.objects[photo.id] if each.category.text == name)


def test_regions_are_kept_from_where_most_are_right(tmp_path, pointing):
    dataset = written(tmp_path, 6)  # a tile on the photos with even numbers, a brick on the others
    names = ["tile", "brick"] * 3
    nothing = np.zeros(tiny.HW, bool)
    answers = [
        [(name, 0.3 + number / 100, truth(dataset, number, name)), ("brick", 0.2, nothing)]
        for number, name in enumerate(names)
    ]
    measured = calibrate_regions(pointing(answers), [dataset])
    assert measured == RegionCalibration(0.3, 100.0)


def test_an_object_is_found_once_and_only_by_its_class(tmp_path, pointing):
    dataset = written(tmp_path, 6)
    names = ["tile", "brick"] * 3
    answers = [
        [(name, 0.5, truth(dataset, n, name)), (name, 0.4, truth(dataset, n, name))]
        for n, name in enumerate(names)
    ]
    answers[0] = [("brick", 0.9, truth(dataset, 0, "tile"))]  # right place, wrong name
    measured = calibrate_regions(pointing(answers), [dataset])
    assert measured.threshold == 0.5
    assert measured.f1 == pytest.approx(100 * 2 * 5 / (6 + 6))


def test_where_nothing_is_right_no_threshold_is_measured(tmp_path, pointing):
    dataset = written(tmp_path, 6)
    assert (
        calibrate_regions(pointing([[("brick", 0.9, np.zeros(tiny.HW, bool))]] * 6), [dataset])
        is None
    )
    assert calibrate_regions(pointing([[]] * 6), [dataset]) is None
    few = written(tmp_path / "few", 4)
    told = [[(name, 0.9, truth(few, n, name))] for n, name in enumerate(["tile", "brick"] * 2)]
    assert calibrate_regions(pointing(told), [few]) is None


def test_a_network_is_asked_for_regions_of_its_own_classes(tmp_path):
    model = tiny_model("nano")
    assert calibrate_regions(model, [written(tmp_path, 6)]) is None
    model.classes = Vocabulary.of(["brick", "tile"])
    seen = model.encode(np.zeros((*tiny.HW, 3), np.uint8))
    for name, sure, mask in calibration.regions_by_score(seen, model.classes):
        assert name in model.classes.names
        assert calibration.LOWEST_SCORE <= sure <= 1
        assert mask.shape == tiny.HW
