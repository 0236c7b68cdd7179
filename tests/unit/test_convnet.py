"""Nano's backbone: four maps at strides 4 to 32, blocks that start as the identity."""

from __future__ import annotations

import pytest
import torch

from seem.config import ConvNetConfig
from seem.models.backbones.convnet import ConvNet, ResidualBlock

TINY = ConvNetConfig(dims=(4, 6, 8, 10), depths=(1, 2, 1, 1), stem_dim=3)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def convnet(config=TINY):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ConvNet(config).eval()


@pytest.mark.parametrize(
    ("hw", "sizes"),
    [
        ((64, 96), [(16, 24), (8, 12), (4, 6), (2, 3)]),
        ((32, 32), [(8, 8), (4, 4), (2, 2), (1, 1)]),
        ((33, 61), [(9, 16), (5, 8), (3, 4), (2, 2)]),
        ((1, 1), [(1, 1)] * 4),
    ],
)
def test_maps_stand_at_strides_4_to_32_rounded_up(hw, sizes):
    maps = convnet()(noise(2, 3, *hw)).maps
    assert [tuple(m.shape) for m in maps] == [
        (2, dim, *size) for dim, size in zip(TINY.dims, sizes, strict=True)
    ]


def test_the_configuration_says_how_deep_each_stage_is():
    assert [len(stage) for stage in convnet().stages] == [1, 2, 1, 1]
    assert convnet().dims == (4, 6, 8, 10)


def test_a_new_block_is_the_identity():
    x = noise(2, 4, 5, 5).relu()
    assert torch.equal(ResidualBlock(4).train()(x), x)
    assert torch.equal(ResidualBlock(4).eval()(x), x)


def test_a_new_block_learns_from_its_first_step_on():
    block = ResidualBlock(4).train()
    (block(noise(2, 4, 5, 5).relu()) - noise(2, 4, 5, 5, seed=1)).square().mean().backward()
    assert block.second.norm.weight.grad.any()


def test_photos_of_a_batch_do_not_influence_each_other_in_evaluation():
    network = convnet()
    photos = noise(3, 3, 32, 64)
    together = network(photos).maps
    for b in range(3):
        for alone, beside in zip(network(photos[b : b + 1]).maps, together, strict=True):
            assert torch.allclose(alone[0], beside[b], atol=1e-5)


def test_evaluation_uses_the_statistics_that_training_gathered():
    network, photos = convnet(), 5 * noise(4, 3, 32, 32) + 3
    before = network(photos).maps[0]
    network.train()
    for _ in range(60):
        trained = network(photos).maps[0]
    network.eval()
    assert torch.allclose(network(photos).maps[0], trained, atol=0.1)
    assert not torch.allclose(before, trained, atol=0.1)


def test_channels_last_changes_nothing():
    photos = noise(1, 3, 32, 32)
    network = convnet()
    plain = network(photos).maps
    network.to(memory_format=torch.channels_last)
    for ours, theirs in zip(
        network(photos.to(memory_format=torch.channels_last)).maps, plain, strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)
