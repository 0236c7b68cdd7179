"""One step of a course: which photos it draws, what they are asked, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seem.data.pack import ImageBank
from seem.models.text.tokenizer import BytePairTokenizer
from seem.training.course import Course, loss_for, priced
from tiny import tiny_network
from unit.test_nano_recipe import TWO, banked_photo

BANK = ImageBank([TWO, banked_photo(3, ((20, 10, 44, 40),))])
COURSE = Course(BANK, 64, 2, 0, named=3)


@pytest.fixture(scope="module")
def network():
    return tiny_network("nano").train()


@pytest.fixture(scope="module")
def loss_of(network):
    return loss_for(network, BytePairTokenizer.nano())


def test_further_photos_are_drawn_for_names_alone(network):
    asked = COURSE.asked(4, network)
    assert (len(asked.batch.samples), len(asked.named)) == (2, 6)
    assert all(len(sample.masks) for sample in asked.named)
    assert [len(COURSE.asked(4, network, count).named) for count in (1, 4)] == [3, 12]
    assert COURSE.asked(4, network).named[0].image_id == asked.named[0].image_id
    assert replace(COURSE, named=0).asked(4, network).named == ()


def test_a_canvas_much_larger_than_photos_are_seen_at_shows_them_whole(network):
    side = 32 * (4 * network.config.image.long_side // 32)
    named = replace(COURSE, size=side).asked(0, network).named
    assert {sample.image.shape[-2:] for sample in named} == {(side, side)}
    assert all(len(sample.masks) for sample in named)


def test_no_photo_is_drawn_twice_by_the_steps_of_a_run(network):
    drawn = [sample.image.tobytes() for number in range(4) for sample in COURSE.asked(number, network).named]
    assert len(set(drawn)) == len(drawn)


def test_names_alone_count_as_much_a_photo_as_whole_photos(network, loss_of):
    both, named = priced(network, COURSE.asked(0, network), loss_of, "float32")
    alone, terms = priced(network, replace(COURSE, named=0).asked(0, network), loss_of, "float32")
    assert "naming" not in terms
    assert named["total"] == pytest.approx(float(both.detach()))
    assert named["total"] == pytest.approx(float(alone.detach()) + 3 * named["naming"], rel=1e-4)


def test_names_alone_teach_what_places_mean(network, loss_of):
    course = replace(COURSE, named=1)
    steepness = []
    for asked in (replace(course, named=0).asked(0, network), course.asked(0, network)):
        network.zero_grad()
        priced(network, asked, loss_of, "float32")[0].backward()
        steepness.append(torch.cat([p.grad.flatten() for p in network.text_embedding_head.parameters()]))
    assert not torch.allclose(*steepness, rtol=1e-2)
    network.zero_grad()


def test_the_photos_of_a_step_are_named(network):
    told = COURSE.describe(0, network)
    asked = COURSE.asked(0, network)
    for sample in (*asked.batch.samples, *asked.named):
        assert f"{sample.set_name} {sample.image_id}" in told
    assert told.startswith("photos ")
    assert "\n" not in told
