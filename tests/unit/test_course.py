"""One step of a course: which photos it draws, what they are batch, and what that costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seem.data.image_bank import ImageBank
from seem.models.text.tokenizer import BytePairTokenizer
from seem.training.batch_sampler import BatchSampler
from seem.training.objectives import objective_for
from seem.training.steps import compute_loss
from tiny import tiny_network
from unit.test_nano_recipe import TWO, banked_photo

BANK = ImageBank([TWO, banked_photo(3, ((20, 10, 44, 40),))])
SAMPLER = BatchSampler(BANK, 64, 2, 0, naming_ratio=3)


@pytest.fixture(scope="module")
def network():
    return tiny_network("nano").train()


@pytest.fixture(scope="module")
def objective(network):
    return objective_for(network, BytePairTokenizer.nano())


def test_further_photos_are_drawn_for_names_alone(network):
    batch = SAMPLER.draw(4, network)
    assert (len(batch.full.samples), len(batch.naming)) == (2, 6)
    assert all(len(sample.masks) for sample in batch.naming)
    assert [len(SAMPLER.draw(4, network, count).naming) for count in (1, 4)] == [3, 12]
    assert SAMPLER.draw(4, network).naming[0].image_id == batch.naming[0].image_id
    assert replace(SAMPLER, naming_ratio=0).draw(4, network).naming == ()


def test_a_canvas_much_larger_than_photos_are_seen_at_shows_them_whole(network):
    side = 32 * (4 * network.config.image.long_side // 32)
    named = replace(SAMPLER, size=side).draw(0, network).naming
    assert {sample.image.shape[-2:] for sample in named} == {(side, side)}
    assert all(len(sample.masks) for sample in named)


def test_no_photo_is_drawn_twice_by_the_steps_of_a_run(network):
    drawn = [
        sample.image.tobytes()
        for number in range(4)
        for sample in SAMPLER.draw(number, network).naming
    ]
    assert len(set(drawn)) == len(drawn)


def test_names_alone_count_as_much_a_photo_as_whole_photos(network, objective):
    both, named = compute_loss(network, SAMPLER.draw(0, network), objective, "float32")
    alone, terms = compute_loss(
        network, replace(SAMPLER, naming_ratio=0).draw(0, network), objective, "float32"
    )
    assert "naming" not in terms
    assert named["total"] == pytest.approx(float(both.detach()))
    assert named["total"] == pytest.approx(float(alone.detach()) + 3 * named["naming"], rel=1e-4)


def test_names_alone_teach_what_places_mean(network, objective):
    sampler = replace(SAMPLER, naming_ratio=1)
    steepness = []
    for batch in (replace(sampler, naming_ratio=0).draw(0, network), sampler.draw(0, network)):
        network.zero_grad()
        compute_loss(network, batch, objective, "float32")[0].backward()
        steepness.append(
            torch.cat([p.grad.flatten() for p in network.text_embedding_head.parameters()])
        )
    assert not torch.allclose(*steepness, rtol=1e-2)
    network.zero_grad()


def test_the_photos_of_a_step_are_named(network):
    told = SAMPLER.describe(0, network)
    batch = SAMPLER.draw(0, network)
    for sample in (*batch.full.samples, *batch.naming):
        assert f"{sample.set_name} {sample.image_id}" in told
    assert told.startswith("photos ")
    assert "\n" not in told
