"""The weight rule against the figures that came with the recordings."""

import json

import pytest
import torch

from parity.weights import PREDICTOR, official_tensor


def figures(shared):
    return json.loads((shared / "parity" / "weights_check.json").read_text())


@pytest.mark.requires_shared
def test_first_values_and_sums_are_the_recorded_ones(shared):
    for key, expected in figures(shared).items():
        tensor = official_tensor(key, tuple(expected["shape"])).double()
        assert tensor.flatten()[:3].tolist() == pytest.approx(expected["first"], abs=1e-7), key
        assert tensor.sum().item() == pytest.approx(expected["sum"], rel=1e-6, abs=1e-4), key
        assert tensor.abs().sum().item() == pytest.approx(expected["abssum"], rel=1e-6), key


@pytest.mark.parametrize(
    ("key", "shape", "middle", "spread"),
    [
        ("backbone.norm0.weight", (4000,), 1.0, 0.1),
        ("backbone.norm0.bias", (4000,), 0.0, 0.1),
        ("backbone.layers.0.blocks.0.gamma_1", (4000,), 0.5, 0.1),
        (f"{PREDICTOR}query_feat.weight", (101, 512), 0.0, 1.0),
        (f"{PREDICTOR}level_embed.weight", (3, 512), 0.0, 0.1),
        ("backbone.layers.0.blocks.0.mlp.fc1.weight", (400, 100), 0.0, 0.1),
        (
            f"{PREDICTOR}transformer_self_attention_layers.0.self_attn.out_proj.weight",
            (400, 100),
            0.0,
            0.025,
        ),
    ],
)
def test_what_a_tensor_is_for_decides_its_values(key, shape, middle, spread):
    tensor = official_tensor(key, shape)
    assert tensor.mean().item() == pytest.approx(middle, abs=0.05 * max(spread, middle))
    assert tensor.std().item() == pytest.approx(spread, rel=0.05)


@pytest.mark.parametrize(
    ("key", "gain"),
    [
        (f"{PREDICTOR}lang_encoder.lang_encoder.resblocks.0.attn.in_proj_weight", 2.0),
        (f"{PREDICTOR}transformer_self_attention_layers.0.self_attn.in_proj_weight", 1.5),
        ("sem_seg_head.pixel_decoder.transformer.encoder.layers.0.self_attn.in_proj_weight", 1.0),
    ],
)
def test_queries_and_keys_are_sharpened_values_are_not(key, gain):
    tensor = official_tensor(key, (300, 100))
    assert tensor[:200].std().item() == pytest.approx(0.1 * gain, rel=0.05)
    assert tensor[200:].std().item() == pytest.approx(0.1, rel=0.05)


def test_the_same_key_gives_the_same_tensor():
    key = "backbone.norm0.weight"
    assert torch.equal(official_tensor(key, (8,)), official_tensor(key, (8,)))
    assert not torch.equal(
        official_tensor(key, (8,)), official_tensor("backbone.norm1.weight", (8,))
    )
