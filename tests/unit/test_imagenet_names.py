"""Names of ImageNet's classes for salient objects: views, agreement, which are taken, and their loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from seem.data.augmentation import Augmentation
from seem.data.banked_image import BankedImage, BankedObject
from seem.data.image_bank import ImageBank
from seem.data.records import CategoryRecord, ImageRecord, ObjectRecord
from seem.data.training_sampler import TrainingSampler
from seem.models.text.tokenizer import BytePairTokenizer
from seem.recipes import salient_names as naming
from seem.training.objectives.imagenet import (
    ImageNetClasses,
    imagenet_class_loss,
    labelled_objects,
    object_losses,
    with_names,
)
from seem.training.phrases import PhraseTokenizer
from seem.vocabulary import Vocabulary
from tiny import tiny_network

CLASS_NAMES = ("pelican", "harp", "cowboy hat", "bakery")


def name(label=0, whole=0.8, crop=0.8, cutout=0.8, best=None):
    return naming.ObjectName(7, 3, label, whole, crop, cutout, best or (label, label, label))


def mask_of(top, left, bottom, right, hw=(20, 30)):
    mask = np.zeros(hw, bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(
    ("found", "taken"),
    [
        (name(), True),
        (name(label=1), True),
        (name(cutout=0.1), True),  # 0.4 over the three views
        (name(cutout=0.01), False),  # 0.19
        (name(best=(0, 1, 0)), False),
        (name(best=(1, 0, 0)), False),
        (name(best=(0, 0, 1)), True),  # what the greyed view has as its best does not count
        (name(label=2), False),  # worn, so the mask is of a person
        (name(label=3), False),  # a place
    ],
)
def test_a_name_is_taken_where_photo_and_square_agree_on_a_thing(found, taken):
    assert naming.is_taken(found, CLASS_NAMES) is taken


def test_words_that_are_left_out_are_classes():
    known = set(Vocabulary.imagenet().names)
    assert known >= naming.WORN_HELD_OR_RIDDEN | naming.SCENES
    assert not naming.WORN_HELD_OR_RIDDEN & naming.SCENES


def test_the_class_is_the_best_over_all_views():
    views = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.7, 0.2], [0.05, 0.9, 0.05]]).log()
    found = naming.name_object(views, 7, 3)
    assert (found.label, found.best) == (1, (0, 1, 1))
    assert (found.whole, found.crop, found.cutout) == pytest.approx((0.3, 0.7, 0.9))
    assert found.probability == pytest.approx((0.3 * 0.7 * 0.9) ** (1 / 3))
    assert not found.agrees


@pytest.mark.parametrize(
    ("mask", "square"),
    [
        (mask_of(5, 10, 15, 20), (4, 9, 12)),  # 10 x 10 pixels, 1.15 times as wide, rounded
        (mask_of(0, 0, 1, 1), (-4, -4, 8)),  # never below 8
        (mask_of(0, 0, 20, 30), (-7, -2, 34)),
    ],
)
def test_the_square_surrounds_the_mask(mask, square):
    assert naming.square_around(mask) == square


def test_views_are_the_photo_the_square_and_the_object_alone():
    image = np.full((20, 30, 3), 200, np.uint8)
    whole, crop, cutout = naming.views_of(image, mask_of(5, 10, 15, 20))
    assert whole.shape == crop.shape == cutout.shape == (naming.SIDE, naming.SIDE, 3)
    assert (whole[0] == naming.GREY).all()  # beyond the photo's upper border
    assert (crop == 200).all()
    assert (
        np.abs(cutout[0, 0].astype(int) - naming.GREY).max() < 20
    )  # resizing overshoots beside an edge
    assert (cutout[naming.SIDE // 2, naming.SIDE // 2] == 200).all()


def test_names_are_read_as_they_were_written(tmp_path):
    names = (name(), name(label=1, best=(1, 2, 3)))
    naming.write_names(tmp_path / "names.json", names)
    assert naming.read_names(tmp_path / "names.json") == names
    assert (tmp_path / "names.json").read_text().count("\n") == 4


def photo_of_a_square():
    category = CategoryRecord(1, "salient", "", True)
    record = ObjectRecord(
        5,
        1,
        category,
        "",
        (48, 64),
        (6.0, 8.0, 26.0, 28.0),
        1,
        False,
        "",
        ("square",),
        "template",
        None,
    )
    entry = BankedObject(record, (6, 8, 26, 28), np.full((20, 20), 255, np.uint8), 400.0)
    photo = ImageRecord(
        1, "duts", Path("x.jpg"), (48, 64), "train", "salient", "duts", "", (), None, None, "", None
    )
    return BankedImage(photo, np.full((48, 64, 3), 40, np.uint8), (entry,), (), frozenset())


def classes(dim=16):
    vectors = torch.nn.functional.normalize(torch.eye(dim)[:4] + 0.01, dim=1)
    return ImageNetClasses({text: row for row, text in enumerate(CLASS_NAMES)}, vectors)


def test_phrases_that_are_classes_label_their_objects():
    phrases = (("left bird", "pelican"), ("bird",), (), ("harp",))
    assert labelled_objects(phrases, classes()) == {0: 0, 3: 1}


def test_the_loss_is_small_where_the_mask_says_its_class_and_large_where_it_does_not():
    network = tiny_network("nano")
    found = classes()
    text_map = found.vectors[1][:, None, None].expand(-1, 8, 8).clone()  # everywhere a harp
    text_map[:, :4] = found.vectors[0][:, None, None]  # but a pelican above
    masks = torch.zeros(2, 32, 32)
    masks[0, :16], masks[1, 16:] = 1, 1
    right = object_losses(network, text_map, masks, torch.tensor([0, 1]), found)
    wrong = object_losses(network, text_map, masks, torch.tensor([1, 0]), found)
    assert (right < wrong).all()


def test_photos_without_such_names_cost_nothing():
    text_map = torch.ones(1, 16, 8, 8, requires_grad=True)
    sample = next(iter(TrainingSampler(ImageBank([photo_of_a_square()]), size=32)))
    assert imagenet_class_loss(tiny_network("nano"), text_map, [sample], classes()).item() == 0.0


def test_objects_of_the_bank_get_their_names_as_phrases():
    bank = with_names(
        ImageBank([photo_of_a_square()]), {("duts", 5): "harp", ("duts", 6): "pelican"}
    )
    assert bank[0].objects[0].record.phrases == ("square", "harp")
    sample = TrainingSampler(bank, size=32, augmentation=Augmentation.none())[0]
    text_map = torch.ones(1, 16, 8, 8, requires_grad=True)
    loss = imagenet_class_loss(tiny_network("nano"), text_map, [sample], classes())
    loss.backward()
    assert text_map.grad.any()


def test_class_names_are_encoded_at_length_one():
    found = ImageNetClasses.encode(
        tiny_network("nano"), PhraseTokenizer(BytePairTokenizer.nano()), CLASS_NAMES
    )
    assert found.vectors.shape == (4, 16)
    assert torch.allclose(found.vectors.norm(dim=1), torch.ones(4), atol=1e-4)
    assert not found.vectors.requires_grad
    assert dict(found.rows) == {"pelican": 0, "harp": 1, "cowboy hat": 2, "bakery": 3}
