from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seem.checkpoints.mapping import to_official
from seem.checkpoints.network import (
    MODEL_KEY,
    convert_official,
    fill_network,
    read_model_name,
    read_official,
)
from seem.checkpoints.safe import read_tensors, sha256_of
from seem.config import EFFICIENTNET_LITE0
from seem.errors import SeemError
from seem.models.build import build
from tiny import CONFIGS, tiny_network, tiny_v1

EXTRAS = {"criterion.empty_weight": torch.ones(3), "dilation_kernel": torch.ones(1, 1, 3, 3)}


@pytest.fixture(scope="module")
def network():
    return tiny_network("seem-focal-t-v1")


@pytest.fixture
def official(tmp_path, network):
    torch.save(to_official(network.state_dict()) | EXTRAS, tmp_path / "official.pt")
    return tmp_path / "official.pt"


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_file_says_which_model_it_is():
    assert read_model_name(Path("a.safetensors"), {MODEL_KEY: "nano"}) == "nano"
    with pytest.raises(
        SeemError,
        match=r"a\.safetensors does not say which model it is; .* seem convert a\.safetensors",
    ):
        read_model_name(Path("a.safetensors"), {"format": "pt"})


def test_weights_fill_a_network(network):
    filled = fill_network(tiny_v1(), network.state_dict(), Path("a.safetensors"))
    assert same(filled.state_dict(), network.state_dict())
    assert not filled.training


def test_a_network_takes_over_tensors_without_a_copy(network):
    tensors = {key: value.clone() for key, value in network.state_dict().items()}
    filled = fill_network(tiny_v1(), tensors, Path("a.safetensors"))
    shared = filled.state_dict()
    assert all(shared[key].data_ptr() == tensors[key].data_ptr() for key in tensors)
    assert all(parameter.requires_grad for parameter in filled.parameters())


def test_a_network_for_which_channels_last_is_faster_has_its_weights_so():
    described = replace(CONFIGS["nano"](), backbone=EFFICIENTNET_LITE0)
    built = build(described)
    filled = fill_network(described, built.state_dict(), Path("a.safetensors"))
    kernel = filled.state_dict()["backbone.stem.conv.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert same(filled.state_dict(), built.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(network, dtype):
    filled = fill_network(
        tiny_v1(), {k: v.to(dtype) for k, v in network.state_dict().items()}, Path("a.safetensors")
    )
    assert {value.dtype for value in filled.state_dict().values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("text.norm.bias"), "it misses text.norm.bias."),
        (
            lambda t: [t.pop(key) for key in list(t)[:6]],
            r"it misses .*, .*, .*, [\w.]+ and 2 more\.",
        ),
        (lambda t: t.update(surplus=torch.ones(1)), "it holds unknown surplus."),
        (lambda t: t.update({"text.norm.bias": torch.ones(3)}), "it has misshapen text.norm.bias."),
    ],
)
def test_weights_that_do_not_fit_are_named(network, change, message):
    tensors = dict(network.state_dict())
    change(tensors)
    with pytest.raises(
        SeemError, match=rf"^a\.safetensors is no seem-focal-t-v1 checkpoint: {message}"
    ):
        fill_network(tiny_v1(), tensors, Path("a.safetensors"))


def test_official_weights_are_read_as_ours(network, official):
    read = read_official(official, network)
    assert same(read.tensors, network.state_dict())
    assert set(read.extras) == set(EXTRAS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("backbone.norm0.bias"), "1 missing: backbone.norm0.bias"),
        (lambda t: t.update(surplus=torch.ones(1)), "1 unknown: surplus"),
        (
            lambda t: t.update({"backbone.norm0.bias": torch.ones(3)}),
            r"backbone.norm0.bias is \[3\], expected \[8\]",
        ),
    ],
)
def test_official_weights_that_do_not_fit_are_named(tmp_path, network, change, message):
    tensors = to_official(network.state_dict())
    change(tensors)
    torch.save(tensors, tmp_path / "official.pt")
    with pytest.raises(SeemError, match=message) as caught:
        read_official(tmp_path / "official.pt", network)
    assert str(caught.value).startswith(
        f"{tmp_path / 'official.pt'} is no seem-focal-t-v1 checkpoint: "
    )
    assert len(str(caught.value).splitlines()) == 1


def test_convert_writes_our_file_and_says_what_it_left_out(tmp_path, network, official):
    out = tmp_path / "ours.safetensors"
    assert set(convert_official(official, out, tiny_v1())) == set(EXTRAS)
    content = read_tensors(out)
    assert same(content.tensors, network.state_dict())
    assert content.metadata == {MODEL_KEY: "seem-focal-t-v1", "source_sha256": sha256_of(official)}
    assert same(fill_network(tiny_v1(), content.tensors, out).state_dict(), network.state_dict())


def test_a_conversion_that_fails_leaves_nothing_behind(tmp_path, official):
    with pytest.raises(SeemError, match="Cannot write"):
        convert_official(official, tmp_path / "no" / "such" / "folder.safetensors", tiny_v1())
    (tmp_path / "broken.pt").write_bytes(official.read_bytes()[:1000])
    with pytest.raises(
        SeemError, match=r"broken\.pt is not a PyTorch checkpoint, or it is cut short"
    ):
        convert_official(tmp_path / "broken.pt", tmp_path / "ours.safetensors", tiny_v1())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pt", "official.pt"]
