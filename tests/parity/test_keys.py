"""Our networks have the official networks' tensors: same keys, same shapes, same numbers of parameters."""

import json

import pytest
import torch

from parity.bench import ARCHITECTURES, build_on_meta, official_shape
from seem.checkpoints.mapping import KNOWN_EXTRAS, from_official, key_mappings, to_official

pytestmark = pytest.mark.requires_shared


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request):
    return request.param


@pytest.fixture(scope="module")
def manifest(shared, model):
    return json.loads((shared / "parity" / "manifests" / f"{model}.json").read_text())


@pytest.fixture(scope="module")
def network(model):
    return build_on_meta(ARCHITECTURES[model]())


def test_every_manifest_has_its_network(shared):
    assert {path.stem for path in (shared / "parity" / "manifests").iterdir()} == set(ARCHITECTURES)


def test_every_official_key_has_its_place_and_shape(network, manifest):
    ours = network.state_dict()
    placed = {row.official: official_shape(row.ours, ours) for row in key_mappings(ours)}
    official = {key: tuple(shape) for key, shape, _ in manifest["state_dict"]}
    assert placed == {key: shape for key, shape in official.items() if key in placed}
    assert set(official) - set(placed) <= set(KNOWN_EXTRAS)


def test_every_tensor_of_ours_has_one_official_key(network):
    ours = network.state_dict()
    used = [name for row in key_mappings(ours) for name in row.ours]
    assert sorted(used) == sorted(ours)


def test_parameters_are_as_many(network, manifest):
    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(network) == manifest["param_count"]
    assert count(network.backbone) == manifest["param_count_backbone"]
    assert count(network.pixel_decoder) == manifest["param_count_pixel_decoder"]
    assert count(network.text) == manifest["param_count_lang_encoder"]


def test_there_and_back_is_exact(network, manifest, model):
    if model != "seem_v1_focalt":
        official = {
            key: torch.empty(shape, device="meta") for key, shape, _ in manifest["state_dict"]
        }
    else:
        official = {
            key: torch.arange(torch.Size(shape).numel(), dtype=torch.int32).reshape(shape)
            for key, shape, _ in manifest["state_dict"]
        }
    converted = from_official(official, network.state_dict())
    assert set(converted.tensors) == set(network.state_dict())
    back = to_official(converted.tensors)
    assert set(back) | set(converted.extras) == set(official)
    assert all(tensor.is_meta or torch.equal(tensor, official[key]) for key, tensor in back.items())
