"""Muon: what it does to matrices, that everything else follows AdamW, and that a stopped run goes on."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from seem.training.config import TrainConfig
from seem.training.engine import run_training
from seem.training.muon import STEP_RMS, Muon, orthogonal
from seem.training.optimizer import make_optimizer


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


class Net(nn.Module):
    """A convolution, attention, a linear layer, and what is not a matrix: a table, a norm, biases."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.query = nn.Parameter(torch.randn(5, 8))
        self.words = nn.Embedding(4, 8)
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        seen = self.conv(x).flatten(2).mT + self.words.weight[:1]
        told = self.attention(self.query.expand(len(x), -1, -1), seen, seen)[0]
        return self.last(self.norm(told))


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 9)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e4])
def test_singular_values_come_near_one_and_vectors_stay(shape, size):
    matrix = torch.randn(shape)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    answer = orthogonal(matrix * size)
    values = torch.linalg.svdvals(answer)
    assert values.min() > 0.3  # 0.7 and more but for the smallest, which start furthest away
    assert values.max() < 1.3
    likeness = torch.nn.functional.cosine_similarity(answer.flatten(), (u @ v).flatten(), dim=0)
    assert likeness > 0.95
    assert answer.shape == matrix.shape


def test_nothing_moves_without_a_gradient():
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))
    layer = nn.Linear(3, 4)
    layer.weight.grad = torch.zeros_like(layer.weight)
    before, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    muon([layer.weight], True).step()
    assert torch.equal(layer.weight, before)
    muon([layer.bias], False, decay=0.5).step()  # without any gradient, not even decay
    assert torch.equal(layer.bias, bias)


def test_a_closure_is_asked_with_gradients():
    weight = nn.Parameter(torch.randn(3, 4))
    before = weight.detach().clone()
    optimizer = Muon([{"params": [weight], "orthogonal": True}], 0.1)

    def ask_again():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return float(loss.detach())

    assert optimizer.step(ask_again) == pytest.approx(float(before.square().sum()))
    assert not torch.equal(weight, before)


def muon(parameters, orthogonal, decay=0.0):
    return Muon([{"params": parameters, "orthogonal": orthogonal, "weight_decay": decay}], 0.1)


@pytest.mark.parametrize("fmt", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_moves_as_the_matrix_of_its_output_channels(fmt):
    weight = nn.Parameter(torch.randn(4, 3, 3, 3).to(memory_format=fmt))
    before, weight.grad = weight.detach().clone(), torch.randn(4, 3, 3, 3)
    muon([weight], True, decay=0.5).step()
    turned = (
        orthogonal((1.95 * weight.grad).flatten(1)).reshape(weight.shape) * STEP_RMS * math.sqrt(27)
    )
    torch.testing.assert_close(weight.detach(), before * 0.95 - 0.1 * turned)
    assert float(turned.square().mean().sqrt()) == pytest.approx(
        STEP_RMS, rel=0.25
    )  # that of an AdamW step


def test_a_step_is_as_long_whatever_the_gradient():
    weights = [nn.Parameter(torch.zeros(4, 9)) for _ in range(2)]
    gradient = torch.randn(4, 9)
    for weight, size in zip(weights, (1.0, 1e3), strict=True):
        weight.grad = gradient * size
    muon(weights, True).step()
    torch.testing.assert_close(weights[0], weights[1], rtol=0.02, atol=1e-3)  # bfloat16


def test_everything_else_follows_adamw():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 7)) for _ in range(2))
    mine = muon([ours], False, decay=0.05)
    known = torch.optim.AdamW([theirs], lr=0.1, betas=(0.9, 0.98), weight_decay=0.05)
    for _ in range(5):
        ours.grad = torch.randn(7)
        theirs.grad = ours.grad.clone()
        mine.step()
        known.step()
    torch.testing.assert_close(ours, theirs)


def test_layers_are_matrices_and_tables_are_not():
    net = Net()
    config = TrainConfig(optimizer="muon", rates=(("conv", 0.1),))
    groups = make_optimizer(net, config).param_groups
    names = {id(p): name for name, p in net.named_parameters()}
    matrices = {names[id(p)] for group in groups if group["orthogonal"] for p in group["params"]}
    assert matrices == {
        "conv.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "last.weight",
    }
    assert sorted(names[id(p)] for group in groups for p in group["params"]) == sorted(
        names.values()
    )
    assert {group["factor"] for group in groups if net.conv.weight is group["params"][0]} == {0.1}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == matrices | {"query"}


def ask(model, step):
    generator = torch.Generator().manual_seed(step)
    x = torch.randn(4, 3, 6, 6, generator=generator)
    return (model(x).mean(dim=1) - x.mean(dim=(1, 2, 3))[:, None]).square().mean(), {}


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    config = TrainConfig(
        steps=6, learning_rate=0.01, warmup=1, checkpoint_every=2, optimizer="muon"
    )
    torch.manual_seed(1)
    unbroken = run_training(Net(), ask, config, tmp_path / "unbroken")
    torch.manual_seed(1)
    run_training(Net(), ask, replace(config, minutes=0.0), tmp_path / "stopped")
    resumed = run_training(Net(), ask, config, tmp_path / "stopped")
    for ours, theirs in zip(resumed.parameters(), unbroken.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def loss_of(model):
    with torch.no_grad():
        return sum(float(ask(model, 100 + k)[0]) for k in range(8))


def test_it_learns(tmp_path):
    model = Net()
    before = loss_of(model)
    config = TrainConfig(steps=40, learning_rate=0.02, warmup=1, optimizer="muon", average=0.5)
    assert loss_of(run_training(model, ask, config, tmp_path)) < before / 3


def test_divided_weights_are_refused():
    with pytest.raises(ValueError, match="whole matrices"):
        make_optimizer(Net(), TrainConfig(optimizer="muon", shard=True))
