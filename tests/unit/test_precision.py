import time

import pytest
import torch

from seem.models.mask_features import MaskFeatures
from seem.models.precision import MAX_RELATIVE_ERROR, MIN_SPEEDUP, arithmetic, choose_precision
from seem.models.segmenter import Segmenter
from seem.models.structures import PixelFeatures
from tiny import CONFIGS, tiny_network

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_block_runs_in_its_precision_without_gradients(precision, dtype):
    layer = torch.nn.Linear(2, 2)
    with arithmetic(CPU, precision):
        answer = layer(torch.ones(1, 2))
    assert answer.dtype == dtype
    assert not answer.requires_grad
    assert layer(torch.ones(1, 2)).requires_grad


@pytest.mark.parametrize(
    ("speed_up", "error", "chosen"),
    [
        (2.0, 0.0, "bfloat16"),
        (MIN_SPEEDUP * 1.01, MAX_RELATIVE_ERROR * 0.99, "bfloat16"),
        (MIN_SPEEDUP * 0.99, 0.0, "float32"),
        (0.1, 0.0, "float32"),
        (2.0, MAX_RELATIVE_ERROR * 1.01, "float32"),
        (2.0, float("nan"), "float32"),
    ],
)
def test_the_lower_precision_must_be_faster_and_see_the_same(monkeypatch, speed_up, error, chosen):
    clock = [0.0]

    def encode(self, images):
        low = torch.is_autocast_enabled("cpu")
        clock[0] += 1 / speed_up if low else 1.0
        features = torch.ones(1, 1, 8, 8) * (1 + error if low else 1)
        return PixelFeatures(MaskFeatures(features), (features,) * 3)

    monkeypatch.setattr(Segmenter, "encode_pixels", encode)
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr("seem.models.precision.SMALL_NETWORK_PARAMETERS", 0)
    assert choose_precision(tiny_network("nano"), CPU) == chosen


def test_a_small_network_on_a_cpu_is_not_measured(monkeypatch):
    monkeypatch.setattr(Segmenter, "encode_pixels", lambda *_: pytest.fail("measured"))
    assert choose_precision(tiny_network("nano"), CPU) == "float32"


@pytest.mark.parametrize("name", CONFIGS)
def test_measuring_leaves_network_and_random_numbers_alone(name):
    network, state = tiny_network(name), torch.get_rng_state()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert choose_precision(network, CPU) in ("float32", "bfloat16")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
